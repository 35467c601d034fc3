/* A statement for people at a terminal, and as CSV in the columns of FOCUS where it has them. */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/check.h"
#include "base/csv.h"
#include "base/day.h"
#include "base/money.h"
#include "cmd/cmd.h"
#include "cmd/settled_form.h"

#define LINE_MAX_BYTES (1 << 14)
#define MWH            3.6e9

/* ---- for people ------------------------------------------------------------------------------ */

static void print_tranche(const struct tranche *t, const struct settlement_tranche *x)
{
    int64_t ppm = settlement_availability(x);
    char share[32] = "-";
    power_uj missing = 0;

    for (int c = 0; c < POWER_CAUSES; c++)
        missing += settlement_short(x, (enum power_cause)c);
    if (ppm >= 0)
        snprintf(share, sizeof share, "%.4f %%", (double)ppm / 1e4);
    cmd_line(stdout, "  %-20s %12.3f %12.3f %12.3f %12.3f %12.3f %12s", t->name,
             (double)((x->ready + x->late) / SETTLEMENT_UJ) / MWH,
             (double)(x->late / SETTLEMENT_UJ) / MWH, (double)settlement_delivered(x) / MWH,
             (double)missing / MWH, (double)settlement_unknown(x) / MWH, share);
}

static void print_use(const char *what, const struct settlement_use *u)
{
    if (u->n_requests)
        printf("  %-20s %lld requests, %lld tokens in, %lld out\n", what, (long long)u->n_requests,
               (long long)u->prompt_tokens, (long long)u->completion_tokens);
}

static void print_part(const struct settled *s, int i)
{
    const struct settled_part *p = &s->part[i];
    const struct contract *c = settled_contract_of(s, i);
    char from[DAY_TEXT_MAX], until[DAY_TEXT_MAX];

    printf("\n%s to %s, by version %lld; MWh\n", day_show_moment(p->from_s, settled_zone(s), from),
           day_show_moment(p->until_s, settled_zone(s), until),
           (long long)s->version[p->i_version].version);
    printf("  %-20s %12s %12s %12s %12s %12s %12s\n", "tranche", "committed", "late", "delivered",
           "missing", "unknown", "availability");
    for (int k = 0; k < c->n_tranches; k++) {
        if (p->tranche[k].ready || p->tranche[k].late)
            print_tranche(&c->tranche[k], &p->tranche[k]);
    }
    print_use("within", &p->own);
    print_use("above", &p->paid);
    print_use("lent to others", &p->lent);
    if (p->n_foreign)
        cmd_note("the charges of %lld requests are in another currency, and in no line",
                 (long long)p->n_foreign);
}

/* "12.000 MWh at 95.00, x 0.5" */
static void put_basis(const struct settlement_line *l, char *out, size_t cap)
{
    char price[MONEY_TEXT_MAX], share[MONEY_TEXT_MAX], base[MONEY_SUM_TEXT_MAX];

    money_show(l->price, price);
    money_show(l->share_ppm * 1000, share);
    money_show_sum(l->base, base);
    if (l->is_told)
        snprintf(out, cap, "not measured");
    else if (l->joules && l->share_ppm == CONTRACT_PPM)
        snprintf(out, cap, "%.3f MWh at %s", (double)l->joules / MWH, price);
    else if (l->joules)
        snprintf(out, cap, "%.3f MWh at %s x %s", (double)l->joules / MWH, price, share);
    else if (l->share_ppm && l->share_ppm != CONTRACT_PPM)
        snprintf(out, cap, "of %s x %s", base, share);
    else
        snprintf(out, cap, "of %s", base);
}

/* "of 5000.00"; "": there is no cap. */
static char *of_cap(contract_nano cap, char out[MONEY_SUM_TEXT_MAX + 4])
{
    char text[MONEY_SUM_TEXT_MAX];

    snprintf(out, MONEY_SUM_TEXT_MAX + 4, "%s%s", cap ? " of " : "",
             cap ? money_show_sum(cap, text) : "");
    return out;
}

static void print_year(const struct settled *s, const struct contract_backstop *b)
{
    char from[DAY_TEXT_MAX], until[DAY_TEXT_MAX], money[MONEY_SUM_TEXT_MAX],
        cap[MONEY_SUM_TEXT_MAX + 4], energy[MONEY_SUM_TEXT_MAX + 4];

    printf("\ntaken in its year from %s, until %s: %.3f MWh%s, %s%s\n",
           day_show_moment(s->year.from_s, settled_zone(s), from),
           day_show_moment(s->until_s, settled_zone(s), until), (double)s->taken.joules / MWH,
           of_cap((contract_nano)b->yearly_mwh * MONEY_NANO, energy),
           money_show_sum(s->taken.cost / CONTRACT_MWH_J, money), of_cap(b->yearly_money, cap));
}

