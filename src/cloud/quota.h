/* Rates and concurrency as atomics: decided on the spot, by any thread, without a lock.
 *
 * A bucket holds what its limit allows in its period (a minute, an hour, a day) and refills
 * continuously (GCRA: one number, the time until which what was taken is paid for). Holding takes
 * at once; settling puts what was really used in its place: what was not used comes back, and what
 * was used beyond the hold is owed. A bucket may be owed any amount; until that is paid, nothing
 * can be taken. */
#ifndef CLOUD_QUOTA_H
#define CLOUD_QUOTA_H

#include <stdatomic.h>
#include <stdint.h>

struct quota_bucket {
    int64_t period_s;        /* set before its first use */
    _Atomic int64_t limit;   /* units a period; 0: no limit */
    _Atomic int64_t paid_ns; /* clock at which the bucket is full again */
    _Atomic int64_t *shared; /* that clock where several processes have the bucket; NULL: paid_ns */
};

/* What was taken, and the limit at that time, by which it is given back even if the limit changed.
 */
struct quota_held {
    int64_t ns, limit;
};

/* All times are clock_now_us. Set another limit: a higher one shortens the time in which what is
 * owed is paid; a lower one does not lengthen the time for what was taken before. */
void quota_limit(struct quota_bucket *b, int64_t limit, int64_t now_us);
/* Hold n units. 0 with *ret (for quota_settle), -1 with *ret_retry_us: when they will be there, or
 * QUOTA_NEVER: they are more than the bucket holds when full. */
#define QUOTA_NEVER (-2)
int quota_hold(struct quota_bucket *b, int64_t n, int64_t now_us, struct quota_held *ret,
               int64_t *ret_retry_us);
/* The same, but a bucket that is full gives any number: what it has not is owed. So nobody whose
 * requests are larger than the bucket is shut out, and it is overdrawn by one request at most. */
int quota_take(struct quota_bucket *b, int64_t n, int64_t now_us, struct quota_held *ret,
               int64_t *ret_retry_us);
/* Would it give them now? Else when, as above. */
int quota_may_take(const struct quota_bucket *b, int64_t n, int64_t now_us, int64_t *ret_retry_us);
/* Charge `used` units in place of those held. */
void quota_settle(struct quota_bucket *b, struct quota_held held, int64_t used, int64_t now_us);
/* The same of n units that were held, by the limit of now where that is higher: then what was held
 * has become less time, and so has what was used beyond. */
void quota_settle_risen(struct quota_bucket *b, struct quota_held held, int64_t n, int64_t used,
                        int64_t now_us);
/* Units left now (0 when some are owed), and the time until the bucket is full. */
void quota_look(const struct quota_bucket *b, int64_t now_us, int64_t *ret_left,
                int64_t *ret_full_us);
/* The same, as it will be when `used` units are charged in place of those held. */
void quota_look_after(const struct quota_bucket *b, struct quota_held held, int64_t used,
                      int64_t now_us, int64_t *ret_left, int64_t *ret_full_us);

/* Count one more in a gauge with a ceiling (0: none). 0, or -1 when it is reached. */
int quota_enter(_Atomic int64_t *n, int64_t max);
/* A caller that counts n_have in the gauge counts n_jobs * n_each instead, or fewer whole jobs
 * where there is no room for all. Returns how many jobs; 0: none, and n_have stay counted. */
int64_t quota_widen(_Atomic int64_t *n, int64_t max, int64_t n_have, int64_t n_jobs,
                    int64_t n_each);
void quota_leave(_Atomic int64_t *n, int64_t n_have);

#endif
