/* What suppliers answer in place of an answer, in this project's words. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "api/relayed.h"
#include "base/check.h"
#include "base/json.h"

#define BODY_MAX    65536
#define SAID_MAX    300
#define WORD_MAX    48
#define RETRY_S_MAX 3600.0

/* ---- what it says ---------------------------------------------------------------------------- */

/* A word that is not for clients: an address, a key, the name of an account. */
static int is_secret(const char *s, size_t n)
{
    static const char *const marks[] = {"://",  "www.",   "sk-",   "gsk_", "xai-",
                                        "AIza", "nvapi-", "pplx-", "org-", "org_"};

    for (size_t i = 0; i < ARRAY_LEN(marks); i++) {
        if (memmem(s, n, marks[i], strlen(marks[i])))
            return 1;
    }
    return n > WORD_MAX;
}

/* A word that the key follows. */
static int is_before_secret(const char *s, size_t n)
{
    return n >= 6 && !strncasecmp(s + n - 6, "bearer", 6);
}

/* The supplier's sentence, without what is not for clients. */
static void say(const char *from, char out[SAID_MAX])
{
    size_t at = 0;
    int is_next = 0;

    while (*from && at + 6 < SAID_MAX) {
        size_t n = strcspn(from, " \t\r\n"), left = SAID_MAX - 1 - at;
        int is_it = is_next || is_secret(from, n);
        is_next = is_before_secret(from, n);
        if (n && is_it) {
            memcpy(out + at, "...", 3);
            at += 3;
        } else {
            memcpy(out + at, from, n < left ? n : left);
            at += n < left ? n : left;
        }
        from += n;
        if (*from && at + 1 < SAID_MAX)
            out[at++] = ' ';
        from += strspn(from, " \t\r\n");
    }
    out[at] = 0;
}

static const char *text_at(const json_t *o, const char *key)
{
    const char *s = json_string_value(json_object_get(o, key));

    return s && *s ? s : NULL;
}

/* Message, code and type of an error body, flat or in an object; "" where there is none. */
struct said {
    char message[SAID_MAX], code[64], type[64], param[64];
    int status; /* that it names itself; 0: none */
};

/* A number from 400 to 599, as such or as text; else 0. */
static int status_at(const json_t *o, const char *key)
{
    const json_t *v = json_object_get(o, key);
    const char *s = json_string_value(v);
    json_int_t n = json_is_integer(v) ? json_integer_value(v) : 0;

    if (s && strlen(s) == 3 && strspn(s, "0123456789") == 3)
        n = strtol(s, NULL, 10);
    return n >= 400 && n < 600 ? (int)n : 0;
}

static int status_in(const json_t *o)
{
    static const char *const keys[] = {"code", "status", "status_code"};
    int status = 0;

    for (size_t i = 0; i < ARRAY_LEN(keys) && !status; i++)
        status = status_at(o, keys[i]);
    return status;
}

static void read_body(const char *body, size_t n, struct said *ret)
{
    const json_t *top, *in;
    json_t *j = NULL;
    struct err e;
    const char *s;

    *ret = (struct said){0};
    if (!n || n > BODY_MAX || json_parse(&j, body, n, 16 * BODY_MAX, &e))
        return;
    top = json_is_array(j) ? json_array_get(j, 0) : j; /* Google's come in an array */
    in = json_object_get(top, "error");
    if (json_is_string(in)) {
        say(json_string_value(in), ret->message);
    } else {
        in = json_is_object(in) ? in : top;
        s = text_at(in, "message");
        s = s ? s : text_at(in, "detail");
        if (s)
            say(s, ret->message);
        if ((s = text_at(in, "code")))
            snprintf(ret->code, sizeof ret->code, "%s", s);
        if ((s = text_at(in, "type")))
            snprintf(ret->type, sizeof ret->type, "%s", s);
        if ((s = text_at(in, "param")))
            snprintf(ret->param, sizeof ret->param, "%s", s);
        ret->status = status_in(in);
    }
    if (!ret->status)
        ret->status = status_in(top);
    json_decref(j);
}

/* ---- what it means --------------------------------------------------------------------------- */

static int has_any(const struct said *s, const char *const *words)
{
    for (; *words; words++) {
        if (strcasestr(s->code, *words) || strcasestr(s->type, *words) ||
            strcasestr(s->message, *words))
            return 1;
    }
    return 0;
}

