#include "cloud/offers.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/log.h"
#include "cloud/asked_energy.h"
#include "cloud/asked_price.h"
#include "cloud/directory.h"
#include "cloud/route_record.h"
#include "policy/derate.h"

_Static_assert(CLOUD_OFFERS_MAX <= 64 && CLOUD_OFFERS_MAX <= ROUTE_OFFERS_MAX,
               "a bit for each slot, and each offer a row of one question");

void offers_init(struct offers *o, struct sites *sites, const struct retry_limits *l)
{
    o->sites = sites;
    o->retry_limits = *l;
    pthread_mutex_init(&o->retry_lock, NULL);
    shares_init(&o->shares);
    pthread_rwlock_init(&o->lock, NULL);
}

void offers_done(struct offers *o)
{
    while (o->n_offers)
        CHECK(!offers_remove(o, o->offer[0]->sup));
    CHECK(!o->slots);
    pthread_mutex_destroy(&o->retry_lock);
    shares_done(&o->shares);
    pthread_rwlock_destroy(&o->lock);
}

/* ---- coming and going ------------------------------------------------------------------------ */

/* Under the lock. -1: there is no model of that name. */
static int find_model(const struct offers *o, const char *name)
{
    for (int i = 0; i < o->n_models; i++) {
        for (int k = 0; k < o->models[i].n_names; k++) {
            if (!strcmp(o->models[i].names[k], name))
                return i;
        }
    }
    return -1;
}

static int add_model(struct offers *o, const char *const *names, int n_names, struct err *e)
{
    if (o->n_models >= CLOUD_MODELS_MAX)
        return err_set(e, ERR_LIMIT, "more than %d models", CLOUD_MODELS_MAX);
    for (int i = 0; i < n_names; i++) {
        if (find_model(o, names[i]) >= 0)
            return err_set(e, ERR_EXISTS, "two models have the name '%s'", names[i]);
    }
    o->models[o->n_models].names = names;
    o->models[o->n_models++].n_names = n_names;
    return 0;
}

int offers_add_model(struct offers *o, const char *const *names, int n_names, int *ret_model,
                     struct err *e)
{
    int r;

    CHECK(n_names >= 1);
    pthread_rwlock_wrlock(&o->lock);
    r = add_model(o, names, n_names, e);
    if (!r)
        *ret_model = o->n_models - 1;
    pthread_rwlock_unlock(&o->lock);
    return r;
}

static int check_print(const struct offers *o, int i_model, const char *fingerprint,
                       int64_t n_tokens, struct err *e)
{
    int n = 0;

    for (int i = 0; i < o->n_offers; i++) {
        struct supplier *s = o->offer[i]->sup;
        struct load load;
        if (o->offer[i]->i_model != i_model)
            continue;
        s->ops->load(s, &load);
        if (load.state != SUPPLIER_READY)
            return err_set(e, ERR_LOADING, "The model is not loaded here yet.");
        if (!s->ops->facts(s)->reads_prompts || s->ops->facts(s)->relays)
            continue;
        if (strcmp(s->ops->facts(s)->fingerprint, fingerprint) != 0)
            return err_set(e, ERR_UNSUPPORTED,
                           "This server computes the model with other weights, another class or KV "
                           "type, or in another version: %s, not %.40s.",
                           s->ops->facts(s)->fingerprint, fingerprint);
        if (s->ops->facts(s)->context < n_tokens)
            return err_set(e, ERR_CONTEXT,
                           "The answer may come to %lld tokens, and the context here is %d.",
                           (long long)n_tokens, s->ops->facts(s)->context);
        n++;
    }
    return n ? 0 : err_set(e, ERR_UNSUPPORTED, "This server does not compute the model itself.");
}

int offers_check_print(struct offers *o, const char *model, const char *fingerprint,
                       int64_t n_tokens, struct err *e)
{
    int i, r;

    pthread_rwlock_rdlock(&o->lock);
    i = find_model(o, model);
    r = i < 0 ? api_err_model(e, model) : check_print(o, i, fingerprint, n_tokens, e);
    pthread_rwlock_unlock(&o->lock);
    return r;
}

int offers_find_model(struct offers *o, const char *name, int *ret_model, struct err *e)
{
    int i;

    pthread_rwlock_rdlock(&o->lock);
    i = find_model(o, name);
    pthread_rwlock_unlock(&o->lock);
    if (i < 0)
        return api_err_model(e, name);
    *ret_model = i;
    return 0;
}

