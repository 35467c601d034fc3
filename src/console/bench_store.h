/* Rates of this machine as `gaufre bench` measured them, in one small file: the newest row for each
 * model file, class, kernels, processor and number of threads. Any thread; the file is replaced by
 * an atomic rename, so a reader sees the old rows or the new ones. */
#ifndef CONSOLE_BENCH_STORE_H
#define CONSOLE_BENCH_STORE_H

#include <stdint.h>

#include "base/err.h"

#define BENCH_STORE_MAX       64 /* rows; the oldest goes */
#define BENCH_STORE_BYTES_MAX ((size_t)256 << 10)

/* What was measured of one model file on one machine, and what the machine allows; 0: not
 * measured. */
struct bench_rates {
    char model[256]; /* the file's base name */
    char cls[16], kernels[32], cpu[128];
    uint64_t file_bytes;
    int threads;
    int64_t measured; /* unix seconds; 0: never */
    double read_bytes_per_s, int8_per_s;
    double decode_median, decode_limit, prefill_median, prefill_limit; /* tokens/s, one sequence */
};

/* Fill the rest for its model, class, kernels, cpu, file_bytes and threads from the file. ERR_*:
 * nothing is known, *io_rates is as it was. */
int bench_store_find(const char *path, struct bench_rates *io_rates);
/* Put them into the file in place of what was known; what they did not measure stays. */
int bench_store_put(const char *path, const struct bench_rates *l, struct err *e);

#endif
