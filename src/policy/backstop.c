#include "policy/backstop.h"

#define HOUR_S 3600
#define UJ     1000000 /* of a joule */

static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static int64_t most(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

void backstop_year(const struct contract *c, int64_t at_s, struct backstop_year *ret)
{
    *ret = (struct backstop_year){c->from_s, c->until_s};
    for (int i = 0; i < c->n_years; i++) {
        if (c->year_s[i] <= at_s)
            ret->from_s = c->year_s[i];
        else
            ret->until_s = least(ret->until_s, c->year_s[i]);
    }
}

static void cut(uint64_t *bits, int64_t hour_s, int64_t at_s)
{
    if (at_s > hour_s && at_s < hour_s + HOUR_S)
        *bits |= UINT64_C(1) << ((at_s - hour_s) / (HOUR_S / BACKSTOP_MINUTES));
}

uint64_t backstop_cuts(const struct contract *c, int64_t now_s, int64_t hour_s)
{
    uint64_t bits = 0;

    for (int i = 0; i < c->n_tranches; i++) {
        struct tranche_span v;
        tranche_spans(c, &c->tranche[i], now_s, &v);
        cut(&bits, hour_s, v.ready_s);
        cut(&bits, hour_s, v.end_s);
    }
    for (int i = 0; i < c->n_years; i++)
        cut(&bits, hour_s, c->year_s[i]);
    for (int i = 0; i < c->n_index; i++)
        cut(&bits, hour_s, c->index_s[i]);
    return bits & ~UINT64_C(1);
}

int backstop_is_open(const struct contract *c, const struct tranche *t, int64_t now_s, int64_t at_s)
{
    struct tranche_span v;

    tranche_spans(c, t, now_s, &v);
    return c->backstop.is_there && t->delivered_s && t->delivered_s <= now_s && at_s >= v.ready_s &&
           at_s < v.end_s;
}

void backstop_add(struct backstop_sum *s, power_uj joules, int64_t price)
{
    s->joules += joules;
    s->cost += joules * price;
}

int64_t backstop_room(const struct contract_backstop *b, const struct backstop_sum *s,
                      int64_t price)
{
    contract_nano room = INT64_MAX, by_energy, by_money;

    if (b->yearly_mwh) {
        by_energy = (contract_nano)b->yearly_mwh * CONTRACT_MWH_J - s->joules;
        room = by_energy < room ? by_energy : room;
    }
    if (b->yearly_money && price > 0) {
        by_money = ((contract_nano)b->yearly_money * CONTRACT_MWH_J - s->cost) / price;
        room = by_money < room ? by_money : room;
    }
    return room > 0 ? (int64_t)room : 0;
}

int64_t backstop_take(power_uj idle_uj, int64_t most_j, int64_t room_j)
{
    power_uj idle = idle_uj / UJ;
    int64_t n = least(most_j, room_j);

    n = idle < n ? (int64_t)idle : n;
    return n > 0 ? n : 0;
}

/* What all of its power costs in a part of a year, in nano-units times CONTRACT_MWH_J. */
static void add_all(const struct contract *c, int64_t now_s, int64_t from_s, int64_t until_s,
                    struct backstop_sum *sum)
{
    for (int i = 0; i < c->n_tranches; i++) {
        const struct tranche *t = &c->tranche[i];
        struct tranche_span v;
        int64_t from, until;
        tranche_spans(c, t, now_s, &v);
        from = most(from_s, v.ready_s);
        until = least(until_s, v.end_s);
        if (from < until)
            backstop_add(sum, (power_uj)t->watts * (until - from), contract_price(c, t, from));
    }
}

static contract_nano most_of_year(const struct contract *c, int64_t now_s, int64_t from_s,
                                  int64_t until_s, const struct backstop_year *y)
{
    contract_nano cap, share_s = until_s - from_s, year_s = y->until_s - y->from_s, cost;
    struct backstop_sum all = {0};

    add_all(c, now_s, from_s, until_s, &all);
    cost = all.cost / CONTRACT_MWH_J;
    cap = (contract_nano)c->backstop.yearly_mwh * CONTRACT_MWH_J * share_s / year_s;
    if (c->backstop.yearly_mwh && all.joules > cap) /* at the mean price */
        cost = all.cost / all.joules * cap / CONTRACT_MWH_J;
    cap = (contract_nano)c->backstop.yearly_money * share_s / year_s;
    return c->backstop.yearly_money && cost > cap ? cap : cost;
}

contract_nano backstop_most(const struct contract *c, int64_t now_s, int64_t from_s,
                            int64_t until_s)
{
    contract_nano sum = 0;

    from_s = most(from_s, c->from_s);
    until_s = least(until_s, c->until_s);
    while (c->backstop.is_there && from_s < until_s) {
        struct backstop_year y;
        int64_t end;
        backstop_year(c, from_s, &y);
        end = least(until_s, y.until_s);
        sum += most_of_year(c, now_s, from_s, end, &y);
        from_s = end;
    }
    return sum;
}
