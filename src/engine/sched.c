/* The engine thread: takes jobs, lays out steps, samples, and sends events.
 *
 * One turn: take new jobs, drop cancelled ones, give slots, lay out a step (policy/batch decides),
 * run it, sample all rows, send each token to its job's ring, wake each reader once. */
#include <inttypes.h>
#include <math.h>
#include <sched.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>

#include "base/check.h"
#include "base/clock.h"
#include "engine/engine_int.h"

#define IDLE_MS     250 /* a tick while nothing is to do: the heartbeat */
#define PAUSED_MS   5   /* while every sequence waits for its reader */
#define TEXT_MAX    ((size_t)16 << 10)
#define SALT_OF_JOB 0x8000000000000000ull /* salts of jobs that share only with themselves */

/* ---- open and close -----------------------------------------------------------------------------
 */

int sched_open(struct engine *e, struct err *err)
{
    struct sched *s = &e->sched;
    size_t n = (size_t)e->info.batch_max, tok = n + (size_t)e->info.chunk;
    int workers = team_size(e->team);

    s->seq = calloc(n, sizeof *s->seq);
    s->scratch = calloc((size_t)workers, sizeof *s->scratch);
    s->plan = calloc(n, sizeof *s->plan);
    s->take = calloc(n, sizeof *s->take);
    s->plan_seq = calloc(n, sizeof *s->plan_seq);
    s->plan_scratch = calloc(n, sizeof *s->plan_scratch);
    s->tokens = calloc(tok, sizeof *s->tokens);
    s->out = calloc(n + ECHO_ROWS, sizeof *s->out);
    s->seg = calloc(n + 1, sizeof *s->seg);
    s->rows = calloc(n, sizeof *s->rows);
    s->banned = calloc((size_t)e->info.n_vocab, sizeof *s->banned);
    buf_init(&s->text, TEXT_MAX);
    buf_init(&s->piece, TEXT_MAX);
    if (!s->seq || !s->scratch || !s->plan || !s->take || !s->plan_seq || !s->plan_scratch ||
        !s->tokens || !s->out || !s->seg || !s->rows || !s->banned ||
        buf_reserve(&s->text, TEXT_MAX) || buf_reserve(&s->piece, TEXT_MAX))
        goto fail;
    s->n_seqs = e->info.batch_max;
    atomic_store(&e->pages_free, e->info.n_pages);
    for (int32_t i = 0; i < s->n_seqs; i++) {
        s->seq[i].token = malloc(((size_t)e->info.context + 1) * sizeof(int32_t));
        if (!s->seq[i].token || kv_seq_init(e->kv, &s->seq[i].kv))
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

void sched_close(struct engine *e)
{
    struct sched *s = &e->sched;

    for (int32_t i = 0; s->seq && i < e->info.batch_max; i++) {
        free(s->seq[i].token);
        kv_seq_done(&s->seq[i].kv);
    }
    for (int i = 0; s->scratch && i < team_size(e->team); i++)
        sample_scratch_done(&s->scratch[i]);
    free(s->seq);
    free(s->scratch);
    free(s->plan);
    free(s->take);
    free(s->plan_seq);
    free(s->plan_scratch);
    free(s->tokens);
    free(s->out);
    free(s->seg);
    free(s->rows);
    free(s->banned);
    buf_done(&s->text);
    buf_done(&s->piece);
    *s = (struct sched){0};
}

/* ---- the caller's side
 * ----------------------------------------------------------------------------- */

static int check_sampling(const struct engine *e, const struct engine_sampling *p, struct err *err)
{
    if (!(p->temperature >= 0) || !isfinite(p->temperature))
        return err_set_param(err, ERR_ARG, "temperature", "a finite number >= 0");
    if (!(p->repetition_penalty > 0) || !isfinite(p->repetition_penalty))
        return err_set_param(err, ERR_ARG, "repetition_penalty", "a finite number > 0");
    if (!isfinite(p->frequency_penalty) || !isfinite(p->presence_penalty) || isnan(p->top_p) ||
        isnan(p->min_p))
        return err_set_param(err, ERR_ARG, "sampling", "penalties, top_p and min_p are numbers");
    for (int32_t i = 0; i < p->n_bias; i++) {
        if (!isfinite(p->bias[i].bias))
            return err_set_param(err, ERR_ARG, "logit_bias", "the bias of token %d is not finite",
                                 p->bias[i].token);
        if (p->bias[i].token < 0 || p->bias[i].token >= e->info.n_vocab)
            return err_set_param(err, ERR_ARG, "logit_bias", "token %d is not in the vocabulary",
                                 p->bias[i].token);
    }
    if (p->n_stop < 0 || p->n_stop > ENGINE_STOPS_MAX)
        return err_set_param(err, ERR_ARG, "stop", "at most %d stop strings", ENGINE_STOPS_MAX);
    for (int32_t i = 0; i < p->n_stop; i++) {
        if (p->stop_len[i] < 1 || p->stop_len[i] > ENGINE_STOP_LEN)
            return err_set_param(err, ERR_ARG, "stop", "a stop string has 1 to %d bytes",
                                 ENGINE_STOP_LEN);
    }
    if (p->n_top < 0 || p->n_top > ENGINE_TOP_MAX)
        return err_set_param(err, ERR_ARG, "top_logprobs", "0 to %d", ENGINE_TOP_MAX);
    return 0;
}

int engine_submit(struct engine *e, struct engine_job *j, struct err *err)
{
    int32_t want = j->sampling.max_tokens, context = e->info.context, room;
    int rc;

    if (atomic_load(&e->quit))
        return err_set(err, ERR_DRAINING, "the server is shutting down");
    if (j->n_prompt < 1)
        return err_set_param(err, ERR_ARG, "prompt", "the prompt is empty");
    if (j->n_choices < 1 || j->n_choices > ENGINE_CHOICES_MAX)
        return err_set_param(err, ERR_ARG, "n", "1 to %d choices", ENGINE_CHOICES_MAX);
    room = context - j->n_prompt;
    if (room < (want == 0 ? 0 : want > 0 ? want : 1))
        return err_set_param(err, ERR_CONTEXT, "messages",
                             "This model's maximum context length is %d tokens. Please reduce the "
                             "length of the messages or completion. Current length is %" PRId64
                             " while limit is %d",
                             context, j->n_prompt + (want > 0 ? (int64_t)want : want < 0), context);
    for (int32_t i = 0; i < j->n_prompt; i++) {
        if (j->prompt[i] < 0 || j->prompt[i] >= e->info.n_vocab)
            return err_set_param(err, ERR_ARG, "prompt", "token %d is not in the vocabulary",
                                 j->prompt[i]);
    }
    rc = check_sampling(e, &j->sampling, err);
    if (rc)
        return rc;
    memset(&j->run, 0, sizeof j->run);
    j->run.limit = want >= 0                                         ? want
                   : e->info.output_max && e->info.output_max < room ? e->info.output_max
                                                                     : room;
    if (mbox_post(&e->inbox, &j->run.inbox))
        mbox_wake(&e->inbox);
    return 0;
}

void engine_cancel(struct engine *e, struct engine_job *j)
{
    atomic_store_explicit(&j->run.cancel, 1, memory_order_release);
    mbox_wake(&e->inbox);
}

const struct engine_event *engine_event_peek(struct engine_job *j)
{
    uint32_t n;
    return ring_peek(&j->ring, &n);
}

void engine_event_pop(struct engine *e, struct engine_job *j)
{
    ring_pop(&j->ring);
    if (atomic_load_explicit(&j->run.paused, memory_order_acquire) &&
        ring_used(&j->ring) < j->ring.cap / 4)
        mbox_wake(&e->inbox);
}

int engine_job_settled(struct engine_job *j)
{
    /* The engine sets it a few instructions after DONE became visible. */
    while (!atomic_load_explicit(&j->run.released, memory_order_acquire))
        sched_yield();
    return !atomic_load_explicit(&j->item.posted, memory_order_acquire);
}

/* ---- events
 * ------------------------------------------------------------------------------------------ */

/* Tell the job's reader, once per step and mailbox. */
static void notify(struct engine *e, struct engine_job *j)
{
    struct sched *s = &e->sched;

    if (!mbox_post(j->reader, &j->item))
        return;
    for (int i = 0; i < s->wake_n; i++) {
        if (s->wake[i] == j->reader)
            return;
    }
    if (s->wake_n == (int)ARRAY_LEN(s->wake)) {
        mbox_wake(j->reader);
        return;
    }
    s->wake[s->wake_n++] = j->reader;
}

/* Wake one reader at once if it is due: after its last job is released, its mailbox may go. */
static void wake_now(struct sched *s, struct mbox *reader)
{
    for (int i = 0; i < s->wake_n; i++) {
        if (s->wake[i] == reader) {
            s->wake[i] = s->wake[--s->wake_n];
            mbox_wake(reader);
            return;
        }
    }
}

static void wake_readers(struct engine *e)
{
    for (int i = 0; i < e->sched.wake_n; i++)
        mbox_wake(e->sched.wake[i]);
    e->sched.wake_n = 0;
}

/* Room for an event of n_text bytes in the job's ring, or NULL. */
static struct engine_event *event_begin(struct engine_job *j, enum engine_event_kind kind,
                                        uint32_t n_text)
{
    struct engine_event *ev = ring_push_begin(&j->ring, (uint32_t)sizeof *ev + n_text);
    if (!ev)
        return NULL;
    memset(ev, 0, offsetof(struct engine_event, top));
    ev->kind = (uint8_t)kind;
    ev->token = -1;
    ev->n_text = n_text;
    ev->n_prompt = j->n_prompt;
    ev->n_cached = j->run.n_cached;
    return ev;
}

static void event_end(struct engine *e, struct engine_job *j, const struct engine_event *ev)
{
    ring_push_commit(&j->ring, (uint32_t)sizeof *ev + ev->n_text);
    if (ev->kind != ENGINE_EV_DONE)
        notify(e, j);
}

/* The ring has room for anything one step can send. */
static int has_room(const struct engine_job *j)
{
    return ring_used(&j->ring) <= j->ring.cap / 2;
}

/* ---- ends
 * -------------------------------------------------------------------------------------------- */

static void seq_release(struct engine *e, struct engine_seq *q)
{
    if (q->state == SEQ_PREFILL || q->state == SEQ_DECODE)
        kv_seq_close(e->kv, &q->kv);
    q->state = SEQ_FREE;
    q->job = NULL;
}

static void unlink_job(struct sched *s, struct engine_job *j)
{
    if (j->run.prev)
        j->run.prev->run.next = j->run.next;
    else
        s->first = j->run.next;
    if (j->run.next)
        j->run.next->run.prev = j->run.prev;
    else
        s->last = j->run.prev;
}

/* Only while there are jobs: without any, an offline evaluation may be using the pages. */
static void observe_pages(struct engine *e)
{
    struct kv_stats st;
    kv_stats(e->kv, &st);
    atomic_store_explicit(&e->pages_free, st.n_free, memory_order_relaxed);
    atomic_store_explicit(&e->pages_cached, st.n_cached, memory_order_relaxed);
}

/* Send DONE and let go of the job; 0 when the ring is full (tried again next turn). */
static int job_done(struct engine *e, struct engine_job *j)
{
    struct engine_event *ev = event_begin(j, ENGINE_EV_DONE, 0);
    int64_t now = clock_now_us();

    if (!ev)
        return 0;
    ev->err = j->run.err;
    ev->n_generated = j->run.n_generated;
    ev->n_done = j->run.prefilled ? j->n_prompt : 0;
    ev->queue_us = (j->run.scheduled_us ? j->run.scheduled_us : now) - j->accepted_us;
    ev->prompt_us = j->run.first_us ? j->run.first_us - j->run.scheduled_us : 0;
    ev->completion_us = j->run.first_us ? now - j->run.first_us : 0;
    unlink_job(&e->sched, j);
    observe_pages(e); /* who has read DONE finds its pages free */
    event_end(e, j, ev);
    notify(e, j);
    wake_now(&e->sched, j->reader);
    atomic_store_explicit(&j->run.released, 1, memory_order_release); /* not ours from here on */
    return 1;
}

/* End all of a job's choices with an error; DONE follows in sweep(). */
static void job_fail(struct engine *e, struct engine_job *j, int err)
{
    struct sched *s = &e->sched;

    for (int32_t i = 0; i < s->n_seqs; i++) {
        if (s->seq[i].job == j)
            seq_release(e, &s->seq[i]);
    }
    if (!j->run.err)
        j->run.err = err;
    j->run.n_started = j->run.n_finished = j->n_choices;
}

/* A choice ends: send what is still held back, unless a stop string ended it (`cut`): what came
 * after that is not shown, not even as the rest of a character. */
static void seq_finish(struct engine *e, struct engine_seq *q, enum engine_finish why, int cut)
{
    struct engine_job *j = q->job;
    struct buf *text = &e->sched.text;
    struct engine_event *ev;

    buf_clear(text);
    if (!cut) {
        stop_finish(&q->stop, text);
        detok_finish(&q->detok, text);
    }
    ev = event_begin(j, ENGINE_EV_FINISH, (uint32_t)text->len);
    if (!ev) {
        job_fail(e, j, ERR_SLOW_READER);
        return;
    }
    if (text->len)
        memcpy(ev->text, text->data, text->len);
    ev->finish = (uint8_t)why;
    ev->choice = (uint8_t)q->choice;
    ev->n_generated = q->n_generated;
    event_end(e, j, ev);
    j->run.n_finished++;
    seq_release(e, q);
}

/* ---- arrivals
 * ------------------------------------------------------------------------------------------ */

/* Into the list, behind jobs of its class and above. */
static void enqueue(struct engine *e, struct engine_job *j)
{
    struct sched *s = &e->sched;
    struct engine_job *at = s->last;

    j->run.order = ++s->n_submitted;
    j->run.salt = e->use_cache ? j->cache_salt & ~SALT_OF_JOB : SALT_OF_JOB | j->run.order;
    while (at && at->service < j->service)
        at = at->run.prev;
    j->run.prev = at;
    j->run.next = at ? at->run.next : s->first;
    if (at)
        at->run.next = j;
    else
        s->first = j;
    if (j->run.next)
        j->run.next->run.prev = j;
    else
        s->last = j;
}

static void take_inbox(struct engine *e)
{
    struct mbox_item *list = mbox_take(&e->inbox), *it;

    while ((it = mbox_next(&list))) {
        struct engine_job *j =
            (struct engine_job *)(void *)((char *)it - offsetof(struct engine_job, run.inbox));
        enqueue(e, j);
    }
}

/* Cancelled, stalled and finished jobs leave; pauses are looked at again. */
static void sweep(struct engine *e)
{
    int64_t now = clock_now_us();
    struct engine_job *j, *next;
    int quit = atomic_load(&e->quit);

    for (j = e->sched.first; j; j = next) {
        next = j->run.next;
        if (quit)
            job_fail(e, j, ERR_DRAINING);
        else if (atomic_load_explicit(&j->run.cancel, memory_order_acquire))
            job_fail(e, j, ERR_CANCELLED);
        if (has_room(j)) {
            atomic_store_explicit(&j->run.paused, 0, memory_order_release);
            j->run.paused_us = 0;
        } else if (!j->run.paused_us) {
            atomic_store_explicit(&j->run.paused, 1, memory_order_release);
            j->run.paused_us = now;
        } else if (now - j->run.paused_us > e->stall_us_max) {
            job_fail(e, j, ERR_SLOW_READER);
        }
        if (j->run.n_finished == j->n_choices && !job_done(e, j) && quit) {
            /* nobody reads any more: let go without the event */
            unlink_job(&e->sched, j);
            wake_now(&e->sched, j->reader);
            atomic_store_explicit(&j->run.released, 1, memory_order_release);
        }
    }
}

static struct engine_seq *free_slot(struct sched *s)
{
    for (int32_t i = 0; i < s->n_seqs; i++) {
        if (s->seq[i].state == SEQ_FREE)
            return &s->seq[i];
    }
    return NULL;
}

/* Jobs get slots in order; further choices of a job once its prompt is computed. */
static void give_slots(struct engine *e)
{
    struct sched *s = &e->sched;

    for (struct engine_job *j = s->first; j; j = j->run.next) {
        while (j->run.n_started < j->n_choices && (j->run.n_started == 0 || j->run.prefilled)) {
            struct engine_seq *q = free_slot(s);
            if (!q)
                return;
            q->job = j;
            q->state = SEQ_WAIT;
            q->choice = j->run.n_started++;
            q->order = j->run.order * ENGINE_CHOICES_MAX + (uint64_t)q->choice;
            memcpy(q->token, j->prompt, (size_t)j->n_prompt * sizeof *q->token);
            q->n_token = j->n_prompt;
            q->n_done = q->n_generated = q->n_told = 0;
            detok_init(&q->detok, e->vocab, 0);
            q->stop = (struct stop){.n_held = 0};
        }
    }
}

/* The waiting sequence that goes first, or NULL. */
static struct engine_seq *next_waiting(struct sched *s)
{
    struct engine_seq *best = NULL;
    for (int32_t i = 0; i < s->n_seqs; i++) {
        struct engine_seq *q = &s->seq[i];
        if (q->state == SEQ_WAIT &&
            (!best || q->job->service > best->job->service ||
             (q->job->service == best->job->service && q->order < best->order)))
            best = q;
    }
    return best;
}

static int n_holding(const struct sched *s)
{
    int n = 0;
    for (int32_t i = 0; i < s->n_seqs; i++)
        n += s->seq[i].state == SEQ_PREFILL || s->seq[i].state == SEQ_DECODE;
    return n;
}

static void seq_start(struct engine *e, struct engine_seq *q, int32_t n_cached)
{
    struct engine_job *j = q->job;
    struct engine_event *ev;

    q->n_done = n_cached;
    q->state = SEQ_PREFILL;
    if (q->n_generated)
        return; /* back after a preemption: its reader knows */
    atomic_fetch_add_explicit(&e->cached_tokens, (uint64_t)n_cached, memory_order_relaxed);
    if (q->choice)
        return;
    if (!j->run.scheduled_us) {
        j->run.scheduled_us = clock_now_us();
        j->run.n_cached = n_cached;
        ev = event_begin(j, ENGINE_EV_STARTED, 0);
        if (ev)
            event_end(e, j, ev);
    }
}

/* Waiting sequences enter while pages for all their tokens are to be had. */
static void admit(struct engine *e)
{
    struct engine_seq *q;

    while ((q = next_waiting(&e->sched))) {
        struct engine_job *j = q->job;
        int look = (e->use_cache || q->choice || q->n_generated) && !j->echo_logprobs;
        int32_t cached = kv_seq_open(e->kv, &q->kv, j->run.salt, look,
                                     e->use_cache || j->n_choices > 1, q->token, q->n_token);
        struct kv_stats st;
        kv_stats(e->kv, &st);
        if ((q->n_token - cached) / KERN_PAGE + 2 > st.n_free + st.n_cached &&
            n_holding(&e->sched)) {
            kv_seq_close(e->kv, &q->kv);
            return; /* first come, first served: nobody overtakes it */
        }
        seq_start(e, q, cached);
    }
}

/* ---- a step
 * ------------------------------------------------------------------------------------------------
 */

static void preempt(struct engine *e, struct engine_seq *q)
{
    kv_seq_close(e->kv, &q->kv);
    q->state = SEQ_WAIT;
    q->n_done = 0;
    q->take = 0;
    atomic_fetch_add_explicit(&e->preemptions, 1, memory_order_relaxed);
}

/* The newest holder of pages in the lowest class. */
static struct engine_seq *victim(struct sched *s)
{
    struct engine_seq *worst = NULL;
    for (int32_t i = 0; i < s->n_seqs; i++) {
        struct engine_seq *q = &s->seq[i];
        if (q->state != SEQ_PREFILL && q->state != SEQ_DECODE)
            continue;
        if (!worst || q->job->service < worst->job->service ||
            (q->job->service == worst->job->service && q->order > worst->order))
            worst = q;
    }
    return worst;
}

/* Pages for what q takes in this step, at the cost of newer sequences; 0 when q itself had to go.
 */
static int make_room(struct engine *e, struct engine_seq *q)
{
    while (kv_seq_grow(e->kv, &q->kv, q->n_done + q->take)) {
        struct engine_seq *v = victim(&e->sched);
        preempt(e, v);
        if (v == q)
            return 0;
    }
    return 1;
}

static int32_t most_now(const struct engine *e, const struct engine_seq *q, int *echo_taken)
{
    if (atomic_load_explicit(&q->job->run.paused, memory_order_relaxed) || !has_room(q->job))
        return 0;
    if (q->state == SEQ_PREFILL && q->job->echo_logprobs && !q->choice) {
        uint32_t free_bytes = q->job->ring.cap / 2;
        int32_t rows = (int32_t)(free_bytes / (sizeof(struct engine_event) + 32));
        if ((*echo_taken)++)
            return 0; /* one at a time: its rows share one buffer */
        return rows < ECHO_ROWS ? rows : ECHO_ROWS;
    }
    return e->info.chunk;
}

/* Decide who takes how many tokens; returns the sum. */
static int32_t plan_step(struct engine *e)
{
    struct sched *s = &e->sched;
    struct batch_limits lim = {.tokens = e->info.chunk + e->info.batch_max,
                               .prompt_mixed = e->info.chunk / 2 ? e->info.chunk / 2 : 1};
    int n = 0, echo = 0;
    int32_t sum = 0;

    for (int32_t i = 0; i < s->n_seqs; i++) {
        struct engine_seq *q = &s->seq[i];
        q->take = 0;
        if (q->state != SEQ_PREFILL && q->state != SEQ_DECODE)
            continue;
        s->plan[n] = (struct batch_seq){.service = q->job->service,
                                        .order = q->order,
                                        .decoding = q->state == SEQ_DECODE,
                                        .remaining = q->n_token - q->n_done,
                                        .most = most_now(e, q, &echo)};
        s->plan_seq[n++] = i;
    }
    batch_plan(&lim, s->plan, n, s->take, s->plan_scratch);
    for (int k = 0; k < n; k++)
        s->seq[s->plan_seq[k]].take = s->take[k] < e->info.chunk ? s->take[k] : e->info.chunk;
    for (int k = 0; k < n; k++) { /* oldest first, so that the newest give way */
        struct engine_seq *q = &s->seq[s->plan_seq[s->plan_scratch[k]]];
        if (q->take && q->state != SEQ_WAIT && !make_room(e, q))
            q->take = 0;
    }
    for (int32_t i = 0; i < s->n_seqs; i++)
        sum += s->seq[i].state != SEQ_FREE ? s->seq[i].take : 0;
    return sum;
}

static void sample_rows(void *arg, int w, int32_t begin, int32_t end)
{
    struct engine *e = arg;
    struct sched *s = &e->sched;

    for (int32_t i = begin; i < end; i++) {
        struct engine_seq *q = s->rows[i];
        const struct engine_sampling *p = &q->job->sampling;
        struct sample_in in = {.p = p,
                               .choice = (uint64_t)q->choice,
                               .position = (uint64_t)q->n_token,
                               .history = q->token,
                               .n_prompt = q->job->n_prompt,
                               .n_history = q->n_token,
                               .banned = s->banned};
        if (p->ignore_eos || q->n_generated < p->min_tokens)
            in.n_banned = s->n_banned;
        q->drawn_err = sample_token(e->kern, step_logits(e->step, q->row + q->n_rows - 1), &in,
                                    &s->scratch[w], &q->drawn);
    }
}

/* Lay out, run and sample. */
static void run_step(struct engine *e)
{
    struct sched *s = &e->sched;
    struct step_batch b = {.token = s->tokens, .seg = s->seg, .out = s->out};
    uint64_t bytes, prompt = 0;

    s->n_rows = 0;
    for (int32_t i = 0; i < s->n_seqs; i++) {
        struct engine_seq *q = &s->seq[i];
        int echo, last;
        if (q->state == SEQ_FREE || !q->take)
            continue;
        echo = q->job->echo_logprobs && !q->choice && q->n_done < q->job->n_prompt;
        last = q->n_done + q->take == q->n_token;
        s->seg[b.n_segs++] =
            (struct step_seg){.kv = &q->kv, .pos = q->n_done, .tok = b.n_tok, .n = q->take};
        memcpy(s->tokens + b.n_tok, q->token + q->n_done, (size_t)q->take * sizeof *s->tokens);
        q->drawn_err = q->prompt_err = 0;
        q->row = b.n_out;
        q->n_rows = echo ? q->take : last;
        for (int32_t k = q->take - q->n_rows; k < q->take; k++)
            s->out[b.n_out++] = b.n_tok + k;
        if (last && q->job->run.limit > 0)
            s->rows[s->n_rows++] = q;
        if (q->state == SEQ_PREFILL)
            prompt += (uint64_t)q->take;
        b.n_tok += q->take;
    }
    team_lock(e->team);
    bytes = step_run(e->step, &b);
    team_unlock(e->team);
    atomic_fetch_add_explicit(&e->weight_bytes_read, bytes, memory_order_relaxed);
    atomic_fetch_add_explicit(&e->prompt_tokens, prompt, memory_order_relaxed);
    atomic_fetch_add_explicit(&e->n_steps, 1, memory_order_relaxed);
    atomic_store_explicit(&e->last_tokens, b.n_tok, memory_order_relaxed);
    atomic_store_explicit(&e->last_seqs, b.n_segs, memory_order_relaxed);
}

/* ---- after a step
 * -------------------------------------------------------------------------------------------- */

/* Log-probabilities of prompt tokens: row r of the step follows position n_done + r. */
static int send_prompt(struct engine *e, struct engine_seq *q)
{
    struct engine_job *j = q->job;

    for (int32_t r = q->n_done ? 0 : -1; r < q->n_rows; r++) {
        int32_t at = q->n_done + r + 1; /* the token spoken of */
        struct sample_out o = {.token = at < j->n_prompt ? q->token[at] : -1, .logprob = NAN};
        struct engine_event *ev;
        if (at >= j->n_prompt)
            break;
        if (at < q->n_told)
            continue;
        if (r >= 0 && sample_logprobs(e->kern, step_logits(e->step, q->row + r), e->info.n_vocab,
                                      o.token, j->echo_top, &o))
            return ERR_NUMERIC;
        ev = event_begin(j, ENGINE_EV_PROMPT, 0);
        if (!ev)
            return ERR_SLOW_READER;
        ev->token = o.token;
        ev->logprob = o.logprob;
        ev->n_top = (uint8_t)o.n_top;
        memcpy(ev->top, o.top, sizeof ev->top);
        event_end(e, j, ev);
        q->n_told = at + 1;
    }
    return 0;
}

static int is_stop_token(const struct engine_seq *q, int32_t t)
{
    const struct engine_sampling *p = &q->job->sampling;
    for (int32_t i = 0; i < p->n_stop_token; i++) {
        if (p->stop_token[i] == t)
            return 1;
    }
    return 0;
}

/* A drawn token: text to the reader, and the end where it is one. */
static void take_token(struct engine *e, struct engine_seq *q)
{
    struct engine_job *j = q->job;
    const struct engine_sampling *p = &j->sampling;
    struct buf *text = &e->sched.text, *piece = &e->sched.piece;
    int32_t t = q->drawn.token;
    int armed, hit;
    struct engine_event *ev;

    q->token[q->n_token++] = t;
    q->n_generated++;
    j->run.n_generated++;
    atomic_fetch_add_explicit(&e->generated_tokens, 1, memory_order_relaxed);
    armed = q->n_generated >= p->min_tokens;
    if (armed && ((vocab_is_eog(e->vocab, t) && !p->ignore_eos) || is_stop_token(q, t))) {
        seq_finish(e, q, ENGINE_STOP, 0);
        return;
    }
    buf_clear(text);
    buf_clear(piece);
    hit = detok_push(&q->detok, t, 0, piece);
    if (!hit)
        hit = stop_push(&q->stop, p, armed, piece->data, piece->len, text);
    ev = hit < 0 ? NULL : event_begin(j, ENGINE_EV_TEXT, (uint32_t)text->len);
    if (!ev) {
        job_fail(e, j, hit < 0 ? hit : ERR_SLOW_READER);
        return;
    }
    if (text->len)
        memcpy(ev->text, text->data, text->len);
    ev->choice = (uint8_t)q->choice;
    ev->token = t;
    ev->logprob = q->drawn.logprob;
    ev->n_top = (uint8_t)q->drawn.n_top;
    memcpy(ev->top, q->drawn.top, (size_t)q->drawn.n_top * sizeof ev->top[0]);
    ev->n_generated = q->n_generated;
    event_end(e, j, ev);
    if (hit)
        seq_finish(e, q, ENGINE_STOP, 1);
    else if (q->n_generated >= j->run.limit)
        seq_finish(e, q, ENGINE_LENGTH, 0);
}

static void after_prefill(struct engine *e, struct engine_seq *q)
{
    struct engine_job *j = q->job;
    struct engine_event *ev;

    if (!j->run.prefilled && !q->n_generated && !q->choice) {
        if (q->n_done >= j->n_prompt) {
            j->run.prefilled = 1;
            j->run.first_us = clock_now_us();
        } else if ((ev = event_begin(j, ENGINE_EV_PREFILL, 0))) {
            ev->n_done = q->n_done;
            event_end(e, j, ev);
        }
    }
}

/* Positions are computed: share pages, send events, draw tokens, end what has ended. */
static void settle_step(struct engine *e)
{
    struct sched *s = &e->sched;

    for (int32_t i = 0; i < s->n_seqs; i++) { /* before sampling changes any row */
        struct engine_seq *q = &s->seq[i];
        if (q->state != SEQ_FREE && q->take && q->n_rows && q->job->echo_logprobs && !q->choice &&
            q->n_done < q->job->n_prompt)
            q->prompt_err = send_prompt(e, q);
    }
    team_lock(e->team);
    team_run(e->team, s->n_rows, 1, sample_rows, e);
    team_unlock(e->team);
    for (int32_t i = 0; i < s->n_seqs; i++) {
        struct engine_seq *q = &s->seq[i];
        int drawn = 0;
        if (q->state == SEQ_FREE || !q->take)
            continue;
        for (int32_t k = 0; k < s->n_rows; k++)
            drawn |= s->rows[k] == q;
        q->n_done += q->take;
        kv_seq_commit(e->kv, &q->kv, q->token, q->n_done);
        if (q->drawn_err || q->prompt_err) {
            job_fail(e, q->job, q->prompt_err ? q->prompt_err : q->drawn_err);
            continue;
        }
        after_prefill(e, q);
        if (q->n_done == q->n_token)
            q->state = SEQ_DECODE;
        if (drawn)
            take_token(e, q);
        else if (q->n_done == q->n_token)
            seq_finish(e, q, ENGINE_LENGTH, 0); /* max_tokens 0 */
    }
}

static void observe(struct engine *e)
{
    int32_t waiting = 0, running = n_holding(&e->sched);

    for (struct engine_job *j = e->sched.first; j; j = j->run.next)
        waiting += !j->run.scheduled_us && j->run.n_finished < j->n_choices;
    if (e->sched.first)
        observe_pages(e);
    atomic_store_explicit(&e->n_waiting, waiting, memory_order_relaxed);
    atomic_store_explicit(&e->n_running, running, memory_order_relaxed);
    atomic_store_explicit(&e->beat_us, clock_now_us(), memory_order_relaxed);
}

void *sched_main(void *arg)
{
    struct engine *e = arg;

    prctl(PR_SET_NAME, "gaufre-engine", 0, 0, 0);
    for (;;) {
        int32_t n;
        take_inbox(e);
        sweep(e);
        if (atomic_load(&e->quit) && !e->sched.first)
            break;
        give_slots(e);
        admit(e);
        n = plan_step(e);
        if (n) {
            run_step(e);
            settle_step(e);
            sweep(e);
        }
        observe(e);
        wake_readers(e);
        if (!n)
            mbox_wait(&e->inbox, e->sched.first ? PAUSED_MS : IDLE_MS);
    }
    wake_readers(e);
    return NULL;
}
