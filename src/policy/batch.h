/* What goes into the next step: decode tokens of running sequences and a share of prompts.
 * Pure: the same decision in the engine, in tests and in the planner. */
#ifndef POLICY_BATCH_H
#define POLICY_BATCH_H

#include <stdint.h>

#include "policy/sched.h"

struct batch_limits {
    int32_t tokens;       /* of a step */
    int32_t prompt_mixed; /* prompt tokens while others decode: bounds their wait */
};

/* Does a go before b in a step? By tier, then by arrival. */
int batch_before(const struct sched_seq *a, const struct sched_seq *b);

/* Sets `take` of n sequences that prefill or decode, by their n_left and most, and puts s in the
 * order in which they go. Decodes come first (all of them fit by the caller's limits, else the
 * oldest of the highest tier do), then prompts by tier. Within a tier tenants have equal shares,
 * what one does not need goes to the others, and a tenant's own prompts come by age. */
void batch_plan(const struct batch_limits *l, struct sched_seq **s, int n);

#endif
