/* A log-linear histogram of durations in nanoseconds: 64 steps an octave, so that a percentile is
 * at most 1.6 % beside the value. Fixed memory, one thread. */
#ifndef GATEWAY_LOGHIST_H
#define GATEWAY_LOGHIST_H

#include <stdint.h>

#define LOGHIST_OCTAVES 36 /* above 64 ns; what is longer than an hour counts in the last */
#define LOGHIST_STEPS   64

struct loghist {
    uint64_t count[(LOGHIST_OCTAVES + 1) * LOGHIST_STEPS];
    uint64_t n;
    double sum_ns;
    int64_t max_ns;
};

/* Less than 0 counts as 0. */
void loghist_add(struct loghist *h, int64_t ns);
/* The least value that `percent` of all do not exceed, within a step; 0 where there are none. The
 * greatest is exact. */
double loghist_percentile(const struct loghist *h, double percent);
double loghist_mean(const struct loghist *h);

#endif
