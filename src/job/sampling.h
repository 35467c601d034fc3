/* How one job's tokens are drawn: plain values in the caller's memory. The code that reads a
 * request checks the limits below; the code that draws relies on them. */
#ifndef JOB_SAMPLING_H
#define JOB_SAMPLING_H

#include <stdint.h>

#include "job/text.h"

#define SAMPLING_STOPS_MAX 16
#define SAMPLING_STOP_LEN  256
#define SAMPLING_TOP_MAX   20

/* Added to a token's logit. */
struct bias {
    int32_t token;
    float bias;
};

struct sampling {
    float temperature;                                             /* 0: greedy */
    float top_p, min_p;                                            /* 1 and 0: off */
    int32_t top_k;                                                 /* 0: off */
    float frequency_penalty, presence_penalty, repetition_penalty; /* 0, 0, 1: off */
    uint64_t seed;
    const struct bias *bias; /* lives as long as the job */
    int32_t n_bias;
    int32_t max_tokens; /* generated tokens; -1: to the end of the context */
    int32_t min_tokens; /* nothing ends it before so many; -1: max_tokens */
    int ignore_eos; /* end-of-generation tokens do not end it: what is drawn goes on after them */
    const int32_t *stop_token;
    int32_t n_stop_token;
    int32_t n_stop; /* stop strings, matched in the text; and control tokens that are spelled so */
    struct text stop[SAMPLING_STOPS_MAX];
    int logprobs; /* 0: none; else report them, with n_top alternatives */
    int32_t n_top;
};

#endif
