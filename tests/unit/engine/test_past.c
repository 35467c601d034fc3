/* A job that goes on behind what was told of it before: cut at every event, the rest is the same
 * bits as if it had never been cut; what it used, too. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/rand.h"
#include "base/team.h"
#include "job/phase.h"
#include "jobs.h"
#include "tiny.h"

enum { CONTEXT = 256, EVENTS = 200, PIECE = 64, CHOICES = 2, N_PROMPT = 70 };

/* One event of a choice, and where it came. */
struct told {
    enum event_kind kind;
    int32_t choice, token, n_unshown, n_generated;
    enum finish finish;
    float logprob;
    char text[PIECE];
};

struct heard {
    struct told told[EVENTS];
    int n, code, n_cached;
    struct usage usage;
};

static int32_t prompt[CONTEXT];
static uint32_t phases[CONTEXT / 32];
static struct engine *engine;
static struct mbox box;

static struct jobs_spec spec_of(struct sampling s)
{
    s.max_tokens = 24;
    return (struct jobs_spec){
        .prompt = prompt, .answer = phases, .n_prompt = N_PROMPT, .sampling = s};
}

static void hear(const struct jobs_spec *spec, const struct job_past *past, int32_t past_cached,
                 struct heard *ret)
{
    static char text[JOBS_TEXT];
    struct err err = {0};
    struct event ev;
    struct job j = {.prompt = spec->prompt,
                    .answer = spec->answer,
                    .n_prompt = spec->n_prompt,
                    .n_choices = spec->n_choices ? spec->n_choices : 1,
                    .sampling = spec->sampling,
                    .salt = spec->salt,
                    .past = past,
                    .past_cached = past_cached,
                    .reader = &box};

    *ret = (struct heard){.n = 0};
    if (engine_submit(engine, &j, &err))
        fail_msg("%s", err.text);
    do {
        int kind = jobs_next(engine, &j, &ev, text);
        struct told *t = &ret->told[ret->n];
        assert_true(kind >= 0);
        if (kind == EVENT_STARTED)
            ret->n_cached = ev.n_cached;
        if (kind != EVENT_TEXT && kind != EVENT_FINISH)
            continue;
        assert_true(ret->n < EVENTS && ev.n_text < PIECE);
        t->kind = ev.kind;
        t->choice = ev.choice;
        t->token = kind == EVENT_TEXT ? ev.token : -1;
        t->n_unshown = ev.n_unshown;
        t->n_generated = ev.n_generated;
        t->finish = kind == EVENT_FINISH ? ev.finish : FINISH_STOP;
        t->logprob = kind == EVENT_TEXT ? ev.logprob : 0;
        memcpy(t->text, text, ev.n_text);
        ret->n++;
    } while (ev.kind != EVENT_DONE);
    ret->code = ev.code;
    ret->usage = *ev.usage;
    jobs_end(&j);
}

/* The first n events as a job's past. */
static void past_of(const struct heard *h, int n, struct job_past past[CHOICES],
                    int32_t token[CHOICES][EVENTS])
{
    memset(past, 0, CHOICES * sizeof *past);
    for (int c = 0; c < CHOICES; c++)
        past[c].token = token[c];
    for (int i = 0; i < n; i++) {
        const struct told *t = &h->told[i];
        struct job_past *p = &past[t->choice];
        if (t->kind == EVENT_TEXT)
            token[t->choice][p->n++] = t->token;
        else
            p->is_over = 1;
        p->n_generated = t->n_generated;
    }
}

/* The events of a choice from event `from` on: the next one at *at. */
static const struct told *next_of(const struct heard *h, int choice, int from, int *at)
{
    for (*at = *at < from ? from : *at; *at < h->n; ++*at) {
        if (h->told[*at].choice == choice)
            return &h->told[(*at)++];
    }
    return NULL;
}

static void check_rest(const struct heard *want, int cut, const struct heard *got)
{
    for (int c = 0; c < CHOICES; c++) {
        int i = 0, k = 0;
        for (;;) {
            const struct told *w = next_of(want, c, cut, &i), *g = next_of(got, c, 0, &k);
            if (!w && !g)
                break;
            if (!w || !g || memcmp(w, g, sizeof *w))
                fail_msg("cut after %d events: choice %d differs at event %d", cut, c, i);
        }
    }
    assert_int_equal(got->code, 0);
    assert_int_equal(got->n_cached, cut ? want->n_cached : got->n_cached);
    assert_int_equal(got->usage.prompt_tokens, want->usage.prompt_tokens);
    assert_int_equal(got->usage.completion_tokens, want->usage.completion_tokens);
}

