#include "policy/contract.h"

#include <stddef.h>
#include <string.h>

static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static int64_t most(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

/* Was it so by then? */
static int known(int64_t when_s, int64_t now_s)
{
    return when_s && when_s <= now_s;
}

/* ---- tranches -------------------------------------------------------------------------------- */

const char *tranche_state_name(enum tranche_state s)
{
    static const char *const names[TRANCHE_STATES] = {
        [TRANCHE_PLANNED] = "planned",     [TRANCHE_ACTIVE] = "active", [TRANCHE_LATE] = "late",
        [TRANCHE_OVERDUE] = "overdue",     [TRANCHE_OPTION] = "option", [TRANCHE_LAPSED] = "lapsed",
        [TRANCHE_CANCELLED] = "cancelled", [TRANCHE_ENDED] = "ended"};

    return names[s];
}

int64_t tranche_until(const struct contract *c, const struct tranche *t)
{
    return t->until_s ? t->until_s : c->until_s;
}

/* Its end, as it is known. */
static int64_t end_of(const struct contract *c, const struct tranche *t, int64_t now_s)
{
    int64_t end = tranche_until(c, t);

    return known(t->cancelled_s, now_s) ? least(end, t->cancelled_s) : end;
}

static int is_firm(const struct tranche *t, int64_t now_s)
{
    return !t->is_option || known(t->exercised_s, now_s);
}

/* Since when it is promised. */
static int64_t due_from(const struct tranche *t)
{
    return t->is_option ? most(t->target_s, t->exercised_s) : t->target_s;
}

/* Since when it is there, or will be at the earliest. */
static int64_t ready_from(const struct tranche *t, int64_t now_s)
{
    return most(due_from(t), known(t->delivered_s, now_s) ? t->delivered_s : now_s);
}

enum tranche_state tranche_state(const struct contract *c, const struct tranche *t, int64_t now_s)
{
    if (known(t->cancelled_s, now_s))
        return TRANCHE_CANCELLED;
    if (!is_firm(t, now_s))
        return now_s < t->exercise_until_s ? TRANCHE_OPTION : TRANCHE_LAPSED;
    if (now_s >= tranche_until(c, t))
        return TRANCHE_ENDED;
    if (known(t->delivered_s, now_s))
        return TRANCHE_ACTIVE;
    if (t->longstop_s && now_s >= t->longstop_s)
        return TRANCHE_OVERDUE;
    return now_s < due_from(t) ? TRANCHE_PLANNED : TRANCHE_LATE;
}

void tranche_spans(const struct contract *c, const struct tranche *t, int64_t now_s,
                   struct tranche_span *ret)
{
    *ret = (struct tranche_span){.due_s = due_from(t), .ready_s = ready_from(t, now_s)};
    ret->end_s = is_firm(t, now_s) ? end_of(c, t, now_s) : ret->due_s;
}

/* ---- power ----------------------------------------------------------------------------------- */

static int same(const char *a, const char *b)
{
    return a && b && !strcmp(a, b);
}

static int64_t watts_of(const struct contract *c, const struct tranche *t, enum contract_power p,
                        int64_t now_s, int64_t at_s)
{
    int64_t from = p == POWER_FIRM ? due_from(t) : ready_from(t, now_s);
    int is_counted = !c->backstop.is_there && is_firm(t, now_s) &&
                     (p == POWER_FIRM || known(t->delivered_s, now_s));

    return is_counted && at_s >= from && at_s < end_of(c, t, now_s) ? t->watts : 0;
}

int64_t contract_watts(const struct contract *c, enum contract_power p, const char *site,
                       const char *region, int64_t now_s, int64_t at_s)
{
    int64_t sum = 0;

    for (int i = 0; i < c->n_tranches; i++) {
        const struct tranche *t = &c->tranche[i];
        if ((!site || same(site, t->site)) && (!region || same(region, t->region)))
            sum += watts_of(c, t, p, now_s, at_s);
    }
    return sum;
}

/* ---- money ----------------------------------------------------------------------------------- */

/* a * b / by, rounded half away from 0. */
static contract_nano scale(contract_nano a, int64_t b, int64_t by)
{
    contract_nano v = a * b;

    return (v < 0 ? v - by / 2 : v + by / 2) / by;
}

int64_t contract_price(const struct contract *c, const struct tranche *t, int64_t at_s)
{
    contract_nano price = t->price;

    for (int i = 0; i < c->n_index && c->index_s[i] <= at_s; i++) {
        price = scale(price, CONTRACT_PPM + c->indexation_ppm, CONTRACT_PPM);
        price = price > CONTRACT_PRICE_MAX ? CONTRACT_PRICE_MAX : price;
    }
    return (int64_t)price;
}

/* What so much of a tranche costs in [from, until), piece by piece between changes of its price. */
static contract_nano cost(const struct contract *c, const struct tranche *t, int64_t from,
                          int64_t until)
{
    contract_nano sum = 0;

    while (from < until) {
        int64_t end = until;
        for (int i = c->n_index; i-- > 0;) {
            if (c->index_s[i] > from)
                end = least(end, c->index_s[i]);
        }
        sum += scale((contract_nano)t->watts * (end - from), contract_price(c, t, from),
                     CONTRACT_MWH_J);
        from = end;
    }
    return sum;
}

static void add(int64_t *joules, int64_t watts, int64_t seconds)
{
    contract_nano sum = *joules + (contract_nano)watts * seconds;

    *joules = sum > INT64_MAX ? INT64_MAX : (int64_t)sum;
}

void contract_due(const struct contract *c, int64_t now_s, int64_t from_s, int64_t until_s,
                  struct contract_due *ret)
{
    *ret = (struct contract_due){0};
    for (int i = 0; i < c->n_tranches; i++) {
        const struct tranche *t = &c->tranche[i];
        int64_t until = least(until_s, end_of(c, t, now_s));
        int64_t due = most(from_s, due_from(t));
        int64_t ready = least(most(from_s, ready_from(t, now_s)), until);
        if (c->backstop.is_there || !is_firm(t, now_s) || due >= until)
            continue;
        add(&ret->firm_j, t->watts, until - due);
        add(&ret->ready_j, t->watts, until - ready);
        add(&ret->late_j, t->watts, ready - due);
        ret->fee += cost(c, t, ready, until);
        ret->late_credit += scale(cost(c, t, due, ready), c->late_credit_ppm, CONTRACT_PPM);
    }
}

const char *contract_shared_tenant(const struct contract *a, const struct contract *b)
{
    const struct contract_names *x = &a->customer.tenants, *y = &b->customer.tenants;

    if (a->until_s <= b->from_s || b->until_s <= a->from_s)
        return NULL;
    for (int i = 0; i < x->n; i++) {
        for (int k = 0; k < y->n; k++) {
            if (!strcmp(x->v[i], y->v[k]))
                return x->v[i];
        }
    }
    return NULL;
}