/* Under the lock: the place of the supplier's offer, or n_offers. */
static int find_offer(const struct offers *o, const struct supplier *s)
{
    int i = 0;

    while (i < o->n_offers && o->offer[i]->sup != s)
        i++;
    return i;
}

static int add(struct offers *o, struct cloud_offer *of, struct err *e)
{
    int slot = 0;

    CHECK(of->i_model >= 0 && of->i_model < o->n_models);
    if (find_offer(o, of->sup) < o->n_offers)
        return err_set(e, ERR_EXISTS, "the supplier %s is on offer", of->sup->id);
    while (slot < CLOUD_OFFERS_MAX && o->slots >> slot & 1)
        slot++;
    if (slot == CLOUD_OFFERS_MAX)
        return err_set(e, ERR_LIMIT, "more than %d offers", CLOUD_OFFERS_MAX);
    of->slot = slot;
    of->serial = of->place = ++o->n_ever;
    o->slots |= UINT64_C(1) << slot;
    o->offer[o->n_offers++] = of;
    return 0;
}

static void set_shares(struct offers *o, struct cloud_offer *of)
{
    const struct supplier *s = of->sup;
    const struct supplier_terms *t = &s->terms;

    of->i_share = shares_find(&o->shares, 's', s->id, strcspn(s->id, "/"));
    of->i_owner_share = t->owner ? shares_find(&o->shares, 'o', t->owner, strlen(t->owner)) : -1;
    if (t->max_share || t->owner_max_share)
        atomic_store(&o->has_limits, 1);
}

int offers_add(struct offers *o, int i_model, struct supplier *s, struct err *e)
{
    int i_site = s->terms.site ? sites_find(o->sites, s->terms.site) : -1;
    struct cloud_offer *of = calloc(1, sizeof *of);
    int r;

    if (!of)
        return err_set(e, ERR_NOMEM, "out of memory");
    CHECK(!s->terms.site || i_site >= 0); /* the configuration was checked */
    of->i_site = i_site;
    of->sup = s;
    of->key = route_key(s->id);
    set_shares(o, of);
    of->i_model = i_model;
    pthread_mutex_init(&of->lock, NULL);
    atomic_store(&of->n_holders, 1); /* the table */
    pthread_rwlock_wrlock(&o->lock);
    r = add(o, of, e);
    pthread_rwlock_unlock(&o->lock);
    if (r) {
        pthread_mutex_destroy(&of->lock);
        free(of);
    }
    return r;
}

void offers_place(struct offers *o, const struct supplier *s)
{
    int i;

    pthread_rwlock_wrlock(&o->lock);
    i = find_offer(o, s);
    if (i < o->n_offers)
        o->offer[i]->place = ++o->n_ever;
    pthread_rwlock_unlock(&o->lock);
}

int offers_remove(struct offers *o, const struct supplier *s)
{
    struct cloud_offer *of = NULL;
    int i;

    pthread_rwlock_wrlock(&o->lock);
    i = find_offer(o, s);
    if (i < o->n_offers) {
        of = o->offer[i];
        o->n_offers--;
        memmove(&o->offer[i], &o->offer[i + 1], (size_t)(o->n_offers - i) * sizeof *o->offer);
    }
    pthread_rwlock_unlock(&o->lock);
    offers_put(o, of);
    return of ? 0 : ERR_NOTFOUND;
}

void offers_put(struct offers *o, struct cloud_offer *of)
{
    struct supplier *s;

    if (!of || atomic_fetch_sub(&of->n_holders, 1) > 1)
        return;
    pthread_rwlock_wrlock(&o->lock);
    o->slots &= ~(UINT64_C(1) << of->slot);
    pthread_rwlock_unlock(&o->lock);
    s = of->sup;
    pthread_mutex_destroy(&of->lock);
    free(of);
    if (s->ops->gone)
        s->ops->gone(s);
}

/* ---- breakers -------------------------------------------------------------------------------- */

/* The engine of this process tells by its load how it is. */
static int has_breaker(const struct cloud_offer *of)
{
    return !of->sup->ops->engine;
}

/* May a request be sent there now? */
struct stance {
    int64_t not_before_us; /* 0: yes; else not before this time */
    enum breaker_why why;  /* and why not */
};

