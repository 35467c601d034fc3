/* The places at one supplier, and who waits for one of them.
 *
 * A supplier elsewhere has so many places for sequences as its configuration says
 * (`concurrency`), whichever of its models they are of. Who finds none waits, and policy/sched says
 * whose turn it is, as in the engine: higher tiers first, tenants by turns in a deficit round robin
 * of tokens, nobody for ever. What is there already is never taken away. A request of more
 * sequences than there are places goes when nobody else is there.
 *
 * Who is within a contract goes first, before all tiers. As what is there stays there, places may
 * be kept for such work: so many others cannot have, but for those that it has itself. One place at
 * least is everybody's.
 *
 * The site of the supplier may leave only a part of the places (policy/derate.h). With none nobody
 * is let in, and who waits is turned away.
 *
 * A place is the caller's memory. Whoever has waited is told by a post of its item in its reader's
 * mailbox; line_has then says yes, or line_is_closed to one that was turned away. Any thread; a
 * decision looks at each that waits. */
#ifndef CLOUD_LINE_H
#define CLOUD_LINE_H

#include <stdatomic.h>
#include <stdint.h>

#include "base/mbox.h"
#include "job/tier.h"
#include "policy/sched.h"

struct line_place {
    /* The caller's, before line_enter. */
    enum tier tier;
    int32_t tenant, n_seqs;
    int64_t n_tokens; /* of its prompt, about */
    int goes_first;   /* it is within a contract */
    struct mbox *reader;
    struct mbox_item *item;
    /* The line's. */
    struct sched_job turn;
    enum { LINE_AWAY, LINE_WAITS, LINE_INSIDE, LINE_TURNED } state; /* under its lock */
    _Atomic int has; /* 1: its place; -1: it was turned away */
};

struct line;
struct line *line_new(int32_t capacity); /* >= 1; NULL: no memory */
void line_free(struct line *l);          /* nobody is there; accepts NULL */

/* 1: it has its place; 0: it waits; ERR_SITE_CLOSED: nobody is let in, and it is not there. */
int line_enter(struct line *l, struct line_place *p);
int line_has(const struct line_place *p);
int line_is_closed(const struct line_place *p);
/* It has ended, or does not wait any longer; it has used so many tokens besides its prompt's. Again
 * does nothing. When this returns its item is posted no more. */
void line_leave(struct line *l, struct line_place *p, int64_t n_tokens);

/* How many that wait go before it, as it was at most LINE_PLACED_US ago; -1: it does not wait. */
#define LINE_PLACED_US INT64_C(250000)
int32_t line_before(struct line *l, const struct line_place *p, int64_t now_us);

/* So much of the places may be used from now on, in millionths. What is there stays. */
void line_derate(struct line *l, int32_t factor_ppm);

/* So many places are kept for those within a contract from now on, or that share of those that may
 * be used, if it is more. */
void line_keep(struct line *l, int32_t n, int32_t share_ppm);

int32_t line_capacity(const struct line *l); /* of all */
/* Sequences that have their places, and that wait. */
void line_look(const struct line *l, int32_t *ret_inside, int32_t *ret_waiting);

#endif
