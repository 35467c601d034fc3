/* A request's own trace: whose child it is, what its suppliers are told, and its spans. */
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/rand.h"
#include "console/span.h"
#include "policy/trace_keep.h"
#include "serve/server.h"
#include "serve/trace_export.h"
#include "serve/traces.h"

#define CHILD_BYTES (3 * TRACE_SPAN_BYTES) /* ids of a try's children */

struct call_trace {
    struct trace_context parent, own; /* own.span: of its SERVER span */
    const char *state;                /* tracestate, in the arena; NULL: none */
    int has_parent;
    int is_recorded; /* else the headers are only passed on */
    struct span_try list[SPAN_TRIES_MAX];
    int n_tries;
};

/* All headers of that name, joined by commas; NULL: none, or not well-formed. */
static const char *read_state(struct call *c, const struct http_head *h)
{
    char text[TRACE_STATE_MAX + 1];
    size_t n = 0;

    for (int i = 0; i < h->n_fields; i++) {
        const char *v = http_field_value(h, i);
        size_t len = strlen(v);
        if (strcmp(http_field_name(h, i), "tracestate"))
            continue;
        if (n + len + 1 > TRACE_STATE_MAX)
            return NULL;
        if (n)
            text[n++] = ',';
        memcpy(text + n, v, len);
        n += len;
    }
    text[n] = 0;
    return n && api_trace_state_ok(text) ? arena_strdup(&c->arena, text) : NULL;
}

/* Two of them are none. */
static const char *read_parent(const struct http_head *h)
{
    const char *found = NULL;

    for (int i = 0; i < h->n_fields; i++) {
        if (strcmp(http_field_name(h, i), "traceparent"))
            continue;
        if (found)
            return NULL;
        found = http_field_value(h, i);
    }
    return found;
}

static int is_recorded(const struct call *c, const struct call_trace *t)
{
    const struct serve_config *config = c->s->config;

    if (!c->s->traces)
        return 0;
    if (t->has_parent && config->trace_parent == SERVE_TRACE_FOLLOW)
        return t->parent.flags & TRACE_SAMPLED;
    return trace_keep(t->own.trace, config->trace.part);
}

void call_trace_begin(struct call *c)
{
    const struct http_head *h = net_head(c->x);
    const char *parent = read_parent(h);
    unsigned char random[TRACE_ID_BYTES + TRACE_SPAN_BYTES];
    struct trace_context read;
    struct call_trace *t;

    if (parent && !api_trace_read(parent, &read))
        parent = NULL;
    if (!c->s->traces && !parent)
        return;
    t = arena_zalloc(&c->arena, sizeof *t);
    if (!t || rand_system(random, sizeof random))
        return;
    memcpy(t->own.trace, random, TRACE_ID_BYTES);
    memcpy(t->own.span, random + TRACE_ID_BYTES, TRACE_SPAN_BYTES);
    t->own.flags = TRACE_RANDOM;
    if (parent) {
        t->has_parent = 1;
        t->parent = read;
        t->state = read_state(c, h);
        memcpy(t->own.trace, read.trace, TRACE_ID_BYTES);
        t->own.flags = read.flags & TRACE_RANDOM;
    }
    t->is_recorded = is_recorded(c, t);
    t->own.flags |= t->is_recorded ? TRACE_SAMPLED : 0;
    c->trace = t;
}

/* Without an exporter the client's own headers are passed on, as they came. */
void call_trace_try(struct call *c, struct call_job *j, int is_hedge)
{
    struct call_trace *t = c->trace;
    struct trace_context told;
    struct span_try *one;

    if (!t)
        return;
    told = c->s->traces ? t->own : t->parent;
    if (t->is_recorded && t->n_tries < SPAN_TRIES_MAX &&
        !rand_system(told.span, sizeof told.span)) {
        one = &t->list[t->n_tries++];
        *one = (struct span_try){.supplier = arena_strdup(&c->arena, j->sup->id),
                                 .is_local = !j->job.relay,
                                 .began_us = clock_now_us(),
                                 .is_hedge = is_hedge};
        memcpy(one->span, told.span, sizeof one->span);
        if (!one->supplier)
            one->supplier = "";
        j->i_try = t->n_tries;
    }
    api_trace_write(&told, j->traceparent);
    j->relay.traceparent = j->traceparent;
    j->relay.tracestate = t->state;
}

