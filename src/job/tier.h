/* Service tiers, the least preferred first: who waits in a higher one goes first. */
#ifndef JOB_TIER_H
#define JOB_TIER_H

enum tier {
    TIER_FLEX,
    TIER_DEFAULT,
    TIER_PRIORITY,
    TIER_AUTO /* asked for only: the best that was granted */
};
const char *tier_name(enum tier tier); /* as in "service_tier" */

#endif
