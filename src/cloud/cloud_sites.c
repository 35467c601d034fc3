/* Sites of a running cloud: what is said of them, and that their suppliers obey. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/day.h"
#include "base/log.h"
#include "cloud/accounts.h"
#include "cloud/cloud_int.h"
#include "policy/derate.h"

void cloud_obey(struct cloud *c)
{
    int64_t now_us = atomic_load(&c->seen_us);

    pthread_mutex_lock(&c->obey_lock);
    contracts_obey(&c->contracts, &c->sites, now_us, cloud_wall_s(c, now_us));
    offers_obey(&c->offers, c->contracts.kept, c->contracts.unlent_ppm);
    pthread_mutex_unlock(&c->obey_lock);
}

/* Who says the factor in force; of several the first. */
static const char *said_by(const struct site_view *v)
{
    if (lifecycle_admits(v->state) == LIFECYCLE_NOBODY)
        return "state";
    if (v->order.factor_ppm == v->factor_ppm)
        return "operator";
    if (v->file_ppm == v->factor_ppm)
        return "file";
    if (v->environment_ppm == v->factor_ppm)
        return "environment";
    if (v->curtailed.now.phase != CURTAIL_NONE && v->curtailed.now.factor_ppm == v->factor_ppm)
        return "curtailment";
    return v->state == LIFECYCLE_DERATED && v->life.factor_ppm == v->factor_ppm ? "state"
                                                                                : "configuration";
}

static const char *state_name(int state)
{
    return state < 0 ? "" : lifecycle_name((enum lifecycle_state)state);
}

static void log_news(struct cloud *c, int i, const struct site_news *n)
{
    char now[SITE_FACTOR_TEXT], was[SITE_FACTOR_TEXT];
    const char *site = c->sites.site[i].name;
    struct site_view v;

    sites_view(&c->sites, i, n->at_us / 1000000, &v);
    if (n->state != n->was_state)
        LOG_EVENT(LOG_INFO, "site state", LOG_STR("site", site),
                  LOG_STR("state", state_name(n->state)), LOG_STR("was", state_name(n->was_state)),
                  LOG_STR("by", !v.terms             ? "configuration"
                                : v.order.state >= 0 ? "operator"
                                : v.life.i_step >= 0 ? "date"
                                                     : "configuration"));
    if (n->ppm != n->was_ppm && n->state >= 0 && n->was_state >= 0)
        LOG_EVENT(LOG_INFO, "site factor", LOG_STR("site", site),
                  LOG_STR("capacity_factor", site_factor_show(n->ppm, now)),
                  LOG_STR("was", site_factor_show(n->was_ppm, was)), LOG_STR("by", said_by(&v)),
                  LOG_STR("cause", strcmp(said_by(&v), "environment") ? "" : v.cause));
}

static void log_curtailment(struct cloud *c, int i, const struct site_news *n)
{
    const struct site_curtailed *v =
        n->curtailed.now.phase == CURTAIL_NONE ? &n->was_curtailed : &n->curtailed;
    char until[DAY_TEXT_MAX], factor[SITE_FACTOR_TEXT], by[40] = "schedule";

    if (v->id)
        snprintf(by, sizeof by, "call %lld", (long long)v->id);
    LOG_EVENT(LOG_INFO, "site curtailment", LOG_STR("site", c->sites.site[i].name),
              LOG_STR("phase", n->curtailed.now.phase == CURTAIL_NONE
                                   ? "over"
                                   : curtail_phase_name(n->curtailed.now.phase)),
              LOG_STR("capacity_factor", site_factor_show(n->curtailed.now.factor_ppm, factor)),
              LOG_STR("by", by), LOG_STR("until", day_show_moment(v->until_s, NULL, until)));
}

/* Log what is new of sites. Returns whether anything is. */
static int tell_news(struct cloud *c)
{
    struct site_news n;
    int any = 0;

    for (int i = 0; i < atomic_load(&c->sites.n); i++) {
        if (!sites_take_news(&c->sites, i, &n))
            continue;
        log_news(c, i, &n);
        if (n.curtailed.now.phase != n.was_curtailed.now.phase)
            log_curtailment(c, i, &n);
        any = 1;
    }
    return any;
}

/* Log what is new of sites, and obey. That its places are others than before is looked at here,
 * too: another thread may have logged it, and not have obeyed yet. */
static void changed(struct cloud *c, const char *site, int32_t was_ppm)
{
    int is_new = tell_news(c);

    if (is_new || sites_places(&c->sites, sites_find(&c->sites, site)) != was_ppm)
        cloud_obey(c);
}

int cloud_set_sites(struct cloud *c, const struct cloud_sites *s, struct err *e)
{
    int r = sites_swap(&c->sites, s, e);

    if (!r) {
        tell_news(c);
        contracts_note_sites(&c->contracts);
        cloud_obey(c);
    }
    return r;
}

void cloud_tick_sites(struct cloud *c, int64_t wall_us)
{
    int any = sites_tick(&c->sites, wall_us);

    if (tell_news(c) || any)
        cloud_obey(c);
}

