#include "cloud/sites.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/money.h"
#include "base/put.h"
#include "cloud/curtailment.h"
#include "policy/derate.h"

#define NAME_CHARS   "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_."
#define NANO_PER_PPM 1000
#define SOON_MINUTES 5
#define MINUTE_US    INT64_C(60000000)

int site_name_ok(const char *s)
{
    size_t n = strspn(s, NAME_CHARS);

    return n > 0 && !s[n] && n < SITE_NAME_MAX;
}

int site_factor_parse(const char *text, int32_t *ret_ppm, struct err *e)
{
    int64_t nano;

    if (money_parse(text, &nano, e) || nano < 0 || nano > MONEY_NANO || nano % NANO_PER_PPM)
        return err_set(e, ERR_ARG,
                       "'%.40s' is no factor: from 0 to 1, at most six digits behind the point",
                       text);
    *ret_ppm = (int32_t)(nano / NANO_PER_PPM);
    return 0;
}

char *site_factor_show(int32_t ppm, char out[SITE_FACTOR_TEXT])
{
    char text[MONEY_TEXT_MAX];
    size_t n;

    money_show((int64_t)ppm * NANO_PER_PPM, text);
    for (n = strlen(text); n && text[n - 1] == '0' && strchr(text, '.'); n--)
        text[n - 1] = 0;
    if (n && text[n - 1] == '.')
        text[n - 1] = 0;
    put_text(out, SITE_FACTOR_TEXT, text);
    return out;
}

struct lifecycle_now site_terms_life(const struct site_terms *t, int64_t now_s)
{
    if (t->n_steps)
        return lifecycle_look(t->step, t->n_steps, now_s);
    return (struct lifecycle_now){t->state, DERATE_ALL, -1, -1, 0};
}

const struct power_row *site_terms_power(const struct site_terms *t, int64_t at_s)
{
    return power_at(t->power, t->n_power, at_s);
}

/* ---- the table ------------------------------------------------------------------------------- */

int sites_init(struct sites *s)
{
    pthread_mutex_init(&s->lock, NULL);
    s->site = calloc(SITES_EVER_MAX, sizeof *s->site);
    return s->site ? 0 : ERR_NOMEM;
}

void sites_done(struct sites *s)
{
    for (int i = 0; s->site && i < atomic_load(&s->n); i++) {
        carbon_free(s->site[i].hours);
        free(s->site[i].environment);
        free(s->site[i].nodes);
    }
    free(s->site);
    free(s->call);
    pthread_mutex_destroy(&s->lock);
}

int sites_find(const struct sites *s, const char *name)
{
    int n = atomic_load(&s->n);

    for (int i = 0; i < n; i++) {
        if (!strcmp(s->site[i].name, name))
            return i;
    }
    return -1;
}

/* Under the lock: its place, which is made where missing; NULL: there is no room. */
static struct site *make(struct sites *s, const char *name)
{
    int i = sites_find(s, name), n = atomic_load(&s->n);
    struct site *one;

    if (i >= 0)
        return &s->site[i];
    if (n == SITES_EVER_MAX)
        return NULL;
    one = &s->site[n];
    put_text(one->name, sizeof one->name, name);
    atomic_store(&one->factor_ppm, DERATE_ALL);
    atomic_store(&one->places_ppm, DERATE_ALL);
    one->file_ppm = -1;
    one->order = (struct site_order){-1, -1};
    atomic_store(&one->pue_permille, -1);
    one->told_state = -1;
    one->told_ppm = DERATE_ALL;
    one->curtailed = one->told_curtailed = curtailment_none();
    atomic_store(&s->n, n + 1); /* readers see it whole */
    return one;
}

/* Under the lock: what it is, as an operator says or by its dates. */
static struct lifecycle_now life_of(const struct site *one, const struct site_terms *t,
                                    int64_t wall_s)
{
    struct lifecycle_now l = site_terms_life(t, wall_s);

    if (one->order.state >= 0) {
        l.state = (enum lifecycle_state)one->order.state;
        l.factor_ppm = DERATE_ALL; /* the operator says one beside it, or none */
    }
    return l;
}

/* Under the lock: what its sensors leave; < 0: it has none. */
static int32_t environment_of(const struct site *one, const struct site_terms *t)
{
    if (!t || !t->has_environment)
        return -1;
    return one->environment ? one->environment->factor_ppm : t->blind_ppm;
}

/* Under the lock: nodes that other work has; before anything is known all that it may have. */
static int n_away(const struct site *one, const struct site_terms *t)
{
    if (!t->nodes.n)
        return 0;
    return one->nodes ? one->nodes->lent.n[LEND_LENT] + one->nodes->lent.n[LEND_RETURNING]
                      : t->nodes.n - t->nodes.n_keep;
}

