#include "policy/batch.h"

#include <stddef.h>

#define BATCH_NEW_MAX 16 /* sequences of a tier that go first in one step */

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

/* While others decode, a step's prompt tokens are one in so many of a chunk. Where several tenants
 * ask and some wait, they are twice as many where none decodes (tests/unit/policy/test_quiet.c says
 * what both sides feel of it). */
#define MIXED_ALONE  2
#define MIXED_SHARED 16

static int someone_waits(const struct sched *s)
{
    const struct sched_job *j = s->first;

    while (j && j->n_begun)
        j = j->next;
    return j != NULL;
}

static int32_t part(int32_t chunk, int32_t n)
{
    return chunk > n ? chunk / n : 1;
}

void batch_limits_now(const struct sched *s, int32_t chunk, int32_t n_slots,
                      struct batch_limits *ret)
{
    int is_shared = s->n_tenants > 1;
    int32_t mixed = part(chunk, is_shared ? MIXED_SHARED : MIXED_ALONE);

    *ret =
        (struct batch_limits){.tokens = chunk + n_slots,
                              .prompt = is_shared && someone_waits(s) ? 2 * mixed : chunk + n_slots,
                              .prompt_mixed = mixed,
                              .prompt_new = part(chunk, MIXED_ALONE)};
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

/* What prompts of tenants that are new take of one tier: they share `prompt` tokens as others do.
 */
static int32_t share_new(struct sched_seq **s, int n, int32_t prompt)
{
    struct sched_seq *list[BATCH_NEW_MAX];
    int n_new = 0;

    for (int i = 0; i < n && n_new < BATCH_NEW_MAX; i++) {
        if (want(s[i]) && sched_is_new(s[i]->job))
            list[n_new++] = s[i];
    }
    return prompt - share(list, n_new, prompt);
}

static int32_t less(int32_t a, int32_t b)
{
    return a < b ? a : b;
}

void batch_plan(const struct batch_limits *l, struct sched_seq **s, int n)
{
    int32_t left = l->tokens, prompt = l->prompt, fresh = l->prompt_new;

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
    for (int a = 0, b; a < n; a = b) {
        int32_t got;
        for (b = a + 1; b < n && tier_of(s[b]) == tier_of(s[a]);)
            b++;
        got = share_new(s + a, b - a, less(left, fresh));
        fresh -= got;
        left -= got;
        prompt = prompt > got ? prompt - got : 0;
        got = less(left, prompt);
        got -= share(s + a, b - a, got);
        left -= got;
        prompt -= got;
    }
}
