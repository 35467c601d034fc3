#include "cloud/quota.h"

#define MINUTE_NS INT64_C(60000000000)

/* Time that n units of the bucket are worth; n <= limit. Doubles: limits may be up to 2^50. */
static int64_t worth(int64_t n, int64_t limit)
{
    return (int64_t)((double)n / (double)limit * (double)MINUTE_NS);
}

int quota_take(struct quota_bucket *b, int64_t n, int64_t now_us, int64_t *ret_taken,
               int64_t *ret_retry_us)
{
    int64_t limit = atomic_load(&b->limit), now = now_us * 1000;
    int64_t paid = atomic_load(&b->paid_ns), from, to;

    *ret_taken = 0;
    *ret_retry_us = 0;
    if (limit <= 0 || n <= 0)
        return 0;
    if (n > limit)
        n = limit;
    do {
        from = paid > now ? paid : now;
        to = from + worth(n, limit);
        if (to > now + MINUTE_NS) {
            *ret_retry_us = (to - now - MINUTE_NS) / 1000 + 1;
            return -1;
        }
    } while (!atomic_compare_exchange_weak(&b->paid_ns, &paid, to));
    *ret_taken = n;
    return 0;
}

void quota_give(struct quota_bucket *b, int64_t n)
{
    int64_t limit = atomic_load(&b->limit);

    if (limit > 0 && n > 0)
        atomic_fetch_sub(&b->paid_ns, worth(n > limit ? limit : n, limit));
}

void quota_look(const struct quota_bucket *b, int64_t now_us, int64_t *ret_left,
                int64_t *ret_full_us)
{
    int64_t limit = atomic_load(&b->limit);
    int64_t owed = atomic_load(&b->paid_ns) - now_us * 1000;

    if (owed < 0)
        owed = 0;
    if (owed > MINUTE_NS)
        owed = MINUTE_NS;
    *ret_full_us = limit > 0 ? owed / 1000 : 0;
    *ret_left =
        limit > 0 ? (int64_t)((double)(MINUTE_NS - owed) / (double)MINUTE_NS * (double)limit + 1e-6)
                  : 0;
}

int quota_enter(_Atomic int64_t *n, int64_t max)
{
    if (atomic_fetch_add(n, 1) < max || max <= 0)
        return 0;
    atomic_fetch_sub(n, 1);
    return -1;
}

void quota_leave(_Atomic int64_t *n)
{
    atomic_fetch_sub(n, 1);
}
