/* Response headers, and the key among the request's. */
#include <string.h>
#include <strings.h>

#include "api/header_list.h"
#include "base/check.h"
#include "base/put.h"

struct list {
    struct api_header *out;
    int n, max;
};

static char *add_name(struct list *l, const char *name)
{
    CHECK(l->n < l->max);
    l->out[l->n].name = name;
    return l->out[l->n++].value;
}

static void add(struct list *l, const char *name, const char *value)
{
    put_text(add_name(l, name), sizeof l->out->value, value);
}

static void add_number(struct list *l, const char *name, int64_t v)
{
    put_dec(v, add_name(l, name));
}

static void add_milli(struct list *l, const char *name, int64_t thousandths)
{
    put_milli(thousandths, add_name(l, name));
}

static int trimmed(const char *s, const char **ret, size_t *ret_n)
{
    size_t n;

    s += strspn(s, " \t");
    for (n = strlen(s); n && strchr(" \t", s[n - 1]); n--)
        ;
    *ret = s;
    *ret_n = n;
    return n > 0;
}

int api_key_find(const char *authorization, const char *x_api_key, const char *api_key,
                 const char **ret, size_t *ret_n)
{
    if (authorization) {
        const char *s = authorization + strspn(authorization, " \t");
        if (!strncasecmp(s, "Bearer", 6) && (s[6] == ' ' || s[6] == '\t') &&
            trimmed(s + 6, ret, ret_n))
            return 1;
    }
    if (x_api_key && trimmed(x_api_key, ret, ret_n))
        return 1;
    return api_key && trimmed(api_key, ret, ret_n);
}

int api_cookie_find(const char *cookies, const char *name, const char **ret, size_t *ret_n)
{
    size_t n = strlen(name);

    for (const char *at = cookies; *at; at += strcspn(at, ";")) {
        at += strspn(at, "; \t");
        if (strncmp(at, name, n) || at[n] != '=')
            continue;
        *ret = at + n + 1;
        *ret_n = strcspn(*ret, "; \t");
        return 1;
    }
    return 0;
}

int api_cors_headers(int preflight, const char *origin, struct api_header *out, int max)
{
    struct list l = {out, 0, max};

    if (!origin)
        return 0;
    add(&l, "access-control-allow-origin", origin);
    if (strcmp(origin, "*"))
        add(&l, "vary", "origin");
    add(&l, "access-control-expose-headers",
        "x-request-id, openai-processing-ms, retry-after, retry-after-ms, x-should-retry, "
        "x-ratelimit-limit-requests, x-ratelimit-remaining-requests, *");
    if (!preflight)
        return l.n;
    add(&l, "access-control-allow-methods", "GET, POST, DELETE, OPTIONS");
    /* A wildcard never covers Authorization, so it is named. */
    add(&l, "access-control-allow-headers", "authorization, content-type, x-api-key, api-key, *");
    add(&l, "access-control-max-age", "86400");
    return l.n;
}

int api_stream_headers(const struct api_frame *frame, struct api_header *out, int max)
{
    struct list l = {out, 0, max};

    add(&l, "content-type", frame->type);
    add(&l, "cache-control", "no-cache");
    add(&l, "x-accel-buffering", "no");
    return l.n;
}

int api_common_headers(const char *request_id, int64_t processing_us, struct api_header *out,
                       int max)
{
    struct list l = {out, 0, max};

    add(&l, "x-request-id", request_id);
    add_number(&l, "openai-processing-ms", processing_us > 0 ? processing_us / 1000 : 0);
    add(&l, "openai-version", "2020-10-01");
    return l.n;
}

int api_retry_headers(const struct err *e, int64_t retry_us, struct api_header *out, int max)
{
    struct list l = {out, 0, max};
    int status = err_http_status(e->code);

    if (err_is_retryable(e->code) && retry_us > 0) {
        add_milli(&l, "retry-after-ms", retry_us);
        add_number(&l, "retry-after", (retry_us + 999999) / 1000000);
    }
    /* Clients retry 409, 429 and 5xx by themselves; tell them where another try would fail in the
     * same way. */
    if (!err_is_retryable(e->code) &&
        (status == 402 || status == 409 || status == 429 || status >= 500))
        add(&l, "x-should-retry", "false");
    return l.n;
}

static char *part(char *to, int64_t v, const char *unit)
{
    return stpcpy(to + put_dec(v, to), unit);
}

/* OpenAI's durations: 120ms, 1s, 6m0s, 1h0m0s. */
static void duration_text(int64_t us, char *out)
{
    int64_t ms = us > 0 ? (us + 999) / 1000 : 0, s = ms / 1000;

    if (ms < 1000) {
        part(out, ms, "ms");
    } else if (s < 60 && ms % 1000) {
        stpcpy(out + put_milli(ms, out), "s");
    } else {
        if (s >= 3600)
            out = part(out, s / 3600, "h");
        if (s >= 60)
            out = part(out, s / 60 % 60, "m");
        part(out, s % 60, "s");
    }
}

int api_rate_headers(const struct api_rate *r, struct api_header *out, int max)
{
    struct list l = {out, 0, max};
    const struct {
        const struct api_rate_window *w;
        const char *limit, *remaining, *reset;
        int text; /* OpenAI's unnamed window is the minute */
    } rows[] = {
        {&r->requests_minute, "x-ratelimit-limit-requests", "x-ratelimit-remaining-requests",
         "x-ratelimit-reset-requests", 1},
        {&r->tokens_minute, "x-ratelimit-limit-tokens", "x-ratelimit-remaining-tokens",
         "x-ratelimit-reset-tokens", 1},
        {&r->requests_minute, "x-ratelimit-limit-requests-minute",
         "x-ratelimit-remaining-requests-minute", "x-ratelimit-reset-requests-minute", 0},
        {&r->requests_hour, "x-ratelimit-limit-requests-hour",
         "x-ratelimit-remaining-requests-hour", "x-ratelimit-reset-requests-hour", 0},
        {&r->requests_day, "x-ratelimit-limit-requests-day", "x-ratelimit-remaining-requests-day",
         "x-ratelimit-reset-requests-day", 0},
        {&r->tokens_minute, "x-ratelimit-limit-tokens-minute",
         "x-ratelimit-remaining-tokens-minute", "x-ratelimit-reset-tokens-minute", 0},
        {&r->tokens_hour, "x-ratelimit-limit-tokens-hour", "x-ratelimit-remaining-tokens-hour",
         "x-ratelimit-reset-tokens-hour", 0},
        {&r->tokens_day, "x-ratelimit-limit-tokens-day", "x-ratelimit-remaining-tokens-day",
         "x-ratelimit-reset-tokens-day", 0},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const struct api_rate_window *w = rows[i].w;
        if (w->limit < 0)
            continue;
        add_number(&l, rows[i].limit, w->limit);
        add_number(&l, rows[i].remaining, w->remaining > 0 ? w->remaining : 0);
        if (rows[i].text)
            duration_text(w->reset_us, add_name(&l, rows[i].reset));
        else
            add_milli(&l, rows[i].reset, w->reset_us > 0 ? (w->reset_us + 500) / 1000 : 0);
    }
    return l.n;
}
