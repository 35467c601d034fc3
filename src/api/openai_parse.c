/* The table of request fields, and the way from a body to a struct api_request. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "api/openai.h"

enum { CHAT = OPENAI_CHAT, COMP = OPENAI_COMPLETION, BOTH = CHAT | COMP };
enum type { T_BOOL, T_I32, T_I64, T_REAL, T_STR, T_FUNC, T_ANY };
/* EXT: not in the contract. UNBUILT: only what changes nothing is taken. IGNORED: checked, read by
 * nobody. */
enum { EXT = 1, UNBUILT = 2, IGNORED = 4 };

struct field {
    const char *name;
    unsigned char kinds, type, flags;
    unsigned given;                                              /* API_GIVEN_* */
    size_t off;                                                  /* in struct reading */
    double min, max;                                             /* strings: max bytes */
    int (*read)(struct reading *, const json_t *, const char *); /* T_FUNC */
    const char *doc_type, *doc_range, *doc_default;
};

#define AT(f) offsetof(struct reading, f)
#define NUM(n, k, t, fl, g, f, lo, hi, dt, rng, d)                                                 \
    {                                                                                              \
        n, k, t, fl, g, AT(f), lo, hi, NULL, dt, rng, d                                            \
    }
#define FUN(n, k, fl, g, fn, dt, rng, d)                                                           \
    {                                                                                              \
        n, k, T_FUNC, fl, g, 0, 0, 0, fn, dt, rng, d                                               \
    }
#define SKIP(n, k)                                                                                 \
    {                                                                                              \
        n, k, T_ANY, IGNORED, 0, 0, 0, 0, NULL, "any", "", ""                                      \
    }
#define TOKENS_MAX    2147483647.0
#define ARGUMENTS_MAX ((size_t)16 << 20) /* of a request, parsed */

