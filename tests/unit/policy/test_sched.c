/* The scheduler at work in a small engine: slots, pages, steps that cost one tick, readers that
 * pause. Random arrivals by the thousand, and what must hold whatever comes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/rand.h"
#include "policy/batch.h"
#include "policy/sched.h"

enum { BATCH, FLEX, NORMAL, HIGH, CONTRACT }; /* tiers, by rank */
enum { SLOTS_MAX = 12, JOBS_MAX = 400, SEQS = 4, GIVE_WAY_US = 30 };

/* ---- a small engine -------------------------------------------------------------------------- */

struct seq {
    struct sched_seq slot;
    int32_t n_prompt, n_answer; /* tokens it shall have */
    int32_t n_done;             /* computed, of n_prompt + n_told */
    int32_t n_told;
    int32_t n_paid; /* of its prompt */
    int32_t pages;
};

struct job {
    struct sched_job sched;
    struct seq aside[SEQS]; /* rows of those that gave their slots away */
    int32_t n_prompt, n_answer;
    int n_ended, is_live;
    int64_t reads_on_us;  /* when its reader comes back */
    uint64_t came, began; /* steps */
};

struct sim {
    struct sched s;
    struct seq seq[SLOTS_MAX];
    struct sched_seq *slot[SLOTS_MAX];
    struct job job[JOBS_MAX];
    int32_t pages_free, n_pages;
    uint64_t step, n_random, seed;
    int64_t now_us;
    int n_live, n_preempted, n_put_aside, n_begun[8]; /* n_begun: jobs of each tenant */
    int64_t n_used[8];                                /* tokens, likewise */
};

static struct sim *sim;

static struct seq *seq_of(struct sched_seq *q)
{
    return (struct seq *)(void *)q; /* its first member */
}

static struct job *job_of(struct sched_job *j)
{
    return (struct job *)(void *)j;
}

static int32_t below(int32_t n)
{
    uint32_t r[4];
    rand_philox(sim->seed, sim->n_random++, 0, r);
    return (int32_t)(r[0] % (uint32_t)n);
}

static void sim_open(int n_slots, int32_t n_pages, uint64_t seed)
{
    sim = calloc(1, sizeof *sim);
    assert_non_null(sim);
    for (int i = 0; i < n_slots; i++)
        sim->slot[i] = &sim->seq[i].slot;
    sim->s = (struct sched){.slot = sim->slot, .n_slots = n_slots, .give_way_us = GIVE_WAY_US};
    sim->pages_free = sim->n_pages = n_pages;
    sim->seed = seed;
}

static void sim_close(void)
{
    assert_int_equal(sim->pages_free, sim->n_pages);
    assert_null(sim->s.first);
    assert_null(sim->s.last);
    free(sim);
    sim = NULL;
}

static struct job *arrive(int tier, int32_t tenant, int n_seqs, int32_t n_prompt, int32_t n_answer)
{
    struct job *j = sim->job;

    while (j < sim->job + JOBS_MAX && j->is_live)
        j++;
    if (j == sim->job + JOBS_MAX)
        return NULL;
    *j = (struct job){.sched = {.tier = tier, .tenant = tenant, .n_seqs = n_seqs},
                      .n_prompt = n_prompt,
                      .n_answer = n_answer,
                      .is_live = 1,
                      .came = sim->step};
    sched_enter(&sim->s, &j->sched, sim->step);
    sim->n_live++;
    return j;
}

static int32_t pages_of(int32_t tokens)
{
    return (tokens + 31) / 32;
}

static void preempt(struct sched_seq *v)
{
    assert_true(v->state == SEQ_PREFILL || v->state == SEQ_DECODE);
    sim->pages_free += seq_of(v)->pages;
    seq_of(v)->pages = seq_of(v)->n_done = 0;
    sched_preempt(v);
    sim->n_preempted++;
}

static void put_aside(struct sched_seq *q)
{
    struct job *j = job_of(q->job);
    int i = 0;

    if (q->state != SEQ_WAIT)
        preempt(q);
    while (j->aside[i].slot.job)
        i++;
    assert_true(i < SEQS);
    j->aside[i] = *seq_of(q);
    sched_put_aside(q, &j->aside[i].slot);
    assert_int_equal(q->state, SEQ_FREE);
    sim->n_put_aside++;
}

static struct sched_seq *seat(struct sched_job *r, struct sched_seq *slot)
{
    struct job *j = job_of(r);
    struct sched_seq *aside = sched_seat(r, slot);

    if (aside) {
        struct sched_seq row = *slot;
        *seq_of(slot) = *seq_of(aside);
        *slot = row;
        memset(seq_of(aside), 0, sizeof(struct seq));
    } else {
        struct seq *q = seq_of(slot);
        q->n_prompt = j->n_prompt;
        q->n_answer = j->n_answer;
        q->n_done = q->n_told = q->n_paid = q->pages = 0;
    }
    return slot;
}

