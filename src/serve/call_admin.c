/* The admin API: accounts, their log, usage and the configuration, for keys that may do nothing
 * else. Runs on prep threads, as it waits for databases; only call_show_openapi runs on the io
 * thread. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/day.h"
#include "base/json.h"
#include "base/money.h"
#include "base/put.h"
#include "base/watthour.h"
#include "cloud/accounts_json.h"
#include "console/account_view.h"
#include "serve/admin_openapi.h"
#include "serve/server.h"

#define BODY_MAX   ((size_t)64 << 10)
#define LIST_MAX   1000
#define LIST_USUAL 100
#define NUMBER_MAX (INT64_C(1) << 53)
#define OVERLAP_S  INT64_C(86400)
#define STOP       1 /* of a list: it is long enough */

/* ---- answers --------------------------------------------------------------------------------- */

int call_admin_answer(struct call *c, int status, json_t *j, struct err *e)
{
    int r = j ? json_put_tree(&c->out, j) : ERR_NOMEM;

    json_decref(j);
    c->admin.status = status;
    return r ? err_set(e, ERR_NOMEM, "No memory for the answer.") : 0;
}

struct account_who call_admin_who(const struct call *c, char text[CALL_ACTOR_MAX])
{
    snprintf(text, CALL_ACTOR_MAX, "key:%s", c->admin.who.key_id);
    return (struct account_who){text, clock_wall_us() / 1000000};
}

int call_admin_day(const struct call *c, const char *name, int64_t *ret, struct err *e)
{
    char text[32];

    if (!api_query_get(&c->route, name, text, sizeof text))
        return 0;
    return day_read(text, NULL, ret)
               ? err_set_param(e, ERR_ARG, name, "%s: wants a day: 2026-12-01", name)
               : 0;
}

/* A count in the query, within bounds. */
static int query_count(const struct call *c, const char *name, int64_t usual, int64_t max,
                       int64_t *ret, struct err *e)
{
    char text[32], *end;

    *ret = usual;
    if (!api_query_get(&c->route, name, text, sizeof text))
        return 0;
    *ret = strtoll(text, &end, 10);
    if (*text < '0' || *text > '9' || *end || *ret > max)
        return err_set_param(e, ERR_ARG, name, "%s: wants a number from 0 to %lld", name,
                             (long long)max);
    return 0;
}

int call_admin_text(const struct call *c, const char *name, char *text, size_t cap,
                    const char **ret, struct err *e)
{
    char whole[512];

    if (!api_query_get(&c->route, name, whole, sizeof whole))
        return 0;
    if (strlen(whole) >= cap)
        return err_set_param(e, ERR_ARG, name, "%s: has at most %zu bytes", name, cap - 1);
    memcpy(text, whole, strlen(whole) + 1);
    *ret = text;
    return 0;
}

/* ---- accounts -------------------------------------------------------------------------------- */

/* What an endpoint does with accounts of a kind. */
struct doing {
    struct call *c;
    enum account_kind kind;
    const char *id; /* in the path; "": the whole list */
    json_t *body;   /* an object */
    struct accounts_changes changes;
    struct account_who who;
    char new_id[ACCOUNT_ID_MAX], key[ACCOUNTS_KEY_MAX]; /* a key's text that is to be shown */
    int64_t limit, offset;
    json_t *list;
    int64_t seen;
    const char *tenant; /* of the query; NULL: any */
};

static int list_one(void *arg, struct account_row *r)
{
    struct doing *d = arg;

    if (r->state == ACCOUNT_REMOVED || (d->tenant && strcmp(d->tenant, r->tenant)))
        return 0;
    if (d->seen++ < d->offset)
        return 0;
    if ((int64_t)json_array_size(d->list) >= d->limit)
        return STOP;
    return json_array_append_new(d->list, accounts_json(r)) ? ERR_NOMEM : 0;
}

static int list(struct doing *d, struct accounts *a, struct err *e)
{
    char tenant[ACCOUNT_NAME_MAX];
    int r = query_count(d->c, "limit", LIST_USUAL, LIST_MAX, &d->limit, e);

    if (!r)
        r = query_count(d->c, "offset", 0, NUMBER_MAX, &d->offset, e);
    if (!r)
        r = call_admin_text(d->c, "tenant", tenant, sizeof tenant, &d->tenant, e);
    d->list = json_array();
    if (!r)
        r = accounts_each(a, (int)d->kind, -1, list_one, d, e);
    if (r < 0) {
        json_decref(d->list);
        return r;
    }
    return call_admin_answer(
        d->c, 200,
        json_pack("{s:s, s:o, s:b}", "object", "list", "data", d->list, "has_more", r == STOP), e);
}