/* clang-format off */
static const struct field fields[] = {
    NUM("model", BOTH, T_STR, 0, 0, r.model, 0, 512, "string", "at most 512 bytes", "required"),
    FUN("messages", CHAT, 0, 0, read_messages, "array", "at least one", "required"),
    FUN("prompt", COMP, 0, 0, read_prompt, "string, strings, token ids or arrays of them", "at most 128", "required"),
    NUM("stream", BOTH, T_BOOL, 0, 0, r.stream, 0, 0, "boolean", "", "false"),
    FUN("stream_options", BOTH, 0, 0, read_stream_options, "object", "include_usage: boolean", "null"),
    NUM("max_completion_tokens", CHAT, T_I64, 0, 0, max_completion, -1, TOKENS_MAX, "integer", "-1 or 1..", "-1: to the end of the context"),
    NUM("max_tokens", BOTH, T_I64, 0, 0, max_tokens, -1, TOKENS_MAX, "integer", "-1 or 1.. (completions: 0 too)", "-1: to the end of the context"),
    NUM("min_completion_tokens", CHAT, T_I64, 0, 0, min_completion, -1, TOKENS_MAX, "integer", "-1..", "0"),
    NUM("min_tokens", BOTH, T_I64, 0, 0, min_tokens, -1, TOKENS_MAX, "integer", "-1..", "0"),
    NUM("temperature", BOTH, T_REAL, 0, API_GIVEN_TEMPERATURE, r.sampling.temperature, 0, 2, "number", "0..2", "1"),
    NUM("top_p", BOTH, T_REAL, 0, API_GIVEN_TOP_P, r.sampling.top_p, 0, 1, "number", "0..1", "1"),
    NUM("n", BOTH, T_I32, 0, 0, r.n, 1, JOB_CHOICES_MAX, "integer", "1..16", "1"),
    NUM("best_of", COMP, T_I32, 0, 0, best_of, 0, 20, "integer", "0..16, at least n", "1"),
    NUM("seed", BOTH, T_I64, 0, API_GIVEN_SEED, r.sampling.seed, -9223372036854775808.0, 9223372036854775807.0, "integer", "64 bits", "null"),
    FUN("stop", BOTH, 0, 0, read_stop, "string or array of strings", "at most 16 of at most 256 bytes", "null"),
    NUM("frequency_penalty", BOTH, T_REAL, 0, 0, r.sampling.frequency_penalty, -2, 2, "number", "-2..2", "0"),
    NUM("presence_penalty", BOTH, T_REAL, 0, 0, r.sampling.presence_penalty, -2, 2, "number", "-2..2", "0"),
    FUN("logit_bias", BOTH, 0, 0, read_logit_bias, "object: token id to number", "-100..100, at most 4096", "null"),
    NUM("logprobs", CHAT, T_BOOL, 0, 0, r.logprobs, 0, 0, "boolean", "", "false"),
    FUN("logprobs", COMP, 0, 0, read_logprobs_count, "integer", "0..20", "null"),
    NUM("top_logprobs", CHAT, T_I32, 0, 0, n_top, 0, SAMPLING_TOP_MAX, "integer", "0..20, with logprobs", "0"),
    NUM("echo", COMP, T_BOOL, 0, 0, r.echo, 0, 0, "boolean", "", "false"),
    FUN("suffix", COMP, UNBUILT, 0, read_suffix, "string", "", "null"),
    NUM("return_raw_tokens", COMP, T_BOOL, 0, 0, r.raw_tokens, 0, 0, "boolean", "", "false"),
    {"grammar_root", COMP, T_ANY, UNBUILT, 0, 0, 0, 0, NULL, "string", "", "null"},
    FUN("tools", CHAT, UNBUILT, 0, read_tools, "array", "", "null"),
    FUN("tool_choice", CHAT, UNBUILT, 0, read_tool_choice, "string or object", "none or auto", "none"),
    SKIP("parallel_tool_calls", CHAT),
    FUN("response_format", CHAT, UNBUILT, 0, read_response_format, "object", "type: text", "text"),
    FUN("prediction", CHAT, 0, 0, read_prediction, "object", "type: content", "null"),
    FUN("reasoning_effort", CHAT, 0, 0, read_effort, "string", "none, low, medium, high (also minimal, xhigh, max)", "null: the model's"),
    FUN("reasoning_format", CHAT, UNBUILT, 0, read_reasoning_format, "string", "none or raw", "none"),
    SKIP("reasoning_format", COMP),
    NUM("disable_reasoning", CHAT, T_BOOL, 0, 0, disable_reasoning, 0, 0, "boolean", "", "false"),
    NUM("clear_thinking", CHAT, T_BOOL, 0, 0, clear_thinking, 0, 0, "boolean", "", "true"),
    FUN("model_parameters", CHAT, IGNORED, 0, read_model_parameters, "object", "", "null"),
    NUM("prompt_cache_key", BOTH, T_STR, 0, 0, r.cache_key, 0, 1024, "string", "at most 1024 bytes", "null"),
    FUN("service_tier", BOTH, 0, API_GIVEN_TIER, read_tier, "string", "auto, default, flex, priority, batch (also scale)", "default"),
    NUM("user", BOTH, T_STR, IGNORED, 0, unused, 0, 1024, "string", "at most 1024 bytes", "null"),
    NUM("store", BOTH, T_BOOL, 0, 0, r.store, 0, 0, "boolean", "", "false"),
    SKIP("metadata", BOTH),
    FUN("modalities", CHAT, UNBUILT, 0, read_modalities, "array", "[\"text\"]", "null"),
    SKIP("verbosity", CHAT),
    SKIP("safety_identifier", BOTH),
    SKIP("prompt_cache_retention", BOTH),
    SKIP("prompt_cache_options", BOTH),
    SKIP("web_search_options", CHAT),
    SKIP("moderation", CHAT),
    SKIP("audio", CHAT),
    FUN("functions", CHAT, UNBUILT, 0, read_functions, "array", "", "null"),
    FUN("function_call", CHAT, UNBUILT, 0, read_function_call, "string or object", "none or auto", "null"),
    NUM("top_k", BOTH, T_I32, EXT, API_GIVEN_TOP_K, r.sampling.top_k, -1, TOKENS_MAX, "integer", "-1..; -1 and 0: off", "0"),
    NUM("min_p", BOTH, T_REAL, EXT, API_GIVEN_MIN_P, r.sampling.min_p, 0, 1, "number", "0..1", "0"),
    NUM("repetition_penalty", BOTH, T_REAL, EXT, 0, r.sampling.repetition_penalty, 0.01, 10, "number", "0.01..10", "1"),
    NUM("repeat_penalty", BOTH, T_REAL, EXT, 0, r.sampling.repetition_penalty, 0.01, 10, "number", "0.01..10", "1"),
    FUN("stop_token_ids", BOTH, EXT, 0, read_stop_ids, "array of token ids", "at most 128", "null"),
    NUM("ignore_eos", BOTH, T_BOOL, EXT, 0, r.sampling.ignore_eos, 0, 0, "boolean", "", "false"),
    FUN("chat_template_kwargs", CHAT, EXT, 0, read_kwargs, "object", "", "null"),
    FUN("thinking", CHAT, EXT, 0, read_thinking, "object", "type: enabled or disabled", "null"),
    {"grammar", BOTH, T_ANY, EXT | UNBUILT, 0, 0, 0, 0, NULL, "string", "", "null"},
    NUM("cache_salt", BOTH, T_STR, EXT, 0, r.cache_salt, 0, 1024, "string", "at most 1024 bytes", "null"),
    NUM("priority", BOTH, T_I32, EXT | IGNORED, 0, unused, -2147483648.0, TOKENS_MAX, "integer", "32 bits", "0"),
    NUM("return_token_ids", BOTH, T_BOOL, EXT, 0, r.return_token_ids, 0, 0, "boolean", "", "false"),
    NUM("parse_special", COMP, T_BOOL, EXT, 0, r.parse_special, 0, 0, "boolean", "", "false"),
    FUN("ttl", BOTH, EXT | IGNORED, 0, read_keep_alive, "seconds", "negative: for ever", "null"),
    FUN("keep_alive", BOTH, EXT | IGNORED, 0, read_keep_alive, "seconds, or text like \"5m\"", "negative: for ever", "null"),
};
/* clang-format on */