static struct stance stance(struct cloud_offer *of, int64_t now_us)
{
    struct breaker_view v = {.may_take = 1};
    struct stance s = {0};

    if (!has_breaker(of))
        return s;
    pthread_mutex_lock(&of->lock);
    breaker_look(&of->breaker, &breaker_usual, now_us, &v);
    if (!v.may_take) {
        s.not_before_us = v.not_before_us > now_us ? v.not_before_us : now_us + 1;
        s.why = of->breaker.why;
    }
    pthread_mutex_unlock(&of->lock);
    if (of->sup->keys) {
        enum breaker_why why;
        int64_t at = credentials_look(of->sup->keys, now_us, &why);
        if (at > s.not_before_us)
            s = (struct stance){at, why};
    }
    return s;
}

/* Take a place there. -1: others have taken what there was. One that is only slow is better than
 * none: anyway. */
static int take(struct cloud_offer *of, int anyway, struct cloud_ticket *t, int64_t now_us)
{
    struct credential_use key = {.i = -1};
    int32_t turn = 0;

    if (of->sup->keys && credentials_take(of->sup->keys, now_us, &key))
        return -1;
    if (has_breaker(of)) {
        pthread_mutex_lock(&of->lock);
        turn = breaker_take(&of->breaker, &breaker_usual, now_us);
        pthread_mutex_unlock(&of->lock);
    }
    if (turn < 0 && !anyway) {
        if (of->sup->keys)
            credentials_note(of->sup->keys, &key, BREAKER_NOTHING, 0, now_us);
        return -1;
    }
    t->offer = of;
    t->breaker_turn = turn;
    t->key = key;
    t->is_noted = t->is_keys_fault = 0;
    return 0;
}

/* A running mean; a lost update does not matter. */
static void add_first(struct cloud_offer *of, int64_t first_us, int64_t now_us)
{
    int64_t mean = atomic_load(&of->first_us);

    atomic_store(&of->first_us, mean ? mean + (first_us - mean) / 8 : first_us > 0 ? first_us : 1);
    atomic_store(&of->measured_us, now_us);
    pthread_mutex_lock(&of->lock);
    late_add(&of->late, first_us);
    pthread_mutex_unlock(&of->lock);
}

/* How long a first content takes with the quickest of the model's other offers; 0: not known. */
static int64_t usual_first(struct offers *o, const struct cloud_offer *of)
{
    int64_t best = 0;

    pthread_rwlock_rdlock(&o->lock);
    for (int i = 0; i < o->n_offers; i++) {
        int64_t us = atomic_load(&o->offer[i]->first_us);
        if (o->offer[i] != of && o->offer[i]->i_model == of->i_model && us && (!best || us < best))
            best = us;
    }
    pthread_rwlock_unlock(&o->lock);
    return best;
}

/* A key that is refused, or asked for less with, is left alone, and not the supplier. */
static void note_key(struct cloud_ticket *t, enum breaker_end end, int64_t retry_us, int64_t now_us)
{
    const struct supplier *s = t->offer->sup;

    t->is_keys_fault = end == BREAKER_BUSY || end == BREAKER_KEYLESS;
    if (credentials_note(s->keys, &t->key, end, retry_us, now_us))
        LOG_EVENT(LOG_WARN, "supplier's key", LOG_STR("supplier", s->id),
                  LOG_INT("key", t->key.i + 1),
                  LOG_STR("result", end == BREAKER_BUSY      ? "asked for less"
                                    : end == BREAKER_KEYLESS ? "refused"
                                                             : "works"));
}

void offers_note(struct offers *o, struct cloud_ticket *t, enum breaker_end end, int64_t first_us,
                 int64_t retry_us, int64_t now_us)
{
    struct cloud_offer *of = t->offer;
    struct breaker_note n = {.end = end,
                             .turn = t->breaker_turn,
                             .first_us = first_us,
                             .retry_us = retry_us,
                             .jitter = (uint32_t)now_us * 2654435761u};

    if (of && end == BREAKER_PASSED && first_us >= 0)
        add_first(of, first_us, now_us);
    if (!of || !has_breaker(of) || (end == BREAKER_NOTHING && t->is_noted))
        return;
    if (end == BREAKER_PASSED && first_us > breaker_usual.slow_us)
        n.usual_us = usual_first(o, of);
    t->is_noted = 1;
    if (of->sup->keys) {
        note_key(t, end, retry_us, now_us);
        if (t->is_keys_fault)
            n.end = BREAKER_NOTHING;
    }
    pthread_mutex_lock(&of->lock);
    if (breaker_note(&of->breaker, &breaker_usual, &n, now_us))
        LOG_EVENT(LOG_WARN, "supplier", LOG_STR("supplier", of->sup->id),
                  LOG_STR("breaker", breaker_state_name(of->breaker.state)),
                  LOG_STR("why", breaker_why_name(of->breaker.why)));
    pthread_mutex_unlock(&of->lock);
}

