/* How much energy tokens take, by rates that are known. Pure. */
#ifndef POLICY_ENERGY_RATE_H
#define POLICY_ENERGY_RATE_H

#include <stdint.h>

/* Microjoules of so many tokens at so many nanojoules a token. Rounded up, at most INT64_MAX. */
int64_t energy_rate_uj(int64_t input_nj, int64_t output_nj, int64_t prompt, int64_t output);

#endif
