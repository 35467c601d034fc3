/* The admin API's sites: how they are, and what an operator says of them. Runs on prep threads, as
 * it waits for a database. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/day.h"
#include "base/json.h"
#include "cloud/accounts.h"
#include "cloud/site.h"
#include "policy/derate.h"
#include "serve/server.h"

#define BODY_MAX ((size_t)4096)

static int64_t wall_s(void)
{
    return clock_wall_us() / 1000000;
}

static json_t *part(int64_t n, double of)
{
    return n < 0 ? json_null() : json_real((double)n / of);
}

static json_t *text_or_null(const char *s)
{
    return s && *s ? json_string(s) : json_null();
}

static json_t *names_of(const char *const *list, int n)
{
    json_t *a = json_array();

    for (int i = 0; i < n; i++)
        json_array_append_new(a, json_string(list[i]));
    return a;
}

/* What each of those says who may lower the factor; null: nothing. */
static json_t *said_of(const struct site_view *v)
{
    const struct site_terms *t = v->terms;

    return json_pack(
        "{s:{s:o, s:o}, s:{s:o, s:o}, s:{s:o, s:o}, s:{s:o, s:o}, s:{s:o, s:o}, s:{s:o}}",
        "configuration", "state", t->n_steps ? json_null() : json_string(lifecycle_name(t->state)),
        "capacity_factor", part(t->factor_ppm, DERATE_ALL), "file", "capacity_factor",
        part(v->file_ppm, DERATE_ALL), "error", text_or_null(v->why_factor), "operator", "state",
        v->order.state < 0 ? json_null()
                           : json_string(lifecycle_name((enum lifecycle_state)v->order.state)),
        "capacity_factor", part(v->order.factor_ppm, DERATE_ALL), "environment", "capacity_factor",
        part(v->environment_ppm, DERATE_ALL), "cause", text_or_null(v->cause), "lifecycle", "state",
        t->n_steps ? json_string(lifecycle_name(v->life.state)) : json_null(), "capacity_factor",
        t->n_steps ? part(v->life.factor_ppm, DERATE_ALL) : json_null(), "curtailment",
        "capacity_factor",
        v->curtailed.now.phase == CURTAIL_NONE ? json_null()
                                               : part(v->curtailed.now.factor_ppm, DERATE_ALL));
}

/* What its requests used, as far as that is known. */
static json_t *used_of(const struct site_view *v)
{
    if (v->used.method == ENERGY_UNKNOWN)
        return json_null();
    return json_pack("{s:f, s:s, s:s, s:f}", "joules", (double)v->used.uj / 1e6, "boundary",
                     energy_boundary_name(v->used.boundary), "method",
                     energy_method_name(v->used.method), "uncertainty",
                     v->used.uncertainty_permille / 1e3);
}

/* ---- its environment ------------------------------------------------------------------------- */

static json_t *milli_or_null(int64_t v)
{
    return v == INT64_MIN ? json_null() : json_real((double)v / 1e3);
}

static json_t *moment(int64_t age_us)
{
    char text[DAY_TEXT_MAX];

    return json_string(day_show(wall_s() - age_us / 1000000, NULL, text));
}

static json_t *reading_json(const struct site_reading *r, int64_t now_us)
{
    int64_t age_us = now_us > r->at_us ? now_us - r->at_us : 0;

    return json_pack(
        "{s:s, s:s, s:s, s:s, s:s, s:o, s:o, s:o, s:o, s:o, s:{s:o, s:o, s:o, s:o, s:o}, s:o}",
        "name", r->name, "quantity", r->quantity, "unit", r->unit, "source", r->source, "quality",
        r->quality, "value", r->has_value ? milli_or_null(r->value) : json_null(), "at",
        r->has_value ? moment(age_us) : json_null(), "age_seconds",
        r->has_value ? part(age_us, 1e6) : json_null(), "change_per_hour",
        r->has_value ? milli_or_null(r->change) : json_null(), "capacity_factor",
        part(r->factor_ppm, DERATE_ALL), "limits", "low_allowed", milli_or_null(r->limit[0]), "low",
        milli_or_null(r->limit[1]), "high", milli_or_null(r->limit[2]), "high_allowed",
        milli_or_null(r->limit[3]), "rate", milli_or_null(r->rate), "error", text_or_null(r->why));
}

/* What its sensors say; an empty list: it has none, or they have not said anything. */
static json_t *sensors_of(struct cloud *c, const char *site)
{
    struct site_environment v;
    json_t *a = json_array();
    int64_t now_us = clock_now_us();

    if (!cloud_view_site_environment(c, site, &v)) {
        for (int i = 0; i < v.n; i++)
            json_array_append_new(a, reading_json(&v.row[i], now_us));
    }
    return a;
}

/* ---- its life and its power ------------------------------------------------------------------ */

