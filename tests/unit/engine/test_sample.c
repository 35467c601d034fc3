/* Sampling against a naive implementation that sorts the whole vocabulary: the same token for the
 * same draw, for every mix of limits; and the frequencies of many draws. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/rand.h"
#include "engine/sample.h"

enum { VOCAB_MAX = 3000 };

static const struct kern_table *kern;
static struct sample_scratch scratch;
static float logits[VOCAB_MAX], work[VOCAB_MAX];

static float uniform(uint64_t i)
{
    return rand_uniform(21, 0, i);
}

static void fill(int32_t n, uint64_t seed, float spread)
{
    for (int32_t i = 0; i < n; i++)
        logits[i] =
            (rand_uniform(seed, 1, (uint64_t)i) + rand_uniform(seed, 2, (uint64_t)i) - 1) * spread;
}

static struct sampling off(void)
{
    return (struct sampling){.temperature = 1, .top_p = 1, .repetition_penalty = 1};
}

static void open_scratch(int32_t n)
{
    sample_scratch_done(&scratch);
    assert_int_equal(sample_scratch_init(&scratch, n), 0);
}

static struct sample_out draw(const struct sampling *p, int32_t n, struct sample_in in)
{
    struct sample_out out = {0};
    in.p = p;
    memcpy(work, logits, (size_t)n * sizeof *work);
    assert_int_equal(sample_token(kern, work, &in, &scratch, &out), 0);
    assert_true(out.token >= 0 && out.token < n);
    return out;
}

/* ---- the naive one --------------------------------------------------------------------------- */

static const float *sort_by;

static int best_first(const void *a, const void *b)
{
    int32_t i = *(const int32_t *)a, k = *(const int32_t *)b;
    if (sort_by[i] != sort_by[k])
        return sort_by[i] > sort_by[k] ? -1 : 1;
    return i < k ? -1 : 1;
}

/* The token, or -1 where the draw falls so close to a border that rounding decides. */
static int32_t naive(const struct sampling *p, int32_t n, float u)
{
    static float z[VOCAB_MAX];
    static double w[VOCAB_MAX];
    static int32_t id[VOCAB_MAX];
    int32_t kept = n, i;
    double sum = 0, at = 0, eps = 1e-5;
    int sorted = p->top_k > 0 || p->top_p < 1 || p->min_p > 0;

    for (i = 0; i < n; i++) {
        z[i] = p->temperature != 1 ? logits[i] * (1 / p->temperature) : logits[i];
        id[i] = i;
    }
    sort_by = z;
    qsort(id, (size_t)n, sizeof *id, best_first);
    for (i = 0; i < n; i++)
        w[i] = exp((double)z[id[i]] - (double)z[id[0]]);
    if (p->top_k > 0 && p->top_k < n)
        kept = p->top_k;
    for (i = 0; i < kept; i++)
        sum += w[i];
    if (p->top_p < 1) {
        for (i = 0, at = 0; i < kept && at < (double)p->top_p * sum; i++) {
            at += w[i];
            if (fabs(at - (double)p->top_p * sum) < eps * sum)
                return -1;
        }
        kept = i;
    }
    if (p->min_p > 0) {
        for (i = 0; i < kept; i++) {
            if (fabs(w[i] - (double)p->min_p) < eps * (double)p->min_p)
                return -1;
        }
        while (kept > 1 && w[kept - 1] < (double)p->min_p)
            kept--;
    }
    for (i = 0, sum = 0; i < kept; i++)
        sum += w[i];
    if (!sorted) { /* the draw runs in order of id there */
        for (i = 0; i < n; i++)
            w[i] = exp((double)z[i] - (double)z[id[0]]);
        for (i = 0; i < n; i++)
            id[i] = i;
    }
    for (i = 0, at = 0; i < kept; i++) {
        if (fabs(at - (double)u * sum) < eps * sum || fabs(at + w[i] - (double)u * sum) < eps * sum)
            return -1;
        at += w[i];
        if (at > (double)u * sum)
            return id[i];
    }
    return -1;
}

