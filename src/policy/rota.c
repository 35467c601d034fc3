#include "policy/rota.h"

int rota_before(const struct rota *r, const struct rota_one *a, const struct rota_one *b)
{
    if (a->tier != b->tier)
        return a->tier > b->tier;
    if (a->nth != b->nth)
        return a->nth < b->nth;
    if (a->tenant != b->tenant && a->round != b->round)
        return a->round < b->round;
    if (a->tenant != b->tenant) { /* first the tenant that follows the one whose turn was last */
        uint32_t last = (uint32_t)r->last[a->tier];
        return (uint32_t)a->tenant - last - 1 < (uint32_t)b->tenant - last - 1;
    }
    if (a->resumed != b->resumed)
        return a->resumed > b->resumed;
    return a->order < b->order;
}

void rota_took(struct rota *r, const struct rota_one *a)
{
    r->last[a->tier] = a->tenant;
}

int rota_may_take(int64_t n_own, int64_t n_all, int64_t max, int is_alone)
{
    return n_all < max && (is_alone || n_own < max - n_all);
}
