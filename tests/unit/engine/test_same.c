/* Same answer, whatever the company: tokens and log-probabilities are the same bits alone, in a
 * full batch, with answers in the prompts, with the prefix cache on or off, with speculation (right
 * and wrong predictions) or without, for every chunk size, after preemption, with any number of
 * threads, and on every instruction set of the class.
 *
 * test_same [all]: two settings, unlike each other in much, and four models; all: every one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/rand.h"
#include "base/team.h"
#include "job/phase.h"
#include "jobs.h"
#include "kern/kern.h"
#include "tiny.h"

#define N 16 /* different requests; all others repeat them */

static int32_t text[N][480], guess[N][JOBS_TOKENS];
static uint32_t answer[N][480 / 32];
static struct jobs_spec spec[64];
static struct jobs_answer want[N], got[64];
static const char *path;
static int whole; /* every setting, not only the quick ones */

/* Prompts of many lengths, two of them longer than an attention block; every third shares a long
 * beginning with others, some up to where only the phases differ. Most hold answers, of one token
 * and of many, at the end too. */
static void make_requests(void)
{
    for (int i = 0; i < N; i++) {
        int n = i == 3 ? 470 : i == 8 ? 300 : 1 + (i * 37) % 200;
        for (int k = 0; k < n; k++) {
            uint32_t r[4];
            rand_philox(3, (uint64_t)k, i % 3 ? (uint64_t)i : 999, r);
            text[i][k] = (int32_t)(r[0] % 256);
        }
        for (int k = 0; k < n && i % 4; k++) {
            if (k / (1 + 3 * i) % 2)
                phase_set(answer[i], k);
        }
        spec[i] = (struct jobs_spec){.prompt = text[i], .n_prompt = n, .salt = 1};
        spec[i].answer = i % 4 ? answer[i] : NULL;
        spec[i].sampling = i % 2 ? jobs_seeded(24, (uint64_t)i) : jobs_greedy(24);
        spec[i].sampling.n_top = i % 4;
        if (i % 5 == 0)
            spec[i].sampling.frequency_penalty = 0.5f;
        if (i % 7 == 0)
            spec[i].sampling.top_p = 0.8f;
        if (i % 11 == 0)
            spec[i].sampling.top_k = 12;
    }
    for (int i = N; i < 64; i++)
        spec[i] = spec[i % N];
}

/* Predictions: right, wrong in the middle, without a beginning, none. */
static void make_predictions(void)
{
    for (int i = 0; i < 64; i++) {
        int32_t *g = guess[i % N], n = want[i % N].n_tokens;
        memcpy(g, want[i % N].token, sizeof *g * (size_t)n);
        if (i % 4 == 1)
            g[n / 2] = (g[n / 2] + 1) % 256;
        spec[i].prediction = i % 4 == 2 && n > 2 ? g + 2 : g;
        spec[i].n_prediction = i % 4 == 3 ? 0 : i % 4 == 2 && n > 2 ? n - 2 : n;
    }
}

struct setting {
    const char *name;
    enum kern_isa isa;
    int threads, chunk, batch, no_cache, plain;
    size_t kv_bytes;
    int quick;
};

static enum kern_kv kv_type = KERN_KV_F16;
static enum engine_class cls = ENGINE_Q8;

static struct engine *open_engine(const struct setting *s, struct team **team)
{
    struct engine_config c = {.path = path,
                              .cls = cls,
                              .cpu = 1 + (int)s->isa,
                              .chunk = s->chunk,
                              .batch_max = s->batch,
                              .no_prefix_cache = s->no_cache,
                              .no_speculation = s->plain,
                              .draft_always = 1, /* else as measured steps say: chance */
                              .kv_bytes_max = s->kv_bytes,
                              .kv = 1 + (int)kv_type};
    struct engine *e = NULL;
    struct err err = {0};

    assert_int_equal(team_open(team, s->threads, &err), 0);
    if (engine_open(&e, &c, *team, NULL, NULL, &err))
        fail_msg("%s", err.text);
    return e;
}

