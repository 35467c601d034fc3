/* How much of a supplier's places its site leaves it. Pure.
 *
 * A capacity factor says which part of a site's places may be used now: from nothing to all of
 * them. It is a whole number of millionths, so that every thread computes the same. */
#ifndef POLICY_DERATE_H
#define POLICY_DERATE_H

#include <stdint.h>

#define DERATE_ALL 1000000 /* the factor 1 */

/* Of so many places those that may be used: the part, rounded down, but at least one unless the
 * factor is 0. What runs beyond them runs to its end; nothing new begins until it has room. */
int32_t derate_places(int32_t n_places, int32_t factor_ppm);

/* The factor that holds where several are said: the lowest; < 0: not said. DERATE_ALL where none
 * is. */
int32_t derate_lowest(const int32_t *factors_ppm, int n);

#endif
