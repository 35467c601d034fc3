#include "base/json_tree.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/eight.h"
#include "base/json_walk.h"
#include "base/utf8.h"

#define DEPTH_MAX 64 /* levels of calls */
/* So many digits are exact in 64 bits, and in a double. */
#define INTEGER_DIGITS 18
#define REAL_DIGITS    15

struct reader {
    const char *p, *end;
    size_t n_text;
    char *scratch; /* for strings with escapes; as long as the text */
    int depth;
};

static json_t *read_value(struct reader *r);

/* ---- strings --------------------------------------------------------------------------------- */

/* To the first byte that needs a look: the end of the string, an escape, what is not ASCII. */
static const char *skip_ascii(const char *p, const char *end)
{
    for (; end - p >= 8; p += 8) {
        uint64_t v = eight_at(p),
                 mask = eight_is(v, '"') | eight_is(v, '\\') | eight_below(v, 0x20) | eight_high(v);
        if (mask)
            return p + eight_first(mask);
    }
    while (p < end && *p != '"' && *p != '\\' && (unsigned char)*p >= 0x20 &&
           (unsigned char)*p < 0x80)
        p++;
    return p;
}

/* Four hexadecimal digits; -1: there are none. */
static int32_t read_hex(const char *p, const char *end)
{
    int32_t v = 0;

    if (end - p < 4)
        return -1;
    for (int i = 0; i < 4; i++) {
        char c = p[i], low = (char)(c | 0x20);
        if (c >= '0' && c <= '9')
            v = v << 4 | (c - '0');
        else if (low >= 'a' && low <= 'f')
            v = v << 4 | (low - 'a' + 10);
        else
            return -1;
    }
    return v;
}

/* The character of \uXXXX, or of two of them; p is behind the first u. 0: none that may be. */
static uint32_t read_unicode(const char **p, const char *end)
{
    int32_t high = read_hex(*p, end), low;

    if (high < 0)
        return 0;
    *p += 4;
    if (high < 0xd800 || high > 0xdfff)
        return (uint32_t)high;
    if (high > 0xdbff || end - *p < 6 || (*p)[0] != '\\' || (*p)[1] != 'u')
        return 0;
    low = read_hex(*p + 2, end);
    if (low < 0xdc00 || low > 0xdfff)
        return 0;
    *p += 6;
    return 0x10000 + ((uint32_t)(high - 0xd800) << 10 | (uint32_t)(low - 0xdc00));
}

/* An escape at *p; how many bytes of `out` (4) it is, 0: none that may be. */
static int read_escape(const char **p, const char *end, char *out)
{
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    const char *which;
    uint32_t c;

    if (end - *p < 2)
        return 0;
    *p += 2;
    if ((*p)[-1] == 'u') {
        c = read_unicode(p, end);
        return c ? utf8_encode(c, out) : 0;
    }
    which = (*p)[-1] ? strchr(from, (*p)[-1]) : NULL;
    if (!which)
        return 0;
    *out = to[which - from];
    return 1;
}

/* A string, from its opening quote to behind its closing one: where it stands, or in the scratch
 * until the next is read. 0 or -1. */
static int read_text(struct reader *r, const char **ret, size_t *ret_n)
{
    const char *p = r->p + 1, *run = p; /* from there on nothing is in the scratch yet */
    size_t n = 0;
    uint32_t c;
    int len, is_plain = 1;

    for (;;) {
        p = skip_ascii(p, r->end);
        if (p == r->end)
            return -1;
        if (*p == '"')
            break;
        if ((unsigned char)*p >= 0x80) {
            len = utf8_decode(p, (size_t)(r->end - p), &c);
            if (len <= 0)
                return -1;
            p += len;
            continue;
        }
        if (*p != '\\' || (!r->scratch && !(r->scratch = malloc(r->n_text))))
            return -1;
        is_plain = 0;
        memcpy(r->scratch + n, run, (size_t)(p - run));
        n += (size_t)(p - run);
        len = read_escape(&p, r->end, r->scratch + n);
        if (!len)
            return -1;
        n += (size_t)len;
        run = p;
    }
    r->p = p + 1;
    if (is_plain) {
        *ret = run;
        *ret_n = (size_t)(p - run);
        return 0;
    }
    memcpy(r->scratch + n, run, (size_t)(p - run));
    *ret = r->scratch;
    *ret_n = n + (size_t)(p - run);
    return 0;
}

/* ---- numbers and words ----------------------------------------------------------------------- */

