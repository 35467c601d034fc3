/* What one job used: tokens, energy, and time. */
#ifndef JOB_USAGE_H
#define JOB_USAGE_H

#include <stdint.h>

#include "job/energy.h"

enum usage_state {
    USAGE_COUNTED,   /* by the engine of this process, or as the supplier says and we agree */
    USAGE_ESTIMATED, /* the answer ended before the supplier told: our own estimate */
    USAGE_DISPUTED   /* the supplier's numbers do not fit each other, or our own estimate */
};

struct usage {
    int64_t prompt_tokens, completion_tokens;
    int64_t cached_tokens;      /* of the prompt's: read from a cache */
    int64_t cache_write_tokens; /* of the prompt's: written to one at a price of its own */
    int64_t reasoning_tokens;   /* of completion_tokens */
    int64_t accepted_prediction_tokens, rejected_prediction_tokens;
    enum usage_state state;
    struct energy energy;
};

/* The same tokens in buckets that share none, as they are priced. */
struct usage_buckets {
    int64_t uncached, cache_read, cache_write, output, reasoning;
};

static inline struct usage_buckets usage_buckets(const struct usage *u)
{
    return (struct usage_buckets){
        .uncached = u->prompt_tokens - u->cached_tokens - u->cache_write_tokens,
        .cache_read = u->cached_tokens,
        .cache_write = u->cache_write_tokens,
        .output = u->completion_tokens - u->reasoning_tokens,
        .reasoning = u->reasoning_tokens,
    };
}

struct times {
    int64_t queue_us, prompt_us, completion_us, total_us;
    int64_t created_us; /* wall time at which these were made */
};

#endif
