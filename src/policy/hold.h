/* How many tokens a request holds before it begins: all that can be billed of it. Pure.
 *
 * Billed of a prompt are its tokens, once; of each of its choices the tokens that it generates, and
 * those of the prediction that were computed in vain, each once at most. So what is used never
 * exceeds what is held, however the request ends. */
#ifndef POLICY_HOLD_H
#define POLICY_HOLD_H

#include <stdint.h>

/* The prompts of one request together. Zeroed: none. */
struct hold {
    int64_t n_fixed;   /* tokens of prompts and predictions */
    int64_t n_answer;  /* tokens of all answers at most */
    int64_t n_choices; /* that may generate any */
};

/* One prompt more: n_choices answers of at most max_tokens each. What the client sets is max_tokens
 * as it stands; else it is what the context leaves, or the server's cap if that is less. */
void hold_add(struct hold *h, int64_t n_prompt, int64_t n_prediction, int64_t n_choices,
              int64_t max_tokens);

/* How many tokens to hold, of a bucket that holds `bucket` tokens when full (0: any number).
 *
 * may_lower: the client has set no maximum. If the full bucket is too small, each choice may then
 * generate *ret_max tokens at most (else INT32_MAX), so that the whole bucket is held and no more
 * is used. *ret_max is at least 1; if the bucket is too small even for that, the result is more
 * than it can ever hold. */
int64_t hold_fit(const struct hold *h, int64_t bucket, int may_lower, int32_t *ret_max);

#endif
