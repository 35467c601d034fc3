/* The log's line of a request. */
#include "base/clock.h"
#include "base/log.h"
#include "base/put.h"
#include "console/console_int.h"

static const char *text(const char *s)
{
    return s ? s : "";
}

static void store_row(struct request_store *store, const struct row_live *l,
                      const struct row_end *e, const char *model, int64_t now_us)
{
    const struct row *r = &l->row;
    struct request_row q = {.at_us = clock_wall_us(),
                            .status = e->status,
                            .stream = e->stream,
                            .prompt_tokens = e->usage.prompt_tokens,
                            .cached_tokens = e->usage.cached_tokens,
                            .completion_tokens = e->usage.completion_tokens,
                            .energy_uj = e->usage.energy.uj,
                            .queue_us = e->times.queue_us,
                            .first_us = r->first_us ? r->first_us - r->started_us : 0,
                            .total_us = now_us - r->started_us};

#define PUT(member, value) put_text(q.member, sizeof q.member, text(value))
    PUT(id, r->id);
    PUT(tenant, e->tenant);
    PUT(key_id, e->key_id);
    PUT(peer, e->peer);
    PUT(method, e->method);
    PUT(path, e->path);
    PUT(model, model);
    PUT(supplier, e->supplier);
    PUT(tier, e->supplier ? tier_name(e->tier) : "");
    PUT(finish, e->finish);
    PUT(error, e->code ? err_name(e->code) : "");
    PUT(why, e->why);
    PUT(client_id, r->client_id);
    PUT(route, e->route);
#undef PUT
    request_store_add(store, &q, e->texts);
}

void request_log(const struct row_live *l, const struct row_end *e, const char *model,
                 struct request_store *store)
{
    const struct row *r = &l->row;
    int is_told = e->is_api || e->status >= 500 || e->code == ERR_FORBIDDEN;
    int64_t now_us = clock_now_us();

    LOG_EVENT(is_told ? LOG_INFO : LOG_DEBUG, "request", LOG_STR("id", r->id),
              LOG_STR("peer", e->peer), LOG_STR("method", e->method), LOG_STR("path", e->path),
              LOG_INT("status", e->status), LOG_STR("tenant", e->tenant), LOG_STR("key", e->key_id),
              LOG_STR("model", model), LOG_INT("stream", e->stream),
              LOG_INT("prompt", e->usage.prompt_tokens), LOG_INT("cached", e->usage.cached_tokens),
              LOG_INT("completion", e->usage.completion_tokens),
              LOG_INT("queue_ms", e->times.queue_us / 1000),
              LOG_INT("first_ms", r->first_us ? (r->first_us - r->started_us) / 1000 : 0),
              LOG_INT("total_ms", (now_us - r->started_us) / 1000),
              LOG_STR("finish", text(e->finish)),
              LOG_STR("error", e->code ? err_name(e->code) : ""), LOG_STR("why", text(e->why)),
              LOG_STR("client_id", r->client_id), LOG_STR("site", text(e->site)),
              LOG_STR("route", text(e->route)));
    if (store && is_told && !e->goes_on)
        store_row(store, l, e, model, now_us);
}
