#include "policy/concentration.h"

int32_t concentration_hhi(const int64_t *amount, int n)
{
    double all = 0, sum = 0;

    for (int i = 0; i < n; i++)
        all += amount[i] > 0 ? (double)amount[i] : 0;
    for (int i = 0; i < n && all > 0; i++) {
        double percent = amount[i] > 0 ? (double)amount[i] / all * 100 : 0;
        sum += percent * percent;
    }
    return (int32_t)(sum + 0.5);
}

void share_add(struct share *s, int64_t amount, int64_t now_us)
{
    int64_t nth = now_us / SHARE_BUCKET_US;
    int i = (int)((uint64_t)nth % SHARE_BUCKETS);

    if (s->bucket[i].nth != nth) {
        s->bucket[i].nth = nth;
        s->bucket[i].amount = 0;
    }
    if (amount > 0 && s->bucket[i].amount <= INT64_MAX / SHARE_BUCKETS - amount)
        s->bucket[i].amount += amount;
}

int64_t share_sum(const struct share *s, int64_t now_us)
{
    int64_t nth = now_us / SHARE_BUCKET_US, sum = 0;

    for (int i = 0; i < SHARE_BUCKETS; i++) {
        if (s->bucket[i].nth <= nth && s->bucket[i].nth > nth - SHARE_BUCKETS)
            sum += s->bucket[i].amount;
    }
    return sum;
}

int share_is_over(const struct share *s, const struct share *all, int32_t percent, int64_t now_us)
{
    return percent > 0 &&
           (double)share_sum(s, now_us) * 100 > (double)share_sum(all, now_us) * percent;
}