/* ---- retries --------------------------------------------------------------------------------- */

static void count_first(struct offers *o, int i_model, int64_t now_us)
{
    pthread_mutex_lock(&o->retry_lock);
    retry_first(&o->models[i_model].retry, now_us);
    pthread_mutex_unlock(&o->retry_lock);
}

int offers_take_retry(struct offers *o, const struct cloud_ticket *t, int64_t now_us)
{
    struct retry *r = &o->models[t->offer->i_model].retry;
    int may;

    pthread_mutex_lock(&o->retry_lock);
    may = retry_take(r, &o->retry_limits, now_us);
    o->n_retries += may;
    o->n_retries_refused += !may;
    pthread_mutex_unlock(&o->retry_lock);
    return may;
}

void offers_retries(struct offers *o, int64_t *ret_n, int64_t *ret_refused)
{
    pthread_mutex_lock(&o->retry_lock);
    *ret_n = o->n_retries;
    *ret_refused = o->n_retries_refused;
    pthread_mutex_unlock(&o->retry_lock);
}

/* ---- the choice ------------------------------------------------------------------------------ */

static enum route_health health(const struct load *l)
{
    return l->state == SUPPLIER_LOADING  ? ROUTE_LOADING
           : l->state == SUPPLIER_FAILED ? ROUTE_FAILED
           : l->frozen                   ? ROUTE_FROZEN
                                         : ROUTE_READY;
}

/* A model's offers, as policy reads them. */
struct rows {
    struct route_offer row[CLOUD_OFFERS_MAX];
    struct cloud_offer *of[CLOUD_OFFERS_MAX];
    enum breaker_why why[CLOUD_OFFERS_MAX]; /* of those that are left alone */
    int n, n_forbidden; /* those that the request's key has no right to are not among them */
};

/* Where it is: as its site says, or itself. */
static const char *region_of(const struct offers *o, const struct cloud_offer *of)
{
    const struct site_terms *t = sites_terms(o->sites, of->i_site);

    return t && t->region ? t->region : of->sup->terms.region;
}

/* May the request be served there, as its key and the sites say? */
static int may_serve(const struct offers *o, const struct grant *g, const struct cloud_offer *of)
{
    if (!sites_may_serve(o->sites, of->i_site, g ? g->tenant : CLOUD_DEFAULT_TENANT))
        return 0;
    return !g || (grant_has_supplier(g, of->sup->id) &&
                  grant_has_place(g, of->sup->terms.site, region_of(o, of)));
}

int offers_are_for(const struct offers *o, int i_model, const struct grant *g)
{
    int n = 0;

    for (int i = 0; i < o->n_offers; i++) {
        if (o->offer[i]->i_model != i_model)
            continue;
        if (may_serve(o, g, o->offer[i]))
            return 1;
        n++;
    }
    return !n;
}

void offers_load(const struct offers *o, const struct cloud_offer *of, struct load *ret)
{
    of->sup->ops->load(of->sup, ret);
    if (of->i_site >= 0)
        ret->capacity = derate_places(ret->capacity, sites_places(o->sites, of->i_site));
}

static int was_tried(const struct cloud_ticket *t, const struct cloud_offer *of)
{
    for (int i = 0; i < t->n_tried; i++) {
        if (t->tried[i] == of->serial)
            return 1;
    }
    return 0;
}

static int32_t context_of(const struct supplier *s)
{
    const struct supplier_facts *f = s->ops->facts ? s->ops->facts(s) : NULL;

    return f ? f->context : 0;
}

/* Is there a line of our own for its places (cloud/line.h)? */
static int is_capped(const struct supplier *s)
{
    return s->ops->facts && s->ops->facts(s) && s->ops->facts(s)->relays;
}