static void check_same(const struct jobs_answer *a, int n, const char *what)
{
    for (int i = 0; i < n; i++) {
        const struct jobs_answer *w = &want[i % N];
        if (a[i].err || a[i].n_tokens != w->n_tokens || a[i].finish != w->finish ||
            memcmp(a[i].token, w->token, sizeof *w->token * (size_t)w->n_tokens) ||
            memcmp(a[i].logprob, w->logprob, sizeof *w->logprob * (size_t)w->n_tokens))
            fail_msg("%s: request %d differs (err %d, %d tokens instead of %d)", what, i, a[i].err,
                     a[i].n_tokens, w->n_tokens);
    }
}

#if defined(__has_feature)
#define HAS(x) __has_feature(x)
#else
#define HAS(x) 0
#endif
#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__) || HAS(thread_sanitizer) ||      \
    HAS(address_sanitizer)
#define WATCHED 1 /* every access: minutes for what the plain build does in seconds */
#else
#define WATCHED 0
#endif

/* Settings that would tell nothing new: bf16 is the same reference below AMX; and where accesses
 * are watched, one way each through batch, chunks and preemption is enough of it. */
static int is_repetition(const struct setting *s)
{
    if (cls != ENGINE_BF16)
        return 0;
    if (s->isa < KERN_ISA_AVX512_VNNI)
        return 1;
    return WATCHED && (s->plain || s->chunk == 32 || s->chunk == 100 || s->batch == 8);
}

static uint64_t n_drafted, n_accepted;

/* n requests, so many at once. */
static void run_all(const struct setting *s, int n, int at_once)
{
    struct team *team;
    struct engine *e = open_engine(s, &team);
    struct load st;

    for (int i = 0; i < n; i += at_once)
        jobs_run(e, spec + i, at_once, got + i, 1);
    check_same(got, n, s->name);
    engine_load(e, &st);
    if (s->kv_bytes)
        assert_true(st.preemptions > 0); /* or the setting proves nothing */
    if (s->plain)
        assert_int_equal(st.draft_tokens, 0);
    n_drafted += st.draft_tokens;
    n_accepted += st.draft_accepted;
    engine_close(e);
    team_close(team);
}

static void same_answers(const struct tiny *t, size_t small_kv)
{
    const enum kern_isa best = KERN_N_ISA - 1;
    const struct setting alone = {"alone", best, 1, 512, 8, 1, 1, 0, 1};
    const struct setting with[] = {
        {"one after the other", best, 1, 512, 8, 1, 0, 0, 0},
        {"the same, attention in parts", best, 2, 512, 8, 1, 0, 0, 0},
        {"the same, in more parts", best, 5, 20, 8, 1, 0, 0, 0},
        {"batch of 64", best, 2, 512, 64, 0, 0, 0, 1},
        {"no speculation", best, 2, 512, 64, 0, 1, 0, 0},
        {"no prefix cache", best, 1, 512, 64, 1, 0, 0, 0},
        {"chunks of 1", best, 1, 1, 16, 0, 0, 0, 0},
        {"chunks of 7", best, 2, 7, 16, 1, 0, 0, 0},
        {"chunks of 32", best, 2, 32, 64, 0, 0, 0, 0},
        {"chunks of 100", best, 3, 100, 5, 0, 0, 0, 0},
        {"little memory", best, 2, 64, 64, 0, 0, small_kv, 1},
        {"scalar", KERN_ISA_SCALAR, 2, 512, 64, 0, 0, 0, 0},
        {"avx2", KERN_ISA_AVX2, 2, 512, 64, 0, 0, 0, 0},
        {"avx-vnni", KERN_ISA_AVX_VNNI, 2, 512, 64, 0, 0, 0, 0},
        {"avx512", KERN_ISA_AVX512, 2, 96, 64, 0, 0, 0, 0},
        {"avx512-vnni", KERN_ISA_AVX512_VNNI, 2, 512, 64, 0, 0, 0, 0},
        {"amx", KERN_ISA_AMX, 2, 512, 64, 0, 0, 0, 0},
    };
    struct team *team;
    struct engine *e;

    path = tiny_file(t, "same.gguf");
    make_requests();
    e = open_engine(&alone, &team);
    for (int i = 0; i < N; i++)
        jobs_run(e, spec + i, 1, want + i, 1);
    engine_close(e);
    team_close(team);
    make_predictions();
    n_drafted = n_accepted = 0;
    for (int i = 0; i < N; i++) {
        assert_int_equal(want[i].err, 0);
        assert_true(want[i].n_tokens > 0);
    }
    for (size_t i = 0; i < sizeof with / sizeof with[0]; i++) {
#if defined(__SANITIZE_THREAD__)
        if (with[i].isa == KERN_ISA_SCALAR) {
            print_message(
                "# scalar: minutes with every access watched, and nothing new: not run\n");
            continue;
        }
#endif
        if (is_repetition(&with[i]) || !(whole || with[i].quick))
            continue;
        if (with[i].isa != best && !kern_isa_available(with[i].isa)) {
            print_message("# this CPU has no %s: not run\n", with[i].name);
            continue;
        }
        if (i < 3)
            run_all(&with[i], N, 1);
        else if (with[i].isa == KERN_ISA_SCALAR)
            run_all(&with[i], N, N);
        else if (with[i].batch == 64 && with[i].isa == best)
            run_all(&with[i], 64, 64);
        else /* the second time from the cache */
            run_all(&with[i], 2 * N, N);
    }
    assert_true(n_accepted > 0 && n_drafted > n_accepted); /* both ways were gone */
}

