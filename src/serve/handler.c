/* The handler: the functions that net calls, on io threads, when something happens to an exchange.
 * A call is freed only here, at the end of one of these functions, when no thread and no supplier
 * has anything of it any more. */
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/put.h"
#include "base/rand.h"
#include "console/page.h"
#include "serve/origin.h"
#include "serve/server.h"
#include "serve/trace_export.h"
#include "serve/traces.h"
#include "serve/webhooks.h"

#define ARENA_BASE  ((size_t)1 << 20) /* and a multiple of the body */
#define ARENA_BODY  8
#define ARENA_CHUNK 960 /* what malloc keeps at hand */

static int is_home(struct call *c)
{
    return c->state == CALL_OVER && !c->x && c->n_home == c->n_sent && call_hedge_is_home(c) &&
           !call_watch_is_out(c) && call_store_is_home(c);
}

static const char *finish_of(const struct call *c)
{
    if (c->code == ERR_CANCELLED)
        return "cancelled";
    if (c->code || !c->finish)
        return "error";
    return c->finish;
}

void handler_reap(struct call *c)
{
    if (c->state == CALL_OVER && c->n_home == c->n_sent &&
        call_hedge_is_home(c)) /* with all that it used */
        row_finish(&c->live, finish_of(c));
    if (is_home(c))
        call_close(c);
}

void handler_tick(void *ctx)
{
    struct server_io *io = ctx;
    int64_t now = clock_now_us();

    for (struct call *c = io->calls, *next; c; c = next) {
        next = c->next;
        if (c->watch)
            call_watch_tick(c, now);
        else
            call_tick(c, now);
        handler_reap(c);
    }
    io->ticking = io->calls != NULL;
    if (io->ticking)
        net_timer_arm(io->tick, TICK_MS);
}

static void keep_ticking(struct server_io *io)
{
    if (!io->ticking)
        net_timer_arm(io->tick, TICK_MS);
    io->ticking = 1;
}

/* What a request is called: the second in which it began, and random bytes. Ids so come in the
 * order of time, and the ledger's index by them grows at one end only. */
static void put_id(char *id, const unsigned char random[12])
{
    unsigned char bytes[16];
    uint32_t second = htonl((uint32_t)(clock_wall_us() / 1000000));

    memcpy(bytes, &second, sizeof second);
    memcpy(bytes + sizeof second, random, 12);
    memcpy(id, "req_", 4);
    put_bytes(bytes, sizeof bytes, id + 4);
}

/* Make a call. NULL without memory, or without random bytes for its id: two calls with one id would
 * be one row in the ledger. */
static struct call *call_new(struct server *s, struct net_exchange *x)
{
    const struct http_head *h = net_head(x);
    const char *client_id = http_field(h, "x-client-request-id");
    unsigned char random[12];
    struct call *c;
    char *q;

    if (rand_system(random, sizeof random) ||
        !(c = handler_call_new(s, net_io(x), net_started_us(x))))
        return NULL;
    c->x = x;
    c->method = h->method;
    put_text(c->path, sizeof c->path, h->target);
    if ((q = strchr(c->path, '?')))
        *q = 0;
    if (client_id)
        put_text(c->live.row.client_id, sizeof c->live.row.client_id, client_id);
    put_text(c->peer, sizeof c->peer, net_peer(x));
    put_id(c->live.row.id, random);
    net_set_user(x, c);
    return c;
}

struct call *handler_call_new(struct server *s, int i, int64_t started_us)
{
    struct call *c = calloc(1, sizeof *c);
    struct server_io *io = &s->io[i];

    if (!c)
        return NULL;
    c->s = s;
    c->io = i;
    c->started_us = c->live.row.started_us = started_us;
    c->ticket = (struct cloud_ticket){.i_tenant = -1, .i_rate = -1, .tenant = ""};
    c->prep_item.kind = MAIL_PREP;
    c->prep_item.owner = c;
    buf_init(&c->out, (size_t)128 << 20);
    buf_init(&c->store.raw, (size_t)128 << 20);
    buf_init(&c->record, ROUTE_RECORD_BYTES_MAX);
    arena_init(&c->arena, ARENA_CHUNK, ARENA_BASE);
    c->next = io->calls;
    if (c->next)
        c->next->prev = c;
    io->calls = c;
    atomic_fetch_add(&s->n_calls, 1);
    keep_ticking(io);
    return c;
}

