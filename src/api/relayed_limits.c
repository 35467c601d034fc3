/* Suppliers' rate limit headers, in the forms in which they come:
 *
 *   x-ratelimit-{limit,remaining,reset}-{requests,tokens}[-{minute,hour,day}]
 *   x-ratelimit-{limit,remaining,reset}            of requests
 *
 * A reset is "6m0s", "17ms", "59.56" (seconds), or a unix time in seconds or milliseconds. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "api/relayed.h"
#include "base/check.h"

#define PREFIX     "x-ratelimit-"
#define UNIX_S_MIN 1e9 /* numbers from here on are times, not spans */
#define UNIX_MS    1e11
#define RESET_MAX  86400.0
#define COUNT_MAX  1e15

void api_relayed_limits_none(struct limits_told *ret)
{
    ret->any = 0;
    for (int k = 0; k < LIMITS_KINDS; k++) {
        for (int s = 0; s < LIMITS_SPANS; s++)
            ret->window[k][s] = (struct limit_told){-1, -1, -1};
    }
}

/* Skip the word if it is next. */
static int skip(const char **p, const char *word)
{
    size_t n = strlen(word);

    if (strncmp(*p, word, n))
        return 0;
    *p += n;
    return 1;
}

/* Which of the words is next; -1: none. The empty word matches always. */
static int word_at(const char **p, const char *const *words, int n)
{
    for (int i = n - 1; i >= 0; i--) {
        if (skip(p, words[i]))
            return i;
    }
    return -1;
}

/* A number without a sign; NAN: there is none. */
static double number(const char **p)
{
    char *end;
    double x;

    if (!(**p >= '0' && **p <= '9') || (**p == '0' && ((*p)[1] | 32) == 'x'))
        return NAN;
    x = strtod(*p, &end);
    *p = end;
    return x;
}

static int64_t count_of(const char *value)
{
    double x = number(&value);

    value += strspn(value, " ");
    return *value || !(x <= COUNT_MAX) ? -1 : (int64_t)x;
}

/* Parts with units: "1h2m3.5s", "17ms". */
static double span_of(const char *p)
{
    static const char *const units[] = {"h", "m", "s", "ms"};
    static const double of[] = {3600, 60, 1, 0.001};
    double sum = 0;

    while (*p) {
        double x = number(&p);
        int i = word_at(&p, units, ARRAY_LEN(units));
        if (i < 0 || isnan(x))
            return NAN;
        sum += x * of[i];
    }
    return sum;
}

static int64_t reset_of(const char *value, int64_t now_s)
{
    const char *p = value;
    double x = number(&p);

    if (isnan(x))
        return -1;
    if (*p)
        x = span_of(value);
    else if (x >= UNIX_MS)
        x = x / 1000 - (double)now_s;
    else if (x >= UNIX_S_MIN)
        x -= (double)now_s;
    if (isnan(x))
        return -1;
    return (int64_t)((x < 0 ? 0 : x < RESET_MAX ? x : RESET_MAX) * 1e6);
}

void api_relayed_limit(const char *name, const char *value, int64_t now_s, struct limits_told *ret)
{
    static const char *const fields[] = {"limit", "remaining", "reset"};
    static const char *const kinds[] = {"", "-requests", "-tokens"};
    static const char *const spans[] = {"", "-minute", "-hour", "-day"};
    struct limit_told *t;
    int field, kind, span;

    if (!skip(&name, PREFIX) || (field = word_at(&name, fields, ARRAY_LEN(fields))) < 0)
        return;
    kind = word_at(&name, kinds, ARRAY_LEN(kinds));
    span = word_at(&name, spans, ARRAY_LEN(spans));
    if (*name || (!kind && span))
        return;
    t = &ret->window[kind == 2 ? LIMITS_TOKENS : LIMITS_REQUESTS][span];
    if (field == 0)
        t->limit = count_of(value);
    else if (field == 1)
        t->left = count_of(value);
    else
        t->reset_us = reset_of(value, now_s);
    ret->any = 1;
}