void settled_print(const struct settled *s)
{
    const struct contract *c = settled_contract(s);
    char from[DAY_TEXT_MAX], until[DAY_TEXT_MAX], amount[MONEY_SUM_TEXT_MAX];

    cmd_line(stdout, "Statement of %s: %s to %s, %s to %s (%s)", c->name, c->supplier.name,
             c->customer.name, day_show_moment(s->from_s, settled_zone(s), from),
             day_show_moment(s->until_s, settled_zone(s), until),
             c->time_zone ? c->time_zone : "UTC");
    for (int i = 0; i < s->n_parts; i++)
        print_part(s, i);
    if (c->backstop.is_there)
        print_year(s, &c->backstop);
    printf("\n");
    for (int i = 0; i < s->n_lines; i++) {
        char what[SETTLED_TEXT_MAX], basis[200], command[SETTLED_TEXT_MAX];
        const struct settlement_line *l = &s->line[i];
        put_basis(l, basis, sizeof basis);
        cmd_line(stdout, "%-52s %-36s %18s", settled_what(s, l, what), basis,
                 money_show_sum(l->amount, amount));
        if (*settled_command(s, l, command))
            cmd_line(stdout, "    rows %lld to %lld (%lld): %s", (long long)l->first_seq,
                     (long long)l->last_seq, (long long)l->n_rows, command);
    }
    cmd_line(stdout, "%-89s %18s %s", "total, without taxes", money_show_sum(s->sum.total, amount),
             c->currency);
}

/* ---- FOCUS ----------------------------------------------------------------------------------- */

/* One line on its way into columns. */
struct charge {
    const struct settled *s;
    const struct contract *c;
    const struct settlement_line *l;
    const struct tranche *t; /* NULL: none */
    char amount[MONEY_SUM_TEXT_MAX];
    char from[32], until[32], part_from[32], part_until[32];
    char quantity[MONEY_SUM_TEXT_MAX]; /* MWh; "": none */
    char price[MONEY_TEXT_MAX], share[MONEY_TEXT_MAX];
};

static char *moment(int64_t t, char out[32])
{
    time_t at = t;
    struct tm tm = {0};

    gmtime_r(&at, &tm);
    strftime(out, 32, "%Y-%m-%dT%H:%M:%SZ", &tm);
    return out;
}

static void init_charge(struct charge *x, const struct settled *s, const struct settlement_line *l)
{
    const struct settled_part *p = &s->part[l->i_part];

    *x = (struct charge){.s = s, .c = settled_contract_of(s, l->i_part), .l = l};
    x->t = l->i_tranche < 0 ? NULL : &x->c->tranche[l->i_tranche];
    money_show_sum(l->amount, x->amount);
    moment(s->from_s, x->from);
    moment(s->until_s, x->until);
    moment(p->from_s, x->part_from);
    moment(p->until_s, x->part_until);
    if (l->joules) /* to nine digits; x_Joules is exact */
        money_show_sum(((contract_nano)l->joules * 10 + 18) / 36, x->quantity);
    money_show(l->price, x->price);
    money_show(l->share_ppm * 1000, x->share);
}

static const char *category(const struct charge *x)
{
    static const char *const words[SETTLE_KINDS] = {
        [SETTLE_CAPACITY] = "Purchase",  [SETTLE_LATE] = "Credit",
        [SETTLE_SHORT] = "Credit",       [SETTLE_CAP] = "Adjustment",
        [SETTLE_NOT_TAKEN] = "Credit",   [SETTLE_TRUE_UP] = "Adjustment",
        [SETTLE_SPILLOVER] = "Usage",    [SETTLE_LENT] = "Credit",
        [SETTLE_PREPAID] = "Adjustment", [SETTLE_BACKSTOP] = "Usage"};

    return words[x->l->kind];
}

#define PUT(name, text)                                                                            \
    static void name(struct buf *out, const struct charge *x)                                      \
    {                                                                                              \
        csv_put(out, text);                                                                        \
    }
/* What is this program's own has nothing to be quoted, and numbers stay numbers. */
#define PUT_OWN(name, text)                                                                        \
    static void name(struct buf *out, const struct charge *x)                                      \
    {                                                                                              \
        buf_add_str(out, text);                                                                    \
    }
