/* What a request becomes in the books: its price, its row, and the entry in the log of answers that
 * this row will be. */
#include <pthread.h>
#include <string.h>

#include "base/put.h"
#include "cloud/asked_price.h"
#include "cloud/carbon.h"
#include "cloud/cloud_int.h"

static void put_name(char *to, size_t cap, const char *from)
{
    put_text(to, cap, from ? from : "");
}

/* What a side of it is about: tokens that were delivered are sold, those that are owed were bought.
 */
struct usage cloud_used(const struct cloud_use *u, enum price_side side)
{
    if (side == PRICE_BUY && u->owed)
        return *u->owed;
    return (struct usage){.prompt_tokens = u->prompt_tokens,
                          .cached_tokens = u->cached_tokens,
                          .cache_write_tokens = u->cache_write_tokens,
                          .completion_tokens = u->completion_tokens,
                          .reasoning_tokens = u->reasoning_tokens,
                          .energy = u->energy};
}

/* What one side of it costs, in the price's own currency; -1: there is no price. Nothing costs
 * nothing. */
int64_t cloud_price_side(const struct cloud_ticket *t, enum price_side side,
                         const struct cloud_use *u, const struct price **ret)
{
    const char *id = u->supplier ? u->supplier : "";
    struct usage use = cloud_used(u, side);
    struct usage_buckets b = usage_buckets(&use);

    *ret = NULL;
    if (!use.prompt_tokens && !use.completion_tokens)
        return 0;
    *ret = side == PRICE_SELL
               ? cloud_sell_price(t, u->model ? u->model : "", id, u->tier, u->at_us / 1000000)
               : asked_price(t->prices, side, u->model ? u->model : "", id, u->tier,
                             u->at_us / 1000000);
    if (!*ret && side == PRICE_BUY && asked_is_local(id))
        return 0;
    return *ret ? price_amount(*ret, &b, use.energy.method ? use.energy.uj : -1) : -1;
}

void cloud_receipt(const struct cloud *c, const struct cloud_ticket *t, const struct cloud_use *u,
                   struct receipt *ret)
{
    const struct price *p;

    *ret = (struct receipt){.energy = u->energy,
                            .charge_nano = cloud_price_side(t, PRICE_SELL, u, &p),
                            .currency = cloud_claim_currency(c, t)};
}

static void put_price(const struct cloud *c, const struct cloud_ticket *t,
                      const struct cloud_use *u, struct books_row *r)
{
    const struct price *p;

    r->charge_nano = t->n_hedged ? 0 : cloud_price_side(t, PRICE_SELL, u, &p);
    r->cost_nano = cloud_price_side(t, PRICE_BUY, u, &p);
    r->cost_own_nano = 0;
    r->cost_currency[0] = 0;
    if (p && *p->currency && r->cost_nano >= 0) {
        put_name(r->cost_currency, sizeof r->cost_currency, p->currency);
        r->cost_own_nano = r->cost_nano;
        r->cost_nano = asked_exchange(t->prices, p, r->cost_own_nano, u->at_us / 1000000);
    }
    put_name(r->currency, sizeof r->currency, cloud_claim_currency(c, t));
}

static void put_lost(const struct cloud_use *u, const struct usage *owed, struct books_row *r)
{
    r->lost_prompt_tokens = owed->prompt_tokens - u->prompt_tokens;
    r->lost_cached_tokens = owed->cached_tokens - u->cached_tokens;
    r->lost_completion_tokens = owed->completion_tokens - u->completion_tokens;
}

static void put_energy(const struct energy *e, struct books_row *r)
{
    if (!e->method)
        return; /* the row says unknown */
    r->energy_uj = e->uj;
    r->energy_boundary = (int)e->boundary;
    r->energy_method = (int)e->method;
    r->energy_uncertainty = e->uncertainty_permille;
}

/* Where it was served, and what its energy has emitted there: the grid feeds the whole facility, so
 * what was measured inside counts as often as the site's PUE says. Unknown where one of the two is.
 */
