#include "books/entry.h"

#include <stdio.h>

#include "base/check.h"

/* `amount` of a unit from one account to another; below 0: back. */
static int post(struct posting *p, const char *unit, int64_t amount, const char *from_kind,
                const char *from, const char *to_kind, const char *to)
{
    snprintf(p[0].account, sizeof p[0].account, "%s:%s", from_kind, from);
    snprintf(p[1].account, sizeof p[1].account, "%s:%s", to_kind, to);
    for (int i = 0; i < 2; i++)
        snprintf(p[i].unit, sizeof p[i].unit, "%s", unit);
    p[0].amount = -amount;
    p[1].amount = amount;
    return 2;
}

static int move(struct posting *p, const char *unit, int64_t amount, const char *from_kind,
                const char *from, const char *to_kind, const char *to)
{
    return amount ? post(p, unit, amount, from_kind, from, to_kind, to) : 0;
}

/* What was measured, also where that is 0: it is known. */
static int post_measured(const struct books_row *r, struct posting *p)
{
    const struct {
        const char *unit;
        int is_known;
        int64_t amount;
    } all[] = {{ENTRY_ENERGY, r->energy_method != 0, r->energy_uj},
               {ENTRY_CARBON_LOCATION, r->carbon_location_ug >= 0, r->carbon_location_ug},
               {ENTRY_CARBON_MARKET, r->carbon_market_ug >= 0, r->carbon_market_ug}};
    int n = 0;

    for (size_t i = 0; i < ARRAY_LEN(all); i++) {
        if (all[i].is_known && !*r->corrects)
            n += post(p + n, all[i].unit, all[i].amount, "supplier", r->supplier, "tenant",
                      r->tenant);
    }
    return n;
}

int entry_of(const struct books_row *r, struct posting ret[ENTRY_POSTINGS_MAX])
{
    int64_t tokens = r->prompt_tokens + r->completion_tokens, sum = 0;
    int n = move(ret, "tokens", tokens, "supplier", r->supplier, "tenant", r->tenant);
    int is_added = *r->corrects != 0;

    n += move(ret + n, "tokens", r->lost_prompt_tokens + r->lost_completion_tokens, "supplier",
              r->supplier, "platform", "lost");
    n += post_measured(r, ret + n);
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