static int64_t int_bound(double x)
{
    return x >= 9.2e18 ? INT64_MAX : x <= -9.2e18 ? INT64_MIN : (int64_t)x;
}

static int read_field(struct reading *d, const struct field *f, const json_t *v)
{
    char *at = (char *)d + f->off;
    int64_t i;
    double x;
    int r;

    switch ((enum type)f->type) {
    case T_BOOL:
        return read_bool(v, f->name, (int *)at, d->e);
    case T_I32:
    case T_I64:
        /* A count of tokens may be any size: past the context it is refused with the context's own
         * words, so here it is only capped. */
        r = read_int(v, f->name, int_bound(f->min),
                     f->max == TOKENS_MAX ? INT64_MAX : int_bound(f->max), &i, d->e);
        if (r)
            return r;
        if (f->type == T_I64 && f->max > TOKENS_MAX)
            *(int64_t *)at = i;
        else if (f->type == T_I64)
            *(int64_t *)at = i < INT32_MAX ? i : INT32_MAX;
        else
            *(int32_t *)at = (int32_t)(i < INT32_MAX ? i : INT32_MAX);
        return 0;
    case T_REAL:
        r = read_real(v, f->name, f->min, f->max, &x, d->e);
        if (!r)
            *(float *)at = (float)x;
        return r;
    case T_STR:
        return read_str(v, f->name, (size_t)f->max, (const char **)at, d->e);
    case T_FUNC:
        return f->read(d, v, f->name);
    case T_ANY:
        break;
    }
    if (f->flags & UNBUILT)
        return field_unbuilt(d->o, d->e, ERR_UNSUPPORTED, f->name,
                             "constrained output is not supported yet by this server");
    return 0;
}

static const struct field *find_field(const char *name, unsigned kind)
{
    for (size_t i = 0; i < ARRAY_LEN(fields); i++) {
        if ((fields[i].kinds & kind) && !strcmp(fields[i].name, name))
            return &fields[i];
    }
    return NULL;
}

static int read_fields(struct reading *d, unsigned kind)
{
    const char *key;
    json_t *v;

    json_object_foreach(d->r.root, key, v)
    {
        const struct field *f = find_field(key, kind);
        int r;
        if (d->o->strict && (!f || (f->flags & EXT))) {
            const char *path = PATH("body.%.64s", key);
            return field_bad(d->e, ERR_SCHEMA, path, "property '%s' is unsupported", path);
        }
        if (!f || json_is_null(v))
            continue;
        r = read_field(d, f, v);
        if (r)
            return r;
        d->r.given |= f->given;
    }
    return 0;
}

