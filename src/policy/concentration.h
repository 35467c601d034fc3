/* Who has how much of a whole: of what is spent with suppliers, or earned with tenants. Pure. */
#ifndef POLICY_CONCENTRATION_H
#define POLICY_CONCENTRATION_H

#include <stdint.h>

/* The index of Herfindahl and Hirschman: the sum of the squares of all shares in percent, 0..10000;
 * 10000 is one who has all, 10000/n are n with equal parts. Amounts below 0 count as 0. */
int32_t concentration_hhi(const int64_t *amount, int n);

/* What somebody had of the last day. Zeroed: nothing. Time is the caller's, microseconds. */
#define SHARE_BUCKETS   24
#define SHARE_BUCKET_US (INT64_C(3600) * 1000000)
struct share {
    struct {
        int64_t nth; /* of the buckets since time 0 */
        int64_t amount;
    } bucket[SHARE_BUCKETS];
};
void share_add(struct share *s, int64_t amount, int64_t now_us);
int64_t share_sum(const struct share *s, int64_t now_us);
/* Has it more than so many percent of all? percent 0: it may have all. */
int share_is_over(const struct share *s, const struct share *all, int32_t percent, int64_t now_us);

#endif
