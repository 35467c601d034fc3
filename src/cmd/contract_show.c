#include <stdio.h>
#include <stdlib.h>

#include "base/csv.h"
#include "base/day.h"
#include "base/money.h"
#include "cmd/cmd.h"
#include "cmd/contract_form.h"

#define WATT_MW 1e6

/* Days, and what is not there. */
static const char *day(const struct contract_file *f, int64_t s, char out[DAY_TEXT_MAX])
{
    return s ? day_show(s, contract_file_zone(f), out) : "-";
}

static const char *where(const struct tranche *t)
{
    return t->site ? t->site : t->region;
}

/* ---- for people ------------------------------------------------------------------------------ */

static void print_party(const char *what, const struct contract_party *p)
{
    cmd_line(stdout, "  %-10s %s%s%s", what, p->name, p->owner ? ", owned by " : "",
             p->owner ? p->owner : "");
    for (int i = 0; i < p->related.n; i++)
        cmd_line(stdout, "  %-10s   related: %s", "", p->related.v[i]);
    for (int i = 0; i < p->tenants.n; i++)
        cmd_line(stdout, "  %-10s   tenant: %s", "", p->tenants.v[i]);
}

static void print_tranches(const struct contract_file *f, int64_t now_s)
{
    const struct contract *c = contract_file_contract(f);
    char a[DAY_TEXT_MAX], b[DAY_TEXT_MAX], d[DAY_TEXT_MAX], money[MONEY_TEXT_MAX];

    printf("\n%-16s %-6s %10s %-16s %-10s %-10s %-10s %-10s %10s\n", "tranche", "kind", "MW",
           "where", "target", "delivered", "until", "state", "price/MWh");
    for (int i = 0; i < c->n_tranches; i++) {
        const struct tranche *t = &c->tranche[i];
        cmd_line(stdout, "%-16s %-6s %10.3f %-16s %-10s %-10s %-10s %-10s %10s", t->name,
                 t->is_option ? "option" : "firm", (double)t->watts / WATT_MW, where(t),
                 day(f, t->target_s, a), day(f, t->delivered_s, b), day(f, tranche_until(c, t), d),
                 tranche_state_name(tranche_state(c, t, now_s)),
                 money_show(contract_price(c, t, now_s), money));
    }
}

static void print_years(const struct contract_file *f, int64_t now_s)
{
    const struct contract *c = contract_file_contract(f);

    printf("\n%-10s %14s %14s %14s %20s %18s\n", "from", "firm MWh", "ready MWh", "late MWh", "fee",
           "late credit");
    for (int64_t at = c->from_s, next; at < c->until_s; at = next) {
        char from[DAY_TEXT_MAX], fee[MONEY_SUM_TEXT_MAX], credit[MONEY_SUM_TEXT_MAX];
        struct contract_due d;
        next = contract_next_year(f, at);
        contract_due(c, now_s, at, next, &d);
        printf("%-10s %14.1f %14.1f %14.1f %16s %s %14s %s\n",
               day_show(at, contract_file_zone(f), from), (double)d.firm_j / CONTRACT_MWH_J,
               (double)d.ready_j / CONTRACT_MWH_J, (double)d.late_j / CONTRACT_MWH_J,
               money_show_sum(d.fee, fee), c->currency, money_show_sum(d.late_credit, credit),
               c->currency);
    }
}

static void print_backstop(const struct contract *c)
{
    char money[MONEY_TEXT_MAX];

    printf("  %-10s takes what nobody buys, in a year at most", "backstop");
    if (c->backstop.yearly_mwh)
        printf(" %lld MWh", (long long)c->backstop.yearly_mwh);
    if (c->backstop.yearly_money)
        printf("%s %s %s", c->backstop.yearly_mwh ? " and" : "",
               money_show(c->backstop.yearly_money, money), c->currency);
    printf("\n");
}

void contract_print(const struct contract_file *f, int64_t now_s)
{
    const struct contract *c = contract_file_contract(f);
    char a[DAY_TEXT_MAX], b[DAY_TEXT_MAX];

    cmd_line(stdout, "contract %s%s%s", c->name, c->title ? ": " : "", c->title ? c->title : "");
    print_party("supplier", &c->supplier);
    print_party("customer", &c->customer);
    printf("  %-10s %s to %s, %s\n", "term", day(f, c->from_s, a), day(f, c->until_s, b),
           c->signed_s ? "signed" : "a draft: it is not signed");
    printf("  %-10s %.6g MW ready of %.6g firm%s\n", day(f, now_s, a),
           (double)contract_watts(c, POWER_READY, NULL, NULL, now_s, now_s) / WATT_MW,
           (double)contract_watts(c, POWER_FIRM, NULL, NULL, now_s, now_s) / WATT_MW,
           c->basis == CONTRACT_IT ? ", of the machines" : ", of the facility");
    if (c->backstop.is_there)
        print_backstop(c);
    print_tranches(f, now_s);
    print_years(f, now_s);
}

/* ---- as rows --------------------------------------------------------------------------------- */

void contract_csv_head(void)
{
    puts("contract,supplier,customer,tranche,kind,mw,power_basis,site,region,hardware,target,"
         "longstop,until,delivered,state,price,currency");
}

static void add(struct buf *b, const char *text)
{
    if (b->len)
        buf_add_str(b, ",");
    csv_put(b, text ? text : "");
}

void contract_csv(const struct contract_file *f, int64_t now_s)
{
    const struct contract *c = contract_file_contract(f);
    const struct zone *z = contract_file_zone(f);
    char text[MONEY_TEXT_MAX];

    for (int i = 0; i < c->n_tranches; i++) {
        const struct tranche *t = &c->tranche[i];
        const int64_t days[] = {t->target_s, t->longstop_s, tranche_until(c, t), t->delivered_s};
        struct buf b;
        buf_init(&b, CSV_ROW_BYTES_MAX);
        add(&b, c->name);
        add(&b, c->supplier.name);
        add(&b, c->customer.name);
        add(&b, t->name);
        add(&b, t->is_option ? "option" : "firm");
        add(&b, money_show(t->watts * 1000, text));
        add(&b, c->basis == CONTRACT_IT ? "it" : "facility");
        add(&b, t->site);
        add(&b, t->region);
        add(&b, t->hardware);
        for (size_t k = 0; k < sizeof days / sizeof *days; k++)
            add(&b, days[k] ? day_show(days[k], z, text) : NULL);
        add(&b, tranche_state_name(tranche_state(c, t, now_s)));
        add(&b, money_show(t->price, text));
        add(&b, c->currency);
        printf("%s\n", b.failed ? "" : b.data);
        buf_done(&b);
    }
}