/* ---- what must hold -------------------------------------------------------------------------- */

static int next_of(struct sched_job *j, struct rota_one *ret)
{
    if (j->paused_us)
        return 0;
    *ret = (struct rota_one){.tier = j->is_owed ? ROTA_OWED : j->tier,
                             .tenant = j->tenant,
                             .order = j->order * SCHED_SEQS_MAX + (uint64_t)j->n_begun,
                             .round = j->is_owed ? 0 : j->share->used[j->tier] / SCHED_QUANTUM};
    if (j->aside)
        *ret = sched_one(j->aside);
    return j->aside || (j->n_begun < j->n_seqs && (!j->n_begun || j->is_shared));
}

static int n_of(int32_t tenant, int tier_least)
{
    int n = 0;

    for (int i = 0; i < sim->s.n_slots; i++) {
        const struct sched_seq *q = sim->slot[i];
        n += q->state != SEQ_FREE && q->job->tenant == tenant && sched_one(q).tier >= tier_least;
    }
    return n;
}

/* Has one of the tiers that fill, below that one, a slot? The tier may take it. */
static int fills_for(int tier)
{
    int n = 0;

    for (int i = 0; i < sim->s.n_slots; i++) {
        int low = sched_one(sim->slot[i]).tier;
        n += sim->slot[i]->state != SEQ_FREE && low < ROTA_FIRM && low < tier;
    }
    return n && tier < ROTA_OWED;
}

/* Whoever is chosen goes before all others that could be; whoever gives way has to. */
static void check_turn(const struct sched_turn *t)
{
    struct rota_one one, mine = {0};
    int n_free = n_of(-1, 0), poor;

    if (sim->s.n_others_max) /* then slots lie idle that are kept */
        return;
    for (int i = 0; i < sim->s.n_slots; i++)
        n_free += sim->slot[i]->state == SEQ_FREE;
    poor = t->job && !n_free &&
           !(t->slot->job->paused_us && sim->now_us - t->slot->job->paused_us >= GIVE_WAY_US);
    if (t->seq)
        assert_true(t->seq->state == SEQ_WAIT && !t->seq->job->paused_us);
    if (!t->job && !t->seq && n_free) { /* nothing lies idle */
        for (struct sched_job *j = sim->s.first; j; j = j->next)
            assert_false(next_of(j, &one));
    }
    if (!t->job)
        return;
    assert_true(next_of(t->job, &mine));
    assert_non_null(t->slot);
    for (struct sched_job *j = sim->s.first; j; j = j->next) {
        if (j != t->job && next_of(j, &one) &&
            (!poor || !n_of(one.tenant, one.tier) || fills_for(one.tier))) {
            assert_true(one.tier <= mine.tier); /* a higher tier first */
            assert_true(rota_before(&sim->s.rota, &mine, &one));
        }
    }
    if (t->slot->state == SEQ_FREE)
        return;
    assert_int_equal(n_free, 0);
    one = sched_one(t->slot);
    if (!poor || (fills_for(mine.tier) && one.tier < ROTA_FIRM && one.tier < mine.tier) ||
        (mine.tier == CONTRACT && one.tier < CONTRACT))
        return;
    assert_int_equal(n_of(mine.tenant, mine.tier), 0); /* only for one that has nothing ... */
    assert_true(one.tier <= mine.tier);
    if (one.tier == mine.tier)
        assert_true(n_of(one.tenant, one.tier) > 1); /* ... from one that keeps something */
}

/* Each sequence is in one place: as many as have begun and not ended. */
static void check_places(void)
{
    int n_pages = 0;

    for (struct sched_job *r = sim->s.first; r; r = r->next) {
        int n = 0;
        for (int i = 0; i < sim->s.n_slots; i++)
            n += sim->slot[i]->state != SEQ_FREE && sim->slot[i]->job == r;
        for (struct sched_seq *a = r->aside; a; a = a->next) {
            assert_true(a->job == r);
            n++;
        }
        assert_int_equal(n + job_of(r)->n_ended, r->n_begun);
    }
    for (int i = 0; i < SLOTS_MAX; i++)
        n_pages += sim->seq[i].pages;
    assert_int_equal(n_pages + sim->pages_free, sim->n_pages);
}

static void charge(struct sched_job *j, int64_t n)
{
    sched_charge(j, n);
    sim->n_used[j->tenant % 8] += n;
}

/* ---- a step ---------------------------------------------------------------------------------- */

