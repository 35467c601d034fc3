#include "cloud/portfolio.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/day.h"
#include "books/books.h"
#include "policy/backstop.h"

#define NANO_TINY 1000000 /* amounts are compared in thousandths of a unit */

const char *const report_of_words[REPORT_OFS] = {"supplier", "customer", "owner of suppliers",
                                                 "owner of customers"};

static const char *party(const struct contract *c, enum report_of of)
{
    const struct contract_party *p =
        of == OF_SUPPLIER || of == OF_SUPPLIER_OWNER ? &c->supplier : &c->customer;

    return of >= OF_SUPPLIER_OWNER && p->owner ? p->owner : p->name;
}

/* ---- making it ------------------------------------------------------------------------------- */

static void fill_years(struct report *r, int64_t end_s)
{
    char text[DAY_TEXT_MAX];
    int64_t at = r->now_s;

    r->year_s[0] = at;
    while (at < end_s && r->n_years < REPORT_YEARS_MAX) {
        day_show(at, NULL, text);
        snprintf(text, sizeof text, "%04ld-01-01", strtol(text, NULL, 10) + 1);
        CHECK(day_read(text, NULL, &at) == 0);
        r->year_s[++r->n_years] = at;
    }
}

/* What it would be if the options that are open were exercised now. */
static void exercise(struct contract *c, int64_t now_s)
{
    for (int i = 0; i < c->n_tranches; i++) {
        if (tranche_state(c, &c->tranche[i], now_s) == TRANCHE_OPTION)
            c->tranche[i].exercised_s = now_s;
    }
}

static int64_t most_firm(const struct contract *c, int64_t now_s)
{
    int64_t most = 0;

    for (int i = 0; i < c->n_tranches; i++) {
        int64_t at = c->tranche[i].target_s > now_s ? c->tranche[i].target_s : now_s;
        int64_t w = contract_watts(c, POWER_FIRM, NULL, NULL, now_s, at);
        most = w > most ? w : most;
    }
    return most;
}

static void fill_row(struct report *r, struct report_row *row, const struct contract *c)
{
    struct contract *scratch = &r->exercised;

    *scratch = *c;
    exercise(scratch, r->now_s);
    row->c = c;
    row->ready_w = contract_watts(c, POWER_READY, NULL, NULL, r->now_s, r->now_s);
    row->firm_w = contract_watts(c, POWER_FIRM, NULL, NULL, r->now_s, r->now_s);
    row->firm_end_w = most_firm(c, r->now_s);
    row->backstop = backstop_most(c, r->now_s, r->now_s, c->until_s);
    for (int y = 0; y < r->n_years; y++) {
        struct contract_due d, all;
        contract_due(c, r->now_s, r->year_s[y], r->year_s[y + 1], &d);
        contract_due(scratch, r->now_s, r->year_s[y], r->year_s[y + 1], &all);
        row->fee[y] = d.fee;
        row->option[y] = all.fee - d.fee;
        row->fee_sum += row->fee[y];
        row->option_sum += row->option[y];
    }
}

static int order(const void *a, const void *b)
{
    const struct report_share *x = a, *y = b;
    int c = x->of != y->of ? (int)x->of - (int)y->of : strcmp(x->currency, y->currency);

    if (c)
        return c;
    return x->fee != y->fee ? (x->fee < y->fee ? 1 : -1) : strcmp(x->name, y->name);
}

static void add_share(struct report *r, const struct report_row *row, enum report_of of)
{
    const char *name = party(row->c, of);
    int i = 0;

    while (i < r->n_shares && (r->share[i].of != of || strcmp(r->share[i].name, name) != 0 ||
                               strcmp(r->share[i].currency, row->c->currency) != 0))
        i++;
    if (i == r->n_shares)
        r->share[r->n_shares++] =
            (struct report_share){.of = of, .name = name, .currency = row->c->currency};
    r->share[i].fee += row->fee_sum;
    r->share[i].ready_w += row->ready_w;
    r->share[i].n_contracts++;
}

static money_sum sum_of(const struct report *r, enum report_of of, const char *currency)
{
    money_sum sum = 0;

    for (int i = 0; i < r->n_shares; i++) {
        if (r->share[i].of == of && !strcmp(r->share[i].currency, currency))
            sum += r->share[i].fee;
    }
    return sum;
}

void report_make(struct report *r, const struct contract *const *c, int n, int64_t now_s)
{
    int64_t end_s = now_s;

    *r = (struct report){.now_s = now_s};
    for (int i = 0; i < n; i++)
        end_s = c[i]->until_s > end_s ? c[i]->until_s : end_s;
    fill_years(r, end_s);
    for (int i = 0; i < n; i++)
        fill_row(r, &r->row[r->n_rows++], c[i]);
    for (int of = 0; of < REPORT_OFS; of++) {
        for (int i = 0; i < r->n_rows; i++)
            add_share(r, &r->row[i], (enum report_of)of);
    }
    qsort(r->share, (size_t)r->n_shares, sizeof *r->share, order);
    for (int i = 0; i < r->n_shares; i++) {
        money_sum all = sum_of(r, r->share[i].of, r->share[i].currency);
        r->share[i].share = all > 0 ? (double)r->share[i].fee / (double)all : 0;
    }
}

