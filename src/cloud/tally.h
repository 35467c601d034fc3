/* What accounts have used of their limits, in memory that the processes of an upgrade share: the
 * old process and the new one count together, so a rate does not begin anew and a budget is not
 * spent twice while both serve.
 *
 * The memory is a file without a name (memfd), which the next process is handed (serve/handover.h).
 * Each account has a row, under its kind and name, and each process a slot, for what it holds; what
 * a process held that is gone counts no more. A process of another version, whose rows are others,
 * begins with a memory of its own.
 *
 * Threads: any; tally_tidy by one. Limits: TALLY_ROWS accounts, others count in their own process
 * only; TALLY_PROCESSES. */
#ifndef CLOUD_TALLY_H
#define CLOUD_TALLY_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>

#include "base/err.h"

#define TALLY_ROWS      16384
#define TALLY_PROCESSES 8
#define TALLY_NAME_MAX  160
#define TALLY_RATES     9
#define TALLY_BUDGETS   12

struct tally_budget {
    int64_t from, until, settled; /* of the window that runs */
    int64_t held[TALLY_PROCESSES];
    unsigned counted; /* bits of processes that have such a budget: then `settled` is kept */
};

struct tally_row {
    char name[TALLY_NAME_MAX];            /* with its kind */
    _Atomic int64_t paid_ns[TALLY_RATES]; /* quota.h; CLOCK_MONOTONIC, which processes share */
    pthread_mutex_t lock;                 /* of what follows; rank: a leaf */
    struct tally_budget budget[TALLY_BUDGETS];
};

struct tally;

/* What the process before handed over, or where that is none (fd < 0, or of another version) a new
 * one. The descriptor is the tally's then. ERR_IO, ERR_AGAIN: all slots are taken. */
int tally_open(struct tally **ret, int fd, struct err *e);
void tally_close(struct tally *t);     /* accepts NULL */
int tally_fd(const struct tally *t);   /* to hand over */
int tally_slot(const struct tally *t); /* this process's */
/* The row of an account, made where it is missing; NULL: there is no room. It stays. */
struct tally_row *tally_row(struct tally *t, char kind, const char *name);
void tally_lock(struct tally_row *r); /* also where a process died with it */
void tally_unlock(struct tally_row *r);
/* Forget what processes held that are gone; to be called now and then. */
void tally_tidy(struct tally *t);

#endif