/* Under the lock: what holds now. */
static void reckon(const struct sites *s, struct site *one)
{
    const struct site_terms *t = atomic_load(&one->terms);
    int32_t said[6], factor = 0;
    struct lifecycle_now life;

    one->curtailed = t ? curtailment_now(t, s->call, s->n_calls, s->wall_us) : curtailment_none();
    if (!t)
        return;
    life = life_of(one, t, s->wall_us / 1000000);
    said[0] = t->factor_ppm;
    said[1] = t->has_factor_file ? one->file_ppm : -1;
    said[2] = one->order.factor_ppm;
    said[3] = environment_of(one, t);
    said[4] = life.factor_ppm;
    said[5] = one->curtailed.now.factor_ppm;
    if (lifecycle_admits(life.state) != LIFECYCLE_NOBODY)
        factor = derate_lowest(said, 6);
    atomic_store(&one->admits, lifecycle_admits(life.state));
    atomic_store(&one->factor_ppm, factor);
    atomic_store(&one->places_ppm,
                 lend_places_ppm(factor, t->nodes.n, n_away(one, t), t->nodes.n_keep));
}

static const struct site_terms *find_terms(const struct cloud_sites *l, const char *name)
{
    for (int i = 0; l && i < l->n; i++) {
        if (!strcmp(l->list[i].name, name))
            return &l->list[i];
    }
    return NULL;
}

int sites_swap(struct sites *s, const struct cloud_sites *next, struct err *e)
{
    int r = 0, n_new = 0;

    pthread_mutex_lock(&s->lock);
    for (int i = 0; next && i < next->n; i++)
        n_new += sites_find(s, next->list[i].name) < 0;
    if (atomic_load(&s->n) + n_new > SITES_EVER_MAX)
        r = err_set(e, ERR_LIMIT, "sites: more than %d since the start", SITES_EVER_MAX);
    for (int i = 0; !r && next && i < next->n; i++)
        CHECK(make(s, next->list[i].name));
    for (int i = 0; !r && i < atomic_load(&s->n); i++) {
        const struct site_terms *t = find_terms(next, s->site[i].name);
        atomic_store(&s->site[i].terms, t);
        if (!t || !t->has_environment) { /* should it have sensors again, they are new */
            free(s->site[i].environment);
            s->site[i].environment = NULL;
            atomic_store(&s->site[i].pue_permille, -1);
        }
        if (!t || !t->nodes.n) {
            free(s->site[i].nodes);
            s->site[i].nodes = NULL;
        }
        reckon(s, &s->site[i]);
    }
    if (!r)
        s->now = next;
    pthread_mutex_unlock(&s->lock);
    return r;
}

void sites_tell_factor(struct sites *s, const char *name, int32_t ppm, const char *why)
{
    int i;

    pthread_mutex_lock(&s->lock);
    i = sites_find(s, name);
    if (i >= 0) {
        if (!why)
            s->site[i].file_ppm = ppm;
        put_text(s->site[i].why_factor, sizeof s->site[i].why_factor, why ? why : "");
        reckon(s, &s->site[i]);
    }
    pthread_mutex_unlock(&s->lock);
}

int sites_tell_environment(struct sites *s, const char *name, const struct site_environment *v)
{
    int i, r = 0;

    pthread_mutex_lock(&s->lock);
    i = sites_find(s, name);
    if (i >= 0 && !s->site[i].environment) {
        s->site[i].environment = malloc(sizeof *v);
        r = s->site[i].environment ? 0 : ERR_NOMEM;
    }
    if (i >= 0 && !r) {
        *s->site[i].environment = *v;
        reckon(s, &s->site[i]);
    }
    pthread_mutex_unlock(&s->lock);
    return r;
}

int sites_tell_nodes(struct sites *s, const char *name, const struct site_nodes *v)
{
    int i, r = 0;

    pthread_mutex_lock(&s->lock);
    i = sites_find(s, name);
    if (i >= 0 && !s->site[i].nodes) {
        s->site[i].nodes = malloc(sizeof *v);
        r = s->site[i].nodes ? 0 : ERR_NOMEM;
    }
    if (i >= 0 && !r) {
        *s->site[i].nodes = *v;
        reckon(s, &s->site[i]);
    }
    pthread_mutex_unlock(&s->lock);
    return r;
}

void sites_order(struct sites *s, const char *name, const struct site_order *o)
{
    struct site *one;

    pthread_mutex_lock(&s->lock);
    one = make(s, name); /* a configuration may have it later */
    if (one) {
        one->order = *o;
        reckon(s, one);
    }
    pthread_mutex_unlock(&s->lock);
}