void cloud_tell_site_factor(struct cloud *c, const char *site, int32_t ppm, const char *why)
{
    int32_t was = sites_places(&c->sites, sites_find(&c->sites, site));

    sites_tell_factor(&c->sites, site, ppm, why);
    changed(c, site, was);
}

void cloud_tell_site_environment(struct cloud *c, const char *site,
                                 const struct site_environment *v)
{
    int32_t was = sites_places(&c->sites, sites_find(&c->sites, site));

    if (sites_tell_environment(&c->sites, site, v))
        return; /* no memory: what was said before holds, or the blind factor */
    changed(c, site, was);
}

void cloud_tell_site_nodes(struct cloud *c, const char *site, const struct site_nodes *v)
{
    int32_t was = sites_places(&c->sites, sites_find(&c->sites, site));

    if (sites_tell_nodes(&c->sites, site, v))
        return; /* no memory: all but those that always serve are taken as lent */
    changed(c, site, was);
}

void cloud_tell_site_pue(struct cloud *c, const char *site, int32_t permille)
{
    sites_tell_pue(&c->sites, site, permille);
}

void cloud_tell_site_carbon(struct cloud *c, const char *site, struct carbon_hours *h,
                            const char *why)
{
    sites_tell_carbon(&c->sites, site, h, why);
}

/* ---- what operators say ---------------------------------------------------------------------- */

static int take_order(void *arg, const char *site, const struct site_order *o)
{
    struct cloud *c = arg;
    int32_t was = sites_places(&c->sites, sites_find(&c->sites, site));

    sites_order(&c->sites, site, o);
    changed(c, site, was);
    return 0;
}

/* Calls as they come out of the store. */
struct taking {
    struct site_call *call;
    int n, max;
};

static int take_call(void *arg, const struct site_call *call)
{
    struct taking *t = arg;

    if (t->n == t->max) {
        int max = t->max ? 2 * t->max : 16;
        struct site_call *more = realloc(t->call, (size_t)max * sizeof *more);
        if (!more)
            return ERR_NOMEM;
        t->call = more;
        t->max = max;
    }
    t->call[t->n++] = *call;
    return 0;
}

static int sync_calls(struct cloud *c, struct err *e)
{
    struct taking t = {0};
    int64_t wall_s;
    int r;

    pthread_mutex_lock(&c->sites.lock);
    wall_s = c->sites.wall_us / 1000000;
    pthread_mutex_unlock(&c->sites.lock);
    r = accounts_calls(c->store, wall_s - CURTAIL_RAMP_MAX_US / 1000000, take_call, &t, e);
    if (r) {
        free(t.call);
        return r;
    }
    sites_set_calls(&c->sites, t.call, t.n);
    tell_news(c);
    cloud_obey(c);
    return 0;
}

int cloud_sync_sites(struct cloud *c, struct err *e)
{
    int r = accounts_sites(c->store, take_order, c, e);

    return r ? r : sync_calls(c, e);
}

struct ordering {
    const struct account_who *w;
    const char *site;
    const struct site_order *o;
};

static int order(void *arg, struct accounts *a, struct err *e)
{
    const struct ordering *x = arg;

    return accounts_site_set(a, x->w, x->site, x->o, e);
}

int cloud_order_site(struct cloud *c, int64_t now_us, const struct account_who *w, const char *site,
                     const struct site_order *o, struct err *e)
{
    struct ordering x = {w, site, o};

    if (!sites_terms(&c->sites, sites_find(&c->sites, site)))
        return err_set(e, ERR_NOTFOUND, "There is no site '%.64s'.", site);
    if (!c->store)
        return err_set(e, ERR_UNSUPPORTED, "Orders for sites need a store of accounts.");
    return cloud_with_accounts(c, now_us, order, &x, e);
}

/* ---- calls of the grid ----------------------------------------------------------------------- */

/* The calendar year of the site's zone that a time is in. */
static void year_of(const struct zone *z, int64_t at_s, struct site_call_limit *ret)
{
    char text[DAY_TEXT_MAX];
    int64_t year;

    day_show(at_s, z, text);
    year = strtol(text, NULL, 10);
    snprintf(text, sizeof text, "%04lld-01-01", (long long)year);
    if (day_read(text, z, &ret->from_s))
        ret->from_s = at_s;
    snprintf(text, sizeof text, "%04lld-01-01", (long long)(year + 1));
    if (day_read(text, z, &ret->until_s))
        ret->until_s = at_s + 1;
}

