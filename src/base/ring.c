#include "base/ring.h"

#include "base/check.h"

/* Each record is an 8-byte header (length; SKIP marks an unused end of the buffer) followed by
 * its bytes, padded to 8. */
#define SKIP UINT32_MAX

static uint32_t padded(uint32_t n)
{
    return 8 + ((n + 7) & ~7u);
}

void ring_init(struct ring *r, void *data, uint32_t cap)
{
    CHECK(cap >= 64 && (cap & (cap - 1)) == 0);
    CHECK(((uintptr_t)data & 7) == 0);
    r->data = data;
    r->cap = cap;
    atomic_init(&r->head, 0);
    atomic_init(&r->tail, 0);
}

/* Where a record of n bytes would start: at head, or at the buffer's beginning if it does not fit
 * before the buffer's end. */
static uint64_t place(const struct ring *r, uint64_t head, uint32_t n)
{
    uint32_t at = (uint32_t)(head & (r->cap - 1));
    uint32_t to_end = r->cap - at;
    return padded(n) <= to_end ? head : head + to_end;
}

void *ring_push_begin(struct ring *r, uint32_t n)
{
    uint64_t head = atomic_load_explicit(&r->head, memory_order_relaxed);
    uint64_t tail = atomic_load_explicit(&r->tail, memory_order_acquire);
    uint64_t start;

    if (n > r->cap / 2 - 8)
        return NULL;
    start = place(r, head, n);
    if (start + padded(n) - tail > r->cap)
        return NULL;
    if (start != head)
        *(uint32_t *)(void *)(r->data + (head & (r->cap - 1))) = SKIP;
    *(uint32_t *)(void *)(r->data + (start & (r->cap - 1))) = n;
    return r->data + (start & (r->cap - 1)) + 8;
}

void ring_push_commit(struct ring *r, uint32_t n)
{
    uint64_t head = atomic_load_explicit(&r->head, memory_order_relaxed);
    atomic_store_explicit(&r->head, place(r, head, n) + padded(n), memory_order_release);
}

const void *ring_peek(struct ring *r, uint32_t *ret_n)
{
    uint64_t head = atomic_load_explicit(&r->head, memory_order_acquire);
    uint64_t tail = atomic_load_explicit(&r->tail, memory_order_relaxed);
    const unsigned char *p;

    if (head == tail)
        return NULL;
    p = r->data + (tail & (r->cap - 1));
    if (*(const uint32_t *)(const void *)p == SKIP) {
        tail += r->cap - (tail & (r->cap - 1));
        atomic_store_explicit(&r->tail, tail, memory_order_release);
        p = r->data;
    }
    *ret_n = *(const uint32_t *)(const void *)p;
    return p + 8;
}

void ring_pop(struct ring *r)
{
    uint64_t tail = atomic_load_explicit(&r->tail, memory_order_relaxed);
    uint32_t n = *(const uint32_t *)(const void *)(r->data + (tail & (r->cap - 1)));
    atomic_store_explicit(&r->tail, tail + padded(n), memory_order_release);
}

uint32_t ring_used(const struct ring *r)
{
    return (uint32_t)(atomic_load(&r->head) - atomic_load(&r->tail));
}