/* Of a 400, 413 or 422: the request's own fault, by the words of the peers. */
static int fault_of(const struct said *s)
{
    static const char *const context[] = {"context_length",
                                          "context length",
                                          "context window",
                                          "contextwindow",
                                          "context limit",
                                          "maximum model length",
                                          "exceeds the maximum number of tokens",
                                          "exceed_context_size",
                                          "context size",
                                          "prompt is too long",
                                          "reduce the length",
                                          "maximum context",
                                          "too many input tokens",
                                          "input is too long",
                                          NULL};
    static const char *const content[] = {"content_filter", "content_policy",
                                          "content policy", "content management policy",
                                          "safety system",  NULL};

    return has_any(s, context) ? ERR_CONTEXT : has_any(s, content) ? ERR_CONTENT : ERR_SCHEMA;
}

static const struct {
    int from, to; /* statuses */
    int code;     /* 0: the request's fault, by what it says */
} meanings[] = {
    {400, 400, 0},
    {401, 401, ERR_SUPPLIER_AUTH},
    {402, 402, ERR_SUPPLIER},
    {403, 403, ERR_SUPPLIER_AUTH},
    {404, 405, ERR_SUPPLIER},
    {408, 408, ERR_SUPPLIER_BUSY},
    {413, 413, 0},
    {422, 422, 0},
    {425, 425, ERR_SUPPLIER_BUSY},
    {429, 429, ERR_SUPPLIER_BUSY},
    {400, 499, 0},
};

static int code_of(int status, const struct said *s)
{
    static const char *const quota[] = {"insufficient_quota", "billing", NULL};

    for (size_t i = 0; i < ARRAY_LEN(meanings); i++) {
        if (status < meanings[i].from || status > meanings[i].to)
            continue;
        if (!meanings[i].code)
            return fault_of(s);
        if (meanings[i].code == ERR_SUPPLIER_BUSY && has_any(s, quota))
            return ERR_SUPPLIER; /* waiting does not help */
        return meanings[i].code;
    }
    return ERR_SUPPLIER;
}

/* Of an error that came without a status: the one it names, or that its words are usual for. */
static int status_of(const struct said *s)
{
    static const char *const busy[] = {"rate_limit", "rate limit", "too_many_requests",
                                       "too many requests", NULL};

    if (s->status)
        return s->status;
    if (fault_of(s) != ERR_SCHEMA)
        return 400;
    return has_any(s, busy) ? 429 : 500;
}

/* ---- when to come back ----------------------------------------------------------------------- */

static int64_t retry_us(const char *after, const char *after_ms, int64_t now_s)
{
    double s = NAN;
    char *end;

    if (after_ms) {
        s = strtod(after_ms, &end) / 1000;
        s = end == after_ms ? NAN : s;
    }
    if (isnan(s) && after) {
        struct tm tm = {0};
        s = strtod(after, &end);
        if (end == after)
            s = strptime(after, "%a, %d %b %Y %H:%M:%S GMT", &tm) ? (double)(timegm(&tm) - now_s)
                                                                  : NAN;
    }
    if (!(s > 0))
        return 0;
    return (int64_t)((s < RETRY_S_MAX ? s : RETRY_S_MAX) * 1e6);
}

int api_relayed_error(int status, const char *body, size_t n, const char *retry_after,
                      const char *retry_after_ms, int64_t now_s, int64_t *ret_retry_us,
                      struct err *e)
{
    struct said s;
    int code;

    read_body(body, n, &s);
    status = status ? status : status_of(&s);
    code = code_of(status, &s);
    *ret_retry_us = err_is_retryable(code) ? retry_us(retry_after, retry_after_ms, now_s) : 0;
    switch (code) {
    case ERR_CONTEXT: /* clients look for these words */
        return err_set_param(e, code, "messages",
                             "%s%sPlease reduce the length of the messages or "
                             "completion.",
                             s.message,
                             strcasestr(s.message, "maximum context length")
                                 ? " "
                                 : " This model's maximum context length is exceeded. ");
    case ERR_SCHEMA:
        return err_set_param(e, code, s.param, "%s",
                             *s.message ? s.message : "The supplier refuses the request.");
    case ERR_CONTENT:
        return err_set(e, code, "%s", *s.message ? s.message : err_text(code));
    case ERR_SUPPLIER_BUSY:
        return err_set_param(e, code, "queue",
                             "We're experiencing high traffic right now! Please try again soon.");
    case ERR_SUPPLIER_AUTH:
        return err_set(e, code, "The supplier of this model refuses this server.");
    default:
        return err_set(e, code, "The supplier of this model failed (status %d).", status);
    }
}
