#include "console/meter_sites.h"

#include <string.h>

#include "base/check.h"
#include "base/clock.h"
#include "cloud/cloud.h"
#include "cloud/site.h"
#include "policy/derate.h"

#define SERIES_MAX 16384

enum {
    M_SITE_FACTOR,
    M_SITE_CONTRACTED,
    M_SITE_ENERGISED,
    M_SITE_ENCUMBERED,
    M_SITE_STATE,
    M_SITE_CURTAILED,
    M_SITE_CEILING,
    M_SITE_PUE,
    M_SITE_CARBON,
    M_SENSOR,
    M_SENSOR_STALE,
    M_SENSORS_FACTOR,
    M_NODES,
    M_NODES_WANTED,
    M_SLURM,
    M_SITE_REQUESTS,
};
_Static_assert(M_SITE_REQUESTS + 1 == METER_SITES_ROWS, "the rows of others follow these");

static const struct metric_def defs[METER_SITES_ROWS + 1] = {
    [M_SITE_FACTOR] = {"gaufre_site_capacity_factor",
                       METRIC_SHARE,
                       "Part of a site's places that may be used now; 0 where nobody is let in.",
                       {"site"},
                       NULL,
                       0},
    [M_SITE_CONTRACTED] = {"gaufre_site_contracted_mw",
                           METRIC_SHARE,
                           "Megawatts that are contracted with the grid, by the site's "
                           "power_basis.",
                           {"site"},
                           NULL,
                           0},
    [M_SITE_ENERGISED] = {"gaufre_site_energised_mw",
                          METRIC_SHARE,
                          "Megawatts of these that can be used.",
                          {"site"},
                          NULL,
                          0},
    [M_SITE_ENCUMBERED] = {"gaufre_site_encumbered_mw",
                           METRIC_SHARE,
                           "Megawatts of the energised ones that are held for other uses.",
                           {"site"},
                           NULL,
                           0},
    [M_SITE_STATE] = {"gaufre_site_state",
                      METRIC_GAUGE,
                      "1 for the state that a site is in; no other series.",
                      {"site", "state"},
                      NULL,
                      0},
    [M_SITE_CURTAILED] = {"gaufre_site_curtailed",
                          METRIC_GAUGE,
                          "1 while a curtailment holds a site down, its ramps included.",
                          {"site"},
                          NULL,
                          0},
    [M_SITE_CEILING] = {"gaufre_site_curtailment_factor",
                        METRIC_SHARE,
                        "Part of the energised megawatts that curtailment leaves.",
                        {"site"},
                        NULL,
                        0},
    [M_SITE_PUE] = {"gaufre_site_pue",
                    METRIC_SHARE,
                    "Energy of the facility by that of its machines, measured or as configured.",
                    {"site"},
                    NULL,
                    0},
    [M_SITE_CARBON] = {"gaufre_site_carbon_grams_per_kwh",
                       METRIC_SHARE,
                       "CO2e of a kilowatt-hour in this hour, by the grid (location) and by what "
                       "was bought (market); no series where it is unknown.",
                       {"site", "basis"},
                       NULL,
                       0},
    [M_SENSOR] =
        {"gaufre_site_environment",
         METRIC_SHARE,
         "What a sensor of a site says, in the unit of its quantity; no series while it is "
         "stale or refused.",
         {"site", "sensor", "quantity"},
         NULL,
         0},
    [M_SENSOR_STALE] = {"gaufre_site_environment_stale",
                        METRIC_GAUGE,
                        "1 while a sensor of a site says nothing that is new and can be.",
                        {"site", "sensor"},
                        NULL,
                        0},
    [M_SENSORS_FACTOR] = {"gaufre_site_environment_factor",
                          METRIC_SHARE,
                          "Part of a site's places that its sensors leave.",
                          {"site"},
                          NULL,
                          0},
    [M_NODES] = {"gaufre_site_nodes",
                 METRIC_GAUGE,
                 "Nodes of a site that may be lent to Slurm, by state: serving, lent, returning, "
                 "withheld.",
                 {"site", "state"},
                 NULL,
                 0},
    [M_NODES_WANTED] = {"gaufre_site_nodes_wanted",
                        METRIC_GAUGE,
                        "Nodes that are to be lent, by what was decided last.",
                        {"site"},
                        NULL,
                        0},
    [M_SLURM] = {"gaufre_site_slurm_up",
                 METRIC_GAUGE,
                 "1 while Slurm answers; else what was lent is taken as lent.",
                 {"site"},
                 NULL,
                 0},
    [M_SITE_REQUESTS] = {"gaufre_site_requests_total",
                         METRIC_COUNTER,
                         "Requests that were served there.",
                         {"site"},
                         NULL,
                         0},
};