/* The account as it is now; with a key's text where there is a new one. */
static int show(struct doing *d, struct accounts *a, const char *id, int status, struct err *e)
{
    struct account_row row;
    json_t *j;
    int r = accounts_get(a, d->kind, id, &row, e);

    if (r)
        return r;
    j = accounts_json(&row);
    account_done(&row.settings);
    if (*d->key)
        json_object_set_new(j, "key", json_string(d->key));
    memset(d->key, 0, sizeof d->key);
    return call_admin_answer(d->c, status, j, e);
}

static const char *text_member(const json_t *body, const char *name)
{
    return json_string_value(json_object_get(body, name));
}

static int make(struct doing *d, struct accounts *a, struct err *e)
{
    const char *id = text_member(d->body, "id"), *tenant = text_member(d->body, "tenant");
    const char *team = text_member(d->body, "team");
    int r;

    if (!id || (d->kind != ACCOUNT_TENANT && !tenant))
        return err_set_param(e, ERR_ARG, id ? "tenant" : "id", "%s: is required, a text",
                             id ? "tenant" : "id");
    if (!team && json_object_get(d->body, "team") &&
        !json_is_null(json_object_get(d->body, "team")))
        return err_set_param(e, ERR_ARG, "team", "team: wants a text");
    if (snprintf(d->new_id, sizeof d->new_id, "%s%s%s", d->kind == ACCOUNT_TEAM ? tenant : "",
                 d->kind == ACCOUNT_TEAM ? "/" : "", id) >= (int)sizeof d->new_id)
        return err_set_param(e, ERR_ARG, "id", "id: is too long");
    if (d->kind == ACCOUNT_KEY)
        r = accounts_new_key(a, &d->who, d->new_id, tenant, team, d->changes.list, d->changes.n,
                             d->key, e);
    else
        r = accounts_new(a, &d->who, d->kind, d->new_id, d->changes.list, d->changes.n, e);
    return r ? r : show(d, a, d->new_id, 201, e);
}

static int change(struct doing *d, struct accounts *a, struct err *e)
{
    int r = accounts_set(a, &d->who, d->kind, d->id, d->changes.list, d->changes.n, e);

    return r ? r : show(d, a, d->id, 200, e);
}

static int drop(struct doing *d, struct accounts *a, struct err *e)
{
    int r = accounts_remove(a, &d->who, d->kind, d->id, e);

    return r ? r
             : call_admin_answer(d->c, 200,
                                 json_pack("{s:s, s:s, s:b}", "object", account_kind_name(d->kind),
                                           "id", d->id, "deleted", 1),
                                 e);
}

static int rotate(struct doing *d, struct accounts *a, struct err *e)
{
    const json_t *overlap = json_object_get(d->body, "overlap_seconds");
    const char *request = *d->c->admin.request ? d->c->admin.request : NULL;
    int r;

    if (overlap && accounts_count(overlap) < 0)
        return err_set_param(e, ERR_ARG, "overlap_seconds", "overlap_seconds: wants a count");
    r = accounts_rotate(a, &d->who, d->id, overlap ? accounts_count(overlap) : OVERLAP_S, request,
                        d->key, e);
    return r ? r : show(d, a, d->id, 200, e);
}

static int revoke(struct doing *d, struct accounts *a, struct err *e)
{
    int r = accounts_revoke(a, &d->who, d->id, e);

    return r ? r : show(d, a, d->id, 200, e);
}

static int get(struct doing *d, struct accounts *a, struct err *e)
{
    return *d->id ? show(d, a, d->id, 200, e) : list(d, a, e);
}

