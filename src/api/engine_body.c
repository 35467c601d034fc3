/* What /v1/engine/... answers, as JSON. Written twice a second for every watcher: no trees. */
#include <stdlib.h>
#include <string.h>

#include "api/engine_body.h"
#include "base/check.h"
#include "base/json_member.h"
#include "base/json_write.h"

#define INTERVAL_MS_MIN 100
#define INTERVAL_MS_MAX 10000
#define INTERVAL_MS     500

static void put_size(struct buf *b, const char *name, uint64_t v)
{
    json_member_int(b, name, v > INT64_MAX ? INT64_MAX : (int64_t)v);
}

static void put_spread(struct buf *b, const char *name, const struct api_spread *s)
{
    if (!s->n) {
        json_member_null(b, name);
        return;
    }
    json_open(b, name, '{');
    json_member_real(b, "p50", s->p50, 6);
    json_member_real(b, "p95", s->p95, 6);
    json_member_real(b, "p99", s->p99, 6);
    json_member_int(b, "n", s->n);
    buf_add_char(b, '}');
}

static void put_rate(struct buf *b, const char *name, double v)
{
    if (v > 0)
        json_member_real(b, name, v, 1);
    else
        json_member_null(b, name);
}

static void put_limit(struct buf *b, const struct api_engine_model *m)
{
    if (!m->has_limit) {
        json_member_null(b, "limit");
        return;
    }
    json_open(b, "limit", '{');
    put_rate(b, "read_bytes_per_s", m->read_bytes_per_s);
    put_rate(b, "decode_tokens_per_s", m->decode_tokens_per_s);
    put_rate(b, "prefill_tokens_per_s", m->prefill_tokens_per_s);
    json_member_int(b, "measured", m->measured);
    buf_add_char(b, '}');
}

/* What stands still while it is loaded. */
static void put_facts(struct buf *b, const struct api_engine_model *m)
{
    json_member_text(b, "id", m->id);
    json_member_text(b, "state", m->state);
    json_member_real(b, "loading", m->loading, 2);
    json_member_text(b, "kernels", m->kernels);
    json_member_text(b, "class", m->cls);
    json_member_text(b, "kv_type", m->kv_type);
    json_member_text(b, "formats", m->formats);
    json_member_text(b, "family", m->family);
    json_member_int(b, "context", m->context);
    json_member_int(b, "batch_max", m->batch_max);
    json_member_int(b, "chunk", m->chunk);
    json_open(b, "memory", '{');
    put_size(b, "weights", m->weight_bytes);
    put_size(b, "kv", m->kv_bytes);
    put_size(b, "work", m->work_bytes);
    put_size(b, "vocab", m->vocab_bytes);
    buf_add_char(b, '}');
    put_limit(b, m);
}

static void put_model(struct buf *b, const struct api_engine_model *m)
{
    json_open(b, NULL, '{');
    put_facts(b, m);
    json_member_int(b, "running", m->n_running);
    json_member_int(b, "waiting", m->n_waiting);
    json_open(b, "batch", '{');
    json_member_int(b, "tokens", m->batch_tokens);
    json_member_int(b, "sequences", m->batch_sequences);
    buf_add_char(b, '}');
    json_open(b, "pages", '{');
    json_member_int(b, "total", m->pages);
    json_member_int(b, "used", m->pages_used);
    json_member_int(b, "shared", m->pages_shared);
    json_member_int(b, "free", m->pages_free);
    json_member_int(b, "tokens", m->page_tokens);
    buf_add_char(b, '}');
    json_open(b, "totals", '{');
    put_size(b, "steps", m->steps);
    put_size(b, "prompt_tokens", m->prompt_tokens);
    put_size(b, "cached_tokens", m->cached_tokens);
    put_size(b, "generated_tokens", m->generated_tokens);
    put_size(b, "weight_bytes_read", m->weight_bytes_read);
    put_size(b, "preemptions", m->preemptions);
    put_size(b, "requests", m->requests);
    put_size(b, "draft_tokens", m->draft_tokens);
    put_size(b, "draft_accepted", m->draft_accepted);
    buf_add_char(b, '}');
    put_spread(b, "ttft_s", &m->ttft);
    put_spread(b, "tpot_s", &m->tpot);
    put_spread(b, "queue_s", &m->queue);
    buf_add_char(b, '}');
}

