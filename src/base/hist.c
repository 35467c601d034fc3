#include "base/hist.h"

#include "base/check.h"

void hist_init(struct hist *h, const int64_t *bounds, int n_bounds)
{
    CHECK(n_bounds > 0 && n_bounds <= HIST_BOUNDS_MAX);
    h->bounds = bounds;
    h->n_bounds = n_bounds;
    for (int i = 0; i <= HIST_BOUNDS_MAX; i++)
        atomic_init(&h->count[i], 0);
    atomic_init(&h->sum, 0);
}

void hist_add(struct hist *h, int64_t v)
{
    int i = 0;

    if (v < 0)
        v = 0;
    while (i < h->n_bounds && v > h->bounds[i])
        i++;
    atomic_fetch_add_explicit(&h->count[i], 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&h->sum, v, memory_order_relaxed);
}

uint64_t hist_count(const struct hist *h)
{
    uint64_t n = 0;

    for (int i = 0; i <= h->n_bounds; i++)
        n += atomic_load_explicit(&h->count[i], memory_order_relaxed);
    return n;
}
