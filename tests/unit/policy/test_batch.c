/* What goes into a step: bounds, priorities and fairness of batch_plan on random queues. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/rand.h"
#include "policy/batch.h"

enum { N = 40 };

/* A sequence as the tests write it. */
struct row {
    int tier;
    uint64_t order;
    int32_t tenant;
    int decoding;
    int32_t remaining, most;
    int64_t round;
};

static uint64_t n_random;

static int32_t below(int32_t n)
{
    uint32_t r[4];
    rand_philox(51, n_random++, 0, r);
    return (int32_t)(r[0] % (uint32_t)n);
}

static int before(const struct row *a, const struct row *b)
{
    return a->tier != b->tier ? a->tier > b->tier : a->order < b->order;
}

/* The plan of s; take[i] and the order in which they go. */
static void plan(const struct batch_limits *l, const struct row *s, int n, int32_t *take, int *rank)
{
    struct sched_job job[N];
    struct sched_seq seq[N], *order[N];

    for (int i = 0; i < n; i++) {
        job[i] = (struct sched_job){.tier = s[i].tier, .tenant = s[i].tenant};
        seq[i] = (struct sched_seq){.job = &job[i],
                                    .state = s[i].decoding ? SEQ_DECODE : SEQ_PREFILL,
                                    .order = s[i].order,
                                    .n_left = s[i].remaining,
                                    .most = s[i].most,
                                    .round = s[i].round,
                                    .take = 7 * i};
        order[i] = &seq[i];
    }
    batch_plan(l, order, n);
    for (int i = 0; i < n; i++) {
        take[i] = seq[i].take;
        rank[i] = (int)(order[i] - seq);
    }
}

/* Of two tenants in one tier, one that wants more has as much as the other, or one token less. */
static void check_shares(const struct row *s, int n, const int32_t *take)
{
    for (int tier = 0; tier < 4; tier++) {
        int32_t got[3] = {0}, open[3] = {0};
        for (int i = 0; i < n; i++) {
            int32_t want = s[i].remaining < s[i].most ? s[i].remaining : s[i].most;
            if (s[i].decoding || s[i].tier != tier)
                continue;
            got[s[i].tenant] += take[i];
            open[s[i].tenant] += want - take[i];
        }
        for (int a = 0; a < 3; a++) {
            for (int b = 0; b < 3; b++)
                assert_true(!open[a] || got[b] <= got[a] + 1);
        }
    }
}

static void check(const struct batch_limits *l, const struct row *s, int n)
{
    int32_t take[N], decodes = 0, prompts = 0, able = 0, prompt_limit;
    int rank[N], seen[N] = {0};

    plan(l, s, n, take, rank);
    for (int i = 0; i < n; i++) {
        assert_true(take[i] >= 0 && take[i] <= s[i].most);
        assert_true(s[i].decoding ? take[i] <= 1 : take[i] <= s[i].remaining);
        if (s[i].decoding)
            decodes += take[i];
        else
            prompts += take[i];
        able += s[i].decoding && s[i].most > 0;
        seen[rank[i]]++;
        if (i)
            assert_true(before(&s[rank[i - 1]], &s[rank[i]]));
    }
    for (int i = 0; i < n; i++)
        assert_int_equal(seen[i], 1); /* the rank is a permutation */
    assert_true(decodes + prompts <= l->tokens);
    assert_int_equal(decodes,
                     able < l->tokens ? able : l->tokens); /* decodes never wait for prompts */
    prompt_limit = decodes ? l->prompt_mixed : l->prompt;
    if (prompt_limit > l->tokens - decodes)
        prompt_limit = l->tokens - decodes;
    assert_true(prompts <= prompt_limit);
    check_shares(s, n, take);
    for (int a = 0; a < n; a++) {
        for (int b = 0; b < n; b++) { /* nobody overtakes one that could have taken more */
            int32_t want = s[a].remaining < s[a].most ? s[a].remaining : s[a].most;
            if (s[a].decoding || s[b].decoding || !before(&s[a], &s[b]) || take[a] >= want)
                continue;
            if (s[a].tier == s[b].tier && s[a].tenant != s[b].tenant)
                continue; /* shares: check_shares */
            assert_int_equal(take[b], 0);
            assert_int_equal(prompts,
                             prompt_limit > 0 ? prompt_limit : 0); /* and nothing was left over */
        }
        if (s[a].decoding && s[a].most > 0 && !take[a]) {
            for (int b = 0; b < n; b++)
                assert_false(s[b].decoding && take[b] && before(&s[a], &s[b]));
        }
    }
}

static void random_queues(void **state)
{
    (void)state;
    for (int round = 0; round < 3000; round++) {
        struct batch_limits l = {
            .tokens = 1 + below(600), .prompt = 1 + below(600), .prompt_mixed = 1 + below(300)};
        struct row s[N];
        int n = below(N + 1);
        for (int i = 0; i < n; i++)
            s[i] = (struct row){.tier = below(4),
                                .order = (uint64_t)((i * 17 + round) % N),
                                .tenant = round & 1 ? below(3) : 0,
                                .decoding = below(3) == 0,
                                .remaining = 1 + below(700),
                                .most = below(4) ? 1 + below(512) : 0};
        check(&l, s, n);
    }
}

