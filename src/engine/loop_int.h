/* The engine thread's files among themselves: loop.c (jobs, slots, the loop), iteration.c (a
 * step), event.c (what readers are told, ends), aside.c (who is without a slot), past.c
 * (what goes on). All on the engine thread. Who goes next and who gives way is policy/sched's to
 * say; here it is done. */
#ifndef ENGINE_LOOP_INT_H
#define ENGINE_LOOP_INT_H

#include <stddef.h>

#include "engine/engine_int.h"

/* ---- loop.c --------------------------------------------------------------------------------- */

static inline struct engine_job *job_of(struct sched_job *j)
{
    return (struct engine_job *)(void *)((char *)j - offsetof(struct engine_job, sched));
}

static inline struct engine_seq *seq_of(struct sched_seq *q)
{
    return (struct engine_seq *)(void *)((char *)q - offsetof(struct engine_seq, slot));
}

static inline int seq_holds_pages(const struct engine_seq *q)
{
    return q->slot.state == SEQ_PREFILL || q->slot.state == SEQ_DECODE;
}

/* The job's prompt and the phases into the slot's memory. */
void seq_write_prompt(struct engine *e, struct engine_seq *q);

/* Its first choice leaves the queue, and that is told. */
void job_begin(struct engine *e, struct engine_job *j, int32_t n_cached);

/* ---- past.c --------------------------------------------------------------------------------- */

/* A choice that has just got its first slot continues behind what was told of it before:
 * q->past_end says whether that was all. */
void past_restore(struct engine *e, struct engine_seq *q);
void past_finish(struct engine *e, struct engine_seq *q); /* it was: the choice ends */

/* ---- iteration.c ----------------------------------------------------------------------------- */

/* Decide who takes how many tokens; returns the sum. */
int32_t iteration_plan(struct engine *e);
/* Lay out and run; then share pages, draw tokens, send events, end what has ended. */
void iteration_run(struct engine *e);
void iteration_settle(struct engine *e);
/* What token t adds to the text that may be shown, in `text` (cleared before). 1: it completed a
 * stop string; ERR_*. */
int seq_text(struct engine *e, struct engine_seq *q, int32_t t, struct buf *text);
/* Take q's pages from it; q waits and is computed again later. */
void seq_preempt(struct engine *e, struct engine_seq *q);

/* ---- event.c --------------------------------------------------------------------------------- */

/* Room for an event in the job's ring, with its token (or NULL) and its text (or NULL) in it; NULL
 * when there is none. What else it says is the caller's to fill, before event_end shows it. */
struct event *event_begin(struct engine *e, struct engine_job *j, enum event_kind kind,
                          const struct sample_out *drawn, const struct buf *text);
void event_end(struct engine *e, struct engine_job *j, const struct event *ev);
uint32_t event_bytes(const struct engine_job *j); /* of a token's, with a text of some bytes */
/* The ring has room for anything one step can send. */
int event_has_room(const struct engine_job *j);
/* Wake one reader at once if it is due: after its last job is released, its mailbox may go. */
void event_wake_now(struct loop *s, struct mbox *reader);
void event_wake_all(struct engine *e);

void seq_release(struct engine *e, struct engine_seq *q); /* its slot and pages are free */
/* A choice ends: what is still held back is sent, unless a stop string ended it (`cut`). */
void seq_finish(struct engine *e, struct engine_seq *q, enum finish why, int cut);
void job_leave(struct engine *e, struct engine_job *j); /* it is counted no more */
/* Send DONE and let go of the job; 0 when the ring is full (tried again in the next iteration). */
int job_done(struct engine *e, struct engine_job *j);
/* End all of a job's choices with an error; DONE follows in a later sweep. */
void job_fail(struct engine *e, struct engine_job *j, int err);
void observe_pages(struct engine *e);

/* ---- aside.c --------------------------------------------------------------------------------- */

/* Take q's slot from it and keep in its job what it needs to continue; ERR_NOMEM when there is no
 * memory for that: then q keeps its slot. */
int aside_put(struct engine *e, struct engine_seq *q);
/* The choice that was put aside continues in q, as if nothing had happened; row: as sched_seat
 * returned it when the choice got q's slot. */
void aside_return(struct engine *e, struct engine_seq *q, struct sched_seq *row);
void aside_drop(struct engine_job *j);

#endif
