/* A load that is held for a time: so many requests under way at once, each thread beginning the
 * next one when its last has ended, and what was counted meanwhile.
 *
 * What is made counts from the start until the time is up and each thread has ended a request at
 * least; all threads are at work for so long. What runs then goes on to its end and counts for
 * energy and waiting. Limits: BASKET_CONCURRENCY_MAX threads, LOAD_SAMPLES_MAX requests. */
#ifndef CMD_LOAD_RUN_H
#define CMD_LOAD_RUN_H

#include "cloud/measurement.h"
#include "cmd/load_request.h"

#define LOAD_SAMPLES_MAX (1 << 23)

struct load_plan {
    const struct load_server *server;
    struct load_ask ask; /* nth is of the first request, and counts up */
    int32_t concurrency;
    int64_t for_us;
};

/* What was counted, of one run after the other. */
struct load_sums {
    struct measurement_point point; /* without percentiles; energy_uj is not used */
    int64_t busy_us;                /* the time until the last request had ended */
    struct energy energy;           /* of all; method unknown: of one it was not told */
    char print[LOAD_PRINT_MAX];
    int64_t *ttft_us, *tpot_us; /* of each request; tpot of those of more than one token */
    int64_t n_ttft, n_tpot, cap;
};

/* Run it and add what it counts to *sums (zeroed before the first). plan->ask.nth goes on. At the
 * first request that fails all are given up, and e has its reason. */
int load_run(struct load_plan *plan, struct load_sums *sums, struct err *e);
/* The point with percentiles, and energy_uj -1 where it is not known. Sorts what is there. */
struct measurement_point load_point(struct load_sums *sums);
void load_sums_done(struct load_sums *sums);

#endif
