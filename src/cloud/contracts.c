#include "cloud/contracts.h"

#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "policy/derate.h"

#define LOOKS 8 /* tranches that are asked whose power is idle */

int contracts_init(struct contracts *c)
{
    int r;

    pthread_rwlock_init(&c->lock, NULL);
    c->next_s = INT64_MAX;
    c->use = calloc(CONTRACTS_TRANCHES_MAX, sizeof *c->use);
    c->slice = calloc(CONTRACTS_TRANCHES_MAX, sizeof *c->slice);
    r = c->use && c->slice ? 0 : ERR_NOMEM;
    if (!r)
        r = map_init(&c->by_tenant, 0);
    if (!r)
        r = map_init(&c->uses, 0);
    return r ? r : map_init(&c->tranches, 0);
}

void contracts_put(struct live_contract *l)
{
    if (!l || atomic_fetch_sub(&l->n_holders, 1) > 1)
        return;
    free(l->tenant);
    free(l);
}

void contracts_done(struct contracts *c)
{
    for (int i = 0; i < c->n; i++)
        contracts_put(c->list[i]);
    for (int i = 0; i < c->n_uses; i++)
        free(c->use[i]);
    for (int i = 0; i < c->n_slices; i++)
        free(c->slice[i]);
    free((void *)c->list);
    free((void *)c->lender);
    free((void *)c->use);
    free((void *)c->slice);
    map_done(&c->by_tenant);
    map_done(&c->uses);
    map_done(&c->tranches);
    pthread_rwlock_destroy(&c->lock);
}

struct live_contract *contracts_find(struct contracts *c, const char *tenant)
{
    struct live_contract *l = NULL;
    uint32_t i;

    pthread_rwlock_rdlock(&c->lock);
    if (c->n && map_get(&c->by_tenant, tenant, strlen(tenant), &i)) {
        l = c->list[i];
        atomic_fetch_add(&l->n_holders, 1);
    }
    pthread_rwlock_unlock(&c->lock);
    return l;
}

int contracts_is_due(const struct contracts *c, int64_t wall_s)
{
    return wall_s >= c->next_s || atomic_load(&c->is_stale);
}

void contracts_note_sites(struct contracts *c)
{
    atomic_store(&c->is_stale, 1);
}

/* ---- sites ----------------------------------------------------------------------------------- */

static int has_bit(const uint64_t *sites, int i_site)
{
    return i_site >= 0 && (sites[i_site / 64] >> (i_site % 64) & 1);
}

int contract_is_at(const struct live_tranche *t, int i_site)
{
    return has_bit(t->sites, i_site);
}

/* What it can use for serving, on its own basis; POWER_UNKNOWN. */
static int64_t free_w(const struct sites *sites, int i, int64_t wall_s)
{
    const struct site_terms *t = sites_terms(sites, i);

    return t ? power_free_w(power_at(t->power, t->n_power, wall_s)) : 0;
}

/* Those of a tranche. */
static int sites_of(const struct sites *sites, const struct live_tranche *t, int64_t wall_s,
                    struct entitlement_site ret[SITES_EVER_MAX], int ret_i[SITES_EVER_MAX])
{
    int n = 0;

    for (int i = 0; i < SITES_EVER_MAX; i++) {
        if (!contract_is_at(t, i) || !sites_terms(sites, i))
            continue;
        ret_i[n] = i;
        ret[n++] = (struct entitlement_site){free_w(sites, i, wall_s), sites_factor(sites, i)};
    }
    return n;
}

/* Watts of a site that are of contracts, and of these what they do not lend. */
struct sold {
    int64_t watts, unlent;
};

/* A tranche's watts are spread over its sites by their own. */
static void add_sold(const struct sites *sites, struct sold sold[SITES_EVER_MAX],
                     const struct live_contract *l, const struct live_tranche *t,
                     const struct entitlement_site *s, const int *i_site, int n)
{
    int64_t all = 0;

    for (int i = 0; i < n; i++)
        all += s[i].watts > 0 ? s[i].watts : 0;
    for (int i = 0; i < n && all; i++) {
        const struct site_terms *terms = sites_terms(sites, i_site[i]);
        int64_t w = power_convert(t->watts, l->power_basis, terms->basis, terms->pue_permille);
        double part = s[i].watts > 0 && w > 0 ? (double)s[i].watts / (double)all : 0;
        sold[i_site[i]].watts += (int64_t)((double)w * part);
        sold[i_site[i]].unlent +=
            (int64_t)((double)w * part * ((double)l->unlent_ppm / CONTRACT_PPM));
    }
}

