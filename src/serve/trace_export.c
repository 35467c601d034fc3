#include "serve/trace_export.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/log.h"
#include "base/rand.h"
#include "base/ring.h"
#include "net/upstream.h"
#include "policy/backoff.h"
#include "serve/server.h"

#define IO         0 /* where it works */
#define BATCH_MAX  ((size_t)512 << 10)
#define BATCH_FULL ((size_t)256 << 10) /* so much is not gathered further */
#define GATHER_US  INT64_C(1000000)
#define LOOK_MS    20 /* in a drain, for the last requests */
#define FIRST_US   INT64_C(1000000)
#define MOST_US    INT64_C(30000000)
#define GIVE_UP_US INT64_C(60000000)
#define TIMEOUT_MS 10000
#define ANSWER_MAX 65536
#define SCOPE                                                                                      \
    "]},\"scopeSpans\":[{\"scope\":{\"name\":\"gaufre\",\"version\":\"" GAUFRE_VERSION             \
    "\"},\"spans\":["
#define END "]}]}]}"

struct trace_ring {
    struct ring ring;
    void *data;
    int is_full_told;
};

struct trace_export {
    struct server *s;
    const struct serve_config *config; /* that it was opened with */
    struct upstream *up;
    struct net_timer *timer;
    struct mbox_item item;
    struct trace_ring *rings; /* one each io thread */
    int n_rings;
    /* The rest is of the first io thread. */
    struct buf batch; /* empty: none is under way */
    int n_batch;      /* spans in it */
    struct buf answer;
    struct upstream_request *r;
    int n_failed, is_kept, is_stopped;
    int is_hopeless; /* a try failed while the server stops: there is no other */
    int64_t gather_us, begun_us, due_us; /* gather_us 0: nothing waits */
    uint64_t seed, n_drawn;
};

/* ---- what the io threads write --------------------------------------------------------------- */

static void drop(struct trace_export *t, int n, const char *why, int is_told)
{
    console_spans(t->s->console, 0, n);
    if (!is_told)
        LOG_EVENT(LOG_WARN, "traces dropped", LOG_INT("spans", n), LOG_STR("why", why));
}

void trace_export_push(struct trace_export *t, int io, const void *spans, size_t n, int n_spans)
{
    struct trace_ring *r = &t->rings[io];
    struct mbox *box = net_io_mbox(t->s->net, IO);
    unsigned char *to = ring_push_begin(&r->ring, (uint32_t)(n + sizeof n_spans));

    if (!to) {
        drop(t, n_spans, "the ring is full", r->is_full_told);
        r->is_full_told = 1;
        return;
    }
    r->is_full_told = 0;
    memcpy(to, &n_spans, sizeof n_spans);
    memcpy(to + sizeof n_spans, spans, n);
    ring_push_commit(&r->ring, (uint32_t)(n + sizeof n_spans));
    if (!mbox_post(box, &t->item))
        return;
    if (io == IO)
        net_io_mail(t->s->net, IO);
    else
        mbox_wake(box);
}

/* ---- batches --------------------------------------------------------------------------------- */

static size_t waiting(const struct trace_export *t)
{
    size_t n = 0;

    for (int i = 0; i < t->n_rings; i++)
        n += ring_used(&t->rings[i].ring);
    return n;
}

static void take(struct trace_export *t, struct ring *r)
{
    const unsigned char *p;
    uint32_t n;
    int n_spans;

    while ((p = ring_peek(r, &n)) && t->batch.len + n + sizeof END < BATCH_MAX) {
        memcpy(&n_spans, p, sizeof n_spans);
        if (t->n_batch)
            buf_add_char(&t->batch, ',');
        buf_add(&t->batch, p + sizeof n_spans, n - sizeof n_spans);
        t->n_batch += n_spans;
        ring_pop(r);
    }
}

static void gather(struct trace_export *t, int64_t now_us)
{
    buf_addf(&t->batch, "{\"resourceSpans\":[{\"resource\":{\"attributes\":[%s",
             t->config->trace.resource);
    buf_add_str(&t->batch, SCOPE);
    for (int i = 0; i < t->n_rings; i++)
        take(t, &t->rings[i].ring);
    buf_add_str(&t->batch, END);
    t->begun_us = t->due_us = now_us;
    t->n_failed = 0;
    t->gather_us = 0;
}

static void forget(struct trace_export *t)
{
    buf_clear(&t->batch);
    t->n_batch = 0;
}