static void equal_to_naive(void **state)
{
    static const int32_t sizes[] = {1, 2, 7, 300, 513, VOCAB_MAX};
    static const float temperatures[] = {0.2f, 0.7f, 1, 3};
    static const int32_t top_ks[] = {0, 2, 5, 40, 100000};
    static const float top_ps[] = {1, 0.05f, 0.6f, 0.95f, 0.9999f};
    static const float min_ps[] = {0, 0.002f, 0.1f, 0.7f, 1e-7f};
    int n_compared = 0, n_all = 0;
    uint64_t i = 0;
    (void)state;

    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
        int32_t n = sizes[s];
        open_scratch(n);
        for (int mix = 0; mix < 500; mix++) {
            struct sampling p = off();
            struct sample_out out;
            int32_t want;
            p.temperature = temperatures[mix % 4];
            p.top_k = top_ks[mix / 4 % 5];
            p.top_p = top_ps[mix / 20 % 5];
            p.min_p = min_ps[mix / 100];
            p.seed = ++i;
            fill(n, i, mix % 3 == 0 ? 2 : mix % 3 == 1 ? 12 : 40);
            out = draw(&p, n, (struct sample_in){.choice = i % 3, .position = i});
            want = naive(&p, n, rand_uniform(p.seed, i % 3, i));
            n_all++;
            n_compared += want >= 0;
            if (want >= 0 && want != out.token)
                fail_msg("n %d, temperature %g, top_k %d, top_p %g, min_p %g: %d instead of %d", n,
                         (double)p.temperature, p.top_k, (double)p.top_p, (double)p.min_p,
                         out.token, want);
        }
    }
    assert_true(n_compared > n_all * 9 / 10);
}

/* ---- frequencies ----------------------------------------------------------------------------- */

static void frequencies(void **state)
{
    enum { N = 12, DRAWS = 40000 };
    static const struct {
        float temperature, top_p, min_p;
        int32_t top_k;
    } mixes[] = {{1, 1, 0, 0},    {0.5f, 1, 0, 0}, {2, 1, 0, 0},         {1, 1, 0, 4},
                 {1, 0.8f, 0, 0}, {1, 1, 0.2f, 0}, {1.5f, 0.9f, 0.1f, 8}};
    (void)state;
    open_scratch(N);
    fill(N, 5, 3);
    for (size_t m = 0; m < sizeof mixes / sizeof *mixes; m++) {
        struct sampling p = off();
        int count[N] = {0}, kept = 0;
        double chi = 0, sum = 0, w[N], max = -1e9, seen = 0;
        p.temperature = mixes[m].temperature;
        p.top_p = mixes[m].top_p;
        p.min_p = mixes[m].min_p;
        p.top_k = mixes[m].top_k;
        p.seed = 77;
        for (uint64_t i = 0; i < DRAWS; i++)
            count[draw(&p, N, (struct sample_in){.position = i}).token]++;
        for (int i = 0; i < N; i++)
            max = (double)logits[i] > max ? (double)logits[i] : max;
        for (int i = 0; i < N; i++) { /* what was ever drawn is what the limits leave */
            w[i] = exp(((double)logits[i] - max) / (double)p.temperature);
            sum += count[i] ? w[i] : 0;
            kept += count[i] > 0;
        }
        for (int i = 0; i < N; i++) {
            double want = w[i] / sum * DRAWS;
            if (!count[i])
                continue;
            chi += (count[i] - want) * (count[i] - want) / want;
            seen += count[i];
        }
        assert_true(seen == DRAWS);
        if (p.top_k)
            assert_true(kept <= p.top_k);
        else if (p.top_p >= 1 && p.min_p <= 0)
            assert_int_equal(kept, N);
        assert_true(chi < 33); /* 11 degrees of freedom: p < 0.0006; the seed is fixed */
    }
}

/* ---- exact rules ----------------------------------------------------------------------------- */

