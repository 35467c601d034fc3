/* The engine thread: takes jobs, lays out steps, samples, and sends events.
 *
 * One iteration: take new jobs, drop cancelled ones, let those begin whose turn it is
 * (policy/sched decides), lay out a step (policy/batch decides), run it, sample all rows, send each
 * token to its job's ring, wake each reader once. */
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>

#include "base/check.h"
#include "base/clock.h"
#include "engine/loop_int.h"

#define IDLE_MS     250             /* a tick while nothing is to do: the heartbeat */
#define PAUSED_MS   5               /* while every sequence waits for its reader */
#define PLACE_US    INT64_C(250000) /* between two looks at the places of those that wait */
#define TEXT_MAX    ((size_t)16 << 10)
#define SALT_OF_JOB 0x8000000000000000ull /* salts of jobs that share only with themselves */

int loop_open(struct engine *e, struct err *err)
{
    struct loop *s = &e->loop;
    size_t n = (size_t)e->info.batch_max, tok = n + (size_t)e->info.chunk;
    int workers = team_size(e->team);

    s->seq = calloc(n, sizeof *s->seq);
    s->scratch = calloc((size_t)workers, sizeof *s->scratch);
    s->slot = calloc(n, sizeof(struct sched_seq *));
    s->plan = calloc(n, sizeof(struct sched_seq *));
    s->tokens = calloc(tok, sizeof *s->tokens);
    s->out = calloc(n + MORE_ROWS, sizeof *s->out);
    s->seg = calloc(n + MORE_RUNS, sizeof *s->seg);
    s->rows = calloc(n + MORE_ROWS, sizeof *s->rows);
    s->share = calloc(n, sizeof *s->share);
    s->banned = calloc((size_t)e->info.n_vocab, sizeof *s->banned);
    buf_init(&s->text, TEXT_MAX);
    buf_init(&s->piece, TEXT_MAX);
    if (!s->seq || !s->scratch || !s->slot || !s->plan || !s->tokens || !s->out || !s->seg ||
        !s->rows || !s->share || !s->banned || buf_reserve(&s->text, TEXT_MAX) ||
        buf_reserve(&s->piece, TEXT_MAX))
        goto fail;
    s->n_seqs = e->info.batch_max;
    atomic_store(&e->places, s->n_seqs);
    s->sched.slot = s->slot;
    s->sched.n_slots = s->n_seqs;
    draft_trust_init(&s->trust[0]);
    draft_trust_init(&s->trust[1]);
    atomic_store(&e->pages_free, e->info.n_pages);
    for (int32_t i = 0; i < s->n_seqs; i++) {
        s->slot[i] = &s->seq[i].slot;
        s->seq[i].token = malloc(((size_t)e->info.context + 1) * sizeof(int32_t));
        s->seq[i].answer = calloc(phase_words((size_t)e->info.context + 1), sizeof(uint32_t));
        if (!s->seq[i].token || !s->seq[i].answer || kv_seq_init(e->kv, &s->seq[i].kv))
            goto fail;
    }
    for (int i = 0; i < workers; i++) {
        if (sample_scratch_init(&s->scratch[i], e->info.n_vocab))
            goto fail;
    }
    for (int32_t t = 0; t < e->info.n_vocab; t++) {
        if (vocab_is_eog(e->vocab, t))
            s->banned[s->n_banned++] = t;
    }
    return 0;
fail:
    return err_set(err, ERR_NOMEM, "no memory for %d sequences", e->info.batch_max);
}

void loop_close(struct engine *e)
{
    struct loop *s = &e->loop;

    for (int32_t i = 0; s->seq && i < e->info.batch_max; i++) {
        free(s->seq[i].token);
        free(s->seq[i].answer);
        kv_seq_done(&s->seq[i].kv);
        lookup_reset(&s->seq[i].lookup);
    }
    for (int i = 0; s->scratch && i < team_size(e->team); i++)
        sample_scratch_done(&s->scratch[i]);
    free(s->seq);
    free(s->scratch);
    free((void *)s->slot);
    free((void *)s->plan);
    free(s->tokens);
    free(s->out);
    free(s->seg);
    free(s->rows);
    free(s->share);
    free(s->banned);
    buf_done(&s->text);
    buf_done(&s->piece);
    *s = (struct loop){0};
}

static void enqueue(struct engine *e, struct engine_job *j)
{
    struct sched_job *place = &j->sched;

    place->tier = j->ask->goes_first ? ROTA_CONTRACT : tier_rank(j->ask->tier);
    place->tenant = j->ask->tenant;
    place->n_seqs = j->ask->n_choices;
    sched_enter(&e->loop.sched, place, atomic_load_explicit(&e->n_steps, memory_order_relaxed));
    j->salt = e->use_cache ? j->ask->salt & ~SALT_OF_JOB : SALT_OF_JOB | place->order;
}