/* Its sequences, spread over its sites alike. */
static void add_kept(int64_t kept[SITES_EVER_MAX], const struct live_tranche *t, int32_t factor_ppm,
                     const int *i_site, int n)
{
    int64_t all = entitlement_rate(t->concurrency, factor_ppm);

    for (int i = 0; i < n; i++)
        kept[i_site[i]] += (all + n - 1) / n;
}

static void set_rate(const struct live_tranche *t, int32_t factor_ppm, int64_t now_us)
{
    struct tranche_use *u = t->use;
    int64_t rate = entitlement_rate(t->full, factor_ppm);
    int64_t limit = rate * ENTITLEMENT_WINDOW_S / 1000;

    atomic_store(&u->rate, rate);
    if (rate) /* without one nobody asks the bucket */
        quota_limit(&u->tokens, limit > 0 ? limit : 1, now_us);
}

/* What it may borrow follows what it is entitled to now. */
static void set_borrowable(const struct live_contract *l, int64_t now_us)
{
    int64_t rate = 0, limit;

    for (int i = 0; i < l->n; i++)
        rate += atomic_load(&l->tranche[i].use->rate);
    limit = entitlement_borrow_rate(rate, l->borrow_ppm) * ENTITLEMENT_WINDOW_S / 1000;
    if (l->borrow_ppm) /* else nobody asks the bucket */
        quota_limit(&l->use->borrowable, limit > 0 ? limit : 1, now_us);
}

static int32_t share_of(int64_t part, int64_t whole)
{
    double share = whole > 0 ? (double)part / (double)whole : 0;

    return share < 1 ? (int32_t)(share * DERATE_ALL) : DERATE_ALL;
}

void contracts_reckon(struct contracts *c, const struct sites *sites, int64_t now_us,
                      int64_t wall_s)
{
    struct entitlement_site s[SITES_EVER_MAX];
    struct sold sold[SITES_EVER_MAX] = {{0}};
    int64_t kept[SITES_EVER_MAX] = {0};
    int i_site[SITES_EVER_MAX];

    for (int i = 0; i < c->n; i++) {
        for (int k = 0; k < c->list[i]->n && !c->list[i]->is_backstop; k++) {
            const struct live_tranche *t = &c->list[i]->tranche[k];
            int n = sites_of(sites, t, wall_s, s, i_site);
            int32_t factor = entitlement_factor(s, n);
            set_rate(t, factor, now_us);
            add_kept(kept, t, factor, i_site, n);
            add_sold(sites, sold, c->list[i], t, s, i_site, n);
        }
        set_borrowable(c->list[i], now_us);
    }
    for (int i = 0; i < SITES_EVER_MAX; i++) {
        int64_t w = i < atomic_load(&sites->n) ? free_w(sites, i, wall_s) : 0;
        atomic_store(&c->kept[i], kept[i] < INT32_MAX ? (int32_t)kept[i] : INT32_MAX);
        atomic_store(&c->sold_ppm[i], share_of(sold[i].watts, w));
        atomic_store(&c->unlent_ppm[i], share_of(sold[i].unlent, w));
    }
}

void contracts_obey(struct contracts *c, const struct sites *sites, int64_t now_us, int64_t wall_s)
{
    pthread_rwlock_rdlock(&c->lock);
    contracts_reckon(c, sites, now_us, wall_s);
    pthread_rwlock_unlock(&c->lock);
}

/* ---- a request ------------------------------------------------------------------------------- */

static void sooner(int64_t *retry_us, int64_t us)
{
    if (us > 0 && (!*retry_us || us < *retry_us))
        *retry_us = us;
}

static int has_seats(const struct live_tranche *t, const struct contract_need *n)
{
    return !t->concurrency || atomic_load(&t->use->n_inside) + n->n_seqs <= t->concurrency;
}

#define SEAT_US 1000000 /* until a sequence more may have a place */

static int has_room(const struct live_tranche *t, struct contract_need *n)
{
    int64_t retry_us;

    if (!atomic_load(&t->use->rate))
        return 0;
    if (!has_seats(t, n)) {
        sooner(&n->retry_us, SEAT_US);
        return 0;
    }
    if (quota_may_take(&t->use->tokens, n->n_tokens, n->now_us, &retry_us))
        return 1;
    sooner(&n->retry_us, retry_us);
    return 0;
}

enum contract_room contract_look(const struct live_contract *l, int i_site, struct contract_need *n)
{
    enum contract_room room = ROOM_NO_TRANCHE;

    if (!has_bit(l->sites, i_site))
        return room;
    for (int i = 0; i < l->n && room != ROOM_THERE; i++) {
        if (contract_is_at(&l->tranche[i], i_site))
            room = has_room(&l->tranche[i], n) ? ROOM_THERE : ROOM_NONE;
    }
    return room;
}

