/* Sites of a running cloud: what is said of them, and that their suppliers obey. */
#include <string.h>

#include "base/log.h"
#include "cloud/accounts.h"
#include "cloud/cloud_int.h"
#include "policy/derate.h"

void cloud_obey(struct cloud *c)
{
    int64_t now_us = atomic_load(&c->seen_us);

    pthread_mutex_lock(&c->obey_lock);
    contracts_obey(&c->contracts, &c->sites, now_us, cloud_wall_s(c, now_us));
    offers_obey(&c->offers, c->contracts.kept);
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

/* Log what is new of sites. Returns whether anything is. */
static int tell_news(struct cloud *c)
{
    struct site_news n;
    int any = 0;

    for (int i = 0; i < atomic_load(&c->sites.n); i++) {
        if (!sites_take_news(&c->sites, i, &n))
            continue;
        log_news(c, i, &n);
        any = 1;
    }
    return any;
}

/* Log what is new of sites, and obey. That the factor is another than before is looked at here,
 * too: another thread may have logged it, and not have obeyed yet. */
static void changed(struct cloud *c, const char *site, int32_t was_ppm)
{
    int is_new = tell_news(c);

    if (is_new || sites_factor(&c->sites, sites_find(&c->sites, site)) != was_ppm)
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
    sites_tick(&c->sites, wall_us);
    if (tell_news(c))
        cloud_obey(c);
}

void cloud_tell_site_factor(struct cloud *c, const char *site, int32_t ppm, const char *why)
{
    int32_t was = sites_factor(&c->sites, sites_find(&c->sites, site));

    sites_tell_factor(&c->sites, site, ppm, why);
    changed(c, site, was);
}

void cloud_tell_site_environment(struct cloud *c, const char *site,
                                 const struct site_environment *v)
{
    int32_t was = sites_factor(&c->sites, sites_find(&c->sites, site));

    if (sites_tell_environment(&c->sites, site, v))
        return; /* no memory: what was said before holds, or the blind factor */
    changed(c, site, was);
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
    int32_t was = sites_factor(&c->sites, sites_find(&c->sites, site));

    sites_order(&c->sites, site, o);
    changed(c, site, was);
    return 0;
}

int cloud_sync_sites(struct cloud *c, struct err *e)
{
    return accounts_sites(c->store, take_order, c, e);
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

/* ---- looking --------------------------------------------------------------------------------- */

static void look(struct cloud *c, int i, int64_t wall_s, struct site_view *ret)
{
    sites_view(&c->sites, i, wall_s, ret);
    offers_at_site(&c->offers, i, ret);
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

const char *cloud_offer_site(const struct cloud *c, const struct cloud_offer *of)
{
    return of->i_site < 0 ? "" : c->sites.site[of->i_site].name;
}
