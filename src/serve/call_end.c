/* Answers, and the end of a call. */
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/put.h"
#include "serve/server.h"
#include "serve/traces.h"

#define RETRY_LOADING_US INT64_C(2000000)
#define RETRY_BUSY_US    INT64_C(1000000)
#define TOOL_BYTES       1024 /* of text, read or written, that cost as much as a token */

/* What the request will be charged, once that is known; else -1. */
static int64_t final_tokens(const struct call *c)
{
    int is_known = c->n_sent && c->n_sent == c->n_jobs;

    if (c->hedge)
        return call_hedge_answering(c)->state < JOB_DONE
                   ? -1
                   : c->usage.prompt_tokens + c->usage.completion_tokens;

    for (int32_t i = 0; is_known && i < c->n_jobs; i++)
        is_known = c->jobs[i].state >= JOB_DONE;
    return is_known ? c->usage.prompt_tokens + c->usage.completion_tokens : -1;
}

static void set(struct api_header *h, const char *name, const char *value)
{
    h->name = name;
    put_text(h->value, sizeof h->value, value);
}

/* In what it was served as less than it asked for, by its account's on_exceed. */
static int add_downgraded(const struct call *c, struct api_header *h)
{
    int is_lower = c->tier != cloud_tier(&c->ticket, c->req.tier);

    if (c->ticket.exceed == EXCEED_REJECT || c->refusal)
        return 0;
    set(h, "x-gaufre-downgraded",
        c->ticket.exceed == EXCEED_FALLBACK ? "model"
        : is_lower && c->lowered_max        ? "tier, max_tokens"
        : is_lower                          ? "tier"
                                            : "max_tokens");
    return 1;
}

const char *call_site(const struct call *c)
{
    return c->ticket.offer ? cloud_offer_site(c->s->cloud, c->ticket.offer) : "";
}

static struct cloud_use use_of(struct call *c, const struct usage *u);
static int tells_extras(const struct call *c);

/* Its leaf in the log of answers, as it will be booked: 1; 0: it has none, or tells none. */
static int find_leaf(struct call *c, char ret[BOOKS_HEX(TREE_HASH)])
{
    struct cloud_use use;

    if (!c->n_sent || call_replay_of(c) || c->ticket.i_tenant < 0 || call_store_is_free(c) ||
        !tells_extras(c))
        return 0;
    use = use_of(c, &c->usage);
    use.status = 200;
    use.evidence = call_proof_end(c);
    return cloud_leaf(c->s->cloud, &c->ticket, &use, ret);
}

static int add_leaf(struct call *c, struct api_header *h)
{
    char leaf[BOOKS_HEX(TREE_HASH)];

    if (!find_leaf(c, leaf))
        return 0;
    set(h, "x-gaufre-receipt", leaf);
    return 1;
}

void call_tell_leaf(struct call *c)
{
    char leaf[BOOKS_HEX(TREE_HASH)];
    struct buf out;

    for (int32_t i = 0; i < c->n_sent; i++) {
        if (c->jobs[i].state == JOB_OUT) /* what it comes to is not known yet */
            return;
    }
    if (!c->wants_leaf || c->n_sent != c->n_jobs || !find_leaf(c, leaf))
        return;
    buf_init(&out, 128);
    if (!buf_addf(&out, ": x-gaufre-receipt %s%s", leaf, c->frame->end))
        net_stream_write(c->x, out.data, out.len);
    buf_done(&out);
}

