/* Single-producer single-consumer ring of variable-length records in a fixed buffer.
 *
 * One thread pushes, one pops; no locks. A record is contiguous, at most capacity/2 bytes.
 * Memory is the caller's. Head and tail live on separate cache lines. */
#ifndef BASE_RING_H
#define BASE_RING_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

struct ring {
    unsigned char *data;
    uint32_t cap;                       /* a power of two */
    _Alignas(64) _Atomic uint64_t head; /* written by the producer */
    _Alignas(64) _Atomic uint64_t tail; /* written by the consumer */
};

/* cap: power of two >= 64; data: 8-byte aligned, cap bytes. */
void ring_init(struct ring *r, void *data, uint32_t cap);

/* Producer: room for n bytes, or NULL when full (or n too large for ever); then commit the same
 * n. Between the two calls the consumer does not see the record. */
void *ring_push_begin(struct ring *r, uint32_t n);
void ring_push_commit(struct ring *r, uint32_t n);

/* Consumer: the oldest record and its length, or NULL; drop it with ring_pop. */
const void *ring_peek(struct ring *r, uint32_t *ret_n);
void ring_pop(struct ring *r);

/* Bytes in use (any thread, approximate). */
uint32_t ring_used(const struct ring *r);

#endif