static enum api_method method_of(const struct http_head *h)
{
    const char *name = http_method_name(h->method);

    return api_method_parse(name, strlen(name));
}

static void find_key(const struct http_head *h, const char **ret, size_t *ret_n)
{
    *ret = NULL;
    *ret_n = 0;
    api_key_find(http_field(h, "authorization"), http_field(h, "x-api-key"),
                 http_field(h, "api-key"), ret, ret_n);
}

static struct origin_ask origin_of(const struct call *c)
{
    const struct http_head *h = net_head(c->x);

    return (struct origin_ask){.host = h->host,
                               .origin = http_field(h, "origin"),
                               .site = http_field(h, "sec-fetch-site"),
                               .mode = http_field(h, "sec-fetch-mode"),
                               .is_page = (c->method == HTTP_GET || c->method == HTTP_HEAD) &&
                                          page_find(c->path)};
}

/* Does the request come from this machine, and not from another site's page in a browser on it? */
static int is_local(const struct call *c)
{
    struct origin_ask ask = origin_of(c);

    return net_is_near(c->x) && origin_is_own(c->s->config, &ask);
}

struct cloud_caller handler_caller(const struct call *c)
{
    struct cloud_caller who = {.address = c->peer};
    const char *origin = http_field(net_head(c->x), "origin");

    find_key(net_head(c->x), &who.key, &who.n_key);
    if (origin && *origin && !handler_is_own_page(c))
        who.origin = origin;
    who.must_be_named = c->is_named_only;
    return who;
}

int handler_is_operator(struct call *c)
{
    struct cloud_admin who;
    struct err e;

    return !handler_check_operator(c, &who, &e);
}

int handler_is_own_page(const struct call *c)
{
    struct origin_ask ask = origin_of(c);

    return origin_is_own_page(&ask);
}

int handler_find_session(struct call *c, struct session *ret)
{
    const char *cookies = http_field(net_head(c->x), "cookie"), *token;
    char name[CALL_COOKIE_MAX];
    size_t n;

    call_cookie_name(c->s, name);
    return cookies && api_cookie_find(cookies, name, &token, &n) &&
           sessions_find(c->s->sessions, clock_now_us(), token, n, ret);
}

static int is_change(const struct call *c)
{
    return c->method != HTTP_GET && c->method != HTTP_HEAD;
}

/* A cookie is sent by the browser, whoever's page asked for it: it has to be ours, and to change
 * something it shows that it can read what we answer. */
static int check_page(struct call *c, const struct session *s, struct err *e)
{
    if (!handler_is_own_page(c))
        return err_set(e, ERR_FORBIDDEN, "A session is for this server's own page.");
    if (is_change(c) && !session_has_csrf(s, http_field(net_head(c->x), "x-gaufre-csrf")))
        return err_set_param(e, ERR_FORBIDDEN, "x-gaufre-csrf",
                             "With a session, a change needs the header x-gaufre-csrf, as GET "
                             "/admin/v1/session tells it.");
    return 0;
}

static int check_admin(struct call *c, struct cloud_admin *ret, struct err *e)
{
    struct cloud_caller who = handler_caller(c);
    struct session s = {.until_us = 0};
    int r = 0;

    if (!who.key && handler_find_session(c, &s)) {
        r = check_page(c, &s, e);
        who.key = s.key;
        who.n_key = strlen(s.key);
    }
    if (!r)
        r = cloud_check_admin(c->s->cloud, clock_now_us(), &who, ret, e);
    session_wipe(&s);
    if (!r && is_change(c) && ret->is_read_only)
        r = err_set_param(e, ERR_FORBIDDEN, "api_key",
                          "This key may look, and change nothing (read_only).");
    return r;
}