static void put_site(struct cloud *c, const struct cloud_ticket *t, struct books_row *r)
{
    int i = t->offer ? t->offer->i_site : -1;
    int32_t pue = sites_pue(&c->sites, i);
    int64_t *const to[CARBON_BASES] = {&r->carbon_location_ug, &r->carbon_market_ug};
    int64_t uj = r->energy_uj;

    put_name(r->site, sizeof r->site, t->offer ? cloud_offer_site(c, t->offer) : NULL);
    if (pue && r->energy_boundary != ENERGY_FACILITY)
        uj = carbon_facility_uj(uj, pue);
    for (int b = 0; b < CARBON_BASES; b++)
        *to[b] = r->energy_method == ENERGY_UNKNOWN
                     ? CARBON_UNKNOWN
                     : carbon_ug(uj, sites_mg_per_kwh(&c->sites, i, (enum carbon_basis)b,
                                                      r->at_us / 1000000));
}

static void put_evidence(const struct cloud_ticket *t, const struct cloud_use *u,
                         struct books_row *r)
{
    const struct cloud_evidence *v = u->evidence;

    if (t->prices)
        put_name(r->price_book, sizeof r->price_book, t->prices->id);
    if (!v)
        return;
    put_name(r->weights, sizeof r->weights, v->weights);
    put_name(r->engine, sizeof r->engine, v->engine);
    put_name(r->sampling, sizeof r->sampling, v->sampling);
    put_name(r->prompt_hash, sizeof r->prompt_hash, v->prompt_hash);
    put_name(r->output_hash, sizeof r->output_hash, v->output_hash);
}

/* All of a row that books_take has not filled in. What it says is decided by its arguments. */
void cloud_put_row(struct cloud *c, const struct cloud_ticket *t, const struct cloud_use *u,
                   const struct usage *owed, struct books_row *r)
{
    r->at_us = u->at_us;
    r->prompt_tokens = u->prompt_tokens;
    r->cached_tokens = u->cached_tokens;
    r->completion_tokens = u->completion_tokens;
    r->cache_write_tokens = u->cache_write_tokens;
    r->reasoning_tokens = u->reasoning_tokens;
    r->usage_state = (int)u->usage_state;
    r->tier = (int)u->tier;
    put_energy(&u->energy, r);
    put_lost(u, owed, r);
    put_price(c, t, u, r);
    r->status = u->status;
    put_name(r->request_id, sizeof r->request_id, u->request_id);
    put_name(r->tenant, sizeof r->tenant, t->tenant);
    put_name(r->key_id, sizeof r->key_id, t->key_id);
    put_name(r->team, sizeof r->team, t->grant ? t->grant->team : NULL);
    put_name(r->labels, sizeof r->labels, t->grant ? t->grant->labels : NULL);
    put_name(r->model, sizeof r->model, u->model);
    put_name(r->supplier, sizeof r->supplier, u->supplier);
    put_site(c, t, r);
    cloud_claim_book(t, r);
    put_evidence(t, u, r);
}

const char *cloud_salt(const struct cloud_ticket *t)
{
    return t->row && *t->row->salt ? t->row->salt : NULL;
}

int cloud_leaf(struct cloud *c, const struct cloud_ticket *t, const struct cloud_use *u,
               char ret[BOOKS_HEX(TREE_HASH)])
{
    struct usage owed = cloud_used(u, PRICE_BUY);
    unsigned char leaf[TREE_HASH];
    struct books_row r;

    if (!cloud_salt(t))
        return 0;
    r = *t->row;
    cloud_put_row(c, t, u, &owed, &r);
    books_leaf(&r, leaf);
    put_bytes(leaf, sizeof leaf, ret);
    return 1;
}

/* Under the lock, with a ledger that is open; 0 or why not, and then the lock is not held. */
static int lock_proofs(struct cloud *c, struct err *e)
{
    int r = 0;

    if (!c->books)
        return err_set(e, ERR_NOTFOUND, "this server has no ledger, and so no receipts");
    pthread_mutex_lock(&c->proofs_lock);
    if (!c->proofs)
        r = books_reader_open(&c->proofs, c->config.ledger_path, e);
    if (r)
        pthread_mutex_unlock(&c->proofs_lock);
    return r;
}

int cloud_proof(struct cloud *c, const char *request_id, struct proof *ret, struct err *e)
{
    int r = lock_proofs(c, e);

    if (r)
        return r;
    r = books_proof(c->proofs, request_id, ret, e);
    pthread_mutex_unlock(&c->proofs_lock);
    return r;
}

int cloud_growth(struct cloud *c, int64_t since, struct tree_growth *ret, struct err *e)
{
    int r = lock_proofs(c, e);

    if (r)
        return r;
    r = books_growth(c->proofs, since, ret, e);
    pthread_mutex_unlock(&c->proofs_lock);
    return r;
}
