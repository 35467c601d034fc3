/* May a request wait at a supplier? Pure: state in, decision out. */
#ifndef POLICY_ADMIT_H
#define POLICY_ADMIT_H

#include <stdint.h>

struct admit_state {
    int32_t n_waiting;   /* jobs not yet begun */
    int32_t n_running;   /* sequences under way */
    int32_t capacity;    /* sequences run together, >= 1 */
    int32_t waiting_max; /* jobs allowed to wait */
    int64_t job_us;      /* what a job takes, a running mean; 0: not known yet */
};

struct admit_decision {
    int admit;
    int64_t wait_us;  /* estimate: until the new job begins */
    int64_t retry_us; /* refused: when a place will be free, within 0.25..60 s */
};

/* n_jobs more, all or none. They always fit an idle supplier, however many they are: what can never
 * be admitted must not be told to come back. threshold_us > 0: refuse when the wait would be
 * longer. */
void admit_decide(const struct admit_state *s, int32_t n_jobs, int64_t threshold_us,
                  struct admit_decision *ret);

/* The running mean after a job that took run_us (mean 0: the first). */
int64_t admit_mean(int64_t mean_us, int64_t run_us);

#endif