static void give_up(struct trace_export *t, const char *why)
{
    drop(t, t->n_batch, why, 0);
    forget(t);
}

static void fail(struct trace_export *t, const char *why)
{
    int64_t now_us = clock_now_us();
    uint32_t random[4];

    if (++t->n_failed == 1)
        LOG_EVENT(LOG_WARN, "traces not sent", LOG_STR("why", why));
    t->is_hopeless = net_server_is_draining(t->s->net);
    if (now_us - t->begun_us >= GIVE_UP_US || t->is_hopeless) {
        give_up(t, why);
        return;
    }
    rand_philox(t->seed, t->n_drawn++, 0, random);
    t->due_us = now_us + backoff_pause(t->n_failed, FIRST_US, MOST_US, random[0]);
}

static int may_come_back(int status)
{
    return status == 429 || (status >= 502 && status <= 504);
}

/* Spans that the service did not take of a batch that it answered with 2xx. */
static int rejected(const struct trace_export *t)
{
    json_t *root = NULL, *n;
    long long v = 0;

    if (!t->answer.len || json_parse(&root, t->answer.data, t->answer.len, 0, NULL))
        return 0;
    n = json_object_get(json_object_get(root, "partialSuccess"), "rejectedSpans");
    v = json_is_string(n) ? strtoll(json_string_value(n), NULL, 10) : json_integer_value(n);
    json_decref(root);
    return v < 0 ? 0 : v < t->n_batch ? (int)v : t->n_batch;
}

static void delivered(struct trace_export *t)
{
    int n = rejected(t);

    console_spans(t->s->console, t->n_batch - n, 0);
    if (n)
        drop(t, n, "the service rejects them", 0);
    if (t->n_failed)
        LOG_EVENT(LOG_INFO, "traces sent again", LOG_INT("tries", t->n_failed + 1));
    forget(t);
}

static void on_end(void *ctx, struct upstream_request *r, const struct err *e)
{
    struct trace_export *t = ctx;
    int status = upstream_status(r); /* 0: there is no answer */
    char why[64];

    t->r = NULL;
    snprintf(why, sizeof why, "the service answered %d", status);
    if (status >= 200 && status < 300) {
        delivered(t);
    } else if (!status || may_come_back(status)) {
        fail(t, e->code ? e->text : why);
    } else {
        give_up(t, why);
    }
    net_timer_arm(t->timer, 1); /* what is next */
}

static void on_head(void *ctx, struct upstream_request *r)
{
    (void)ctx;
    (void)r;
}

/* Of what it answers only a few words matter; what is longer is cut, and then says nothing. */
static void on_data(void *ctx, struct upstream_request *r, const char *p, size_t n)
{
    struct trace_export *t = ctx;

    (void)r;
    buf_add(&t->answer, p, n);
}

static void post(struct trace_export *t)
{
    const struct serve_traces *c = &t->config->trace;
    const struct upstream_handler handler = {
        .ctx = t, .on_head = on_head, .on_data = on_data, .on_end = on_end};
    struct upstream_header header[1 + SERVE_TRACE_HEADERS_MAX] = {
        {"Content-Type", "application/json"}};
    struct upstream_ask ask = {.method = "POST",
                               .path = "/v1/traces",
                               .header = header,
                               .n_header = 1 + c->n_headers,
                               .body = t->batch.data,
                               .n_body = t->batch.len};
    struct err e = {0};

    buf_clear(&t->answer);
    for (int i = 0; i < c->n_headers; i++)
        header[1 + i] = (struct upstream_header){c->name[i], c->value[i]};
    if (t->batch.failed)
        give_up(t, "no memory");
    else if (upstream_begin(t->up, IO, &ask, &handler, &t->r, &e))
        fail(t, e.text);
}

/* ---- when ------------------------------------------------------------------------------------ */

static void arm(struct trace_export *t, int64_t us)
{
    net_timer_arm(t->timer, us > 0 ? (int)(us / 1000) + 1 : 1);
}

static void keep(struct trace_export *t, int is_kept)
{
    if (t->is_kept != is_kept)
        net_io_keep(t->s->net, IO, is_kept - t->is_kept);
    t->is_kept = is_kept;
}

/* The drain's time is over, or there is no hope: what was not sent is dropped. */
static void end(struct trace_export *t)
{
    if (t->r)
        upstream_cancel(t->r);
    t->r = NULL;
    if (t->batch.len)
        give_up(t, "the server stops");
    keep(t, 0);
}

