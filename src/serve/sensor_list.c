#include "serve/sensor_list.h"

#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "base/money.h"
#include "base/put.h"
#include "serve/meter_key.h"
#include "serve/sensor_reply.h"

#define NANO_PER_MILLI (MONEY_NANO / 1000)
#define SLOW_MS        5000  /* how often what is costly to ask is asked */
#define AGE_MS         10000 /* the least of an age that is not set */
#define AGE_TIMES      10

#define AT(f) offsetof(struct serve_sensor, f)
const struct config_setting serve_sensor_settings[] = {
    {"name", CONFIG_STR, AT(name), NULL, 0, 0, "NAME", "how it is called in logs and metrics"},
    {"quantity", CONFIG_CHOICE, AT(quantity), NULL, 0, 0, ENVELOPE_QUANTITY_WORDS,
     "what it tells: degrees C, percent, kW, or 0 and 1"},
    {"kind", CONFIG_CHOICE, AT(kind), "json", 0, 0, "json|redfish|lines",
     "what is answered: any JSON, a Redfish resource, or lines as 'NAME: VALUE'"},
    {"url", CONFIG_STR, AT(url), NULL, 0, 0, "URL", "what is asked over HTTP"},
    {"file", CONFIG_STR, AT(file), NULL, 0, 0, "FILE",
     "or a file, which is as old as its last change"},
    {"command", CONFIG_STRS, AT(command), NULL, 0, 0, "WORDS",
     "or a command and its arguments, run without a shell; what it writes is lines"},
    {"from", CONFIG_STRS, AT(from), NULL, 0, 0, "NAMES",
     "dew_point: computed of these two sensors; without any source: of the first ones"},
    {"path", CONFIG_STR, AT(path), "", 0, 0, "PATH",
     "where the value is: names joined by points in JSON, or the name before it in lines"},
    {"time_path", CONFIG_STR, AT(time_path), NULL, 0, 0, "PATH",
     "where JSON tells when it was so: unix seconds, or 2026-12-01T18:00:00Z"},
    {"unit", CONFIG_CHOICE, AT(unit), "auto", 0, 0, SENSOR_UNIT_WORDS,
     "of the value; auto: what the answer says, or else C, %, kW"},
    {"when", CONFIG_STRS, AT(when), NULL, 0, 0, "WORDS",
     "on_battery, breaker_open: words that mean yes, as OB"},
    {"low_allowed", CONFIG_STR, AT(low_allowed), NULL, 0, 0, "N",
     "here the factor has fallen to factor_beyond"},
    {"low", CONFIG_STR, AT(low), NULL, 0, 0, "N", "and from here on upwards it is 1"},
    {"high", CONFIG_STR, AT(high), NULL, 0, 0, "N", "up to here"},
    {"high_allowed", CONFIG_STR, AT(high_allowed), NULL, 0, 0, "N",
     "and here it has fallen to factor_beyond"},
    {"rate", CONFIG_STR, AT(rate), NULL, 0, 0, "N",
     "change within an hour that is well; at twice as much factor_beyond"},
    {"rate_window", CONFIG_TIME, AT(rate_window), "5m", 1000, 3600000, "TIME",
     "over how long changes are looked at"},
    {"factor_beyond", CONFIG_STR, AT(factor_beyond), "0", 0, 0, "FACTOR",
     "the factor beyond what is allowed"},
    {"every", CONFIG_TIME, AT(every), "0", 0, 3600000, "TIME",
     "how often it is read; 0: each second, redfish and commands every 5"},
    {"max_age", CONFIG_TIME, AT(max_age), "0", 0, 86400000, "TIME",
     "older readings are stale; 0: ten times 'every', at least 10 s"},
    {"timeout", CONFIG_TIME, AT(timeout), "2s", 1000, 60000, "TIME", "time of one reading"},
    {"key_env", CONFIG_STR, AT(key_env), NULL, 0, 0, "NAME",
     "environment variable with 'user:password', or with a token"},
    {"key_file", CONFIG_STR, AT(key_file), NULL, 0, 0, "FILE", "or a file with it"},
    {"ca_file", CONFIG_STR, AT(ca_file), NULL, 0, 0, "FILE",
     "certificates to trust in place of the system's"},
    {0},
};

/* ---- one sensor ------------------------------------------------------------------------------ */

/* A limit in thousandths; NULL: none. */
static int read_limit(const char *key, const char *text, int64_t *ret, struct err *e)
{
    int64_t nano;

    *ret = ENVELOPE_NONE;
    if (!text)
        return 0;
    if (money_parse(text, &nano, e) || nano % NANO_PER_MILLI)
        return err_set(e, ERR_ARG,
                       "%s: '%.40s' is no number with at most three digits behind the "
                       "point",
                       key, text);
    *ret = nano / NANO_PER_MILLI;
    return 0;
}

