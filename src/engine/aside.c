/* Putting a sequence aside: it gives its slot and pages to another one and later continues in a
 * free slot. Which sequence, policy/sched decides: one whose reader pauses, or one of a tenant that
 * has all slots while another tenant has none. */
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "engine/loop_int.h"

/* The state of a choice that was put aside. KV, prompt tokens and lookup are not kept, because they
 * can be computed again. */
struct engine_aside {
    struct engine_seq seq;
    int32_t token[]; /* of the answer */
};

static struct engine_aside *aside_of(struct sched_seq *row)
{
    return (struct engine_aside *)(void *)((char *)row - offsetof(struct engine_aside, seq.slot));
}

int aside_put(struct engine *e, struct engine_seq *q)
{
    size_t n = (size_t)(q->n_token - q->job->ask->n_prompt) * sizeof(int32_t);
    struct engine_aside *a = malloc(sizeof *a + n);

    if (!a)
        return ERR_NOMEM; /* q keeps its slot */
    if (q->slot.state != SEQ_WAIT)
        seq_preempt(e, q);
    a->seq = *q;
    memcpy(a->token, q->token + q->job->ask->n_prompt, n);
    sched_put_aside(&q->slot, &a->seq.slot);
    seq_release(e, q);
    return 0;
}

void aside_return(struct engine *e, struct engine_seq *q, struct sched_seq *row)
{
    struct engine_aside *a = aside_of(row);
    struct engine_seq slot = *q; /* whose memory stays its own */

    *q = a->seq;
    q->slot = slot.slot;
    q->token = slot.token;
    q->answer = slot.answer;
    q->kv = slot.kv;
    q->lookup = slot.lookup; /* empty */
    q->n_indexed = 0;
    seq_write_prompt(e, q);
    memcpy(q->token + q->job->ask->n_prompt, a->token,
           (size_t)(q->n_token - q->job->ask->n_prompt) * sizeof a->token[0]);
    free(a);
}

void aside_drop(struct engine_job *j)
{
    for (struct sched_seq *row = j->sched.aside, *next; row; row = next) {
        next = row->next;
        free(aside_of(row));
    }
    j->sched.aside = NULL;
}