static int cut_everywhere(const struct jobs_spec *spec)
{
    static struct heard want, got;
    static int32_t token[CHOICES][EVENTS];
    struct job_past past[CHOICES];

    hear(spec, NULL, 0, &want);
    assert_int_equal(want.code, 0);
    for (int cut = 0; cut <= want.n; cut++) {
        past_of(&want, cut, past, token);
        hear(spec, past, want.n_cached, &got);
        check_rest(&want, cut, &got);
    }
    return want.n;
}

static void open_engine(enum engine_class cls, int no_cache, struct team **team)
{
    static const struct tiny llama = {.arch = TINY_LLAMA, .context = CONTEXT, .quantised = 1};
    struct engine_config c = {.path = tiny_file(&llama, "past.gguf"),
                              .cls = cls,
                              .no_prefix_cache = no_cache,
                              .draft_always = 1,
                              .batch_max = 4};
    struct err err = {0};

    for (int i = 0; i < CONTEXT; i++) {
        uint32_t r[4];
        rand_philox(5, (uint64_t)i, 0, r);
        prompt[i] = (int32_t)(r[0] % 256);
        if (i / 16 % 2)
            phase_set(phases, i);
    }
    assert_int_equal(team_open(team, 2, &err), 0);
    if (engine_open(&engine, &c, *team, NULL, NULL, &err))
        fail_msg("%s", err.text);
    assert_int_equal(mbox_open(&box), 0);
}

static void close_engine(struct team *team)
{
    engine_close(engine);
    team_close(team);
    mbox_close(&box);
}

/* A stop string that the answer really has: two of its bytes, from the middle. */
static struct jobs_spec stopping(void)
{
    static struct heard h;
    static char stop[8];
    struct jobs_spec s = spec_of(jobs_seeded(0, 11));
    size_t n = 0;

    s.sampling.ignore_eos = 1;
    hear(&s, NULL, 0, &h);
    for (int i = 8; i < h.n && n < 2; i++) {
        for (const char *p = h.told[i].text; *p && n < 2; p++)
            stop[n++] = *p;
    }
    assert_true(n > 0);
    s.sampling.stop[0] = (struct text){stop, n};
    s.sampling.n_stop = 1;
    return s;
}

static void the_rest_is_the_same(void **state)
{
    static const enum engine_class classes[] = {ENGINE_Q8, ENGINE_BF16, ENGINE_F32};
    (void)state;

    for (int i = 0; i < 3; i++) {
        for (int no_cache = 0; no_cache < 2; no_cache++) {
            struct jobs_spec s = spec_of(jobs_greedy(0));
            struct team *team;
            open_engine(classes[i], no_cache, &team);
            assert_true(cut_everywhere(&s) > 1);
            s = spec_of(jobs_seeded(0, 7)); /* penalties */
            s.sampling.repetition_penalty = 1.3f;
            s.sampling.frequency_penalty = 0.5f;
            s.sampling.presence_penalty = 0.2f;
            s.sampling.min_tokens = 12;
            s.sampling.top_p = 0.9f;
            assert_true(cut_everywhere(&s) > 12);
            s = stopping();
            assert_true(cut_everywhere(&s) > 1);
            s = spec_of(jobs_seeded(0, 3)); /* choices that end at their own times */
            s.n_choices = 2;
            assert_true(cut_everywhere(&s) > 2);
            close_engine(team);
        }
    }
}

static void foreign_pasts_are_refused(void **state)
{
    int32_t token[CONTEXT] = {0}, none = TINY_VOCAB;
    struct job_past past[] = {
        {.token = &none, .n = 1}, {.token = token, .n = 25}, {.token = token, .n = -1}};
    struct team *team;
    struct err err;
    (void)state;

    open_engine(ENGINE_Q8, 0, &team);
    for (int i = 0; i < 3; i++) {
        struct job j = {.prompt = prompt,
                        .n_prompt = N_PROMPT,
                        .n_choices = 1,
                        .sampling = jobs_greedy(24),
                        .past = &past[i],
                        .reader = &box};
        assert_int_equal(engine_submit(engine, &j, &err), ERR_ARG);
    }
    close_engine(team);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_rest_is_the_same),
        cmocka_unit_test(foreign_pasts_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