static void begin_all(void)
{
    for (;;) {
        struct sched_turn t;
        struct sched_seq *q, *v;
        sched_next(&sim->s, sim->now_us, &t);
        check_turn(&t);
        if (t.job && t.slot->state != SEQ_FREE)
            put_aside(t.slot);
        q = t.job ? seat(t.job, t.slot) : t.seq;
        if (!q)
            return;
        if (pages_of(seq_of(q)->n_prompt + seq_of(q)->n_told) + 1 > sim->pages_free) {
            int holders = 0;
            for (int i = 0; i < sim->s.n_slots; i++)
                holders += sim->seq[i].pages > 0;
            if (holders) {
                v = sched_yielder(&sim->s, q, sim->now_us);
                if (!v)
                    return;
                preempt(v);
                continue;
            }
        }
        sched_begin(&sim->s, q);
        if (!job_of(q->job)->began) {
            job_of(q->job)->began = sim->step + 1;
            sim->n_begun[q->job->tenant % 8]++;
        }
    }
}

static int grow(struct sched_seq *q)
{
    int32_t want = pages_of(seq_of(q)->n_done + q->take);

    while (want > seq_of(q)->pages && want - seq_of(q)->pages > sim->pages_free) {
        struct sched_seq *v = sched_victim(&sim->s);
        struct rota_one a, b = sched_one(v);
        int resting = v->job->rests;
        for (int i = 0; i < sim->s.n_slots && !resting; i++) { /* nobody lower is spared */
            if (sim->seq[i].pages > 0) {
                a = sched_one(sim->slot[i]);
                assert_true(a.tier >= b.tier && !sim->slot[i]->job->rests);
            }
        }
        preempt(v);
        if (v == q)
            return 0;
    }
    if (want > seq_of(q)->pages) {
        sim->pages_free -= want - seq_of(q)->pages;
        seq_of(q)->pages = want;
    }
    return 1;
}

static void end_seq(struct sched_seq *q)
{
    struct job *j = job_of(q->job);

    sim->pages_free += seq_of(q)->pages;
    seq_of(q)->pages = 0;
    sched_free(q);
    if (++j->n_ended == j->sched.n_seqs) {
        sched_leave(&sim->s, &j->sched);
        j->is_live = 0;
        sim->n_live--;
    }
}

static void compute(struct sched_seq *r)
{
    struct seq *q = seq_of(r);
    struct job *j = job_of(r->job);
    int32_t n;

    q->n_done += r->take;
    n = q->n_done < q->n_prompt ? q->n_done : q->n_prompt;
    if (n > q->n_paid) {
        charge(r->job, n - q->n_paid);
        q->n_paid = n;
    }
    j->sched.served_step = sim->step;
    if (q->n_done < q->n_prompt + q->n_told)
        return;
    j->sched.is_shared = 1;
    r->state = SEQ_DECODE;
    charge(r->job, 1);
    if (++q->n_told >= q->n_answer)
        end_seq(r);
}

static void step(void)
{
    const struct batch_limits l = {.tokens = 64 + sim->s.n_slots,
                                   .prompt = 64 + sim->s.n_slots,
                                   .prompt_mixed = 32,
                                   .prompt_new = 32};
    struct sched_seq *plan[SLOTS_MAX];
    int n = 0;

    sched_note_owed(&sim->s, sim->step);
    begin_all();
    for (int i = 0; i < sim->s.n_slots; i++) {
        struct sched_seq *q = sim->slot[i];
        q->take = 0;
        if (q->state != SEQ_PREFILL && q->state != SEQ_DECODE)
            continue;
        q->n_left = sim->seq[i].n_prompt + sim->seq[i].n_told - sim->seq[i].n_done;
        q->most = q->job->rests ? 0 : 64;
        plan[n++] = q;
    }
    batch_plan(&l, plan, n);
    for (int i = 0; i < n; i++) {
        if (plan[i]->take && plan[i]->state != SEQ_WAIT && !grow(plan[i]))
            plan[i]->take = 0;
    }
    sim->step++;
    sim->now_us += 10;
    for (int i = 0; i < sim->s.n_slots; i++) {
        if (sim->slot[i]->state != SEQ_FREE && sim->slot[i]->take)
            compute(sim->slot[i]);
    }
    check_places();
}

/* ---- the tests ------------------------------------------------------------------------------- */

static void pause_some(void)
{
    for (int i = 0; i < JOBS_MAX; i++) {
        struct job *j = &sim->job[i];
        if (!j->is_live)
            continue;
        if (!j->sched.paused_us && !below(400)) {
            j->sched.paused_us = sim->now_us + 1;
            j->reads_on_us = sim->now_us + below(400);
        } else if (j->sched.paused_us && sim->now_us > j->reads_on_us) {
            j->sched.paused_us = 0;
        }
        j->sched.rests = j->sched.paused_us != 0;
    }
}

