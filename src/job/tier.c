#include "job/tier.h"

#include <string.h>

#include "base/check.h"

static const char *const names[] = {
    [TIER_FLEX] = "flex",   [TIER_DEFAULT] = "default", [TIER_PRIORITY] = "priority",
    [TIER_BATCH] = "batch", [TIER_AUTO] = "auto",
};
static const enum tier by_rank[] = {TIER_BATCH, TIER_FLEX, TIER_DEFAULT, TIER_PRIORITY};

const char *tier_name(enum tier tier)
{
    return names[tier];
}

enum tier tier_of_rank(int rank)
{
    CHECK(rank >= 0 && rank < TIER_AUTO);
    return by_rank[rank];
}

int tier_rank(enum tier tier)
{
    int rank = 0;

    CHECK(tier < TIER_AUTO);
    while (by_rank[rank] != tier)
        rank++;
    return rank;
}

int tier_fills(enum tier tier)
{
    return tier_rank(tier) < tier_rank(TIER_DEFAULT);
}

int tier_find(const char *name)
{
    for (int i = 0; i < TIER_AUTO; i++) {
        if (!strcmp(names[i], name))
            return i;
    }
    return -1;
}