static void take_inbox(struct engine *e)
{
    struct mbox_item *list = mbox_take(&e->inbox), *it;

    while ((it = mbox_next(&list))) {
        struct engine_job *j =
            (struct engine_job *)(void *)((char *)it - offsetof(struct engine_job, inbox));
        enqueue(e, j);
    }
}

/* Release cancelled, stalled and finished jobs, and see again which readers pause. */
static void sweep(struct engine *e)
{
    int64_t now = clock_now_us();
    struct sched_job *place, *next;
    int quit = atomic_load(&e->quit), places = atomic_load(&e->places);

    for (place = e->loop.sched.first; place; place = next) {
        struct engine_job *j = job_of(place);
        next = place->next;
        if (quit)
            job_fail(e, j, ERR_DRAINING);
        else if (atomic_load_explicit(&j->cancel, memory_order_acquire))
            job_fail(e, j, ERR_CANCELLED);
        else if (!places && !place->n_begun && !j->n_finished)
            job_fail(e, j, ERR_SITE_CLOSED);
        if (event_has_room(j)) {
            atomic_store_explicit(&j->paused, 0, memory_order_release);
            place->paused_us = 0;
        } else if (!place->paused_us) {
            atomic_store_explicit(&j->paused, 1, memory_order_release);
            place->paused_us = now;
        } else if (now - place->paused_us > e->stall_us_max) {
            job_fail(e, j, ERR_SLOW_READER);
        }
        if (j->n_finished == j->ask->n_choices && !job_done(e, j) && quit) {
            /* the reader takes no events any more: release the job without a DONE event */
            job_leave(e, j);
            event_wake_now(&e->loop, j->ask->reader);
            atomic_store_explicit(&j->released, 1, memory_order_release);
        }
    }
}

void seq_write_prompt(struct engine *e, struct engine_seq *q)
{
    const struct engine_job *j = q->job;

    memcpy(q->token, j->ask->prompt, (size_t)j->ask->n_prompt * sizeof *q->token);
    if (e->cls == ENGINE_BF16)
        phase_begin(q->answer, (size_t)e->info.context + 1, j->ask->answer, j->ask->n_prompt);
}

static struct engine_seq *give_slot(struct engine *e, struct engine_job *j, struct engine_seq *q)
{
    struct sched_seq *aside;

    q->choice = j->sched.n_begun; /* of a new one; one that was put aside brings its own */
    aside = sched_seat(&j->sched, &q->slot);
    if (aside) {
        aside_return(e, q, aside);
        return q;
    }
    q->job = j;
    seq_write_prompt(e, q);
    q->n_token = j->ask->n_prompt;
    q->n_done = q->n_generated = q->n_told = 0;
    lookup_reset(&q->lookup);
    draft_trust_inherit(&q->trust, &e->loop.trust[j->ask->sampling.temperature > 0]);
    q->n_indexed = 0;
    detok_init(&q->detok, e->vocab, 0);
    q->stop = (struct stop){.n_held = 0};
    q->past_end = PAST_GOES_ON;
    if (j->ask->past)
        past_restore(e, q);
    return q;
}

static int n_seated(const struct loop *s)
{
    int n = 0;
    for (int32_t i = 0; i < s->n_seqs; i++)
        n += s->slot[i]->state != SEQ_FREE;
    return n;
}

/* May the job's next sequence take that slot? No job begins beyond the places that may be used; one
 * that has begun goes on, and who takes another's slot uses no more. */
static int may_seat(struct engine *e, const struct sched_turn *t)
{
    return t->slot->state != SEQ_FREE || t->job->n_begun ||
           n_seated(&e->loop) < atomic_load(&e->places);
}

/* The waiting sequence that goes first, or NULL: it has a slot already, or gets one here. */
static struct engine_seq *next_waiting(struct engine *e)
{
    struct sched_turn t;

    e->loop.sched.n_others_max = atomic_load(&e->others_max);
    sched_next(&e->loop.sched, clock_now_us(), &t);
    if (t.job && !may_seat(e, &t))
        return t.seq ? seq_of(t.seq) : NULL;
    if (t.job && (t.slot->state == SEQ_FREE || !aside_put(e, seq_of(t.slot))))
        return give_slot(e, job_of(t.job), seq_of(t.slot));
    return t.seq ? seq_of(t.seq) : NULL;
}

static int n_holding(const struct loop *s)
{
    int n = 0;
    for (int32_t i = 0; i < s->n_seqs; i++)
        n += seq_holds_pages(&s->seq[i]);
    return n;
}

