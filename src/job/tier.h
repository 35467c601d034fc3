/* Service tiers, the least preferred first: requests that wait in a higher tier begin before those
 * in a lower one. */
#ifndef JOB_TIER_H
#define JOB_TIER_H

enum tier {
    TIER_FLEX,
    TIER_DEFAULT,
    TIER_PRIORITY,
    TIER_AUTO /* only in a request: it asks for the best tier that was granted */
};
const char *tier_name(enum tier tier); /* as in "service_tier" */

#endif
