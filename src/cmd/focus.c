/* A bill in the columns of FOCUS (the FinOps Open Cost and Usage Specification). A charge is what
 * one key of a tenant used of one model, supplier, site and tier on one day.
 *
 * A charge has no unit price: it is the sum of its requests, of which each is priced by bucket and
 * rounded up once. So the columns of unit prices, which are for those who publish them, are left
 * out, and list, contracted, effective and billed cost are the same amount. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/check.h"
#include "base/csv.h"
#include "base/money.h"
#include "cmd/bill_form.h"
#include "cmd/cmd.h"
#include "cmd/measured.h"
#include "job/usage.h"

#define LINE_MAX_BYTES (1 << 16)

/* One charge on its way into columns. */
struct charge {
    const struct bill_form *form;
    const struct books_sum *sum;
    struct usage_buckets tokens;
    struct measured measured;
    char cost[MONEY_TEXT_MAX];
    char day[24], next_day[24], month[24], next_month[24];
    char host[BOOKS_LABELS_MAX]; /* whose machines served it */
};

static void put_date(char out[24], int year, int month, int day)
{
    struct tm tm = {.tm_year = year - 1900, .tm_mon = month - 1, .tm_mday = day};
    time_t t = timegm(&tm); /* so that the 32nd is the first of the next month */

    gmtime_r(&t, &tm);
    strftime(out, 24, "%Y-%m-%dT00:00:00Z", &tm);
}

static void init_charge(struct charge *c, const struct bill_form *f, const struct books_sum *s)
{
    struct usage u = {.prompt_tokens = s->prompt_tokens,
                      .cached_tokens = s->cached_tokens,
                      .cache_write_tokens = s->cache_write_tokens,
                      .completion_tokens = s->completion_tokens,
                      .reasoning_tokens = s->reasoning_tokens};
    const char *supplier = s->key[BOOKS_BY_SUPPLIER];
    size_t n = strcspn(supplier, "/");
    int y = 1970, m = 1, d = 1;

    *c = (struct charge){
        .form = f, .sum = s, .tokens = usage_buckets(&u), .measured = measured_of(s)};
    money_show(s->charge_nano, c->cost);
    sscanf(s->key[BOOKS_BY_DAY], "%4d-%2d-%2d", &y, &m, &d); /* as books_bill writes it */
    put_date(c->day, y, m, d);
    put_date(c->next_day, y, m, d + 1);
    put_date(c->month, y, m, 1);
    put_date(c->next_month, y, m + 1, 1);
    if (n == 5 && !strncmp(supplier, "local", n)) /* the engine of this process */
        snprintf(c->host, sizeof c->host, "%s", f->issuer);
    else
        snprintf(c->host, sizeof c->host, "%.*s", (int)n, supplier);
}

/* ---- columns --------------------------------------------------------------------------------- */

static void put_cost(struct buf *out, const struct charge *c)
{
    buf_add_str(out, c->cost);
}

static void put_tenant(struct buf *out, const struct charge *c)
{
    csv_put(out, c->sum->key[BOOKS_BY_TENANT]);
}

/* XXX is ISO 4217's "no currency". */
static void put_currency(struct buf *out, const struct charge *c)
{
    buf_add_str(out, *c->sum->currency ? c->sum->currency : "XXX");
}

static void put_month(struct buf *out, const struct charge *c)
{
    buf_add_str(out, c->month);
}

static void put_next_month(struct buf *out, const struct charge *c)
{
    buf_add_str(out, c->next_month);
}

static void put_day(struct buf *out, const struct charge *c)
{
    buf_add_str(out, c->day);
}

static void put_next_day(struct buf *out, const struct charge *c)
{
    buf_add_str(out, c->next_day);
}

static void put_usage(struct buf *out, const struct charge *c)
{
    buf_add_str(out, "Usage");
}

static void put_class(struct buf *out, const struct charge *c)
{
    buf_add_str(out, c->sum->key[BOOKS_BY_CLASS]);
}

static void put_description(struct buf *out, const struct charge *c)
{
    char text[2 * BOOKS_LABELS_MAX + 64];

    snprintf(text, sizeof text, "Tokens of %s, tier %s", c->sum->key[BOOKS_BY_MODEL],
             c->sum->key[BOOKS_BY_TIER]);
    csv_put(out, text);
}

static void put_frequency(struct buf *out, const struct charge *c)
{
    buf_add_str(out, "Usage-Based");
}

/* With a point, so that readers who guess at types take it for the decimal that it is. */
static void put_quantity(struct buf *out, const struct charge *c)
{
    buf_addf(out, "%lld.0", (long long)(c->sum->prompt_tokens + c->sum->completion_tokens));
}

static void put_unit(struct buf *out, const struct charge *c)
{
    buf_add_str(out, "Tokens");
}

