/* How many tokens to draft: as many as raise the tokens per second. The decision is made from the
 * measured cost of steps and from how often drafts were right. Pure arithmetic; it never changes an
 * answer, only its speed.
 *
 * A step without a draft gives one token. A draft of d tokens, each right with probability p if the
 * one before it was right, gives p + p^2 + ... + p^d tokens more (Leviathan et al. 2023, section
 * 3.1), and makes the step longer. */
#ifndef POLICY_DRAFT_H
#define POLICY_DRAFT_H

#include <stdint.h>

/* What a step of x tokens costs: measured means at 1, 2, 3-4, 5-8, ... tokens, and straight lines
 * between them. A mean that is not measured again is lowered slowly, so that this number of tokens
 * is tried again some day. */
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
/* Begin a new sequence with the rates of others like it, `from`, as a first guess; never so low
 * that no draft would be tried. */
void draft_trust_inherit(struct draft_trust *t, const struct draft_trust *from);
/* Note a draft of `drafted` tokens of which the first `right` were right. */
void draft_trust_see(struct draft_trust *t, int32_t match, int32_t drafted, int32_t right);
double draft_trust_p(const struct draft_trust *t, int32_t match);

/* Draft length in [0, most] for one sequence of a step. The step has `tokens` tokens so far, this
 * sequence's own one included, and *io_gain is how many of them are expected to stand; it is raised
 * by what the draft adds. */
int32_t draft_length(const struct draft_cost *c, const struct draft_trust *t, int32_t match,
                     int32_t most, int32_t tokens, double *io_gain);

#endif
