/* The scheduler: which sequence begins next, who gives its slot or pages to whom. Pure: the same
 * decisions in the engine, in tests and under the clock of the planner.
 *
 * A job asks for one or more sequences. A sequence takes a slot, of which there is a fixed number,
 * and then begins, when there are pages for all its tokens; the further sequences of a job share
 * its prompt and wait until that is computed. A sequence that is preempted loses its pages and
 * waits in its slot; one that is put aside loses its slot, too, and takes one again later.
 *
 * Whose turn it is, policy/rota says: higher tiers first, tenants of one tier by turns. Turns are a
 * deficit round robin in tokens: each round a tenant may use SCHED_QUANTUM of them (of prompts that
 * were not cached, and of answers), and what it uses beyond is taken from its next rounds; so long
 * requests earn nobody more than short ones. A tenant that comes begins some rounds before the
 * others: it is *new*, and goes before them, until it has used SCHED_NEW tokens. So who asks for
 * little hardly feels who asks for much. More of what it did not use while it was away is not saved
 * up; what it owes is kept while there is room, but to nobody who comes when nobody is there.
 *
 * The tiers below ROTA_FIRM fill what is idle: their sequences give slots and pages to any of a
 * higher tier, batch also to flex. To ROTA_CONTRACT, whose places are paid for, all others give
 * theirs, the lowest tier first and of it the newest; and slots may be kept free for it, which no
 * other takes. Between firm tiers, and within one, only a
 * tenant that has nothing takes something from another. Beyond that, a job of which nothing was
 * computed for SCHED_STEPS steps, while a higher tier was there, is owed a place: it goes before
 * all tiers until it ends, one job at a time. So nobody waits for ever; within the highest tier
 * that is there turns alone see to it, and nobody gains by a long queue.
 *
 * Rows are the caller's memory, one in each of its jobs and sequences; the scheduler links them,
 * allocates nothing and asks no clock. Decisions change nothing: the caller acts, and says so with
 * the verb for it. A decision walks over the jobs twice at most; where all slots are taken, it may
 * look at each slot for each job. One thread. */
#ifndef POLICY_SCHED_H
#define POLICY_SCHED_H

#include <stdint.h>

#include "policy/rota.h"

#define SCHED_SEQS_MAX 256 /* sequences of one job */
#define SCHED_STEPS    256 /* of others, until one that waits is owed a place */
#define SCHED_QUANTUM  256 /* tokens that a tenant may use in a round */
#define SCHED_NEW      512 /* that it may use before others when it comes */
#define SCHED_SHARES   512 /* tenants that are told apart; more of them are one to turns */

enum seq_state {
    SEQ_FREE,    /* the slot is nobody's */
    SEQ_WAIT,    /* has a slot, holds no pages: new, or preempted */
    SEQ_PREFILL, /* holds pages; some of its tokens are not computed yet */
    SEQ_DECODE   /* all but the last are */
};

/* A slot and the sequence in it, or a sequence that was put aside. */
struct sched_seq {
    struct sched_job *job;
    struct sched_seq *next; /* aside, of the same job */
    enum seq_state state;
    int resumed;    /* it had pages before */
    uint64_t order; /* of arrival */
    int64_t round;  /* in which its tenant was when it began */
    /* Of the step that is planned (policy/batch): */
    int32_t n_left, most; /* tokens not computed; and what it may take, 0: it must rest */
    int32_t take;         /* the decision */
};

/* What a tenant has used. Rows are found by the tenant's number, and given to another one when it
 * has no job. */
struct sched_share {
    int32_t tenant;
    int32_t n_jobs[ROTA_OWED];
    int64_t used[ROTA_OWED];      /* tokens, of each tier */
    int64_t new_until[ROTA_OWED]; /* it is new while it has used less */
    int32_t n_placed[ROTA_TIERS]; /* jobs, by sched_place */
    int is_known;
};