static void put_host(struct buf *out, const struct charge *c)
{
    csv_put(out, c->host);
}

static void put_issuer(struct buf *out, const struct charge *c)
{
    csv_put(out, c->form->issuer);
}

/* The statement of the month that it will be on. */
static void put_invoice(struct buf *out, const struct charge *c)
{
    char text[BOOKS_LABELS_MAX + 16];

    snprintf(text, sizeof text, "%s-%.7s", c->sum->key[BOOKS_BY_TENANT], c->month);
    csv_put(out, text);
}

static void put_standard(struct buf *out, const struct charge *c)
{
    buf_add_str(out, "Standard");
}

static void put_category(struct buf *out, const struct charge *c)
{
    buf_add_str(out, "AI and Machine Learning");
}

static void put_offering(struct buf *out, const struct charge *c)
{
    buf_add_str(out, "Inference");
}

static void put_subcategory(struct buf *out, const struct charge *c)
{
    buf_add_str(out, "Generative AI");
}

static void put_sku(struct buf *out, const struct charge *c)
{
    char text[2 * BOOKS_LABELS_MAX + 2];

    snprintf(text, sizeof text, "%s/%s", c->sum->key[BOOKS_BY_MODEL], c->sum->key[BOOKS_BY_TIER]);
    csv_put(out, text);
}

static void put_team(struct buf *out, const struct charge *c)
{
    if (*c->sum->key[BOOKS_BY_TEAM])
        csv_put(out, c->sum->key[BOOKS_BY_TEAM]);
}

/* "name=value,name=value" as an object of JSON; null where there are none. */
static void put_labels(struct buf *out, const struct charge *c)
{
    char labels[BOOKS_LABELS_MAX], *rest = labels, *label, *value, *text;
    json_t *all;

    if (!*c->sum->key[BOOKS_BY_LABELS])
        return;
    snprintf(labels, sizeof labels, "%s", c->sum->key[BOOKS_BY_LABELS]);
    all = json_object();
    while ((label = strsep(&rest, ","))) {
        value = label + strcspn(label, "=");
        if (*value)
            *value++ = 0;
        json_object_set_new(all, label, cmd_json_str(value));
    }
    text = json_dumps(all, JSON_COMPACT);
    json_decref(all);
    if (text)
        csv_put(out, text);
    else
        out->failed = ERR_NOMEM;
    free(text);
}

static void put_key(struct buf *out, const struct charge *c)
{
    csv_put(out, c->sum->key[BOOKS_BY_KEY]);
}

static void put_model(struct buf *out, const struct charge *c)
{
    csv_put(out, c->sum->key[BOOKS_BY_MODEL]);
}

static void put_supplier(struct buf *out, const struct charge *c)
{
    csv_put(out, c->sum->key[BOOKS_BY_SUPPLIER]);
}

static void put_tier(struct buf *out, const struct charge *c)
{
    buf_add_str(out, c->sum->key[BOOKS_BY_TIER]);
}

#define PUT_NUMBER(name, value)                                                                    \
    static void name(struct buf *out, const struct charge *c)                                      \
    {                                                                                              \
        buf_addf(out, "%lld", (long long)(value));                                                 \
    }
PUT_NUMBER(put_requests, c->sum->n_requests)
PUT_NUMBER(put_uncached, c->tokens.uncached)
PUT_NUMBER(put_cache_read, c->tokens.cache_read)
PUT_NUMBER(put_cache_write, c->tokens.cache_write)
PUT_NUMBER(put_output, c->tokens.output)
PUT_NUMBER(put_reasoning, c->tokens.reasoning)
PUT_NUMBER(put_unpriced, c->sum->n_unpriced)
PUT_NUMBER(put_estimated, c->sum->n_estimated)
PUT_NUMBER(put_disputed, c->sum->n_disputed)
PUT_NUMBER(put_unmetered, c->measured.n_no_energy)

static void put_wh(struct buf *out, const struct charge *c)
{
    char text[MEASURED_TEXT_MAX];

    if (measured_wh(c->measured.energy_uj, text))
        buf_add_str(out, text);
}

static void put_boundary(struct buf *out, const struct charge *c)
{
    buf_add_str(out, c->measured.boundary ? c->measured.boundary : "");
}

static void put_site(struct buf *out, const struct charge *c)
{
    if (*c->sum->key[BOOKS_BY_SITE])
        csv_put(out, c->sum->key[BOOKS_BY_SITE]);
}

static void put_grams(struct buf *out, int64_t ug)
{
    char text[MEASURED_TEXT_MAX];

    if (measured_grams(ug, text))
        buf_add_str(out, text);
}

static void put_carbon(struct buf *out, const struct charge *c)
{
    put_grams(out, c->measured.location_ug);
}

static void put_bought_carbon(struct buf *out, const struct charge *c)
{
    put_grams(out, c->measured.market_ug);
}

