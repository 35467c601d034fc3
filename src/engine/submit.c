/* The caller's side of a job: checked and handed over, cancelled, read. Any thread, as engine.h
 * says. */
#include <inttypes.h>
#include <math.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include "engine/loop_int.h"

#define RING_MIN (32u << 10)

static int check_sampling(const struct engine *e, const struct sampling *p, struct err *err)
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
    if (p->n_stop < 0 || p->n_stop > SAMPLING_STOPS_MAX)
        return err_set_param(err, ERR_ARG, "stop", "at most %d stop strings", SAMPLING_STOPS_MAX);
    for (int32_t i = 0; i < p->n_stop; i++) {
        if (p->stop[i].n < 1 || p->stop[i].n > SAMPLING_STOP_LEN)
            return err_set_param(err, ERR_ARG, "stop", "a stop string has 1 to %d bytes",
                                 SAMPLING_STOP_LEN);
    }
    if (p->n_top < 0 || p->n_top > SAMPLING_TOP_MAX)
        return err_set_param(err, ERR_ARG, "top_logprobs", "0 to %d", SAMPLING_TOP_MAX);
    return 0;
}

/* What was told before must be an answer to this prompt: tokens that there are, no more than fit.
 */
static int check_past(const struct engine *e, const struct job *j, int32_t limit, struct err *err)
{
    for (int32_t c = 0; j->past && c < j->n_choices; c++) {
        const struct job_past *p = &j->past[c];
        if (j->echo || p->n < 0 || p->n > limit || p->n > e->info.context - j->n_prompt)
            return err_set(err, ERR_ARG, "choice %d cannot go on behind %d tokens", c, p->n);
        for (int32_t i = 0; i < p->n; i++) {
            if (p->token[i] < 0 || p->token[i] >= e->info.n_vocab)
                return err_set(err, ERR_ARG, "token %d is not in the vocabulary", p->token[i]);
        }
    }
    return 0;
}

/* Half the ring has room for what one step can send: each choice's token and its end, its drafts,
 * or a row of prompt tokens; and that it was started, put back, done. */
static uint32_t ring_bytes(const struct engine_job *w)
{
    int32_t n = w->ask->n_choices, more = w->ask->echo ? MORE_ROWS : n * LOOKUP_MAX;
    uint32_t cap = RING_MIN;

    more = more < MORE_ROWS ? more : MORE_ROWS;
    while (cap / 2 < (uint32_t)(2 * n + more + 4) * event_bytes(w))
        cap *= 2;
    return cap;
}

static struct engine_job *make(const struct engine *e, struct job *j)
{
    struct engine_job *w, ask = {.ask = j};
    uint32_t cap = ring_bytes(&ask);

    w = aligned_alloc(_Alignof(struct engine_job), sizeof *w + cap);
    if (!w)
        return NULL;
    memset(w, 0, sizeof *w);
    w->ask = j;
    w->n_inside = j->n_choices;
    atomic_init(&w->n_before, -1);
    ring_init(&w->ring, w->data, cap);
    return w;
}

int engine_submit(struct engine *e, struct job *j, struct err *err)
{
    struct engine_job *w;
    int32_t want = j->sampling.max_tokens, context = e->info.context, room, limit;
    int rc;

    if (atomic_load(&e->quit))
        return err_set(err, ERR_DRAINING, "the server is shutting down");
    if (j->n_prompt < 1)
        return err_set_param(err, ERR_ARG, "prompt", "the prompt is empty");
    if (j->n_choices < 1 || j->n_choices > JOB_CHOICES_MAX)
        return err_set_param(err, ERR_ARG, "n", "1 to %d choices", JOB_CHOICES_MAX);
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
    limit = want >= 0                                         ? want
            : e->info.output_max && e->info.output_max < room ? e->info.output_max
                                                              : room;
    rc = check_sampling(e, &j->sampling, err);
    if (!rc)
        rc = check_past(e, j, limit, err);
    if (rc)
        return rc;
    w = make(e, j);
    if (!w)
        return err_set(err, ERR_NOMEM, "No memory for one more request.");
    w->limit = limit;
    j->inner = w;
    atomic_fetch_add(&e->n_waiting, 1);
    atomic_fetch_add(&e->n_inside, j->n_choices);
    if (mbox_post(&e->inbox, &w->inbox))
        mbox_wake(&e->inbox);
    return 0;
}

void engine_cancel(struct engine *e, struct job *j)
{
    struct engine_job *w = j->inner;

    if (!w)
        return;
    atomic_store_explicit(&w->cancel, 1, memory_order_release);
    mbox_wake(&e->inbox);
}

int32_t engine_before(const struct job *j)
{
    const struct engine_job *w = j->inner;

    return atomic_load_explicit(&w->n_before, memory_order_relaxed);
}

const struct event *engine_event_peek(struct job *j)
{
    struct engine_job *w = j->inner;
    uint32_t n;

    return ring_peek(&w->ring, &n);
}

void engine_event_pop(struct engine *e, struct job *j)
{
    struct engine_job *w = j->inner;

    ring_pop(&w->ring);
    if (atomic_load_explicit(&w->paused, memory_order_acquire) &&
        ring_used(&w->ring) < w->ring.cap / 4)
        mbox_wake(&e->inbox);
}

int engine_release(struct job *j)
{
    struct engine_job *w = j->inner;

    /* The engine sets it a few instructions after DONE became visible. */
    while (!atomic_load_explicit(&w->released, memory_order_acquire))
        sched_yield();
    if (atomic_load_explicit(&j->item.posted, memory_order_acquire))
        return 0;
    j->inner = NULL;
    free(w);
    return 1;
}
