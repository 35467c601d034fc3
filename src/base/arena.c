#include "base/arena.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"

struct arena_chunk {
    struct arena_chunk *next;
    size_t cap, used;
    size_t pad; /* keeps data 16-byte aligned */
    unsigned char data[];
};

void arena_init(struct arena *a, size_t chunk, size_t max)
{
    *a = (struct arena){.chunk = chunk, .max = max};
}

void arena_done(struct arena *a)
{
    struct arena_chunk *c = a->head;
    while (c) {
        struct arena_chunk *next = c->next;
        free(c);
        c = next;
    }
    a->head = NULL;
    a->used = 0;
}

static void *fail(struct arena *a, int why)
{
    a->failed = why;
    return NULL;
}

/* Add a chunk with room for n bytes. Afterwards two chunks have free room, the old one and the new
 * one; the one with less free room is not used any more, and its rest counts as used. */
static struct arena_chunk *add_chunk(struct arena *a, size_t n)
{
    struct arena_chunk *front = a->head, *c;
    size_t cap = n > a->chunk ? n : a->chunk, left = front ? front->cap - front->used : 0;
    size_t lost = left < cap - n ? left : cap - n;

    if (lost > a->max - a->used - n)
        return fail(a, ERR_LIMIT);
    c = malloc(sizeof *c + cap);
    if (!c)
        return fail(a, ERR_NOMEM);
    c->cap = cap;
    c->used = 0;
    if (left > cap - n) {
        c->next = front->next;
        front->next = c;
    } else {
        c->next = front;
        a->head = c;
    }
    a->used += lost;
    return c;
}

void *arena_alloc(struct arena *a, size_t n)
{
    struct arena_chunk *c = a->head;
    void *p;

    if (n > a->max)
        return fail(a, ERR_LIMIT);
    n = (n + 15) & ~(size_t)15;
    if (!n)
        n = 16;
    if (n > a->max || a->used > a->max - n)
        return fail(a, ERR_LIMIT);
    if ((!c || c->cap - c->used < n) && !(c = add_chunk(a, n)))
        return NULL;
    p = c->data + c->used;
    c->used += n;
    a->used += n;
    return p;
}

void *arena_zalloc(struct arena *a, size_t n)
{
    void *p = arena_alloc(a, n);
    if (p)
        memset(p, 0, n);
    return p;
}

void *arena_array(struct arena *a, size_t n, size_t size)
{
    if (size && n > SIZE_MAX / size)
        return fail(a, ERR_LIMIT);
    return arena_alloc(a, n * size);
}

void *arena_dup(struct arena *a, const void *p, size_t n)
{
    void *q = arena_alloc(a, n);
    if (q && n)
        memcpy(q, p, n);
    return q;
}

char *arena_strndup(struct arena *a, const char *s, size_t n)
{
    char *q = n < SIZE_MAX ? arena_alloc(a, n + 1) : fail(a, ERR_LIMIT);
    if (q) {
        memcpy(q, s, n);
        q[n] = 0;
    }
    return q;
}

char *arena_strdup(struct arena *a, const char *s)
{
    return arena_strndup(a, s, strlen(s));
}
