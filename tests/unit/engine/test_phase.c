/* Prompts that hold answers. In class bf16 a prompt's tokens and an answer's are computed in two
 * ways, so the same tokens may be there twice, and nobody may find the wrong ones: whatever was
 * asked before or is asked beside it, with the cache and without, an answer is the same bits.
 *
 * test_phase [all]: each setting with one model, or with all. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/rand.h"
#include "base/team.h"
#include "job/phase.h"
#include "jobs.h"
#include "tiny.h"

enum { CONTEXT = 512, ASKED = 100, SAID = 120, MORE = 40, ALL = ASKED + SAID + MORE };

static const struct tiny models[] = {
    {.arch = TINY_LLAMA, .context = CONTEXT, .quantised = 1},
    {.arch = TINY_GEMMA3, .context = CONTEXT, .window = 48, .quantised = 1},
    {.arch = TINY_QWEN3MOE, .context = CONTEXT, .quantised = 1},
};
static int32_t turn[ALL]; /* P, A, and what is said then */
static uint32_t turn_phases[ALL / 32 + 1], said_phases[ALL / 32 + 1];
static struct jobs_answer first, second, got[8];
static struct team *team;
static struct engine *engine;
static int whole; /* every setting with every model */

static void open_engine(const struct tiny *t, struct engine_config c)
{
    struct err err = {0};

    c.path = tiny_file(t, "phase.gguf");
    assert_int_equal(team_open(&team, 2, &err), 0);
    if (engine_open(&engine, &c, team, NULL, NULL, &err))
        fail_msg("%s", err.text);
}

static void close_engine(void)
{
    engine_close(engine);
    team_close(team);
}

static struct jobs_spec spec_of(int n, const uint32_t *answer, int max_tokens)
{
    struct jobs_spec s = {
        .prompt = turn, .answer = answer, .n_prompt = n, .sampling = jobs_greedy(max_tokens)};
    static const struct bias never[] = {{256, -1e4f}, {257, -1e4f}, {258, -1e4f}, {259, -1e4f}};
    s.sampling.bias = never; /* whole answers */
    s.sampling.n_bias = 4;
    return s;
}

static struct jobs_spec question(void)
{
    return spec_of(ASKED, NULL, SAID);
}

/* P + A + more: what the client sends for a next turn, with A known as the assistant's. */
static struct jobs_spec next_turn(void)
{
    return spec_of(ALL, turn_phases, 24);
}

/* The same tokens as a plain prompt, and as one that ends in the middle of the answer. */
static struct jobs_spec plain_prompt(void)
{
    return spec_of(ALL, NULL, 24);
}

static struct jobs_spec half_said(void)
{
    return spec_of(ASKED + SAID / 2, said_phases, SAID / 2);
}

static int is_same(const struct jobs_answer *a, const struct jobs_answer *b)
{
    return !a->err && a->n_tokens == b->n_tokens &&
           !memcmp(a->token, b->token, sizeof *a->token * (size_t)b->n_tokens) &&
           !memcmp(a->logprob, b->logprob, sizeof *a->logprob * (size_t)b->n_tokens);
}

static void run(struct jobs_spec s, struct jobs_answer *ret)
{
    jobs_run(engine, &s, 1, ret, 1);
    assert_int_equal(ret->err, 0);
}

static void run_two(struct jobs_spec a, struct jobs_spec b)
{
    const struct jobs_spec both[4] = {a, b, a, b};
    jobs_run(engine, both, 4, got, 1);
}

/* Each alone, in an engine that has seen nothing: what all others must give. */
static void answers_of_nobody_else(const struct tiny *t, struct engine_config c)
{
    for (int i = 0; i < ALL; i++) {
        uint32_t r[4];
        rand_philox(8, (uint64_t)i, 0, r);
        turn[i] = (int32_t)(r[0] % 256);
    }
    open_engine(t, c);
    run(question(), &first);
    close_engine();
    assert_int_equal(first.n_tokens, SAID);
    memcpy(turn + ASKED, first.token, sizeof *turn * SAID);
    memset(turn_phases, 0, sizeof turn_phases);
    for (int i = ASKED; i < ASKED + SAID; i++)
        phase_set(turn_phases, i);
    memcpy(said_phases, turn_phases, sizeof said_phases);
    open_engine(t, c);
    run(next_turn(), &second);
    close_engine();
}

static const struct engine_config bf16 = {.cls = ENGINE_BF16, .chunk = 64, .batch_max = 8};

/* P, and P while others send P + A as a prompt, and after it: always A. */
static void a_question_is_answered_as_before(void **state)
{
    (void)state;
    for (size_t m = 0; m < sizeof models / sizeof models[0]; m++) {
        answers_of_nobody_else(&models[m], bf16);
        for (int order = 0; order < 3; order++) {
            open_engine(&models[m], bf16);
            if (order == 0) { /* before */
                run(plain_prompt(), &got[0]);
                run(question(), &got[0]);
                assert_true(is_same(&got[0], &first));
            }
            if (order == 1) { /* while: its pages become full beside the other's */
                run_two(question(), plain_prompt());
                assert_true(is_same(&got[0], &first) && is_same(&got[2], &first));
            }
            if (order == 2) { /* after its own answer, and the other in between */
                run(question(), &got[0]);
                assert_true(is_same(&got[0], &first));
                run_two(plain_prompt(), question());
                assert_true(is_same(&got[1], &first) && is_same(&got[3], &first));
            }
            run(question(), &got[0]);
            assert_true(is_same(&got[0], &first));
            close_engine();
        }
    }
}

