/* What an answer of a supplier says of its limits: how much there may be in a window, how much of
 * that is left, and when the window begins anew. */
#ifndef JOB_LIMITS_TOLD_H
#define JOB_LIMITS_TOLD_H

#include <stdint.h>

enum { LIMITS_REQUESTS, LIMITS_TOKENS, LIMITS_KINDS };
enum { LIMITS_ANY, LIMITS_MINUTE, LIMITS_HOUR, LIMITS_DAY, LIMITS_SPANS }; /* ANY: it did not say */

/* -1: not told. */
struct limit_told {
    int64_t limit, left, reset_us;
};
struct limits_told {
    struct limit_told window[LIMITS_KINDS][LIMITS_SPANS];
    int any; /* something was told */
};

#endif