static int call_headers(struct call *c, struct api_header *h, int max)
{
    struct cloud *cloud = c->s->cloud;
    int64_t now_us = clock_now_us();
    struct api_rate rate;
    int n = api_common_headers(c->live.row.id, now_us - c->started_us, h, max);

    if (c->sup) { /* who serves it, and as what */
        set(&h[n++], "x-gaufre-supplier", c->sup->id);
        set(&h[n++], "x-gaufre-tier", tier_name(c->tier));
        if (*call_site(c))
            set(&h[n++], "x-gaufre-site", call_site(c));
    }
    if (*cloud_claim_text(&c->ticket, h[n].value)) /* also of what it refuses */
        h[n++].name = "x-gaufre-contract";
    if (c->set_cookie) {
        set(&h[n++], "set-cookie", c->set_cookie);
        set(&h[n++], "cache-control", "no-store");
    }
    if (c->sup && c->store.one)
        set(&h[n++], "x-gaufre-stored", c->reply_id);
    else if (*c->store.why_not)
        set(&h[n++], "x-gaufre-not-stored", c->store.why_not);
    n += add_downgraded(c, &h[n]);
    if (c->is_whole) { /* not of a stream, which begins before */
        n += api_receipt_headers(&c->receipt, h + n, max - n);
        n += add_leaf(c, &h[n]);
    }
    if (call_replay_of(c)) {
        set(&h[n++], "idempotent-replayed", "true");
        set(&h[n++], "x-gaufre-replay-of", call_replay_of(c));
    }
    n += api_cors_headers(0, c->cors, h + n, max - n);
    if (cloud_rate(cloud, now_us, &c->ticket, final_tokens(c), &rate))
        n += api_rate_headers(&rate, h + n, max - n);
    h[n].name = "x-gaufre-budget-warning";
    n += cloud_warning(cloud, now_us, &c->ticket, h[n].value, sizeof h[n].value);
    if (c->lowered_max) {
        h[n].name = "x-gaufre-max-tokens";
        put_dec(c->lowered_max, h[n++].value);
    }
    return n;
}

static void to_net(const struct api_header *h, int n, struct net_header *ret)
{
    CHECK(n <= CALL_HEADERS_MAX);
    for (int i = 0; i < n; i++)
        ret[i] = (struct net_header){h[i].name, h[i].value};
}

static struct net_exchange *leave_net(struct call *c, int status)
{
    struct net_exchange *x = c->x;

    CHECK(x);
    c->x = NULL;
    c->status = status;
    c->state = CALL_OVER;
    return x;
}

int call_send(struct call *c, int status, const struct api_header *h, int n, const void *body,
              size_t n_body)
{
    struct net_header nh[CALL_HEADERS_MAX];

    to_net(h, n, nh);
    return net_reply(leave_net(c, status), status, nh, n, body, n_body);
}

void call_stream_begin(struct call *c)
{
    struct api_header h[CALL_HEADERS_MAX];
    struct net_header nh[CALL_HEADERS_MAX];
    int n = api_stream_headers(c->frame, h, CALL_HEADERS_MAX);

    n += call_headers(c, h + n, CALL_HEADERS_MAX - n);
    to_net(h, n, nh);
    c->streaming = 1;
    c->status = 200;
    net_stream_begin(c->x, 200, nh, n);
}

/* The headers of an answer, gathered before they are sent. */
struct head {
    struct api_header h[CALL_HEADERS_MAX];
    struct net_header nh[CALL_HEADERS_MAX]; /* point into h */
    int n;
};

static void make_head(struct call *c, const char *type, struct head *ret)
{
    set(ret->h, "content-type", type);
    ret->n = 1;
    ret->n += call_headers(c, ret->h + ret->n, CALL_HEADERS_MAX - ret->n);
    to_net(ret->h, ret->n, ret->nh);
}

void call_reply(struct call *c, int status, const char *type, const void *body, size_t n)
{
    struct head h;

    make_head(c, type, &h);
    net_reply(leave_net(c, status), status, h.nh, h.n, body, n);
}

void call_reply_buf(struct call *c, int status, const char *type, struct buf *body)
{
    struct head h;

    make_head(c, type, &h);
    net_reply_buf(leave_net(c, status), status, h.nh, h.n, body);
}

void call_reply_stream(struct call *c, const void *body, size_t n)
{
    struct api_header h[CALL_HEADERS_MAX];
    int n_h = api_stream_headers(c->frame, h, CALL_HEADERS_MAX);

    n_h += call_headers(c, h + n_h, CALL_HEADERS_MAX - n_h);
    call_send(c, 200, h, n_h, body, n);
}