/* All come to their end, whoever else comes; nothing is lost, idle, or in the wrong order. */
static void random_arrivals(void **state)
{
    int n_jobs = 0, n_preempted = 0, n_put_aside = 0;

    for (uint64_t seed = 0; seed < 48; seed++) {
        int n_slots = 1 + (int)(seed * 5 % SLOTS_MAX), n_ever = 0;
        sim_open(n_slots, 12 + (int32_t)(seed % 4) * 20, seed);
        for (int i = 0; i < 1500; i++) {
            for (int k = below(3); k > 0 && sim->n_live < 30; k--)
                n_ever += arrive(below(5), below(5), below(4) ? 1 : 1 + below(SEQS), 1 + below(200),
                                 1 + below(100)) != NULL;
            if (seed & 1)
                pause_some();
            step();
        }
        for (int i = 0; i < 20000 && sim->n_live; i++) {
            if (seed & 1)
                pause_some();
            step();
        }
        assert_int_equal(sim->n_live, 0);
        n_jobs += n_ever;
        n_preempted += sim->n_preempted;
        n_put_aside += sim->n_put_aside;
        sim_close();
    }
    assert_true(n_jobs > 5000 && n_preempted > 1000 && n_put_aside > 100);
}

/* A flood of the highest tier for ever: one of the lowest begins after SCHED_STEPS, and ends. */
static void nobody_waits_for_ever(void **state)
{
    for (int n_slots = 1; n_slots <= 4; n_slots++) {
        struct job *low;
        sim_open(n_slots, 1000, 7);
        for (int i = 0; i < 8; i++)
            arrive(HIGH, 1 + i % 3, 1, 20, 10);
        step();
        low = arrive(FLEX, 0, 1, 20, 10);
        while (low->is_live) {
            while (sim->n_live < 9)
                assert_non_null(arrive(HIGH, 1 + below(3), 1, 20, 10));
            step();
            assert_true(sim->step - low->came < SCHED_STEPS + 40);
        }
        assert_true(low->began - low->came >= SCHED_STEPS); /* and not before its time */
        while (sim->n_live)
            step();
        sim_close();
    }
}

/* Of those that are owed one goes at a time, and each in the end. */
static void owed_by_turns(void **state)
{
    struct job *low[6];
    int n_low = 6;

    sim_open(2, 1000, 11);
    for (int i = 0; i < 6; i++)
        low[i] = arrive(FLEX, 7, 1, 10, 20);
    while (n_low) {
        int n_owed = 0;
        while (sim->n_live < 40)
            assert_non_null(arrive(HIGH, below(3), 1, 10, 10));
        step();
        for (struct sched_job *j = sim->s.first; j; j = j->next)
            n_owed += j->is_owed;
        assert_true(n_owed <= 1);
        n_low = 0;
        for (int i = 0; i < 6; i++)
            n_low += low[i]->is_live && low[i]->sched.tier == FLEX;
        assert_true(sim->step < 7 * (SCHED_STEPS + 60));
    }
    while (sim->n_live)
        step();
    sim_close();
}

/* Tenants that always have some waiting begin equally often, however many each has sent. */
static void tenants_take_turns(void **state)
{
    int least = 1 << 30, most = 0;

    sim_open(3, 1000, 13);
    for (int i = 0; i < 2000; i++) {
        int n[4] = {0};
        for (struct sched_job *j = sim->s.first; j; j = j->next)
            n[j->tenant] += !j->n_begun;
        for (int t = 0; t < 4; t++) {
            while (n[t] < (t ? 4 : 200)) {
                assert_non_null(arrive(NORMAL, t, 1, 32, 8));
                n[t]++;
            }
        }
        step();
    }
    for (int t = 0; t < 4; t++) {
        least = sim->n_begun[t] < least ? sim->n_begun[t] : least;
        most = sim->n_begun[t] > most ? sim->n_begun[t] : most;
    }
    assert_true(most > 100 && most - least <= 3);
    while (sim->n_live)
        step();
    sim_close();
}

/* As many of the tenant's jobs wait as that. */
static void keep_waiting(int32_t tenant, int n_wait, int32_t n_prompt, int32_t n_answer)
{
    for (const struct sched_job *j = sim->s.first; j; j = j->next)
        n_wait -= j->tenant == tenant && !j->n_begun;
    for (; n_wait > 0; n_wait--)
        assert_non_null(arrive(NORMAL, tenant, 1, n_prompt, n_answer));
}

/* Tenants that always have some waiting use as many tokens, whatever the size of their requests,
 * and in however many slots. */
