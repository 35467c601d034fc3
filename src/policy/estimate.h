/* How long an answer will probably be, as those before it were. Pure.
 *
 * A count of lengths in buckets that widen with them, at most a fifth of a length wide. Newer
 * answers weigh more: when ESTIMATE_MANY are counted, all counts are halved. It says how many
 * tokens ESTIMATE_PERCENT of a hundred answers did not exceed, rounded up to its bucket's end; what
 * an answer may have at most is another number, and whoever holds less than that bears a risk. */
#ifndef POLICY_ESTIMATE_H
#define POLICY_ESTIMATE_H

#include <stdint.h>

#define ESTIMATE_BUCKETS 92 /* up to 2^24 tokens */
#define ESTIMATE_MANY    1024
#define ESTIMATE_FEW     20 /* before so many nothing is known */
#define ESTIMATE_PERCENT 95

/* Zeroed: nothing is known. */
struct estimate {
    uint16_t n[ESTIMATE_BUCKETS];
    uint16_t n_all;
};

void estimate_add(struct estimate *e, int64_t tokens);
int64_t estimate_tokens(const struct estimate *e); /* -1: not known yet */
/* Of a request whose n_choices answers have `answers` tokens together at most: how many of these it
 * probably does not need. 0 where nothing is known. */
int64_t estimate_spare(const struct estimate *e, int64_t n_choices, int64_t answers);

#endif
