#include "policy/batch.h"

static int before(const struct batch_seq *a, const struct batch_seq *b)
{
    if (a->service != b->service)
        return a->service > b->service;
    return a->order < b->order;
}

void batch_plan(const struct batch_limits *l, const struct batch_seq *s, int n, int32_t *take,
                int *rank)
{
    int32_t left = l->tokens, prompt = l->tokens;

    for (int i = 0; i < n; i++) { /* insertion sort: n is a few dozen and nearly in order */
        int j = i;
        for (; j > 0 && before(&s[i], &s[rank[j - 1]]); j--)
            rank[j] = rank[j - 1];
        rank[j] = i;
        take[i] = 0;
    }
    for (int k = 0; k < n; k++) {
        int i = rank[k];
        if (s[i].decoding && s[i].most > 0 && left > 0) {
            take[i] = 1;
            left--;
            prompt = l->prompt_mixed;
        }
    }
    if (prompt > left)
        prompt = left;
    for (int k = 0; k < n && prompt > 0; k++) {
        int i = rank[k];
        int32_t want = s[i].remaining < s[i].most ? s[i].remaining : s[i].most;
        if (s[i].decoding || want <= 0)
            continue;
        take[i] = want < prompt ? want : prompt;
        prompt -= take[i];
    }
}