static void tokens_are_shared(void **state)
{
    enum { LONG = 600 + 8, STEPS = 6000 };

    for (int n_slots = 1; n_slots <= 2; n_slots++) {
        int64_t apart;
        sim_open(n_slots, 1000, 41);
        for (int i = 0; i < STEPS; i++) {
            keep_waiting(0, 3, LONG - 8, 8);
            keep_waiting(1, 40, 20, 4);
            keep_waiting(2, 3, 20, 100);
            step();
        }
        assert_true(sim->n_used[0] > 6 * LONG);
        for (int t = 1; t < 3; t++) {
            apart = sim->n_used[0] - sim->n_used[t];
            assert_true(apart < LONG + SCHED_QUANTUM && -apart < LONG + SCHED_QUANTUM);
        }
        assert_true(sim->n_begun[1] > 10 * sim->n_begun[0]);
        while (sim->n_live)
            step();
        sim_close();
    }
}

/* Who comes late neither gets what it did not use while it was away, nor pays for what others used
 * alone; who goes and comes again has its debts still. */
static void nothing_is_saved_up(void **state)
{
    enum { LONG = 600 + 8 };
    int64_t before, apart;

    sim_open(1, 1000, 43);
    for (int i = 0; i < 2000; i++) {
        keep_waiting(0, 3, LONG - 8, 8);
        step();
    }
    before = sim->n_used[0];
    assert_true(before > 20 * LONG);
    for (int i = 0; i < 4000; i++) {
        keep_waiting(0, 3, LONG - 8, 8);
        keep_waiting(1, 3, 32, 8);
        step();
        apart = sim->n_used[0] - before - sim->n_used[1];
        assert_true(apart < 2 * (LONG + SCHED_QUANTUM) && -apart < 2 * (LONG + SCHED_QUANTUM));
    }
    while (sim->n_live)
        step();
    /* One request at a time, and each of a tenant that seems new: it gets no more for it, however
     * long that goes on. */
    before = sim->n_used[2];
    sim->n_used[1] = 0;
    for (int i = 0; i < 4000; i++) {
        int has = 0;
        for (const struct sched_job *j = sim->s.first; j; j = j->next)
            has |= j->tenant == 2;
        if (!has)
            assert_non_null(arrive(NORMAL, 2, 1, LONG - 8, 8));
        keep_waiting(1, 3, 32, 8);
        step();
    }
    assert_true(sim->n_used[2] - before < sim->n_used[1] + 2 * LONG + SCHED_QUANTUM + SCHED_NEW);
    while (sim->n_live)
        step();
    sim_close();
}

/* More tenants than have rows: they take turns, and all end. */
static void many_tenants(void **state)
{
    int n = 0;

    sim_open(2, 1000, 47);
    for (int32_t t = 0; t < 3 * SCHED_SHARES; t++) {
        while (!arrive(NORMAL, t, 1, 20, 2))
            step();
        n++;
    }
    while (sim->n_live)
        step();
    assert_int_equal(n, 3 * SCHED_SHARES);
    for (int i = 0; i <= SCHED_SHARES; i++)
        assert_int_equal(sim->s.share[i].n_jobs[NORMAL], 0);
    sim_close();
}

/* Flex fills what is idle, and gives it to any other in the same step, also to its own tenant's;
 * and goes on when that has ended. */
static void flex_gives_way(void **state)
{
    struct job *flex[4], *late[4];

    sim_open(4, 1000, 53);
    for (int i = 0; i < 4; i++)
        flex[i] = arrive(FLEX, i % 2, 1, 32, 60);
    for (int i = 0; i < 5; i++)
        step();
    for (int i = 0; i < 4; i++)
        late[i] = arrive(NORMAL + i % 2, 0, 1, 32, 10);
    step();
    for (int i = 0; i < 4; i++) {
        assert_int_equal(late[i]->began, sim->step);
        assert_non_null(flex[i]->sched.aside);
    }
    assert_int_equal(sim->n_put_aside, 4);
    while (late[0]->is_live || late[1]->is_live || late[2]->is_live || late[3]->is_live) {
        for (int i = 0; i < 4; i++) /* none takes a place of those that are not done */
            assert_true(flex[i]->sched.aside || sim->n_live < 8);
        step();
    }
    while (sim->n_live)
        step();
    assert_int_equal(sim->n_put_aside, 4);
    sim_close();
}

/* Batch fills what flex leaves, and gives it to flex in the same step; what is firm takes from
 * batch first. Two of batch that were passed over go on one at a time. */
