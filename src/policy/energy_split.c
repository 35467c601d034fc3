#include "policy/energy_split.h"

#include "base/check.h"

__extension__ typedef __int128 wide;

int64_t energy_split(int64_t uj, struct energy_share *share, int n)
{
    wide total = 0, upto = 0;
    int64_t given = 0;

    CHECK(uj >= 0 && uj <= ENERGY_UJ_MAX);
    for (int i = 0; i < n; i++) {
        CHECK(share[i].work <= ENERGY_WORK_MAX);
        total += share[i].work;
    }
    /* What the first i shares get is rounded down, never what one of them gets: so the parts have
     * no rest that would be lost. */
    for (int i = 0; i < n; i++) {
        int64_t so_far;
        upto += share[i].work;
        so_far = total ? (int64_t)((wide)uj * upto / total) : 0;
        share[i].uj = so_far - given;
        given = so_far;
    }
    return uj - given;
}

uint64_t energy_work(const struct draft_cost *cost, const struct energy_reads *reads, int32_t pos,
                     int32_t n)
{
    double ns = draft_cost_us(cost, n) * 1000, context = (double)pos + ((double)n + 1) / 2;

    if (!(ns > 0))
        ns = n;
    if (reads->weight_bytes)
        ns *= 1 + context * (double)reads->kv_token_bytes / (double)reads->weight_bytes;
    return ns < 1 ? 1 : ns < (double)ENERGY_WORK_MAX ? (uint64_t)ns : ENERGY_WORK_MAX;
}
