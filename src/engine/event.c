/* The events that a job's reader gets, and how choices and jobs end. */
#include <string.h>

#include "base/check.h"
#include "base/clock.h"
#include "engine/loop_int.h"

/* Post the job in its reader's mailbox; the reader's thread is woken once per step. */
static void notify(struct engine *e, struct engine_job *j)
{
    struct loop *s = &e->loop;

    if (!mbox_post(j->ask->reader, &j->ask->item))
        return;
    for (int i = 0; i < s->wake_n; i++) {
        if (s->wake[i] == j->ask->reader)
            return;
    }
    if (s->wake_n == (int)ARRAY_LEN(s->wake)) {
        mbox_wake(j->ask->reader);
        return;
    }
    s->wake[s->wake_n++] = j->ask->reader;
}

/* Wake one reader at once if it is due: after its last job is released, its mailbox may go. */
void event_wake_now(struct loop *s, struct mbox *reader)
{
    for (int i = 0; i < s->wake_n; i++) {
        if (s->wake[i] == reader) {
            s->wake[i] = s->wake[--s->wake_n];
            mbox_wake(reader);
            return;
        }
    }
}

void event_wake_all(struct engine *e)
{
    for (int i = 0; i < e->loop.wake_n; i++)
        mbox_wake(e->loop.wake[i]);
    e->loop.wake_n = 0;
}

/* A record in the job's ring: an event, and after it in this order what it points to: the cost of
 * the job, the alternatives to its token, the text. The reader reads it in its place. */
struct cost {
    struct usage usage;
    struct times times;
};

static uint32_t record_bytes(const struct event *ev)
{
    return (uint32_t)(sizeof *ev + (ev->times ? sizeof(struct cost) : 0) +
                      (size_t)ev->n_top * sizeof *ev->top + ev->n_text);
}

static void fill_token(const struct engine *e, struct event *ev, const struct sample_out *drawn,
                       struct top *top)
{
    ev->token = drawn->token;
    ev->logprob = drawn->logprob;
    ev->special = vocab_is_control(e->vocab, ev->token);
    ev->bytes = vocab_piece(e->vocab, ev->token, &ev->n_bytes);
    for (int32_t i = 0; i < drawn->n_top; i++) {
        top[i] = (struct top){.token = drawn->top[i].token, .logprob = drawn->top[i].logprob};
        top[i].bytes = vocab_piece(e->vocab, top[i].token, &top[i].n_bytes);
    }
}

/* Time until it left the queue, or until now. */
static int64_t queue_us(const struct engine_job *j, int64_t now)
{
    return (j->scheduled_us ? j->scheduled_us : now) - j->ask->accepted_us;
}

struct event *event_begin(struct engine *e, struct engine_job *j, enum event_kind kind,
                          const struct sample_out *drawn, const struct buf *text)
{
    static const struct times told = {0};
    struct event now = {.kind = kind,
                        .token = -1,
                        .n_text = text ? text->len : 0,
                        .n_top = drawn ? drawn->n_top : 0,
                        .n_cached = j->n_cached,
                        .energy_uj = j->energy_uj};
    struct cost *cost;
    struct event *ev;
    struct top *top;

    if (kind == EVENT_STARTED || kind == EVENT_DONE)
        now.times = &told; /* that it has some; where they lie is known below */
    ev = ring_push_begin(&j->ring, record_bytes(&now));
    if (!ev)
        return NULL;
    *ev = now;
    cost = (void *)(ev + 1);
    if (now.times) {
        *cost = (struct cost){.times.queue_us = queue_us(j, clock_now_us())};
        ev->usage = &cost->usage;
        ev->times = &cost->times;
    }
    top = (void *)(now.times ? cost + 1 : cost);
    ev->top = top;
    if (drawn)
        fill_token(e, ev, drawn, top);
    ev->text = memcpy(top + ev->n_top, text && text->len ? text->data : "", ev->n_text);
    return ev;
}

void event_end(struct engine *e, struct engine_job *j, const struct event *ev)
{
    ring_push_commit(&j->ring, record_bytes(ev));
    if (ev->kind != EVENT_DONE)
        notify(e, j);
}

uint32_t event_bytes(const struct engine_job *j)
{
    const struct event ev = {.n_top = j->ask->sampling.n_top, .n_text = 32};

    return record_bytes(&ev);
}