static void greedy_and_ties(void **state)
{
    struct sampling p = off();
    (void)state;
    open_scratch(100);
    for (int i = 0; i < 100; i++)
        logits[i] = (float)(i % 10 == 7);
    p.temperature = 0;
    assert_int_equal(draw(&p, 100, (struct sample_in){0}).token, 7); /* the first of equals */
    p.temperature = 1;
    p.top_k = 1;
    for (uint64_t i = 0; i < 50; i++)
        assert_int_equal(draw(&p, 100, (struct sample_in){.position = i}).token, 7);
    p.top_k = 3; /* of ten equals the first three */
    for (uint64_t i = 0; i < 200; i++) {
        int32_t t = draw(&p, 100, (struct sample_in){.position = i}).token;
        assert_true(t == 7 || t == 17 || t == 27);
    }
    p = off();
    p.top_p = 1e-6f;
    assert_int_equal(draw(&p, 100, (struct sample_in){0}).token, 7);
    p = off();
    p.temperature = 1e-5f;
    assert_int_equal(draw(&p, 100, (struct sample_in){0}).token, 7);
}

static void penalties_and_bias(void **state)
{
    static const int32_t history[] = {3, 3, 4, 5, 5, 5, 6}; /* the prompt is 3 3 4 */
    static const struct bias bias[] = {{8, 100}, {9, -100}};
    static const int32_t banned[] = {8};
    struct sampling p = off();
    struct sample_in in = {.history = history, .n_prompt = 3, .n_history = 7};
    (void)state;

    open_scratch(10);
    for (int pass = 0; pass < 2; pass++) { /* twice: the counts are zero again afterwards */
        for (int i = 0; i < 10; i++)
            logits[i] = (float)(i % 2 ? -i : i) - 0.5f;
        p = off();
        p.temperature = 0;
        p.frequency_penalty = 0.5f;
        p.presence_penalty = 0.25f;
        draw(&p, 10, in);
        for (int i = 0; i < 10; i++) {
            float want = logits[i];
            if (i == 5)
                want -= 0.5f * 3 + 0.25f;
            if (i == 6)
                want -= 0.5f * 1 + 0.25f;
            assert_true(work[i] == want); /* the prompt's 3 and 4 are left alone */
        }
        p = off();
        p.temperature = 0;
        p.repetition_penalty = 1.25f;
        draw(&p, 10, in);
        for (int i = 0; i < 10; i++) {
            float want = logits[i];
            if (i >= 3 && i <= 6)
                want = want > 0 ? want / 1.25f : want * 1.25f;
            assert_true(work[i] == want);
        }
        p = off();
        p.temperature = 0;
        p.bias = bias;
        p.n_bias = 2;
        assert_int_equal(draw(&p, 10, in).token, 8);
        in.banned = banned;
        in.n_banned = 1;
        assert_int_not_equal(draw(&p, 10, in).token, 8); /* no bias outweighs a ban */
        p.temperature = 5;
        for (uint64_t i = 0; i < 2000; i++) {
            int32_t t;
            in.position = i;
            t = draw(&p, 10, in).token;
            assert_true(t != 8 && t != 9);
        }
        in.n_banned = 0;
    }
}