int cloud_check_call(struct cloud *c, int64_t now_s, struct site_call *io, struct err *e)
{
    const struct site_terms *t = sites_terms(&c->sites, sites_find(&c->sites, io->site));
    const struct power_row *p = t ? site_terms_power(t, io->from_s) : NULL;

    if (!t)
        return err_set(e, ERR_NOTFOUND, "There is no site '%.64s'.", io->site);
    if (io->from_s < now_s - 1)
        return err_set_param(e, ERR_ARG, "from", "from: is in the past");
    if (io->until_s <= io->from_s || io->until_s - io->from_s > SITE_CURTAIL_MAX_S)
        return err_set_param(e, ERR_ARG, "until", "until: is not after from, or more than 31 days");
    if (io->from_s - now_s > INT64_C(366) * 86400)
        return err_set_param(e, ERR_ARG, "from", "from: is more than a year ahead");
    if (io->target.watts >= 0 && (!p || p->energised_w == POWER_UNKNOWN))
        return err_set_param(
            e, ERR_ARG, "target_mw",
            "target_mw: the configuration does not say how many megawatts of %.64s "
            "are energised then: give target_share",
            io->site);
    if (io->target.watts >= 0 && io->target.watts > p->energised_w)
        return err_set_param(e, ERR_ARG, "target_mw", "target_mw: is more than is energised then");
    io->is_short = io->from_s - now_s < t->curtail.notice_s;
    return 0;
}

struct calling {
    const struct account_who *w;
    struct site_call *io;
    struct site_call_limit limit;
    int64_t id;
};

static int call_new(void *arg, struct accounts *a, struct err *e)
{
    struct calling *x = arg;

    return accounts_call_new(a, x->w, x->io, &x->limit, e);
}

int cloud_call_site(struct cloud *c, int64_t now_us, const struct account_who *w,
                    struct site_call *io, struct err *e)
{
    const struct site_terms *t = sites_terms(&c->sites, sites_find(&c->sites, io->site));
    struct calling x = {w, io, {-1, 0, 0}, 0};
    int r = cloud_check_call(c, w->now_s, io, e);

    if (r)
        return r;
    if (!c->store)
        return err_set(e, ERR_UNSUPPORTED, "Calls of the grid need a store of accounts.");
    year_of(t->zone, io->from_s, &x.limit);
    x.limit.n = t->curtail.calls_a_year;
    io->called_s = w->now_s;
    return cloud_with_accounts(c, now_us, call_new, &x, e);
}

static int call_cancel(void *arg, struct accounts *a, struct err *e)
{
    struct calling *x = arg;

    return accounts_call_cancel(a, x->w, x->id, x->io, e);
}

int cloud_cancel_call(struct cloud *c, int64_t now_us, const struct account_who *w, int64_t id,
                      struct site_call *ret, struct err *e)
{
    struct calling x = {w, ret, {-1, 0, 0}, id};

    if (!c->store)
        return err_set(e, ERR_UNSUPPORTED, "Calls of the grid need a store of accounts.");
    return cloud_with_accounts(c, now_us, call_cancel, &x, e);
}

/* ---- looking --------------------------------------------------------------------------------- */

static void look(struct cloud *c, int i, int64_t wall_s, struct site_view *ret)
{
    struct site_load load;

    sites_view(&c->sites, i, wall_s, ret);
    offers_load_site(&c->offers, i, &load);
    ret->n_suppliers = load.n_suppliers;
    ret->n_running = load.n_running;
    ret->n_waiting = load.n_waiting;
    ret->n_places = load.n_places;
}

int cloud_view_sites(struct cloud *c, int64_t wall_s, struct site_view ret[SITES_MAX])
{
    const struct cloud_sites *now;
    int n = 0;

    pthread_mutex_lock(&c->sites.lock);
    now = c->sites.now;
    pthread_mutex_unlock(&c->sites.lock);
    for (int i = 0; now && i < now->n && n < SITES_MAX; i++)
        look(c, sites_find(&c->sites, now->list[i].name), wall_s, &ret[n++]);
    return n;
}

int cloud_view_site(struct cloud *c, int64_t wall_s, const char *name, struct site_view *ret)
{
    int i = sites_find(&c->sites, name);

    if (!sites_terms(&c->sites, i))
        return ERR_NOTFOUND;
    look(c, i, wall_s, ret);
    return 0;
}

int cloud_view_site_environment(struct cloud *c, const char *site, struct site_environment *ret)
{
    return sites_view_environment(&c->sites, sites_find(&c->sites, site), ret);
}

int cloud_view_site_nodes(struct cloud *c, const char *site, struct site_nodes *ret)
{
    return sites_view_nodes(&c->sites, sites_find(&c->sites, site), ret);
}

int cloud_view_site_work(struct cloud *c, const char *site, struct lend_site *ret)
{
    int i = sites_find(&c->sites, site);
    struct site_load load;

    if (!sites_terms(&c->sites, i))
        return ERR_NOTFOUND;
    offers_load_site(&c->offers, i, &load);
    *ret = (struct lend_site){.n_busy = (int64_t)load.n_running + load.n_waiting,
                              .n_kept = atomic_load(&c->contracts.kept[i]),
                              .n_places = load.n_all,
                              .factor_ppm = sites_factor(&c->sites, i),
                              .soon_ppm = sites_soon(&c->sites, i)};
    return 0;
}

const char *cloud_offer_site(const struct cloud *c, const struct cloud_offer *of)
{
    return of->i_site < 0 ? "" : c->sites.site[of->i_site].name;
}
