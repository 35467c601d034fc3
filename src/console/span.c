#include "console/span.h"

#include <string.h>

#include "base/err.h"
#include "base/json_write.h"
#include "base/put.h"

enum { KIND_INTERNAL = 1, KIND_SERVER = 2, KIND_CLIENT = 3 };
enum { STATUS_ERROR = 2 };

#define CHILDREN 3 /* of a try: queue, prefill, decode */

/* ---- attributes ------------------------------------------------------------------------------ */

static void key(struct buf *b, const char *name, const char *kind)
{
    if (b->len && b->data[b->len - 1] == '}')
        buf_add_char(b, ',');
    buf_add_str(b, "{\"key\":\"");
    buf_add_str(b, name);
    buf_add_str(b, "\",\"value\":{\"");
    buf_add_str(b, kind);
    buf_add_str(b, "\":");
}

static void put_text_attr(struct buf *b, const char *name, const char *value)
{
    if (!value || !*value)
        return;
    key(b, name, "stringValue");
    json_put_str(b, value);
    buf_add_str(b, "}}");
}

static void put_int_attr(struct buf *b, const char *name, int64_t value)
{
    key(b, name, "intValue"); /* 64 bits are text in protobuf's JSON */
    buf_add_char(b, '"');
    put_number(b, value);
    buf_add_str(b, "\"}}");
}

static void put_flag_attr(struct buf *b, const char *name, int value)
{
    key(b, name, "boolValue");
    buf_add_str(b, value ? "true}}" : "false}}");
}

static void put_real_attr(struct buf *b, const char *name, double value)
{
    key(b, name, "doubleValue");
    json_put_real(b, value);
    buf_add_str(b, "}}");
}

static void put_list_attr(struct buf *b, const char *name, const char *value)
{
    key(b, name, "arrayValue");
    buf_add_str(b, "{\"values\":[{\"stringValue\":");
    json_put_str(b, value);
    buf_add_str(b, "}]}}}");
}

void span_put_text(struct buf *out, const char *name, const char *value)
{
    buf_add_str(out, "{\"key\":");
    json_put_str(out, name);
    buf_add_str(out, ",\"value\":{\"stringValue\":");
    json_put_str(out, value);
    buf_add_str(out, "}}");
}

/* ---- a span ---------------------------------------------------------------------------------- */

struct head {
    const unsigned char *span, *parent; /* parent NULL: none */
    int kind;
    const char *name, *rest; /* "chat", "model" */
    int64_t from_us, to_us;
};

static void put_name(struct buf *b, const char *name)
{
    buf_add_str(b, ",\"");
    buf_add_str(b, name);
    buf_add_str(b, "\":\"");
}

static void put_id(struct buf *b, const char *name, const unsigned char *id, size_t n)
{
    char text[2 * TRACE_ID_BYTES + 1];

    put_bytes(id, n, text);
    put_name(b, name);
    buf_add(b, text, 2 * n);
    buf_add_char(b, '"');
}

/* The wall clock's nanoseconds. */
static void put_time(struct buf *b, const char *name, const struct span_request *r, int64_t at_us)
{
    put_name(b, name);
    put_number(b, r->wall_us - (r->ended_us - at_us));
    buf_add_str(b, "000\"");
}

/* All up to the attributes, which follow. */
static void begin(struct buf *b, const struct span_request *r, const struct head *h)
{
    buf_add_str(b, "{\"name\":");
    if (h->rest && *h->rest) {
        buf_add_char(b, '"');
        buf_add_str(b, h->name);
        buf_add_char(b, ' ');
        json_put_escaped(b, h->rest, strlen(h->rest));
        buf_add_char(b, '"');
    } else {
        json_put_str(b, h->name);
    }
    put_id(b, "traceId", r->context.trace, TRACE_ID_BYTES);
    put_id(b, "spanId", h->span, TRACE_SPAN_BYTES);
    if (h->parent)
        put_id(b, "parentSpanId", h->parent, TRACE_SPAN_BYTES);
    if (r->state && *r->state) {
        buf_add_str(b, ",\"traceState\":");
        json_put_str(b, r->state);
    }
    buf_add_str(b, ",\"flags\":");
    put_number(b, r->context.flags);
    buf_add_str(b, ",\"kind\":");
    put_number(b, h->kind);
    put_time(b, "startTimeUnixNano", r, h->from_us);
    put_time(b, "endTimeUnixNano", r, h->to_us > h->from_us ? h->to_us : h->from_us);
    buf_add_str(b, ",\"attributes\":[");
}

static void end(struct buf *b, int code)
{
    buf_add_char(b, ']');
    if (code)
        buf_addf(b, ",\"status\":{\"code\":%d,\"message\":\"%s\"}", STATUS_ERROR, err_text(code));
    buf_add_char(b, '}');
}

/* ---- the spans of a request ------------------------------------------------------------------ */

static int64_t earliest(int64_t a, int64_t b)
{
    return a ? a : b;
}

struct phase {
    const char *name;
    int64_t from_us, to_us;
};

/* What a try went through; returns how many. */
static int phases_of(const struct span_try *t, struct phase ret[CHILDREN])
{
    int n = 0;

    if (t->is_local || t->started_us)
        ret[n++] = (struct phase){"queue", t->began_us, earliest(t->started_us, t->ended_us)};
    if (t->is_local && t->started_us)
        ret[n++] = (struct phase){"prefill", t->started_us, earliest(t->first_us, t->ended_us)};
    if (t->is_local && t->first_us)
        ret[n++] = (struct phase){"decode", t->first_us, t->last_us};
    return n;
}

