#include "cmd/contract_report.h"

#include <stdio.h>
#include <string.h>

#include "base/day.h"
#include "cmd/cmd.h"

#define WATT_MW 1e6

/* Whole units, as nobody reads billionths of years. */
static void print_amount(money_sum nano)
{
    char text[MONEY_SUM_TEXT_MAX];

    money_show_sum(nano, text);
    text[strcspn(text, ".")] = 0;
    printf(" %16s", text);
}

static void print_obligations(const struct report *r)
{
    printf("%-20s %-20s %-20s %10s %10s %16s %16s\n", "contract", "supplier", "customer",
           "ready MW", "to be MW", "still to come", "more by option");
    for (int i = 0; i < r->n_rows; i++) {
        const struct report_row *w = &r->row[i];
        printf("%-20s %-20s %-20s %10.6g %10.6g", w->c->name, w->c->supplier.name,
               w->c->customer.name, (double)w->ready_w / WATT_MW, (double)w->firm_end_w / WATT_MW);
        print_amount(w->fee_sum);
        print_amount(w->option_sum);
        printf(" %s\n", w->c->currency);
    }
    for (int i = 0; i < r->n_rows; i++) {
        const struct report_row *w = &r->row[i];
        if (!w->c->backstop.is_there)
            continue;
        cmd_line(stdout, "%s takes what nobody buys: nothing of that is firm; at most", w->c->name);
        print_amount(w->backstop);
        printf(" %s\n", w->c->currency);
    }
}

static void print_years(const struct report *r, const char *currency)
{
    char day[DAY_TEXT_MAX];

    printf("\n%-24s %16s %16s\n", "year", "still to come", "more by option");
    for (int y = 0; y < r->n_years; y++) {
        struct report_year sum = report_year(r, y, currency);
        printf("%-24.4s", day_show(r->year_s[y + 1] - 1, NULL, day));
        print_amount(sum.fee);
        print_amount(sum.option);
        printf(" %s\n", currency);
    }
}

static void print_shares(const struct report *r)
{
    for (int i = 0; i < r->n_shares; i++) {
        const struct report_share *s = &r->share[i];
        int is_first = !i || s[-1].of != s->of || strcmp(s[-1].currency, s->currency) != 0;
        if (is_first)
            printf("\n%s, in %s (HHI %d)\n", report_of_words[s->of], s->currency,
                   (int)report_hhi(r, s->of, s->currency));
        cmd_line(stdout, "  %-28s %6.1f %%  %d contract%s, if it stops: %.6g MW ready", s->name,
                 s->share * 100, s->n_contracts, plural(s->n_contracts),
                 (double)s->ready_w / WATT_MW);
    }
}

void report_print(const struct report *r)
{
    char day[DAY_TEXT_MAX];

    printf("Contracts as they are known on %s (UTC), and what is still to come of them\n\n",
           day_show(r->now_s, NULL, day));
    print_obligations(r);
    for (int i = 0; i < r->n_shares && r->share[i].of == OF_SUPPLIER; i++) {
        if (!i || strcmp(r->share[i - 1].currency, r->share[i].currency) != 0)
            print_years(r, r->share[i].currency);
    }
    print_shares(r);
}