PUT_OWN(put_amount, x->amount)
PUT(put_customer, x->c->customer.name)
PUT_OWN(put_currency, x->c->currency)
PUT_OWN(put_until, x->until)
PUT_OWN(put_from, x->from)
PUT_OWN(put_category, category(x))
PUT_OWN(put_frequency, x->l->kind == SETTLE_SPILLOVER ? "Usage-Based" : "Recurring")
PUT_OWN(put_part_until, x->part_until)
PUT_OWN(put_part_from, x->part_from)
PUT(put_contract, x->c->name)
PUT_OWN(put_quantity, x->quantity)
PUT_OWN(put_unit, x->l->joules ? "MWh" : "")
PUT(put_supplier, x->c->supplier.name)
PUT_OWN(put_pricing, x->l->kind == SETTLE_SPILLOVER ? "Standard" : "Committed")
PUT_OWN(put_ai, "AI and Machine Learning")
PUT_OWN(put_capacity, "Inference capacity")
PUT_OWN(put_other, "Generative AI")
PUT_OWN(put_kind, settlement_kind_name(x->l->kind))
PUT(put_tranche, x->t ? x->t->name : "")
PUT(put_place, !x->t ? "" : x->t->site ? x->t->site : x->t->region)
PUT_OWN(put_cause, x->l->cause < 0 ? "" : power_cause_name((enum power_cause)x->l->cause))
PUT_OWN(put_price, x->l->joules ? x->price : "")
PUT_OWN(put_share, x->share)

static void put_description(struct buf *out, const struct charge *x)
{
    char what[SETTLED_TEXT_MAX];

    csv_put(out, settled_what(x->s, x->l, what));
}

static void put_invoice(struct buf *out, const struct charge *x)
{
    char text[160];

    snprintf(text, sizeof text, "%s-%.10s", x->c->name, x->from);
    csv_put(out, text);
}

static void put_joules(struct buf *out, const struct charge *x)
{
    char text[POWER_UJ_TEXT_MAX];

    buf_add_str(out, power_uj_show(x->l->joules, text));
}

static void put_rows(struct buf *out, const struct charge *x)
{
    buf_addf(out, "%lld", (long long)x->l->n_rows);
}

static void put_first(struct buf *out, const struct charge *x)
{
    buf_addf(out, "%lld", (long long)x->l->first_seq);
}

static void put_last(struct buf *out, const struct charge *x)
{
    buf_addf(out, "%lld", (long long)x->l->last_seq);
}

static const struct {
    const char *name;
    void (*put)(struct buf *out, const struct charge *x);
} columns[] = {
    {"BilledCost", put_amount},
    {"BillingAccountId", put_customer},
    {"BillingAccountName", put_customer},
    {"BillingCurrency", put_currency},
    {"BillingPeriodEnd", put_until},
    {"BillingPeriodStart", put_from},
    {"ChargeCategory", put_category},
    {"ChargeDescription", put_description},
    {"ChargeFrequency", put_frequency},
    {"ChargePeriodEnd", put_part_until},
    {"ChargePeriodStart", put_part_from},
    {"CommitmentDiscountId", put_contract},
    {"ContractedCost", put_amount},
    {"EffectiveCost", put_amount},
    {"InvoiceId", put_invoice},
    {"InvoiceIssuerName", put_supplier},
    {"ListCost", put_amount},
    {"PricingCategory", put_pricing},
    {"PricingQuantity", put_quantity},
    {"PricingUnit", put_unit},
    {"ProviderName", put_supplier},
    {"PublisherName", put_supplier},
    {"ServiceCategory", put_ai},
    {"ServiceName", put_capacity},
    {"ServiceSubcategory", put_other},
    {"x_Kind", put_kind},
    {"x_Tranche", put_tranche},
    {"x_Place", put_place},
    {"x_Cause", put_cause},
    {"x_Joules", put_joules},
    {"x_PricePerMWh", put_price},
    {"x_Share", put_share},
    {"x_Rows", put_rows},
    {"x_FirstRow", put_first},
    {"x_LastRow", put_last},
};

int settled_csv(const struct settled *s)
{
    int r = 0;

    for (int i = -1; !r && i < s->n_lines; i++) {
        struct charge x;
        struct buf line;
        buf_init(&line, LINE_MAX_BYTES);
        if (i >= 0)
            init_charge(&x, s, &s->line[i]);
        for (size_t k = 0; k < ARRAY_LEN(columns); k++) {
            if (k)
                buf_add_char(&line, ',');
            if (i >= 0)
                columns[k].put(&line, &x);
            else
                buf_add_str(&line, columns[k].name);
        }
        r = line.failed;
        if (!r)
            puts(line.data);
        buf_done(&line);
    }
    return r;
}
