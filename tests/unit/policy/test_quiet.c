/* What a quiet tenant feels of a loud one, in the time that tokens take: an engine whose steps last
 * as long as they have tokens, and a little more. Counted, so no machine's speed is in it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/rand.h"
#include "policy/batch.h"
#include "policy/sched.h"

enum { TIER = 2, LOUD = 1, QUIET = 2, SLOTS = 16, JOBS = 40, QUEUE = 24, CHUNK = 512, N = 400 };
enum { STEP_COST = 6 }; /* of a step beside its tokens: reading weights */

struct seq {
    struct sched_seq slot;          /* first */
    int32_t n_done, n_told, n_paid; /* paid: of its prompt */
};

struct job {
    struct sched_job sched; /* first */
    struct seq aside;
    int32_t n_prompt, n_answer;
    int is_live;
    int64_t came; /* in time */
};

struct engine {
    struct sched s;
    struct seq seq[SLOTS];
    struct sched_seq *slot[SLOTS];
    struct job job[JOBS];
    int n_slots;
    int64_t now;
    uint64_t step, n_random;
    int64_t ttft[N];
    int n_ttft;
    int64_t n_loud; /* tokens */
};

static int32_t below(struct engine *e, int32_t n)
{
    uint32_t r[4];
    rand_philox(7, e->n_random++, 0, r);
    return (int32_t)(r[0] % (uint32_t)n);
}

static void arrive(struct engine *e, int32_t tenant, int32_t n_prompt, int32_t n_answer)
{
    struct job *j = e->job;

    while (j->is_live)
        j++;
    *j = (struct job){.sched = {.tier = TIER, .tenant = tenant, .n_seqs = 1},
                      .n_prompt = n_prompt,
                      .n_answer = n_answer,
                      .is_live = 1,
                      .came = e->now};
    sched_enter(&e->s, &j->sched, e->step);
}

static struct seq *seq_of(struct sched_seq *q)
{
    return (struct seq *)(void *)q;
}

static struct job *job_of(struct sched_job *j)
{
    return (struct job *)(void *)j;
}

static void begin_all(struct engine *e)
{
    for (;;) {
        struct sched_turn t;
        struct seq *q, *aside;
        sched_next(&e->s, e->now, &t);
        q = t.job ? seq_of(t.slot) : t.seq ? seq_of(t.seq) : NULL;
        if (!q)
            return;
        if (t.job) {
            if (t.slot->state != SEQ_FREE) {
                struct seq *a = &job_of(t.slot->job)->aside;
                if (t.slot->state != SEQ_WAIT)
                    sched_preempt(t.slot);
                a->n_told = q->n_told;
                a->n_paid = q->n_paid;
                sched_put_aside(t.slot, &a->slot);
            }
            aside = seq_of(sched_seat(t.job, t.slot));
            q->n_told = aside ? aside->n_told : 0;
            q->n_paid = aside ? aside->n_paid : 0;
        }
        q->n_done = 0;
        sched_begin(&e->s, &q->slot);
    }
}

static void end(struct engine *e, struct seq *q)
{
    struct job *j = job_of(q->slot.job);

    sched_free(&q->slot);
    sched_leave(&e->s, &j->sched);
    j->is_live = 0;
}

static void compute(struct engine *e, struct seq *q)
{
    struct job *j = job_of(q->slot.job);
    int32_t n;

    e->n_loud += j->sched.tenant == LOUD ? q->slot.take : 0;
    q->n_done += q->slot.take;
    n = q->n_done < j->n_prompt ? q->n_done : j->n_prompt;
    if (n > q->n_paid)
        sched_charge(&j->sched, n - q->n_paid);
    q->n_paid = n > q->n_paid ? n : q->n_paid;
    j->sched.served_step = e->step;
    if (q->n_done < j->n_prompt + q->n_told)
        return;
    q->slot.state = SEQ_DECODE;
    sched_charge(&j->sched, 1);
    if (!q->n_told++ && j->sched.tenant == QUIET && e->n_ttft < N)
        e->ttft[e->n_ttft++] = e->now - j->came;
    if (q->n_told >= j->n_answer)
        end(e, q);
}

static void step(struct engine *e)
{
    struct sched_seq *plan[SLOTS];
    struct batch_limits l;
    int64_t sum = 0;
    int n = 0;

    sched_note_owed(&e->s, e->step);
    begin_all(e);
    for (int i = 0; i < e->n_slots; i++) {
        struct seq *q = &e->seq[i];
        q->slot.take = 0;
        if (q->slot.state != SEQ_PREFILL && q->slot.state != SEQ_DECODE)
            continue;
        q->slot.n_left = job_of(q->slot.job)->n_prompt + q->n_told - q->n_done;
        q->slot.most = CHUNK;
        plan[n++] = &q->slot;
    }
    batch_limits_now(&e->s, CHUNK, e->n_slots, &l);
    batch_plan(&l, plan, n);
    for (int i = 0; i < n; i++)
        sum += plan[i]->take;
    assert_true(sum <= l.tokens);
    e->now += sum + STEP_COST;
    e->step++;
    for (int i = 0; i < e->n_slots; i++) {
        if (e->slot[i]->state != SEQ_FREE && e->slot[i]->take)
            compute(e, &e->seq[i]);
    }
}

