/* What goes into the next step: decode tokens of running sequences and a share of prompts.
 * Pure: the same decision in the engine, in tests and in the planner. */
#ifndef POLICY_BATCH_H
#define POLICY_BATCH_H

#include <stdint.h>

#include "policy/sched.h"

struct batch_limits {
    int32_t tokens;       /* of a step */
    int32_t prompt;       /* prompt tokens where none decodes */
    int32_t prompt_mixed; /* and while others decode: bounds their wait */
    int32_t prompt_new;   /* of these or beyond these, for tenants that are new: they come first */
};
/* As things stand, for steps of at most `chunk` prompt tokens beside n_slots that decode. Where
 * several tenants ask, steps are kept short: one that comes waits for the step that runs, and must
 * not feel what others have in it. */
void batch_limits_now(const struct sched *s, int32_t chunk, int32_t n_slots,
                      struct batch_limits *ret);

/* Does a go before b in a step? By tier, then by arrival. */
int batch_before(const struct sched_seq *a, const struct sched_seq *b);

/* Set `take` of n sequences that prefill or decode, from their n_left and most, and sort s into the
 * order in which they go. Decodes come first; if not all fit, the oldest of the highest tier do.
 * Then come prompts, the highest tier first. Within a tier first those of tenants that are new
 * (sched_is_new), then those that began in an earlier round; the tenants of one round have equal
 * shares; what a tenant does not need goes to the others. A tenant's own prompts of a round go by
 * age. */
void batch_plan(const struct batch_limits *l, struct sched_seq **s, int n);

#endif
