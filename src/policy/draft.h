/* How many tokens to draft: as many as raise the tokens per second, by what steps were measured to
 * cost and by how often drafts were right. Pure arithmetic; what it decides never changes an
 * answer, only its speed.
 *
 * A draft of d tokens, each right with probability p if the one before was, brings
 * p + p^2 + ... + p^d tokens beside the one that any step brings (Leviathan et al. 2023, section
 * 3.1), and makes the step longer. */
#ifndef POLICY_DRAFT_H
#define POLICY_DRAFT_H

#include <stdint.h>

/* What a step of x tokens costs: measured means at 1, 2, 3-4, 5-8, ... tokens, straight lines
 * between them. What is not seen again slowly looks cheaper, so that it is tried again. */
#define DRAFT_COST_POINTS 9
struct draft_cost {
    double tokens[DRAFT_COST_POINTS], us[DRAFT_COST_POINTS]; /* us 0: not seen */
};
void draft_cost_see(struct draft_cost *c, int32_t tokens, double us);
/* Microseconds, growing with tokens; 0 when nothing was seen. */
double draft_cost_us(const struct draft_cost *c, double tokens);

/* How often draft tokens were right, by the length of the match that proposed them. */
#define DRAFT_TRUST_LENGTHS 4
struct draft_trust {
    double tried[DRAFT_TRUST_LENGTHS], right[DRAFT_TRUST_LENGTHS];
};
void draft_trust_init(struct draft_trust *t);
/* What a new sequence begins with: what others like it had, as a first guess; never so little that
 * nothing would be tried any more. */
void draft_trust_inherit(struct draft_trust *t, const struct draft_trust *from);
/* `right` tokens of a draft were right, then one was wrong unless all `drafted` were right. */
void draft_trust_see(struct draft_trust *t, int32_t match, int32_t drafted, int32_t right);
double draft_trust_p(const struct draft_trust *t, int32_t match);

/* Draft length in [0, most] for one sequence of a step that has `tokens` tokens (its own one among
 * them) and is expected to bring `gain` of them. *io_gain is raised by what the draft adds. */
int32_t draft_length(const struct draft_cost *c, const struct draft_trust *t, int32_t match,
                     int32_t most, int32_t tokens, double *io_gain);

#endif
