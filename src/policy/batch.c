#include "policy/batch.h"

static int tier_of(const struct sched_seq *s)
{
    return sched_one(s).tier;
}

int batch_before(const struct sched_seq *a, const struct sched_seq *b)
{
    if (tier_of(a) != tier_of(b))
        return tier_of(a) > tier_of(b);
    return a->order < b->order;
}

static int32_t want(const struct sched_seq *s)
{
    int32_t n = s->n_left < s->most ? s->n_left : s->most;

    return s->state == SEQ_DECODE || n < s->take ? 0 : n - s->take;
}

/* Up to `most` tokens for the prompts of the tenant and round of s[0]; returns how many. */
static int32_t give(struct sched_seq **s, int n, int32_t most)
{
    int32_t left = most;

    for (int i = 0; i < n && left > 0; i++) {
        int is_own = s[i]->job->tenant == s[0]->job->tenant && s[i]->round == s[0]->round;
        int32_t w = is_own ? want(s[i]) : 0;
        w = w < left ? w : left;
        s[i]->take += w;
        left -= w;
    }
    return most - left;
}

static int is_tenants_first(struct sched_seq *const *s, int k)
{
    for (int i = 0; i < k; i++) {
        if (s[i]->job->tenant == s[k]->job->tenant && s[i]->round == s[k]->round)
            return 0;
    }
    return 1;
}

/* `prompt` tokens among the tenants of one tier with sequences of that round; returns what is left.
 */
static int32_t share_round(struct sched_seq **s, int n, int64_t round, int32_t prompt)
{
    int n_tenants = 0;

    for (int i = 0; i < n; i++)
        n_tenants += s[i]->round == round;
    while (prompt > 0 && n_tenants > 0) {
        int32_t each = prompt / n_tenants;
        int n_served = 0;
        for (int i = 0; i < n && prompt > 0; i++) {
            int32_t most = each > 0 ? each : 1, got;
            if (s[i]->round != round || !is_tenants_first(s, i))
                continue;
            got = give(s + i, n - i, most < prompt ? most : prompt);
            n_served += got > 0;
            prompt -= got;
        }
        n_tenants = n_served;
    }
    return prompt;
}

/* The earliest round after `last` of those that want something; 0: there is none. */
static int next_round(struct sched_seq *const *s, int n, int64_t last, int64_t *ret)
{
    int found = 0;

    for (int i = 0; i < n; i++) {
        int64_t round = s[i]->round;
        if (round <= last || !want(s[i]) || (found && round >= *ret))
            continue;
        *ret = round;
        found = 1;
    }
    return found;
}

/* Among the tenants of one tier. */
static int32_t share(struct sched_seq **s, int n, int32_t prompt)
{
    int64_t round = -1;

    while (prompt > 0 && next_round(s, n, round, &round))
        prompt = share_round(s, n, round, prompt);
    return prompt;
}

void batch_plan(const struct batch_limits *l, struct sched_seq **s, int n)
{
    int32_t left = l->tokens, prompt = l->tokens;

    for (int i = 0; i < n; i++) { /* insertion sort: n is a few dozen and nearly in order */
        struct sched_seq *q = s[i];
        int j = i;
        for (; j > 0 && batch_before(q, s[j - 1]); j--)
            s[j] = s[j - 1];
        s[j] = q;
        q->take = 0;
    }
    for (int i = 0; i < n; i++) {
        if (s[i]->state == SEQ_DECODE && s[i]->most > 0 && left > 0) {
            s[i]->take = 1;
            left--;
            prompt = l->prompt_mixed;
        }
    }
    if (prompt > left)
        prompt = left;
    for (int a = 0, b; a < n; a = b) {
        for (b = a + 1; b < n && tier_of(s[b]) == tier_of(s[a]);)
            b++;
        prompt = share(s + a, b - a, prompt);
    }
}