void job_begin(struct engine *e, struct engine_job *j, int32_t n_cached)
{
    struct event *ev;

    if (j->scheduled_us)
        return;
    atomic_fetch_sub(&e->n_waiting, 1);
    j->scheduled_us = clock_now_us();
    j->n_cached = j->ask->past ? j->ask->past_cached : n_cached;
    if (j->n_prompt_done < n_cached)
        j->n_prompt_done = n_cached;
    ev = event_begin(e, j, EVENT_STARTED, NULL, NULL);
    if (ev) /* read when the step has ended: it says itself when it was */
        event_end(e, j, ev);
}

static void seq_start(struct engine *e, struct engine_seq *q, int32_t n_cached)
{
    struct engine_job *j = q->job;

    q->n_done = n_cached;
    sched_begin(&e->loop.sched, &q->slot);
    if (q->slot.resumed)
        return; /* it comes back after a preemption: the event was sent before */
    atomic_fetch_add_explicit(&e->cached_tokens, (uint64_t)n_cached, memory_order_relaxed);
    if (!q->choice)
        job_begin(e, j, n_cached < j->ask->n_prompt ? n_cached : j->ask->n_prompt);
}

/* Waiting sequences enter while pages for all their tokens are to be had. */
static void admit(struct engine *e)
{
    struct engine_seq *q;

    while ((q = next_waiting(e))) {
        struct engine_job *j = q->job;
        if (q->past_end) {
            past_finish(e, q);
            continue;
        }
        int look = (e->use_cache || q->choice || q->n_generated) && !j->ask->echo;
        int32_t cached =
            kv_seq_open(e->kv, &q->kv, j->salt, look, e->use_cache || j->ask->n_choices > 1,
                        q->token, q->answer, q->n_token);
        struct kv_stats st;
        kv_stats(e->kv, &st);
        if ((q->n_token - cached) / KERN_PAGE + 2 > st.n_free + st.n_cached &&
            n_holding(&e->loop)) {
            struct sched_seq *yielder = sched_yielder(&e->loop.sched, &q->slot, clock_now_us());
            kv_seq_close(e->kv, &q->kv);
            if (!yielder)
                return; /* the first one waits for pages, and no other may overtake it */
            seq_preempt(e, seq_of(yielder));
            continue;
        }
        seq_start(e, q, cached);
    }
}

/* Tell those that wait their places, now and then. */
static void tell_places(struct engine *e)
{
    struct loop *s = &e->loop;
    int64_t now = clock_now_us();

    if (!atomic_load_explicit(&e->n_waiting, memory_order_relaxed) || now - s->placed_us < PLACE_US)
        return;
    s->placed_us = now;
    sched_place(&s->sched);
    for (struct sched_job *j = s->sched.first; j; j = j->next)
        atomic_store_explicit(&job_of(j)->n_before, j->n_before, memory_order_relaxed);
}

static void observe(struct engine *e)
{
    if (e->loop.sched.first)
        observe_pages(e);
    for (int i = 0; i < TIER_AUTO; i++)
        atomic_store_explicit(&e->turn[i], e->loop.sched.rota.last[i], memory_order_relaxed);
    atomic_store_explicit(&e->n_running, n_holding(&e->loop), memory_order_relaxed);
    atomic_store_explicit(&e->beat_us, clock_now_us(), memory_order_relaxed);
}

/* Who works, pays: the meter is told from when to when. */
static void tell_meter(struct engine *e, int is_working)
{
    if (!e->meter || e->loop.is_working == is_working)
        return;
    if (is_working)
        energy_meter_begin(e->meter);
    else
        energy_meter_end(e->meter);
    e->loop.is_working = is_working;
}

void *loop_main(void *arg)
{
    struct engine *e = arg;

    prctl(PR_SET_NAME, "gaufre-engine", 0, 0, 0);
    for (;;) {
        int32_t n;
        take_inbox(e);
        sweep(e);
        if (atomic_load(&e->quit) && !e->loop.sched.first)
            break;
        sched_note_owed(&e->loop.sched, atomic_load_explicit(&e->n_steps, memory_order_relaxed));
        admit(e);
        n = iteration_plan(e);
        tell_meter(e, n > 0);
        if (n) {
            iteration_run(e);
            iteration_settle(e);
            sweep(e);
        }
        tell_places(e);
        observe(e);
        event_wake_all(e);
        if (!n)
            mbox_wait(&e->inbox, e->loop.sched.first ? PAUSED_MS : IDLE_MS);
    }
    tell_meter(e, 0);
    event_wake_all(e);
    return NULL;
}