static int read_range(struct serve_sensor *s, struct err *e)
{
    struct envelope_range *r = &s->range;
    const char *fault;

    if (read_limit("low_allowed", s->low_allowed, &r->low_allowed, e) ||
        read_limit("low", s->low, &r->low, e) || read_limit("high", s->high, &r->high, e) ||
        read_limit("high_allowed", s->high_allowed, &r->high_allowed, e) ||
        read_limit("rate", s->rate, &r->rate, e))
        return e->code;
    if (site_factor_parse(s->factor_beyond, &r->beyond_ppm, e))
        return err_prefix(e, "factor_beyond");
    fault = envelope_range_fault((enum envelope_quantity)s->quantity, r);
    return fault ? err_set(e, ERR_ARG, "%s", fault) : 0;
}

static int read_source(struct serve_sensor *s, struct err *e)
{
    int n = !!s->url + !!s->file + !!s->command.n;

    if (n > 1)
        return err_set(e, ERR_ARG, "url, file or command, one of them");
    if (!n && s->quantity != ENVELOPE_DEW_POINT)
        return err_set(e, ERR_ARG, "url, file or command is missing");
    if (s->from.n && (n || s->from.n != 2))
        return err_set(e, ERR_ARG,
                       "from: a dew_point without a source of its own is computed of "
                       "two sensors");
    if (s->url && !meter_url_ok(s->url))
        return err_set(e, ERR_ARG,
                       "its url is no http or https URL, or has a password: that "
                       "belongs into key_env or key_file");
    if ((s->key_env || s->key_file) && (!s->url || (s->key_env && s->key_file)))
        return err_set(e, ERR_ARG, "key_env or key_file is for a url, one of them");
    if (s->command.n && s->kind == SERVE_SENSOR_JSON)
        s->kind = SERVE_SENSOR_LINES;
    if (s->time_path && s->kind == SERVE_SENSOR_LINES)
        return err_set(e, ERR_ARG, "time_path: only JSON has one");
    return 0;
}

static int read_times(struct serve_sensor *s, struct err *e)
{
    if (!s->every)
        s->every = s->kind == SERVE_SENSOR_REDFISH || s->command.n ? SLOW_MS : 1000;
    if (s->every < 100)
        return err_set(e, ERR_ARG, "every: at least 100 ms");
    if (!s->max_age && (s->url || s->file || s->command.n)) /* else as what it is computed of */
        s->max_age = AGE_TIMES * s->every > AGE_MS ? AGE_TIMES * s->every : AGE_MS;
    if (s->max_age && s->max_age < 2 * s->every)
        return err_set(e, ERR_ARG, "max_age: must be at least twice 'every'");
    return 0;
}

static int read_sensor(struct serve_site *p, struct serve_sensor *s, struct err *e)
{
    if (!s->name || !site_name_ok(s->name))
        return err_set(e, ERR_ARG, "it needs a 'name' of letters, digits, - _ .");
    for (int i = 0; i < p->n_sensors; i++) {
        if (!strcmp(p->sensors[i].name, s->name))
            return err_set(e, ERR_ARG, "two sensors have this name");
    }
    if (s->quantity < 0)
        return err_set(e, ERR_ARG, "'quantity' is missing");
    if (!sensor_unit_fits((enum envelope_quantity)s->quantity, (enum sensor_unit)s->unit))
        return err_set(e, ERR_ARG, "unit: %s is not told in it",
                       envelope_kind((enum envelope_quantity)s->quantity)->name);
    if (s->when.n && !envelope_kind((enum envelope_quantity)s->quantity)->is_switch)
        return err_set(e, ERR_ARG, "when: only for what is 0 or 1");
    s->i_from[0] = s->i_from[1] = -1;
    if (read_source(s, e) || read_times(s, e))
        return e->code;
    return read_range(s, e);
}

int sensors_read(struct serve_config *c, struct config_doc *d, struct config_node *list,
                 struct serve_site *p, struct err *e)
{
    struct err why = {0};
    int r;

    if (!config_is_seq(list))
        return config_err(d, list, e, "environment: wants a list");
    p->sensors = arena_zalloc(&c->arena, SITE_SENSORS_MAX * sizeof *p->sensors);
    if (!p->sensors)
        return err_set(e, ERR_NOMEM, "out of memory");
    for (struct config_node *n = config_first(list); n; n = config_next(n)) {
        struct serve_sensor *s = &p->sensors[p->n_sensors];
        if (!config_is_map(n))
            return config_err(d, n, e, "a sensor is a map with 'name' and 'quantity'");
        if (p->n_sensors == SITE_SENSORS_MAX)
            return config_err(d, n, e, "more than %d sensors", SITE_SENSORS_MAX);
        s->quantity = -1;
        config_defaults(serve_sensor_settings, s, &c->arena);
        r = config_read(d, n, serve_sensor_settings, s, &c->arena, NULL, NULL, e);
        if (r)
            return r;
        if (read_sensor(p, s, &why))
            return config_err(d, n, e, "sensor %.60s: %.300s", s->name ? s->name : "?", why.text);
        p->n_sensors++;
    }
    return 0;
}

/* ---- the site -------------------------------------------------------------------------------- */

