#include "policy/hold.h"

void hold_add(struct hold *h, int64_t n_prompt, int64_t n_prediction, int64_t n_choices,
              int64_t max_tokens)
{
    h->n_fixed += n_prompt;
    if (max_tokens < 1)
        return;
    h->n_fixed += n_prediction * n_choices;
    h->n_answer += max_tokens * n_choices;
    h->n_choices += n_choices;
}

int64_t hold_fit(const struct hold *h, int64_t bucket, int may_lower, int32_t *ret_max)
{
    int64_t all = h->n_fixed + h->n_answer, each;

    *ret_max = INT32_MAX;
    if (bucket <= 0 || all <= bucket || !may_lower || !h->n_choices)
        return all;
    each = (bucket - h->n_fixed) / h->n_choices;
    if (each < 1)
        each = 1;
    if (each < INT32_MAX)
        *ret_max = (int32_t)each;
    each *= h->n_choices;
    return h->n_fixed + (each < h->n_answer ? each : h->n_answer);
}