int span_count(const struct span_request *r)
{
    struct phase list[CHILDREN];
    int n = 1 + r->n_tries;

    for (int i = 0; i < r->n_tries; i++)
        n += phases_of(&r->list[i], list);
    return n;
}

static void put_phase(struct buf *b, const struct span_request *r, const struct span_try *t,
                      const struct phase *p, const unsigned char *id)
{
    const struct head h = {.span = id,
                           .parent = t->span,
                           .kind = KIND_INTERNAL,
                           .name = p->name,
                           .from_us = p->from_us,
                           .to_us = p->to_us};

    buf_add_char(b, ',');
    begin(b, r, &h);
    end(b, 0);
}

/* "far/m": "far"; the engine of this process is gaufre. */
static void put_provider(struct buf *b, const struct span_try *t)
{
    char name[128];

    put_text(name, sizeof name, t->supplier);
    name[strcspn(name, "/")] = 0;
    put_text_attr(b, "gen_ai.provider.name", t->is_local ? "gaufre" : name);
}

static void put_usage(struct buf *b, const struct span_request *r, const struct span_try *t)
{
    const struct usage *u = &r->usage;

    put_int_attr(b, "gen_ai.usage.input_tokens", u->prompt_tokens);
    put_int_attr(b, "gen_ai.usage.output_tokens", u->completion_tokens);
    put_int_attr(b, "gen_ai.usage.cache_read.input_tokens", u->cached_tokens);
    put_int_attr(b, "gen_ai.usage.cache_write.input_tokens", u->cache_write_tokens);
    put_int_attr(b, "gen_ai.usage.reasoning.output_tokens", u->reasoning_tokens);
    if (r->stream && t->first_us)
        put_real_attr(b, "gen_ai.response.time_to_first_chunk",
                      (double)(t->first_us - t->began_us) * 1e-6);
    if (r->finish)
        put_list_attr(b, "gen_ai.response.finish_reasons", r->finish);
    if (t->is_local) /* what is relayed has the supplier's own */
        put_text_attr(b, "gen_ai.response.id", r->reply_id);
    put_text_attr(b, "gen_ai.response.model", r->model);
}

static void put_try(struct buf *b, const struct span_request *r, const struct span_try *t,
                    const unsigned char *random)
{
    const struct head h = {.span = t->span,
                           .parent = r->context.span,
                           .kind = t->is_local ? KIND_INTERNAL : KIND_CLIENT,
                           .name = r->operation ? r->operation : "try",
                           .rest = strchr(t->supplier, '/') ? strchr(t->supplier, '/') + 1 : "",
                           .from_us = t->began_us,
                           .to_us = t->ended_us};
    struct phase list[CHILDREN];
    int n;

    buf_add_char(b, ',');
    begin(b, r, &h);
    put_text_attr(b, "gen_ai.operation.name", r->operation);
    put_provider(b, t);
    put_text_attr(b, "gen_ai.request.model", h.rest);
    put_flag_attr(b, "gen_ai.request.stream", r->stream);
    put_text_attr(b, "gaufre.supplier", t->supplier);
    put_text_attr(b, "openai.response.service_tier", r->tier);
    if (t->is_hedge)
        put_flag_attr(b, "gaufre.hedge", 1);
    if (t->code)
        put_text_attr(b, "error.type", err_name(t->code));
    if (t->has_answer)
        put_usage(b, r, t);
    end(b, t->code);
    n = phases_of(t, list);
    for (int i = 0; i < n; i++)
        put_phase(b, r, t, &list[i], random + i * TRACE_SPAN_BYTES);
}

int span_put(struct buf *out, const struct span_request *r, const unsigned char *random)
{
    const struct head h = {.span = r->context.span,
                           .parent = r->has_parent ? r->parent : NULL,
                           .kind = KIND_SERVER,
                           .name = r->operation ? r->operation : r->method,
                           .rest = r->operation ? r->model_asked : r->path,
                           .from_us = r->started_us,
                           .to_us = r->ended_us};

    begin(out, r, &h);
    put_text_attr(out, "http.request.method", r->method);
    put_text_attr(out, "url.path", r->path);
    put_int_attr(out, "http.response.status_code", r->status);
    put_text_attr(out, "gen_ai.operation.name", r->operation);
    put_text_attr(out, "gen_ai.provider.name", "gaufre");
    put_text_attr(out, "gen_ai.request.model", r->model_asked);
    put_text_attr(out, "gen_ai.response.model", r->model);
    put_flag_attr(out, "gen_ai.request.stream", r->stream);
    if (r->max_tokens > 0)
        put_int_attr(out, "gen_ai.request.max_tokens", r->max_tokens);
    if (r->n_choices > 1)
        put_int_attr(out, "gen_ai.request.choice.count", r->n_choices);
    if (r->first_us)
        put_real_attr(out, "gaufre.time_to_first_token",
                      (double)(r->first_us - r->started_us) * 1e-6);
    put_text_attr(out, "gaufre.request.id", r->id);
    put_text_attr(out, "gaufre.client.request.id", r->client_id);
    put_text_attr(out, "gaufre.tenant", r->tenant);
    put_text_attr(out, "gaufre.key.id", r->key_id);
    put_text_attr(out, "gaufre.tier", r->tier);
    put_text_attr(out, "gaufre.site", r->site);
    put_text_attr(out, "gaufre.contract", r->contract);
    put_text_attr(out, "gaufre.contract.lender", r->lender);
    if (r->code)
        put_text_attr(out, "error.type", err_name(r->code));
    /* What the client did wrong is no error of the server's. */
    end(out, r->code && r->status >= 500 ? r->code : 0);
    for (int i = 0; i < r->n_tries; i++)
        put_try(out, r, &r->list[i], random + i * CHILDREN * TRACE_SPAN_BYTES);
    return out->failed;
}
