/* Service tiers: requests that wait in a higher tier begin before those in a lower one. */
#ifndef JOB_TIER_H
#define JOB_TIER_H

/* The numbers stand in ledgers, accounts and logs: none of them ever changes. Which tier is above
 * which, tier_rank says. */
enum tier {
    TIER_FLEX,
    TIER_DEFAULT,
    TIER_PRIORITY,
    TIER_BATCH,
    TIER_AUTO /* only in a request: it asks for the best tier that was granted; how many there are
               */
};
const char *tier_name(enum tier tier); /* as in "service_tier" */
/* 0..TIER_AUTO - 1, the lowest first: batch, flex, default, priority. Not for auto. */
int tier_rank(enum tier tier);
enum tier tier_of_rank(int rank);
/* The tiers below default fill what is idle. */
int tier_fills(enum tier tier);
/* The tier of that name, but not auto. -1: none has it. */
int tier_find(const char *name);

#endif
