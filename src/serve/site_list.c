#include "serve/site_list.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/money.h"
#include "net/url.h"
#include "serve/sensor_list.h"
#include "serve/site_curtail.h"
#include "serve/site_dates.h"
#include "serve/site_slurm.h"

#define NANO_PER_MG 1000000 /* of a gram */
#define KEY_MAX     1024

#define AT(f) offsetof(struct serve_site, f)
const struct config_setting serve_site_settings[] = {
    {"name", CONFIG_STR, AT(name), NULL, 0, 0, "NAME", "how it is called in bills and logs"},
    {"region", CONFIG_STR, AT(region), NULL, 0, 0, "NAME", "where it is; accounts may ask for it"},
    {"residency", CONFIG_STR, AT(residency), NULL, 0, 0, "NAME",
     "where what it is sent stays, of its suppliers that say nothing"},
    {"generally_available", CONFIG_BOOL, AT(is_general), NULL, 0, 0, NULL,
     "it serves all tenants; without it: unless it is dedicated to some"},
    {"dedicated_to", CONFIG_STRS, AT(dedicated_to), NULL, 0, 0, "NAMES",
     "it serves only these tenants; for all others it does not exist"},
    {"testers", CONFIG_STRS, AT(testers), NULL, 0, 0, "NAMES",
     "in the state acceptance it serves only these tenants"},
    {"state", CONFIG_CHOICE, AT(state), NULL, 0, 0, LIFECYCLE_STATE_WORDS,
     "what it is at any time, without a lifecycle (active): whether anything new is sent there"},
    {"capacity_factor", CONFIG_STR, AT(capacity_factor), "1", 0, 0, "FACTOR",
     "the part of its suppliers' places that may be used, 0 to 1; with 0 nothing new is sent "
     "there"},
    {"capacity_file", CONFIG_STR, AT(capacity_file), NULL, 0, 0, "FILE",
     "a file with a factor, read again and again; the lowest that is said holds"},
    {"contracted_mw", CONFIG_STR, AT(contracted_mw), NULL, 0, 0, "MW",
     "power that is contracted with the grid"},
    {"energised_mw", CONFIG_STR, AT(energised_mw), NULL, 0, 0, "MW", "of it what can be used"},
    {"encumbered_mw", CONFIG_STR, AT(encumbered_mw), NULL, 0, 0, "MW",
     "of that what is held for other uses"},
    {"power_basis", CONFIG_CHOICE, AT(power_basis), "it", 0, 0, POWER_BASIS_WORDS,
     "whose power these are: the machines', or the building's"},
    {"pue", CONFIG_STR, AT(pue), NULL, 0, 0, "RATIO",
     "energy of the facility by that of its machines, 1 to 10, where it is not measured"},
    {"pue_window", CONFIG_TIME, AT(pue_window), "1h", 1000, 604800000, "TIME",
     "over how long it is measured, where sensors say it_energy and facility_energy"},
    {"carbon", CONFIG_STR, AT(carbon), NULL, 0, 0, "G/KWH",
     "CO2e of a kilowatt-hour by the grid, at any hour"},
    {"carbon_market", CONFIG_STR, AT(carbon_market), NULL, 0, 0, "G/KWH",
     "and by what was bought, at any hour"},
    {"carbon_file", CONFIG_STR, AT(carbon_file), NULL, 0, 0, "FILE",
     "or both by the hour, as CSV or JSON; read again when it changes"},
    {"carbon_url", CONFIG_STR, AT(carbon_url), NULL, 0, 0, "URL", "or from there"},
    {"carbon_key_env", CONFIG_STR, AT(carbon_key_env), NULL, 0, 0, "NAME",
     "environment variable with the bearer token for it"},
    {"carbon_ca_file", CONFIG_STR, AT(carbon_ca_file), NULL, 0, 0, "FILE",
     "certificates to trust in place of the system's"},
    {"carbon_refresh", CONFIG_TIME, AT(carbon_refresh), "15m", 1000, 86400000, "TIME",
     "how often it is asked"},
    {"time_zone", CONFIG_STR, AT(time_zone), NULL, 0, 0, "ZONE",
     "whose hours a day in the carbon file has: Europe/Berlin (UTC)"},
    {"environment_blind", CONFIG_STR, AT(environment_blind), "0.5", 0, 0, "FACTOR",
     "the most while one of its sensors is not heard, or says what cannot be"},
    {"environment_dwell", CONFIG_TIME, AT(environment_dwell), "5m", 0, 86400000, "TIME",
     "how long its sensors must have allowed a higher factor before it rises"},
    {"environment_step", CONFIG_STR, AT(environment_step), "0.05", 0, 0, "FACTOR",
     "and by how much, at least"},
    {"altitude_m", CONFIG_INT, AT(altitude_m), "0", -500, 6000, "M", "how high it lies"},
    {"altitude_from_m", CONFIG_INT, AT(altitude_from_m), "0", -500, 6000, "M",
     "from here on upwards the upper limits of dry_bulb are lowered"},
    {"altitude_m_per_degree", CONFIG_INT, AT(altitude_m_per_degree), "0", 0, 6000, "M",
     "by a degree for so many metres; 0: they are not"},
    {"curtailment_ramp", CONFIG_TIME, AT(curtailment_ramp), "30s", 0, 3600000, "TIME",
     "how long it takes to go down to the target of a curtailment, and up again"},
    {"curtailment_notice", CONFIG_TIME, AT(curtailment_notice), "0s", 0, 604800000, "TIME",
     "how long before its start the grid has agreed to call; a later call is marked, and obeyed"},
    {"curtailment_calls_a_year", CONFIG_INT, AT(curtailment_calls_a_year), NULL, 0, 100000, "N",
     "how many calls were agreed for a calendar year; more are refused"},
    {"curtailment_credit", CONFIG_STR, AT(curtailment_credit), NULL, 0, 0, "PRICE",
     "what a megawatt-hour below the baseline earns"},
    {"curtailment_clawback", CONFIG_STR, AT(curtailment_clawback), NULL, 0, 0, "PRICE",
     "what one costs that is used above the target"},
    {"curtailment_baseline", CONFIG_CHOICE, AT(curtailment_baseline), "like_days", 0, 0,
     CURTAIL_BASELINE_WORDS,
     "what would be used: the mean of the same hours of days of that kind, or all that is free"},
    {"curtailment_baseline_days", CONFIG_INT, AT(curtailment_baseline_days), "10", 1, 45, "N",
     "of like_days: how many"},
    {0},
};