static void known_plans(void **state)
{
    const struct batch_limits l = {.tokens = 100, .prompt = 100, .prompt_mixed = 30};
    int32_t take[4];
    int rank[4];
    (void)state;
    { /* a prompt alone takes all it may; beside a decode its share */
        struct row s[] = {{.order = 1, .remaining = 500, .most = 64},
                          {.order = 2, .remaining = 500, .most = 64},
                          {.order = 3, .decoding = 1, .most = 0}};
        plan(&l, s, 3, take, rank);
        assert_int_equal(take[0], 64);
        assert_int_equal(take[1], 36);
        assert_int_equal(take[2], 0);
        s[2].most = 1;
        plan(&l, s, 3, take, rank);
        assert_int_equal(take[0], 30);
        assert_int_equal(take[1], 0);
        assert_int_equal(take[2], 1);
        s[1].tier = 2; /* a higher tier first, though it came later */
        plan(&l, s, 3, take, rank);
        assert_int_equal(take[0], 0);
        assert_int_equal(take[1], 30);
    }
    { /* sixteen long prompts of one tenant do not keep another's waiting */
        struct row s[] = {{.order = 1, .remaining = 500, .most = 64},
                          {.order = 2, .remaining = 500, .most = 64},
                          {.order = 3, .tenant = 1, .remaining = 40, .most = 64}};
        plan(&l, s, 3, take, rank);
        assert_int_equal(take[0], 60); /* what the other does not need comes back */
        assert_int_equal(take[1], 0);
        assert_int_equal(take[2], 40);
        s[2].remaining = 500;
        plan(&l, s, 3, take, rank);
        assert_int_equal(take[0], 50);
        assert_int_equal(take[2], 50);
    }
    { /* who began in an earlier round goes first, and equals share what is left */
        struct row s[] = {{.order = 1, .remaining = 500, .most = 64, .round = 9},
                          {.order = 2, .tenant = 1, .remaining = 500, .most = 64, .round = 9},
                          {.order = 3, .tenant = 2, .remaining = 70, .most = 64, .round = 4},
                          {.order = 4, .remaining = 500, .most = 64, .round = 8}};
        plan(&l, s, 3, take, rank);
        assert_int_equal(take[2], 64);
        assert_int_equal(take[0], 18);
        assert_int_equal(take[1], 18);
        plan(&l, s, 4, take, rank);
        assert_int_equal(take[2], 64);
        assert_int_equal(take[3], 36);
        assert_int_equal(take[0] + take[1], 0);
    }
    batch_plan(&l, NULL, 0);
}

/* A tenant that has just come goes first, with a measure of its own beside what others decode. */
static void new_ones_first(void **state)
{
    const struct batch_limits l = {
        .tokens = 600, .prompt = 64, .prompt_mixed = 32, .prompt_new = 256};
    struct sched_share share[2] = {{.used = {0, 0, 100}, .new_until = {0, 0, 300}},
                                   {.used = {0, 0, 700}}};
    struct sched_job old = {.tier = 2, .tenant = 1, .share = &share[1]};
    struct sched_job fresh = {.tier = 2, .tenant = 2, .share = &share[0]};
    struct sched_job low = {.tier = 0, .tenant = 3};
    struct sched_seq q[] = {
        {.job = &old, .state = SEQ_DECODE, .order = 1, .n_left = 1, .most = 512},
        {.job = &old, .state = SEQ_PREFILL, .order = 2, .n_left = 500, .most = 512},
        {.job = &low, .state = SEQ_PREFILL, .order = 3, .n_left = 500, .most = 512},
        {.job = &fresh, .state = SEQ_PREFILL, .order = 4, .n_left = 20, .most = 512, .round = 9}};
    struct sched_seq *s[] = {&q[0], &q[1], &q[2], &q[3]};
    (void)state;

    assert_true(sched_is_new(&fresh) && !sched_is_new(&old));
    batch_plan(&l, s, 4);
    assert_int_equal(q[0].take, 1);
    assert_int_equal(q[3].take, 20);
    assert_int_equal(q[1].take, 12); /* both together no more than usual ... */
    assert_int_equal(q[2].take, 0);
    q[3].n_left = 200;
    batch_plan(&l, s, 4);
    assert_int_equal(q[3].take, 200); /* ... but what is new has more */
    assert_int_equal(q[1].take, 0);
    q[3].n_left = 400;
    batch_plan(&l, s, 4);
    assert_int_equal(q[3].take, 256);
    share[0].used[2] = 300; /* it is one of the others now, and began last */
    batch_plan(&l, s, 4);
    assert_int_equal(q[3].take, 0);
    assert_int_equal(q[1].take, 32);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_queues),
        cmocka_unit_test(known_plans),
        cmocka_unit_test(new_ones_first),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