/* The ring has room for anything one step can send. */
int event_has_room(const struct engine_job *j)
{
    return ring_used(&j->ring) <= j->ring.cap / 2;
}

void seq_release(struct engine *e, struct engine_seq *q)
{
    if (seq_holds_pages(q))
        kv_seq_close(e->kv, &q->kv);
    sched_free(&q->slot);
    q->job = NULL;
    lookup_reset(&q->lookup);
}

/* Only while there are jobs: without any, an offline evaluation may be using the pages. */
void observe_pages(struct engine *e)
{
    struct kv_stats st;
    kv_stats(e->kv, &st);
    atomic_store_explicit(&e->pages_free, st.n_free, memory_order_relaxed);
    atomic_store_explicit(&e->pages_cached, st.n_cached, memory_order_relaxed);
}

/* The job is counted no more, and the pages it had are counted as free: before its reader sees it
 * done. */
void job_leave(struct engine *e, struct engine_job *j)
{
    sched_leave(&e->loop.sched, &j->sched);
    if (!j->scheduled_us)
        atomic_fetch_sub(&e->n_waiting, 1);
    atomic_fetch_sub(&e->n_inside, j->n_inside);
    observe_pages(e);
}

static struct energy energy_of(const struct engine *e, const struct engine_job *j)
{
    struct energy used = {0};

    if (e->meter && !j->energy_is_late)
        used = *energy_meter_label(e->meter);
    used.uj = j->energy_uj;
    return used;
}

/* Send DONE and let go of the job; 0 when the ring is full (tried again in the next iteration). */
int job_done(struct engine *e, struct engine_job *j)
{
    struct event *ev = event_begin(e, j, EVENT_DONE, NULL, NULL);
    int64_t now = clock_now_us();

    if (!ev)
        return 0;
    ev->code = j->err;
    ev->n_drafted = j->n_drafted;
    ev->n_draft_right = j->n_draft_right;
    ev->n_done = j->n_prompt_done;
    *(struct cost *)(void *)(ev + 1) =
        (struct cost){.usage = {.prompt_tokens = j->n_prompt_done,
                                /* wrong ones were computed, and are billed */
                                .completion_tokens = j->n_generated + j->n_predicted_wrong,
                                .cached_tokens = j->n_cached,
                                .accepted_prediction_tokens = j->n_predicted_right,
                                .rejected_prediction_tokens = j->n_predicted_wrong,
                                .energy = energy_of(e, j)},
                      .times = {.queue_us = queue_us(j, now),
                                .prompt_us = j->first_us ? j->first_us - j->scheduled_us : 0,
                                .completion_us = j->first_us ? now - j->first_us : 0}};
    job_leave(e, j);
    event_end(e, j, ev);
    notify(e, j);
    event_wake_now(&e->loop, j->ask->reader);
    atomic_store_explicit(&j->released, 1, memory_order_release); /* the reader may free it */
    return 1;
}

/* End all of a job's choices with an error; DONE follows in sweep(). */
void job_fail(struct engine *e, struct engine_job *j, int err)
{
    struct loop *s = &e->loop;

    for (int32_t i = 0; i < s->n_seqs; i++) {
        if (s->seq[i].job == j)
            seq_release(e, &s->seq[i]);
    }
    aside_drop(j);
    if (!j->err)
        j->err = err;
    sched_forget(&j->sched);
    j->n_finished = j->ask->n_choices;
}

/* A choice ends: send what is still held back, unless a stop string ended it (`cut`): what came
 * after that is not shown, not even as the rest of a character. */
void seq_finish(struct engine *e, struct engine_seq *q, enum finish why, int cut)
{
    struct engine_job *j = q->job;
    struct buf *text = &e->loop.text;
    struct event *ev;

    buf_clear(text);
    if (!cut) {
        stop_finish(&q->stop, text);
        detok_finish(&q->detok, text);
    }
    ev = event_begin(e, j, EVENT_FINISH, NULL, text);
    if (!ev) {
        job_fail(e, j, ERR_SLOW_READER);
        return;
    }
    ev->finish = why;
    ev->n_unshown = cut ? q->stop.n_tokens : 0;
    ev->choice = q->choice;
    ev->n_generated = q->n_generated;
    event_end(e, j, ev);
    j->n_finished++;
    j->n_inside--;
    atomic_fetch_sub(&e->n_inside, 1);
    seq_release(e, q);
}
