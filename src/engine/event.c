/* The events that a job's reader gets, and how choices and jobs end. */
#include <stddef.h>
#include <string.h>

#include "base/check.h"
#include "base/clock.h"
#include "engine/loop_int.h"

/* Post the job in its reader's mailbox; the reader's thread is woken once per step. */
static void notify(struct engine *e, struct engine_job *j)
{
    struct loop *s = &e->loop;

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

/* Room for an event of n_text bytes in the job's ring, or NULL. */
struct engine_event *event_begin(struct engine_job *j, enum engine_event_kind kind, uint32_t n_text)
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

void event_end(struct engine *e, struct engine_job *j, const struct engine_event *ev)
{
    ring_push_commit(&j->ring, (uint32_t)sizeof *ev + ev->n_text);
    if (ev->kind != ENGINE_EV_DONE)
        notify(e, j);
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

/* Send DONE and let go of the job; 0 when the ring is full (tried again in the next iteration). */
int job_done(struct engine *e, struct engine_job *j)
{
    struct engine_event *ev = event_begin(j, ENGINE_EV_DONE, 0);
    int64_t now = clock_now_us();

    if (!ev)
        return 0;
    ev->err = j->run.err;
    ev->n_generated = j->run.n_generated;
    ev->n_drafted = j->run.n_drafted;
    ev->n_draft_right = j->run.n_draft_right;
    ev->n_predicted_right = j->run.n_predicted_right;
    ev->n_predicted_wrong = j->run.n_predicted_wrong;
    ev->n_done = j->run.n_prompt_done;
    ev->queue_us = (j->run.scheduled_us ? j->run.scheduled_us : now) - j->accepted_us;
    ev->prompt_us = j->run.first_us ? j->run.first_us - j->run.scheduled_us : 0;
    ev->completion_us = j->run.first_us ? now - j->run.first_us : 0;
    sched_leave(&e->loop.sched, &j->run.sched);
    observe_pages(e); /* a reader that has seen DONE finds the pages counted as free */
    event_end(e, j, ev);
    notify(e, j);
    event_wake_now(&e->loop, j->reader);
    atomic_store_explicit(&j->run.released, 1, memory_order_release); /* the reader may free it */
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
    if (!j->run.err)
        j->run.err = err;
    sched_forget(&j->run.sched);
    j->run.n_finished = j->n_choices;
}

/* A choice ends: send what is still held back, unless a stop string ended it (`cut`): what came
 * after that is not shown, not even as the rest of a character. */
void seq_finish(struct engine *e, struct engine_seq *q, enum finish why, int cut)
{
    struct engine_job *j = q->job;
    struct buf *text = &e->loop.text;
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
    ev->n_unshown = cut ? q->stop.n_tokens : 0;
    ev->choice = (uint8_t)q->choice;
    ev->n_generated = q->n_generated;
    event_end(e, j, ev);
    j->run.n_finished++;
    seq_release(e, q);
}
