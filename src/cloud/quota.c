#include "cloud/quota.h"

#include "policy/admit.h"

#define SECOND_NS   INT64_C(1000000000)
#define OWED_NS_MAX (INT64_C(1) << 60) /* 36 years */

static int64_t paid(const struct quota_bucket *b)
{
    return atomic_load(b->shared ? b->shared : &b->paid_ns);
}

static _Atomic int64_t *clock_of(struct quota_bucket *b)
{
    return b->shared ? b->shared : &b->paid_ns;
}

/* Time that n units of the bucket are worth. Doubles: limits may be up to 2^50. */
static int64_t worth(const struct quota_bucket *b, int64_t n, int64_t limit)
{
    double ns = n > 0 ? (double)n / (double)limit * (double)(b->period_s * SECOND_NS) : 0;

    return ns < (double)OWED_NS_MAX ? (int64_t)ns : OWED_NS_MAX;
}

void quota_limit(struct quota_bucket *b, int64_t limit, int64_t now_us)
{
    int64_t was = atomic_exchange(&b->limit, limit), now = now_us * 1000;
    int64_t owed = paid(b), to;

    /* What others have taken of a bucket that is new here stays taken. */
    if (limit > 0 && (limit <= was || (!was && b->shared)))
        return;
    do {
        if (owed <= now)
            return;
        to = limit > 0 && was > 0
                 ? now + (int64_t)((double)(owed - now) * ((double)was / (double)limit))
                 : now;
    } while (!atomic_compare_exchange_weak(clock_of(b), &owed, to));
}

int quota_hold(struct quota_bucket *b, int64_t n, int64_t now_us, struct quota_held *ret,
               int64_t *ret_retry_us)
{
    int64_t limit = atomic_load(&b->limit), now = now_us * 1000;
    int64_t owed = paid(b), held, to;

    *ret = (struct quota_held){0, limit > 0 ? limit : 0};
    *ret_retry_us = 0;
    if (limit <= 0)
        return 0;
    if (n > limit)
        return QUOTA_NEVER;
    held = worth(b, n, limit);
    do {
        to = (owed > now ? owed : now) + held;
        if (to > now + b->period_s * SECOND_NS) {
            *ret_retry_us = (to - now - b->period_s * SECOND_NS) / 1000 + 1;
            return -1;
        }
    } while (!atomic_compare_exchange_weak(clock_of(b), &owed, to));
    ret->ns = held;
    return 0;
}

/* How long until n units can be taken, in nanoseconds; <= 0: now. */
static int64_t until_room(const struct quota_bucket *b, int64_t owed, int64_t held, int64_t now)
{
    int64_t full = b->period_s * SECOND_NS, left = (owed > now ? owed : now) + held - now - full;

    return owed - now < left ? owed - now : left; /* when it is full any number can */
}

int quota_may_take(const struct quota_bucket *b, int64_t n, int64_t now_us, int64_t *ret_retry_us)
{
    int64_t limit = atomic_load(&b->limit), now = now_us * 1000, wait = 0;

    if (limit > 0)
        wait = until_room(b, paid(b), worth(b, n, limit), now);
    *ret_retry_us = wait > 0 ? wait / 1000 + 1 : 0;
    return wait <= 0;
}

int quota_take(struct quota_bucket *b, int64_t n, int64_t now_us, struct quota_held *ret,
               int64_t *ret_retry_us)
{
    int64_t limit = atomic_load(&b->limit), now = now_us * 1000;
    int64_t owed = paid(b), wait, to;

    *ret = (struct quota_held){0, limit > 0 ? limit : 0};
    *ret_retry_us = 0;
    if (limit <= 0)
        return 0;
    ret->ns = worth(b, n, limit);
    do {
        wait = until_room(b, owed, ret->ns, now);
        if (wait > 0) {
            *ret_retry_us = wait / 1000 + 1;
            ret->ns = 0;
            return -1;
        }
        to = (owed > now ? owed : now) + ret->ns;
    } while (!atomic_compare_exchange_weak(clock_of(b), &owed, to));
    return 0;
}

/* What charging `used` units in place of those held adds to the time that is paid for. */
static int64_t owes(const struct quota_bucket *b, struct quota_held held, int64_t used)
{
    int measured =
        held.limit > 0 && atomic_load(&b->limit) > 0; /* a limit that was removed charges nothing */

    return (measured ? worth(b, used, held.limit) : 0) - held.ns;
}

void quota_settle(struct quota_bucket *b, struct quota_held held, int64_t used, int64_t now_us)
{
    int64_t now = now_us * 1000;
    int64_t more = owes(b, held, used);
    int64_t owed = paid(b), to;

    do {
        to = (more > 0 && owed < now ? now : owed) + more; /* a full bucket gets no fuller */
        if (to > now + OWED_NS_MAX)
            to = now + OWED_NS_MAX;
    } while (more && !atomic_compare_exchange_weak(clock_of(b), &owed, to));
}

void quota_settle_risen(struct quota_bucket *b, struct quota_held held, int64_t n, int64_t used,
                        int64_t now_us)
{
    int64_t limit = atomic_load(&b->limit);

    if (held.limit > 0 && limit > held.limit)
        held = (struct quota_held){worth(b, n, limit), limit};
    quota_settle(b, held, used, now_us);
}

void quota_look_after(const struct quota_bucket *b, struct quota_held held, int64_t used,
                      int64_t now_us, int64_t *ret_left, int64_t *ret_full_us)
{
    int64_t limit = atomic_load(&b->limit), full = b->period_s * SECOND_NS;
    int64_t owed = paid(b) - now_us * 1000, left;

    owed = (owed > 0 ? owed : 0) + owes(b, held, used);
    if (owed < 0)
        owed = 0;
    left = owed < full ? full - owed : 0;
    *ret_full_us = limit > 0 ? owed / 1000 : 0;
    *ret_left = limit > 0 ? (int64_t)((double)left / (double)full * (double)limit + 1e-6) : 0;
}

void quota_look(const struct quota_bucket *b, int64_t now_us, int64_t *ret_left,
                int64_t *ret_full_us)
{
    quota_look_after(b, (struct quota_held){0, 0}, 0, now_us, ret_left, ret_full_us);
}

int quota_enter(_Atomic int64_t *n, int64_t max)
{
    if (atomic_fetch_add(n, 1) < max || max <= 0)
        return 0;
    atomic_fetch_sub(n, 1);
    return -1;
}

int64_t quota_widen(_Atomic int64_t *n, int64_t max, int64_t n_have, int64_t n_jobs, int64_t n_each)
{
    int64_t now = atomic_load(n), k;

    do {
        k = max > 0 ? admit_at_once(n_jobs, n_each, max - now + n_have) : n_jobs;
    } while (k > 0 && !atomic_compare_exchange_weak(n, &now, now - n_have + k * n_each));
    return k;
}

void quota_leave(_Atomic int64_t *n, int64_t n_have)
{
    atomic_fetch_sub(n, n_have);
}
