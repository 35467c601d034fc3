#include "policy/admit.h"

#include "policy/rota.h"

#define RETRY_US_MIN   INT64_C(250000)
#define RETRY_US_MAX   INT64_C(60000000) /* the SDKs ignore a longer retry-after */
#define JOB_US_UNKNOWN INT64_C(2000000)
#define MEAN_WEIGHT    8 /* the newest job counts one eighth */

void admit_decide(const struct admit_state *s, int32_t n, int64_t threshold_us,
                  struct admit_decision *ret)
{
    int64_t capacity = s->capacity > 0 ? s->capacity : 1;
    int64_t job_us = s->job_us > 0 ? s->job_us : JOB_US_UNKNOWN;
    int64_t free = capacity - s->n_inside;
    int64_t behind = -free + 1; /* sequences that must end before a new one begins */
    int64_t waiting = n - free; /* sequences that would wait, the new ones included */
    int64_t own = s->n_own + n < waiting ? s->n_own + n : waiting;
    int64_t max = s->fills ? (s->waiting_max + 1) / 2 : s->waiting_max;
    int64_t over = waiting - max;

    /* `capacity` jobs end in one job_us. */
    ret->wait_us = behind > 0 ? behind * job_us / capacity : 0;
    ret->retry_us = 0;
    ret->admit = 1;
    if (!s->n_inside || s->is_entitled)
        return;
    /* All sequences inside count, not those that wait at this moment: in a burst none has begun. */
    if (waiting > 0 && s->n_own && !rota_may_take(own - 1, waiting - 1, max, s->is_alone)) {
        ret->admit = 0;
        ret->retry_us = (over > 1 ? over : 1) * job_us / capacity;
    } else if (threshold_us > 0 && ret->wait_us > threshold_us) {
        ret->admit = 0;
        ret->retry_us = ret->wait_us - threshold_us;
    }
    if (ret->admit)
        return;
    if (ret->retry_us < RETRY_US_MIN)
        ret->retry_us = RETRY_US_MIN;
    if (ret->retry_us > RETRY_US_MAX)
        ret->retry_us = RETRY_US_MAX;
}

int64_t admit_wait_us(int64_t n_inside, int64_t capacity, int64_t job_us)
{
    int64_t us;

    capacity = capacity > 0 ? capacity : 1;
    us = (n_inside > capacity ? n_inside - capacity : 1) * (job_us > 0 ? job_us : JOB_US_UNKNOWN) /
         capacity;
    return us < RETRY_US_MIN ? RETRY_US_MIN : us > RETRY_US_MAX ? RETRY_US_MAX : us;
}

int64_t admit_at_once(int64_t n_jobs, int64_t n_choices, int64_t n_free)
{
    int64_t n = n_choices > 0 && n_free > 0 ? n_free / n_choices : 0;

    return n < n_jobs ? n : n_jobs;
}

int64_t admit_mean(int64_t mean_us, int64_t run_us)
{
    if (run_us < 1)
        run_us = 1;
    return mean_us ? mean_us + (run_us - mean_us) / MEAN_WEIGHT : run_us;
}
