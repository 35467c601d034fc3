/* How many requests may turn to another offer: a budget of retries. Pure.
 *
 * When a supplier dies, each of its requests wants a second try. Where everything is overloaded,
 * second tries are more load, which fails more: a storm. So of the requests of the last
 * RETRY_WINDOW_US microseconds, retries are at most `percent` of the first tries, and `min` beside
 * these, so that a quiet server can retry at all. What is refused answers with the error it has.
 * Time is the caller's, microseconds. */
#ifndef POLICY_RETRY_H
#define POLICY_RETRY_H

#include <stdint.h>

#define RETRY_BUCKETS   10 /* of the window; it slides by one of them */
#define RETRY_BUCKET_US INT64_C(1000000)
#define RETRY_WINDOW_US (RETRY_BUCKETS * RETRY_BUCKET_US)

struct retry_limits {
    int32_t percent, min; /* both 0: no retries */
};

/* Zeroed: nothing happened yet. */
struct retry {
    struct {
        int64_t nth; /* of the buckets since time 0 */
        int32_t n_first, n_again;
    } bucket[RETRY_BUCKETS];
};

/* A request is tried for the first time. */
void retry_first(struct retry *r, int64_t now_us);
/* May one be tried again? If so it is counted. */
int retry_take(struct retry *r, const struct retry_limits *l, int64_t now_us);

#endif
