#include "policy/price.h"

#include <string.h>

#define MILLION    1000000
#define UJ_PER_KWH INT64_C(3600000000000)

__extension__ typedef __int128 wide;

/* How well it fits, larger is better; -1: not at all. */
static int fit(const struct price *p, enum price_side side, const char *model, const char *supplier,
               int tier, int64_t now_s)
{
    int names_model = p->model[0] != 0, names_supplier = p->supplier[0] != 0;

    if (p->side != side || p->from_s > now_s || (names_model && strcmp(p->model, model)) ||
        (names_supplier && strcmp(p->supplier, supplier)) || (p->tier >= 0 && p->tier != tier))
        return -1;
    return 4 * names_model + 2 * names_supplier + (p->tier >= 0);
}

const struct price *price_find(const struct price *list, int n, enum price_side side,
                               const char *model, const char *supplier, int tier, int64_t now_s)
{
    const struct price *best = NULL;
    int best_fit = -1;

    for (int i = 0; i < n; i++) {
        int f = fit(&list[i], side, model, supplier, tier, now_s);
        if (f >= 0 && (f > best_fit || (f == best_fit && list[i].from_s >= best->from_s))) {
            best = &list[i];
            best_fit = f;
        }
    }
    return best;
}

static wide cost(int64_t price, int64_t instead, int64_t tokens)
{
    return (wide)(price >= 0 ? price : instead) * tokens;
}

/* Of microjoules at a price for a kWh, in millionths of nano-units, rounded up. */
static wide energy_cost(const struct price *p, int64_t uj)
{
    return ((wide)p->energy * uj + UJ_PER_KWH / MILLION - 1) / (UJ_PER_KWH / MILLION);
}

/* Millionths of nano-units as a whole amount of one request. */
static int64_t whole(const struct price *p, wide sum)
{
    sum = (sum + MILLION - 1) / MILLION + p->per_request;
    if (sum < p->minimum)
        sum = p->minimum;
    return sum > INT64_MAX ? INT64_MAX : (int64_t)sum;
}

int64_t price_amount(const struct price *p, const struct usage_buckets *u, int64_t uj)
{
    wide sum = cost(p->uncached, 0, u->uncached) + cost(p->cache_read, p->uncached, u->cache_read) +
               cost(p->cache_write, p->uncached, u->cache_write) + cost(p->output, 0, u->output) +
               cost(p->reasoning, p->output, u->reasoning);

    if (p->energy && uj < 0)
        return -1;
    return whole(p, sum + energy_cost(p, uj));
}

static int64_t larger(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

int64_t price_most(const struct price *p, const struct energy_rates *energy, int64_t prompt,
                   int64_t output)
{
    int64_t in = larger(p->uncached, larger(p->cache_read, p->cache_write));
    int64_t uj = p->energy ? energy_rates_uj(energy, prompt, output) : 0;

    if (uj < 0)
        return -1;
    return whole(p, cost(in, 0, prompt) + cost(larger(p->output, p->reasoning), 0, output) +
                        energy_cost(p, uj));
}

int64_t price_affords(const struct price *p, const struct energy_rates *energy, int64_t prompt,
                      int64_t amount)
{
    int64_t lo = -1, hi = INT64_C(1) << 40; /* lo is affordable, or nothing is; hi is not */

    if (price_most(p, energy, prompt, 0) < 0)
        return -1;
    while (hi - lo > 1) {
        int64_t mid = lo + (hi - lo) / 2;
        if (price_most(p, energy, prompt, mid) <= amount)
            lo = mid;
        else
            hi = mid;
    }
    return lo;
}