static int has_job(const struct engine *e, int32_t tenant)
{
    int n = 0;

    for (const struct sched_job *j = e->s.first; j; j = j->next)
        n += j->tenant == tenant;
    return n;
}

static int by_size(const void *a, const void *b)
{
    const int64_t *x = a, *y = b;

    return (*x > *y) - (*x < *y);
}

/* The quiet one asks, reads its answer, pauses, and asks again; beside it the loud one always has
 * more waiting than has room. Its 99th of 100 times to the first token; *ret_loud: tokens of the
 * loud one in 100 of time. */
static int64_t p99(int n_slots, int32_t prompt, int32_t answer, int32_t quiet_prompt, int is_loud,
                   int64_t *ret_loud)
{
    struct engine *e = calloc(1, sizeof *e);
    int64_t due = 0, at;

    assert_non_null(e);
    e->n_slots = n_slots;
    for (int i = 0; i < n_slots; i++)
        e->slot[i] = &e->seq[i].slot;
    e->s = (struct sched){.slot = e->slot, .n_slots = n_slots, .give_way_us = INT64_MAX / 2};
    arrive(e, LOUD, prompt, answer); /* it was seen before */
    while (e->n_ttft < N) {
        while (is_loud && has_job(e, LOUD) < n_slots + QUEUE - 2)
            arrive(e, LOUD, prompt, answer);
        if (!has_job(e, QUIET) && due < 0)
            due = e->now + below(e, 20 * quiet_prompt);
        if (due >= 0 && due <= e->now) { /* in the middle of the step that has ended */
            int64_t now = e->now;
            e->now = due;
            arrive(e, QUIET, quiet_prompt, 8);
            e->now = now;
            due = -1;
        }
        if (!e->s.first)
            e->now = due;
        else
            step(e);
    }
    if (ret_loud)
        *ret_loud = 100 * e->n_loud / e->now;
    qsort(e->ttft, N, sizeof *e->ttft, by_size);
    at = e->ttft[N * 99 / 100];
    free(e);
    return at;
}

/* In percent of what it is alone, and what the loud one has of the engine meanwhile. The time to
 * the first token of a prompt that is as short as a step's share is the step that runs, and its
 * own. */
static void hardly_felt(void **state)
{
    static const struct {
        int n_slots;
        int32_t prompt, answer, quiet;
        int64_t most, loud;
    } rows[] = {
        {4, 128, 64, 128, 150, 58}, {16, 128, 64, 128, 150, 78}, {16, 128, 64, 256, 150, 78},
        {8, 16, 200, 128, 150, 50}, {8, 2000, 16, 128, 155, 78}, {4, 64, 16, 64, 165, 66},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        int64_t loud, alone, beside;
        alone = p99(rows[i].n_slots, rows[i].prompt, rows[i].answer, rows[i].quiet, 0, NULL);
        beside = p99(rows[i].n_slots, rows[i].prompt, rows[i].answer, rows[i].quiet, 1, &loud);
        assert_in_range(beside * 100, alone * 100, alone * rows[i].most);
        assert_true(loud >= rows[i].loud);
    }
}

/* What it used while nobody else was there it does not owe to one who comes then. */
static void alone_is_no_debt(void **state)
{
    struct engine *e = calloc(1, sizeof *e);
    int64_t alone;

    (void)state;
    assert_non_null(e);
    e->n_slots = 4;
    for (int i = 0; i < 4; i++)
        e->slot[i] = &e->seq[i].slot;
    e->s = (struct sched){.slot = e->slot, .n_slots = 4, .give_way_us = INT64_MAX / 2};
    arrive(e, LOUD, 128, 64);
    while (e->s.first)
        step(e);
    for (int i = 0; i < 100; i++) {
        arrive(e, QUIET, 128, 8);
        while (e->s.first)
            step(e);
    }
    alone = e->ttft[e->n_ttft - 1];
    for (int i = 0; i < 20; i++)
        arrive(e, LOUD, 128, 64);
    for (int i = 0; i < 20; i++)
        step(e);
    arrive(e, QUIET, 128, 8);
    for (int n = e->n_ttft; e->n_ttft == n;)
        step(e);
    assert_true(e->ttft[e->n_ttft - 1] < 2 * alone);
    free(e);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(alone_is_no_debt),
        cmocka_unit_test(hardly_felt),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
