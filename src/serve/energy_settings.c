#include "serve/energy_settings.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/money.h"
#include "engine/energy_meter.h"
#include "serve/meter_key.h"
#include "serve/meter_reply.h"

#define WATTS_MAX   INT64_C(1000000) /* of a curve */
#define THREADS_MAX 4096

#define AT(f) offsetof(struct serve_energy, f)
const struct config_setting serve_energy_settings[] = {
    {"kind", CONFIG_CHOICE, AT(kind), "auto", 0, 0, "auto|rapl|redfish|feed|model|off",
     "the meter; auto: the processor's counters where they can be read, else the model"},
    {"root", CONFIG_STR, AT(root), "/sys/class/powercap", 0, 0, "DIR",
     "rapl: where the processor's counters are"},
    {"url", CONFIG_STR, AT(url), NULL, 0, 0, "URL",
     "redfish: of a chassis' EnvironmentMetrics; feed: of any JSON"},
    {"path", CONFIG_STR, AT(path), "", 0, 0, "PATH",
     "feed: where its number is: names and indices joined by points, as emeters.0.power"},
    {"unit", CONFIG_CHOICE, AT(unit), "W", 0, 0, meter_unit_words,
     "feed: of the number: power now, or energy that is counted up"},
    {"key_env", CONFIG_STR, AT(key_env), NULL, 0, 0, "NAME",
     "environment variable with 'user:password', or with a token"},
    {"key_file", CONFIG_STR, AT(key_file), NULL, 0, 0, "FILE", "or a file with it"},
    {"ca_file", CONFIG_STR, AT(ca_file), NULL, 0, 0, "FILE",
     "certificates to trust in place of the system's"},
    {"interval", CONFIG_TIME, AT(interval), "1s", 50, 3600000, "TIME",
     "redfish, feed: pause between two readings"},
    {"timeout", CONFIG_TIME, AT(timeout), "3s", 1000, 600000, "TIME",
     "redfish, feed: time of one reading"},
    {"boundary", CONFIG_CHOICE, AT(boundary), "auto", 0, 0, "auto|accelerator|it|facility",
     "what is measured; auto: rapl and model: the processor, redfish and feed: the machine"},
    {"uncertainty", CONFIG_INT, AT(uncertainty), "0", 0, 1000, "PERMILLE",
     "thousandths by which readings may be off; 0: rapl and redfish 50, feed 20, model 500"},
    {"idle_watts", CONFIG_STR, AT(idle_watts), NULL, 0, 0, "W",
     "model: what is drawn while nothing is computed"},
    {"curve", CONFIG_STRS, AT(curve), NULL, 0, 0, "N=W",
     "model: what is drawn with N threads at work; several, as 1=20.5, 4=31"},
    {0},
};

int energy_read(struct serve_config *c, struct config_doc *d, struct config_node *map,
                struct err *e)
{
    if (!config_is_map(map))
        return config_err(d, map, e, "energy: wants a map, as {kind: rapl}");
    return config_read(d, map, serve_energy_settings, &c->energy, &c->arena, NULL, NULL, e);
}

/* ---- checks ---------------------------------------------------------------------------------- */

static int read_watts(const char *text, int64_t *ret_uw, struct err *e)
{
    int64_t nano;
    struct err why;

    if (money_parse(text, &nano, &why) || nano < 0 || nano > WATTS_MAX * MONEY_NANO)
        return err_set(e, ERR_ARG, "energy: '%.60s' is no number of watts", text);
    *ret_uw = nano / 1000;
    return 0;
}

/* "N=W" */
static int read_point(const char *text, struct energy_point *ret, struct err *e)
{
    const char *eq = strchr(text, '=');
    char *end;
    long n = strtol(text, &end, 10);

    if (!eq || end == text || end != eq || n < 0 || n > THREADS_MAX)
        return err_set(e, ERR_ARG, "energy: curve: '%.60s' is not N=W: threads and watts", text);
    ret->busy_permille = (int32_t)n * 1000;
    return read_watts(eq + 1, &ret->uw, e);
}

int energy_curve_of(const struct serve_energy *s, struct energy_curve *ret, struct err *e)
{
    int r = 0;

    ret->n = 0;
    if (s->idle_watts) {
        ret->point[0].busy_permille = 0;
        r = read_watts(s->idle_watts, &ret->point[ret->n++].uw, e);
    }
    for (int i = 0; !r && i < s->curve.n; i++) {
        struct energy_point *p = &ret->point[ret->n];
        if (ret->n == ENERGY_CURVE_MAX)
            return err_set(e, ERR_ARG, "energy: curve: more than %d points", ENERGY_CURVE_MAX);
        r = read_point(s->curve.v[i], p, e);
        if (!r && ret->n && (p->busy_permille <= p[-1].busy_permille || p->uw < p[-1].uw))
            r = err_set(e, ERR_ARG,
                        "energy: curve: threads must grow and watts must not fall at "
                        "'%.60s'",
                        s->curve.v[i]);
        ret->n++;
    }
    return r;
}

int energy_check(struct serve_config *c, struct err *e)
{
    struct serve_energy *s = &c->energy;
    int is_asked = s->kind == SERVE_ENERGY_REDFISH || s->kind == SERVE_ENERGY_FEED;
    struct energy_curve curve;
    int r = energy_curve_of(s, &curve, e);

    if (r)
        return r;
    if (is_asked && (!s->url || !*s->url))
        return err_set(e, ERR_ARG, "energy: 'url' is missing");
    if (s->url && *s->url && !meter_url_ok(s->url))
        return err_set(e, ERR_ARG,
                       "energy: its url is no http or https URL, or has a password: "
                       "that belongs into key_env or key_file");
    if (s->key_env && s->key_file)
        return err_set(e, ERR_ARG, "energy: 'key_env' or 'key_file', one of them");
    return s->key_env || s->key_file
               ? meter_key_read(&c->arena, "energy", s->key_env, s->key_file, &s->key, e)
               : 0;
}

void energy_describe(const struct serve_config *c, struct buf *out)
{
    buf_add_str(out, "energy     ");
    config_show(serve_energy_settings, &c->energy, out);
    if (c->energy.kind == SERVE_ENERGY_RAPL)
        buf_addf(out, " below %s", c->energy.root);
    buf_add_char(out, '\n');
}
