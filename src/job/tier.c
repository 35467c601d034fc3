#include "job/tier.h"

const char *tier_name(enum tier tier)
{
    static const char *const names[] = {"flex", "default", "priority", "auto"};

    return names[tier];
}
