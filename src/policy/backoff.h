/* How long to wait before something that failed is tried again. Pure.
 *
 * The pause doubles with each failure, up to a limit. Half of it is drawn at random, so that many
 * that failed together do not come back together. Times are in any unit, the caller's. */
#ifndef POLICY_BACKOFF_H
#define POLICY_BACKOFF_H

#include <stdint.h>

/* The pause after n_failed failures, at least 1: between half of first * 2^(n_failed - 1) and all
 * of it, `most` in its place where that is less. random: any 32 bits. */
int64_t backoff_pause(int n_failed, int64_t first, int64_t most, uint32_t random);

#endif