static void llama(void **state)
{
    (void)state;
    same_answers(&(struct tiny){.arch = TINY_LLAMA, .context = 512, .quantised = 1}, 400000);
}

static void gemma3_windows(void **state)
{
    (void)state;
    same_answers(&(struct tiny){.arch = TINY_GEMMA3, .context = 512, .window = 48, .quantised = 1},
                 400000);
}

static void experts(void **state)
{
    (void)state;
    same_answers(&(struct tiny){.arch = TINY_QWEN3MOE, .context = 512, .quantised = 1}, 400000);
}

static void float_weights(void **state)
{
    (void)state;
    same_answers(&(struct tiny){.arch = TINY_LLAMA, .context = 512, .quantised = 0}, 400000);
}

static void kv_in_8_bits(void **state)
{
    (void)state;
    kv_type = KERN_KV_Q8_0;
    same_answers(&(struct tiny){.arch = TINY_GEMMA3, .context = 512, .window = 48, .quantised = 1},
                 250000);
    kv_type = KERN_KV_F16;
}

/* Prompts in bf16, answers in 8 bits, both in one step. */
static void prompts_in_bf16(void **state)
{
    (void)state;
    cls = ENGINE_BF16;
    same_answers(&(struct tiny){.arch = TINY_QWEN3MOE, .context = 512, .quantised = 1}, 400000);
    if (whole && !WATCHED) {
        same_answers(
            &(struct tiny){.arch = TINY_GEMMA3, .context = 512, .window = 48, .quantised = 1},
            400000);
        same_answers(&(struct tiny){.arch = TINY_LLAMA, .context = 512, .quantised = 0}, 400000);
    }
    cls = ENGINE_Q8;
}

int main(int argc, char **argv)
{
    const struct CMUnitTest quick[] = {
        cmocka_unit_test(gemma3_windows),
        cmocka_unit_test(float_weights),
        cmocka_unit_test(kv_in_8_bits),
        cmocka_unit_test(prompts_in_bf16),
    };
    const struct CMUnitTest all[] = {
        cmocka_unit_test(llama),        cmocka_unit_test(gemma3_windows),
        cmocka_unit_test(experts),      cmocka_unit_test(float_weights),
        cmocka_unit_test(kv_in_8_bits), cmocka_unit_test(prompts_in_bf16),
    };
    whole = argc > 1 && !strcmp(argv[1], "all");
    return whole ? cmocka_run_group_tests(all, NULL, NULL)
                 : cmocka_run_group_tests(quick, NULL, NULL);
}