/* What is known of an offer without the request's price there. */
static struct route_offer lay_row(struct offers *o, struct cloud_offer *of,
                                  const struct cloud_ticket *t, int64_t now_us,
                                  enum breaker_why *ret_why)
{
    struct shares *shares = &o->shares;
    const struct supplier_terms *terms = &of->sup->terms;
    int64_t measured_us = atomic_load(&of->measured_us);
    struct stance s = stance(of, now_us);
    struct route_offer r = {.id = (uint32_t)of->place, .key = of->key};
    struct load load;

    offers_load(o, of, &load);
    r.health = health(&load);
    r.is_closed = !sites_factor(o->sites, of->i_site);
    r.rtt_us = load.rtt_us;
    r.is_tried = was_tried(t, of);
    r.is_over = shares_is_over(shares, of->i_share, terms->max_share, now_us) ||
                shares_is_over(shares, of->i_owner_share, terms->owner_max_share, now_us);
    r.is_slow = s.not_before_us && s.why == BREAKER_SLOW;
    r.wait_us = s.not_before_us && !r.is_slow ? s.not_before_us - now_us : 0;
    *ret_why = s.why;
    r.tiers = terms->tiers ? terms->tiers : ~0u;
    r.lacks = terms->lacks;
    r.residency = terms->residency_bit;
    r.weight = terms->weight;
    r.context = r.health == ROUTE_READY ? context_of(of->sup) : 0;
    r.is_capped = r.health == ROUTE_READY && is_capped(of->sup);
    r.n_waiting = load.n_waiting;
    r.n_running = load.n_running;
    r.capacity = load.capacity;
    r.job_us = atomic_load(&of->job_us);
    r.ttft_us = atomic_load(&of->first_us);
    if (!r.ttft_us) /* without streams the first content is the whole answer */
        r.ttft_us = r.job_us;
    r.ttft_age_us = now_us > measured_us ? now_us - measured_us : 0;
    r.price = r.price_max = -1;
    return r;
}

/* A most for a million tokens, as one for this request. */
static int64_t price_max(const struct supplier_terms *t, const struct cloud_want *w)
{
    int64_t n = w->n_prompt + w->n_output, most;

    if (!t->price_max)
        return -1;
    if (!__builtin_mul_overflow(t->price_max, n, &most))
        return most / 1000000;
    return __builtin_mul_overflow(t->price_max / 1000000, n, &most) ? INT64_MAX : most;
}

/* Is it not known to be in the region of who asks? */
static int is_away(const struct offers *o, const struct cloud_offer *of,
                   const struct cloud_ticket *t, const struct cloud_want *w)
{
    const char *user = w->region ? w->region : t->grant ? t->grant->region : NULL;
    const char *own = region_of(o, of);

    return user && (!own || strcmp(user, own));
}

/* Under the lock. */
static void lay_out(struct offers *o, int i_model, const struct cloud_want *w,
                    const struct offers_by *by, const struct cloud_ticket *t, struct rows *ret)
{
    struct energy_rates energy;

    ret->n = ret->n_forbidden = 0;
    for (int i = 0; i < o->n_offers; i++) {
        struct cloud_offer *of = o->offer[i];
        struct route_offer *r = &ret->row[ret->n];
        if (of->i_model != i_model)
            continue;
        if (!may_serve(o, t->grant, of)) {
            ret->n_forbidden++;
            continue;
        }
        if (by->may && !by->may(by->may_arg, of->i_site))
            continue;
        *r = lay_row(o, of, t, by->now_us, &ret->why[ret->n]);
        r->is_away = is_away(o, of, t, w);
        energy = asked_energy(of);
        r->price = asked_amount(t->prices, o->models[i_model].names[0], of->sup->id, w, &energy,
                                by->wall_s);
        r->price_max = price_max(&of->sup->terms, w);
        ret->of[ret->n++] = of;
    }
}

static int is_of(const struct offers *o, int i_model, const char *name)
{
    for (int i = 0; i < o->models[i_model].n_names; i++) {
        if (!strcmp(o->models[i_model].names[i], name))
            return 1;
    }
    return 0;
}

/* The model's rule, or that of all others. */
static struct cloud_rule rule_of(const struct offers *o, int i_model, const struct cloud_rules *l)
{
    struct cloud_rule any = {0};

