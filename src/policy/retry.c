#include "policy/retry.h"

static int32_t *counts_at(struct retry *r, int64_t now_us, int again)
{
    int64_t nth = now_us / RETRY_BUCKET_US;
    int i = (int)((uint64_t)nth % RETRY_BUCKETS);

    if (r->bucket[i].nth != nth) {
        r->bucket[i].nth = nth;
        r->bucket[i].n_first = r->bucket[i].n_again = 0;
    }
    return again ? &r->bucket[i].n_again : &r->bucket[i].n_first;
}

static void count(int32_t *n)
{
    if (*n < INT32_MAX)
        ++*n;
}

void retry_first(struct retry *r, int64_t now_us)
{
    count(counts_at(r, now_us, 0));
}

int retry_take(struct retry *r, const struct retry_limits *l, int64_t now_us)
{
    int64_t nth = now_us / RETRY_BUCKET_US, n_first = 0, n_again = 0;

    for (int i = 0; i < RETRY_BUCKETS; i++) {
        if (r->bucket[i].nth > nth || r->bucket[i].nth <= nth - RETRY_BUCKETS)
            continue;
        n_first += r->bucket[i].n_first;
        n_again += r->bucket[i].n_again;
    }
    if (n_again >= l->min + n_first * l->percent / 100)
        return 0;
    count(counts_at(r, now_us, 1));
    return 1;
}
