/* Contracts from the store into the table of those in force. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/log.h"
#include "base/put.h"
#include "cloud/accounts.h"
#include "cloud/contract_file.h"
#include "cloud/contracts.h"

/* A contract's text, until all are read. */
struct text_of {
    struct text_of *next;
    int64_t version;
    char name[CONTRACTS_NAME_MAX];
    char text[];
};

/* What is being read. */
struct reading {
    struct contracts *c;
    const struct contracts_source *from;
    int64_t next_s;
    struct text_of *texts;
    struct live_contract **list; /* [CONTRACTS_MAX] */
    int n, n_left_out;
    struct err *e;
};

/* One contract, and what was measured of its tranches. */
struct one {
    struct reading *x;
    const struct contract *c;
    int64_t measured[CONTRACT_TRANCHES_MAX]; /* < 0: not */
};

static int no_memory(struct reading *x)
{
    return err_set(x->e, ERR_NOMEM, "out of memory");
}

static void tell(const char *contract, const char *why)
{
    LOG_EVENT(LOG_WARN, "contract not admitted by", LOG_STR("contract", contract),
              LOG_STR("why", why));
}

/* ---- what is counted ------------------------------------------------------------------------- */

/* The place of a name's row, or that of a new one; -1: there is no memory, or no room. */
static int place_of(struct map *m, const char *name, int n)
{
    uint32_t i;

    if (map_get(m, name, strlen(name), &i))
        return (int)i;
    return n < CONTRACTS_TRANCHES_MAX && !map_put(m, name, strlen(name), (uint32_t)n) ? n : -1;
}

static struct contract_use *use_of(struct contracts *c, const char *name)
{
    int i = place_of(&c->uses, name, c->n_uses);

    if (i < 0)
        return NULL;
    if (!c->use[i]) {
        c->use[i] = calloc(1, sizeof *c->use[i]);
        if (!c->use[i])
            return NULL;
        c->use[i]->borrowable.period_s = ENTITLEMENT_WINDOW_S;
        put_text(c->use[i]->name, sizeof c->use[i]->name, name);
    }
    c->n_uses = i < c->n_uses ? c->n_uses : i + 1;
    return c->use[i];
}

static struct tranche_use *slice_of(struct contracts *c, const char *contract, const char *name)
{
    char both[2 * CONTRACTS_NAME_MAX];
    int i;

    snprintf(both, sizeof both, "%s/%s", contract, name);
    i = place_of(&c->tranches, both, c->n_slices);
    if (i < 0)
        return NULL;
    if (!c->slice[i]) {
        c->slice[i] = calloc(1, sizeof *c->slice[i]);
        if (!c->slice[i])
            return NULL;
        c->slice[i]->tokens.period_s = ENTITLEMENT_WINDOW_S;
        put_text(c->slice[i]->contract, sizeof c->slice[i]->contract, contract);
        put_text(c->slice[i]->name, sizeof c->slice[i]->name, name);
    }
    c->n_slices = i < c->n_slices ? c->n_slices : i + 1;
    c->slice[i]->round = c->round;
    return c->slice[i];
}

/* ---- one contract ---------------------------------------------------------------------------- */

static void put_sites(const struct sites *s, const struct tranche *t, struct live_tranche *ret)
{
    int n = atomic_load(&s->n);

    for (int i = 0; i < n; i++) {
        const struct site_terms *terms = sites_terms(s, i);
        if (terms && (t->site ? !strcmp(terms->name, t->site)
                              : terms->region && !strcmp(terms->region, t->region)))
            ret->sites[i / 64] |= UINT64_C(1) << (i % 64);
    }
}

static int has_use(const struct live_contract *l, const struct tranche_use *u)
{
    for (int i = 0; i < l->n; i++) {
        if (l->tranche[i].use == u)
            return 1;
    }
    return 0;
}

