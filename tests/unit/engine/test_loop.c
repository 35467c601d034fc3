/* The life of a job: cancelled anywhere, slow readers, tiers, drain, preemption, many
 * jobs through few slots, the order of events, and what a step reads. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/rand.h"
#include "base/team.h"
#include "engine/engine_int.h"
#include "jobs.h"
#include "policy/sched.h"
#include "tiny.h"

enum { CONTEXT = 512 };

static const struct tiny llama = {.arch = TINY_LLAMA, .context = CONTEXT, .quantised = 1};
static const struct tiny gemma = {
    .arch = TINY_GEMMA3, .context = CONTEXT, .window = 48, .quantised = 1};
static int32_t prompt[CONTEXT];
static struct team *team;
static struct engine *engine;
static struct mbox box;

static void open_engine(const struct tiny *t, struct engine_config c)
{
    struct err err = {0};

    for (int i = 0; i < CONTEXT; i++) {
        uint32_t r[4];
        rand_philox(5, (uint64_t)i, 0, r);
        prompt[i] = (int32_t)(r[0] % 256);
    }
    c.path = tiny_file(t, "loop.gguf");
    assert_int_equal(team_open(&team, 2, &err), 0);
    if (engine_open(&engine, &c, team, NULL, NULL, &err))
        fail_msg("%s", err.text);
    assert_int_equal(mbox_open(&box), 0);
}

static void close_engine(void)
{
    engine_close(engine);
    team_close(team);
    mbox_close(&box);
}

static struct jobs_spec spec_of(int n_prompt, int max_tokens)
{
    struct jobs_spec s = {
        .prompt = prompt, .n_prompt = n_prompt, .sampling = jobs_greedy(max_tokens)};
    s.sampling.ignore_eos = 1;
    return s;
}

static void start(struct job *j, struct jobs_spec s)
{
    struct err err = {0};
    if (jobs_start(engine, j, &box, &s, &err))
        fail_msg("%s", err.text);
}

/* Read until an event of this kind. */
static struct event until(struct job *j, int kind)
{
    struct event ev;
    int k;
    while ((k = jobs_next(engine, j, &ev, NULL)) != kind) {
        if (k < 0 || k == EVENT_DONE)
            fail_msg("event %d did not come", kind);
    }
    return ev;
}

/* What the engine keeps of a job that was submitted and not yet released. */
static struct engine_job *run_of(const struct job *j)
{
    return j->inner;
}

/* Read the rest of a job and release it; when it left the queue. */
static int64_t end_of(struct job *j)
{
    int64_t at;

    assert_int_equal(until(j, EVENT_DONE).code, 0);
    at = run_of(j)->scheduled_us;
    jobs_end(j);
    return at;
}

static struct load stats(void)
{
    struct load st;
    engine_load(engine, &st);
    return st;
}

