/* Inside the compute team: what team.c (the runs) and team_part_time.c (who takes part in them)
 * share. */
#ifndef BASE_TEAM_INT_H
#define BASE_TEAM_INT_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/types.h>
#include <time.h>

#include "base/team.h"

/* A worker's part of the run: (epoch << 32 | next item) and its end. A claim is a compare-and-swap
 * on the pair, so a worker that is late for its run can never take items of a newer one. `end` lies
 * outside the pair: a part is closed (next = CLOSED) before its end changes, so whoever sees a
 * newer end fails the swap. */
#define CLOSED 0x7fffffffu

struct part {
    _Alignas(64) _Atomic uint64_t next;
    _Atomic int32_t end;
};

enum part_time_state {
    PART_TIME_CALLED, /* it was called, or is about to leave */
    PART_TIME_HERE,
    PART_TIME_AWAY,      /* it left undisturbed */
    PART_TIME_DISTURBED, /* it left, and had lost its core during the visit */
    PART_TIME_STACKED    /* it came on the caller's own core, and left at once */
};

struct worker {
    pthread_t thread;
    struct team *team;
    int index;
    clockid_t clock;  /* of its CPU time */
    int64_t noted_us; /* the caller's note of that, -1: was not at work */

    _Alignas(64) _Atomic int at_work; /* it may hold a claim */
    _Atomic pid_t tid;

    /* As the part-time worker: */
    _Atomic uint32_t calls;  /* futex: while it is away it waits for the next one */
    _Atomic int state;       /* enum part_time_state */
    _Atomic int64_t came_us; /* this visit */
    _Atomic int64_t until_us;
    long preemptions; /* its own count when it came */
};

struct team {
    int n;
    int always_all; /* nobody is the part-time worker, ever */
    struct worker *worker;
    struct part *part;
    pthread_mutex_t lock;

    /* The current run. Written by the caller before `epoch`, read after it. */
    _Alignas(64) _Atomic uint32_t epoch;
    _Atomic int32_t chunk;
    _Atomic(team_fn *) fn;
    _Atomic(void *) arg;
    _Atomic int active;  /* workers that take part */
    _Atomic int members; /* workers that always do; the next one, if any, is the part-time worker */
    _Atomic int quit;
    _Atomic int64_t visit_us; /* how long it stays */
    _Atomic int caller_cpu;   /* when it was called */

    _Alignas(64) _Atomic int32_t todo; /* items not yet done */
    _Alignas(64) _Atomic int sleepers;

    /* The caller's view of the part-time worker. */
    int64_t called_us; /* 0: not yet, since it stopped being a member */
    int64_t left_us;   /* 0: not seen to have left */
    int64_t gap_us;    /* how long it is then left alone */
    int64_t good_us;   /* visits up to this length may grow fast */
    int prompt;        /* times in a row that it came at once */
    int stalled;       /* it kept us waiting in this visit */
    int steered_from;  /* the core that it may not come to, or -1 */
};

void team_sleep(_Atomic uint32_t *at, uint32_t value);
void team_wake(_Atomic uint32_t *at);

/* Worker: may it take part in the next run? If not, it sleeps in this call until it is called
 * again, and the result is 0. ret_until_us: the time after which it must not claim any more; 0:
 * none. */
int part_time_may_stay(struct worker *me, int64_t *ret_until_us);

/* Caller: how many workers the next run is for. */
int part_time_choose_active(struct team *t);

/* Caller, while it waits for the end of a run: part_time_note notes the CPU time of each worker
 * that is at work; part_time_blame, later in the same wait, finds a worker that did not run since
 * then (another process had its core) and makes it the part-time worker or shortens its visits. */
void part_time_note(struct team *t);
void part_time_blame(struct team *t, int64_t wait_began_us, int64_t noted_us);

/* Caller: let a worker that is away come back. */
void part_time_call(struct worker *w);

#endif