/* ---- what fields mean together ---- */

static int settle_lengths(struct reading *d, int32_t least)
{
    struct api_request *r = &d->r;
    const char *name = d->max_completion != -2 ? "max_completion_tokens" : "max_tokens";
    int64_t max = d->max_completion != -2 ? d->max_completion : d->max_tokens;
    int64_t min = d->min_completion != -2 ? d->min_completion : d->min_tokens;

    if (max >= 0 && max < least)
        return field_bad(d->e, ERR_SCHEMA, name, "must be at least %d (or -1: no limit), not %lld",
                         least, (long long)max);
    if (max >= 0 && min > max)
        return field_bad(
            d->e, ERR_SCHEMA, d->min_completion != -2 ? "min_completion_tokens" : "min_tokens",
            "must not be above %s (%lld), not %lld", name, (long long)max, (long long)min);
    r->sampling.max_tokens = max < 0 ? -1 : (int32_t)max;
    r->sampling.min_tokens = min == -2 ? 0 : (int32_t)min;
    return 0;
}

static int settle_choices(struct reading *d)
{
    struct api_request *r = &d->r;
    int64_t prompts = r->n_prompts ? r->n_prompts : 1;

    if (d->best_of) {
        if (d->best_of > JOB_CHOICES_MAX)
            return field_bad(d->e, ERR_SCHEMA, "best_of", "must be at most %d here, not %d",
                             JOB_CHOICES_MAX, d->best_of);
        if (d->best_of < r->n)
            return field_bad(d->e, ERR_SCHEMA, "best_of", "must be at least n (%d), not %d", r->n,
                             d->best_of);
        if (r->stream && d->best_of > r->n)
            return field_bad(d->e, ERR_SCHEMA, "best_of", "cannot be above n in a stream");
    }
    r->n_run = d->best_of ? d->best_of : r->n;
    if (prompts * r->n_run > API_CHOICES_MAX)
        return field_bad(d->e, ERR_SCHEMA, d->best_of ? "best_of" : "n",
                         "%lld prompts with %d choices each pass the limit of %d choices",
                         (long long)prompts, r->n_run, API_CHOICES_MAX);
    r->sampling.logprobs = r->logprobs || r->n_run > r->n;
    return 0;
}

static int settle(struct reading *d, const struct openai *o)
{
    struct api_request *r = &d->r;
    int x;

    if (!r->model || !*r->model)
        return field_bad(d->e, ERR_SCHEMA, "model", "is required");
    if (!r->messages && !r->n_prompts)
        return field_bad(d->e, ERR_SCHEMA, o->d.prompt_field, "is required");
    x = settle_lengths(d, o->max_tokens_least);
    if (!x)
        x = settle_choices(d);
    if (!x && o->settle)
        x = o->settle(d);
    if (x)
        return x;
    if (r->sampling.top_p == 0) { /* only the likeliest token can be drawn: the same as greedy */
        r->sampling.temperature = 0;
        r->sampling.top_p = 1;
    }
    if (r->sampling.top_k < 0)
        r->sampling.top_k = 0;
    if (!r->stream)
        r->include_usage = 0;
    return 0;
}

/* ---- headers ---- */

/* Headers that are read as fields are. */
static const struct header {
    const char *name;
    size_t at; /* in struct api_request_headers */
    int32_t min, max;
    size_t to; /* in struct reading */
    unsigned flags;
    const char *doc_range;
} headers[] = {
    {"X-Cerebras-Version-Patch", offsetof(struct api_request_headers, version_patch), INT32_MIN,
     INT32_MAX, AT(unused), IGNORED, "32 bits"},
    {"queue_threshold", offsetof(struct api_request_headers, queue_threshold), 50, 20000,
     AT(r.queue_threshold_ms), 0, "50..20000 ms"},
};

static int read_header(struct reading *d, const struct header *row,
                       const struct api_request_headers *h)
{
    const char *s = *(const char *const *)((const char *)h + row->at);
    char *end;
    long v;

    if (!s)
        return 0;
    errno = 0;
    v = strtol(s, &end, 10);
    if (end == s || *end || errno || v < row->min || v > row->max)
        return err_set_param(d->e, ERR_SCHEMA, row->name,
                             "header %s: must be an integer from %d to %d", row->name, row->min,
                             row->max);
    *(int32_t *)((char *)d + row->to) = (int32_t)v;
    return 0;
}