static json_t *date_or_null(const struct site_terms *t, int64_t at_s)
{
    char text[DAY_TEXT_MAX];

    return at_s == LIFECYCLE_NO_DATE || at_s == POWER_ALWAYS
               ? json_null()
               : json_string(day_show_moment(at_s, t->zone, text));
}

static json_t *lifecycle_of(const struct site_view *v)
{
    const struct site_terms *t = v->terms;
    json_t *a = json_array();

    for (int i = 0; i < t->n_steps; i++) {
        const struct lifecycle_step *s = &t->step[i];
        json_array_append_new(
            a, json_pack(
                   "{s:s, s:o, s:o, s:o, s:b, s:b}", "state", lifecycle_name(s->state), "planned",
                   date_or_null(t, s->planned_s), "actual", date_or_null(t, s->actual_s),
                   "capacity_factor",
                   s->state == LIFECYCLE_DERATED ? part(s->factor_ppm, DERATE_ALL) : json_null(),
                   "holds", i == v->life.i_step, "late", i == v->life.i_next && v->life.is_late));
    }
    return a;
}

/* The ledgers as they are now, and all of their rows. */
static void add_power(const struct site_view *v, json_t *to)
{
    const struct site_terms *t = v->terms;
    const struct power_row *p = v->power;
    json_t *rows = json_array();

    json_object_set_new(to, "contracted_mw", part(p ? p->contracted_w : POWER_UNKNOWN, 1e6));
    json_object_set_new(to, "energised_mw", part(p ? p->energised_w : POWER_UNKNOWN, 1e6));
    json_object_set_new(to, "encumbered_mw",
                        part(power_free_w(p) < 0 ? POWER_UNKNOWN : p->encumbered_w, 1e6));
    json_object_set_new(to, "free_mw", part(power_free_w(p), 1e6));
    json_object_set_new(
        to, "free_it_mw",
        part(power_convert(power_free_w(p), t->basis, POWER_IT, t->pue_permille), 1e6));
    json_object_set_new(to, "power_basis", json_string(power_basis_name(t->basis)));
    for (int i = 0; i < t->n_power; i++)
        json_array_append_new(rows, json_pack("{s:o, s:o, s:o, s:o}", "from",
                                              date_or_null(t, t->power[i].from_s), "contracted_mw",
                                              part(t->power[i].contracted_w, 1e6), "energised_mw",
                                              part(t->power[i].energised_w, 1e6), "encumbered_mw",
                                              part(t->power[i].encumbered_w, 1e6)));
    json_object_set_new(to, "power", rows);
}

/* The curtailment that holds, and what was agreed; null: there is none now. */
static void add_curtailment(const struct site_view *v, json_t *to)
{
    const struct site_curtailed *n = &v->curtailed;
    char text[DAY_TEXT_MAX];

    if (n->now.phase == CURTAIL_NONE) {
        json_object_set_new(to, "curtailment", json_null());
        return;
    }
    json_object_set_new(to, "curtailment",
                        json_pack("{s:s, s:o, s:s, s:o}", "phase", curtail_phase_name(n->now.phase),
                                  "capacity_factor", part(n->now.factor_ppm, DERATE_ALL), "until",
                                  day_show_moment(n->until_s, NULL, text), "id",
                                  n->id ? json_integer(n->id) : json_null()));
}

/* Its nodes that may be lent to other work; null: it has none. */
static void add_nodes(struct cloud *c, const struct site_view *v, json_t *to)
{
    const struct site_lent *l = &v->lent;
    struct site_nodes nodes = {.n = 0};
    json_t *o, *list = json_array();
    char text[DAY_TEXT_MAX];

    if (v->terms->nodes.n)
        cloud_view_site_nodes(c, v->terms->name, &nodes);
    for (int i = 0; i < nodes.n; i++)
        json_array_append_new(list, json_pack("{s:s, s:s, s:s}", "name", nodes.row[i].name, "state",
                                              lend_state_name(nodes.row[i].state), "since",
                                              day_show_moment(nodes.row[i].since_s, NULL, text)));
    o = json_pack("{s:i, s:i, s:i, s:b, s:o, s:o, s:o, s:o, s:o, s:o}", "all", v->terms->nodes.n,
                  "keep", v->terms->nodes.n_keep, "wanted", l->n_wanted, "answers", l->is_heard,
                  "error", text_or_null(l->why), "cause", text_or_null(l->cause), "changed_at",
                  l->changed_s ? json_string(day_show_moment(l->changed_s, NULL, text))
                               : json_null(),
                  "places_share", part(v->places_ppm, DERATE_ALL), "lent_mw", part(v->lent_w, 1e6),
                  "list", list);
    for (int i = 0; o && i < LEND_STATES; i++)
        json_object_set_new(o, lend_state_name((enum lend_state)i), json_integer(l->n[i]));
    if (!v->terms->nodes.n) {
        json_decref(o);
        o = json_null();
    }
    json_object_set_new(to, "nodes", o);
}