struct report_year report_year(const struct report *r, int y, const char *currency)
{
    struct report_year sum = {0};

    for (int i = 0; i < r->n_rows; i++) {
        if (strcmp(r->row[i].c->currency, currency) != 0)
            continue;
        sum.fee += r->row[i].fee[y];
        sum.option += r->row[i].option[y];
    }
    return sum;
}

int32_t report_hhi(const struct report *r, enum report_of of, const char *currency)
{
    int64_t amount[REPORT_CONTRACTS_MAX];
    int n = 0;

    for (int i = 0; i < r->n_shares; i++) {
        if (r->share[i].of == of && !strcmp(r->share[i].currency, currency))
            amount[n++] = (int64_t)(r->share[i].fee / NANO_TINY);
    }
    return books_hhi(amount, n);
}

/* ---- for machines ---------------------------------------------------------------------------- */

static void set_amount(json_t *o, const char *key, money_sum nano)
{
    char text[MONEY_SUM_TEXT_MAX];

    json_object_set_new(o, key, json_string(money_show_sum(nano, text)));
}

static json_t *row_json(const struct report *r, const struct report_row *w)
{
    json_t *o = json_pack("{s:s,s:s,s:s,s:s,s:I,s:I,s:I}", "contract", w->c->name, "supplier",
                          w->c->supplier.name, "customer", w->c->customer.name, "currency",
                          w->c->currency, "ready_watts", (json_int_t)w->ready_w, "firm_watts",
                          (json_int_t)w->firm_w, "firm_watts_at_most", (json_int_t)w->firm_end_w);
    json_t *years = json_array();

    set_amount(o, "still_to_come", w->fee_sum);
    set_amount(o, "by_option", w->option_sum);
    if (w->c->backstop.is_there)
        set_amount(o, "by_backstop_at_most", w->backstop);
    for (int y = 0; y < r->n_years; y++) {
        char day[DAY_TEXT_MAX];
        json_t *one;
        day_show(r->year_s[y + 1] - 1, NULL, day);
        one = json_pack("{s:i}", "year", (int)strtol(day, NULL, 10));
        set_amount(one, "fee", w->fee[y]);
        set_amount(one, "by_option", w->option[y]);
        json_array_append_new(years, one);
    }
    json_object_set_new(o, "years", years);
    return o;
}

json_t *report_json(const struct report *r)
{
    json_t *rows = json_array(), *shares = json_array();
    char day[DAY_TEXT_MAX];

    for (int i = 0; i < r->n_rows; i++)
        json_array_append_new(rows, row_json(r, &r->row[i]));
    for (int i = 0; i < r->n_shares; i++) {
        const struct report_share *s = &r->share[i];
        json_t *o = json_pack("{s:s,s:s,s:s,s:f,s:i,s:i,s:I}", "of", report_of_words[s->of], "name",
                              s->name, "currency", s->currency, "share", s->share, "hhi",
                              (int)report_hhi(r, s->of, s->currency), "contracts", s->n_contracts,
                              "ready_watts_if_it_stops", (json_int_t)s->ready_w);
        set_amount(o, "still_to_come", s->fee);
        json_array_append_new(shares, o);
    }
    return json_pack("{s:s,s:o,s:o}", "as_of", day_show(r->now_s, NULL, day), "contracts", rows,
                     "concentration", shares);
}

/* ---- the contracts of it --------------------------------------------------------------------- */

int portfolio_new(struct portfolio **ret, struct err *e)
{
    *ret = calloc(1, sizeof **ret);
    return *ret ? 0 : err_set(e, ERR_NOMEM, "out of memory");
}

void portfolio_free(struct portfolio *p)
{
    for (int i = 0; p && i < p->n; i++)
        contract_file_close(p->file[i]);
    free(p);
}

int portfolio_add(struct portfolio *p, struct contract_file *f, struct err *e)
{
    for (int i = 0; i < p->n; i++) {
        if (!strcmp(p->contract[i]->name, contract_file_contract(f)->name))
            return contract_file_err(f, -1, "contract", e, "it is there twice");
    }
    if (p->n == REPORT_CONTRACTS_MAX)
        return err_set(e, ERR_LIMIT, "more than %d contracts", REPORT_CONTRACTS_MAX);
    p->contract[p->n] = contract_file_contract(f);
    p->file[p->n++] = f;
    return 0;
}

struct adding {
    struct portfolio *p;
    struct err *e;
};

static int add_stored(void *arg, const struct contract_version *v)
{
    struct adding *x = arg;
    struct contract_file *f;
    int r = contract_file_parse(&f, v->name, v->text, strlen(v->text), x->e);

    if (!r && (r = portfolio_add(x->p, f, x->e)))
        contract_file_close(f);
    return r;
}

int portfolio_add_stored(struct portfolio *p, struct accounts *a, int64_t as_of_s, int64_t known_s,
                         struct err *e)
{
    struct adding x = {p, e};

    return accounts_contracts(a, as_of_s, known_s, add_stored, &x, e);
}