/* The sensor of that name, or (NULL) the first of a quantity; -1. Computed ones are none. */
static int find(const struct serve_site *p, const char *name, int quantity)
{
    for (int i = 0; i < p->n_sensors; i++) {
        const struct serve_sensor *s = &p->sensors[i];
        if (s->quantity == quantity && (!name || !strcmp(s->name, name)))
            return i;
    }
    return -1;
}

static int find_parts(const struct serve_site *p, struct serve_sensor *s, struct err *e)
{
    static const int wants[] = {ENVELOPE_DRY_BULB, ENVELOPE_HUMIDITY};
    int is_said = s->max_age > 0;

    if (s->url || s->file || s->command.n)
        return 0;
    for (int k = 0; k < 2; k++) {
        s->i_from[k] = find(p, s->from.n ? s->from.v[k] : NULL, wants[k]);
        if (s->i_from[k] < 0)
            return err_set(e, ERR_ARG,
                           "sensor %s: a dew point without a source of its own is computed of a "
                           "dry_bulb and a humidity, in this order: there is no %s%s%.60s",
                           s->name, envelope_kind((enum envelope_quantity)wants[k])->name,
                           s->from.n ? " called " : "", s->from.n ? s->from.v[k] : "");
        if (!is_said && p->sensors[s->i_from[k]].max_age > s->max_age)
            s->max_age = p->sensors[s->i_from[k]].max_age;
    }
    return 0;
}

int sensors_finish(struct serve_site *p, struct err *e)
{
    const char *fault;

    if (site_factor_parse(p->environment_blind, &p->rules.blind_ppm, e))
        return err_prefix(e, "environment_blind");
    if (site_factor_parse(p->environment_step, &p->rules.step_ppm, e))
        return err_prefix(e, "environment_step");
    p->rules.dwell_us = p->environment_dwell * 1000;
    p->terms.has_environment = p->n_sensors > 0;
    p->terms.blind_ppm = p->rules.blind_ppm;
    for (int i = 0; i < p->n_sensors; i++) {
        struct serve_sensor *s = &p->sensors[i];
        enum envelope_quantity q = (enum envelope_quantity)s->quantity;
        envelope_range_fill(q, &s->range);
        if (q == ENVELOPE_DRY_BULB)
            envelope_range_lower(&s->range, p->altitude_m, p->altitude_from_m,
                                 p->altitude_m_per_degree);
        fault = envelope_range_fault(q, &s->range);
        if (fault)
            return err_set(e, ERR_ARG, "sensor %s, at this altitude: %s", s->name, fault);
        if (find_parts(p, s, e))
            return e->code;
    }
    return 0;
}

int sensors_check(struct serve_config *c, struct serve_site *p, struct err *e)
{
    char who[180];
    int r = 0;

    for (int i = 0; !r && i < p->n_sensors; i++) {
        struct serve_sensor *s = &p->sensors[i];
        if (!s->key_env && !s->key_file)
            continue;
        snprintf(who, sizeof who, "site %s: sensor %s", p->name, s->name);
        r = meter_key_read(&c->arena, who, s->key_env, s->key_file, &s->key, e);
    }
    return r;
}

/* ---- told ------------------------------------------------------------------------------------ */

static void put_limit(struct buf *out, const char *name, int64_t v, const char *unit)
{
    char text[PUT_MAX];

    if (v == ENVELOPE_NONE)
        return;
    put_decimal(v, 3, text);
    buf_addf(out, ", %s %s%s%s", name, text, *unit ? " " : "", unit);
}

void sensors_describe(const struct serve_site *p, struct buf *out)
{
    char factor[SITE_FACTOR_TEXT];

    for (int i = 0; i < p->n_sensors; i++) {
        const struct serve_sensor *s = &p->sensors[i];
        const struct envelope_kind *k = envelope_kind((enum envelope_quantity)s->quantity);
        buf_addf(out, "  sensor   %s: %s ", s->name, k->name);
        if (s->i_from[0] >= 0)
            buf_addf(out, "computed of %s and %s", p->sensors[s->i_from[0]].name,
                     p->sensors[s->i_from[1]].name);
        else if (s->url)
            buf_addf(out, "from %.*s", (int)strcspn(s->url, "?"), s->url); /* the rest: secret */
        else
            buf_addf(out, "from %s", s->file ? s->file : s->command.v[0]);
        buf_addf(out, ", every %lld ms, stale after %lld ms", (long long)s->every,
                 (long long)s->max_age);
        put_limit(out, "low_allowed", s->range.low_allowed, k->unit);
        put_limit(out, "low", s->range.low, k->unit);
        put_limit(out, "high", s->range.high, k->unit);
        put_limit(out, "high_allowed", s->range.high_allowed, k->unit);
        put_limit(out, "rate", s->range.rate, k->unit);
        if (!envelope_range_limits(&s->range))
            buf_add_str(out, s->kind == SERVE_SENSOR_REDFISH ? ", limits as it tells them"
                                                             : ", only shown");
        else
            buf_addf(out, ", beyond %s", site_factor_show(s->range.beyond_ppm, factor));
        buf_add_char(out, '\n');
    }
}
