#include "cloud/settled_stored.h"

#include <stdio.h>
#include <string.h>

#include "base/day.h"
#include "cloud/measurement.h"

#define DAY_S INT64_C(86400)

/* ---- the period ------------------------------------------------------------------------------ */

static int read_days(const struct settled_wish *w, const struct zone *z, struct settled *s,
                     struct err *e)
{
    if (!w->from || day_read_moment(w->from, z, &s->from_s))
        return err_set_param(e, ERR_ARG, "from", "from: wants a day: 2027-03-01");
    if (!w->until || day_read_moment(w->until, z, &s->until_s))
        return err_set_param(e, ERR_ARG, "until", "until: wants a day: 2027-04-01");
    return s->from_s < s->until_s ? 0
                                  : err_set_param(e, ERR_ARG, "until", "until: is not after from");
}

static int read_month(const char *month, const struct zone *z, struct settled *s, struct err *e)
{
    char day[16];
    int64_t at;

    snprintf(day, sizeof day, "%.10s-01", month);
    if (strlen(month) != 7 || day_read(day, z, &at))
        return err_set_param(e, ERR_ARG, "month", "month: wants a month: 2027-03");
    zone_window(z, ZONE_MONTH, at, &s->from_s, &s->until_s);
    return 0;
}

int settled_period(struct settled *s, const struct settled_wish *w, const struct zone *z,
                   int64_t now_s, int64_t known_s, struct err *e)
{
    const char *of = w->month ? "month" : "from";
    const char *by = known_s < now_s ? " by the day of what is known" : "";
    int r = 0, is_open;

    now_s = known_s < now_s ? known_s : now_s; /* nothing that happened later is known */
    if (w->month && (w->from || w->until))
        return err_set_param(e, ERR_ARG, "month", "month: or from and until, not both");
    if (w->month)
        r = read_month(w->month, z, s, e);
    else if (w->from || w->until)
        r = read_days(w, z, s, e);
    else
        zone_window(z, ZONE_MONTH, now_s, &s->from_s, &s->until_s);
    if (r)
        return r;
    s->made_s = now_s;
    s->known_s = known_s;
    if (s->from_s >= now_s)
        return err_set_param(e, ERR_ARG, of, "%s: the period has not begun%s", of, by);
    is_open = s->until_s > now_s;
    s->until_s = is_open ? now_s : s->until_s;
    if (s->until_s - s->from_s > SETTLED_DAYS_MAX * DAY_S)
        return err_set_param(e, ERR_ARG, of, "%s: a period is at most a year", of);
    return is_open;
}

/* ---- the versions ---------------------------------------------------------------------------- */

struct taking {
    struct settled *s;
    struct err *e;
};

static int take_version(void *arg, const struct contract_version *v)
{
    struct taking *x = arg;

    if (v->recorded_s > x->s->known_s || v->effective_s >= x->s->until_s)
        return 0;
    return settled_add(x->s, v->name, v->version, v->effective_s, v->text, x->e);
}

static int read_measured(struct accounts *a, const char *engine, const struct settled *s,
                         struct settled_version *v, struct err *e)
{
    const struct contract *c = contract_file_contract(v->file);
    struct basket_measured points;
    struct basket_entitlement x;
    int r = 0;

    for (int i = 0; !r && i < c->n_tranches; i++) {
        struct measurement *m = NULL;
        struct err none = {0};
        int is_stale = 0;
        r = accounts_measured_on(a, c->name, &c->tranche[i], engine, s->made_s, s->known_s, &m,
                                 &is_stale, &none);
        if (!r && !is_stale) {
            measurement_entitlement(m, c, c->tranche[i].watts, &points, &x);
            v->measured[i] = x.i_level < 0 ? 0 : x.rate_mtps;
        }
        measurement_free(m);
        if (r == ERR_NOTFOUND)
            r = 0;
        else if (r)
            err_set(e, r, "%s", none.text);
    }
    return r;
}

int settled_add_stored(struct settled *s, struct accounts *a, const char *name, const char *engine,
                       struct err *e)
{
    struct taking x = {s, e};
    int r = accounts_contract_versions(a, name, take_version, &x, e);

    if (!r && !s->n_versions)
        r = err_set(e, ERR_NOTFOUND, "The store has no contract '%.64s' for that time.", name);
    for (int i = 0; !r && i < s->n_versions; i++)
        r = read_measured(a, engine, s, &s->version[i], e);
    return r;
}