const struct serve_site *site_of(const struct serve_config *c, const char *name)
{
    for (int i = 0; i < c->n_sites; i++) {
        if (!strcmp(c->sites[i].name, name))
            return &c->sites[i];
    }
    return NULL;
}

/* ---- the file -------------------------------------------------------------------------------- */

/* A number with a point, from a least to a most in nano-units; NULL leaves *ret. */
static int read_number(const char *key, const char *text, int64_t least, int64_t most, int64_t *ret,
                       struct err *e)
{
    int64_t nano;

    if (!text)
        return 0;
    if (money_parse(text, &nano, e) || nano < least || nano > most)
        return err_set(e, ERR_ARG, "%s: '%.40s' is no number from %lld to %lld", key, text,
                       (long long)(least / MONEY_NANO), (long long)(most / MONEY_NANO));
    *ret = nano;
    return 0;
}

static int read_carbon(struct serve_site *p, struct err *e)
{
    const char *const text[CARBON_BASES] = {p->carbon, p->carbon_market};
    static const char *const key[CARBON_BASES] = {"carbon", "carbon_market"};

    for (int b = 0; b < CARBON_BASES; b++) {
        int64_t nano = -1;
        if (read_number(key[b], text[b], 0, INT64_C(10000) * MONEY_NANO, &nano, e))
            return e->code;
        p->terms.carbon_mg[b] = nano < 0 ? -1 : (nano + NANO_PER_MG / 2) / NANO_PER_MG;
    }
    if (!!p->carbon + !!p->carbon_file + !!p->carbon_url > 1)
        return err_set(e, ERR_ARG, "carbon, carbon_file or carbon_url, one of them");
    if (p->carbon_url && strncmp(p->carbon_url, "http://", 7) &&
        strncmp(p->carbon_url, "https://", 8))
        return err_set(e, ERR_ARG, "carbon_url: is no http or https URL");
    if (p->carbon_key_env && !p->carbon_url)
        return err_set(e, ERR_ARG, "carbon_key_env: there is no carbon_url");
    p->terms.has_hours = p->carbon_file || p->carbon_url;
    return 0;
}

