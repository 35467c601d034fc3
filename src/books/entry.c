#include "books/entry.h"

#include <stdio.h>

#include "base/check.h"

/* `amount` of a unit from one account to another; below 0: back. */
static int move(struct posting *p, const char *unit, int64_t amount, const char *from_kind,
                const char *from, const char *to_kind, const char *to)
{
    if (!amount)
        return 0;
    snprintf(p[0].account, sizeof p[0].account, "%s:%s", from_kind, from);
    snprintf(p[1].account, sizeof p[1].account, "%s:%s", to_kind, to);
    for (int i = 0; i < 2; i++)
        snprintf(p[i].unit, sizeof p[i].unit, "%s", unit);
    p[0].amount = -amount;
    p[1].amount = amount;
    return 2;
}

int entry_of(const struct books_row *r, struct posting ret[ENTRY_POSTINGS_MAX])
{
    const struct {
        const char *unit;
        int64_t amount;
    } measured[] = {{ENTRY_ENERGY, r->energy_uj},
                    {ENTRY_CARBON_LOCATION, r->carbon_location_ug},
                    {ENTRY_CARBON_MARKET, r->carbon_market_ug}};
    int64_t tokens = r->prompt_tokens + r->completion_tokens, sum = 0;
    int n = move(ret, "tokens", tokens, "supplier", r->supplier, "tenant", r->tenant);
    int is_added = *r->corrects != 0;

    n += move(ret + n, "tokens", r->lost_prompt_tokens + r->lost_completion_tokens, "supplier",
              r->supplier, "platform", "lost");
    for (size_t i = 0; i < ARRAY_LEN(measured); i++)
        n += move(ret + n, measured[i].unit, measured[i].amount > 0 ? measured[i].amount : 0,
                  "supplier", r->supplier, "tenant", r->tenant);
    if (r->charge_nano > 0 || is_added)
        n += move(ret + n, r->currency, r->charge_nano, "platform", "revenue", "tenant", r->tenant);
    if (*r->cost_currency && (r->cost_own_nano > 0 || is_added))
        n += move(ret + n, r->cost_currency, r->cost_own_nano, "supplier", r->supplier, "platform",
                  "exchange");
    if (*r->cost_currency && (r->cost_nano > 0 || is_added))
        n += move(ret + n, r->currency, r->cost_nano, "platform", "exchange", "platform", "cost");
    if (!*r->cost_currency && (r->cost_nano > 0 || is_added))
        n += move(ret + n, r->currency, r->cost_nano, "supplier", r->supplier, "platform", "cost");
    for (int i = 0; i < n; i++)
        sum += ret[i].amount;
    CHECK(sum == 0);
    return n;
}