/* The verbs of each endpoint, and the members of a body that are no settings. */
static const struct verb {
    enum api_route_id route;
    enum http_method method;
    enum account_kind kind;
    int (*run)(struct doing *d, struct accounts *a, struct err *e);
    const char *others[4];
} verbs[] = {
    {API_ROUTE_ADMIN_TENANTS, HTTP_GET, ACCOUNT_TENANT, get, {NULL}},
    {API_ROUTE_ADMIN_TENANTS, HTTP_POST, ACCOUNT_TENANT, make, {"id"}},
    {API_ROUTE_ADMIN_TENANT, HTTP_GET, ACCOUNT_TENANT, get, {NULL}},
    {API_ROUTE_ADMIN_TENANT, HTTP_PATCH, ACCOUNT_TENANT, change, {NULL}},
    {API_ROUTE_ADMIN_TENANT, HTTP_DELETE, ACCOUNT_TENANT, drop, {NULL}},
    {API_ROUTE_ADMIN_TEAMS, HTTP_GET, ACCOUNT_TEAM, get, {NULL}},
    {API_ROUTE_ADMIN_TEAMS, HTTP_POST, ACCOUNT_TEAM, make, {"id", "tenant"}},
    {API_ROUTE_ADMIN_TEAM, HTTP_GET, ACCOUNT_TEAM, get, {NULL}},
    {API_ROUTE_ADMIN_TEAM, HTTP_PATCH, ACCOUNT_TEAM, change, {NULL}},
    {API_ROUTE_ADMIN_TEAM, HTTP_DELETE, ACCOUNT_TEAM, drop, {NULL}},
    {API_ROUTE_ADMIN_KEYS, HTTP_GET, ACCOUNT_KEY, get, {NULL}},
    {API_ROUTE_ADMIN_KEYS, HTTP_POST, ACCOUNT_KEY, make, {"id", "tenant", "team"}},
    {API_ROUTE_ADMIN_KEY, HTTP_GET, ACCOUNT_KEY, get, {NULL}},
    {API_ROUTE_ADMIN_KEY, HTTP_PATCH, ACCOUNT_KEY, change, {NULL}},
    {API_ROUTE_ADMIN_KEY, HTTP_DELETE, ACCOUNT_KEY, drop, {NULL}},
    {API_ROUTE_ADMIN_ROTATE, HTTP_POST, ACCOUNT_KEY, rotate, {"overlap_seconds"}},
    {API_ROUTE_ADMIN_REVOKE, HTTP_POST, ACCOUNT_KEY, revoke, {NULL}},
};

static const struct verb *find_verb(const struct call *c)
{
    enum http_method m = c->method == HTTP_HEAD ? HTTP_GET : c->method;

    for (size_t i = 0; i < ARRAY_LEN(verbs); i++) {
        if (verbs[i].route == c->route.id && verbs[i].method == m)
            return &verbs[i];
    }
    return NULL;
}

/* The body as an object; an empty one where there is none. */
static int read_body(struct call *c, json_t **ret, struct err *e)
{
    json_t *j = NULL;
    int r;

    if (c->body.len > BODY_MAX)
        return err_set(e, ERR_TOO_LARGE, "A body here has at most %zu bytes.", BODY_MAX);
    if (!c->body.len) {
        *ret = json_object();
        return *ret ? 0 : err_set(e, ERR_NOMEM, "No memory for one more request.");
    }
    r = json_parse(&j, c->body.data, c->body.len, 0, e);
    if (!r && !json_is_object(j)) {
        json_decref(j);
        r = err_set(e, ERR_SCHEMA, "The body is a JSON object.");
    }
    if (!r)
        *ret = j;
    return r;
}

struct work {
    struct doing *d;
    const struct verb *verb;
};

static int run(void *arg, struct accounts *a, struct err *e)
{
    struct work *w = arg;

    return w->verb->run(w->d, a, e);
}

int call_admin_accounts(struct call *c, struct err *e)
{
    char actor[CALL_ACTOR_MAX];
    const struct verb *v = find_verb(c);
    struct doing *d;
    struct work w;
    int r;

    if (!v)
        return err_set(e, ERR_METHOD, "this method is not served here");
    d = calloc(1, sizeof *d);
    if (!d)
        return err_set(e, ERR_NOMEM, "No memory for one more request.");
    d->c = c;
    d->kind = v->kind;
    d->id = c->route.arg;
    d->who = call_admin_who(c, actor);
    w = (struct work){d, v};
    r = read_body(c, &d->body, e);
    if (!r)
        r = accounts_changes_read(&d->changes, d->body, v->others, e);
    if (!r)
        r = cloud_with_accounts(c->s->cloud, clock_now_us(), run, &w, e);
    if (!r)
        atomic_fetch_add(&c->s->keys_read, 1);
    json_decref(d->body);
    free(d);
    return r;
}

/* ---- the log of changes ---------------------------------------------------------------------- */

