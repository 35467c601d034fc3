/* Sequences whose readers pause give their slots and pages to others, and come back. */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "engine/sched_int.h"

/* A choice without a slot. What can be computed again is left out: KV, the prompt, the lookup. */
struct engine_aside {
    struct engine_aside *next;
    struct engine_seq seq;
    int32_t token[]; /* of the answer */
};

/* The sequence whose reader has paused longest, and for so long that it gives way; or NULL. */
static struct engine_seq *longest_paused(struct engine *e, int needs_pages)
{
    struct sched *s = &e->sched;
    int64_t since = clock_now_us() - e->give_way_us;
    struct engine_seq *best = NULL;

    for (int32_t i = 0; i < s->n_seqs; i++) {
        struct engine_seq *q = &s->seq[i];
        int64_t paused = q->state == SEQ_FREE ? 0 : q->job->run.paused_us;
        if (!paused || paused > since || (needs_pages && q->state == SEQ_WAIT))
            continue;
        if (!best || paused < best->job->run.paused_us)
            best = q;
    }
    return best;
}

int aside_pages(struct engine *e)
{
    struct engine_seq *q = longest_paused(e, 1);

    if (q)
        seq_preempt(e, q);
    return q != NULL;
}

struct engine_seq *aside_slot(struct engine *e)
{
    struct engine_seq *q = longest_paused(e, 0);
    struct engine_aside *a;
    size_t n;

    if (!q)
        return NULL;
    n = (size_t)(q->n_token - q->job->n_prompt) * sizeof a->token[0];
    a = malloc(sizeof *a + n);
    if (!a)
        return NULL; /* it stays where it is */
    if (q->state != SEQ_WAIT)
        seq_preempt(e, q);
    a->seq = *q;
    memcpy(a->token, q->token + q->job->n_prompt, n);
    a->next = q->job->run.aside;
    q->job->run.aside = a;
    seq_release(e, q);
    return q;
}

const struct engine_seq *aside_first(const struct engine_job *j)
{
    return &j->run.aside->seq;
}

struct engine_seq *aside_return(struct engine_job *j, struct engine_seq *q)
{
    struct engine_aside *a = j->run.aside;
    int32_t *token = q->token;
    struct kv_seq kv = q->kv;
    struct lookup lookup = q->lookup; /* empty */

    *q = a->seq;
    q->token = token;
    q->kv = kv;
    q->lookup = lookup;
    q->n_indexed = 0;
    memcpy(token, j->prompt, (size_t)j->n_prompt * sizeof *token);
    memcpy(token + j->n_prompt, a->token, (size_t)(q->n_token - j->n_prompt) * sizeof *token);
    j->run.aside = a->next;
    free(a);
    return q;
}

void aside_drop(struct engine_job *j)
{
    struct engine_aside *a;

    while ((a = j->run.aside)) {
        j->run.aside = a->next;
        free(a);
    }
}