/* The next turn: warm, cold, without a cache, in chunks, preempted, beside anybody. */
static void a_next_turn_is_answered_as_if_cold(void **state)
{
    (void)state;
    const int n = (int)(sizeof models / sizeof models[0]);

    for (int m = 0; m < n; m++) {
        struct engine_config c = bf16;
        answers_of_nobody_else(&models[m], bf16);
        for (int k = 0; k < 5; k++) {
            if (!whole && k % n != m)
                continue;
            c.chunk = k == 1 ? 7 : k == 2 ? 500 : 64;
            c.no_prefix_cache = k == 3;
            c.no_speculation = k == 4;
            open_engine(&models[m], c);
            if (k != 2)
                run(question(), &got[0]); /* leaves its pages */
            run(next_turn(), &got[0]);
            assert_true(is_same(&got[0], &second));
            run_two(next_turn(), plain_prompt());
            assert_true(is_same(&got[0], &second) && is_same(&got[2], &second));
            run(half_said(), &got[0]); /* the rest of the answer, from its middle on */
            got[1] = first;
            got[1].n_tokens = SAID / 2;
            memmove(got[1].token, first.token + SAID / 2, sizeof *first.token * (SAID / 2));
            memmove(got[1].logprob, first.logprob + SAID / 2, sizeof *first.logprob * (SAID / 2));
            assert_true(is_same(&got[0], &got[1]));
            close_engine();
        }
    }
}

/* The two ways differ in bits, or the tests above show nothing. */
static void phases_differ_in_class_bf16_alone(void **state)
{
    static const enum engine_class classes[] = {ENGINE_Q8, ENGINE_F32, ENGINE_BF16};
    (void)state;

    for (size_t i = 0; i < 3; i++) {
        struct engine_config c = {.cls = classes[i], .chunk = 64, .batch_max = 8};
        answers_of_nobody_else(&models[0], c);
        open_engine(&models[0], c);
        run(next_turn(), &got[0]);
        run(plain_prompt(), &got[1]);
        assert_int_equal(is_same(&got[1], &second), classes[i] != ENGINE_BF16);
        /* Pages are shared as far as they are the same. */
        assert_int_equal(got[1].n_cached, (classes[i] == ENGINE_BF16 ? ASKED : ALL - 1) / 32 * 32);
        close_engine();
    }
}

/* What a next turn computes: the pages that were not full, and what is new. */
static void a_next_turn_finds_the_answer(void **state)
{
    (void)state;
    answers_of_nobody_else(&models[0], bf16);
    open_engine(&models[0], bf16);
    run(question(), &got[0]);
    run(next_turn(), &got[0]);
    assert_int_equal(got[0].n_cached, (ASKED + SAID - 1) / 32 * 32);
    assert_true(is_same(&got[0], &second));
    close_engine();
}

/* Little memory: sequences lose their pages and are computed again, each token in its phase. */
static void preempted_answers_come_back_the_same(void **state)
{
    struct jobs_spec s[8];
    struct engine_config c = bf16;
    struct load st;
    (void)state;

    answers_of_nobody_else(&models[0], bf16);
    c.kv_bytes_max = 400000;
    c.no_prefix_cache = 1;
    open_engine(&models[0], c);
    for (int i = 0; i < 8; i++)
        s[i] = i % 2 ? question() : next_turn();
    jobs_run(engine, s, 8, got, 1);
    engine_load(engine, &st);
    assert_true(st.preemptions > 0);
    for (int i = 0; i < 8; i++)
        assert_true(is_same(&got[i], i % 2 ? &first : &second));
    close_engine();
}

/* Every other token is an answer's: more runs than a step has room for. */
static void many_short_runs(void **state)
{
    struct engine_config c = {.cls = ENGINE_BF16, .chunk = 512, .batch_max = 4};
    uint32_t stripes[CONTEXT / 32];
    static int32_t text[CONTEXT];
    struct jobs_spec s = question();
    (void)state;

    memset(stripes, 0x55, sizeof stripes);
    for (int i = 0; i < CONTEXT; i++)
        text[i] = (i * 31 + i / 7) % 256;
    s.prompt = text;
    s.answer = stripes;
    s.n_prompt = CONTEXT - 32;
    s.sampling.max_tokens = 24;
    for (int k = 0; k < 2; k++) {
        struct jobs_spec all[4] = {s, s, s, s};
        for (int i = 0; i < 4; i++)
            all[i].salt = (uint64_t)i; /* nobody takes another's pages */
        open_engine(&models[0], c);
        jobs_run(engine, all, 4, got + 4 * k, 1);
        close_engine();
        c.chunk = 5;
    }
    for (int i = 1; i < 8; i++)
        assert_true(is_same(&got[i], &got[0]));
}

/* Runs are not sequences: of what is told of a step, one prompt counts once. */
static void a_sequence_counts_once(void **state)
{
    static const uint32_t stripes[CONTEXT / 32] = {0x55555555, 0x55555555, 0x55555555};
    struct jobs_spec s = spec_of(96, stripes, 1);
    struct load st;
    (void)state;

    open_engine(&models[0], (struct engine_config){.cls = ENGINE_BF16, .batch_max = 4});
    jobs_run(engine, &s, 1, got, 1);
    engine_load(engine, &st);
    assert_int_equal(st.batch_tokens, 96);
    assert_int_equal(st.batch_seqs, 1);
    close_engine();
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_question_is_answered_as_before),
        cmocka_unit_test(a_next_turn_is_answered_as_if_cold),
        cmocka_unit_test(phases_differ_in_class_bf16_alone),
        cmocka_unit_test(a_next_turn_finds_the_answer),
        cmocka_unit_test(preempted_answers_come_back_the_same),
        cmocka_unit_test(many_short_runs),
        cmocka_unit_test(a_sequence_counts_once),
    };
    whole = argc > 1 && !strcmp(argv[1], "all");
    return cmocka_run_group_tests(tests, NULL, NULL);
}