struct lines {
    struct call *c;
    json_t *list;
    int64_t after, before, limit; /* before 0: those after `after` */
};

static int add_line(void *arg, const struct account_audit *l)
{
    struct lines *x = arg;

    return json_array_append_new(x->list, accounts_audit_json(l)) ? ERR_NOMEM : 0;
}

static int read_lines(void *arg, struct accounts *a, struct err *e)
{
    struct lines *x = arg;

    return x->before ? accounts_audit_back(a, x->before, x->limit, add_line, x, e)
                     : accounts_audit(a, x->after, x->limit, add_line, x, e);
}

int call_admin_audit(struct call *c, struct err *e)
{
    struct lines x = {.c = c};
    int r = query_count(c, "after", 0, NUMBER_MAX, &x.after, e);

    if (!r)
        r = query_count(c, "before", 0, NUMBER_MAX, &x.before, e);
    if (!r)
        r = query_count(c, "limit", LIST_USUAL, LIST_MAX, &x.limit, e);
    x.list = json_array();
    if (!r)
        r = cloud_with_accounts(c->s->cloud, clock_now_us(), read_lines, &x, e);
    if (r) {
        json_decref(x.list);
        return r;
    }
    return call_admin_answer(c, 200, json_pack("{s:s, s:o}", "object", "list", "data", x.list), e);
}

/* ---- usage ----------------------------------------------------------------------------------- */

struct sums {
    json_t *list;
    enum books_by by;
};

/* null where it is known of no request. */
static void put_known(json_t *j, const char *name, int64_t n_known, const char *text)
{
    json_object_set_new(j, name, n_known ? json_string(text) : json_null());
}

static int add_sum(void *arg, const struct books_sum *s)
{
    struct sums *x = arg;
    char charge[MONEY_TEXT_MAX], cost[MONEY_TEXT_MAX], text[WATTHOUR_TEXT_MAX];
    json_t *j = json_pack(
        "{s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:s, s:s, s:s, s:I, s:I, s:I}", "key", s->key[x->by],
        "requests", (json_int_t)s->n_requests, "prompt_tokens", (json_int_t)s->prompt_tokens,
        "cached_tokens", (json_int_t)s->cached_tokens, "completion_tokens",
        (json_int_t)s->completion_tokens, "reasoning_tokens", (json_int_t)s->reasoning_tokens,
        "lost_tokens", (json_int_t)s->lost_tokens, "charge", money_show(s->charge_nano, charge),
        "cost", money_show(s->cost_nano, cost), "currency", s->currency, "unpriced",
        (json_int_t)s->n_unpriced, "estimated", (json_int_t)s->n_estimated, "disputed",
        (json_int_t)s->n_disputed);

    put_known(j, "energy_wh", s->n_energy, watthour_show(s->energy_uj, text));
    put_known(j, "energy_boundary", s->n_energy,
              energy_boundary_name((enum energy_boundary)(s->energy_boundary % ENERGY_BOUNDARIES)));
    put_decimal(s->carbon_location_ug, 6, text);
    put_known(j, "carbon_location_g", s->n_location, text);
    put_decimal(s->carbon_market_ug, 6, text);
    put_known(j, "carbon_market_g", s->n_market, text);
    json_object_set_new(j, "without_energy", json_integer(s->n_used - s->n_energy));
    json_object_set_new(j, "without_carbon_location", json_integer(s->n_used - s->n_location));
    json_object_set_new(j, "without_carbon_market", json_integer(s->n_used - s->n_market));
    return json_array_append_new(x->list, j) ? ERR_NOMEM : 0;
}

