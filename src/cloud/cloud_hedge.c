/* Hedging: a second place for a stream that is late, and what that costs. */
#include <string.h>

#include "cloud/cloud_int.h"

void cloud_settle_hedge(struct cloud *c, int64_t n_expected, int64_t n_lost, int was_sent)
{
    pthread_mutex_lock(&c->hedge_lock);
    hedge_settle(&c->hedge, n_expected, n_lost);
    c->tokens_hedged += n_lost;
    c->n_hedges += was_sent;
    pthread_mutex_unlock(&c->hedge_lock);
}

int64_t cloud_hedge_after(const struct cloud *c, const struct cloud_ticket *t, enum tier tier)
{
    struct cloud_offer *of = t->offer;
    int64_t us;

    if (!(c->config.hedge.tiers >> tier & 1))
        return -1;
    if (c->config.hedge.after_us)
        return c->config.hedge.after_us;
    pthread_mutex_lock(&of->lock);
    us = late_us(&of->late);
    pthread_mutex_unlock(&of->lock);
    return us;
}

int cloud_hedge(struct cloud *c, int64_t now_us, const struct cloud_want *w,
                const struct cloud_ticket *t, int64_t n_tokens, struct cloud_ticket *ret)
{
    struct books_row *row = NULL;
    struct err e;
    int may, r;

    if (t->n_tried >= CLOUD_TRIES_MAX || (c->books && !(row = books_take(c->books))))
        return ERR_AGAIN;
    pthread_mutex_lock(&c->hedge_lock);
    may = hedge_take(&c->hedge, n_tokens);
    pthread_mutex_unlock(&c->hedge_lock);
    if (!may) {
        if (row)
            books_give(c->books, row);
        return ERR_AGAIN;
    }
    *ret = (struct cloud_ticket){
        .i_tenant = -1, .i_rate = -1, .tenant = CLOUD_PLATFORM, .prices = t->prices};
    ret->n_tried = t->n_tried;
    memcpy(ret->tried, t->tried, sizeof ret->tried);
    ret->tried[ret->n_tried++] = t->offer->serial;
    ret->grant = t->grant; /* only for the choice */
    r = holds_double(&t->holds, &ret->holds) ? ERR_AGAIN : cloud_route(c, now_us, w, ret, &e);
    ret->grant = NULL;
    if (r) {
        holds_leave(&ret->holds);
        if (row)
            books_give(c->books, row);
        cloud_settle_hedge(c, n_tokens, 0, 0);
        return ERR_AGAIN;
    }
    ret->i_tenant = t->i_tenant;
    ret->row = row;
    ret->n_hedged = n_tokens;
    return 0;
}

void cloud_hedge_failed(struct cloud_ticket *t, const struct cloud_ticket *hedge)
{
    t->tried[t->n_tried++] = hedge->offer->serial; /* there was room for one */
}

void cloud_hedge_swap(struct cloud_ticket *t, struct cloud_ticket *hedge, int64_t waited_us)
{
    struct cloud_ticket was = *t;

    pthread_mutex_lock(&was.offer->lock);
    late_add(&was.offer->late, waited_us);
    pthread_mutex_unlock(&was.offer->lock);
    atomic_fetch_sub(&was.offer->n_entitled, t->claim.n_there); /* it goes with it */
    atomic_fetch_add(&hedge->offer->n_entitled, t->claim.n_there);
    atomic_fetch_sub(&was.offer->n_lent[t->asked.tier], t->claim.n_lent_there);
    atomic_fetch_add(&hedge->offer->n_lent[t->asked.tier], t->claim.n_lent_there);
    t->offer = hedge->offer;
    t->breaker_turn = hedge->breaker_turn;
    t->key = hedge->key;
    t->is_noted = hedge->is_noted;
    t->is_keys_fault = hedge->is_keys_fault;
    t->tried[t->n_tried++] = was.offer->serial; /* there was room for one, or there was no hedge */
    hedge->offer = was.offer;
    hedge->breaker_turn = was.breaker_turn;
    hedge->key = was.key;
    hedge->is_noted = was.is_noted;
    hedge->is_keys_fault = was.is_keys_fault;
}
