/* Putting a sequence aside: it gives its slot and pages to another one and later continues in a
 * free slot. This happens to sequences whose readers pause, and to those of a tenant that has all
 * slots while another tenant has none. */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "engine/loop_int.h"

/* The state of a choice that was put aside. KV, prompt tokens and lookup are not kept, because they
 * can be computed again. */
struct engine_aside {
    struct engine_aside *next;
    struct engine_seq seq;
    int32_t token[]; /* of the answer */
};

/* The sequence whose reader has paused longest, if that is longer than give_way_us; or NULL. */
static struct engine_seq *longest_paused(struct engine *e, int needs_pages)
{
    struct loop *s = &e->loop;
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

/* Of the sequences that hold a slot (or pages as well) the one that must give way to `who`. */
static struct engine_seq *gives_way(struct engine *e, const struct rota_one *who, int needs_pages)
{
    struct loop *s = &e->loop;
    int n = 0, v;

    for (int32_t i = 0; i < s->n_seqs; i++) {
        const struct engine_seq *q = &s->seq[i];
        if (q->state == SEQ_FREE || (needs_pages && q->state == SEQ_WAIT))
            continue;
        s->holder_seq[n] = i;
        s->holders[n++] = seq_rota(q);
    }
    v = rota_gives_way(who, s->holders, n);
    return v < 0 ? NULL : &s->seq[s->holder_seq[v]];
}

int aside_pages(struct engine *e, const struct rota_one *who)
{
    struct engine_seq *q = longest_paused(e, 1);

    if (!q)
        q = gives_way(e, who, 1);
    if (q)
        seq_preempt(e, q);
    return q != NULL;
}

/* Put q aside and return its slot, now free; NULL without the memory to keep q's state. */
static struct engine_seq *put_aside(struct engine *e, struct engine_seq *q)
{
    struct engine_aside *a;
    size_t n;

    n = (size_t)(q->n_token - q->job->n_prompt) * sizeof a->token[0];
    a = malloc(sizeof *a + n);
    if (!a)
        return NULL; /* q keeps its slot */
    if (q->state != SEQ_WAIT)
        seq_preempt(e, q);
    a->seq = *q;
    memcpy(a->token, q->token + q->job->n_prompt, n);
    a->next = q->job->run.aside;
    q->job->run.aside = a;
    seq_release(e, q);
    return q;
}

struct engine_seq *aside_slot(struct engine *e, const struct rota_one *who)
{
    struct engine_seq *q = who ? gives_way(e, who, 0) : longest_paused(e, 0);

    return q ? put_aside(e, q) : NULL;
}

const struct engine_seq *aside_first(const struct engine_job *j)
{
    return &j->run.aside->seq;
}

struct engine_seq *aside_return(struct engine *e, struct engine_job *j, struct engine_seq *q)
{
    struct engine_aside *a = j->run.aside;
    struct engine_seq slot = *q; /* the memory that belongs to the slot stays with the slot */

    *q = a->seq;
    q->token = slot.token;
    q->answer = slot.answer;
    q->kv = slot.kv;
    q->lookup = slot.lookup; /* empty */
    q->n_indexed = 0;
    seq_write_prompt(e, q);
    memcpy(q->token + j->n_prompt, a->token,
           (size_t)(q->n_token - j->n_prompt) * sizeof a->token[0]);
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
