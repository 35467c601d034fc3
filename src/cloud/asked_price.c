#include "cloud/asked_price.h"

#include <string.h>

#include "base/put.h"

const struct price *asked_price(const struct cloud_prices *l, enum price_side side,
                                const char *model, const char *supplier_id, enum tier tier,
                                int64_t at_s)
{
    char name[PRICE_NAME_MAX];
    size_t n = strcspn(supplier_id, "/") + 1;

    if (!l)
        return NULL;
    put_text(name, n < sizeof name ? n : sizeof name, supplier_id);
    return price_find(l->list, l->n, side, model, name, (int)tier, at_s);
}

int64_t asked_exchange(const struct cloud_prices *l, const struct price *p, int64_t amount,
                       int64_t at_s)
{
    return *p->currency && amount >= 0
               ? exchange_amount(l->rates, l->n_rates, p->currency, amount, at_s)
               : amount;
}

int asked_is_local(const char *supplier_id)
{
    return strcspn(supplier_id, "/") == 5 && !memcmp(supplier_id, "local", 5);
}

int64_t asked_amount(const struct cloud_prices *l, const char *model, const char *supplier_id,
                     const struct cloud_want *w, const struct energy_rates *energy, int64_t at_s)
{
    int64_t uj = energy_rates_uj(energy, w->n_prompt, w->n_output);
    const struct usage_buckets b = {.uncached = w->n_prompt, .output = w->n_output};
    const struct price *p = asked_price(l, PRICE_BUY, model, supplier_id, w->tier, at_s);

    if (!p && asked_is_local(supplier_id))
        return 0;
    if (!p)
        p = asked_price(l, PRICE_SELL, model, supplier_id, w->tier, at_s);
    return p ? asked_exchange(l, p, price_amount(p, &b, uj), at_s) : -1;
}