    for (int i = 0; l && i < l->n; i++) {
        if (!l->list[i].model)
            any = l->list[i];
        else if (is_of(o, i_model, l->list[i].model))
            return l->list[i];
    }
    return any;
}

static int refuse(const char *model, const struct rows *rows, const struct route_verdict *v,
                  struct err *e)
{
    int all_asked = rows->n > 0;
    unsigned seen = 0;

    for (int i = 0; i < rows->n; i++) {
        seen |= 1u << v[i].why;
        all_asked &= v[i].why == ROUTE_TOO_EARLY && rows->why[i] == BREAKER_ASKED;
    }
    if (all_asked)
        return err_set_param(e, ERR_SUPPLIER_BUSY, "queue",
                             "We're experiencing high traffic right now! Please try again soon.");
    if (seen & 1u << ROUTE_IS_LOADING)
        return err_set_param(e, ERR_LOADING, "model", "Model %.200s is loading.", model);
    if (seen & 1u << ROUTE_IS_FROZEN)
        return err_set_param(e, ERR_FROZEN, "model", "Model %.200s does not answer.", model);
    if (seen & 1u << ROUTE_TOO_EARLY)
        return err_set_param(
            e, ERR_AGAIN, "model",
            "The suppliers of model %.200s have failed; they are tried again soon.", model);
    if (seen & 1u << ROUTE_SITE_CLOSED)
        return err_set_param(e, ERR_SITE_CLOSED, "model",
                             "The sites that offer model %.200s take no new requests now.", model);
    if (seen & 1u << ROUTE_HAS_FAILED)
        return err_set_param(e, ERR_INTERNAL, "model", "Model %.200s could not be loaded.", model);
    if (seen == 1u << ROUTE_LACKS)
        return err_set_param(e, ERR_UNSUPPORTED, "model",
                             "Nobody who offers model %.200s can do what this asks for.", model);
    return err_set_param(e, ERR_AGAIN, "model", "Nobody offers model %.200s now.", model);
}

/* When the first of those that are left alone is tried again; 0: there is none. */
static int64_t come_back(const struct rows *r, const struct route_verdict *v)
{
    int64_t first = 0;

    for (int i = 0; i < r->n; i++) {
        if (v[i].why == ROUTE_TOO_EARLY && (!first || r->row[i].wait_us < first))
            first = r->row[i].wait_us;
    }
    return first;
}

static void record(const struct cloud_ticket *t, const struct rows *r, struct buf *out)
{
    const char *names[CLOUD_OFFERS_MAX];

    for (int i = 0; i < r->n; i++)
        names[i] = r->of[i]->sup->id;
    if (out)
        route_record_put(out, &t->asked, r->row, names, r->n);
}

/* Pick one and take a place there; where another request was quicker, the next. */
static int pick(struct rows *rows, struct cloud_ticket *t, struct route_verdict *v, int64_t now_us)
{
    int i;

    for (;;) {
        i = route_pick(&t->asked, rows->row, rows->n, v);
        if (i < 0 || !take(rows->of[i], rows->row[i].is_slow, t, now_us))
            return i;
        rows->row[i].wait_us = 1;
    }
}

int offers_route(struct offers *o, const struct cloud_want *w, const struct offers_by *by,
                 struct cloud_ticket *t, struct err *e)
{
    struct route_verdict v[CLOUD_OFFERS_MAX];
    struct cloud_rule rule;
    struct rows rows;
    int i_model, i = -1;

    CHECK(!t->offer);
    pthread_rwlock_rdlock(&o->lock);
    i_model = find_model(o, w->model);
    if (i_model >= 0) {
        lay_out(o, i_model, w, by, t, &rows);
        rule = rule_of(o, i_model, by->rules);
        t->asked = (struct route_request){
            .strategy = rule.strategy,
            .tier = (int)w->tier,
            .needs = w->needs,
            .residency = rule.residency,
            .n_tokens = w->n_longest,
            .draw = route_draw(atomic_fetch_add(&o->models[i_model].n_draws, 1)),
            .affinity = w->affinity};
        i = pick(&rows, t, v, by->now_us);
        if (i >= 0 || !by->may) /* else it is asked once more, among all */
            record(t, &rows, w->record);
    }
    if (i >= 0)
        atomic_fetch_add(&t->offer->n_holders, 1);
    pthread_rwlock_unlock(&o->lock);
    if (i_model < 0)
        return api_err_model(e, w->model);
    if (i >= 0) {
        if (!t->n_tried)
            count_first(o, i_model, by->now_us);
        return 0;
    }
    if (!rows.n && rows.n_forbidden)
        return err_set_param(e, ERR_FORBIDDEN, "model",
                             "This API key has no right to any supplier of model %.200s.",
                             w->model);
    t->retry_us = come_back(&rows, v);
    return refuse(w->model, &rows, v, e);
}

