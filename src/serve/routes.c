#include "serve/routes.h"

#include <string.h>

#include "base/check.h"
#include "base/money.h"
#include "job/feature.h"
#include "job/tier.h"
#include "serve/site_list.h"

#define JOULES_MAX 1000000 /* a token */
#define BORROW_PPM 1000000

#define AT(f) offsetof(struct serve_route, f)
const struct config_setting serve_route_settings[] = {
    {"model", CONFIG_STR, AT(model), NULL, 0, 0, "ID",
     "of this model; without it: of any that has no route of its own"},
    {"route", CONFIG_CHOICE, AT(strategy), "least_busy", 0, 0, ROUTE_STRATEGY_WORDS,
     "who gets a request: by load, in the order of the file, by weight, who begins to answer "
     "first, who costs least, the same for requests that begin alike"},
    {"residency", CONFIG_STRS, AT(residency), NULL, 0, 0, "NAMES",
     "only suppliers of these residencies; without it: any"},
    {0},
};

int route_read(struct serve_config *c, struct config_doc *d, struct config_node *map, struct err *e)
{
    struct serve_route *p = &c->routes[c->n_routes];
    int r;

    if (!config_is_map(map))
        return config_err(d, map, e, "a route is a map");
    if (c->n_routes >= SERVE_MODELS_MAX)
        return config_err(d, map, e, "more than %d routes", SERVE_MODELS_MAX);
    *p = (struct serve_route){0};
    config_defaults(serve_route_settings, p, &c->arena);
    r = config_read(d, map, serve_route_settings, p, &c->arena, NULL, NULL, e);
    if (!r)
        c->n_routes++;
    return r;
}

/* ---- residencies ----------------------------------------------------------------------------- */

/* The bit of that word; 0: there are too many. */
static uint32_t residency_bit(struct serve_config *c, const char *word)
{
    int i = 0;

    while (i < c->n_residencies && strcmp(c->residencies[i], word) != 0)
        i++;
    if (i == SERVE_RESIDENCIES_MAX)
        return 0;
    c->residencies[i] = word;
    c->n_residencies += i == c->n_residencies;
    return 1u << i;
}

static int set_residency(struct serve_config *c, const char *word, struct supplier_terms *t,
                         struct err *e)
{
    if (!word || !*word)
        return 0;
    t->residency = word;
    t->residency_bit = residency_bit(c, word);
    return t->residency_bit
               ? 0
               : err_set(e, ERR_ARG, "more than %d residencies", SERVE_RESIDENCIES_MAX);
}

/* What a site says holds where its supplier says nothing. */
static const char *residency_at(const struct serve_config *c, const char *site, const char *own)
{
    const struct serve_site *s = site && *site ? site_of(c, site) : NULL;

    return (own && *own) || !s ? own : s->residency;
}

/* ---- terms of suppliers ---------------------------------------------------------------------- */

static int find_feature(const char *word)
{
    for (int i = 0; i < FEATURES; i++) {
        if (!strcmp(feature_name((enum feature)i), word))
            return i;
    }
    return -1;
}

static int read_bits(const struct config_strs *words, int (*find)(const char *), const char *name,
                     const char *key, uint32_t *ret, struct err *e)
{
    *ret = 0;
    for (int i = 0; i < words->n; i++) {
        int bit = find(words->v[i]);
        if (bit < 0)
            return err_set(e, ERR_ARG, "supplier %s: %s: '%.60s' is none that is known", name, key,
                           words->v[i]);
        *ret |= 1u << bit;
    }
    return 0;
}

/* Joules a token, as they were contracted. */
static int read_energy(const struct serve_supplier *p, struct supplier_energy *ret, struct err *e)
{
    const struct {
        const char *key, *text;
        int64_t *to;
    } both[] = {{"input_joules", p->input_joules, &ret->input_nj},
                {"output_joules", p->output_joules, &ret->output_nj}};

    *ret = (struct supplier_energy){.boundary = (enum energy_boundary)p->energy_boundary,
                                    .uncertainty_permille = (int32_t)p->energy_uncertainty};
    for (int i = 0; i < 2; i++) {
        if (!both[i].text)
            continue;
        ret->is_agreed = 1;
        if (money_parse(both[i].text, both[i].to, e))
            return err_prefix(e, "supplier %s: %s", p->name, both[i].key);
        if (*both[i].to < 0 || *both[i].to > JOULES_MAX * MONEY_NANO)
            return err_set(e, ERR_ARG, "supplier %s: %s: wants joules from 0 to %d", p->name,
                           both[i].key, JOULES_MAX);
    }
    return 0;
}

static int set_terms(struct serve_config *c, struct serve_supplier *p, struct err *e)
{
    struct supplier_terms *t = &p->terms;

    *t = (struct supplier_terms){.region = p->region,
                                 .owner = p->owner,
                                 .site = p->site && *p->site ? p->site : NULL,
                                 .weight = (int32_t)p->weight,
                                 .max_share = (int32_t)p->max_share,
                                 .owner_max_share = (int32_t)p->owner_max_share};
    if (read_bits(&p->tiers, tier_find, p->name, "tiers", &t->tiers, e) ||
        read_bits(&p->lacks, find_feature, p->name, "lacks", &t->lacks, e) ||
        set_residency(c, residency_at(c, p->site, p->residency), t, e) ||
        read_energy(p, &t->energy, e))
        return e->code;
    if (!p->price_cap)
        return 0;
    if (money_parse(p->price_cap, &t->price_max, e))
        return err_prefix(e, "supplier %s: price_cap", p->name);
    if (t->price_max <= 0)
        return err_set(e, ERR_ARG, "supplier %s: price_cap: wants an amount above 0", p->name);
    return 0;
}