void call_begin(struct call *c, int status, const char *type)
{
    struct head h;

    make_head(c, type, &h);
    c->status = status;
    net_stream_begin(c->x, status, h.nh, h.n);
}

static int64_t retry_us(const struct call *c, int code)
{
    if (c->ticket.retry_us > 0)
        return c->ticket.retry_us;
    return code == ERR_LOADING ? RETRY_LOADING_US : RETRY_BUSY_US;
}

/* The answer of a stream that began: an error frame, and the end of the connection. */
static void fail_stream(struct call *c, const struct err *e)
{
    struct event ev = {.kind = EVENT_ERROR, .err = e};
    struct net_exchange *x = c->x;

    c->out.failed = 0;
    api_reply_event(c->reply, &ev, &c->out);
    net_close_after(x);
    if (!net_stream_write(x, c->out.data, c->out.len)) {
        c->x = NULL;
        net_stream_end(x);
    }
}

void call_fail(struct call *c, const struct err *e)
{
    struct api_header h[CALL_HEADERS_MAX];
    struct buf body;
    int status, n;

    if (!c->code)
        c->code = e->code;
    if (e != &c->err)
        c->err = *e;
    call_replay_done(c); /* before the client can know */
    call_store_fail(c, e->code);
    if (c->x && c->streaming) {
        c->state = CALL_OVER;
        fail_stream(c, e);
    } else if (c->x) {
        buf_init(&body, 8192);
        status = api_error_body(&body, c->route.dialect, e);
        set(h, "content-type", "application/json");
        n = 1;
        n += call_headers(c, h + n, CALL_HEADERS_MAX - n);
        n += api_retry_headers(e, retry_us(c, e->code), h + n, CALL_HEADERS_MAX - n);
        if (e->code == ERR_METHOD) {
            char allow[64];
            api_allow_text(c->route.allow, allow);
            set(&h[n++], "allow", allow);
        }
        call_send(c, status, h, n, body.data, body.len);
        buf_done(&body);
    }
    c->state = CALL_OVER;
    call_cancel_jobs(c);
}

/* ---- the end --------------------------------------------------------------------------------- */

/* What a request costs that reached no supplier: the reading of its text, if a text tool's or
 * refused for what the client did. */
static int64_t work_tokens(const struct call *c)
{
    int is_refused = c->code && c->code != ERR_CANCELLED && err_http_status(c->code) < 500 &&
                     !c->ticket.offer_is_full;

    return c->n_worked && (c->endpoint->is_tool || is_refused) ? call_tool_tokens(c->n_worked) : 0;
}

/* As the books have it: one time for the receipt and the row, as prices have theirs. */
static struct cloud_use use_of(struct call *c, const struct usage *u)
{
    if (!c->booked_us)
        c->booked_us = clock_wall_us();
    return (struct cloud_use){.request_id = c->live.row.id,
                              .model = c->sup ? server_model(c)->names[0] : "",
                              .supplier = c->sup ? c->sup->id : "",
                              .prompt_tokens = u->prompt_tokens,
                              .cached_tokens = u->cached_tokens,
                              .completion_tokens = u->completion_tokens,
                              .cache_write_tokens = u->cache_write_tokens,
                              .reasoning_tokens = u->reasoning_tokens,
                              .usage_state = u->state,
                              .owed = &c->owed,
                              .energy = u->energy,
                              .tier = c->tier,
                              .status = c->status,
                              .at_us = c->booked_us};
}

static int tells_extras(const struct call *c)
{
    const struct serve_config *s = c->s->config;

    return s->usage_extras == SERVE_EXTRAS_AUTO ? !s->strict_compat
                                                : s->usage_extras == SERVE_EXTRAS_ON;
}