/* An active tranche; one whose part of before is not over yet waits for that. */
static int add_tranche(const struct one *o, int i, struct live_contract *l)
{
    struct reading *x = o->x;
    const struct contract *c = o->c;
    const struct tranche *t = &c->tranche[i];
    struct live_tranche *to = &l->tranche[l->n];
    enum entitlement_basis basis;

    if (tranche_state(c, t, x->from->wall_s) != TRANCHE_ACTIVE)
        return 0;
    to->use = slice_of(x->c, c->name, t->name);
    if (!to->use)
        return no_memory(x);
    if (has_use(l, to->use))
        return 0;
    basis = entitlement_full(t, o->measured[i], &to->full);
    l->basis = basis > l->basis ? basis : l->basis;
    to->watts = t->watts;
    to->concurrency = t->concurrency;
    put_sites(x->from->sites, t, to);
    for (size_t k = 0; k < sizeof to->sites / sizeof *to->sites; k++)
        l->sites[k] |= to->sites[k];
    l->n++;
    return 0;
}

static int put_terms(struct reading *x, const struct contract *c, struct live_contract *l)
{
    l->from_s = c->from_s;
    l->rule = c->spillover;
    l->is_backstop = c->backstop.is_there;
    l->unlent_ppm = c->unlent_ppm;
    l->borrow_ppm = c->borrow_ppm;
    l->power_basis = c->basis == CONTRACT_IT ? POWER_IT : POWER_FACILITY;
    l->input_ppm = entitlement_input(c);
    memcpy(l->currency, c->currency, sizeof l->currency);
    l->price = (struct price){.tier = -1,
                              .uncached = c->spill_input,
                              .cache_read = -1,
                              .cache_write = -1,
                              .output = c->spill_output,
                              .reasoning = -1};
    l->n_tenants = c->customer.tenants.n;
    l->tenant = calloc((size_t)l->n_tenants + 1, sizeof *l->tenant);
    if (!l->tenant)
        return no_memory(x);
    for (int i = 0; i < l->n_tenants; i++)
        put_text(l->tenant[i], sizeof l->tenant[i], c->customer.tenants.v[i]);
    return 0;
}

/* The log says it when something of it has changed. */
static void tell_standing(const struct reading *x, const struct live_contract *l)
{
    uint64_t h = (uint64_t)l->version * 1000003 + (uint64_t)l->basis;
    int64_t full = 0;

    for (int i = 0; i < l->n; i++) {
        full += l->tranche[i].full;
        h = h * 1000003 + (uint64_t)(uintptr_t)l->tranche[i].use;
    }
    h = h * 1000003 + (uint64_t)full;
    h = h * 1000003 + (uint64_t)l->unlent_ppm;
    if (h == l->use->told)
        return;
    l->use->told = h;
    LOG_EVENT(LOG_INFO, "contract in force", LOG_STR("contract", l->use->name),
              LOG_INT("version", l->version), LOG_INT("tranches", l->n),
              LOG_INT("tokens_per_second", full / 1000),
              LOG_INT("lends_percent", (CONTRACT_PPM - l->unlent_ppm) * 100 / CONTRACT_PPM),
              LOG_STR("basis", entitlement_basis_name(l->basis)));
    if (l->basis == ENTITLES_TO_NOTHING && !l->is_backstop)
        tell(l->use->name, "its active tranches say no tokens_per_second, and none was measured: "
                           "it entitles to nothing");
    if (l->rule == SPILL_PAY && x->from->currency && strcmp(x->from->currency, l->currency) != 0)
        tell(l->use->name, "its spillover is to be paid in another currency than prices are in "
                           "here: what is above it is refused");
}

static int build(const struct one *o, int64_t version)
{
    struct reading *x = o->x;
    const struct contract *c = o->c;
    struct live_contract *l = calloc(1, sizeof *l + (size_t)c->n_tranches * sizeof l->tranche[0]);
    int r = l ? 0 : no_memory(x);

    if (r)
        return r;
    atomic_store(&l->n_holders, 1);
    l->version = version;
    l->use = use_of(x->c, c->name);
    r = l->use ? put_terms(x, c, l) : no_memory(x);
    for (int i = 0; i < c->n_tranches && !r; i++)
        r = add_tranche(o, i, l);
    if (!r && l->n)
        tell_standing(x, l);
    if (!r && l->rule == SPILL_PAY && x->from->currency &&
        strcmp(x->from->currency, l->currency) != 0)
        l->rule = SPILL_REJECT;
    if (r || (l->is_backstop ? !l->n : l->basis == ENTITLES_TO_NOTHING))
        contracts_put(l);
    else
        x->list[x->n++] = l;
    return r;
}