/* ---- routes ---------------------------------------------------------------------------------- */

static int is_served(const struct serve_config *c, const char *model)
{
    for (int i = 0; i < c->n_models; i++) {
        if (!strcmp(c->models[i].id, model))
            return 1;
        for (int k = 0; k < c->models[i].aliases.n; k++) {
            if (!strcmp(c->models[i].aliases.v[k], model))
                return 1;
        }
    }
    for (int i = 0; i < c->n_suppliers; i++) {
        for (int k = 0; k < c->suppliers[i].models.n; k++) {
            const char *m = c->suppliers[i].models.v[k];
            size_t n = strcspn(m, "=");
            if (strlen(model) == n && !memcmp(m, model, n))
                return 1;
        }
    }
    return 0;
}

static int set_rule(struct serve_config *c, int i, struct err *e)
{
    const struct serve_route *p = &c->routes[i];
    struct cloud_rule *rule = &c->rule_list[i];
    const char *model = p->model ? p->model : "any other model";
    uint32_t bit;

    *rule = (struct cloud_rule){.model = p->model, .strategy = (enum route_strategy)p->strategy};
    if (p->model && !is_served(c, p->model))
        return err_set(e, ERR_ARG, "routes: nobody serves a model '%.100s'", p->model);
    for (int k = 0; k < i; k++) {
        const char *other = c->routes[k].model;
        if (!other ? !p->model : p->model && !strcmp(other, p->model))
            return err_set(e, ERR_ARG, "routes: two are of %.100s", model);
    }
    for (int k = 0; k < p->residency.n; k++) {
        bit = residency_bit(c, p->residency.v[k]);
        if (!bit)
            return err_set(e, ERR_ARG, "more than %d residencies", SERVE_RESIDENCIES_MAX);
        rule->residency |= bit;
    }
    return 0;
}

static int read_hedge_tiers(struct serve_config *c, struct err *e)
{
    c->hedge_tier_bits = 0;
    for (int i = 0; i < c->hedge_tiers.n; i++) {
        int tier = tier_find(c->hedge_tiers.v[i]);
        if (tier < 0)
            return err_set(e, ERR_ARG,
                           "hedge_tiers: '%.60s' is none of batch, flex, default, priority",
                           c->hedge_tiers.v[i]);
        c->hedge_tier_bits |= 1u << tier;
    }
    return 0;
}

/* TIER=SHARE each. */
static int read_borrow(struct serve_config *c, struct err *e)
{
    c->borrow_limits = (struct cloud_borrow){0};
    for (int i = 0; i < c->borrow.n; i++) {
        const char *text = c->borrow.v[i], *share = strchr(text, '=');
        size_t n = share ? (size_t)(share - text) : 0;
        char name[16] = "";
        int64_t nano = -1;
        struct err why;
        int tier = -1;
        if (share && n < sizeof name) {
            memcpy(name, text, n);
            tier = tier_find(name);
        }
        if (tier < 0 || tier == TIER_AUTO || money_parse(share + 1, &nano, &why) || nano < 0 ||
            nano > MONEY_NANO)
            return err_set(e, ERR_ARG,
                           "borrow: '%.60s' wants a tier (batch, flex, default, priority), '=' and "
                           "a share from 0 to 1",
                           text);
        c->borrow_limits.tiers |= 1u << tier;
        c->borrow_limits.ppm[tier] = (int32_t)(nano / (MONEY_NANO / BORROW_PPM));
    }
    return 0;
}

int routes_check(struct serve_config *c, struct err *e)
{
    int r;

    c->n_residencies = 0;
    c->own_terms = (struct supplier_terms){.region = *c->region ? c->region : NULL,
                                           .site = *c->site ? c->site : NULL,
                                           .lacks = FEATURES_ALL,
                                           .weight = 1};
    r = set_residency(c, residency_at(c, c->site, c->residency), &c->own_terms, e);
    if (!r)
        r = read_hedge_tiers(c, e);
    if (!r)
        r = read_borrow(c, e);
    for (int i = 0; !r && i < c->n_suppliers; i++)
        r = set_terms(c, &c->suppliers[i], e);
    for (int i = 0; !r && i < c->n_routes; i++)
        r = set_rule(c, i, e);
    c->rules = (struct cloud_rules){.list = c->rule_list, .n = c->n_routes};
    return r;
}

void routes_describe(const struct serve_config *c, struct buf *out)
{
    for (int i = 0; i < c->n_routes; i++) {
        const struct serve_route *p = &c->routes[i];
        buf_addf(out, "route      %s: %s", p->model ? p->model : "any other model",
                 route_strategy_name((enum route_strategy)p->strategy));
        for (int k = 0; k < p->residency.n; k++)
            buf_addf(out, "%s%s", k ? ", " : ", residency ", p->residency.v[k]);
        buf_add_char(out, '\n');
    }
}