static json_t *site_json(struct cloud *c, const struct site_view *v)
{
    const struct site_terms *t = v->terms;
    json_t *j = json_pack(
        "{s:s, s:s, s:o, s:b, s:o, s:o, s:s, s:o, s:o, s:o, s:o, s:b, s:{s:o, s:o, s:o}, s:s, s:i, "
        "s:i, s:i, s:i, s:I, s:o, s:I, s:o, s:b}",
        "object", "site", "name", t->name, "region", text_or_null(t->region), "generally_available",
        !t->n_tenants, "dedicated_to", names_of(t->tenants, t->n_tenants), "testers",
        names_of(t->testers, t->n_testers), "state", lifecycle_name(v->state), "capacity_factor",
        part(v->factor_ppm, DERATE_ALL), "said", said_of(v), "lifecycle", lifecycle_of(v), "pue",
        v->pue_permille ? part(v->pue_permille, 1e3) : json_null(), "pue_measured",
        v->is_pue_measured, "carbon_grams_per_kwh", "location",
        part(v->carbon_mg[CARBON_LOCATION], 1e3), "market", part(v->carbon_mg[CARBON_MARKET], 1e3),
        "error", text_or_null(v->why_carbon), "time_zone", t->time_zone ? t->time_zone : "UTC",
        "suppliers", v->n_suppliers, "running", v->n_running, "waiting", v->n_waiting, "places",
        v->n_places, "requests", (json_int_t)v->n_requests, "energy", used_of(v),
        "requests_unmetered", (json_int_t)v->n_unmetered, "sensors", sensors_of(c, t->name),
        "simulated", clock_pace() > 1);

    if (j) {
        add_power(v, j);
        add_curtailment(v, j);
        add_nodes(c, v, j);
    }
    return j;
}

/* ---- PATCH ----------------------------------------------------------------------------------- */

static int read_state(const json_t *v, int *ret, struct err *e)
{
    *ret = json_is_null(v) ? -1 : json_is_string(v) ? lifecycle_find(json_string_value(v)) : -2;
    if (json_is_null(v) || *ret >= 0)
        return 0;
    return err_set_param(e, ERR_ARG, "state", "state: wants one of " LIFECYCLE_STATE_WORDS);
}

static int read_factor(const json_t *v, int32_t *ret, struct err *e)
{
    double f = json_number_value(v);

    *ret = -1;
    if (json_is_null(v))
        return 0;
    if (!json_is_number(v) || !(f >= 0) || f > 1)
        return err_set_param(e, ERR_ARG, "capacity_factor",
                             "capacity_factor: wants a number from 0 to 1");
    *ret = (int32_t)floor(f * DERATE_ALL + 1e-6); /* 0.29 is 289999.999... */
    return 0;
}

static int read_order(const struct call *c, struct site_order *ret, struct err *e)
{
    const char *name;
    json_t *body = NULL, *v;
    int r;

    *ret = (struct site_order){SITE_KEEP, SITE_KEEP};
    if (c->body.len > BODY_MAX)
        return err_set(e, ERR_TOO_LARGE, "A body here has at most %zu bytes.", BODY_MAX);
    r = json_parse(&body, c->body.data ? c->body.data : "", c->body.len, 0, e);
    if (!r && !json_is_object(body))
        r = err_set(e, ERR_SCHEMA, "The body is a JSON object.");
    json_object_foreach(r ? NULL : body, name, v)
    {
        if (!strcmp(name, "state"))
            r = read_state(v, &ret->state, e);
        else if (!strcmp(name, "capacity_factor"))
            r = read_factor(v, &ret->factor_ppm, e);
        else
            r = err_set_param(e, ERR_ARG, name,
                              "%.60s: state and capacity_factor can be set, all else is in the "
                              "configuration",
                              name);
        if (r)
            break;
    }
    json_decref(body);
    return r;
}

/* ---- the door -------------------------------------------------------------------------------- */

int call_admin_sites(struct call *c, struct err *e)
{
    struct site_view v[SITES_MAX];
    json_t *list = json_array();
    int n = cloud_view_sites(c->s->cloud, wall_s(), v);

    for (int i = 0; i < n; i++)
        json_array_append_new(list, site_json(c->s->cloud, &v[i]));
    return call_admin_answer(c, 200, json_pack("{s:s, s:o}", "object", "list", "data", list), e);
}

int call_admin_site(struct call *c, struct err *e)
{
    const char *name = c->route.arg;
    char actor[CALL_ACTOR_MAX];
    struct account_who who = call_admin_who(c, actor);
    struct site_order o;
    struct site_view v;

    if (c->method == HTTP_PATCH &&
        (read_order(c, &o, e) || cloud_order_site(c->s->cloud, clock_now_us(), &who, name, &o, e)))
        return e->code;
    if (cloud_view_site(c->s->cloud, wall_s(), name, &v))
        return err_set(e, ERR_NOTFOUND, "There is no site '%.64s'.", name);
    return call_admin_answer(c, 200, site_json(c->s->cloud, &v), e);
}
