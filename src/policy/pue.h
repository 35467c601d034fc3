/* PUE as it is measured: what the meter of a facility counted in a window of time, by what the
 * meter of its machines counted in the same. Pure; microseconds of one clock, energies as their
 * meters count them, both in one unit. */
#ifndef POLICY_PUE_H
#define POLICY_PUE_H

#include <stdint.h>

#define PUE_SAMPLES 64
#define PUE_UNKNOWN (-1)
#define PUE_MOST    10000 /* permille; beyond, and below 1000, is none */
#define PUE_LEAST_IT                                                                               \
    100 /* units that the machines must have counted, or rounding counts for more */

/* Zeroed: nothing was read. */
struct pue_meter {
    struct {
        int64_t at_us, it, facility;
    } sample[PUE_SAMPLES]; /* a ring */
    int n, last;           /* how many, and where the last one is */
};

/* Both counters at a time (> 0), or within a 64th of the window of each other: they say how far
 * they are apart, in microseconds. What is apart further, or not later than the last, is not taken.
 * A counter that falls begins anew, and with it everything. window_us >= PUE_SAMPLES. */
void pue_take(struct pue_meter *m, int64_t at_us, int64_t apart_us, int64_t it, int64_t facility,
              int64_t window_us);
/* Thousandths, rounded to the nearest; PUE_UNKNOWN: what there is of the window is not half of it,
 * or is old, or cannot be. */
int32_t pue_permille(const struct pue_meter *m, int64_t now_us, int64_t window_us);

#endif