void call_trace_lost(struct call *c, const struct call_job *j, int code)
{
    struct span_try *one = c->trace && j->i_try ? &c->trace->list[j->i_try - 1] : NULL;

    if (!one || one->ended_us)
        return;
    one->ended_us = clock_now_us();
    one->code = code;
}

/* The try that is answered, if any, as far as it came. */
static void tell_answering(const struct call *c, int64_t now_us, struct span_try *ret)
{
    const struct row *r = &c->live.row;

    ret->has_answer = 1;
    ret->code = c->code;
    ret->ended_us = now_us;
    if (c->live.has_started && (ret->is_local || c->queue_us))
        ret->started_us = c->sent_us + c->queue_us;
    if (ret->started_us && ret->started_us < ret->began_us)
        ret->started_us = ret->began_us;
    ret->first_us = r->first_us;
    ret->last_us = r->last_us;
}

static const char *operation_of(const struct call *c)
{
    if (c->endpoint->is_tool || !c->route.dialect)
        return NULL;
    return c->route.dialect == api_dialects[API_CHAT] ? "chat" : "text_completion";
}

/* That of a recorded one. */
static void end_recorded(struct call *c, struct call_trace *t)
{
    unsigned char random[SPAN_TRIES_MAX * CHILD_BYTES];
    int64_t now_us = clock_now_us();
    int i_answer = c->n_jobs ? call_hedge_answering(c)->i_try : 0;
    char contract[CLOUD_CLAIM_MAX];
    struct span_request r;
    struct buf b;

    if (rand_system(random, sizeof random))
        return;
    for (int i = 0; i < t->n_tries; i++) {
        if (i + 1 == i_answer && !t->list[i].ended_us)
            tell_answering(c, now_us, &t->list[i]);
        else if (!t->list[i].ended_us)
            t->list[i].ended_us = now_us;
    }
    r = (struct span_request){.context = t->own,
                              .state = t->state,
                              .has_parent = t->has_parent,
                              .operation = operation_of(c),
                              .method = http_method_name(c->method),
                              .path = c->path,
                              .id = c->live.row.id,
                              .client_id = c->live.row.client_id,
                              .tenant = c->ticket.tenant,
                              .key_id = c->ticket.key_id,
                              .model_asked = c->req.model,
                              .model = c->sup ? server_model(c)->names[0] : NULL,
                              .tier = c->sup ? tier_name(c->tier) : NULL,
                              .site = call_site(c),
                              .contract = cloud_claim_text(&c->ticket, contract),
                              .lender = cloud_claim_lender(&c->ticket),
                              .finish = c->finish,
                              .reply_id = c->reply_id,
                              .stream = c->req.stream,
                              .status = c->status,
                              .code = c->code,
                              .max_tokens = c->req.sampling.max_tokens,
                              .n_choices = c->req.n,
                              .started_us = c->started_us,
                              .first_us = c->live.row.first_us,
                              .ended_us = now_us,
                              .wall_us = clock_wall_us(),
                              .usage = c->usage,
                              .n_tries = t->n_tries};
    memcpy(r.parent, t->parent.span, sizeof r.parent);
    memcpy(r.list, t->list, sizeof r.list);
    buf_init(&b, SPAN_BYTES_MAX);
    if (!span_put(&b, &r, random))
        trace_export_push(c->s->traces, c->io, b.data, b.len, span_count(&r));
    else
        console_spans(c->s->console, 0, span_count(&r));
    buf_done(&b);
}

void call_trace_end(struct call *c)
{
    if (c->trace && c->trace->is_recorded)
        end_recorded(c, c->trace);
}