#define IN_1_2 (1 << FOCUS_1_2)
#define IN_1_4 (1 << FOCUS_1_4)
#define IN_ALL (IN_1_2 | IN_1_4)
static const struct {
    const char *name;
    int versions;
    void (*put)(struct buf *out, const struct charge *c);
} columns[] = {
    {"BilledCost", IN_ALL, put_cost},
    {"BillingAccountId", IN_ALL, put_tenant},
    {"BillingAccountName", IN_ALL, put_tenant},
    {"BillingCurrency", IN_ALL, put_currency},
    {"BillingPeriodEnd", IN_ALL, put_next_month},
    {"BillingPeriodStart", IN_ALL, put_month},
    {"ChargeCategory", IN_ALL, put_usage},
    {"ChargeClass", IN_ALL, put_class},
    {"ChargeDescription", IN_ALL, put_description},
    {"ChargeFrequency", IN_ALL, put_frequency},
    {"ChargePeriodEnd", IN_ALL, put_next_day},
    {"ChargePeriodStart", IN_ALL, put_day},
    {"ConsumedQuantity", IN_ALL, put_quantity},
    {"ConsumedUnit", IN_ALL, put_unit},
    {"ContractedCost", IN_ALL, put_cost},
    {"EffectiveCost", IN_ALL, put_cost},
    {"HostProviderName", IN_1_4, put_host},
    {"InvoiceId", IN_ALL, put_invoice},
    {"InvoiceIssuerName", IN_ALL, put_issuer},
    {"ListCost", IN_ALL, put_cost},
    {"PricingCategory", IN_ALL, put_standard},
    {"PricingQuantity", IN_ALL, put_quantity},
    {"PricingUnit", IN_ALL, put_unit},
    {"ProviderName", IN_1_2, put_issuer},
    {"PublisherName", IN_1_2, put_host},
    {"ServiceCategory", IN_ALL, put_category},
    {"ServiceName", IN_ALL, put_offering},
    {"ServiceProviderName", IN_1_4, put_issuer},
    {"ServiceSubcategory", IN_ALL, put_subcategory},
    {"SkuId", IN_ALL, put_sku},
    {"SkuMeter", IN_ALL, put_unit},
    {"SubAccountId", IN_ALL, put_team},
    {"SubAccountName", IN_ALL, put_team},
    {"Tags", IN_ALL, put_labels},
    {"x_Key", IN_ALL, put_key},
    {"x_Model", IN_ALL, put_model},
    {"x_Supplier", IN_ALL, put_supplier},
    {"x_Tier", IN_ALL, put_tier},
    {"x_Requests", IN_ALL, put_requests},
    {"x_UncachedInputTokens", IN_ALL, put_uncached},
    {"x_CacheReadInputTokens", IN_ALL, put_cache_read},
    {"x_CacheWriteInputTokens", IN_ALL, put_cache_write},
    {"x_OutputTokens", IN_ALL, put_output},
    {"x_ReasoningTokens", IN_ALL, put_reasoning},
    {"x_UnpricedRequests", IN_ALL, put_unpriced},
    {"x_EstimatedRequests", IN_ALL, put_estimated},
    {"x_DisputedRequests", IN_ALL, put_disputed},
    {"x_EnergyWh", IN_ALL, put_wh},
    {"x_EnergyBoundary", IN_ALL, put_boundary},
    {"x_UnmeteredRequests", IN_ALL, put_unmetered},
    {"x_SiteId", IN_ALL, put_site},
    {"x_CarbonGrams", IN_ALL, put_carbon},
    {"x_MarketCarbonGrams", IN_ALL, put_bought_carbon},
};

/* ---- lines ----------------------------------------------------------------------------------- */

/* A line of the columns of this version; of their names where there is no charge. */
static int print_line(const struct bill_form *f, const struct charge *c)
{
    struct buf line;
    int r;

    buf_init(&line, LINE_MAX_BYTES);
    for (size_t i = 0; i < ARRAY_LEN(columns); i++) {
        if (!(columns[i].versions & (1 << f->focus)))
            continue;
        if (line.len)
            buf_add_char(&line, ',');
        if (c)
            columns[i].put(&line, c);
        else
            buf_add_str(&line, columns[i].name);
    }
    buf_add_char(&line, '\n');
    r = line.failed;
    if (!r)
        fwrite(line.data, 1, line.len, stdout);
    buf_done(&line);
    return r;
}

int focus_head(struct bill_form *f)
{
    return print_line(f, NULL);
}

int focus_line(void *form, const struct books_sum *s)
{
    struct bill_form *f = form;
    struct charge c;

    init_charge(&c, f, s);
    f->n_lines++;
    f->n_unpriced += s->n_unpriced;
    f->n_estimated += s->n_estimated;
    f->n_disputed += s->n_disputed;
    return print_line(f, &c);
}
