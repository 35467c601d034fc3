/* What this machine can do at best, measured for `gaufre bench`: one row a limit and number of
 * threads, each of the smallest working set that shows it (docs/performance.md). One thread. */
#ifndef CMD_LIMITS_H
#define CMD_LIMITS_H

#include <jansson.h>
#include <stddef.h>

#include "kern/probe.h"

#define LIMITS_MAX 24

struct limit {
    const char *what;
    const char *unit; /* "GB/s" or "GMAC/s" */
    int threads;
    size_t bytes; /* of the working set, all threads; 0: registers */
    double value; /* in units */
};

struct limits {
    struct limit row[LIMITS_MAX];
    int n;
};

/* The limits that a model's figures are a share of: bytes/s over `set` bytes of weights, and
 * multiply-adds/s, all with n threads. 0, ERR_NOMEM. */
struct machine {
    int threads;
    enum kern_isa isa;
    double read, dot, fma, tiles;
};
int machine_measure(struct machine *m, size_t set);

/* Everything, with 1 and m->threads threads; rows of caches and tiles only where there are some.
 * 0, ERR_NOMEM. */
int limits_measure(struct limits *l, const struct machine *m, size_t set);

void limits_print(const struct limits *l); /* a table, on stdout */
json_t *limits_json(const struct limits *l);

#endif
