#include "serve/prices.h"

#include <sodium.h>
#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "base/day.h"
#include "base/money.h"
#include "base/put.h"
#include "job/tier.h"

#define BOOK_TEXT_MAX ((size_t)1 << 20)

/* A price as it stands in the file. */
struct price_text {
    const char *model, *supplier, *from, *currency;
    const char *input, *cached_input, *cache_write, *output, *reasoning, *energy, *per_request,
        *minimum;
    int side, tier;
};

#define AT(f) offsetof(struct price_text, f)
const struct config_setting serve_price_settings[] = {
    {"side", CONFIG_CHOICE, AT(side), "sell", 0, 0, "sell|buy",
     "what tenants owe, or what suppliers are owed"},
    {"model", CONFIG_STR, AT(model), NULL, 0, 0, "ID", "of this model; without it: of any"},
    {"supplier", CONFIG_STR, AT(supplier), NULL, 0, 0, "NAME",
     "served by this supplier ('local': the engine of this process); without it: by any"},
    {"tier", CONFIG_CHOICE, AT(tier), "any", 0, 0, "flex|default|priority|batch|any",
     "in this tier"},
    {"from", CONFIG_STR, AT(from), NULL, 0, 0, "DATE", "holds from this day on (UTC): 2026-12-01"},
    {"currency", CONFIG_STR, AT(currency), NULL, 0, 0, "CODE",
     "of a price that suppliers have: without it, and of tenants' prices always, the cloud's"},
    {"input", CONFIG_STR, AT(input), "0", 0, 0, "AMOUNT", "for a million tokens of prompts"},
    {"cached_input", CONFIG_STR, AT(cached_input), NULL, 0, 0, "AMOUNT",
     "of these, for tokens found in a cache; without it: as input"},
    {"cache_write", CONFIG_STR, AT(cache_write), NULL, 0, 0, "AMOUNT",
     "of these, for tokens written to one; without it: as input"},
    {"output", CONFIG_STR, AT(output), "0", 0, 0, "AMOUNT", "for a million tokens of answers"},
    {"reasoning", CONFIG_STR, AT(reasoning), NULL, 0, 0, "AMOUNT",
     "of these, for tokens of reasoning; without it: as output"},
    {"energy", CONFIG_STR, AT(energy), "0", 0, 0, "AMOUNT",
     "for a kWh of the energy that requests took"},
    {"per_request", CONFIG_STR, AT(per_request), "0", 0, 0, "AMOUNT", "for each request"},
    {"minimum", CONFIG_STR, AT(minimum), "0", 0, 0, "AMOUNT", "of one request"},
    {0},
};

static int read_day(const char *text, int64_t *ret_s, struct err *e)
{
    return day_read(text, NULL, ret_s)
               ? err_set(e, ERR_ARG, "'%.40s' is no day: write 2026-12-01", text)
               : 0;
}

/* Amounts: NULL leaves -1, "as what it is a part of". */
static int read_amounts(const struct price_text *t, struct price *p, struct err *e)
{
    const struct {
        const char *key, *text;
        int64_t *to;
    } all[] = {{"input", t->input, &p->uncached},
               {"cached_input", t->cached_input, &p->cache_read},
               {"cache_write", t->cache_write, &p->cache_write},
               {"output", t->output, &p->output},
               {"reasoning", t->reasoning, &p->reasoning},
               {"energy", t->energy, &p->energy},
               {"per_request", t->per_request, &p->per_request},
               {"minimum", t->minimum, &p->minimum}};

    for (size_t i = 0; i < ARRAY_LEN(all); i++) {
        *all[i].to = -1;
        if (!all[i].text)
            continue;
        if (money_parse(all[i].text, all[i].to, e))
            return err_prefix(e, "%s", all[i].key);
        if (*all[i].to < 0)
            return err_set(e, ERR_ARG, "%s: a price is not below 0", all[i].key);
    }
    return 0;
}

static int put_name(char *to, const char *from, const char *key, struct err *e)
{
    if (from && strlen(from) >= PRICE_NAME_MAX)
        return err_set(e, ERR_ARG, "%s: the name is too long", key);
    snprintf(to, PRICE_NAME_MAX, "%s", from ? from : "");
    return 0;
}