int handler_check_operator(struct call *c, struct cloud_admin *ret, struct err *e)
{
    if (serve_has_keys(c->s->config))
        return check_admin(c, ret, e);
    *ret = (struct cloud_admin){.key_id = ""};
    return is_local(c) ? 0 : err_set(e, ERR_FORBIDDEN, "This is for who is on this machine only.");
}

static int may_read_metrics(struct call *c, const struct cloud_caller *who, struct err *e)
{
    int access = c->s->config->metrics;

    if (!c->is_named_only &&
        (access == SERVE_METRICS_OPEN || (access == SERVE_METRICS_LOCAL && is_local(c))))
        return 0;
    if (!serve_has_keys(c->s->config))
        return err_set(e, ERR_FORBIDDEN, "Metrics are for this machine only.");
    return cloud_check_key(c->s->cloud, clock_now_us(), who, e);
}

static int may_ask(struct call *c, const struct cloud_caller *who, struct err *e)
{
    int64_t now_us = clock_now_us();

    switch (c->route.auth) {
    case API_AUTH_NONE:
        break;
    case API_AUTH_KEY:
        return cloud_check_key(c->s->cloud, now_us, who, e);
    case API_AUTH_TENANT:
        c->keys_read = atomic_load(&c->s->keys_read); /* before the key is looked at */
        return cloud_find_tenant(c->s->cloud, now_us, who, &c->i_viewer, e);
    case API_AUTH_OWN:
        c->own = arena_zalloc(&c->arena, sizeof *c->own);
        return c->own ? cloud_view_own(c->s->cloud, now_us, who, c->own, e)
                      : err_set(e, ERR_NOMEM, "No memory for one more request.");
    case API_AUTH_ADMIN:
        return check_admin(c, &c->admin.who, e);
    case API_AUTH_OPERATOR:
        c->keys_read = atomic_load(&c->s->keys_read);
        c->i_viewer = WATCH_ALL;
        return handler_check_operator(c, &c->admin.who, e);
    case API_AUTH_METRICS:
        return may_read_metrics(c, who, e);
    case API_AUTH_LIMITS:
        if (server_is_closing(c->s))
            return err_set(e, ERR_DRAINING, "The server is shutting down.");
        cloud_tell_wall(c->s->cloud, now_us, clock_wall_us());
        return cloud_enter(c->s->cloud, now_us, who, &c->ticket, e);
    }
    return 0;
}

static int begin_body(struct call *c, struct err *e)
{
    int r;

    c->state = CALL_BODY;
    if (c->route.dialect)
        row_publish(&c->live, c->s->io[c->io].rows, c->route.dialect->name, c->ticket.i_rate);
    if (cloud_n_keys(c->s->cloud)) /* else by address */
        net_set_owner(c->x, 1 + (uint64_t)c->ticket.i_tenant);
    r = net_read_body(c->x, c->s->config->body_limit);
    if (r == ERR_TOO_LARGE)
        return err_set(e, r, "The body is larger than the limit of %llu bytes.",
                       (unsigned long long)c->s->config->body_limit);
    if (r)
        return err_set(e, r, "The server has no memory for the body now; please try again.");
    return 0;
}

/* The settings do not let its page in; accounts may, by their own lists, and which account asks is
 * known when its key is. A browser asks before that, without a key (OPTIONS): it is told yes where
 * any account has the origin. What needs no key is refused. */
static int is_named(struct call *c, const char *origin)
{
    if (!serve_has_keys(c->s->config) || !origin || !*origin ||
        !cloud_has_origin(c->s->cloud, origin) || !(c->cors = arena_strdup(&c->arena, origin)))
        return 0;
    c->is_named_only = 1;
    return 1;
}

static int needs_key(const struct call *c)
{
    return c->route.id == API_ROUTE_PREFLIGHT || c->route.auth != API_AUTH_NONE;
}

