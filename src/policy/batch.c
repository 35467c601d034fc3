#include "policy/batch.h"

static int before(const struct batch_seq *a, const struct batch_seq *b)
{
    if (a->tier != b->tier)
        return a->tier > b->tier;
    return a->order < b->order;
}

static int32_t want(const struct batch_seq *s, int32_t taken)
{
    int32_t n = s->remaining < s->most ? s->remaining : s->most;

    return s->decoding || n < taken ? 0 : n - taken;
}

/* Up to `most` tokens for the prompts of the tenant of rank[0]; returns how many. */
static int32_t give(const struct batch_seq *s, const int *rank, int n, int32_t *take, int32_t most)
{
    int32_t left = most;

    for (int k = 0; k < n && left > 0; k++) {
        int i = rank[k];
        int32_t w = s[i].tenant == s[rank[0]].tenant ? want(&s[i], take[i]) : 0;
        w = w < left ? w : left;
        take[i] += w;
        left -= w;
    }
    return most - left;
}

static int is_tenants_first(const struct batch_seq *s, const int *rank, int k)
{
    for (int i = 0; i < k; i++) {
        if (s[rank[i]].tenant == s[rank[k]].tenant)
            return 0;
    }
    return 1;
}

/* `prompt` tokens among the tenants of one tier; returns what is left. */
static int32_t share(const struct batch_seq *s, const int *rank, int n, int32_t *take,
                     int32_t prompt)
{
    int n_tenants = n;

    while (prompt > 0 && n_tenants > 0) {
        int32_t each = prompt / n_tenants;
        int n_served = 0;
        for (int k = 0; k < n && prompt > 0; k++) {
            int32_t most = each > 0 ? each : 1, got;
            if (!is_tenants_first(s, rank, k))
                continue;
            got = give(s, rank + k, n - k, take, most < prompt ? most : prompt);
            n_served += got > 0;
            prompt -= got;
        }
        n_tenants = n_served;
    }
    return prompt;
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
    for (int a = 0, b; a < n; a = b) {
        for (b = a + 1; b < n && s[rank[b]].tier == s[rank[a]].tier;)
            b++;
        prompt = share(s, rank + a, b - a, take, prompt);
    }
}