void sites_tell_carbon(struct sites *s, const char *name, struct carbon_hours *h, const char *why)
{
    struct carbon_hours *old = h;
    int i;

    pthread_mutex_lock(&s->lock);
    i = sites_find(s, name);
    if (i >= 0) {
        old = h ? s->site[i].hours : NULL;
        if (h)
            s->site[i].hours = h;
        put_text(s->site[i].why_carbon, sizeof s->site[i].why_carbon, why ? why : "");
    }
    pthread_mutex_unlock(&s->lock);
    carbon_free(old);
}

/* Under the lock: of all. Returns whether a factor is another. */
static int reckon_all(struct sites *s)
{
    int any = 0;

    for (int i = 0; i < atomic_load(&s->n); i++) {
        int32_t was = atomic_load(&s->site[i].places_ppm);
        reckon(s, &s->site[i]);
        any |= atomic_load(&s->site[i].places_ppm) != was;
    }
    return any;
}

int sites_tick(struct sites *s, int64_t wall_us)
{
    int any;

    pthread_mutex_lock(&s->lock);
    s->wall_us = wall_us;
    any = reckon_all(s);
    pthread_mutex_unlock(&s->lock);
    return any;
}

void sites_set_calls(struct sites *s, struct site_call *calls, int n)
{
    struct site_call *old;

    pthread_mutex_lock(&s->lock);
    old = s->call;
    s->call = calls;
    s->n_calls = n;
    reckon_all(s);
    pthread_mutex_unlock(&s->lock);
    free(old);
}

static int is_moving(const struct site_curtailed *c)
{
    return c->now.phase == CURTAIL_DOWN || c->now.phase == CURTAIL_UP;
}

int sites_take_news(struct sites *s, int i, struct site_news *ret)
{
    struct site *one = &s->site[i];
    const struct site_terms *t;

    pthread_mutex_lock(&s->lock);
    t = atomic_load(&one->terms);
    *ret = (struct site_news){
        one->told_state,
        t ? (int)life_of(one, t, s->wall_us / 1000000).state : -1,
        one->told_ppm,
        is_moving(&one->curtailed) ? one->told_ppm : atomic_load(&one->factor_ppm),
        one->told_curtailed,
        one->curtailed,
        s->wall_us};
    one->told_state = ret->state;
    one->told_ppm = ret->ppm;
    one->told_curtailed = one->curtailed;
    pthread_mutex_unlock(&s->lock);
    return ret->state != ret->was_state || ret->ppm != ret->was_ppm ||
           ret->curtailed.now.phase != ret->was_curtailed.now.phase;
}

/* ---- looking --------------------------------------------------------------------------------- */

int32_t sites_factor(const struct sites *s, int i)
{
    return i < 0 ? DERATE_ALL : atomic_load(&s->site[i].factor_ppm);
}

int32_t sites_places(const struct sites *s, int i)
{
    return i < 0 ? DERATE_ALL : atomic_load(&s->site[i].places_ppm);
}

const struct site_terms *sites_terms(const struct sites *s, int i)
{
    return i < 0 ? NULL : atomic_load(&s->site[i].terms);
}

void sites_tell_pue(struct sites *s, const char *name, int32_t permille)
{
    int i = sites_find(s, name);

    if (i >= 0)
        atomic_store(&s->site[i].pue_permille, permille);
}

int32_t sites_pue(const struct sites *s, int i)
{
    const struct site_terms *t = sites_terms(s, i); /* NULL for i < 0, too */
    int32_t measured = t ? atomic_load(&s->site[i].pue_permille) : -1;

    return measured > 0 ? measured : t ? t->pue_permille : 0;
}

static int has_name(const char *const *list, int n, const char *name)
{
    for (int k = 0; k < n; k++) {
        if (!strcmp(list[k], name))
            return 1;
    }
    return 0;
}

int sites_may_serve(const struct sites *s, int i, const char *tenant)
{
    const struct site_terms *t = sites_terms(s, i);

    if (!t)
        return 1;
    if (atomic_load(&s->site[i].admits) == LIFECYCLE_TESTERS)
        return has_name(t->testers, t->n_testers, tenant);
    return !t->n_tenants || has_name(t->tenants, t->n_tenants, tenant);
}

void sites_count(struct sites *s, int i, const struct energy *used)
{
    if (i < 0)
        return;
    atomic_fetch_add(&s->site[i].n_requests, 1);
    pthread_mutex_lock(&s->lock);
    if (used->method == ENERGY_UNKNOWN)
        s->site[i].n_unmetered++;
    else
        energy_add(&s->site[i].used, used);
    pthread_mutex_unlock(&s->lock);
}

/* Under the lock. */
static int64_t mg_now(const struct site *one, const struct site_terms *t, enum carbon_basis b,
                      int64_t at_s)
{
    if (t && t->carbon_mg[b] >= 0)
        return t->carbon_mg[b];
    return t && t->has_hours ? carbon_mg_per_kwh(one->hours, b, t->zone, at_s) : CARBON_UNKNOWN;
}

