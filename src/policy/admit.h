/* May a request wait at a supplier? Pure: state in, decision out. */
#ifndef POLICY_ADMIT_H
#define POLICY_ADMIT_H

#include <stdint.h>

struct admit_state {
    int32_t n_inside;    /* sequences that wait or run at the supplier */
    int64_t n_own;       /* of these: those of the tenant that asks */
    int is_alone;        /* there is only this tenant, so it may have all places */
    int32_t capacity;    /* sequences that the supplier runs together, >= 1 */
    int32_t waiting_max; /* sequences that may wait ... */
    int fills;           /* ... of which a tier that fills leaves half to the others */
    int is_entitled;     /* it is within a contract: nobody's work keeps it out */
    int64_t job_us;      /* running mean of the time a sequence takes; 0: not known yet */
};

struct admit_decision {
    int admit;
    int64_t wait_us;  /* estimated time until the first of the new sequences begins */
    int64_t retry_us; /* when refused: time until a place will be free, within 0.25..60 s */
};

/* May n more sequences of one tenant come in? All or none do. A tenant that has nothing at the
 * supplier is always let in, whatever n is: otherwise a request of very many sequences could never
 * be admitted, and other tenants' full queue would keep it out. Of the places to wait a tenant may
 * take as many as are left free. threshold_us > 0: refuse when the wait would be longer. */
void admit_decide(const struct admit_state *s, int32_t n, int64_t threshold_us,
                  struct admit_decision *ret);

/* How many of n_jobs prompts with n_choices each can be under way at once when n_free sequences
 * may be; the caller submits the others as these end. 0: not one now. */
int64_t admit_at_once(int64_t n_jobs, int64_t n_choices, int64_t n_free);

/* When a place will be free for one that is among n_inside, within 0.25..60 s. */
int64_t admit_wait_us(int64_t n_inside, int64_t capacity, int64_t job_us);

/* The running mean after a job that took run_us (mean 0: the first). */
int64_t admit_mean(int64_t mean_us, int64_t run_us);

#endif
