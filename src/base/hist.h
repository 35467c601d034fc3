/* Histogram with fixed bounds, filled by many threads at once: atomics only, no locks.
 * Values are microseconds or counts, any int64 >= 0 (smaller ones count as 0). */
#ifndef BASE_HIST_H
#define BASE_HIST_H

#include <stdatomic.h>
#include <stdint.h>

#define HIST_BOUNDS_MAX 24

struct hist {
    const int64_t *bounds; /* ascending upper bounds, inclusive; static memory */
    int n_bounds;
    _Atomic uint64_t count[HIST_BOUNDS_MAX + 1]; /* the last: above every bound */
    _Atomic int64_t sum;
};

void hist_init(struct hist *h, const int64_t *bounds, int n_bounds);
void hist_add(struct hist *h, int64_t v); /* [any] */
uint64_t hist_count(const struct hist *h);

#endif
