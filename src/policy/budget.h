/* A budget: so much of something in a window of time. Pure; the caller locks, and knows the
 * calendar.
 *
 * What may be used is held before, and the truth settled after: settled + held never exceeds the
 * amount by what was admitted. A hold that was an estimate grows with what is used beyond it. A
 * hold belongs to the window in which it was made, and so does what is settled for it: when a
 * window ends, its holds stay with it and the next one begins at zero. */
#ifndef POLICY_BUDGET_H
#define POLICY_BUDGET_H

#include <stdint.h>

struct budget {
    int64_t amount;      /* < 0: no limit */
    int64_t from, until; /* the window; the caller's clock */
    int64_t settled, held;
    int64_t held_before; /* in windows that have ended */
};

/* What one holder has of it. */
struct budget_held {
    int64_t from, n;
    int is_held;
};

/* Another window begins, of which so much was settled before. */
void budget_turn(struct budget *b, int64_t from, int64_t until, int64_t settled);
/* 0, or -1: that much is not left. */
int budget_hold(struct budget *b, int64_t n, struct budget_held *ret);
/* A holder takes so much more (>= 0), also beyond the amount: it has used it already. Of one that
 * holds nothing: nothing happens. */
void budget_hold_more(struct budget *b, struct budget_held *held, int64_t n);
/* What was really used, in place of what was held; of a holder that holds nothing it counts, too.
 */
void budget_settle(struct budget *b, struct budget_held *held, int64_t used);
int64_t budget_left(const struct budget *b); /* INT64_MAX: no limit */
/* Percent of the amount that is settled or held, 0 without a limit; at most 999. */
int budget_percent(const struct budget *b);

#endif
