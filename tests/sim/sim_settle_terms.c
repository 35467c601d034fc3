/* The contracts of a world: drawn, amended, and written as a file has them. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "sim_settle.h"

/* ---- contracts as text ------------------------------------------------------------------- */

static void __attribute__((format(printf, 2, 3))) say(struct sheet *t, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    t->n += vsnprintf(t->at + t->n, sizeof t->at - (size_t)t->n, fmt, ap);
    va_end(ap);
}

static void say_day(struct sheet *t, const char *key, int day, const char *end)
{
    int y, m, d;

    if (!day)
        return;
    day_date(day, &y, &m, &d);
    say(t, "%s: %04d-%02d-%02d%s", key, y, m, d, end);
}

static void say_share(struct sheet *t, const char *key, int64_t ppm)
{
    say(t, "%s: %lld.%06lld\n", key, (long long)(ppm / MILLION), (long long)(ppm % MILLION));
}

static void write_tranche(struct sheet *x, const struct tranche_of *t)
{
    say(x, "  - {name: p%d, mw: %lld.%06lld, %s: %s, ", t->name, (long long)(t->watts / MILLION),
        (long long)(t->watts % MILLION), t->place < SITES ? "site" : "region",
        place_name[t->place]);
    say_day(x, "target", t->target, ", ");
    say_day(x, "until", t->until, ", ");
    say_day(x, "delivered", t->delivered, ", ");
    say_day(x, "cancelled", t->cancelled, ", ");
    if (t->is_option)
        say(x, "kind: option, ");
    say_day(x, "exercise_from", t->window_from, ", ");
    say_day(x, "exercise_until", t->window_until, ", ");
    say_day(x, "exercised", t->exercised, ", ");
    if (t->tokens)
        say(x, "tokens_per_second: %lld, ", (long long)t->tokens);
    say(x, "price: %lld.%09lld}\n", (long long)(t->price / 1000000000),
        (long long)(t->price % 1000000000));
}

void write_contract(struct sheet *x, const struct contract_of *c, const struct version_of *v)
{
    static const char *const gains[] = {"customer", "supplier", "shared"};

    x->n = 0;
    say(x,
        "contract: %s\ncurrency: EUR\nsupplier: {name: us}\ncustomer: {name: k%s, tenants: [t%s]}"
        "\nspillover: pay\nspillover_input: 3\nspillover_output: 7\nefficiency_gain: %s\n",
        c->name, c->name, c->name, gains[v->gain]);
    if (c->is_facility)
        say(x, "power_basis: facility\n");
    if (c->is_paris)
        say(x, "time_zone: Europe/Paris\n");
    say_day(x, "signed", c->signed_day, "\n");
    say_day(x, "from", c->from, "\n");
    say_day(x, "until", c->until, "\n");
    say_share(x, "late_credit", v->late);
    say_share(x, "shortfall_credit", v->missing);
    say_share(x, "credit_cap", v->cap);
    say_share(x, "take_or_pay", v->take);
    say_share(x, "lend_share", v->lend);
    if (v->growth)
        say(x, "indexation_percent: %lld.%04lld\n", (long long)(v->growth / 10000),
            (long long)(v->growth % 10000));
    say_day(x, "indexation_from", v->growth ? v->growth_day : 0, "\n");
    if (v->prepayment)
        say(x, "prepayment: %lld.%09lld\n", (long long)(v->prepayment / 1000000000),
            (long long)(v->prepayment % 1000000000));
    say(x, "tranches:\n");
    for (int i = 0; i < v->n; i++)
        write_tranche(x, &v->tranche[i]);
}

/* ---- contracts --------------------------------------------------------------------------- */

int first_day, today_day;

static int64_t a_price(void)
{
    return below(8) ? below(200) * 1000000000 + below(1000000000) : 0;
}

static void draw_terms(struct version_of *v)
{
    v->late = below(3) * 250000 + below(2) * 1;
    v->missing = below(4) * 500000 + below(2) * 7;
    v->cap = below(3) ? 1 + below(below(2) ? 30 : 300000) : 0;
    v->take = below(2) ? 0 : below(2) ? MILLION : below(MILLION);
    v->lend = below(2) * below(MILLION + 1);
    v->gain = (int)below(3);
}

static void draw_tranche(struct version_of *v)
{
    struct tranche_of *t = &v->tranche[v->n], *before = v->n ? t - 1 : NULL;

    memset(t, 0, sizeof *t);
    t->name = v->n;
    t->place = (int)below(PLACES);
    t->watts = 1 + below(3000000);
    t->tokens = below(2) ? 0 : 1 + below(5000);
    t->price = a_price();
    t->target = first_day - 40 + (int)below(60);
    if (below(3) == 0)
        t->until = t->target + 1 + (int)below(60);
    if (before && before->until && !before->is_option && below(2)) { /* its successor */
        t->name = before->name;
        t->target = before->until;
        t->until = 0;
    }
    if (below(5) == 0) {
        t->is_option = 1;
        t->window_from = t->target - 50;
        t->window_until = t->target - (int)below(3);
        if (below(2))
            t->exercised = t->window_from + (int)below(t->window_until - t->window_from);
    }
    if (below(3) && (!t->is_option || t->exercised)) {
        t->delivered = t->target - 3 + (int)below(10);
        if (t->delivered < t->exercised)
            t->delivered = t->exercised;
    }
    if (t->until && t->delivered >= t->until)
        t->delivered = 0;
    v->n++;
}

void draw_contract(int k)
{
    static const char *const names[CONTRACTS] = {"c0", "c1"};
    struct contract_of *c = &contract[k];
    struct version_of *v = &c->version[0];

    memset(c, 0, sizeof *c);
    c->name = names[k];
    c->is_paris = (int)below(2);
    c->is_facility = (int)below(2);
    c->from = first_day - 45 - (int)below(30);
    c->until = first_day + 700;
    c->signed_day = c->from - 60;
    draw_terms(v);
    v->growth = below(2) * (1 + below(200000));
    if (v->growth && below(2)) { /* a year before a day of this world */
        int y, m, d;
        day_date(first_day + (int)below(SPAN_DAYS), &y, &m, &d);
        v->growth_day = 0;
        c->from = day_number(y - 1, m, d > 28 ? 28 : d);
        c->signed_day = c->from - 60;
    }
    v->prepayment = below(2) ? below(400000) * 1000000000 + below(1000000000) : 0;
    for (int i = 1 + (int)below(TRANCHES - 1); i-- > 0;)
        draw_tranche(v);
    for (int i = 0; i < TRANCHES; i++)
        c->measured[i] = below(2) ? 0 : 1 + below(8000000);
}

void change_contract(struct version_of *v)
{
    struct tranche_of *t = &v->tranche[below(v->n)];

    switch (below(7)) {
    case 0: /* delivered, at last */
    case 1:
        if (!t->delivered)
            t->delivered = today_day - (int)below(4);
        break;
    case 2:
        if (t->is_option && !t->exercised)
            t->exercised = today_day;
        else if (below(3) == 0)
            t->cancelled = today_day - 2 + (int)below(6);
        break;
    case 3:
        t->watts = 1 + below(4000000);
        break;
    case 4:
        t->price = a_price();
        break;
    case 5:
        draw_terms(v);
        break;
    default:
        if (v->n < TRANCHES)
            draw_tranche(v);
    }
}