static void batch_gives_way_to_all(void **state)
{
    struct job *batch[2], *flex, *firm;

    sim_open(2, 1000, 59);
    for (int i = 0; i < 2; i++)
        batch[i] = arrive(BATCH, 0, 1, 32, 60);
    step();
    flex = arrive(FLEX, 0, 1, 32, 40); /* the same tenant, which has both slots */
    step();
    assert_int_equal(flex->began, sim->step);
    assert_int_equal(sim->n_put_aside, 1);
    firm = arrive(NORMAL, 0, 1, 32, 10);
    step();
    assert_int_equal(firm->began, sim->step);
    assert_true(batch[0]->sched.aside && batch[1]->sched.aside && !flex->sched.aside);
    while (firm->is_live)
        step();
    step(); /* the slot that is idle is batch's again */
    assert_true(flex->is_live && (!batch[0]->sched.aside || !batch[1]->sched.aside));
    while (sim->n_live)
        step();
    assert_int_equal(sim->n_put_aside, 2);
    sim_close();
}

/* What is within a contract has its place in the same step, whatever is there, of the lowest tier
 * first and of it the newest; what gave way goes on and comes to its end. */
static void all_give_way_to_contracts(void **state)
{
    struct job *low[4], *first[5];

    sim_open(4, 1000, 67);
    for (int i = 0; i < 4; i++) /* two tenants of two, each the older one of its own */
        low[i] = arrive(i < 3 ? HIGH : NORMAL, i % 2, 1, 32, 60);
    step();
    first[0] = arrive(CONTRACT, 0, 1, 32, 10); /* its tenant has slots already */
    step();
    assert_int_equal(first[0]->began, sim->step);
    assert_non_null(low[3]->sched.aside); /* the lowest */
    first[1] = arrive(CONTRACT, 7, 1, 32, 10);
    step();
    assert_int_equal(first[1]->began, sim->step);
    assert_non_null(low[2]->sched.aside); /* the newest of who has most */
    for (int i = 2; i < 5; i++)
        first[i] = arrive(CONTRACT, 7, 1, 32, 10);
    step();
    for (int i = 0; i < 4; i++)
        assert_non_null(low[i]->sched.aside);
    assert_int_equal(first[2]->began, sim->step);
    assert_int_equal(first[3]->began, sim->step);
    assert_int_equal(first[4]->began, 0); /* of a contract none gives way to another of it */
    while (sim->n_live)
        step();
    assert_int_equal(sim->n_put_aside, 4);
    sim_close();
}

/* A flood of requests within contracts: one of another tier is owed a place after SCHED_STEPS. */
static void contracts_leave_one_place(void **state)
{
    struct job *low;

    sim_open(2, 1000, 71);
    for (int i = 0; i < 4; i++)
        arrive(CONTRACT, 1, 1, 20, 10);
    step();
    low = arrive(NORMAL, 0, 1, 20, 10);
    while (low->is_live) {
        while (sim->n_live < 5)
            assert_non_null(arrive(CONTRACT, 1, 1, 20, 10));
        step();
        assert_true(sim->step - low->came < SCHED_STEPS + 40);
    }
    while (sim->n_live)
        step();
    sim_close();
}

static int n_others(void)
{
    int n = 0;

    for (int i = 0; i < sim->s.n_slots; i++)
        n += sim->slot[i]->state != SEQ_FREE && sim->slot[i]->job->tier != CONTRACT;
    return n;
}

/* Two of four slots are kept for contracts: others take theirs from each other, and never these. */
static void slots_are_kept(void **state)
{
    struct job *low[3], *high, *first[3];

    (void)state;
    sim_open(4, 1000, 73);
    sim->s.n_others_max = 2;
    for (int i = 0; i < 3; i++)
        low[i] = arrive(NORMAL, i, 1, 32, 60);
    step();
    assert_int_equal(n_others(), 2);
    assert_int_equal((low[0]->began > 0) + (low[1]->began > 0) + (low[2]->began > 0), 2);
    high = arrive(HIGH, 7, 1, 32, 10); /* its tenant has nothing: it takes one of theirs */
    step();
    assert_int_equal(high->began, sim->step);
    assert_int_equal(n_others(), 2);
    for (int i = 0; i < 3; i++)
        first[i] = arrive(CONTRACT, 9, 1, 32, 10);
    step();
    for (int i = 0; i < 3; i++) /* two have what was kept, and one takes another's */
        assert_int_equal(first[i]->began, sim->step);
    assert_int_equal(n_others(), 1);
    while (sim->n_live) {
        step();
        assert_true(n_others() <= 2);
    }
    sim_close();
}

/* Whoever comes, the slots that are kept stay so, and all come to their end. */
static void kept_and_random(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 12; seed++) {
        sim_open(6, 60, seed);
        sim->s.n_others_max = 1 + (int)(seed % 5);
        for (int i = 0; i < 21500 && (i < 1500 || sim->n_live); i++) {
            for (int k = i < 1500 ? below(3) : 0; k > 0 && sim->n_live < 30; k--)
                arrive(below(5), below(5), below(4) ? 1 : 1 + below(SEQS), 1 + below(200),
                       1 + below(100));
            if (seed & 1)
                pause_some();
            step();
            assert_true(n_others() <= sim->s.n_others_max);
        }
        assert_int_equal(sim->n_live, 0);
        sim_close();
    }
}