/* ---- what was measured ----------------------------------------------------------------------- */

/* Does this process compute at the tranche's site? */
static int is_local(const struct reading *x, const struct tranche *t)
{
    struct live_tranche at = {0};
    int is = 0;

    put_sites(x->from->sites, t, &at);
    for (size_t i = 0; i < sizeof at.sites / sizeof *at.sites; i++)
        is |= (at.sites[i] & x->from->local_sites[i]) != 0;
    return is;
}

/* The last of each tranche counts. */
static int take_measured(void *arg, const struct measured_row *row)
{
    struct one *o = arg;
    struct measurement *m = NULL;
    struct basket_measured points;
    struct basket_entitlement n;
    struct err why = {0};
    int r = measurement_parse(&m, row->text, strlen(row->text), &why);

    if (r == ERR_NOMEM)
        return no_memory(o->x);
    for (int i = 0; i < o->c->n_tranches && !r && !m->verdict.is_there; i++) {
        const struct tranche *t = &o->c->tranche[i];
        if (!measurement_is_of(m, t) ||
            (strcmp(m->engine, GAUFRE_VERSION) != 0 && is_local(o->x, t)))
            continue;
        measurement_entitlement(m, o->c, t->watts, &points, &n);
        if (!n.why)
            o->measured[i] = n.rate_mtps;
    }
    measurement_free(m);
    return 0;
}

/* ---- all of them ----------------------------------------------------------------------------- */

static int read_one(struct reading *x, const struct text_of *v)
{
    struct one o = {.x = x};
    struct contract_file *f = NULL;
    struct err why = {0};
    int64_t next;
    int r = contract_file_parse(&f, v->name, v->text, strlen(v->text), &why);

    if (r == ERR_NOMEM)
        return no_memory(x);
    if (r) { /* it was checked when it came; a later version of this program may be stricter */
        tell(v->name, why.text);
        return 0;
    }
    o.c = contract_file_contract(f);
    for (int i = 0; i < CONTRACT_TRANCHES_MAX; i++)
        o.measured[i] = -1;
    next = entitlement_next(o.c, x->from->wall_s);
    x->next_s = next < x->next_s ? next : x->next_s;
    r = accounts_measurements(x->from->store, o.c->name, take_measured, &o, x->e);
    if (!r)
        r = build(&o, v->version);
    contract_file_close(f);
    return r;
}

/* Nothing else is asked of the database meanwhile, so texts are kept. */
static int keep_text(void *arg, const struct contract_version *v)
{
    struct reading *x = arg;
    size_t n = strlen(v->text) + 1;
    struct text_of *t = malloc(sizeof *t + n);

    if (!t)
        return no_memory(x);
    t->version = v->version;
    put_text(t->name, sizeof t->name, v->name);
    memcpy(t->text, v->text, n);
    t->next = x->texts;
    x->texts = t;
    return 0;
}

static int read_all(struct reading *x)
{
    struct text_of *next;
    int r = accounts_contracts(x->from->store, x->from->wall_s, INT64_MAX, keep_text, x, x->e);

    for (; x->texts; x->texts = next) {
        next = x->texts->next;
        if (!r && x->n == CONTRACTS_MAX)
            x->n_left_out++;
        else if (!r)
            r = read_one(x, x->texts);
        free(x->texts);
    }
    return r;
}

static int by_age(const void *a, const void *b)
{
    const struct live_contract *x = *(struct live_contract *const *)a;
    const struct live_contract *y = *(struct live_contract *const *)b;

    if (x->from_s != y->from_s)
        return x->from_s < y->from_s ? -1 : 1;
    return strcmp(x->use->name, y->use->name);
}

static int map_tenants(struct reading *x, struct map *ret)
{
    int r = map_init(ret, (size_t)x->n);
    uint32_t other;

    for (int i = 0; i < x->n && !r; i++) {
        const struct live_contract *l = x->list[i];
        for (int k = 0; k < l->n_tenants && !r; k++) {
            const char *tenant = l->tenant[k];
            if (map_get(ret, tenant, strlen(tenant), &other)) {
                LOG_EVENT(LOG_WARN, "tenant of two contracts", LOG_STR("tenant", tenant),
                          LOG_STR("used", x->list[other]->use->name),
                          LOG_STR("not_used", l->use->name));
                continue;
            }
            r = map_put(ret, tenant, strlen(tenant), (uint32_t)i);
        }
    }
    return r ? no_memory(x) : 0;
}