int call_admin_usage(struct call *c, struct err *e)
{
    static const struct {
        const char *name;
        enum books_by by;
    } bys[] = {{"tenant", BOOKS_BY_TENANT},     {"team", BOOKS_BY_TEAM},
               {"key", BOOKS_BY_KEY},           {"labels", BOOKS_BY_LABELS},
               {"model", BOOKS_BY_MODEL},       {"supplier", BOOKS_BY_SUPPLIER},
               {"day", BOOKS_BY_DAY},           {"site", BOOKS_BY_SITE},
               {"contract", BOOKS_BY_CONTRACT}, {"all", BOOKS_BY_ALL}};
    char by[16] = "tenant", text[8][ACCOUNT_ID_MAX];
    struct books_where w = {0};
    const struct {
        const char *name, **to;
    } filters[] = {{"tenant", &w.tenant}, {"team", &w.team},         {"key", &w.key_id},
                   {"model", &w.model},   {"supplier", &w.supplier}, {"label", &w.label},
                   {"site", &w.site},     {"contract", &w.contract}};
    const char *ledger = c->s->config->ledger;
    struct sums x;
    size_t i = 0;
    int r;

    if (!*ledger || !strcmp(ledger, "off"))
        return err_set(e, ERR_UNSUPPORTED, "This server keeps no ledger.");
    api_query_get(&c->route, "by", by, sizeof by);
    while (i < ARRAY_LEN(bys) && strcmp(by, bys[i].name))
        i++;
    if (i == ARRAY_LEN(bys))
        return err_set_param(e, ERR_ARG, "by",
                             "by: wants tenant, team, key, labels, model, supplier, site, "
                             "contract, day or all");
    for (size_t k = 0; k < ARRAY_LEN(filters); k++) {
        r = call_admin_text(c, filters[k].name, text[k], k ? sizeof text[k] : ACCOUNT_NAME_MAX,
                            filters[k].to, e);
        if (r)
            return r;
    }
    r = call_admin_day(c, "from", &w.from_s, e);
    if (!r)
        r = call_admin_day(c, "to", &w.until_s, e);
    x = (struct sums){json_array(), bys[i].by};
    if (!r)
        r = books_bill(ledger, 1u << x.by, &w, add_sum, &x, e);
    if (r) {
        json_decref(x.list);
        return r;
    }
    return call_admin_answer(c, 200, json_pack("{s:s, s:o}", "object", "list", "data", x.list), e);
}

/* ---- prices ---------------------------------------------------------------------------------- */

/* A member of money; null where it is not said. */
static void put_money(json_t *j, const char *name, int64_t nano)
{
    char text[MONEY_TEXT_MAX];

    json_object_set_new(j, name, nano < 0 ? json_null() : json_string(money_show(nano, text)));
}

static json_t *any_name(const char *name)
{
    return *name ? json_string(name) : json_null();
}

static json_t *price_json(const struct price *p, const char *currency)
{
    json_t *j =
        json_pack("{s:s, s:o, s:o, s:o, s:s, s:I}", "side", p->side == PRICE_BUY ? "buy" : "sell",
                  "model", any_name(p->model), "supplier", any_name(p->supplier), "tier",
                  p->tier < 0 ? json_null() : json_string(tier_name((enum tier)p->tier)),
                  "currency", *p->currency ? p->currency : currency, "from", (json_int_t)p->from_s);

    put_money(j, "input", p->uncached);
    put_money(j, "cached_input", p->cache_read);
    put_money(j, "cache_write", p->cache_write);
    put_money(j, "output", p->output);
    put_money(j, "reasoning", p->reasoning);
    put_money(j, "energy", p->energy);
    put_money(j, "per_request", p->per_request);
    put_money(j, "minimum", p->minimum);
    return j;
}

int call_admin_prices(struct call *c, struct err *e)
{
    const struct serve_config *config = c->s->config;
    json_t *list = json_array();

    for (int i = 0; i < config->book.n; i++)
        json_array_append_new(list, price_json(&config->book.list[i], config->currency));
    return call_admin_answer(c, 200, json_pack("{s:s, s:o}", "object", "list", "data", list), e);
}

/* ---- one's own ------------------------------------------------------------------------------- */

int call_account(struct call *c, struct err *e)
{
    c->admin.status = 200;
    return account_write(c->s->console, c->own, &c->out)
               ? err_set(e, ERR_NOMEM, "No memory for the answer.")
               : 0;
}

/* ---- the configuration ----------------------------------------------------------------------- */

int call_admin_reload(struct call *c, struct err *e)
{
    int generation = 0, r = server_reload(c->s, &generation, e);

    return r ? r
             : call_admin_answer(
                   c, 200,
                   json_pack("{s:s, s:i}", "object", "configuration", "generation", generation), e);
}

void call_show_openapi(struct call *c)
{
    json_t *j = admin_openapi();
    struct err e = {0};

    if (!j || json_put_tree(&c->out, j)) {
        err_set(&e, ERR_NOMEM, "No memory for the answer.");
        call_fail(c, &e);
    } else {
        call_reply_buf(c, 200, "application/json", &c->out);
    }
    json_decref(j);
}