int64_t sites_mg_per_kwh(struct sites *s, int i, enum carbon_basis b, int64_t at_s)
{
    int64_t mg;

    if (i < 0)
        return CARBON_UNKNOWN;
    pthread_mutex_lock(&s->lock);
    mg = mg_now(&s->site[i], sites_terms(s, i), b, at_s);
    pthread_mutex_unlock(&s->lock);
    return mg;
}

/* Under the lock: watts of nodes that other work has. */
static int64_t lent_w(const struct site *one, const struct site_terms *t, int64_t now_s)
{
    int64_t free_w = power_free_w(site_terms_power(t, now_s)), n = n_away(one, t);

    if (!t->nodes.n)
        return 0;
    if (t->nodes.node_w != POWER_UNKNOWN)
        return n * t->nodes.node_w;
    return free_w == POWER_UNKNOWN ? 0 : free_w / t->nodes.n * n;
}

/* Under the lock. */
static void view_lent(const struct site *one, const struct site_terms *t, int64_t now_s,
                      struct site_view *ret)
{
    ret->places_ppm = atomic_load(&one->places_ppm);
    if (!t || !t->nodes.n)
        return;
    ret->lent_w = lent_w(one, t, now_s);
    if (one->nodes) {
        ret->lent = one->nodes->lent;
        return;
    }
    ret->lent.n[LEND_LENT] = n_away(one, t);
    ret->lent.n[LEND_SERVING] = t->nodes.n_keep;
    ret->lent.cause = "";
    put_text(ret->lent.why, sizeof ret->lent.why, "it was not asked yet");
}

void sites_view(struct sites *s, int i, int64_t wall_s, struct site_view *ret)
{
    const struct site *one = &s->site[i];
    const struct site_terms *t = sites_terms(s, i);
    int64_t now_s;

    pthread_mutex_lock(&s->lock);
    now_s = s->wall_us / 1000000;
    *ret = (struct site_view){.terms = t,
                              .order = one->order,
                              .state = t ? life_of(one, t, now_s).state : LIFECYCLE_CLOSED,
                              .power = t ? site_terms_power(t, now_s) : NULL,
                              .file_ppm = t && t->has_factor_file ? one->file_ppm : -1,
                              .environment_ppm = environment_of(one, t),
                              .curtailed = one->curtailed,
                              .pue_permille = sites_pue(s, i),
                              .is_pue_measured = atomic_load(&one->pue_permille) > 0,
                              .factor_ppm = atomic_load(&one->factor_ppm),
                              .n_requests = atomic_load(&one->n_requests),
                              .used = one->used,
                              .n_unmetered = one->n_unmetered};
    if (t)
        ret->life = site_terms_life(t, now_s);
    view_lent(one, t, now_s, ret);
    for (int b = 0; b < CARBON_BASES; b++)
        ret->carbon_mg[b] = mg_now(one, t, (enum carbon_basis)b, wall_s);
    put_text(ret->why_factor, sizeof ret->why_factor, one->why_factor);
    put_text(ret->why_carbon, sizeof ret->why_carbon, one->why_carbon);
    if (ret->environment_ppm >= 0)
        put_text(ret->cause, sizeof ret->cause,
                 one->environment ? one->environment->cause : "its sensors were not heard yet");
    pthread_mutex_unlock(&s->lock);
}

int sites_view_environment(struct sites *s, int i, struct site_environment *ret)
{
    int has_any;

    if (i < 0)
        return ERR_NOTFOUND;
    pthread_mutex_lock(&s->lock);
    has_any = s->site[i].environment != NULL;
    if (has_any)
        *ret = *s->site[i].environment;
    pthread_mutex_unlock(&s->lock);
    return has_any ? 0 : ERR_NOTFOUND;
}

int sites_view_nodes(struct sites *s, int i, struct site_nodes *ret)
{
    int has_any;

    if (i < 0)
        return ERR_NOTFOUND;
    pthread_mutex_lock(&s->lock);
    has_any = s->site[i].nodes != NULL;
    if (has_any)
        *ret = *s->site[i].nodes;
    pthread_mutex_unlock(&s->lock);
    return has_any ? 0 : ERR_NOTFOUND;
}

int32_t sites_soon(struct sites *s, int i)
{
    const struct site_terms *t = sites_terms(s, i);
    int32_t lowest = DERATE_ALL;

    pthread_mutex_lock(&s->lock);
    for (int k = 0; t && k <= SOON_MINUTES; k++) {
        struct site_curtailed v =
            curtailment_now(t, s->call, s->n_calls, s->wall_us + k * MINUTE_US);
        if (v.now.phase != CURTAIL_NONE && v.now.factor_ppm < lowest)
            lowest = v.now.factor_ppm;
    }
    pthread_mutex_unlock(&s->lock);
    return lowest;
}
