#include "policy/route.h"

#include "base/check.h"

static enum route_reason against(const struct route_request *r, const struct route_offer *o,
                                 int tried, int64_t now_us)
{
    static const enum route_reason of_health[] = {[ROUTE_READY] = ROUTE_CHOSEN,
                                                  [ROUTE_LOADING] = ROUTE_IS_LOADING,
                                                  [ROUTE_FROZEN] = ROUTE_IS_FROZEN,
                                                  [ROUTE_FAILED] = ROUTE_HAS_FAILED};
    if (tried)
        return ROUTE_TRIED;
    if (o->health != ROUTE_READY)
        return of_health[o->health];
    if (now_us < o->not_before_us)
        return ROUTE_TOO_EARLY;
    if (!(o->tiers >> r->tier & 1))
        return ROUTE_NOT_THE_TIER;
    if (o->context > 0 && r->n_tokens > o->context)
        return ROUTE_TOO_LONG;
    return ROUTE_CHOSEN;
}

static int64_t load(const struct route_offer *o)
{
    return ((int64_t)o->n_waiting + o->n_running) * 1024 / (o->capacity > 0 ? o->capacity : 1);
}

static int is_better(const struct route_offer *a, const struct route_offer *b)
{
    int64_t x = load(a), y = load(b);

    return x != y ? x < y : a->id < b->id;
}

int route_pick(const struct route_request *r, const struct route_offer *offers, int n,
               uint64_t tried, int64_t now_us, enum route_reason *ret_why)
{
    enum route_reason why[ROUTE_OFFERS_MAX];
    int best = -1;

    CHECK(n >= 0 && n <= ROUTE_OFFERS_MAX);
    CHECK(r->tier >= 0 && r->tier < 32);
    if (!ret_why)
        ret_why = why;
    for (int i = 0; i < n; i++) {
        ret_why[i] = against(r, &offers[i], tried >> i & 1, now_us);
        if (ret_why[i] != ROUTE_CHOSEN)
            continue;
        ret_why[i] = ROUTE_BUSIER;
        if (best < 0 || is_better(&offers[i], &offers[best]))
            best = i;
    }
    if (best >= 0)
        ret_why[best] = ROUTE_CHOSEN;
    return best;
}
