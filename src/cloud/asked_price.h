/* Which price of the book holds for what a supplier serves. Pure. */
#ifndef CLOUD_ASKED_PRICE_H
#define CLOUD_ASKED_PRICE_H

#include "cloud/cloud.h"

/* The price of one side; NULL: there is none. A supplier's price is that of its name, which is what
 * its id begins with. */
const struct price *asked_price(const struct cloud_prices *l, enum price_side side,
                                const char *model, const char *supplier_id, enum tier tier,
                                int64_t at_s);
/* An amount by that price in the cloud's currency, as it is at that time; -1: there is no rate. */
int64_t asked_exchange(const struct cloud_prices *l, const struct price *p, int64_t amount,
                       int64_t at_s);
/* Is it this process's own engine? It is owed nothing. */
int asked_is_local(const char *supplier_id);
/* What a request of so many tokens, at an offer where they take so much energy, costs us there or,
 * where that is not known, its tenant; -1: there is no price. */
int64_t asked_amount(const struct cloud_prices *l, const char *model, const char *supplier_id,
                     const struct cloud_want *w, const struct energy_rates *energy, int64_t at_s);

#endif