static int put_currency(char to[4], const char *from, struct err *e)
{
    if (from && !money_is_currency(from))
        return err_set(e, ERR_ARG, "'%.20s' is no currency: three capital letters, as EUR", from);
    snprintf(to, 4, "%s", from ? from : "");
    return 0;
}

int price_read(struct serve_config *c, struct config_doc *d, struct config_node *map, struct err *e)
{
    struct price *p = &c->prices[c->n_prices];
    struct price_text t = {0};
    struct err why = {0};
    int r;

    if (!config_is_map(map))
        return config_err(d, map, e, "a price is a map");
    if (c->n_prices >= SERVE_PRICES_MAX)
        return config_err(d, map, e, "more than %d prices", SERVE_PRICES_MAX);
    config_defaults(serve_price_settings, &t, &c->arena);
    r = config_read(d, map, serve_price_settings, &t, &c->arena, NULL, NULL, e);
    if (r)
        return r;
    *p = (struct price){.side = (enum price_side)t.side, .tier = t.tier == TIER_AUTO ? -1 : t.tier};
    if (put_name(p->model, t.model, "model", &why) ||
        put_name(p->supplier, t.supplier, "supplier", &why) ||
        put_currency(p->currency, t.currency, &why) ||
        (t.from && read_day(t.from, &p->from_s, &why)) || read_amounts(&t, p, &why))
        return config_err(d, map, e, "%.400s", why.text);
    c->n_prices++;
    return 0;
}

/* A rate as it stands in the file. */
struct rate_text {
    const char *from, *to, *rate, *since;
};

#define RATE_AT(f) offsetof(struct rate_text, f)
const struct config_setting serve_rate_settings[] = {
    {"from", CONFIG_STR, RATE_AT(from), NULL, 0, 0, "CODE",
     "the currency that is converted: three letters, as USD"},
    {"to", CONFIG_STR, RATE_AT(to), NULL, 0, 0, "CODE", "into that of 'currency', the only one"},
    {"rate", CONFIG_STR, RATE_AT(rate), NULL, 0, 0, "AMOUNT",
     "what one unit of it is worth, with at most nine digits behind the point"},
    {"since", CONFIG_STR, RATE_AT(since), NULL, 0, 0, "DATE",
     "holds from this day on (UTC): 2026-12-01"},
    {0},
};

int rate_read(struct serve_config *c, struct config_doc *d, struct config_node *map, struct err *e)
{
    struct exchange *x = &c->rates[c->n_rates];
    struct rate_text t = {0};
    struct err why = {0};
    int r;

    if (!config_is_map(map))
        return config_err(d, map, e, "a rate is a map");
    if (c->n_rates >= SERVE_RATES_MAX)
        return config_err(d, map, e, "more than %d rates", SERVE_RATES_MAX);
    r = config_read(d, map, serve_rate_settings, &t, &c->arena, NULL, NULL, e);
    if (r)
        return r;
    *x = (struct exchange){0};
    if (!t.from || !t.rate)
        return config_err(d, map, e, "a rate needs 'from' and 'rate'");
    if (put_currency(x->from, t.from, &why) || money_parse(t.rate, &x->rate_nano, &why) ||
        (t.since && read_day(t.since, &x->since_s, &why)))
        return config_err(d, map, e, "%.400s", why.text);
    if (x->rate_nano <= 0)
        return config_err(d, map, e, "rate: is above 0");
    if (t.to && strcmp(t.to, c->currency))
        return config_err(d, map, e, "to: %.10s is not the cloud's 'currency'", t.to);
    if (!strcmp(x->from, c->currency))
        return config_err(d, map, e, "from: %s is the cloud's own 'currency'", x->from);
    c->n_rates++;
    return 0;
}

