#include "base/cbor.h"

#include <string.h>

#include "base/utf8.h"

/* The kinds of values, the upper three bits of their first byte. */
enum { NUMBER, NEGATIVE, BYTES, TEXT, ARRAY, MAP, TAG, SIMPLE };
#define IS_NULL 22

/* ---- writing --------------------------------------------------------------------------------- */

static void put(struct cbor *c, const void *p, size_t n)
{
    if (c->failed || n > (size_t)(c->end - c->at)) {
        c->failed = 1;
        return;
    }
    memcpy(c->at, p, n);
    c->at += n;
}

/* A kind and its number, in as few bytes as will do. */
static void put_head(struct cbor *c, int kind, uint64_t v)
{
    unsigned char b[9];
    int log, n;

    if (v < 24 && c->at < c->end && !c->failed) { /* most of them */
        *c->at++ = (unsigned char)(kind << 5 | (int)v);
        return;
    }
    log = v < 24 ? -1 : v <= UINT8_MAX ? 0 : v <= UINT16_MAX ? 1 : v <= UINT32_MAX ? 2 : 3;
    n = log < 0 ? 0 : 1 << log;

    b[0] = (unsigned char)(kind << 5 | (log < 0 ? (int)v : 24 + log));
    for (int i = 0; i < n; i++)
        b[1 + i] = (unsigned char)(v >> (8 * (n - 1 - i)));
    put(c, b, 1 + (size_t)n);
}

void cbor_put_int(struct cbor *c, int64_t v)
{
    put_head(c, v < 0 ? NEGATIVE : NUMBER, v < 0 ? ~(uint64_t)v : (uint64_t)v);
}

void cbor_put_bytes(struct cbor *c, const void *p, size_t n)
{
    put_head(c, BYTES, n);
    put(c, p, n);
}

void cbor_put_text(struct cbor *c, const char *s, size_t n)
{
    put_head(c, TEXT, n);
    put(c, s, n);
}

void cbor_put_array(struct cbor *c, size_t n)
{
    put_head(c, ARRAY, n);
}

void cbor_put_map(struct cbor *c, size_t n)
{
    put_head(c, MAP, n);
}

void cbor_put_tag(struct cbor *c, uint64_t tag)
{
    put_head(c, TAG, tag);
}

void cbor_put_null(struct cbor *c)
{
    put_head(c, SIMPLE, IS_NULL);
}

/* ---- reading --------------------------------------------------------------------------------- */

/* The next head, in its shortest form. `in` is behind it. */
static int get_head(struct cbor_in *in, int *ret_kind, uint64_t *ret)
{
    size_t left = (size_t)(in->end - in->at), n;
    uint64_t v = 0;
    int low;

    if (!left)
        return -1;
    *ret_kind = *in->at >> 5;
    low = *in->at & 31;
    if (low < 24) {
        *ret = (uint64_t)low;
        in->at++;
        return 0;
    }
    n = (size_t)1 << (low - 24);
    if (low > 27 || left < 1 + n)
        return -1;
    for (size_t i = 1; i <= n; i++)
        v = v << 8 | in->at[i];
    if (v < 24 || (n > 1 && v >> (4 * n) == 0)) /* a shorter form would do */
        return -1;
    in->at += 1 + n;
    *ret = v;
    return 0;
}

static int get(struct cbor_in *in, int kind, uint64_t *ret)
{
    struct cbor_in next = *in;
    int k;

    if (get_head(&next, &k, ret) || k != kind)
        return -1;
    *in = next;
    return 0;
}

int cbor_get_int(struct cbor_in *in, int64_t *ret)
{
    struct cbor_in next = *in;
    uint64_t v;
    int k;

    if (get_head(&next, &k, &v) || k > NEGATIVE || v > INT64_MAX)
        return -1;
    *ret = k == NEGATIVE ? (int64_t)~v : (int64_t)v;
    *in = next;
    return 0;
}

/* n bytes that a head has announced. */
static int get_string(struct cbor_in *in, int kind, const unsigned char **ret, size_t *ret_n)
{
    struct cbor_in next = *in;
    uint64_t n;

    if (get(&next, kind, &n) || n > (uint64_t)(next.end - next.at))
        return -1;
    *ret = next.at;
    *ret_n = (size_t)n;
    in->at = next.at + n;
    return 0;
}

int cbor_get_bytes(struct cbor_in *in, const unsigned char **ret, size_t *ret_n)
{
    return get_string(in, BYTES, ret, ret_n);
}

int cbor_get_text(struct cbor_in *in, const char **ret, size_t *ret_n)
{
    struct cbor_in next = *in;
    const unsigned char *p;
    size_t n;

    if (get_string(&next, TEXT, &p, &n) || !utf8_valid((const char *)p, n, NULL))
        return -1;
    *ret = (const char *)p;
    *ret_n = n;
    *in = next;
    return 0;
}

/* How many values or pairs follow: each has a byte at least. */
static int get_count(struct cbor_in *in, int kind, size_t *ret_n)
{
    struct cbor_in next = *in;
    uint64_t n;

    if (get(&next, kind, &n) || n > (uint64_t)(next.end - next.at))
        return -1;
    *ret_n = (size_t)n;
    *in = next;
    return 0;
}

int cbor_get_array(struct cbor_in *in, size_t *ret_n)
{
    return get_count(in, ARRAY, ret_n);
}

int cbor_get_map(struct cbor_in *in, size_t *ret_n)
{
    return get_count(in, MAP, ret_n);
}

int cbor_get_tag(struct cbor_in *in, uint64_t *ret)
{
    return get(in, TAG, ret);
}

int cbor_get_null(struct cbor_in *in)
{
    struct cbor_in next = *in;
    uint64_t v;

    if (get(&next, SIMPLE, &v) || v != IS_NULL)
        return -1;
    *in = next;
    return 0;
}

static int skip(struct cbor_in *in, int depth)
{
    struct cbor_in next = *in;
    uint64_t n = 0;
    int kind;

    if (!depth || get_head(&next, &kind, &n))
        return -1;
    if (kind == BYTES || kind == TEXT) {
        if (n > (uint64_t)(next.end - next.at))
            return -1;
        next.at += n;
    } else if (kind == ARRAY || kind == MAP || kind == TAG) {
        /* Each value has a byte at least, so it ends no later than the bytes do. */
        n = kind == TAG ? 1 : kind == MAP && n <= UINT64_MAX / 2 ? 2 * n : n;
        for (; n; n--) {
            if (skip(&next, depth - 1))
                return -1;
        }
    } else if (kind == SIMPLE && (n < 20 || n > IS_NULL)) { /* true, false and null */
        return -1;
    }
    *in = next;
    return 0;
}

int cbor_skip(struct cbor_in *in)
{
    return skip(in, CBOR_DEPTH);
}
