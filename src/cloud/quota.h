/* Rates and concurrency as atomics: decided on the spot, by any thread, without a lock.
 *
 * A bucket holds one minute's worth and refills continuously (GCRA: one number, the time until
 * which what was taken is paid for). Reserving takes at once; settling gives back what was not
 * used. */
#ifndef CLOUD_QUOTA_H
#define CLOUD_QUOTA_H

#include <stdatomic.h>
#include <stdint.h>

struct quota_bucket {
    _Atomic int64_t limit;   /* units a minute; 0: no limit */
    _Atomic int64_t paid_ns; /* clock at which the bucket is full again */
};

/* All times are clock_now_us. n units; more than the limit counts as the limit, so that a request
 * bigger than the bucket can pass when it is full. 0, or -1 with *ret_retry_us. *ret_taken: what
 * was taken (for quota_give). */
int quota_take(struct quota_bucket *b, int64_t n, int64_t now_us, int64_t *ret_taken,
               int64_t *ret_retry_us);
void quota_give(struct quota_bucket *b, int64_t n);
/* Units left now, and the time until the bucket is full. */
void quota_look(const struct quota_bucket *b, int64_t now_us, int64_t *ret_left,
                int64_t *ret_full_us);

/* A gauge with a ceiling (0: none). 0 or -1. */
int quota_enter(_Atomic int64_t *n, int64_t max);
void quota_leave(_Atomic int64_t *n);

#endif