/* Wait for what the engine thread does at the end of its turn. */
#define WAIT_FOR(cond)                                                                             \
    do {                                                                                           \
        int64_t end_ = clock_now_us() + JOBS_WAIT_US;                                              \
        while (!(cond)) {                                                                          \
            if (clock_now_us() > end_)                                                             \
                fail_msg("%s did not come true", #cond);                                           \
            clock_sleep_us(500);                                                                   \
        }                                                                                          \
    } while (0)

/* Cancel and read on: DONE must come, with no choice finished, after at most the step under way
 * and one that had begun to be laid out; then every page is free again. */
static struct event cancel_and_check(struct job *j)
{
    uint64_t steps = stats().n_steps;
    struct event ev;
    int k;

    engine_cancel(engine, j);
    do {
        k = jobs_next(engine, j, &ev, NULL);
        assert_true(k >= 0);
        assert_int_not_equal(k, EVENT_FINISH);
    } while (k != EVENT_DONE);
    assert_int_equal(ev.code, ERR_CANCELLED);
    jobs_end(j);
    assert_int_equal(stats().pages_free, stats().n_pages);
    WAIT_FOR(stats().n_running == 0);
    assert_true(stats().n_steps - steps <= 2);
    return ev;
}

static struct event cancel_of_cached(struct job *j)
{
    struct event ev;
    engine_cancel(engine, j);
    ev = until(j, EVENT_DONE);
    assert_int_equal(ev.code, ERR_CANCELLED);
    jobs_end(j);
    return ev;
}

static void cancel_prefilling(void **state)
{
    struct event told, done;
    struct job j;
    (void)state;
    open_engine(&llama, (struct engine_config){.chunk = 1, .no_prefix_cache = 1});
    start(&j, spec_of(500, 5));
    told = until(&j, EVENT_PREFILL);
    done = cancel_and_check(&j);
    assert_in_range(done.n_done, told.n_done, 499); /* what was computed, and no more */
    close_engine();
}

/* What is owed for a prompt: what is there of it, computed or found, each token once. */
static void prompt_is_counted_once(void **state)
{
    struct job j;
    struct event ev;
    struct jobs_spec s = spec_of(200, 300);
    (void)state;
    open_engine(&llama, (struct engine_config){.chunk = 16});
    s.n_choices = 4;
    start(&j, s);
    until(&j, EVENT_TEXT);
    assert_int_equal(cancel_of_cached(&j).n_done, 200);
    s.n_choices = 1;
    start(&j, s);
    ev = until(&j, EVENT_STARTED);
    assert_int_equal(ev.n_cached, 192);
    ev = cancel_of_cached(&j);
    assert_int_equal(ev.n_cached, 192);
    assert_in_range(ev.n_done, 192, 200);
    close_engine();
}

static void cancel_decoding(void **state)
{
    struct job j;
    (void)state;
    open_engine(&llama, (struct engine_config){.no_prefix_cache = 1});
    start(&j, spec_of(40, -1));
    for (int i = 0; i < 5; i++)
        until(&j, EVENT_TEXT);
    assert_true(stats().pages_free < stats().n_pages || stats().n_steps < 2);
    cancel_and_check(&j);
    close_engine();
}

/* Nothing is read: the sequence rests with its pages until it is cancelled. */
static void cancel_paused(void **state)
{
    struct job j;
    uint64_t steps;
    (void)state;
    open_engine(&llama, (struct engine_config){.no_prefix_cache = 1});
    start(&j, spec_of(40, 400));
    WAIT_FOR(atomic_load(&run_of(&j)->paused));
    WAIT_FOR(stats().pages_free < stats().n_pages);
    steps = stats().n_steps;
    clock_sleep_us(30000);
    assert_true(stats().n_steps <= steps + 1); /* it does rest */
    cancel_and_check(&j);
    close_engine();
}

static void cancel_queued(void **state)
{
    struct job first, second;
    struct event ev;
    (void)state;
    open_engine(&llama, (struct engine_config){.batch_max = 1, .no_prefix_cache = 1});
    start(&first, spec_of(10, 300));
    until(&first, EVENT_TEXT);
    start(&second, spec_of(10, 300));
    WAIT_FOR(stats().n_waiting == 1);
    engine_cancel(engine, &second);
    assert_int_equal(jobs_next(engine, &second, &ev, NULL), EVENT_DONE); /* and no STARTED */
    assert_int_equal(ev.code, ERR_CANCELLED);
    assert_int_equal(ev.n_done, 0);
    jobs_end(&second);
    ev = until(&first, EVENT_FINISH);
    assert_int_equal(ev.n_generated, 300);
    assert_int_equal(until(&first, EVENT_DONE).code, 0);
    jobs_end(&first);
    close_engine();
}

static void cancel_of_choices_and_echo(void **state)
{
    struct job j;
    struct jobs_spec s = spec_of(100, 300);
    (void)state;
    open_engine(&llama, (struct engine_config){.batch_max = 6, .chunk = 16});
    s.n_choices = 9;
    start(&j, s);
    until(&j, EVENT_TEXT);
    engine_cancel(engine, &j);
    assert_int_equal(until(&j, EVENT_DONE).code, ERR_CANCELLED);
    jobs_end(&j);
    WAIT_FOR(stats().pages_used == 0);
    s.n_choices = 1;
    s.echo = 1;
    start(&j, s);
    until(&j, EVENT_PROMPT);
    engine_cancel(engine, &j);
    assert_int_equal(until(&j, EVENT_DONE).code, ERR_CANCELLED);
    jobs_end(&j);
    WAIT_FOR(stats().pages_used == 0);
    close_engine();
}

/* A reader that never reads is cut; its neighbour gets the same answer as alone. */
static void slow_reader(void **state)
{
    static struct jobs_answer alone, beside;
    struct job slow;
    struct jobs_spec s = spec_of(33, 400), other = spec_of(50, 200);
    (void)state;
    open_engine(&llama, (struct engine_config){.stall_us_max = 150000, .no_prefix_cache = 1});
    jobs_run(engine, &other, 1, &alone, 1);
    start(&slow, s);
    WAIT_FOR(atomic_load(&run_of(&slow)->paused));
    jobs_run(engine, &other, 1, &beside, 1);
    assert_int_equal(beside.err, 0);
    assert_memory_equal(&alone, &beside, sizeof alone);
    WAIT_FOR(atomic_load(&run_of(&slow)->released));
    assert_int_equal(until(&slow, EVENT_DONE).code, ERR_SLOW_READER);
    jobs_end(&slow);
    WAIT_FOR(stats().pages_free == stats().n_pages);
    close_engine();
}

/* Pausing and reading on changes nothing. */
static void pause_and_go_on(void **state)
{
    static struct jobs_answer want;
    struct job j;
    struct jobs_spec s = spec_of(33, 300);
    struct event ev;
    int n = 0;
    (void)state;
    open_engine(&llama, (struct engine_config){0});
    jobs_run(engine, &s, 1, &want, 1);
    start(&j, s);
    for (;;) {
        if (n % 100 == 50)
            WAIT_FOR(atomic_load(&run_of(&j)->paused) || atomic_load(&run_of(&j)->released));
        assert_true(jobs_next(engine, &j, &ev, NULL) >= 0);
        if (ev.kind == EVENT_TEXT) {
            assert_int_equal(ev.token, want.token[n]);
            assert_int_equal(ev.n_generated, ++n);
        }
        if (ev.kind == EVENT_DONE)
            break;
    }
    assert_int_equal(n, want.n_tokens);
    jobs_end(&j);
    close_engine();
}

/* Start what fills its ring and rests, unread. */
static void start_resting(struct job *j, struct jobs_spec s)
{
    start(j, s);
    WAIT_FOR(atomic_load(&run_of(j)->paused));
}

/* Read to the end: the tokens of choice i are those of want[i]. */
static void read_on(struct job *j, const struct jobs_answer *want)
{
    int n[JOB_CHOICES_MAX] = {0}, prompt_events = 0;
    struct event ev;

    do {
        assert_true(jobs_next(engine, j, &ev, NULL) >= 0);
        if (ev.kind == EVENT_TEXT) {
            assert_int_equal(ev.token, want[ev.choice].token[n[ev.choice]]);
            assert_int_equal(ev.n_generated, ++n[ev.choice]);
        }
        prompt_events += ev.kind == EVENT_PROMPT;
    } while (ev.kind != EVENT_DONE);
    assert_int_equal(ev.code, 0);
    for (int i = 0; i < j->n_choices; i++)
        assert_int_equal(n[i], want[i].n_tokens);
    assert_int_equal(prompt_events, j->echo ? j->n_prompt : 0);
    jobs_end(j);
}

/* Whoever does not read holds no slot that another could use, and misses nothing. */
static void resting_gives_way(void **state)
{
    static struct jobs_answer want[3][JOB_CHOICES_MAX], alone, beside;
    struct jobs_spec s[3] = {spec_of(33, 300), spec_of(33, 200), spec_of(300, 10)},
                     other = spec_of(50, 200);
    struct job slow;
    (void)state;
    s[0].sampling = jobs_seeded(300, 5);
    s[0].sampling.ignore_eos = 1;
    s[1].n_choices = 3;
    s[2].echo = 1; /* rests while its prompt is told */
    for (int cache = 0; cache < 2; cache++) {
        open_engine(&llama, (struct engine_config){
                                .batch_max = 3, .give_way_us = 1, .no_prefix_cache = !cache});
        for (int i = 0; i < 3; i++)
            jobs_run(engine, &s[i], 1, want[i], JOB_CHOICES_MAX);
        jobs_run(engine, &other, 1, &alone, 1);
        close_engine();
        open_engine(&llama, (struct engine_config){
                                .batch_max = 1, .give_way_us = 1, .no_prefix_cache = !cache});
        for (int i = 0; i < 3; i++) {
            start_resting(&slow, s[i]);
            jobs_run(engine, &other, 1, &beside, 1);
            assert_int_equal(beside.err, 0);
            assert_memory_equal(alone.token, beside.token, sizeof alone.token);
            read_on(&slow, want[i]);
        }
        WAIT_FOR(stats().pages_used == 0);
        close_engine();
    }
}

/* The same for pages: there is room for the KV of one. */
static void resting_gives_pages(void **state)
{
    static struct jobs_answer want[JOB_CHOICES_MAX], beside;
    struct jobs_spec s = spec_of(300, 180);
    struct job slow;
    (void)state;
    open_engine(&llama, (struct engine_config){.batch_max = 2,
                                               .give_way_us = 1,
                                               .no_prefix_cache = 1,
                                               .context_max = 500,
                                               .kv_bytes_max = 250000});
    assert_true(stats().n_pages < 2 * (300 / 32 + 2));
    jobs_run(engine, &s, 1, want, 1);
    start_resting(&slow, s);
    jobs_run(engine, &s, 1, &beside, 1);
    assert_int_equal(beside.err, 0);
    assert_int_equal(beside.n_tokens, want->n_tokens);
    read_on(&slow, want);
    close_engine();
}

/* Put aside, a job ends like any other: cancelled, cut, or closed upon. */
static void ends_of_the_resting(void **state)
{
    struct job slow[2];
    const struct event *ev;
    static struct jobs_answer other;
    struct jobs_spec s = spec_of(10, 5);
    (void)state;
    open_engine(&llama,
                (struct engine_config){.batch_max = 1, .give_way_us = 1, .no_prefix_cache = 1});
    start_resting(&slow[0], spec_of(33, 400));
    start_resting(&slow[1], spec_of(34, 400));
    jobs_run(engine, &s, 1, &other, 1);
    assert_int_equal(other.err, 0);
    cancel_and_check(&slow[0]);
    engine_close(engine);
    while ((ev = engine_event_peek(&slow[1]))->kind != EVENT_DONE)
        ring_pop(&run_of(&slow[1])->ring);
    assert_int_equal(ev->code, ERR_DRAINING);
    jobs_end(&slow[1]);
    team_close(team);
    mbox_close(&box);
}

static struct jobs_spec of_tier(int tier, int max_tokens)
{
    struct jobs_spec s = spec_of(10, max_tokens);

    s.tier = tier;
    return s;
}

static void tiers_go_first(void **state)
{
    static const int tier_of[] = {TIER_FLEX, TIER_DEFAULT, TIER_PRIORITY, TIER_FLEX, TIER_PRIORITY};
    static const int order[] = {2, 4, 1, 0, 3};
    struct job first, j[5];
    int64_t before = 0;
    (void)state;
    open_engine(&llama, (struct engine_config){.batch_max = 1, .give_way_us = INT64_MAX / 2});
    start_resting(&first, of_tier(TIER_PRIORITY, 300)); /* keeps the only slot */
    for (int i = 0; i < 5; i++) {
        struct jobs_spec s = spec_of(20, 3);
        s.tier = tier_of[i];
        start(&j[i], s);
    }
    WAIT_FOR(stats().n_waiting == 5);
    until(&first, EVENT_DONE);
    jobs_end(&first);
    for (int i = 0; i < 5; i++) {
        struct job *k = &j[order[i]];
        int64_t at = end_of(k);
        assert_true(at >= before);
        before = at;
    }
    close_engine();
}

/* Steps counted: below a tier that is never empty a job begins all the same. */
static void nobody_waits_for_ever(void **state)
{
    enum { N = 30, TOKENS = 20, MOST = SCHED_STEPS / TOKENS + 1 };
    struct job first, flex, high[N];
    int64_t at;
    struct jobs_spec s = spec_of(20, TOKENS);
    int n_before = 0;
    (void)state;
    open_engine(&llama, (struct engine_config){
                            .batch_max = 1, .no_speculation = 1, .give_way_us = INT64_MAX / 2});
    start_resting(&first, of_tier(TIER_PRIORITY, 200)); /* keeps the only slot */
    s.tier = TIER_FLEX;
    start(&flex, s);
    s.tier = TIER_PRIORITY;
    for (int i = 0; i < N; i++)
        start(&high[i], s);
    WAIT_FOR(stats().n_waiting == N + 1);
    until(&first, EVENT_DONE);
    jobs_end(&first);
    at = end_of(&flex);
    for (int i = 0; i < N; i++)
        n_before += end_of(&high[i]) < at;
    assert_in_range(n_before, MOST / 2, MOST);
    close_engine();
}

/* One tenant's many choices and jobs, then another's one: it is second, not last. */
static void tenants_take_turns(void **state)
{
    struct job first, many[6], one;
    int64_t at;
    struct jobs_spec s = spec_of(20, 3);
    int n_before = 0;
    (void)state;
    open_engine(&llama, (struct engine_config){.batch_max = 1, .give_way_us = INT64_MAX / 2});
    start_resting(&first, of_tier(TIER_PRIORITY, 300)); /* keeps the only slot */
    s.tenant = 7;
    s.n_choices = 2;
    for (int i = 0; i < 6; i++)
        start(&many[i], s);
    s.tenant = 3;
    s.n_choices = 1;
    start(&one, s);
    WAIT_FOR(stats().n_waiting == 7);
    until(&first, EVENT_DONE);
    jobs_end(&first);
    at = end_of(&one);
    for (int i = 0; i < 6; i++)
        n_before += end_of(&many[i]) < at;
    assert_true(n_before <= 1);
    close_engine();
}

/* One tenant has every slot and nobody reads: another that has none gets one of them, a second only
 * in its turn, and a higher tier before both; what was put aside goes on where it was. */
static void give_up_slots(enum engine_class cls)
{
    static struct jobs_answer want[3];
    struct job many[3], one, two, high;
    struct jobs_spec s[3], other = spec_of(40, 200);
    open_engine(&llama,
                (struct engine_config){.cls = cls, .batch_max = 3, .give_way_us = INT64_MAX / 2});
    for (int i = 0; i < 3; i++) {
        s[i] = spec_of(30 + 20 * i, 0);
        s[i].sampling = jobs_seeded(200, (uint64_t)i);
        s[i].sampling.ignore_eos = 1;
        jobs_run(engine, &s[i], 1, &want[i], 1);
    }
    for (int i = 0; i < 3; i++)
        start_resting(&many[i], s[i]);
    other.tenant = 3;
    start_resting(&one, other);
    start(&two, other);
    other.tier = TIER_PRIORITY;
    other.tenant = 0;
    start_resting(&high, other);
    WAIT_FOR(stats().n_waiting == 1); /* two */
    assert_int_equal(stats().preemptions, 2);
    until(&high, EVENT_DONE);
    until(&one, EVENT_DONE);
    until(&two, EVENT_DONE);
    for (int i = 0; i < 3; i++)
        read_on(&many[i], &want[i]);
    jobs_end(&high);
    jobs_end(&one);
    jobs_end(&two);
    close_engine();
}

static void slots_are_given_up(void **state)
{
    (void)state;
    give_up_slots(ENGINE_Q8);
    give_up_slots(ENGINE_BF16);
}

/* Prompts are echoed one at a time, the oldest first, wherever their slots are. */
static void echoes_in_order(void **state)
{
    struct job j[4];
    struct event ev;
    int64_t before = 0;
    struct jobs_spec s = spec_of(100, 0);
    (void)state;
    open_engine(&llama, (struct engine_config){.batch_max = 2});
    s.echo = 1;
    for (int i = 0; i < 4; i++)
        start(&j[i], s);
    for (int i = 0; i < 4; i++) {
        while (jobs_next(engine, &j[i], &ev, NULL) != EVENT_DONE)
            ;
        assert_int_equal(ev.code, 0);
        assert_true(run_of(&j[i])->first_us > before);
        before = run_of(&j[i])->first_us;
        jobs_end(&j[i]);
    }
    close_engine();
}

/* Closing ends every job, in whatever state, and each reader finds its DONE. */
static void drains_on_close(void **state)
{
    static struct job j[20];
    (void)state;
    open_engine(&llama, (struct engine_config){.batch_max = 4, .chunk = 8});
    for (int i = 0; i < 20; i++)
        start(&j[i], spec_of(1 + 20 * i, 100));
    WAIT_FOR(stats().n_steps > 10);
    engine_close(engine);
    for (int i = 0; i < 20; i++) {
        const struct event *ev;
        int done = 0;
        while ((ev = engine_event_peek(&j[i]))) {
            assert_false(done);
            if (ev->kind == EVENT_DONE) {
                done = 1;
                assert_true(ev->code == 0 || ev->code == ERR_DRAINING);
            }
            ring_pop(&run_of(&j[i])->ring);
        }
        assert_true(done);
        jobs_end(&j[i]);
    }
    team_close(team);
    mbox_close(&box);
}

/* Every event of one job against the order that the door promises. */
static void check_events(struct jobs_spec s, int prefill_events)
{
    struct job j;
    struct event ev;
    int started = 0, told = 0, done_max = 0, n_text[JOB_CHOICES_MAX] = {0},
        finished[JOB_CHOICES_MAX] = {0}, n_finished = 0, n_prefill = 0, total = 0;
    int n = s.n_choices ? s.n_choices : 1;

    start(&j, s);
    for (;;) {
        int k = jobs_next(engine, &j, &ev, NULL);
        assert_true(k >= 0);
        assert_true(k == EVENT_STARTED || started);
        if (k == EVENT_STARTED) {
            assert_false(started);
            started = 1;
        } else if (k == EVENT_PREFILL) {
            assert_int_equal(n_text[0], 0);
            assert_true(ev.n_done > done_max && ev.n_done < s.n_prompt);
            done_max = ev.n_done;
            n_prefill++;
        } else if (k == EVENT_PROMPT) {
            assert_int_equal(ev.token, s.prompt[told++]);
            assert_int_equal(n_text[0], 0);
        } else if (k == EVENT_TEXT) {
            assert_true(ev.choice < n && !finished[ev.choice]);
            assert_int_equal(ev.n_generated, ++n_text[ev.choice]);
            total++;
        } else if (k == EVENT_FINISH) {
            assert_true(ev.choice < n && !finished[ev.choice]++);
            assert_int_equal(ev.n_generated, n_text[ev.choice]);
            assert_int_equal(ev.token, -1);
            n_finished++;
        } else {
            break;
        }
    }
    assert_int_equal(ev.kind, EVENT_DONE);
    assert_int_equal(ev.code, 0);
    assert_int_equal(n_finished, n);
    assert_int_equal(told, s.echo ? s.n_prompt : 0);
    assert_int_equal(ev.usage->completion_tokens, total);
    assert_int_equal(ev.n_done, s.n_prompt);
    assert_true(ev.times->queue_us >= 0 && ev.times->prompt_us >= 0 &&
                ev.times->completion_us >= 0);
    assert_true(n_prefill >= prefill_events);
    assert_null(engine_event_peek(&j));
    jobs_end(&j);
}

static void order_of_events(void **state)
{
    struct jobs_spec s = spec_of(300, 20);
    (void)state;
    open_engine(&llama, (struct engine_config){.chunk = 32, .batch_max = 4});
    check_events(s, 8);
    s.echo = 1;
    check_events(s, 8);
    s.n_choices = 7; /* more than slots */
    check_events(s, 0);
    s.sampling.max_tokens = 0;
    check_events(s, 0);
    s.echo = 0;
    check_events(s, 0);
    close_engine();
}

/* What was found in the cache counts once, also for a sequence that is thrown out before its first
 * token. */
static void preempted_in_its_prompt(void **state)
{
    enum { N = 8, SHARED = 64, LEN = 190 };
    static int32_t own[N][LEN];
    static struct jobs_answer got[N], first;
    struct jobs_spec s[N], warm = spec_of(SHARED + 1, 1);
    uint64_t n_cached = 0;
    (void)state;
    open_engine(&llama, (struct engine_config){.chunk = 2, .batch_max = N, .kv_bytes_max = 200000});
    jobs_run(engine, &warm, 1, &first, 1);
    for (int i = 0; i < N; i++) {
        for (int k = 0; k < LEN; k++)
            own[i][k] = k < SHARED ? prompt[k] : (i * 31 + k) % 256;
        s[i] = spec_of(LEN, 150);
        s[i].prompt = own[i];
    }
    jobs_run(engine, s, N, got, 1);
    assert_true(stats().preemptions > 0); /* or this proves nothing */
    for (int i = 0; i < N; i++) {
        assert_int_equal(got[i].n_cached, SHARED);
        n_cached += (uint64_t)got[i].n_cached;
    }
    assert_int_equal(stats().cached_tokens, n_cached);
    close_engine();
}

/* Little memory: sequences are thrown out and come back; every prompt token is still told once. */
static void preempted_echo(void **state)
{
    static struct jobs_spec s[10];
    static struct jobs_answer got[10], want[10];
    (void)state;
    for (int pass = 0; pass < 2; pass++) {
        open_engine(&llama, (struct engine_config){
                                .chunk = 32, .batch_max = 10, .kv_bytes_max = pass ? 400000 : 0});
        for (int i = 0; i < 10; i++) {
            s[i] = spec_of(150 + 7 * i, 150);
            s[i].echo = i % 2;
            s[i].tier = i % 3;
        }
        jobs_run(engine, s, 10, pass ? got : want, 1);
        if (pass)
            assert_true(stats().preemptions > 0); /* or this proves nothing */
        WAIT_FOR(stats().pages_used == 0);
        close_engine();
    }
    for (int i = 0; i < 10; i++) {
        assert_int_equal(got[i].err, 0);
        assert_int_equal(got[i].n_tokens, 150);
        assert_int_equal(got[i].n_prompt_events, i % 2 ? s[i].n_prompt : 0);
        assert_memory_equal(got[i].token, want[i].token, sizeof got[i].token);
        if (i % 2)
            assert_memory_equal(got[i].prompt_logprob + 1, want[i].prompt_logprob + 1,
                                sizeof(float) * (size_t)(s[i].n_prompt - 1));
    }
}

static void many_jobs_few_slots(const struct tiny *t, size_t kv_bytes)
{
    enum { N = 200 };
    struct jobs_spec *s = calloc(N, sizeof *s);
    struct jobs_answer *a = calloc(N, sizeof *a);

    open_engine(t, (struct engine_config){.batch_max = 8, .chunk = 64, .kv_bytes_max = kv_bytes});
    for (int i = 0; i < N; i++) {
        s[i] = spec_of(1 + i * 31 % 300, 1 + i % 17);
        s[i].tier = i % 3;
        s[i].salt = (uint64_t)(i % 5);
        s[i].cancel_after = i % 10 == 3 ? 2 : 0;
        s[i].n_choices = 1;
    }
    jobs_run(engine, s, N, a, 1);
    for (int i = 0; i < N; i++) {
        int want = s[i].sampling.max_tokens;
        if (s[i].cancel_after)
            assert_true(a[i].err == 0 || a[i].err == ERR_CANCELLED);
        else
            assert_true(a[i].err == 0 && a[i].n_tokens == want && a[i].finish == FINISH_LENGTH);
    }
    WAIT_FOR(stats().pages_used == 0 && stats().n_running == 0 && stats().n_waiting == 0);
    close_engine();
    free(s);
    free(a);
}

static void two_hundred_jobs(void **state)
{
    (void)state;
    many_jobs_few_slots(&llama, 0);
    many_jobs_few_slots(&llama, 400000);
    many_jobs_few_slots(&gemma, 400000);
}

/* With hardly more memory than one sequence takes, one sequence fills the context. */
static void whole_context_in_little_memory(void **state)
{
    const struct tiny *models[] = {&llama, &gemma};
    (void)state;
    for (int m = 0; m < 2; m++) {
        for (int chunk = 1; chunk <= 300; chunk += 299) {
            static struct jobs_answer a[3];
            struct jobs_spec s[3] = {spec_of(1, -1), spec_of(411, -1), spec_of(500, 12)};
            size_t bytes;
            open_engine(models[m], (struct engine_config){.chunk = chunk, .batch_max = 3});
            bytes = (size_t)engine_info(engine)->kv_token_bytes * CONTEXT * 5 / 4;
            close_engine();
            open_engine(models[m], (struct engine_config){
                                       .chunk = chunk, .batch_max = 3, .kv_bytes_max = bytes});
            for (int i = 0; i < 3; i++)
                s[i].n_prompt = s[i].n_prompt < engine_info(engine)->context
                                    ? s[i].n_prompt
                                    : engine_info(engine)->context - 12;
            jobs_run(engine, s, 3, a, 1);
            for (int i = 0; i < 3; i++) {
                assert_int_equal(a[i].err, 0);
                assert_int_equal(a[i].finish, FINISH_LENGTH);
                assert_int_equal(a[i].n_tokens,
                                 i < 2 ? engine_info(engine)->context - s[i].n_prompt : 12);
            }
            WAIT_FOR(stats().pages_used == 0);
            close_engine();
        }
    }
}

/* Weights are read once a step, whatever the batch. */
static void bytes_of_a_step(void **state)
{
    static struct jobs_answer a[16];
    struct jobs_spec s[16];
    uint64_t per_step[2];
    (void)state;
    open_engine(&llama, (struct engine_config){.batch_max = 16});
    for (int i = 0; i < 16; i++)
        s[i] = spec_of(1, 40); /* one token: every step has logits */
    for (int i = 0; i < 2; i++) {
        struct load before = stats(), after;
        jobs_run(engine, s, i ? 16 : 1, a, 1);
        WAIT_FOR(stats().n_running == 0);
        after = stats();
        per_step[i] = (after.bytes_read - before.bytes_read) / (after.n_steps - before.n_steps);
        assert_int_equal((after.bytes_read - before.bytes_read) % (after.n_steps - before.n_steps),
                         0);
        if (i) /* they did share steps */
            assert_true(after.n_steps - before.n_steps < 16 * 40 / 2);
    }
    assert_int_equal(per_step[0], per_step[1]);
    assert_int_equal(per_step[0], engine_info(engine)->step_bytes_dense);
    close_engine();
}

/* A second turn computes what the first did not: the page that was not full, and its own words. */
static void second_turn_is_cached(void **state)
{
    static struct jobs_answer a;
    int32_t turn[CONTEXT];
    uint32_t phases[CONTEXT / 32] = {0};
    (void)state;
    open_engine(&llama, (struct engine_config){0});
    for (int n = 1; n < 300; n += 23) {
        struct jobs_spec s = spec_of(n, 40);
        int have;
        s.salt = (uint64_t)n; /* each n on its own */
        jobs_run(engine, &s, 1, &a, 1);
        assert_int_equal(a.n_cached, 0);
        memcpy(turn, prompt, sizeof *turn * (size_t)n);
        memcpy(turn + n, a.token, sizeof *turn * 40);
        have = n + 39; /* the last token was never fed */
        for (int i = n + 40; i < n + 60; i++)
            turn[i] = i % 200;
        memset(phases, 0, sizeof phases);
        for (int i = n; i < n + 40; i++)
            phase_set(phases, i);
        s.prompt = turn;
        s.answer = phases;
        s.n_prompt = n + 60;
        s.sampling.max_tokens = 1;
        jobs_run(engine, &s, 1, &a, 1);
        assert_int_equal(a.n_cached, have / 32 * 32);
        s.salt = 1000 + (uint64_t)n; /* another tenant finds nothing */
        jobs_run(engine, &s, 1, &a, 1);
        assert_int_equal(a.n_cached, 0);
    }
    close_engine();
}

/* A draft that stands beyond the end of the answer: what is told counts what was answered. The
 * first draft of an engine comes with its second decode step and does not depend on what steps
 * cost. */
static void draft_beyond_the_end(void **state)
{
    struct jobs_spec s = spec_of(0, 12);
    static struct jobs_answer want;
    struct job j = {0};
    struct event done;

    (void)state;
    open_engine(&llama, (struct engine_config){.no_speculation = 1});
    for (s.n_prompt = 20;; s.n_prompt++) { /* one whose fourth token is new */
        assert_true(s.n_prompt < 100);
        jobs_run(engine, &s, 1, &want, 1);
        assert_int_equal(want.n_tokens, 12);
        if (want.token[3] != want.token[0] && want.token[3] != want.token[1] &&
            want.token[3] != want.token[2])
            break;
    }
    close_engine();
    open_engine(&llama, (struct engine_config){0});
    s.prediction = want.token;
    s.n_prediction = want.n_tokens;
    s.sampling.stop_token = &want.token[3];
    s.sampling.n_stop_token = 1;
    start(&j, s);
    done = until(&j, EVENT_DONE);
    assert_int_equal(done.code, 0);
    assert_int_equal(done.usage->completion_tokens - done.usage->rejected_prediction_tokens, 4);
    assert_true(done.n_drafted > 2);
    assert_int_equal(done.n_draft_right, 2);
    assert_int_equal(done.usage->accepted_prediction_tokens, 2);
    assert_int_equal(done.usage->accepted_prediction_tokens +
                         done.usage->rejected_prediction_tokens,
                     done.n_drafted);
    jobs_end(&j);
    close_engine();
}

/* Its site leaves it some of its places: no more begin together, what runs goes on, and with none
 * what waits is sent back. */
static void places(void **state)
{
    struct job run[2], wait[2];

    (void)state;
    /* what nobody reads pauses, and keeps its place */
    open_engine(&llama, (struct engine_config){.batch_max = 4,
                                               .give_way_us = INT64_C(3600000000),
                                               .stall_us_max = INT64_C(3600000000)});
    engine_set_places(engine, 2);
    for (int i = 0; i < 2; i++)
        start(&run[i], spec_of(8, 400));
    for (int i = 0; i < 2; i++)
        until(&run[i], EVENT_TEXT);
    for (int i = 0; i < 2; i++)
        start(&wait[i], spec_of(8, 4));
    WAIT_FOR(stats().n_waiting == 2); /* though there are slots */
    engine_set_places(engine, 0);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(until(&wait[i], EVENT_DONE).code, ERR_SITE_CLOSED);
        jobs_end(&wait[i]);
    }
    engine_set_places(engine, 4);
    start(&wait[0], spec_of(8, 4)); /* beside the two */
    end_of(&wait[0]);
    for (int i = 0; i < 2; i++)
        end_of(&run[i]);
    close_engine();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(places),
        cmocka_unit_test(cancel_prefilling),
        cmocka_unit_test(prompt_is_counted_once),
        cmocka_unit_test(cancel_decoding),
        cmocka_unit_test(cancel_paused),
        cmocka_unit_test(cancel_queued),
        cmocka_unit_test(cancel_of_choices_and_echo),
        cmocka_unit_test(slow_reader),
        cmocka_unit_test(pause_and_go_on),
        cmocka_unit_test(resting_gives_way),
        cmocka_unit_test(resting_gives_pages),
        cmocka_unit_test(ends_of_the_resting),
        cmocka_unit_test(tiers_go_first),
        cmocka_unit_test(nobody_waits_for_ever),
        cmocka_unit_test(tenants_take_turns),
        cmocka_unit_test(slots_are_given_up),
        cmocka_unit_test(echoes_in_order),
        cmocka_unit_test(drains_on_close),
        cmocka_unit_test(order_of_events),
        cmocka_unit_test(preempted_in_its_prompt),
        cmocka_unit_test(preempted_echo),
        cmocka_unit_test(two_hundred_jobs),
        cmocka_unit_test(whole_context_in_little_memory),
        cmocka_unit_test(bytes_of_a_step),
        cmocka_unit_test(second_turn_is_cached),
        cmocka_unit_test(draft_beyond_the_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
