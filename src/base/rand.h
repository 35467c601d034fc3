/* Counter-based random numbers: a pure function of a key and a counter, so that what one request
 * draws cannot depend on what its batch mates do.
 * Source: Philox4x32-10, Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011. */
#ifndef BASE_RAND_H
#define BASE_RAND_H

#include <stddef.h>
#include <stdint.h>

/* 128 random bits for (key, counter). */
void rand_philox(uint64_t key, uint64_t ctr_lo, uint64_t ctr_hi, uint32_t out[4]);
/* Uniform in [0, 1), 24 bits, for (seed, stream, position): a sampled token's draw. */
float rand_uniform(uint64_t seed, uint64_t stream, uint64_t position);
/* n bytes from the system's generator; 0 or ERR_IO. For keys, ids, seeds and salts. Who gets none
 * fails too: nothing is made with bytes that others could know, and no two ids are equal. */
int rand_system(void *p, size_t n) __attribute__((warn_unused_result));

#endif