/* Below a flood of the tiers above, batch has its turn all the same. */
static void batch_waits_no_longer(void **state)
{
    struct job *low, *flex;
    int n_low = 2; /* rows of those that ended are given to others */

    sim_open(1, 1000, 61);
    arrive(NORMAL, 1, 1, 20, 10);
    step();
    low = arrive(BATCH, 0, 1, 20, 10);
    flex = arrive(FLEX, 0, 1, 20, 10);
    while (n_low) {
        while (sim->n_live < 5)
            assert_non_null(arrive(NORMAL, 1 + below(3), 1, 20, 10));
        step();
        assert_true(sim->step < (uint64_t)(3 - n_low) * (SCHED_STEPS + 40));
        if (n_low == 2) /* by age: it came first */
            assert_int_equal(flex->began, 0);
        n_low = (low->is_live && low->sched.tier == BATCH) +
                (flex->is_live && flex->sched.tier == FLEX);
    }
    while (sim->n_live)
        step();
    sim_close();
}

/* A tenant alone has all slots; another that comes has one of them in the same step. */
static void a_late_tenant_has_a_slot(void **state)
{
    struct job *late;

    sim_open(4, 1000, 17);
    for (int i = 0; i < 20; i++)
        arrive(NORMAL, 0, 1, 32, 200);
    for (int i = 0; i < 20; i++)
        step();
    assert_int_equal(n_of(0, 0), 4);
    late = arrive(NORMAL, 3, 1, 32, 200);
    step();
    assert_int_equal(n_of(3, 0), 1);
    assert_int_equal(late->began, sim->step);
    assert_int_equal(sim->n_put_aside, 1);
    arrive(NORMAL, 3, 1, 32, 200); /* it has one: its second waits */
    step();
    assert_int_equal(n_of(3, 0), 1);
    arrive(FLEX, 5, 1, 32, 200); /* a lower tier takes from nobody above it */
    step();
    assert_int_equal(n_of(5, 0), 0);
    while (sim->n_live)
        step();
    sim_close();
}

/* Whoever has paused for long gives way, and for those with pages only to who needs pages. */
static void paused_give_way(void **state)
{
    struct job *slow, *next;

    sim_open(1, 100, 19);
    slow = arrive(HIGH, 0, 1, 32, 50);
    step();
    step();
    slow->sched.paused_us = sim->now_us;
    slow->sched.rests = 1;
    next = arrive(FLEX, 0, 1, 32, 5);
    step();
    assert_false(next->began); /* not for long yet */
    sim->now_us = slow->sched.paused_us + GIVE_WAY_US;
    step();
    assert_true(next->began);
    assert_non_null(slow->sched.aside);
    while (next->is_live)
        step();
    slow->sched.paused_us = 0;
    slow->sched.rests = 0;
    step();
    assert_null(slow->sched.aside); /* and comes back */
    while (sim->n_live)
        step();
    sim_close();
}

static struct sched_job known[6];
static struct sched_seq known_seq[6];
static struct sched_seq *const known_slot[6] = {&known_seq[0], &known_seq[1], &known_seq[2],
                                                &known_seq[3], &known_seq[4], &known_seq[5]};

static struct sched known_slots(const struct rota_one *one, int n)
{
    for (int i = 0; i < n; i++) {
        known[i] = (struct sched_job){
            .tier = one[i].tier, .is_owed = one[i].tier == ROTA_OWED, .tenant = one[i].tenant};
        known_seq[i] = (struct sched_seq){
            .job = &known[i], .state = i % 2 ? SEQ_PREFILL : SEQ_DECODE, .order = one[i].order};
    }
    return (struct sched){.slot = known_slot, .n_slots = n, .give_way_us = 10};
}

static int index_of(const struct sched_seq *q)
{
    return q ? (int)(q - known_seq) : -1;
}

