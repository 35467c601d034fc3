/* What contracts do for requests: at whose offers they are served first, in which order, and by
 * what price. */
#include <stdio.h>
#include <string.h>

#include "base/put.h"
#include "cloud/asked_price.h"
#include "cloud/cloud_int.h"

#define TAKES           3 /* where others are quicker */
#define BORROW_RETRY_US INT64_C(1000000)

/* What is within a contract is paid by its fee. */
static const struct price paid_by_fee = {
    .tier = -1, .cache_read = -1, .cache_write = -1, .reasoning = -1};

int cloud_sync_contracts(struct cloud *c, int64_t now_us, int is_new, struct err *e)
{
    struct contracts_source s = {.store = c->store,
                                 .sites = &c->sites,
                                 .currency = c->config.currency,
                                 .now_us = now_us,
                                 .wall_s = cloud_wall_s(c, now_us)};

    int64_t stamp = c->contracts.stamp;
    int is_due = contracts_is_due(&c->contracts, s.wall_s);

    if (!is_new && !is_due)
        return 0;
    if (is_new && accounts_contracts_stamp(c->store, &stamp, e))
        return e->code;
    if (!is_due && stamp == c->contracts.stamp)
        return 0;
    offers_local_sites(&c->offers, s.local_sites);
    if (contracts_sync(&c->contracts, &s, e))
        return e->code;
    c->contracts.stamp = stamp; /* one that came meanwhile is read once more */
    cloud_obey(c);              /* how many places are kept */
    return 0;
}

void cloud_claim_begin(struct cloud *c, struct cloud_ticket *t)
{
    t->claim.of = contracts_find(&c->contracts, t->tenant);
}

void cloud_claim_end(struct cloud_ticket *t)
{
    contracts_put(t->claim.of);
    t->claim.of = NULL;
}

/* ---- the choice ------------------------------------------------------------------------------ */

struct seeking {
    const struct live_contract *of;
    struct contract_need need;
    struct entitlement_found found;
};

static int has_room(void *arg, int i_site)
{
    struct seeking *s = arg;
    enum contract_room room = contract_look(s->of, i_site, &s->need);

    s->found.n_covered += room != ROOM_NO_TRANCHE;
    s->found.n_room += room == ROOM_THERE;
    return room == ROOM_THERE;
}

/* An offer with room for it, and its part of the tranche there. On failure it has none. */
static int route_within(struct cloud *c, const struct offers_by *by, const struct cloud_want *w,
                        struct seeking *s, struct cloud_ticket *t, struct err *e)
{
    struct offers_by of = *by;
    int r = ERR_AGAIN;

    of.may = has_room;
    of.may_arg = s;
    for (int i = 0; i < TAKES; i++) {
        s->found = (struct entitlement_found){0};
        r = offers_route(&c->offers, w, &of, t, e);
        if (r)
            return r;
        t->claim.tranche = contract_take(s->of, t->offer->i_site, &s->need, &t->claim.held);
        if (t->claim.tranche) {
            t->claim.n_seqs = s->need.n_seqs;
            t->claim.n_tokens = s->need.n_tokens;
            s->found.is_taken = 1;
            return 0;
        }
        offers_note(&c->offers, t, BREAKER_NOTHING, 0, 0, by->now_us);
        offers_put(&c->offers, t->offer);
        t->offer = NULL;
    }
    s->found.n_room = 0; /* others took it */
    return ERR_AGAIN;
}

static int refuse_above(struct cloud_ticket *t, const struct seeking *s, struct err *e)
{
    struct contract_use *u = s->of->use;

    atomic_fetch_add(&u->n_refused, 1);
    t->retry_us = s->need.retry_us;
    return err_set_param(e, ERR_ABOVE_CONTRACT, "quota",
                         "This is more than the contract %.63s entitles to now, and what is above "
                         "it is not served; please try again later.",
                         u->name);
}

/* On what others leave idle, as far as the contract may. */
static int route_borrowed(struct cloud *c, const struct offers_by *by, const struct cloud_want *w,
                          struct seeking *s, struct cloud_ticket *t, struct err *e)
{
    const struct live_contract *l = s->of;
    struct cloud_want idle = *w;
    int r;