struct tranche_use *contract_buyer(const struct live_contract *l, int i_site)
{
    for (int i = 0; i < l->n; i++) {
        if (contract_is_at(&l->tranche[i], i_site))
            return l->tranche[i].use;
    }
    return NULL;
}

void contracts_note_spent(struct contracts *c, const char *name, int64_t until_s)
{
    pthread_rwlock_rdlock(&c->lock);
    for (int i = 0; i < c->n; i++) {
        if (!strcmp(c->list[i]->use->name, name))
            atomic_store(&c->list[i]->use->spent_until_s, until_s);
    }
    pthread_rwlock_unlock(&c->lock);
}

static int take(const struct live_tranche *t, const struct contract_need *n, struct quota_held *ret)
{
    int64_t retry_us;

    if (!atomic_load(&t->use->rate))
        return -1;
    if (t->concurrency && !quota_widen(&t->use->n_inside, t->concurrency, 0, 1, n->n_seqs))
        return -1;
    if (!t->concurrency)
        atomic_fetch_add(&t->use->n_inside, n->n_seqs);
    if (!quota_take(&t->use->tokens, n->n_tokens, n->now_us, ret, &retry_us))
        return 0;
    quota_leave(&t->use->n_inside, n->n_seqs);
    return -1;
}

struct tranche_use *contract_take(const struct live_contract *l, int i_site,
                                  struct contract_need *n, struct quota_held *ret)
{
    for (int i = 0; i < l->n; i++) {
        if (contract_is_at(&l->tranche[i], i_site) && !take(&l->tranche[i], n, ret))
            return l->tranche[i].use;
    }
    return NULL;
}

/* Millionths of what it has saved up at most. */
static int64_t idle_ppm(const struct tranche_use *u, int64_t now_us)
{
    int64_t left, full_us, limit = atomic_load(&u->tokens.limit);

    if (!atomic_load(&u->rate) || limit <= 0)
        return 0;
    quota_look(&u->tokens, now_us, &left, &full_us);
    return (int64_t)((double)left / (double)limit * DERATE_ALL);
}

struct tranche_use *contracts_lender(struct contracts *c, int i_site, int64_t now_us)
{
    struct tranche_use *best = NULL;
    int64_t most = 0;
    int n;
    uint32_t from = atomic_fetch_add(&c->n_looks, 1);

    pthread_rwlock_rdlock(&c->lock);
    n = c->lender ? c->lender_at[i_site + 1] - c->lender_at[i_site] : 0;
    for (int i = 0; i < n && i < LOOKS; i++) {
        struct tranche_use *u =
            c->lender[c->lender_at[i_site] + (int)((from + (uint32_t)i) % (uint32_t)n)];
        int64_t idle = idle_ppm(u, now_us);
        if (idle > most) {
            most = idle;
            best = u;
        }
    }
    pthread_rwlock_unlock(&c->lock);
    return best;
}

/* ---- looking --------------------------------------------------------------------------------- */

static void view(const struct live_contract *l, struct contract_standing *ret)
{
    const struct contract_use *u = l->use;

    *ret = (struct contract_standing){.basis = l->basis,
                                      .rule = l->rule,
                                      .tokens_paid = atomic_load(&u->tokens_paid),
                                      .tokens_borrowed = atomic_load(&u->tokens_borrowed),
                                      .n_refused = atomic_load(&u->n_refused)};
    for (int i = 0; i < l->n; i++) {
        const struct tranche_use *t = l->tranche[i].use;
        ret->rate += atomic_load(&t->rate);
        ret->full += l->tranche[i].full;
        ret->n_inside += atomic_load(&t->n_inside);
        ret->n_requests += atomic_load(&t->n_requests);
        ret->n_tokens += atomic_load(&t->n_tokens);
        ret->tokens_lent += atomic_load(&t->tokens_lent);
    }
}

int contracts_view(struct contracts *c, const char *name, struct contract_standing *ret)
{
    int r = ERR_NOTFOUND;

    pthread_rwlock_rdlock(&c->lock);
    for (int i = 0; i < c->n && r; i++) {
        if (!strcmp(c->list[i]->use->name, name)) {
            view(c->list[i], ret);
            r = 0;
        }
    }
    pthread_rwlock_unlock(&c->lock);
    return r;
}

int contracts_view_nth(struct contracts *c, int i, char name[CONTRACTS_NAME_MAX],
                       struct contract_standing *ret)
{
    int r = ERR_NOTFOUND;

    pthread_rwlock_rdlock(&c->lock);
    if (i < c->n) {
        memcpy(name, c->list[i]->use->name, CONTRACTS_NAME_MAX);
        view(c->list[i], ret);
        r = 0;
    }
    pthread_rwlock_unlock(&c->lock);
    return r;
}