static int read_zone(struct serve_site *p, struct err *e)
{
    struct zone *z = NULL;
    int r = p->time_zone ? zone_load(&z, ZONE_DIR, p->time_zone, e) : 0;

    if (r)
        return err_prefix(e, "time_zone");
    p->zone = z;
    p->terms.zone = z;
    return 0;
}

static int read_availability(struct serve_site *p, struct err *e)
{
    for (int i = 0; i < p->dedicated_to.n; i++) {
        if (!account_name_ok(p->dedicated_to.v[i]))
            return err_set(e, ERR_ARG, "dedicated_to: '%.60s' is no name of a tenant",
                           p->dedicated_to.v[i]);
    }
    for (int i = 0; i < p->testers.n; i++) {
        if (!account_name_ok(p->testers.v[i]))
            return err_set(e, ERR_ARG, "testers: '%.60s' is no name of a tenant", p->testers.v[i]);
    }
    if (p->dedicated_to.n && p->is_general > 0)
        return err_set(e, ERR_ARG, "generally_available, or dedicated_to some: one of them");
    if (!p->dedicated_to.n && !p->is_general)
        return err_set(e, ERR_ARG,
                       "it would serve nobody: name tenants in dedicated_to, or set its state to "
                       "planned");
    return 0;
}

static int read_terms(struct serve_config *c, struct serve_site *p, struct err *e)
{
    int64_t pue = 0;

    p->terms = (struct site_terms){.name = p->name,
                                   .region = p->region,
                                   .time_zone = p->time_zone,
                                   .tenants = p->dedicated_to.v,
                                   .n_tenants = p->dedicated_to.n,
                                   .testers = p->testers.v,
                                   .n_testers = p->testers.n,
                                   .state = p->state < 0 ? LIFECYCLE_ACTIVE
                                                         : (enum lifecycle_state)p->state,
                                   .basis = (enum power_basis)p->power_basis,
                                   .has_factor_file = p->capacity_file != NULL};
    if (p->region && !site_name_ok(p->region))
        return err_set(e, ERR_ARG, "region: its name is letters, digits and - _ .");
    if (site_factor_parse(p->capacity_factor, &p->terms.factor_ppm, e))
        return err_prefix(e, "capacity_factor");
    if (read_number("pue", p->pue, MONEY_NANO, 10 * MONEY_NANO, &pue, e))
        return e->code;
    p->terms.pue_permille = (int32_t)((pue + 500000) / 1000000);
    if (read_availability(p, e) || site_power_read(c, p, e) || read_carbon(p, e) ||
        sensors_finish(p, e) || site_curtail_read(p, e))
        return e->code;
    return read_zone(p, e);
}

struct reading_site {
    struct serve_config *c;
    struct config_doc *d;
    struct serve_site *p;
    struct config_node *lifecycle, *power, *curtailment, *slurm; /* NULL: it has none */
};

static int read_list(void *arg, const char *name, struct config_node *value, struct err *e)
{
    struct reading_site *r = arg;
    int code;

    if (!strcmp(name, "lifecycle")) {
        r->lifecycle = value;
        return 1;
    }
    if (!strcmp(name, "power")) {
        r->power = value;
        return 1;
    }
    if (!strcmp(name, "curtailment")) {
        r->curtailment = value;
        return 1;
    }
    if (!strcmp(name, "slurm")) {
        r->slurm = value;
        return 1;
    }
    if (strcmp(name, "environment"))
        return 0;
    code = sensors_read(r->c, r->d, value, r->p, e);
    return code ? code : 1;
}

int site_read(struct serve_config *c, struct config_doc *d, struct config_node *map, struct err *e)
{
    struct reading_site in = {c, d, &c->sites[c->n_sites], NULL, NULL, NULL, NULL};
    struct serve_site *p = &c->sites[c->n_sites];
    struct err why = {0};
    int r;

    if (!config_is_map(map))
        return config_err(d, map, e, "a site is a map with 'name'");
    if (c->n_sites >= SITES_MAX)
        return config_err(d, map, e, "more than %d sites", SITES_MAX);
    *p = (struct serve_site){.is_general = -1, .state = -1, .curtailment_calls_a_year = -1};
    config_defaults(serve_site_settings, p, &c->arena);
    r = config_read(d, map, serve_site_settings, p, &c->arena, read_list, &in, e);
    if (r)
        return r;
    if (!p->name || !site_name_ok(p->name))
        return config_err(d, map, e, "a site needs a 'name' of letters, digits, - _ .");
    if (site_of(c, p->name))
        return config_err(d, map, e, "two sites are called '%s'", p->name);
    if (read_terms(c, p, &why))
        return config_err(d, map, e, "site %s: %.380s", p->name, why.text);
    c->n_sites++; /* from here on its zone is freed with the others' */
    r = site_dates_read(c, d, p, in.lifecycle, in.power, e);
    if (!r && in.curtailment)
        r = site_schedules_read(c, d, p, in.curtailment, e);
    return r || !in.slurm ? r : site_slurm_read(c, d, p, in.slurm, e);
}

