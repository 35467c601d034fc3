#include "policy/rota.h"

int rota_before(const struct rota *r, const struct rota_one *a, const struct rota_one *b)
{
    if (a->tier != b->tier)
        return a->tier > b->tier;
    if (a->tenant != b->tenant) { /* the next one round from the last */
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

int rota_is_owed(uint64_t steps, int n_owed)
{
    return steps >= ROTA_STEPS && !n_owed;
}

int rota_victim(const struct rota_one *s, int n)
{
    int lowest = ROTA_TIERS, best = -1, most = 0;

    for (int i = 0; i < n; i++)
        lowest = s[i].tier < lowest ? s[i].tier : lowest;
    for (int i = 0; i < n; i++) {
        int held = 0;
        if (s[i].tier != lowest)
            continue;
        for (int k = 0; k < n; k++)
            held += s[k].tier == lowest && s[k].tenant == s[i].tenant;
        if (held > most || (held == most && s[i].order > s[best].order)) {
            most = held;
            best = i;
        }
    }
    return best;
}

int rota_gives_way(const struct rota_one *who, const struct rota_one *held, int n)
{
    int v = rota_victim(held, n), several = 0;

    for (int i = 0; i < n; i++) {
        if (held[i].tenant == who->tenant && held[i].tier >= who->tier)
            return -1;
        several += held[i].tenant == held[v].tenant && held[i].tier == held[v].tier;
    }
    if (v < 0 || held[v].tier > who->tier)
        return -1;
    return held[v].tier < who->tier || several > 1 ? v : -1;
}

int rota_may_take(int64_t n_own, int64_t n_all, int64_t max, int is_alone)
{
    return n_all < max && (is_alone || n_own < max - n_all);
}