struct sched_job {
    /* The caller's, before sched_enter. */
    int tier; /* by tier_rank, or ROTA_CONTRACT */
    int32_t tenant, n_seqs;
    /* The caller's, true whenever it asks. */
    int is_shared;     /* its prompt is computed: its further sequences may begin */
    int64_t paused_us; /* since when its reader does not read; 0: it does */
    int rests;         /* none of it can be computed just now, as when its reader does not read */
    uint64_t served_step; /* the last one that brought it on, or in which it was in the highest tier
                             that was there; or of its arrival */
    /* The scheduler's. */
    struct sched_job *next, *prev;
    struct sched_share *share;
    struct sched_seq *aside;  /* its sequences without a slot, the last one first */
    struct sched_job *behind; /* while they are placed: who goes after it */
    uint64_t order;
    int32_t n_begun; /* of its sequences: have, or had, a slot */
    int is_owed;
    int has_begun;    /* one of its sequences */
    int32_t n_before; /* as sched_place said; -1: not yet */
};

/* Zeroed, then with its slots. */
struct sched {
    struct sched_seq *const *slot; /* [n_slots] */
    int n_slots;
    int n_others_max;               /* slots that all but ROTA_CONTRACT may have together; 0: all */
    int64_t give_way_us;            /* paused for so long, a sequence gives way to others */
    struct sched_job *first, *last; /* by arrival */
    uint64_t n_entered;
    struct rota rota;
    struct sched_share share[SCHED_SHARES + 1]; /* the last: of all for whom there was no row */
    int64_t clock[ROTA_OWED];                   /* the most that any had used who left a tier */
    int n_tenants;                              /* rows of these that were ever a tenant's */
};

/* A job arrives, when `step` steps have been computed; it leaves, none of its sequences being in a
 * slot. */
void sched_enter(struct sched *s, struct sched_job *j, uint64_t step);
void sched_leave(struct sched *s, struct sched_job *j);
/* The job has used so many tokens: of its prompt those that were not cached, as they are computed,
 * and of its answers each. Computing something again is not its doing. */
void sched_charge(struct sched_job *j, int64_t tokens);
/* The same of a job that has left: where its tenant is not known any more, nothing. */
void sched_charge_late(struct sched *s, int32_t tenant, int tier, int64_t tokens);
/* Has its tenant come to its tier, and used less than SCHED_NEW since? */
int sched_is_new(const struct sched_job *j);
/* The job's sequences that have no slot will not want one any more. */
void sched_forget(struct sched_job *j);

/* Find a job that is owed a place now; to be called once an iteration. */
void sched_note_owed(struct sched *s, uint64_t step);

/* The sequence as policy/rota sees it. */
struct rota_one sched_one(const struct sched_seq *q);

struct sched_turn {
    struct sched_seq *seq; /* the first of the sequences that wait in their slots, or NULL */
    struct sched_job
        *job; /* not NULL: a sequence of this job goes before `seq`, and needs a slot */
    struct sched_seq *slot; /* the slot for it; a sequence that is in it must be put aside */
};
/* Which sequence is to begin next. Where no slot is free, it is taken from the sequence whose
 * reader has paused longest, if that is longer than give_way_us; else from one that fills, for any
 * tier above its own; else, for a tenant that has no slot, from a lower tier, or from a tenant of
 * its tier that has several. A sequence whose reader pauses does not begin. */
void sched_next(const struct sched *s, int64_t now_us, struct sched_turn *ret);
/* Tell each job that has not begun how many others go before it, in n_before: as things stand now,
 * if all used as much and nobody came. It looks at each job, n log n times. */
void sched_place(struct sched *s);
/* Which sequence is to be preempted so that `who` can begin; NULL: none. */
struct sched_seq *sched_yielder(const struct sched *s, const struct sched_seq *who, int64_t now_us);
/* Which sequence is to be preempted when there are no pages for those that have begun: first one
 * that rests; then, in the lowest tier, of the tenant that holds most sequences the newest. The
 * oldest of the highest tier is the last to be chosen. NULL: none holds pages. */
struct sched_seq *sched_victim(const struct sched *s);

/* The job's next sequence takes the free slot. Returns the sequence that had been put aside and now
 * continues in it; NULL: a new one begins. */
struct sched_seq *sched_seat(struct sched_job *j, struct sched_seq *slot);
/* The sequence begins; it loses its pages; it loses its slot, and its row is kept in `aside`, the
 * caller's memory; it has ended. */
void sched_begin(struct sched *s, struct sched_seq *q);
void sched_preempt(struct sched_seq *q);
void sched_put_aside(struct sched_seq *q, struct sched_seq *aside);
void sched_free(struct sched_seq *q);

#endif
