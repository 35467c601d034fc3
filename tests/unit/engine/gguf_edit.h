/* A GGUF file taken apart and put together again, for tests that break one thing at a time. */
#ifndef TESTS_GGUF_EDIT_H
#define TESTS_GGUF_EDIT_H

#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/check.h"
#include "engine/gguf.h"

enum { EDIT_MAX = 128 };

struct edit_piece {
    char name[80];
    char *p; /* the entry's bytes, name included; malloc'd */
    size_t n;
};

struct edit {
    uint32_t version;
    uint64_t n_kv, n_tensors; /* as the header will claim */
    struct edit_piece kv[EDIT_MAX], tensor[EDIT_MAX];
    int kvs, tensors;
    char *data;
    size_t n_data;
};

static inline uint64_t edit_u64(const char *p)
{
    uint64_t v;
    memcpy(&v, p, 8);
    return v;
}

static inline uint32_t edit_u32(const char *p)
{
    uint32_t v;
    memcpy(&v, p, 4);
    return v;
}

static inline const char *edit_skip_value(const char *p, uint32_t type)
{
    static const int size[GGUF_N_TYPES] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};
    if (type == GGUF_STR)
        return p + 8 + edit_u64(p);
    if (type == GGUF_ARRAY) {
        uint32_t of = edit_u32(p);
        uint64_t n = edit_u64(p + 4);
        p += 12;
        while (n--)
            p = edit_skip_value(p, of);
        return p;
    }
    return p + size[type];
}

static inline void edit_piece_set(struct edit_piece *e, const char *p, size_t n)
{
    size_t len = (size_t)edit_u64(p);
    char *copy = malloc(n);
    CHECK(copy && len < sizeof e->name);
    memcpy(copy, p, n);
    free(e->p);
    e->p = copy;
    e->n = n;
    memcpy(e->name, copy + 8, len);
    e->name[len] = 0;
}

/* Take apart a good file. */
static inline void edit_open(struct edit *e, const struct buf *b)
{
    const char *p = b->data + 24, *start;

    memset(e, 0, sizeof *e);
    e->version = edit_u32(b->data + 4);
    e->n_tensors = edit_u64(b->data + 8);
    e->n_kv = edit_u64(b->data + 16);
    CHECK(e->n_kv < EDIT_MAX / 2 && e->n_tensors < EDIT_MAX / 2);
    for (; e->kvs < (int)e->n_kv; e->kvs++) {
        start = p;
        p += 8 + edit_u64(p);
        p = edit_skip_value(p + 4, edit_u32(p));
        edit_piece_set(&e->kv[e->kvs], start, (size_t)(p - start));
    }
    for (; e->tensors < (int)e->n_tensors; e->tensors++) {
        start = p;
        p += 8 + edit_u64(p);
        p += 4 + 8 * edit_u32(p) + 12;
        edit_piece_set(&e->tensor[e->tensors], start, (size_t)(p - start));
    }
    p = b->data + ((size_t)(p - b->data) + 31) / 32 * 32;
    e->n_data = b->len - (size_t)(p - b->data);
    e->data = malloc(e->n_data);
    CHECK(e->data);
    memcpy(e->data, p, e->n_data);
}

static inline void edit_close(struct edit *e)
{
    for (int i = 0; i < EDIT_MAX; i++) {
        free(e->kv[i].p);
        free(e->tensor[i].p);
    }
    free(e->data);
}

static inline struct edit_piece *edit_find(struct edit_piece *list, int n, const char *name)
{
    for (int i = 0; i < n; i++) {
        if (!strcmp(list[i].name, name))
            return &list[i];
    }
    return NULL;
}

/* Add a key, or give it another value: the type, then the value's bytes. */
static inline void edit_key(struct edit *e, const char *key, uint32_t type, const void *value,
                            size_t n)
{
    struct edit_piece *k = edit_find(e->kv, e->kvs, key);
    struct buf b;
    uint64_t len = strlen(key);

    buf_init(&b, 1 << 20);
    buf_add(&b, &len, 8);
    buf_add(&b, key, len);
    buf_add(&b, &type, 4);
    buf_add(&b, value, n);
    CHECK(!b.failed && e->kvs < EDIT_MAX);
    if (!k) {
        k = &e->kv[e->kvs++];
        e->n_kv++;
    }
    edit_piece_set(k, b.data, b.len);
    buf_done(&b);
}

static inline void edit_key_u32(struct edit *e, const char *key, uint32_t v)
{
    edit_key(e, key, GGUF_U32, &v, 4);
}

static inline void edit_key_f32(struct edit *e, const char *key, float v)
{
    edit_key(e, key, GGUF_F32, &v, 4);
}

static inline void edit_key_str(struct edit *e, const char *key, const char *v)
{
    char value[256];
    uint64_t n = strlen(v);
    CHECK(n + 8 <= sizeof value);
    memcpy(value, &n, 8);
    memcpy(value + 8, v, n);
    edit_key(e, key, GGUF_STR, value, 8 + n);
}

static inline void edit_drop(struct edit_piece *list, int *n, uint64_t *claimed, const char *name)
{
    struct edit_piece *k = edit_find(list, *n, name);
    CHECK(k);
    free(k->p);
    memmove(k, k + 1, (size_t)(list + EDIT_MAX - (k + 1)) * sizeof *k);
    memset(&list[EDIT_MAX - 1], 0, sizeof *list);
    --*n;
    --*claimed;
}

/* Where the dimensions, the format and the offset of a tensor lie in its entry. */
static inline char *edit_dims(const struct edit_piece *t)
{
    return t->p + 8 + edit_u64(t->p);
}

static inline char *edit_dim(const struct edit_piece *t, int i)
{
    return edit_dims(t) + 4 + 8 * i;
}

static inline char *edit_format(const struct edit_piece *t)
{
    return t->p + t->n - 12;
}

static inline char *edit_offset(const struct edit_piece *t)
{
    return t->p + t->n - 8;
}

/* Put together; b is initialised here. */
static inline void edit_write(const struct edit *e, struct buf *b)
{
    static const char zero[32];

    buf_init(b, 64 << 20);
    buf_add_str(b, "GGUF");
    buf_add(b, &e->version, 4);
    buf_add(b, &e->n_tensors, 8);
    buf_add(b, &e->n_kv, 8);
    for (int i = 0; i < e->kvs; i++)
        buf_add(b, e->kv[i].p, e->kv[i].n);
    for (int i = 0; i < e->tensors; i++)
        buf_add(b, e->tensor[i].p, e->tensor[i].n);
    buf_add(b, zero, (32 - b->len % 32) % 32);
    buf_add(b, e->data, e->n_data);
    CHECK(!b->failed);
}

#endif
