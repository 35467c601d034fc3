/* What one job used: tokens, and time. */
#ifndef JOB_USAGE_H
#define JOB_USAGE_H

#include <stdint.h>

struct usage {
    int64_t prompt_tokens, completion_tokens;
    int64_t cached_tokens; /* <= prompt_tokens */
    int64_t reasoning_tokens, accepted_prediction_tokens, rejected_prediction_tokens;
};

struct times {
    int64_t queue_us, prompt_us, completion_us, total_us;
    int64_t created_us; /* wall time at which these were made */
};

#endif