/* Its members, the brace left open. */
static void put_request(struct buf *b, const struct api_engine_request *r)
{
    json_open(b, NULL, '{');
    json_member_text(b, "id", r->id);
    json_member_text(b, "client_id", r->client_id);
    json_member_text(b, "model", r->model);
    json_member_text(b, "endpoint", r->endpoint);
    json_member(b, "stream");
    buf_add_str(b, r->stream ? "true" : "false");
    json_member_text(b, "state", r->state);
    if (r->position > 0)
        json_member_int(b, "position", r->position);
    else
        json_member_null(b, "position");
    json_member_int(b, "prompt_tokens", r->prompt_tokens);
    json_member_int(b, "cached_tokens", r->cached_tokens);
    json_member_int(b, "prefilled_tokens", r->prefilled_tokens);
    json_member_int(b, "generated_tokens", r->generated_tokens);
    json_member_int(b, "draft_tokens", r->draft_tokens);
    json_member_int(b, "draft_accepted", r->draft_accepted);
    json_member_int(b, "choices", r->choices);
    json_member_real(b, "tokens_per_s", r->tokens_per_s, 2);
    json_member_real(b, "accepted", r->accepted, 3);
    json_member_real(b, "age_s", r->age_s, 3);
    if (r->ttft_s < 0)
        json_member_null(b, "ttft_s");
    else
        json_member_real(b, "ttft_s", r->ttft_s, 4);
    json_member_text(b, "finish", r->finish);
}

int api_engine_state_body(struct buf *out, const struct api_engine_state *s)
{
    json_open(out, NULL, '{');
    json_member_text(out, "object", "engine.state");
    json_member_real(out, "time", s->time, 3);
    json_member_real(out, "uptime_s", s->uptime_s, 1);
    json_member_text(out, "version", s->version);
    json_member_real(out, "cpu_s", s->cpu_s, 3);
    json_open(out, "memory", '{');
    put_size(out, "resident", s->resident_bytes);
    put_size(out, "machine", s->machine_bytes);
    put_size(out, "available", s->available_bytes);
    buf_add_char(out, '}');
    json_member_int(out, "threads", s->threads);
    json_member_text(out, "cpu", s->cpu);
    json_member(out, "models");
    buf_add_char(out, '[');
    for (int i = 0; i < s->n_models; i++) {
        if (i)
            buf_add_char(out, ',');
        put_model(out, &s->models[i]);
    }
    buf_add_char(out, ']');
    json_member(out, "requests");
    buf_add_char(out, '[');
    for (int i = 0; i < s->n_requests; i++) {
        if (i)
            buf_add_char(out, ',');
        put_request(out, &s->requests[i]);
        buf_add_char(out, '}');
    }
    buf_add_char(out, ']');
    json_member_int(out, "others", s->others);
    buf_add_char(out, '}');
    return out->failed;
}

int api_engine_request_body(struct buf *out, const struct api_engine_request *r,
                            const struct api_engine_mark *marks, int n_marks)
{
    put_request(out, r);
    json_member_text(out, "object", "engine.request");
    json_member(out, "timeline");
    buf_add_char(out, '[');
    for (int i = 0; i < n_marks; i++) {
        if (i)
            buf_add_char(out, ',');
        json_open(out, NULL, '{');
        json_member_real(out, "t", marks[i].t, 6);
        json_member_text(out, "what", marks[i].what);
        json_member_int(out, "n", marks[i].n);
        buf_add_char(out, '}');
    }
    buf_add_str(out, "]}");
    return out->failed;
}

int api_engine_cancel_body(struct buf *out, const char *id, int cancelled)
{
    json_open(out, NULL, '{');
    json_member_text(out, "id", id);
    json_member_text(out, "object", "engine.request");
    json_member(out, "cancelled");
    buf_add_str(out, cancelled ? "true}" : "false}");
    return out->failed;
}

int api_engine_interval(const struct api_route_match *m, int *ret_ms, struct err *e)
{
    char text[16] = "", *end = text;
    long ms = INTERVAL_MS;

    if (api_query_get(m, "interval_ms", text, sizeof text))
        ms = strtol(text, &end, 10);
    else if (m->n_query >= 12 && memmem(m->query, m->n_query, "interval_ms=", 12))
        ms = -1; /* there, but too long or wrongly encoded */
    if (*end || (end == text && *text) || ms < INTERVAL_MS_MIN || ms > INTERVAL_MS_MAX)
        return err_set_param(e, ERR_SCHEMA, "interval_ms",
                             "interval_ms: must be a whole number from %d to %d", INTERVAL_MS_MIN,
                             INTERVAL_MS_MAX);
    *ret_ms = (int)ms;
    return 0;
}

int api_err_request(struct err *e, const char *id)
{
    return err_set(e, ERR_NOTFOUND,
                   "No request %.80s of yours is under way or among the last that ended.", id);
}