static void victims(void **state)
{
    const struct rota_one s[] = {
        {HIGH, 0, 0, 1, 90, 0},  {NORMAL, 0, 0, 1, 1, 0},  {NORMAL, 0, 0, 2, 30, 0},
        {NORMAL, 0, 0, 1, 2, 0}, {NORMAL, 0, 0, 2, 50, 0}, {NORMAL, 0, 0, 1, 20, 0},
    };
    const int expected[] = {-1, 0, 1, 2, 3, 4, 5}; /* the tier below, who holds most, its newest */

    for (int n = 0; n <= 6; n++) {
        struct sched d = known_slots(s, n);
        if (n > 1)
            assert_int_equal(index_of(sched_victim(&d)), expected[n]);
    }
    {
        struct sched d = known_slots(s, 6);
        known[2].rests = 1; /* before all others */
        assert_int_equal(index_of(sched_victim(&d)), 2);
        known_seq[2].state = SEQ_WAIT; /* has no pages */
        assert_int_equal(index_of(sched_victim(&d)), 5);
        d = known_slots(s, 1); /* the last */
        assert_int_equal(index_of(sched_victim(&d)), 0);
        d = known_slots(s, 0);
        assert_null(sched_victim(&d));
    }
}

/* Who gives pages to one of that tier and tenant. */
static int yields(const struct rota_one *held, int n, int tier, int32_t tenant)
{
    struct sched d = known_slots(held, n);
    struct sched_job j = {.tier = tier, .is_owed = tier == ROTA_OWED, .tenant = tenant};
    struct sched_seq who = {.job = &j, .state = SEQ_WAIT, .order = 99};

    return index_of(sched_yielder(&d, &who, 0));
}

static void gives_way(void **state)
{
    const struct rota_one held[] = {{NORMAL, 0, 0, 1, 10, 0},
                                    {NORMAL, 0, 0, 1, 11, 0},
                                    {NORMAL, 0, 0, 2, 12, 0},
                                    {FLEX, 0, 0, 2, 13, 0}};

    assert_int_equal(yields(held, 4, NORMAL, 3), 3); /* a lower tier */
    assert_int_equal(yields(held, 3, NORMAL, 3), 1); /* who has several */
    assert_int_equal(yields(held + 1, 2, NORMAL, 3), -1);
    assert_int_equal(yields(held, 0, NORMAL, 3), -1);
    assert_int_equal(yields(held, 4, NORMAL, 2), 3); /* of one that only fills, also who has some */
    assert_int_equal(yields(held, 3, NORMAL, 2), -1); /* it has one */
    assert_int_equal(yields(held, 3, HIGH, 2), 1);    /* but none so high */
    assert_int_equal(yields(held, 3, FLEX, 3), -1);   /* all are above */
    assert_int_equal(yields(held + 2, 1, ROTA_OWED, 3), 0);
}

/* A slot is taken from nobody for a job that would not go before the first of those in their slots.
 */
static void no_slot_for_a_later_turn(void **state)
{
    struct sched_job high = {.tier = HIGH, .tenant = 1, .n_seqs = 1}, more = high;
    struct sched_job run = {.tier = NORMAL, .tenant = 1, .n_seqs = 1};
    struct sched_job other = {.tier = NORMAL, .tenant = 2, .n_seqs = 1};
    struct sched_seq q[3] = {{.job = &high, .state = SEQ_DECODE, .order = 1},
                             {.job = &run, .state = SEQ_DECODE, .order = 2},
                             {.job = &run, .state = SEQ_WAIT, .order = 3}};
    struct sched_seq *slot[] = {&q[0], &q[1], &q[2]};
    struct sched s = {.slot = slot, .n_slots = 3, .give_way_us = GIVE_WAY_US};
    struct sched_turn t;

    sched_enter(&s, &more, 0); /* goes first, but its tenant has a slot there */
    sched_enter(&s, &other, 0);
    s.rota.last[NORMAL] = 2; /* it is tenant 1's turn */
    sched_next(&s, 0, &t);
    assert_ptr_equal(t.seq, &q[2]);
    assert_null(t.job);
    s.rota.last[NORMAL] = 1;
    sched_next(&s, 0, &t);
    assert_ptr_equal(t.job, &other);
    assert_ptr_equal(t.slot, &q[2]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_arrivals),
        cmocka_unit_test(nobody_waits_for_ever),
        cmocka_unit_test(owed_by_turns),
        cmocka_unit_test(tenants_take_turns),
        cmocka_unit_test(tokens_are_shared),
        cmocka_unit_test(nothing_is_saved_up),
        cmocka_unit_test(many_tenants),
        cmocka_unit_test(flex_gives_way),
        cmocka_unit_test(batch_gives_way_to_all),
        cmocka_unit_test(all_give_way_to_contracts),
        cmocka_unit_test(contracts_leave_one_place),
        cmocka_unit_test(slots_are_kept),
        cmocka_unit_test(kept_and_random),
        cmocka_unit_test(batch_waits_no_longer),
        cmocka_unit_test(a_late_tenant_has_a_slot),
        cmocka_unit_test(paused_give_way),
        cmocka_unit_test(victims),
        cmocka_unit_test(gives_way),
        cmocka_unit_test(no_slot_for_a_later_turn),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