/* Of each site those that may lend there. */
static int map_lenders(struct reading *x, struct tranche_use ***ret, int at[SITES_EVER_MAX + 1])
{
    struct tranche_use **u;
    int n = 0;

    for (int pass = 0; pass < 2; pass++) {
        u = pass ? calloc((size_t)n + 1, sizeof *u) : NULL;
        if (pass && !u)
            return no_memory(x);
        n = 0;
        for (int s = 0; s < SITES_EVER_MAX; s++) {
            at[s] = n;
            for (int i = 0; i < x->n && s < atomic_load(&x->from->sites->n); i++) {
                for (int k = 0; k < x->list[i]->n; k++) {
                    if (x->list[i]->is_backstop || x->list[i]->unlent_ppm == CONTRACT_PPM ||
                        !contract_is_at(&x->list[i]->tranche[k], s))
                        continue;
                    if (u)
                        u[n] = x->list[i]->tranche[k].use;
                    n++;
                }
            }
        }
        at[SITES_EVER_MAX] = n;
    }
    *ret = u;
    return 0;
}

/* Those that are over lend and serve no more. */
static void stop_slices(struct contracts *c)
{
    for (int i = 0; i < c->n_slices; i++) {
        if (c->slice[i] && c->slice[i]->round != c->round)
            atomic_store(&c->slice[i]->rate, 0);
    }
}

/* When the next ledger of a site's power changes. */
static void note_power(struct reading *x)
{
    for (int i = 0; i < atomic_load(&x->from->sites->n); i++) {
        const struct site_terms *t = sites_terms(x->from->sites, i);
        for (int k = 0; t && k < t->n_power; k++) {
            int64_t at_s = t->power[k].from_s;
            if (at_s > x->from->wall_s && at_s < x->next_s)
                x->next_s = at_s;
        }
    }
}

static int exchange(struct reading *x)
{
    struct contracts *c = x->c;
    struct tranche_use **lender = NULL;
    int at[SITES_EVER_MAX + 1], r;
    struct map tenants = {0};

    qsort((void *)x->list, (size_t)x->n, sizeof *x->list, by_age);
    r = map_tenants(x, &tenants);
    if (!r)
        r = map_lenders(x, &lender, at);
    if (r) {
        map_done(&tenants);
        return r;
    }
    pthread_rwlock_wrlock(&c->lock);
    for (int i = 0; i < c->n; i++)
        contracts_put(c->list[i]);
    map_done(&c->by_tenant);
    free((void *)c->list);
    free((void *)c->lender);
    c->by_tenant = tenants;
    c->list = x->list;
    c->n = x->n;
    c->lender = lender;
    memcpy(c->lender_at, at, sizeof at);
    stop_slices(c);
    contracts_reckon(c, x->from->sites, x->from->now_us,
                     x->from->wall_s); /* nobody sees a tranche without its rate */
    pthread_rwlock_unlock(&c->lock);
    x->list = NULL;
    x->n = 0;
    return 0;
}

int contracts_sync(struct contracts *c, const struct contracts_source *s, struct err *e)
{
    struct reading x = {.c = c, .from = s, .e = e};
    int was_stale = atomic_exchange(&c->is_stale, 0), r;

    c->round++;
    x.list = calloc(CONTRACTS_MAX, sizeof *x.list);
    r = x.list ? accounts_contracts_next(s->store, s->wall_s, &x.next_s, e) : no_memory(&x);
    if (!r)
        r = read_all(&x);
    if (!r)
        r = exchange(&x);
    for (int i = 0; i < x.n; i++)
        contracts_put(x.list[i]);
    free((void *)x.list);
    if (r) {
        atomic_fetch_or(&c->is_stale, was_stale);
        return r;
    }
    note_power(&x);
    c->next_s = x.next_s;
    if (x.n_left_out)
        LOG_EVENT(LOG_ERROR, "contracts left out", LOG_INT("n", x.n_left_out),
                  LOG_INT("max", CONTRACTS_MAX));
    return 0;
}