int meter_sites_row(int i, const struct metric_def **ret)
{
    if (i < 0 || i >= METER_SITES_ROWS)
        return 0;
    *ret = &defs[i];
    return 1;
}

struct metric_set *meter_sites_new(void)
{
    return metric_set_new(defs, SERIES_MAX);
}

/* `one` parts of what is put make one; < 0: it is not known. */
static void put_known(struct metric_set *s, int i_def, const char *site, const char *basis,
                      int64_t n, int64_t one)
{
    if (n >= 0)
        metric_put(metric_get(s, i_def, site, basis, NULL), n * (1000000 / one));
}

/* The sensors of a site. */
static void look_at_sensors(struct metric_set *s, struct cloud *cloud, const char *site)
{
    struct site_environment v;

    if (cloud_view_site_environment(cloud, site, &v))
        return;
    for (int i = 0; i < v.n; i++) {
        const struct site_reading *r = &v.row[i];
        int is_good = !strcmp(r->quality, "good");
        metric_put(metric_get(s, M_SENSOR_STALE, site, r->name, NULL), !is_good);
        if (is_good)
            metric_put(metric_get(s, M_SENSOR, site, r->name, r->quantity), r->value * 1000);
    }
}

static void look_at_power(struct metric_set *s, const char *site, const struct power_row *p)
{
    put_known(s, M_SITE_CONTRACTED, site, NULL, p->contracted_w, 1000000);
    put_known(s, M_SITE_ENERGISED, site, NULL, p->energised_w, 1000000);
    if (p->energised_w != POWER_UNKNOWN)
        put_known(s, M_SITE_ENCUMBERED, site, NULL, p->encumbered_w, 1000000);
}

static void look_at_nodes(struct metric_set *s, const struct site_view *v)
{
    const char *site = v->terms->name;

    if (!v->terms->nodes.n)
        return;
    for (int i = 0; i < LEND_STATES; i++)
        put_known(s, M_NODES, site, lend_state_name((enum lend_state)i), v->lent.n[i], 1000000);
    put_known(s, M_NODES_WANTED, site, NULL, v->lent.n_wanted, 1000000);
    put_known(s, M_SLURM, site, NULL, v->lent.is_heard, 1000000);
}

/* Series of sites that the configuration has no more are not shown. */
static void look_at_sites(struct metric_set *s, struct cloud *cloud)
{
    static const char *const bases[CARBON_BASES] = {"location", "market"};
    struct site_view v[SITES_MAX];
    int n = cloud_view_sites(cloud, clock_wall_us() / 1000000, v);

    for (int i = 0; i < M_SITE_REQUESTS; i++) /* a counter stays */
        metric_fill(s, i, METRIC_NONE);
    for (int i = 0; i < n; i++) {
        const struct site_terms *t = v[i].terms;
        put_known(s, M_SITE_FACTOR, t->name, NULL, v[i].factor_ppm, 1000000);
        metric_put(metric_get(s, M_SITE_CURTAILED, t->name, NULL, NULL),
                   v[i].curtailed.now.phase != CURTAIL_NONE);
        put_known(s, M_SITE_CEILING, t->name, NULL, v[i].curtailed.now.factor_ppm, 1000000);
        if (v[i].power)
            look_at_power(s, t->name, v[i].power);
        metric_put(metric_get(s, M_SITE_STATE, t->name, lifecycle_name(v[i].state), NULL), 1);
        put_known(s, M_SITE_PUE, t->name, NULL, v[i].pue_permille ? v[i].pue_permille : -1, 1000);
        for (int b = 0; b < CARBON_BASES; b++)
            put_known(s, M_SITE_CARBON, t->name, bases[b], v[i].carbon_mg[b], 1000);
        metric_put(metric_get(s, M_SITE_REQUESTS, t->name, NULL, NULL), v[i].n_requests);
        put_known(s, M_SENSORS_FACTOR, t->name, NULL, v[i].environment_ppm, 1000000);
        look_at_sensors(s, cloud, t->name);
        look_at_nodes(s, &v[i]);
    }
}

int meter_sites_write(struct metric_set *s, struct cloud *cloud, struct buf *out)
{
    look_at_sites(s, cloud);
    return metric_write(s, out);
}
