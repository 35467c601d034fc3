/* The energy counters of x86 processors (RAPL), as Linux shows them below /sys/class/powercap:
 * intel-rapl:0 with name "package-0", intel-rapl:0:1 with name "dram", and so on; AMD's are in the
 * same place. Counted are the packages, with the memory beside them; cores and uncore are inside a
 * package, psys is the whole platform and counts only where there are no packages. A folder
 * intel-rapl-mmio shows the same packages once more and is not read.
 *
 * One thread at a time. Reading takes some microseconds a counter and never waits. */
#ifndef ENGINE_RAPL_H
#define ENGINE_RAPL_H

#include <stdint.h>

#include "base/err.h"
#include "policy/energy_flow.h"

#define RAPL_ROOT        "/sys/class/powercap"
#define RAPL_DOMAINS_MAX 64

struct rapl_domain {
    int fd;
    uint64_t top; /* the counter's greatest value, in microjoules: then it is 0 again */
    struct energy_counter counter;
};

struct rapl {
    int n;
    struct rapl_domain domain[RAPL_DOMAINS_MAX];
};

/* ERR_NOTFOUND: this machine shows none; ERR_FORBIDDEN: they may not be read; ERR_FORMAT; each with
 * a sentence that says what to do. */
int rapl_open(struct rapl *r, const char *root, struct err *e);
void rapl_close(struct rapl *r);
/* Microjoules of all counters since the reading before. ERR_AGAIN: not known (the first reading, or
 * a counter went backwards); ERR_IO, ERR_FORMAT: a counter can't be read. */
int rapl_read(struct rapl *r, int64_t *ret_uj);

#endif