static void judge(struct call *c)
{
    const struct http_head *h = net_head(c->x);
    struct origin_ask ask = origin_of(c);
    const struct page_file *file;
    struct err e = {0}, foreign = {0};
    struct cloud_caller who;
    int r;

    /* A web page that may not call is refused before anything else is looked at. */
    if (origin_check(c->s->config, &ask, &c->cors, &foreign) && !is_named(c, ask.origin)) {
        call_fail(c, &foreign);
        return;
    }
    who = handler_caller(c);
    r = api_route_find(method_of(h), h->target, strlen(h->target), &c->route, &e);
    c->endpoint = endpoint_row(c->route.id);
    c->frame = c->route.dialect ? c->route.dialect->frame(http_field(h, "user-agent"))
                                : api_sse_frame(NULL);
    if (net_is_reserve(c->x) && (r || !c->endpoint->in_reserve)) {
        err_set(&e, ERR_AGAIN, "Too many connections are open; please try again shortly.");
        call_fail(c, &e);
        return;
    }
    if (c->is_named_only && (r || !needs_key(c))) {
        call_fail(c, &foreign);
        return;
    }
    if (r == ERR_NO_ROUTE && (file = page_find(c->path))) {
        call_show_page(c, file);
        return;
    }
    if (r) {
        call_fail(c, &e);
        return;
    }
    if (c->endpoint->parse)
        call_trace_begin(c);
    r = may_ask(c, &who, &e);
    if (!r && (c->endpoint->parse || c->endpoint->administer))
        r = begin_body(c, &e);
    if (r)
        call_fail(c, &e);
    else if (c->endpoint->answer)
        c->endpoint->answer(c);
}

void handler_request(void *ctx, struct net_exchange *x)
{
    struct server *s = ctx;
    struct call *c = call_new(s, x);

    if (!c) {
        static const char body[] = "{\"error\":{\"message\":\"no memory or random bytes\",\"type\":"
                                   "\"service_unavailable_error\",\"param\":null,\"code\":"
                                   "\"overloaded\"},\"status_code\":503}";
        static const struct net_header h = {"content-type", "application/json"};
        net_reply(x, 503, &h, 1, body, sizeof body - 1);
        return;
    }
    judge(c);
    handler_reap(c);
}

static char *keep(struct call *c, const struct http_head *h, const char *name)
{
    const char *v = http_field(h, name);

    return v ? arena_strdup(&c->arena, v) : NULL;
}

static void body_failed(struct call *c, int code)
{
    struct err e = {0};

    switch (code) {
    case ERR_TOO_LARGE:
        err_set(&e, code, "The body is larger than the limit of %llu bytes.",
                (unsigned long long)c->s->config->body_limit);
        break;
    case ERR_TIMEOUT:
        err_set(&e, code, "The body did not arrive in time.");
        break;
    case ERR_NOMEM:
        err_set(&e, code, "The server has no memory for the body now; please try again.");
        break;
    default:
        err_set(&e, code, "The body could not be read: its chunks are malformed.");
    }
    call_fail(c, &e);
}

static const char *or_empty(const char *s)
{
    return s ? s : "";
}

