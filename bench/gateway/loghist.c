/* Log-linear histogram: the bits below the highest are the step. */
#include "loghist.h"

#define STEP_BITS 6 /* LOGHIST_STEPS */

static int place_of(uint64_t ns)
{
    int octave;

    if (ns < LOGHIST_STEPS)
        return (int)ns;
    octave = 63 - __builtin_clzll(ns) - STEP_BITS;
    if (octave >= LOGHIST_OCTAVES)
        return (LOGHIST_OCTAVES + 1) * LOGHIST_STEPS - 1;
    return (octave + 1) * LOGHIST_STEPS + (int)(ns >> octave) - LOGHIST_STEPS;
}

/* The middle of a place. */
static double value_of(int place)
{
    int octave = place / LOGHIST_STEPS - 1, step = place % LOGHIST_STEPS;

    if (octave < 0)
        return place;
    return ((double)(LOGHIST_STEPS + step) + 0.5) * (double)(UINT64_C(1) << octave) - 0.5;
}

void loghist_add(struct loghist *h, int64_t ns)
{
    if (ns < 0)
        ns = 0;
    h->count[place_of((uint64_t)ns)]++;
    h->n++;
    h->sum_ns += (double)ns;
    if (ns > h->max_ns)
        h->max_ns = ns;
}

double loghist_percentile(const struct loghist *h, double percent)
{
    double rank = percent / 100 * (double)h->n;
    uint64_t seen = 0;

    if (!h->n)
        return 0;
    for (int i = 0; i < (LOGHIST_OCTAVES + 1) * LOGHIST_STEPS; i++) {
        seen += h->count[i];
        if (seen == h->n) /* the last that has any */
            break;
        if (seen && (double)seen >= rank) {
            double v = value_of(i);
            return v < (double)h->max_ns ? v : (double)h->max_ns;
        }
    }
    return (double)h->max_ns;
}

double loghist_mean(const struct loghist *h)
{
    return h->n ? h->sum_ns / (double)h->n : 0;
}