/* ---- checks ---------------------------------------------------------------------------------- */

static int check_key(struct serve_config *c, struct serve_site *p, struct err *e)
{
    const char *key = p->carbon_key_env ? getenv(p->carbon_key_env) : NULL;

    if (!p->carbon_key_env)
        return 0;
    if (!key || !*key)
        return err_set(e, ERR_ARG, "site %s: the environment has no variable %s", p->name,
                       p->carbon_key_env);
    for (const char *at = key; *at; at++) {
        if (*at <= ' ' || *at > '~' || at - key >= KEY_MAX)
            return err_set(e, ERR_ARG, "site %s: its key is none that a header can hold", p->name);
    }
    p->carbon_key = arena_strdup(&c->arena, key);
    return p->carbon_key ? 0 : err_set(e, ERR_NOMEM, "out of memory");
}

static int check_site(const struct serve_config *c, const char *who, const char *site,
                      struct err *e)
{
    if (!site || !*site || site_of(c, site))
        return 0;
    return err_set(e, ERR_ARG, "%s: there is no site '%.60s'", who, site);
}

int sites_check(struct serve_config *c, struct err *e)
{
    char who[160];
    int r = check_site(c, "site", c->site, e), n_sensors = 0;

    for (int i = 0; !r && i < c->n_sites; i++) {
        r = check_key(c, &c->sites[i], e);
        if (!r)
            r = site_slurm_check(c, i, e);
        if (!r)
            r = sensors_check(c, &c->sites[i], e);
        n_sensors += c->sites[i].n_sensors;
        if (!r && n_sensors > SERVE_SENSORS_MAX)
            r = err_set(e, ERR_ARG, "sites: more than %d sensors in all", SERVE_SENSORS_MAX);
        c->site_list[i] = c->sites[i].terms;
    }
    for (int i = 0; !r && i < c->n_suppliers; i++) {
        snprintf(who, sizeof who, "supplier %.140s", c->suppliers[i].name);
        r = check_site(c, who, c->suppliers[i].site, e);
    }
    c->site_table = (struct cloud_sites){.list = c->site_list, .n = c->n_sites};
    return r;
}

/* Its megawatts now, and how many schedules lower them. */
static void describe_power(const struct site_terms *t, int64_t now_s, struct buf *out)
{
    const struct power_row *p = site_terms_power(t, now_s);

    if (power_free_w(p) != POWER_UNKNOWN)
        buf_addf(out, ", %.6g of %.6g MW energised are free (%s)", (double)power_free_w(p) / 1e6,
                 (double)p->energised_w / 1e6, power_basis_name(t->basis));
    if (t->curtail.n_schedules)
        buf_addf(out, ", curtailment schedules: %d", t->curtail.n_schedules);
}

void sites_describe(const struct serve_config *c, struct buf *out)
{
    int64_t now_s = clock_wall_us() / 1000000;
    char factor[SITE_FACTOR_TEXT];

    for (int i = 0; i < c->n_sites; i++) {
        const struct serve_site *p = &c->sites[i];
        buf_addf(out, "site       %s: %s%s%s, capacity factor %s", p->name,
                 lifecycle_name(site_terms_life(&p->terms, now_s).state),
                 p->region ? ", region " : "", p->region ? p->region : "",
                 site_factor_show(p->terms.factor_ppm, factor));
        for (int k = 0; k < p->dedicated_to.n; k++)
            buf_addf(out, "%s%s", k ? ", " : ", dedicated to ", p->dedicated_to.v[k]);
        describe_power(&p->terms, now_s, out);
        buf_add_char(out, '\n');
        site_slurm_describe(p, out);
        sensors_describe(p, out);
    }
}
