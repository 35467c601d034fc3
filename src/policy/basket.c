#include "policy/basket.h"

#include <stddef.h>

#define MILLE       1000
#define UJ_PER_MTPS INT64_C(1000000000) /* watts by microjoules a token, as thousandths */

typedef contract_nano wide;

static int64_t bounded(wide v)
{
    return v > INT64_MAX ? INT64_MAX : (int64_t)v;
}

static wide divide_up(wide a, wide b)
{
    return (a + b - 1) / b;
}

int64_t basket_rate(int64_t watts, int64_t token_uj)
{
    return bounded((wide)watts * UJ_PER_MTPS / token_uj);
}

int64_t basket_token_uj(int64_t watts, int64_t rate_mtps)
{
    return bounded(divide_up((wide)watts * UJ_PER_MTPS, rate_mtps));
}

int64_t basket_percentile(const int64_t *sorted, int64_t n, int32_t permille)
{
    int64_t rank = (n * permille + MILLE - 1) / MILLE;

    return sorted[rank > 0 ? rank - 1 : 0];
}

static int keeps(const struct contract_load *row, const struct basket_point *p)
{
    return p->rate_mtps > 0 && (!row->ttft_ms || p->ttft_p99_us <= row->ttft_ms * MILLE) &&
           (!row->tpot_ms || p->tpot_p99_us <= row->tpot_ms * MILLE);
}

/* R: a sum of quotients, each of a number so great that what its rounding costs is far less than
 * the thousandth to which the result is rounded. */
static int64_t rate_of(const struct contract *c, const struct basket_point *p)
{
    wide sum = 0, weights = 0;
    const int shift = 80;

    for (int i = 0; i < c->n_loads; i++) {
        if (p[i].rate_mtps <= 0)
            return 0;
        sum += ((wide)c->load[i].weight << shift) / p[i].rate_mtps;
        weights += c->load[i].weight;
    }
    return bounded((weights << shift) / sum);
}

/* J, and how far it may be off. */
static void energy_of(const struct contract *c, const struct basket_point *p,
                      struct basket_level *ret)
{
    wide sum = 0, doubt = 0, weights = 0;

    ret->token_uj = BASKET_UNKNOWN;
    for (int i = 0; i < c->n_loads; i++) {
        if (p[i].token_uj < 0)
            return;
        sum += (wide)c->load[i].weight * p[i].token_uj;
        doubt += (wide)c->load[i].weight * p[i].token_uj * p[i].uncertainty_permille;
        weights += c->load[i].weight;
    }
    ret->token_uj = bounded(divide_up(sum, weights));
    if (ret->token_uj < 1)
        ret->token_uj = 1; /* nothing is for nothing */
    ret->uncertainty_permille = sum ? (int32_t)divide_up(doubt, sum) : 0;
}

void basket_level(const struct contract *c, const struct basket_measured *m, int i,
                  struct basket_level *ret)
{
    const struct basket_point *p = m->point[i];

    *ret = (struct basket_level){.concurrency = m->concurrency[i], .i_broken = -1};
    ret->rate_mtps = rate_of(c, p);
    energy_of(c, p, ret);
    for (int k = c->n_loads - 1; k >= 0; k--) {
        if (!keeps(&c->load[k], &p[k]))
            ret->i_broken = k;
    }
}

void basket_entitlement(const struct contract *c, const struct basket_measured *m, int64_t watts,
                        struct basket_entitlement *ret)
{
    struct basket_level best = {.token_uj = 0}, l;
    int n_kept = 0;

    *ret = (struct basket_entitlement){.i_level = -1};
    for (int i = 0; i < m->n_levels; i++) {
        basket_level(c, m, i, &l);
        n_kept += l.i_broken < 0;
        if (l.i_broken >= 0 || l.token_uj < 0 || (ret->i_level >= 0 && l.token_uj >= best.token_uj))
            continue;
        ret->i_level = i;
        best = l;
    }
    if (ret->i_level < 0) {
        ret->why = n_kept ? "the energy of a token is not known at any load that keeps the limits"
                          : "no load keeps the limits of the basket";
        return;
    }
    ret->rate_mtps = basket_rate(watts, best.token_uj);
    ret->low_mtps = bounded((wide)watts * UJ_PER_MTPS * MILLE /
                            ((wide)best.token_uj * (MILLE + best.uncertainty_permille)));
    ret->concurrency = bounded((wide)ret->rate_mtps * best.concurrency / best.rate_mtps);
}
