/* A job that goes on: what was told of its choices before is put back, silently and as it was, and
 * the first token that is drawn is the next one. The KV of what was told is computed again, in the
 * phase of an answer, as after a preemption. */
#include "base/clock.h"
#include "engine/loop_int.h"

/* What was computed before is not charged again, and is part of what the job used. */
static void count(struct engine_job *j, const struct job_past *p)
{
    j->n_generated += p->is_over ? p->n_generated : p->n;
    if (p->n || p->is_over)
        j->n_prompt_done = j->ask->n_prompt;
}

void past_restore(struct engine *e, struct engine_seq *q)
{
    struct engine_job *j = q->job;
    const struct job_past *p = &j->ask->past[q->choice];
    int hit = 0;

    count(j, p);
    for (int32_t i = 0; i < p->n && !hit; i++) {
        q->token[q->n_token++] = p->token[i];
        q->n_generated++;
        hit = seq_text(e, q, p->token[i], &e->loop.text);
    }
    q->past_end = p->is_over                 ? PAST_TOLD
                  : hit < 0                  ? PAST_FAILED
                  : hit                      ? PAST_STOP
                  : p->n && p->n >= j->limit ? PAST_LENGTH
                                             : PAST_GOES_ON;
}

void past_finish(struct engine *e, struct engine_seq *q)
{
    struct engine_job *j = q->job;

    job_begin(e, j, 0);
    if (!q->choice) { /* whose prompt others would wait for */
        j->sched.is_shared = 1;
        j->first_us = clock_now_us();
    }
    if (q->past_end == PAST_FAILED) {
        job_fail(e, j, ERR_NOMEM);
    } else if (q->past_end == PAST_TOLD) {
        j->n_finished++;
        j->n_inside--;
        atomic_fetch_sub(&e->n_inside, 1);
        seq_release(e, q);
    } else {
        seq_finish(e, q, q->past_end == PAST_STOP ? FINISH_STOP : FINISH_LENGTH,
                   q->past_end == PAST_STOP);
    }
}