    idle.tier = tier_fills(w->tier) ? w->tier : TIER_FLEX;
    if (l->borrow_ppm && quota_take(&l->use->borrowable, s->need.n_tokens, by->now_us,
                                    &t->claim.held, &s->need.retry_us)) {
        t->claim.how = ENTITLED_REFUSED;
        return refuse_above(t, s, e);
    }
    r = offers_route(&c->offers, &idle, by, t, e);
    if (l->borrow_ppm && r)
        quota_settle(&l->use->borrowable, t->claim.held, 0, by->now_us);
    else if (l->borrow_ppm)
        t->claim.n_borrowed = s->need.n_tokens;
    return r;
}

static int is_bought(void *arg, int i_site)
{
    struct seeking *s = arg;
    int is = contract_buyer(s->of, i_site) != NULL;

    s->found.n_covered += is;
    return is;
}

/* In the lowest tier, at a site where it takes what nobody bought. */
static int route_backstop(struct cloud *c, const struct offers_by *by, const struct cloud_want *w,
                          struct seeking *s, struct cloud_ticket *t, struct err *e)
{
    struct offers_by of = *by;
    struct cloud_want last = *w;
    int r;

    of.may = is_bought;
    of.may_arg = s;
    last.tier = TIER_BATCH;
    r = offers_route(&c->offers, &last, &of, t, e);
    if (!s->found.n_covered) /* none of its sites offers the model */
        return offers_route(&c->offers, w, by, t, e);
    t->claim.how = ENTITLED_BACKSTOP;
    if (!r)
        t->claim.buyer = contract_buyer(s->of, t->offer->i_site);
    return r;
}

int cloud_claim_route(struct cloud *c, const struct offers_by *by, const struct cloud_want *w,
                      struct cloud_ticket *t, struct err *e)
{
    const struct live_contract *l = t->claim.of;
    struct seeking s = {.of = l};
    int64_t mean;
    int r;

    t->claim.how = ENTITLED_NOT;
    if (!l)
        return offers_route(&c->offers, w, by, t, e);
    if (l->is_backstop && by->wall_s < atomic_load(&l->use->spent_until_s)) {
        t->claim.how = ENTITLED_REFUSED;
        return refuse_above(t, &s, e);
    }
    if (l->is_backstop)
        return route_backstop(c, by, w, &s, t, e);
    mean = atomic_load(&l->use->mean_output);
    s.need = (struct contract_need){
        .n_tokens =
            entitlement_tokens(l->input_ppm, w->n_prompt, entitlement_expect(w->n_output, mean)),
        .n_seqs = w->n_seqs > 0 ? w->n_seqs : 1,
        .now_us = by->now_us};
    r = route_within(c, by, w, &s, t, e);
    t->claim.how = entitlement_decide(&s.found, l->rule);
    switch (t->claim.how) {
    case ENTITLED_REFUSED: /* where there was room, none of the offers can take it, and e says why
                            */
        return s.found.n_room ? r : refuse_above(t, &s, e);
    case ENTITLED_BORROWED:
        return route_borrowed(c, by, w, &s, t, e);
    case ENTITLED_NOT:
    case ENTITLED_PAID:
        return offers_route(&c->offers, w, by, t, e);
    default:
        return 0;
    }
}

int cloud_goes_first(const struct cloud_ticket *t)
{
    return t->claim.how == ENTITLED_WITHIN && !tier_fills((enum tier)t->asked.tier);
}

/* ---- at the offer ---------------------------------------------------------------------------- */

/* Its tier may have no more of what is lent there. */
static int refuse_borrow(struct cloud *c, struct cloud_ticket *t, struct err *e)
{
    atomic_fetch_add(&c->refused_borrow, 1);
    t->offer_is_full = 1;
    t->retry_us = BORROW_RETRY_US;
    return err_set_param(e, ERR_QUEUE_FULL, "queue",
                         "The tier %s may borrow no more of what contracts leave idle now; please "
                         "try again soon.",
                         tier_name((enum tier)t->asked.tier));
}

