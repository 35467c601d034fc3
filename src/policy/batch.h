/* What goes into the next step: decode tokens of running sequences and a share of prompts.
 * Pure: the same decision in the engine, in tests and in the planner. */
#ifndef POLICY_BATCH_H
#define POLICY_BATCH_H

#include <stdint.h>

struct batch_seq {
    int tier;       /* tier: higher goes first */
    uint64_t order; /* arrival; lower goes first within a tier */
    int32_t tenant;
    int decoding;      /* 1: wants one token; 0: has prompt left */
    int32_t remaining; /* prompt tokens left (not decoding) */
    int32_t most;      /* cap for this step, 0: must rest (paused, no pages) */
};

struct batch_limits {
    int32_t tokens;       /* of a step */
    int32_t prompt_mixed; /* prompt tokens while others decode: bounds their wait */
};

/* take[i]: tokens of sequence i in the step. Decodes come first (all of them fit by the caller's
 * limits, else the oldest of the highest tier do), then prompts by tier. Within a tier tenants
 * have equal shares, what one does not need goes to the others, and a tenant's own prompts come by
 * age. scratch: n ints. */
void batch_plan(const struct batch_limits *l, const struct batch_seq *s, int n, int32_t *take,
                int *scratch);

#endif