int offers_has_other(struct offers *o, const struct cloud_ticket *t, int64_t now_us)
{
    int found = 0;

    if (t->n_tried >= CLOUD_TRIES_MAX)
        return 0;
    pthread_rwlock_rdlock(&o->lock);
    for (int i = 0; i < o->n_offers && !found; i++) {
        struct cloud_offer *of = o->offer[i];
        struct route_offer row;
        enum breaker_why why;
        if (of->i_model != t->offer->i_model || !may_serve(o, t->grant, of) ||
            (of == t->offer && !t->is_keys_fault)) /* else it may have another key */
            continue;
        row = lay_row(o, of, t, now_us, &why);
        found = route_may(&t->asked, &row);
    }
    pthread_rwlock_unlock(&o->lock);
    return found;
}

int64_t offers_come_back(struct offers *o, const struct cloud_ticket *t, int64_t retry_us,
                         int64_t now_us)
{
    pthread_rwlock_rdlock(&o->lock);
    for (int i = 0; i < o->n_offers; i++) {
        struct cloud_offer *of = o->offer[i];
        struct stance s = {0};
        if (of->i_model == t->offer->i_model && (of != t->offer || of->sup->keys))
            s = stance(of, now_us);
        if (s.not_before_us && (retry_us <= 0 || s.not_before_us - now_us < retry_us))
            retry_us = s.not_before_us - now_us;
    }
    pthread_rwlock_unlock(&o->lock);
    return retry_us;
}

int offers_have(struct offers *o, const char *fingerprint)
{
    int have = 0;

    pthread_rwlock_rdlock(&o->lock);
    for (int i = 0; i < o->n_offers && !have; i++) {
        const struct supplier *s = o->offer[i]->sup;
        struct load load;
        s->ops->load(s, &load);
        have = load.state == SUPPLIER_READY && s->ops->facts(s)->fingerprint &&
               !strcmp(s->ops->facts(s)->fingerprint, fingerprint);
    }
    pthread_rwlock_unlock(&o->lock);
    return have;
}

void offers_spent(struct offers *o, const struct cloud_offer *of, int64_t cost_nano, int64_t now_us)
{
    if (of && cost_nano > 0 && atomic_load(&o->has_limits))
        shares_add(&o->shares, of->i_share, of->i_owner_share, cost_nano, now_us);
}

/* ---- for people ------------------------------------------------------------------------------ */

static void view_breaker(struct cloud_offer *of, int64_t now_us, struct cloud_offer_view *ret)
{
    struct stance s = stance(of, now_us);
    struct breaker_view v;

    pthread_mutex_lock(&of->lock);
    breaker_look(&of->breaker, &breaker_usual, now_us, &v);
    ret->state = v.state == BREAKER_CLOSED && s.not_before_us ? BREAKER_OPEN : v.state;
    ret->why = s.not_before_us ? s.why : of->breaker.why;
    pthread_mutex_unlock(&of->lock);
    ret->wait_us = s.not_before_us ? s.not_before_us - now_us : 0;
}

int offers_view(struct offers *o, int64_t now_us, int with_here,
                struct cloud_offer_view ret[CLOUD_OFFERS_MAX])
{
    int n = 0;

    pthread_rwlock_rdlock(&o->lock);
    for (int i = 0; i < o->n_offers; i++) {
        struct cloud_offer *of = o->offer[i];
        struct cloud_offer_view *v = &ret[n];
        struct load load;
        if (!has_breaker(of) && !with_here)
            continue;
        *v = (struct cloud_offer_view){.i_model = of->i_model, .is_here = !has_breaker(of)};
        snprintf(v->supplier, sizeof v->supplier, "%s", of->sup->id);
        if (!v->is_here)
            view_breaker(of, now_us, v);
        offers_load(o, of, &load);
        v->readiness = load.state;
        v->is_frozen = load.frozen;
        v->n_running = load.n_running;
        v->n_waiting = load.n_waiting;
        v->capacity = load.capacity;
        n++;
    }
    pthread_rwlock_unlock(&o->lock);
    return n;
}