/* It is counted at its offer, unless its tier has all that it may. */
static int count_lent(struct cloud *c, struct cloud_ticket *t, const struct load *load,
                      int64_t sold, struct err *e)
{
    int tier = t->asked.tier;
    struct cloud_offer *of = t->offer;
    int32_t max;

    if (!(c->config.borrow.tiers >> tier & 1))
        return 0;
    max = entitlement_borrowable(
        entitlement_lendable(load->capacity, sold,
                             atomic_load(&c->contracts.unlent_ppm[of->i_site])),
        c->config.borrow.ppm[tier]);
    if (atomic_fetch_add(&of->n_lent[tier], t->holds.n_seqs) + t->holds.n_seqs > max) {
        atomic_fetch_sub(&of->n_lent[tier], t->holds.n_seqs);
        return refuse_borrow(c, t, e);
    }
    t->claim.n_lent_there = t->holds.n_seqs;
    return 0;
}

/* Does it use what is sold and left idle? */
static int look_whether_lent(struct cloud *c, struct cloud_ticket *t, struct err *e)
{
    struct cloud_offer *of = t->offer;
    struct load load;
    int64_t sold;
    int r;

    t->claim.is_lent = t->claim.how == ENTITLED_BORROWED;
    t->claim.lender = NULL;
    if (of->i_site < 0 || t->claim.how == ENTITLED_PAID)
        return 0;
    sold = atomic_load(&c->contracts.sold_ppm[of->i_site]);
    if (!sold && !t->claim.is_lent)
        return 0;
    offers_load(&c->offers, of, &load);
    t->claim.is_lent |= entitlement_is_lent(
        load.capacity, sold, load.n_inside - atomic_load(&of->n_entitled), t->holds.n_seqs);
    if (!t->claim.is_lent)
        return 0;
    if (t->claim.how == ENTITLED_BACKSTOP) /* it has what nobody bought, and no more */
        return refuse_borrow(c, t, e);
    r = sold ? count_lent(c, t, &load, sold, e) : 0;
    if (!r)
        t->claim.lender = contracts_lender(&c->contracts, of->i_site, atomic_load(&c->seen_us));
    return r;
}

int cloud_claim_admit(struct cloud *c, struct cloud_ticket *t, struct err *e)
{
    if (t->claim.how != ENTITLED_WITHIN)
        return look_whether_lent(c, t, e);
    t->claim.n_there = t->holds.n_seqs;
    atomic_fetch_add(&t->offer->n_entitled, t->claim.n_there);
    return 0;
}

static void count(struct cloud_claim *k, int64_t n_prompt, int64_t n_output)
{
    struct contract_use *u = k->of ? k->of->use : NULL;
    int64_t n = n_prompt + n_output;

    if (n && k->lender)
        atomic_fetch_add(&k->lender->tokens_lent, n);
    if (!n || !u)
        return;
    if (k->tranche) {
        atomic_fetch_add(&k->tranche->n_requests, 1);
        atomic_fetch_add(&k->tranche->n_tokens, n);
    }
    if (k->buyer) {
        atomic_fetch_add(&k->buyer->n_requests, 1);
        atomic_fetch_add(&k->buyer->n_tokens, n);
    }
    if (k->how == ENTITLED_PAID)
        atomic_fetch_add(&u->tokens_paid, n);
    if (k->how == ENTITLED_BORROWED)
        atomic_fetch_add(&u->tokens_borrowed, n);
    if (n_output) /* an update that is lost does not matter */
        atomic_store(&u->mean_output, entitlement_mean(atomic_load(&u->mean_output), n_output));
}

void cloud_claim_leave(struct cloud_ticket *t, int64_t n_prompt, int64_t n_output, int64_t now_us)
{
    struct cloud_claim *k = &t->claim;

    count(k, n_prompt, n_output);
    if (k->tranche) {
        quota_settle_risen(&k->tranche->tokens, k->held, k->n_tokens,
                           entitlement_tokens(k->of->input_ppm, n_prompt, n_output), now_us);
        quota_leave(&k->tranche->n_inside, k->n_seqs);
    }
    if (k->n_borrowed)
        quota_settle_risen(&k->of->use->borrowable, k->held, k->n_borrowed,
                           entitlement_tokens(k->of->input_ppm, n_prompt, n_output), now_us);
    if (k->n_there)
        atomic_fetch_sub(&t->offer->n_entitled, k->n_there);
    if (k->n_lent_there)
        atomic_fetch_sub(&t->offer->n_lent[t->asked.tier], k->n_lent_there);
    *k = (struct cloud_claim){.of = k->of};
}