const struct receipt *call_receipt(struct call *c, const struct usage *u)
{
    struct cloud_use use;

    if (!tells_extras(c))
        return NULL;
    use = use_of(c, u);
    cloud_receipt(c->s->cloud, &c->ticket, &use, &c->receipt);
    return &c->receipt;
}

static void settle(struct call *c)
{
    struct cloud_use use;

    if (c->ticket.i_tenant < 0)
        return;
    if (call_store_is_free(c)) {
        cloud_leave(c->s->cloud, clock_now_us(), &c->ticket, 0);
        return;
    }
    if (c->n_sent) {
        use = use_of(c, &c->usage);
        use.evidence = call_proof_end(c);
        cloud_settle(c->s->cloud, clock_now_us(), &c->ticket, &use);
        return;
    }
    cloud_leave(c->s->cloud, clock_now_us(), &c->ticket, work_tokens(c));
}

int64_t call_tool_tokens(size_t n_bytes)
{
    return (int64_t)(n_bytes / TOOL_BYTES) + 1;
}

/* Tell the console how the call ended: for metrics, the log and the rows of ended requests. */
static void tell_end(struct call *c)
{
    int goes_on = c->store.outlives && !c->store.is_ended;
    struct row_end e = {.peer = c->peer,
                        .method = http_method_name(c->method),
                        .path = c->path,
                        .tenant = c->ticket.tenant,
                        .key_id = c->ticket.key_id,
                        .supplier = c->sup ? c->sup->id : NULL,
                        .tier = c->tier,
                        .finish = c->finish,
                        .why = c->code && c->err.code == c->code ? c->err.text : NULL,
                        .route = c->record.data,
                        .site = call_site(c),
                        .status = c->status,
                        .code = c->code,
                        .is_api = c->endpoint && c->endpoint->parse,
                        .goes_on = goes_on,
                        .i_tenant = c->ticket.i_tenant,
                        .i_model = c->sup ? c->ticket.offer->i_model : -1,
                        .n_jobs = c->n_sent,
                        .stream = c->streaming,
                        .usage = c->usage,
                        .times = c->times,
                        .texts = call_text_end(c, goes_on)};

    row_end(&c->live, c->s->io[c->io].rows, &e);
    for (int32_t i = 0; i < c->n_jobs && c->s->config->log_prompts; i++)
        LOG_EVENT(LOG_INFO, "prompt", LOG_STR("id", c->live.row.id),
                  LOG_STR("text", c->jobs[i].text ? c->jobs[i].text : ""));
}

void call_job_done(struct call_job *j)
{
    tokens_done(&j->tokens);
    tokens_done(&j->prediction);
    buf_done(&j->rendered);
}

void call_close(struct call *c)
{
    struct server_io *io = &c->s->io[c->io];

    CHECK(!c->x && c->n_home == c->n_sent);
    tell_end(c);
    call_trace_end(c);
    call_hedge_done(c);
    if (c->is_kept)
        net_io_keep(c->s->net, c->io, -1);
    settle(c); /* last, so that a reader of the ledger's row finds everything else done */
    if (c->prev)
        c->prev->next = c->next;
    else
        io->calls = c->next;
    if (c->next)
        c->next->prev = c->prev;
    for (int32_t i = 0; i < c->n_jobs; i++) {
        CHECK(!atomic_load(&c->jobs[i].job.item.posted)); /* no mailbox knows it any more */
        call_job_done(&c->jobs[i]);
    }
    free(c->jobs);
    call_watch_free(c);
    api_reply_free(c->reply);
    api_request_done(&c->req);
    net_body_done(&c->body);
    net_claim_set(&c->claim, 0);
    call_replay_done(c);
    call_move_free(c);
    call_store_done(c);
    buf_done(&c->out);
    buf_done(&c->record);
    buf_done(&c->text_answer);
    net_claim_set(&c->text_claim, 0);
    call_tool_done(c);
    net_claim_set(&c->answer, 0);
    arena_done(&c->arena);
    atomic_fetch_sub(&c->s->n_calls, 1);
    free(c);
}
