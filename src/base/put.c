#include "base/put.h"

#include <string.h>

static const char hex[] = "0123456789abcdef";

/* The numbers below a hundred. */
static const char pairs[] =
    "00010203040506070809101112131415161718192021222324252627282930313233343536373839"
    "40414243444546474849505152535455565758596061626364656667686970717273747576777879"
    "8081828384858687888990919293949596979899";

/* Text is made from its end to its front: what is there of it, to `out`. */
static size_t put_end(const char text[PUT_MAX], size_t at, char *out)
{
    memcpy(out, text + at, PUT_MAX - at);
    out[PUT_MAX - at] = 0;
    return PUT_MAX - at;
}

static size_t put(uint64_t v, char *out)
{
    char text[PUT_MAX];
    size_t at = sizeof text;

    for (; v >= 100; v /= 100)
        memcpy(text + (at -= 2), pairs + v % 100 * 2, 2);
    if (v >= 10)
        memcpy(text + (at -= 2), pairs + v * 2, 2);
    else
        text[--at] = hex[v];
    return put_end(text, at, out);
}

size_t put_dec(int64_t v, char out[PUT_MAX])
{
    if (v >= 0)
        return put((uint64_t)v, out);
    *out = '-';
    return 1 + put(-(uint64_t)v, out + 1);
}

size_t put_hex(uint64_t v, char out[PUT_MAX])
{
    char text[PUT_MAX];
    size_t at = sizeof text;

    do
        text[--at] = hex[v % 16];
    while (v /= 16);
    return put_end(text, at, out);
}

size_t put_milli(int64_t thousandths, char out[PUT_MAX])
{
    uint64_t v = thousandths < 0 ? -(uint64_t)thousandths : (uint64_t)thousandths;
    size_t n = 0, part = v % 1000;

    if (thousandths < 0)
        out[n++] = '-';
    n += put(v / 1000, out + n);
    out[n++] = '.';
    out[n++] = hex[part / 100];
    out[n++] = hex[part / 10 % 10];
    out[n++] = hex[part % 10];
    out[n] = 0;
    return n;
}

size_t put_decimal(int64_t v, int n, char out[PUT_MAX])
{
    uint64_t all = v < 0 ? -(uint64_t)v : (uint64_t)v, one = 1;
    size_t len = 0;

    for (int i = 0; i < n; i++)
        one *= 10;
    if (v < 0)
        out[len++] = '-';
    len += put(all / one, out + len);
    out[len++] = '.';
    all %= one;
    do {
        one /= 10;
        out[len++] = hex[all / one];
        all %= one;
    } while (all);
    out[len] = 0;
    return len;
}

void put_bytes(const unsigned char *p, size_t n, char *out)
{
    for (size_t i = 0; i < n; i++) {
        *out++ = hex[p[i] >> 4];
        *out++ = hex[p[i] & 15];
    }
    *out = 0;
}

void put_text(char *to, size_t cap, const char *from)
{
    size_t n = strlen(from);

    if (n >= cap)
        n = cap - 1;
    memcpy(to, from, n);
    to[n] = 0;
}

int put_number(struct buf *b, int64_t v)
{
    char text[PUT_MAX];
    size_t n = put_dec(v, text);

    return buf_add(b, text, n);
}
