/* The compute team: fork-join over a range of items, for one caller at a time.
 *
 * Owns the worker threads of the process; engines share it (team_lock serialises their steps). A
 * run splits [0, n) into one contiguous part per worker, so that a worker keeps streaming the same
 * weights and pages, and workers that finish early claim chunks of their neighbours' parts. The
 * caller works too. A run ends when every item is done, not when every worker has arrived: a worker
 * that is asleep or preempted before it has claimed anything costs nothing.
 *
 * Idle workers spin briefly, then sleep on a futex. When a wait at the end of a run says that a
 * core is busy elsewhere, the team works with one thread less, which then helps when it can
 * (team_part_time.c). team_set_part_time switches that off. */
#ifndef BASE_TEAM_H
#define BASE_TEAM_H

#include <stdint.h>

#include "base/err.h"

#define TEAM_THREADS_MAX 256

struct team;

/* n threads, the caller counted in; 0: as many as CPUs are allowed to us. */
int team_open(struct team **ret, int n, struct err *e);
void team_close(struct team *t); /* accepts NULL */
/* Off: all threads take part in every run, whatever else wants their cores. On at first. Before the
 * first run. */
void team_set_part_time(struct team *t, int on);
int team_size(const struct team *t);
/* CPUs that are allowed to us. */
int team_cpus(void);

/* Items [begin, end) by worker `w` (0 <= w < team_size): scratch memory may be indexed by it. */
typedef void team_fn(void *arg, int w, int32_t begin, int32_t end);

/* Run fn over [0, n) in claims of about `chunk` items (>= 1). Returns when all items are done;
 * everything they wrote is visible. Only the holder of team_lock calls this. */
void team_run(struct team *t, int32_t n, int32_t chunk, team_fn *fn, void *arg);

void team_lock(struct team *t);
void team_unlock(struct team *t);

#endif