static void logprobs(void **state)
{
    (void)state;
    for (int round = 0; round < 40; round++) {
        int32_t n = round % 2 ? VOCAB_MAX : 5 + round;
        struct sampling p = off();
        struct sample_out out;
        double sum = 0, max = -1e30;
        open_scratch(n);
        fill(n, (uint64_t)round, round % 3 ? 20 : 3);
        p.temperature = round % 4 ? 0.6f : 0;
        p.frequency_penalty = 1;
        p.logprobs = 1;
        p.n_top = round % (SAMPLING_TOP_MAX + 1);
        p.seed = (uint64_t)round;
        out = draw(&p, n, (struct sample_in){.position = 3});
        for (int32_t i = 0; i < n; i++)
            max = (double)logits[i] > max ? (double)logits[i] : max;
        for (int32_t i = 0; i < n; i++)
            sum += exp((double)logits[i] - max);
        assert_true(fabs((double)out.logprob - ((double)logits[out.token] - max - log(sum))) <
                    3e-5);
        assert_int_equal(out.n_top, p.n_top < n ? p.n_top : n);
        for (int32_t k = 0; k < out.n_top; k++) {
            int32_t t = out.top[k].token;
            assert_true(fabs((double)out.top[k].logprob - ((double)logits[t] - max - log(sum))) <
                        3e-5);
            if (k) {
                int32_t before = out.top[k - 1].token;
                assert_true(logits[before] > logits[t] ||
                            (logits[before] == logits[t] && before < t));
            }
        }
        if (out.n_top) { /* nothing better was left out */
            int better = 0;
            for (int32_t i = 0; i < n; i++)
                better += logits[i] > logits[out.top[out.n_top - 1].token];
            assert_true(better < out.n_top);
        }
    }
}

static void not_finite(void **state)
{
    static const float bad[] = {NAN, INFINITY, -INFINITY};
    (void)state;
    open_scratch(200);
    for (int k = 0; k < 3; k++) {
        for (int at = 0; at < 200; at += 33) {
            for (int lp = 0; lp < 2; lp++) {
                struct sampling p = off();
                struct sample_in in = {.p = &p};
                struct sample_out out;
                fill(200, 1, 5);
                logits[at] = bad[k];
                p.logprobs = lp;
                memcpy(work, logits, sizeof work);
                assert_int_equal(sample_token(kern, work, &in, &scratch, &out), ERR_NUMERIC);
            }
        }
    }
}

/* Large finite values: still a token of the vocabulary. */
static void extreme_values(void **state)
{
    static const float scales[] = {1e10f, 1e30f, 3e38f};
    (void)state;
    open_scratch(300);
    for (int k = 0; k < 3; k++) {
        for (int mix = 0; mix < 8; mix++) {
            struct sampling p = off();
            fill(300, (uint64_t)mix, scales[k]);
            p.temperature = mix & 1 ? 1e-4f : 1e6f;
            p.top_p = mix & 2 ? 0.5f : 1;
            p.min_p = mix & 4 ? 0.1f : 0;
            for (uint64_t i = 0; i < 20; i++)
                draw(&p, 300, (struct sample_in){.position = i});
        }
    }
}

/* A draw is a function of seed, choice and position alone. */
static void draws_are_independent(void **state)
{
    struct sampling p = off();
    int32_t first[64], differs = 0;
    (void)state;
    open_scratch(1000);
    fill(1000, 9, 4);
    for (uint64_t i = 0; i < 64; i++) {
        p.seed = i / 8;
        first[i] = draw(&p, 1000, (struct sample_in){.choice = i % 2, .position = i % 8}).token;
    }
    for (uint64_t i = 64; i-- > 0;) { /* in another order, with other draws between */
        struct sampling other = off();
        other.top_k = 3;
        other.seed = i * 7;
        draw(&other, 1000, (struct sample_in){.position = (uint64_t)(uniform(i) * 100)});
        p.seed = i / 8;
        assert_int_equal(
            draw(&p, 1000, (struct sample_in){.choice = i % 2, .position = i % 8}).token, first[i]);
        differs += i > 0 && first[i] != first[i - 1];
    }
    assert_true(differs > 50);
}

static int begin(void **state)
{
    (void)state;
    kern = kern_open(KERN_N_ISA - 1);
    return 0;
}

static int end(void **state)
{
    (void)state;
    sample_scratch_done(&scratch);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(equal_to_naive),  cmocka_unit_test(frequencies),
        cmocka_unit_test(greedy_and_ties), cmocka_unit_test(penalties_and_bias),
        cmocka_unit_test(logprobs),        cmocka_unit_test(not_finite),
        cmocka_unit_test(extreme_values),  cmocka_unit_test(draws_are_independent),
    };
    return cmocka_run_group_tests(tests, begin, end);
}