/* ---- money ----------------------------------------------------------------------------------- */

const struct price *cloud_sell_price(const struct cloud_ticket *t, const char *model,
                                     const char *supplier, enum tier tier, int64_t at_s)
{
    if (t->claim.how == ENTITLED_WITHIN || t->claim.how == ENTITLED_BACKSTOP)
        return &paid_by_fee;
    if (t->claim.how == ENTITLED_PAID)
        return &t->claim.of->price;
    return asked_price(t->prices, PRICE_SELL, model, supplier, tier, at_s);
}

const char *cloud_claim_currency(const struct cloud *c, const struct cloud_ticket *t)
{
    if (c->config.currency || t->claim.how != ENTITLED_PAID)
        return c->config.currency;
    return t->claim.of->currency;
}

void cloud_claim_book(const struct cloud_ticket *t, struct books_row *r)
{
    const struct cloud_claim *k = &t->claim;
    const struct tranche_use *of = k->tranche ? k->tranche : k->buyer ? k->buyer : k->lender;
    int is_own = k->how == ENTITLED_PAID || k->how == ENTITLED_BORROWED;

    put_text(r->contract, sizeof r->contract, of ? of->contract : is_own ? k->of->use->name : "");
    put_text(r->tranche, sizeof r->tranche, of ? of->name : "");
    r->lent = k->how == ENTITLED_BACKSTOP ? BOOKS_LENT_BACKSTOP
              : k->how == ENTITLED_PAID   ? BOOKS_LENT_PAID
              : k->is_lent                ? BOOKS_LENT_BORROWED
                                          : BOOKS_LENT_OWN;
}

/* ---- looking --------------------------------------------------------------------------------- */

char *cloud_claim_text(const struct cloud_ticket *t, char ret[CLOUD_CLAIM_MAX])
{
    const struct cloud_claim *k = &t->claim;

    *ret = 0;
    if (k->buyer)
        snprintf(ret, CLOUD_CLAIM_MAX, "%s/%s", k->buyer->contract, k->buyer->name);
    else if (k->how == ENTITLED_WITHIN && k->tranche)
        snprintf(ret, CLOUD_CLAIM_MAX, "%s/%s", k->tranche->contract, k->tranche->name);
    else if (k->of && k->how > ENTITLED_WITHIN && k->how < ENTITLED_BACKSTOP)
        snprintf(ret, CLOUD_CLAIM_MAX, "%s; spillover=%s", k->of->use->name,
                 entitlement_how_name(k->how));
    return ret;
}

const char *cloud_claim_lender(const struct cloud_ticket *t)
{
    return t->claim.lender ? t->claim.lender->contract : "";
}

static int to_view(int r, const char *name, const struct contract_standing *s,
                   struct cloud_contract_view *ret)
{
    if (r)
        return r;
    *ret = (struct cloud_contract_view){.basis = entitlement_basis_name(s->basis),
                                        .spillover = s->rule == SPILL_PAY      ? "pay"
                                                     : s->rule == SPILL_BORROW ? "borrow"
                                                                               : "reject",
                                        .rate = s->rate,
                                        .full = s->full,
                                        .n_inside = s->n_inside,
                                        .n_requests = s->n_requests,
                                        .n_refused = s->n_refused,
                                        .tokens = s->n_tokens,
                                        .tokens_paid = s->tokens_paid,
                                        .tokens_borrowed = s->tokens_borrowed,
                                        .tokens_lent = s->tokens_lent};
    put_text(ret->name, sizeof ret->name, name);
    return 0;
}

void cloud_note_spent(struct cloud *c, const char *contract, int64_t until_s)
{
    contracts_note_spent(&c->contracts, contract, until_s);
}

int cloud_view_contract(struct cloud *c, const char *name, struct cloud_contract_view *ret)
{
    struct contract_standing s;

    return to_view(contracts_view(&c->contracts, name, &s), name, &s, ret);
}

int cloud_view_nth_contract(struct cloud *c, int i, struct cloud_contract_view *ret)
{
    char name[CONTRACTS_NAME_MAX];
    struct contract_standing s;

    return to_view(contracts_view_nth(&c->contracts, i, name, &s), name, &s, ret);
}