static int is_digit(const struct reader *r)
{
    return r->p < r->end && *r->p >= '0' && *r->p <= '9';
}

/* Adds digits to *v; how many there are, the digit that is one too many included. */
static int read_digits(struct reader *r, int max, uint64_t *v)
{
    int n = 0;

    for (; is_digit(r) && n <= max; n++)
        *v = *v * 10 + (uint64_t)(*r->p++ - '0');
    return n;
}

static json_t *read_number(struct reader *r)
{
    static const double tens[] = {1e0, 1e1, 1e2,  1e3,  1e4,  1e5,  1e6,  1e7,
                                  1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15};
    int negative = *r->p == '-', n, n_behind;
    uint64_t v = 0; /* holds one digit more than INTEGER_DIGITS, too */
    double real;

    r->p += negative;
    if (is_digit(r) && *r->p == '0') { /* no digit may follow it */
        r->p++;
        n = 1;
        if (is_digit(r))
            return NULL;
    } else {
        n = read_digits(r, INTEGER_DIGITS, &v);
    }
    if (!n || n > INTEGER_DIGITS)
        return NULL;
    if (r->p == r->end || (*r->p != '.' && (*r->p | 0x20) != 'e'))
        return json_integer(negative ? -(json_int_t)v : (json_int_t)v);
    if (*r->p != '.' || n > REAL_DIGITS)
        return NULL;
    r->p++;
    n_behind = read_digits(r, REAL_DIGITS - n, &v);
    if (!n_behind || n + n_behind > REAL_DIGITS || (r->p < r->end && (*r->p | 0x20) == 'e'))
        return NULL;
    real = (double)v / tens[n_behind]; /* both exact, so this is the nearest double */
    return json_real(negative ? -real : real);
}

static int is_word(struct reader *r, const char *word)
{
    size_t n = strlen(word);

    if ((size_t)(r->end - r->p) < n || memcmp(r->p, word, n))
        return 0;
    r->p += n;
    return 1;
}

/* ---- objects and arrays ---------------------------------------------------------------------- */

static void pass_blank(struct reader *r)
{
    r->p = json_blank(r->p, r->end);
}

/* Over the byte c, where it is the next. */
static int pass(struct reader *r, char c)
{
    pass_blank(r);
    if (r->p == r->end || *r->p != c)
        return 0;
    r->p++;
    return 1;
}

static int read_member(struct reader *r, json_t *object)
{
    size_t n_key, size = json_object_size(object);
    const char *key;
    json_t *v;

    pass_blank(r);
    if (r->p == r->end || *r->p != '"' || read_text(r, &key, &n_key) || key == r->scratch ||
        !pass(r, ':'))
        return -1;
    v = read_value(r);
    /* a second one of a name takes the place of the first, and the object does not grow */
    return !v || json_object_setn_new_nocheck(object, key, n_key, v) ||
                   json_object_size(object) == size
               ? -1
               : 0;
}

static int read_element(struct reader *r, json_t *array)
{
    json_t *v = read_value(r);

    return v ? json_array_append_new(array, v) : -1;
}

static json_t *read_all(struct reader *r, json_t *into, char end,
                        int (*read_one)(struct reader *r, json_t *into))
{
    r->p++;
    if (!into || r->depth == DEPTH_MAX)
        goto fail;
    r->depth++;
    if (!pass(r, end)) {
        do {
            if (read_one(r, into))
                goto fail;
        } while (pass(r, ','));
        if (!pass(r, end))
            goto fail;
    }
    r->depth--;
    return into;
fail:
    json_decref(into);
    return NULL;
}

static json_t *read_value(struct reader *r)
{
    const char *text;
    size_t n;

    pass_blank(r);
    if (r->p == r->end)
        return NULL;
    switch (*r->p) {
    case '{':
        return read_all(r, json_object(), '}', read_member);
    case '[':
        return read_all(r, json_array(), ']', read_element);
    case '"':
        return read_text(r, &text, &n) ? NULL : json_stringn_nocheck(text, n);
    case 't':
        return is_word(r, "true") ? json_true() : NULL;
    case 'f':
        return is_word(r, "false") ? json_false() : NULL;
    case 'n':
        return is_word(r, "null") ? json_null() : NULL;
    default:
        return read_number(r);
    }
}

json_t *json_tree(const char *s, size_t n)
{
    struct reader r = {.p = s, .end = s + n, .n_text = n};
    json_t *j = read_value(&r);

    free(r.scratch);
    pass_blank(&r);
    if (r.p == r.end)
        return j;
    json_decref(j);
    return NULL;
}
