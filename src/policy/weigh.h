/* Turns by weight: of several that may have the next turn, which gets it, so that each gets its
 * share of turns, evenly spread ("smooth weighted round robin"). Pure. */
#ifndef POLICY_WEIGH_H
#define POLICY_WEIGH_H

#include <stdint.h>

/* credit: n numbers of the caller's, zeroed at first; weight: n of them, each 1..1,000,000; may:
 * who takes part this time, whose turns are shared by the others. The index, or -1: nobody. */
int weigh_turn(int64_t *credit, const int32_t *weight, const unsigned char *may, int n);

#endif