void handler_body(void *ctx, struct net_exchange *x, int code)
{
    struct server *s = ctx;
    struct call *c = net_user(x);
    const struct http_head *h = net_head(x);
    struct err e = {0};

    if (code) {
        body_failed(c, code);
        handler_reap(c);
        return;
    }
    net_body_take(x, &c->body);
    net_claim_init(&c->claim, x, NET_CLAIM_BODY);
    net_claim_init(&c->answer, x, NET_CLAIM_ANSWER);
    net_claim_init(&c->text_claim, x, NET_CLAIM_ANSWER);
    call_text_want(c);
    c->arena.max = ARENA_BASE + ARENA_BODY * c->body.len;
    c->heads = (struct api_request_headers){
        .content_type = keep(c, h, "content-type"),
        .content_encoding = keep(c, h, "content-encoding"),
        .version_patch = keep(c, h, "x-cerebras-version-patch"),
        .queue_threshold = keep(c, h, "queue_threshold"),
        .region = keep(c, h, "x-gaufre-region"),
    };
    if (c->cancel_asked) {
        call_end_cancelled(c);
        handler_reap(c);
        return;
    }
    if (c->endpoint->is_tool) {
        int64_t n = call_tool_tokens(c->body.len);
        static const struct cloud_ask free = {.model = NULL};
        if (cloud_reserve(s->cloud, clock_now_us(), &c->ticket, &free, n, &e)) {
            call_fail(c, &e);
            handler_reap(c);
            return;
        }
    }
    c->n_body = c->body.len;
    call_replay_want(c, http_field(h, "idempotency-key"));
    call_store_want(c, http_field(h, "x-gaufre-store"));
    c->wants_leaf = !strcmp(or_empty(http_field(h, "x-gaufre-receipt")), "stream");
    if (c->endpoint->administer) {
        snprintf(c->admin.request, sizeof c->admin.request, "%s",
                 or_empty(http_field(h, "idempotency-key")));
        snprintf(c->admin.from, sizeof c->admin.from, "%s",
                 or_empty(http_field(h, "x-gaufre-from")));
        c->admin.wants_cose = strstr(or_empty(http_field(h, "accept")), "application/cose") != NULL;
    }
    c->state = c->endpoint->administer ? CALL_ADMIN : CALL_PARSE;
    call_walk(c);
    handler_reap(c);
}

void handler_gone(void *ctx, struct net_exchange *x, int code)
{
    struct call *c = net_user(x);

    if (!c)
        return;
    c->x = NULL;
    atomic_store(&c->gone, 1);
    if (c->status < 400)
        c->status = 499;
    if (!c->code)
        c->code = code;
    if (c->state == CALL_MOVE) {
        call_move_gone(c, code);
        handler_reap(c);
        return;
    }
    /* A call that a prep thread works on comes back by mail and ends then. */
    if ((c->state != CALL_PARSE && c->state != CALL_PREPARE && c->state != CALL_ADMIN) ||
        prep_drop(c->s->prep, c)) {
        c->state = CALL_OVER;
        if (code == ERR_DRAINING) {
            call_store_survive(c);
            call_cancel_jobs(c);
        } else {
            call_leave_jobs(c);
        }
        if (!c->is_kept || c->store.one)
            call_replay_done(c);
        for (int32_t i = 0; i < c->n_sent; i++) /* make room in the rings for the last events */
            call_pump(c, &c->jobs[i]);
    }
    handler_reap(c);
}

void handler_room(void *ctx, struct net_exchange *x)
{
    struct call *c = net_user(x);

    call_room(c);
    handler_reap(c);
}

void handler_mail(void *ctx, int io)
{
    struct server *s = ctx;
    struct mbox_item *list = mbox_take(net_io_mbox(s->net, io)), *it;
    struct call_job *j;
    struct call *c;

    while ((it = mbox_next(&list))) {
        if (it->kind == MAIL_PREP) {
            c = it->owner;
            call_worked(c);
        } else if (it->kind == MAIL_WATCH) {
            c = call_watch_arrive(s, it->owner, io);
            if (!c)
                continue;
        } else if (it->kind == MAIL_TRACES) {
            trace_export_mail(it->owner);
            continue;
        } else if (it->kind == MAIL_NOTICE) {
            webhooks_mail(s);
            continue;
        } else if (it->kind == MAIL_AGAIN) {
            call_again(s, io);
            continue;
        } else if (it->kind == MAIL_STORED) {
            c = it->owner;
            call_store_mail(c);
        } else {
            j = it->owner;
            c = j->call;
            call_pump(c, j);
        }
        handler_reap(c);
    }
}

void handler_refuse(void *ctx, int status, const char *why, struct buf *body)
{
    static const struct {
        int status, code;
    } codes[] = {{408, ERR_TIMEOUT}, {413, ERR_TOO_LARGE}, {503, ERR_AGAIN}};
    struct err e = {0};

    err_set(&e, ERR_FORMAT, "%s", why);
    for (size_t i = 0; i < sizeof codes / sizeof codes[0]; i++) {
        if (codes[i].status == status)
            e.code = codes[i].code;
    }
    api_error_body(body, NULL, &e);
}