/* ---- sites ----------------------------------------------------------------------------------- */

void offers_obey(struct offers *o, const _Atomic int32_t kept[SITES_EVER_MAX],
                 const _Atomic int32_t unlent_ppm[SITES_EVER_MAX])
{
    pthread_rwlock_rdlock(&o->lock);
    for (int i = 0; i < o->n_offers; i++) {
        struct cloud_offer *of = o->offer[i];
        if (of->i_site >= 0 && of->sup->ops->derate)
            of->sup->ops->derate(of->sup, sites_places(o->sites, of->i_site));
        if (of->i_site >= 0 && of->sup->ops->keep)
            of->sup->ops->keep(of->sup, atomic_load(&kept[of->i_site]),
                               atomic_load(&unlent_ppm[of->i_site]));
    }
    pthread_rwlock_unlock(&o->lock);
}

void offers_local_sites(struct offers *o, uint64_t ret[SITES_EVER_MAX / 64])
{
    pthread_rwlock_rdlock(&o->lock);
    for (int i = 0; i < o->n_offers; i++) {
        int at = o->offer[i]->i_site;
        if (at >= 0 && asked_is_local(o->offer[i]->sup->id))
            ret[at / 64] |= UINT64_C(1) << (at % 64);
    }
    pthread_rwlock_unlock(&o->lock);
}

void offers_load_site(struct offers *o, int i_site, struct site_load *ret)
{
    struct load load;

    *ret = (struct site_load){0};
    pthread_rwlock_rdlock(&o->lock);
    for (int i = 0; i < o->n_offers; i++) {
        const struct cloud_offer *of = o->offer[i];
        if (of->i_site != i_site)
            continue;
        of->sup->ops->load(of->sup, &load);
        ret->n_suppliers++;
        ret->n_running += load.n_running;
        ret->n_waiting += load.n_waiting;
        ret->n_all += load.capacity;
        ret->n_places += derate_places(load.capacity, sites_places(o->sites, i_site));
    }
    pthread_rwlock_unlock(&o->lock);
}

/* ---- a model as a whole ---------------------------------------------------------------------- */

/* Of two offers the one that says more of how the model is: the lowest health that route knows. */
static void add_load(struct load *sum, const struct load *l)
{
    struct load best = health(l) < health(sum) ? *l : *sum;

    sum->state = best.state;
    sum->frozen = best.frozen;
    sum->progress = l->progress > sum->progress ? l->progress : sum->progress;
    sum->n_waiting += l->n_waiting;
    sum->n_running += l->n_running;
    sum->n_inside += l->n_inside;
    sum->capacity += l->capacity;
    sum->pages_used += l->pages_used;
    sum->n_pages += l->n_pages;
    sum->pages_shared += l->pages_shared;
    sum->pages_free += l->pages_free;
    sum->batch_tokens += l->batch_tokens;
    sum->batch_seqs += l->batch_seqs;
    sum->n_steps += l->n_steps;
    sum->prompt_tokens += l->prompt_tokens;
    sum->cached_tokens += l->cached_tokens;
    sum->generated_tokens += l->generated_tokens;
    sum->preemptions += l->preemptions;
    sum->bytes_read += l->bytes_read;
    sum->draft_tokens += l->draft_tokens;
    sum->draft_accepted += l->draft_accepted;
}

void offers_look(struct offers *o, int i_model, struct cloud_look *ret)
{
    struct load load;

    *ret = (struct cloud_look){.load = {.state = SUPPLIER_FAILED}};
    pthread_rwlock_rdlock(&o->lock);
    for (int i = 0; i < o->n_offers; i++) {
        struct cloud_offer *of = o->offer[i];
        if (of->i_model != i_model)
            continue;
        offers_load(o, of, &load);
        if (!ret->offer || health(&load) < health(&ret->load))
            ret->offer = of;
        if (ret->n_offers++)
            add_load(&ret->load, &load);
        else
            ret->load = load;
    }
    if (ret->offer)
        atomic_fetch_add(&ret->offer->n_holders, 1);
    pthread_rwlock_unlock(&o->lock);
}
