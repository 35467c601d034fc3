/* The machine's peaks: the most that it can do, measured. A model's speed is told as a share of
 * them.
 *
 * Measured, not looked up: read bandwidth over a working set (prefetched streams in huge pages),
 * int8 dot products and float multiply-adds out of registers, with the widest instructions of an
 * ISA; tile products, where the CPU has tiles. Callers measure a peak next to what they compare
 * with it, since clocks and neighbours drift.
 *
 * Threads: a measurement runs on n threads at once, its own or the caller's (struct peak_team). */
#ifndef KERN_PEAK_H
#define KERN_PEAK_H

#include <stddef.h>
#include <stdint.h>

#include "kern/kern.h"

/* run(arg, n, fn, fn_arg): call fn(fn_arg, i) for i in 0 .. n - 1, each on a thread of its own at
 * the same time, and return when all have. run == NULL: threads made for the purpose. */
struct peak_team {
    void (*run)(void *arg, int n, void (*fn)(void *fn_arg, int i), void *fn_arg);
    void *arg;
};

/* Memory to read from, spread over n threads, each touching its part first. */
struct peak_mem {
    uint8_t *data;
    size_t bytes_per_thread;
    int n;
};

/* 0, ERR_NOMEM. At most 64 threads. */
int peak_mem_init(struct peak_mem *m, int n, size_t bytes_per_thread, const struct peak_team *team);
void peak_mem_done(struct peak_mem *m);

/* Bytes/s of all threads reading their parts, the best of `reps` rounds; each round reads at least
 * 16 MB a thread. */
double peak_read(const struct peak_mem *m, enum kern_isa isa, const struct peak_team *team,
                 int reps);
/* int8 multiply-adds/s of n threads. */
double peak_dot(enum kern_isa isa, int n, const struct peak_team *team, int reps);
/* Float multiply-adds/s of n threads (a FLOP figure is twice that). */
double peak_fma(enum kern_isa isa, int n, const struct peak_team *team, int reps);

/* Multiply-adds/s of n threads in AMX tiles, int8 or bf16; 0 where the CPU, the system or the build
 * has none. */
double peak_tiles(int bf16, int n, const struct peak_team *team, int reps);

/* Bytes of this machine's caches: L2 of one core, L3 of all; 0 where it does not tell. */
void peak_caches(size_t *ret_l2, size_t *ret_l3);

/* Run on a team, or on threads of its own where team or its run is NULL. n at most 64. */
void peak_run(const struct peak_team *team, int n, void (*fn)(void *arg, int i), void *arg);

/* CPU seconds of the calling thread so far. */
double peak_cpu_seconds(void);

/* n bytes in huge pages where the system has them (zeroed); NULL without memory. */
void *peak_huge_alloc(size_t n);
void peak_huge_free(void *p, size_t n);

#endif
