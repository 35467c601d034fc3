/* The engine thread's files among themselves: loop.c (jobs, slots, the loop), iteration.c (a
 * step), event.c (what readers are told, ends), aside.c (who gives way to others). All on the
 * engine thread. */
#ifndef ENGINE_LOOP_INT_H
#define ENGINE_LOOP_INT_H

#include "engine/engine_int.h"

/* ---- loop.c --------------------------------------------------------------------------------- */

/* The sequence as policy/rota sees it. */
struct rota_one seq_rota(const struct engine_seq *q);
int job_is_paused(const struct engine_job *j); /* its reader does not read */
/* The job's prompt and the phases into the slot's memory. */
void seq_write_prompt(struct engine *e, struct engine_seq *q);

/* ---- iteration.c ----------------------------------------------------------------------------- */

/* Decide who takes how many tokens; returns the sum. */
int32_t iteration_plan(struct engine *e);
/* Lay out and run; then share pages, draw tokens, send events, end what has ended. */
void iteration_run(struct engine *e);
void iteration_settle(struct engine *e);
/* Take q's pages from it; q waits and is computed again later. */
void seq_preempt(struct engine *e, struct engine_seq *q);

/* ---- event.c --------------------------------------------------------------------------------- */

/* Room for an event of n_text bytes in the job's ring, or NULL. */
struct engine_event *event_begin(struct engine_job *j, enum engine_event_kind kind,
                                 uint32_t n_text);
void event_end(struct engine *e, struct engine_job *j, const struct engine_event *ev);
/* The ring has room for anything one step can send. */
int event_has_room(const struct engine_job *j);
/* Wake one reader at once if it is due: after its last job is released, its mailbox may go. */
void event_wake_now(struct loop *s, struct mbox *reader);
void event_wake_all(struct engine *e);

void seq_release(struct engine *e, struct engine_seq *q); /* its slot and pages are free */
/* A choice ends: what is still held back is sent, unless a stop string ended it (`cut`). */
void seq_finish(struct engine *e, struct engine_seq *q, enum finish why, int cut);
/* Send DONE and let go of the job; 0 when the ring is full (tried again in the next iteration). */
int job_done(struct engine *e, struct engine_job *j);
/* End all of a job's choices with an error; DONE follows in a later sweep. */
void job_fail(struct engine *e, struct engine_job *j, int err);
void job_unlink(struct loop *s, struct engine_job *j);
void observe_pages(struct engine *e);

/* ---- aside.c --------------------------------------------------------------------------------- */

/* Free a slot for a sequence that waits: put aside a choice whose reader has paused for long or,
 * with `who` given and no slot free, one that must give way to `who` (policy/rota). Returns the
 * free slot, or NULL when there is none. */
struct engine_seq *aside_slot(struct engine *e, const struct rota_one *who);
/* The same for pages: readers that pause first, then those that must give way; 1 when some pages
 * became free. */
int aside_pages(struct engine *e, const struct rota_one *who);
const struct engine_seq *aside_first(const struct engine_job *j); /* that is to come back */
/* Continue the first choice that was put aside in the free slot q, as if nothing had happened. */
struct engine_seq *aside_return(struct engine *e, struct engine_job *j, struct engine_seq *q);
void aside_drop(struct engine_job *j);

#endif
