/* What tokens and energy cost. Pure: a list of prices in, an amount out.
 *
 * Money is in nano-units of the price's currency. Prices are for a million tokens, so a
 * price of 0.10 for a million is 100 nano-units for a token, and amounts are exact for every price
 * that is a multiple of 0.001 a million; else the sum is rounded up once, to the next nano-unit. */
#ifndef POLICY_PRICE_H
#define POLICY_PRICE_H

#include <stdint.h>

#include "job/usage.h"
#include "policy/energy_rate.h"

#define PRICE_NAME_MAX 128

enum price_side {
    PRICE_SELL, /* what a tenant owes */
    PRICE_BUY   /* what a supplier is owed */
};

/* A price, from a time on. "" in a name: any. */
struct price {
    enum price_side side;
    char model[PRICE_NAME_MAX], supplier[PRICE_NAME_MAX];
    int tier;         /* -1: any */
    char currency[4]; /* "": that of the cloud; another one: only what a supplier is owed */
    int64_t from_s;   /* unix seconds; holds until a later one of the same kind */
    /* Nano-units for a million tokens of each bucket; -1: as what it is a part of: cache_read and
     * cache_write as uncached, reasoning as output. */
    int64_t uncached, cache_read, cache_write, output, reasoning;
    int64_t energy;               /* nano-units for a kWh */
    int64_t per_request, minimum; /* of one request */
};

/* The price that holds: of those of this side that name the model, the supplier and the tier, or
 * leave them open, and have begun. Who names the model goes before who does not, then the supplier,
 * then the tier; of equals the newest. NULL: there is none, which is not the same as a price of 0.
 */
const struct price *price_find(const struct price *list, int n, enum price_side side,
                               const char *model, const char *supplier, int tier, int64_t now_s);
/* What this usage and so many microjoules (< 0: unknown) cost. At most INT64_MAX; -1: energy has a
 * price, and how much it was is not known. */
int64_t price_amount(const struct price *p, const struct usage_buckets *u, int64_t uj);
/* The most that so many tokens of prompt and answer can cost, in whichever buckets they end up, at
 * an offer where they probably take so much energy; -1, as above. */
int64_t price_most(const struct price *p, const struct energy_rates *energy, int64_t prompt,
                   int64_t output);
/* The most tokens of answer to that prompt that an amount suffices for; -1: not even for none. */
int64_t price_affords(const struct price *p, const struct energy_rates *energy, int64_t prompt,
                      int64_t amount);

#endif