/* Tenants are charged in the cloud's currency; of another there is a rate, if not yet one. */
static int check_price_currency(const struct serve_config *c, struct price *p, struct err *e)
{
    int i = 0;

    if (!strcmp(p->currency, c->currency))
        p->currency[0] = 0;
    if (!*p->currency)
        return 0;
    if (p->side == PRICE_SELL)
        return err_set(e, ERR_ARG,
                       "prices: tenants are charged in %s, not %s: 'side: buy' is for "
                       "what suppliers are owed",
                       c->currency, p->currency);
    while (i < c->n_rates && strcmp(c->rates[i].from, p->currency))
        i++;
    if (i == c->n_rates)
        return err_set(e, ERR_ARG, "prices: 'rates' has none from %s to %s", p->currency,
                       c->currency);
    return 0;
}

/* Which list of prices it is: the same for whoever has the same prices in the same order. */
static int put_id(struct serve_config *c, struct err *e)
{
    unsigned char hash[crypto_hash_sha256_BYTES];
    struct buf text;

    if (!c->n_prices)
        return 0;
    buf_init(&text, BOOK_TEXT_MAX);
    buf_addf(&text, "%s\n", c->currency);
    for (int i = 0; i < c->n_prices; i++) {
        const struct price *p = &c->prices[i];
        buf_addf(&text, "%d %s %s %d %s %lld %lld %lld %lld %lld %lld %lld %lld %lld\n", p->side,
                 p->model, p->supplier, p->tier, p->currency, (long long)p->from_s,
                 (long long)p->uncached, (long long)p->cache_read, (long long)p->cache_write,
                 (long long)p->output, (long long)p->reasoning, (long long)p->energy,
                 (long long)p->per_request, (long long)p->minimum);
    }
    if (text.failed) {
        buf_done(&text);
        return err_set(e, ERR_NOMEM, "out of memory");
    }
    crypto_hash_sha256(hash, (const unsigned char *)text.data, text.len);
    put_bytes(hash, (sizeof c->book.id - 1) / 2, c->book.id);
    buf_done(&text);
    return 0;
}

int prices_check(struct serve_config *c, struct err *e)
{
    int r = 0;

    if (*c->currency && !money_is_currency(c->currency))
        return err_set(e, ERR_ARG, "currency: '%.20s' is none: three capital letters, as EUR",
                       c->currency);
    if (c->n_prices && !*c->currency)
        return err_set(e, ERR_ARG, "prices: 'currency' says of which currency they are");
    if (c->n_rates && !*c->currency)
        return err_set(e, ERR_ARG, "rates: 'currency' says into which they convert");
    for (int i = 0; !r && i < c->n_prices; i++)
        r = check_price_currency(c, &c->prices[i], e);
    c->book = (struct cloud_prices){
        .list = c->prices, .n = c->n_prices, .rates = c->rates, .n_rates = c->n_rates};
    if (!r)
        r = put_id(c, e);
    return r;
}

static void put_amount(struct buf *out, const char *what, int64_t nano)
{
    char text[MONEY_TEXT_MAX];

    if (nano > 0)
        buf_addf(out, ", %s %s", what, money_show(nano, text));
}

void prices_describe(const struct serve_config *c, struct buf *out)
{
    for (int i = 0; i < c->n_prices; i++) {
        const struct price *p = &c->prices[i];
        buf_addf(out, "price      %s %s of %s in tier %s: %s",
                 p->side == PRICE_SELL ? "sell" : "buy", *p->model ? p->model : "any model",
                 *p->supplier ? p->supplier : "any supplier",
                 p->tier < 0 ? "any" : tier_name((enum tier)p->tier),
                 *p->currency ? p->currency : c->currency);
        put_amount(out, "input", p->uncached);
        put_amount(out, "cached input", p->cache_read);
        put_amount(out, "cache write", p->cache_write);
        put_amount(out, "output", p->output);
        put_amount(out, "reasoning", p->reasoning);
        put_amount(out, "a kWh", p->energy);
        put_amount(out, "a request", p->per_request);
        put_amount(out, "at least", p->minimum);
        buf_add_char(out, '\n');
    }
    for (int i = 0; i < c->n_rates; i++) {
        char text[MONEY_TEXT_MAX];
        buf_addf(out, "rate       1 %s = %s %s\n", c->rates[i].from,
                 money_show(c->rates[i].rate_nano, text), c->currency);
    }
}
