/* Idle machines of a site are lent to other work: how many, and which. Pure; microseconds of any
 * clock that does not step.
 *
 * Each node of a site serves, is lent (a batch system may use it), returns (it was asked for back
 * and other work is on it still), or is withheld (it serves, and is not to be lent: the batch
 * system's operator holds it back, or it is down there).
 *
 * Of n nodes the site's own work needs as many as its sequences need by their places, at least
 * those that its contracts keep and those that always serve. The capacity factor leaves so many of
 * the n in all; what it leaves beyond the need may be lent. Where more is lent than that, the
 * difference is asked for back at once, newest lent first. Where less is, the difference is lent
 * once it has been there for the dwell, and only where a node more than needed stays while anything
 * runs: else work that comes and goes would move nodes with it. */
#ifndef POLICY_LEND_NODES_H
#define POLICY_LEND_NODES_H

#include <stdint.h>

enum lend_state { LEND_SERVING, LEND_LENT, LEND_RETURNING, LEND_WITHHELD, LEND_STATES };
const char *lend_state_name(enum lend_state s);

struct lend_node {
    enum lend_state state;
    int64_t since_us;
};

struct lend_rules {
    int n_keep;      /* always serve, >= 1 */
    int64_t idle_us; /* the dwell */
};

/* A site at a moment. */
struct lend_site {
    int64_t n_busy;     /* sequences that run or wait there */
    int64_t n_kept;     /* that its contracts are to find room for */
    int64_t n_places;   /* of all nodes together; 0: it has none (yet) */
    int32_t factor_ppm; /* its capacity factor, */
    int32_t soon_ppm;   /* or the lowest that is announced, where that is lower */
};

/* Why so many are wanted. */
enum lend_cause { LEND_IDLE, LEND_WORK, LEND_CONTRACTS, LEND_FACTOR, LEND_ANNOUNCED };
const char *lend_cause_name(enum lend_cause c);

/* Zeroed: nothing has been idle yet. */
struct lend_gate {
    int64_t since_us; /* more could be lent; 0: it could not */
    int n_least;      /* so many more, in all of that time */
};

struct lend_plan {
    int n_wanted;          /* lent, now */
    int n_back, n_out;     /* to ask back, and to lend: one of them at most is not 0 */
    enum lend_cause cause; /* of n_back; else why no more are wanted */
};

/* now_us > 0. */
struct lend_plan lend_step(struct lend_gate *g, const struct lend_rules *rules,
                           const struct lend_site *s, const struct lend_node *v, int n,
                           int64_t now_us);
/* The next node to ask back: the newest lent, of these the last; and to lend: the one that has
 * served longest, of these the first. -1: there is none. */
int lend_next_back(const struct lend_node *v, int n);
int lend_next_out(const struct lend_node *v, int n);

/* The part of its places that a site may use: its factor less the nodes of n that are lent or
 * return, but not less than its nodes that always serve have of it. */
int32_t lend_places_ppm(int32_t factor_ppm, int n, int n_away, int n_keep);

#endif
