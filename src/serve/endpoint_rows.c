/* Which function answers which endpoint: one row for each that api/endpoint.c finds. */
#include "base/check.h"
#include "console/page.h"
#include "serve/server.h"

static void home(struct call *c)
{
    call_show_page(c, page_find("/"));
}

static void preflight(struct call *c)
{
    struct api_header h[CALL_HEADERS_MAX];
    int n = api_cors_headers(1, c->cors, h, CALL_HEADERS_MAX);

    call_send(c, 204, h, n, NULL, 0);
}

static const struct endpoint rows[API_ROUTE_N] = {
    [API_ROUTE_HOME] = {.answer = home},
    [API_ROUTE_CHAT] = {.parse = call_parse_request, .prepare = call_prepare_request},
    [API_ROUTE_COMPLETION] = {.parse = call_parse_request, .prepare = call_prepare_request},
    [API_ROUTE_STORED_CHAT] = {.answer = call_follow},
    [API_ROUTE_STORED_COMPLETION] = {.answer = call_follow},
    [API_ROUTE_MODELS] = {.answer = call_show_models},
    [API_ROUTE_MODEL] = {.answer = call_show_model},
    [API_ROUTE_PUBLIC_MODELS] = {.answer = call_show_public_models},
    [API_ROUTE_PUBLIC_MODEL] = {.answer = call_show_public_model},
    [API_ROUTE_WARMING] = {.answer = call_show_warming},
    [API_ROUTE_SCHEMA] = {.answer = call_show_schema},
    [API_ROUTE_TOKENIZE] = {.parse = call_parse_tokenize,
                            .prepare = call_prepare_tokenize,
                            .is_tool = 1},
    [API_ROUTE_DETOKENIZE] = {.parse = call_parse_detokenize,
                              .prepare = call_prepare_detokenize,
                              .is_tool = 1},
    [API_ROUTE_APPLY_TEMPLATE] = {.parse = call_parse_template,
                                  .prepare = call_prepare_template,
                                  .is_tool = 1},
    [API_ROUTE_HEALTH] = {.answer = call_show_health, .in_reserve = 1},
    [API_ROUTE_READY] = {.answer = call_show_ready, .in_reserve = 1},
    [API_ROUTE_METRICS] = {.answer = call_show_metrics, .in_reserve = 1},
    [API_ROUTE_ENGINE_EVENTS] = {.answer = call_watch_events},
    [API_ROUTE_ENGINE_REQUEST] = {.answer = call_watch_request},
    [API_ROUTE_ENGINE_ROUTE] = {.answer = call_watch_route},
    [API_ROUTE_ENGINE_CANCEL] = {.answer = call_watch_cancel},
    [API_ROUTE_ACCOUNT] = {.administer = call_account},
    [API_ROUTE_RECEIPTS] = {.administer = call_show_growth},
    [API_ROUTE_RECEIPT] = {.administer = call_show_receipt},
    [API_ROUTE_ADMIN_TENANTS] = {.administer = call_admin_accounts},
    [API_ROUTE_ADMIN_TENANT] = {.administer = call_admin_accounts},
    [API_ROUTE_ADMIN_TEAMS] = {.administer = call_admin_accounts},
    [API_ROUTE_ADMIN_TEAM] = {.administer = call_admin_accounts},
    [API_ROUTE_ADMIN_KEYS] = {.administer = call_admin_accounts},
    [API_ROUTE_ADMIN_KEY] = {.administer = call_admin_accounts},
    [API_ROUTE_ADMIN_ROTATE] = {.administer = call_admin_accounts},
    [API_ROUTE_ADMIN_REVOKE] = {.administer = call_admin_accounts},
    [API_ROUTE_ADMIN_AUDIT] = {.administer = call_admin_audit},
    [API_ROUTE_ADMIN_USAGE] = {.administer = call_admin_usage},
    [API_ROUTE_ADMIN_SITES] = {.administer = call_admin_sites},
    [API_ROUTE_ADMIN_SITE] = {.administer = call_admin_site},
    [API_ROUTE_ADMIN_CURTAILMENTS] = {.administer = call_admin_curtailments},
    [API_ROUTE_ADMIN_CURTAILMENT] = {.administer = call_admin_curtailment},
    [API_ROUTE_ADMIN_CONTRACTS] = {.administer = call_admin_contracts},
    [API_ROUTE_ADMIN_CONTRACT] = {.administer = call_admin_contracts},
    [API_ROUTE_ADMIN_STATEMENT] = {.administer = call_admin_statement},
    [API_ROUTE_ADMIN_OBLIGATIONS] = {.administer = call_admin_obligations},
    [API_ROUTE_ADMIN_POWER] = {.administer = call_admin_power},
    [API_ROUTE_ADMIN_RELOAD] = {.administer = call_admin_reload},
    [API_ROUTE_ADMIN_DRAIN] = {.administer = call_admin_drain},
    [API_ROUTE_ADMIN_TAKE] = {.administer = call_admin_take},
    [API_ROUTE_ADMIN_ANSWER] = {.answer = call_follow},
    [API_ROUTE_ADMIN_OPENAPI] = {.answer = call_show_openapi},
    [API_ROUTE_ADMIN_PRICES] = {.administer = call_admin_prices},
    [API_ROUTE_ADMIN_SESSION] = {.answer = call_session},
    [API_ROUTE_ADMIN_OVERVIEW] = {.answer = call_overview},
    [API_ROUTE_ADMIN_EVENTS] = {.answer = call_overview_events},
    [API_ROUTE_ADMIN_REQUEST] = {.answer = call_watch_request},
    [API_ROUTE_ADMIN_ROUTE] = {.answer = call_watch_route},
    [API_ROUTE_ADMIN_CANCEL] = {.answer = call_watch_cancel},
    [API_ROUTE_PREFLIGHT] = {.answer = preflight},
};

const struct endpoint *endpoint_row(enum api_route_id id)
{
    CHECK(id < API_ROUTE_N);
    return &rows[id];
}
