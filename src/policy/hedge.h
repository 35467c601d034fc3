/* Hedging: a request whose first content is late is tried at a second supplier as well, and the
 * first of the two that begins is its answer. Pure.
 *
 * The other one's tokens are lost, and are the price of it: a budget bounds them to a share of all
 * tokens. What late is may follow from how late first contents come (late_us). */
#ifndef POLICY_HEDGE_H
#define POLICY_HEDGE_H

#include <stdint.h>

#define HEDGE_SAVED_MAX 1000000 /* tokens that quiet times save for bad ones */
#define LATE_SAMPLES    20      /* before these there is no opinion */

/* Zeroed: nothing was earned. */
struct hedge {
    int64_t left; /* hundredths of tokens; < 0: a loss that was larger than expected */
};

/* So many tokens were used by requests that may be hedged. percent: 0..100. */
void hedge_earn(struct hedge *h, int64_t n_tokens, int32_t percent);
/* May about so many be lost? 1: they are taken. */
int hedge_take(struct hedge *h, int64_t n_tokens);
/* So many were taken for one, and so many lost. */
void hedge_settle(struct hedge *h, int64_t n_taken, int64_t n_lost);

/* A running estimate of the time that 19 of 20 first contents take. */
struct late {
    int64_t us;
    int32_t n;
};
void late_add(struct late *l, int64_t first_us);
int64_t late_us(const struct late *l); /* -1: too few were seen */

#endif
