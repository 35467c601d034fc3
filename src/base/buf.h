/* A growable byte buffer that cannot be made without a ceiling.
 *
 * After an add fails (no memory, ceiling), `failed` stays set and later adds do nothing, so a
 * writer may add freely and look once at the end. Content is always followed by a NUL byte that
 * `len` does not count. Not thread-safe. */
#ifndef BASE_BUF_H
#define BASE_BUF_H

#include <stdarg.h>
#include <stddef.h>
#include <string.h>

struct buf {
    char *data; /* never NULL after a successful add */
    size_t len, cap, max;
    int failed; /* 0, ERR_NOMEM or ERR_LIMIT */
};

void buf_init(struct buf *b, size_t max); /* allocates nothing */
void buf_done(struct buf *b);             /* accepts a zeroed buffer */
void buf_clear(struct buf *b);            /* len = 0, failed = 0; keeps the memory */

/* All return 0 or b->failed. */
int buf_grow(struct buf *b, size_t extra); /* buf_reserve, where there may be no room */
int buf_add(struct buf *b, const void *p, size_t n);
int buf_add_char(struct buf *b, char c);

/* Room for `extra` more bytes. */
static inline int buf_reserve(struct buf *b, size_t extra)
{
    return extra < b->cap - b->len && !b->failed ? 0 : buf_grow(b, extra);
}

static inline int buf_add_str(struct buf *b, const char *s)
{
    return buf_add(b, s, strlen(s));
}

/* The bytes of `from`, which is empty then, behind those of b; not copied where b has none. */
int buf_take(struct buf *b, struct buf *from);
int buf_addf(struct buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
int buf_vaddf(struct buf *b, const char *fmt, va_list ap) __attribute__((format(printf, 2, 0)));

#endif