void trace_export_mail(struct trace_export *t)
{
    int64_t now_us = clock_now_us();
    int is_draining = net_server_is_draining(t->s->net);
    size_t n = waiting(t);

    if (t->is_stopped)
        return;
    if (t->is_hopeless || net_server_is_over(t->s->net)) {
        end(t);
        return;
    }
    if (!t->r && !t->batch.len && n) {
        if (!t->gather_us)
            t->gather_us = now_us + GATHER_US;
        if (n >= BATCH_FULL || now_us >= t->gather_us || is_draining)
            gather(t, now_us);
    }
    if (!t->r && t->batch.len && (now_us >= t->due_us || is_draining))
        post(t);
    n = waiting(t);
    keep(t, t->r || t->batch.len || n || (is_draining && atomic_load(&t->s->n_calls)));
    if (is_draining && t->is_kept)
        arm(t, LOOK_MS * 1000);
    else if (!t->r && t->batch.len)
        arm(t, t->due_us - now_us);
    else if (!t->r && n)
        arm(t, t->gather_us - now_us);
}

static void on_timer(void *ctx)
{
    trace_export_mail(ctx);
}

/* ---- lifecycle ------------------------------------------------------------------------------- */

int trace_export_open(struct trace_export **ret, struct server *s, struct err *e)
{
    const struct upstream_config c = {
        .base_url = s->config->trace.base,
        .ca_file = *s->config->traces_ca_file ? s->config->traces_ca_file : NULL,
        .connect_ms = TIMEOUT_MS,
        .first_byte_ms = TIMEOUT_MS,
        .silence_ms = TIMEOUT_MS,
        .total_ms = TIMEOUT_MS,
        .body_max = ANSWER_MAX};
    struct trace_export *t;
    int r = 0;

    if (!c.base_url)
        return 0;
    t = calloc(1, sizeof *t);
    if (!t)
        return err_set(e, ERR_NOMEM, "out of memory");
    *ret = t; /* closed by its owner, whatever fails */
    t->s = s;
    t->config = s->config;
    t->item = (struct mbox_item){.kind = MAIL_TRACES, .owner = t};
    buf_init(&t->batch, BATCH_MAX);
    buf_init(&t->answer, ANSWER_MAX);
    t->rings = aligned_alloc(64, (size_t)net_n_io(s->net) * sizeof *t->rings);
    for (int i = 0; t->rings && i < net_n_io(s->net); i++) {
        t->rings[i].data = aligned_alloc(64, TRACE_RING_BYTES);
        if (!t->rings[i].data)
            return err_set(e, ERR_NOMEM, "out of memory");
        ring_init(&t->rings[i].ring, t->rings[i].data, TRACE_RING_BYTES);
        t->n_rings++;
    }
    t->timer = net_timer_new(s->net, IO, on_timer, t);
    if (!t->rings || !t->timer)
        return err_set(e, ERR_NOMEM, "out of memory");
    if (rand_system(&t->seed, sizeof t->seed))
        return err_set(e, ERR_IO, "no random bytes from the system");
    r = upstream_open(&t->up, s->net, &c, e);
    return r ? err_prefix(e, "traces") : 0;
}

void trace_export_drain(struct trace_export *t)
{
    if (!t)
        return;
    mbox_post(net_io_mbox(t->s->net, IO), &t->item);
    mbox_wake(net_io_mbox(t->s->net, IO));
}

void trace_export_stop(struct trace_export *t)
{
    if (!t)
        return;
    t->is_stopped = 1;
    net_timer_free(t->timer);
    t->timer = NULL;
}

/* What is left in the rings was too late. */
void trace_export_close(struct trace_export *t)
{
    int n_spans, n = 0;
    const void *p;
    uint32_t len;

    if (!t)
        return;
    for (int i = 0; i < t->n_rings; i++) {
        for (; (p = ring_peek(&t->rings[i].ring, &len)); ring_pop(&t->rings[i].ring)) {
            memcpy(&n_spans, p, sizeof n_spans);
            n += n_spans;
        }
        free(t->rings[i].data);
    }
    n += t->n_batch;
    if (n)
        LOG_EVENT(LOG_WARN, "traces dropped", LOG_INT("spans", n),
                  LOG_STR("why", "the server has stopped"));
    upstream_close(t->up);
    buf_done(&t->batch);
    buf_done(&t->answer);
    free(t->rings);
    free(t);
}
