#include "policy/power.h"

#include <stddef.h>

__extension__ typedef __int128 wide;

const char *power_basis_name(enum power_basis b)
{
    return b == POWER_FACILITY ? "facility" : "it";
}

static int is_watts(int64_t w)
{
    return w >= 0 && w <= POWER_WATTS_MAX;
}

const char *power_fault(const struct power_row *r, int n, int *ret_i)
{
    for (int i = 0; i < n; i++) {
        *ret_i = i;
        if (i && r[i].from_s <= r[i - 1].from_s)
            return "from: is not after that of the row before";
        if ((r[i].contracted_w != POWER_UNKNOWN && !is_watts(r[i].contracted_w)) ||
            (r[i].energised_w != POWER_UNKNOWN && !is_watts(r[i].energised_w)) ||
            !is_watts(r[i].encumbered_w))
            return "megawatts are from 0 to 100000";
        if (r[i].contracted_w != POWER_UNKNOWN && r[i].energised_w > r[i].contracted_w)
            return "energised_mw: is more than contracted_mw";
        if (r[i].energised_w == POWER_UNKNOWN && r[i].encumbered_w)
            return "encumbered_mw: wants energised_mw, of which it is a part";
        if (r[i].energised_w != POWER_UNKNOWN && r[i].encumbered_w > r[i].energised_w)
            return "encumbered_mw: is more than energised_mw";
    }
    return NULL;
}

const struct power_row *power_at(const struct power_row *r, int n, int64_t at_s)
{
    const struct power_row *found = NULL;

    for (int i = 0; i < n && r[i].from_s <= at_s; i++)
        found = &r[i];
    return found;
}

int64_t power_free_w(const struct power_row *r)
{
    if (!r || r->energised_w == POWER_UNKNOWN)
        return POWER_UNKNOWN;
    return r->energised_w - r->encumbered_w;
}

int64_t power_convert(int64_t watts, enum power_basis from, enum power_basis to,
                      int32_t pue_permille)
{
    if (watts == POWER_UNKNOWN || from == to)
        return watts;
    if (pue_permille <= 0)
        return POWER_UNKNOWN;
    if (to == POWER_FACILITY)
        return (int64_t)(((wide)watts * pue_permille + 500) / 1000);
    return (int64_t)(((wide)watts * 1000 + pue_permille / 2) / pue_permille);
}
