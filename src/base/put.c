#include "base/put.h"

#include <string.h>

static const char hex[] = "0123456789abcdef";

/* From the last digit to the first, and then to the front. */
static inline size_t put(uint64_t v, unsigned base, char *out)
{
    char text[PUT_MAX];
    size_t at = sizeof text;

    do
        text[--at] = hex[v % base];
    while (v /= base);
    memcpy(out, text + at, sizeof text - at);
    out[sizeof text - at] = 0;
    return sizeof text - at;
}

size_t put_dec(int64_t v, char out[PUT_MAX])
{
    if (v >= 0)
        return put((uint64_t)v, 10, out);
    *out = '-';
    return 1 + put(-(uint64_t)v, 10, out + 1);
}

size_t put_hex(uint64_t v, char out[PUT_MAX])
{
    return put(v, 16, out);
}

size_t put_milli(int64_t thousandths, char out[PUT_MAX])
{
    uint64_t v = thousandths < 0 ? -(uint64_t)thousandths : (uint64_t)thousandths;
    size_t n = 0, part = v % 1000;

    if (thousandths < 0)
        out[n++] = '-';
    n += put(v / 1000, 10, out + n);
    out[n++] = '.';
    out[n++] = hex[part / 100];
    out[n++] = hex[part / 10 % 10];
    out[n++] = hex[part % 10];
    out[n] = 0;
    return n;
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
