#include "base/buf.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/check.h"
#include "base/err.h"

void buf_init(struct buf *b, size_t max)
{
    *b = (struct buf){.max = max};
}

void buf_done(struct buf *b)
{
    free(b->data);
    *b = (struct buf){.max = b->max};
}

void buf_clear(struct buf *b)
{
    b->len = 0;
    b->failed = 0;
    if (b->data)
        b->data[0] = 0;
}

int buf_grow(struct buf *b, size_t extra)
{
    size_t need, cap;
    char *p;

    if (b->failed)
        return b->failed;
    if (extra > b->max || b->len > b->max - extra)
        return b->failed = ERR_LIMIT;
    need = b->len + extra + 1;
    if (need <= b->cap)
        return 0;
    cap = b->cap ? b->cap : 64;
    while (cap < need)
        cap *= 2;
    if (cap > b->max + 1)
        cap = b->max + 1;
    p = realloc(b->data, cap);
    if (!p)
        return b->failed = ERR_NOMEM;
    b->data = p;
    b->cap = cap;
    b->data[b->len] = 0;
    return 0;
}

int buf_add(struct buf *b, const void *p, size_t n)
{
    if (buf_reserve(b, n))
        return b->failed;
    if (n)
        memcpy(b->data + b->len, p, n);
    b->len += n;
    b->data[b->len] = 0;
    return 0;
}

int buf_add_char(struct buf *b, char c)
{
    if (buf_reserve(b, 1))
        return b->failed;
    b->data[b->len++] = c;
    b->data[b->len] = 0;
    return 0;
}

int buf_take(struct buf *b, struct buf *from)
{
    if (b->len || b->failed || from->len > b->max || !from->data) {
        buf_add(b, from->data ? from->data : "", from->len);
    } else {
        free(b->data);
        b->data = from->data;
        b->len = from->len;
        b->cap = from->cap;
        *from = (struct buf){.max = from->max};
    }
    buf_done(from);
    return b->failed;
}

int buf_vaddf(struct buf *b, const char *fmt, va_list ap)
{
    char small[256];
    va_list again;
    int n;

    va_copy(again, ap);
    n = vsnprintf(small, sizeof small, fmt, ap);
    if (n < 0) {
        va_end(again);
        return b->failed = ERR_ARG;
    }
    if ((size_t)n < sizeof small) {
        va_end(again);
        return buf_add(b, small, (size_t)n);
    }
    if (!buf_reserve(b, (size_t)n)) {
        vsnprintf(b->data + b->len, (size_t)n + 1, fmt, again);
        b->len += (size_t)n;
    }
    va_end(again);
    return b->failed;
}

int buf_addf(struct buf *b, const char *fmt, ...)
{
    va_list ap;
    int r;

    va_start(ap, fmt);
    r = buf_vaddf(b, fmt, ap);
    va_end(ap);
    return r;
}
