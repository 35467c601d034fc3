/* What this machine can do at best, measured for `gaufre bench`: one row per peak and number of
 * threads, each of the smallest working set that shows it (docs/performance.md). One thread. */
#ifndef CMD_PEAKS_H
#define CMD_PEAKS_H

#include <jansson.h>
#include <stddef.h>

#include "kern/peak.h"

#define PEAKS_MAX 24

struct peak {
    const char *what;
    const char *unit; /* "GB/s" or "GMAC/s" */
    int threads;
    size_t bytes; /* of the working set, all threads; 0: registers */
    double value; /* in units */
};

struct peaks {
    struct peak row[PEAKS_MAX];
    int n;
};

/* The peaks that a model's figures are a share of: bytes/s over `set` bytes of weights, and
 * multiply-adds/s, all with n threads. 0, ERR_NOMEM. */
struct machine {
    int threads;
    enum kern_isa isa;
    double read, dot, fma, tiles;
};
int machine_measure(struct machine *m, size_t set);

/* Everything, with 1 and m->threads threads; rows of caches and tiles only where there are some.
 * 0, ERR_NOMEM. */
int peaks_measure(struct peaks *l, const struct machine *m, size_t set);

void peaks_print(const struct peaks *l); /* a table, on stdout */
json_t *peaks_json(const struct peaks *l);

#endif