/* ---- what stays ---- */

static int own(struct reading *d, const char **s, size_t n)
{
    if (!*s)
        return 0;
    *s = arena_strndup(d->a, *s, n);
    return *s ? 0 : field_no_room(d->a, d->e);
}

/* Copy the strings into the arena and free the body's tree, which is many times as large. */
static int drop_tree(struct reading *d)
{
    struct api_request *r = &d->r;
    const char **names[] = {&r->model, &r->cache_salt, &r->cache_key};
    int e = 0;

    for (size_t i = 0; !e && i < ARRAY_LEN(names); i++)
        e = own(d, names[i], *names[i] ? strlen(*names[i]) : 0);
    for (int32_t i = 0; !e && i < r->sampling.n_stop; i++)
        e = own(d, &r->sampling.stop[i].s, r->sampling.stop[i].n);
    for (int32_t i = 0; !e && i < r->n_prompts; i++)
        e = own(d, &r->prompt[i].text, r->prompt[i].n_text);
    if (e)
        return e;
    json_decref(r->root);
    r->root = NULL;
    return 0;
}

size_t arguments_max(const char *body, size_t n)
{
    if (!memmem(body, n, "\"arguments\"", 11))
        return 0;
    return n < ARGUMENTS_MAX / 16 ? 4096 + 16 * n : ARGUMENTS_MAX;
}

size_t api_read_cost(const char *body, size_t n)
{
    return 2 * json_cost(body, n) - 2 * n + arguments_max(body, n);
}

int openai_parse(const struct api_dialect *dialect, struct api_request *ret, struct arena *a,
                 const char *body, size_t n, const struct api_request_headers *h,
                 const struct api_options *o, struct err *e)
{
    const struct openai *form = (const struct openai *)(const void *)dialect;
    size_t arguments_left = arguments_max(body, n);
    struct api_options options = o ? *o : (struct api_options){0};
    struct reading d = {.a = a,
                        .o = &options,
                        .e = e,
                        .max_completion = -2,
                        .max_tokens = -2,
                        .min_completion = -2,
                        .min_tokens = -2,
                        .clear_thinking = 1};
    int r;

    options.arguments_left = &arguments_left;
    d.r = (struct api_request){.dialect = dialect,
                               .tier = TIER_DEFAULT,
                               .n = 1,
                               .sampling = {.temperature = 1, .top_p = 1, .repetition_penalty = 1}};
    r = parse_body(&d.r.root, body, n, h, d.o, e);
    for (size_t i = 0; !r && h && i < ARRAY_LEN(headers); i++)
        r = read_header(&d, &headers[i], h);
    if (!r)
        r = read_fields(&d, form->fields);
    if (!r)
        r = settle(&d, form);
    if (!r)
        r = drop_tree(&d);
    if (r) {
        api_request_done(&d.r);
        return r;
    }
    *ret = d.r;
    return 0;
}

int api_field_row(int i, struct api_field_doc *ret)
{
    const struct field *f;

    if (i < 0 || (size_t)i >= ARRAY_LEN(fields))
        return 0;
    f = &fields[i];
    *ret = (struct api_field_doc){.name = f->name,
                                  .type = f->doc_type,
                                  .range = f->doc_range,
                                  .dflt = f->doc_default,
                                  .kinds = f->kinds,
                                  .state = f->flags & UNBUILT   ? API_FIELD_UNBUILT
                                           : f->flags & IGNORED ? API_FIELD_IGNORED
                                                                : API_FIELD_SERVED,
                                  .extension = f->flags & EXT};
    return 1;
}

int api_header_row(int i, struct api_field_doc *ret)
{
    if (i < 0 || (size_t)i >= ARRAY_LEN(headers))
        return 0;
    *ret = (struct api_field_doc){.name = headers[i].name,
                                  .type = "integer",
                                  .range = headers[i].doc_range,
                                  .kinds = BOTH,
                                  .state = headers[i].flags & IGNORED ? API_FIELD_IGNORED
                                                                      : API_FIELD_SERVED};
    return 1;
}
