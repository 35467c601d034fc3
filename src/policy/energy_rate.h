/* How much energy tokens take, for what is held of budgets before it is known. Pure.
 *
 * The energy of an answer is measured while it is computed and after it, so before it there is an
 * estimate, in nanojoules a token of a prompt and of an answer. It is what was contracted, or what
 * was seen: a rate of work, where a token of an answer is as much work as ENERGY_RATE_OUTPUT tokens
 * of a prompt, the greatest of the newest ENERGY_RATE_NEWEST requests and of at most as many before
 * them. So a request exceeds its estimate only where it takes more for its work than each of
 * these. */
#ifndef POLICY_ENERGY_RATE_H
#define POLICY_ENERGY_RATE_H

#include <stdint.h>

#define ENERGY_RATE_OUTPUT 8
#define ENERGY_RATE_NEWEST 512
#define ENERGY_TOKENS_MAX  (INT64_C(1) << 40)

/* Nanojoules a token; input_nj < 0: nothing is known. */
struct energy_rates {
    int64_t input_nj, output_nj;
};
/* Microjoules of so many tokens, rounded up, at most INT64_MAX; -1: nothing is known. */
int64_t energy_rates_uj(const struct energy_rates *k, int64_t prompt, int64_t output);
/* The most tokens of answer to that prompt that so much suffices for, at most ENERGY_TOKENS_MAX;
 * -1: not even for none, or nothing is known. */
int64_t energy_rates_afford(const struct energy_rates *k, int64_t prompt, int64_t uj);

/* Zeroed: nothing was seen yet. */
struct energy_rate {
    int64_t nj, before_nj; /* for the work of one token of a prompt: of n requests, and before */
    int n;
};
/* So much was measured, of prompt tokens that no cache had and of all of the answer. */
void energy_rate_add(struct energy_rate *r, int64_t prompt, int64_t output, int64_t uj);
struct energy_rates energy_rate_look(const struct energy_rate *r);

#endif
