/* May a request wait at a supplier? Pure: state in, decision out. */
#ifndef POLICY_ADMIT_H
#define POLICY_ADMIT_H

#include <stdint.h>

struct admit_state {
    int32_t n_inside;    /* sequences that wait or run */
    int64_t n_own;       /* of these: its tenant's */
    int is_alone;        /* there is one tenant only, and all places are its own */
    int32_t capacity;    /* sequences run together, >= 1 */
    int32_t waiting_max; /* sequences allowed to wait */
    int64_t job_us;      /* what one takes, a running mean; 0: not known yet */
};

struct admit_decision {
    int admit;
    int64_t wait_us;  /* estimate: until the first new one begins */
    int64_t retry_us; /* refused: when a place will be free, within 0.25..60 s */
};

/* n sequences more, all or none. Who has nothing at the supplier is always let in, however many
 * they are: what can never be admitted must not be told to come back, and a queue that others fill
 * keeps nobody out. Of the places to wait a tenant may have as many as all leave free.
 * threshold_us > 0: refuse when the wait would be longer. */
void admit_decide(const struct admit_state *s, int32_t n, int64_t threshold_us,
                  struct admit_decision *ret);

/* How many of n_jobs prompts with n_choices each may be under way together where n_free sequences
 * may; the others follow by turns. 0: not one now. */
int64_t admit_at_once(int64_t n_jobs, int64_t n_choices, int64_t n_free);

/* The running mean after a job that took run_us (mean 0: the first). */
int64_t admit_mean(int64_t mean_us, int64_t run_us);

#endif
