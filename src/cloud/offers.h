/* Models, and who offers them.
 *
 * A model is what clients name: an id and aliases. Its row stays while the process runs. An offer
 * is one supplier's way to serve one model; offers come and go while requests run. Readers look at
 * the table under a read lock, for as long as it takes to ask each supplier how busy it is. A
 * request holds its offer by a count, so an offer that was removed lives until the last request
 * that holds it has ended; then its supplier's `gone` is called.
 *
 * Limits: CLOUD_MODELS_MAX models, CLOUD_OFFERS_MAX offers, removed ones that are still held
 * included. All functions: any thread. */
#ifndef CLOUD_OFFERS_H
#define CLOUD_OFFERS_H

#include <pthread.h>

#include "cloud/cloud.h"
#include "cloud/shares.h"
#include "cloud/sites.h"
#include "policy/retry.h"

struct offers {
    struct sites *sites;
    pthread_rwlock_t lock;      /* rank: a leaf */
    pthread_mutex_t retry_lock; /* of what retries count; rank: a leaf */
    struct retry_limits retry_limits;
    int64_t n_retries, n_retries_refused;
    struct shares shares;
    _Atomic int has_limits; /* somebody may have a share only: then they are counted */
    struct {
        const char *const *names; /* id first, then aliases */
        int n_names;
        struct retry retry;
        _Atomic uint64_t n_draws; /* requests that were routed */
    } models[CLOUD_MODELS_MAX];
    int n_models;
    struct cloud_offer *offer[CLOUD_OFFERS_MAX]; /* on offer now, in the order of their coming */
    int n_offers;
    uint64_t slots; /* a bit for each slot in use, also by offers that were removed */
    uint64_t n_ever;
};

void offers_init(struct offers *o, struct sites *sites, const struct retry_limits *l);
void offers_done(struct offers *o); /* nobody holds an offer any more */

int offers_add_model(struct offers *o, const char *const *names, int n_names, int *ret_model,
                     struct err *e);
int offers_find_model(struct offers *o, const char *name, int *ret_model, struct err *e);
int offers_add(struct offers *o, int i_model, struct supplier *s, struct err *e);
void offers_place(struct offers *o, const struct supplier *s);
int offers_remove(struct offers *o, const struct supplier *s);

/* Choose one of the model of that name that is not among t->tried, and hold it: t->offer. */
struct offers_by {
    const struct cloud_rules *rules; /* may be NULL */
    int64_t now_us, wall_s;
    int (*may)(void *arg, int i_site); /* only those at sites where it may be; NULL: any */
    void *may_arg;
};
int offers_route(struct offers *o, const struct cloud_want *w, const struct offers_by *by,
                 struct cloud_ticket *t, struct err *e);
/* Is there an offer of t->offer's model that could take the request and was not tried? */
int offers_has_other(struct offers *o, const struct cloud_ticket *t, int64_t now_us);
/* The first time at which one of the model's offers may be asked again, from now: that of t->offer,
 * which said retry_us (<= 0: nothing), or of another that is left alone. 0: not known. */
int64_t offers_come_back(struct offers *o, const struct cloud_ticket *t, int64_t retry_us,
                         int64_t now_us);
/* May the request, which has reached t->offer, be tried at another? If so it is counted. */
int offers_take_retry(struct offers *o, const struct cloud_ticket *t, int64_t now_us);
/* Since the start: retries, and those that the budget refused. */
void offers_retries(struct offers *o, int64_t *ret_n, int64_t *ret_refused);
/* What cloud_note_result says; BREAKER_NOTHING where nothing was noted yet. */
void offers_note(struct offers *o, struct cloud_ticket *t, enum breaker_end end, int64_t first_us,
                 int64_t retry_us, int64_t now_us);
/* The offers that have a breaker, and how it stands; with_here: also those that have none. */
int offers_view(struct offers *o, int64_t now_us, int with_here,
                struct cloud_offer_view ret[CLOUD_OFFERS_MAX]);
/* Is there one that is ready and computes as that fingerprint says? */
int offers_have(struct offers *o, const char *fingerprint);
/* So much was spent there; < 0: it is not known. */
void offers_spent(struct offers *o, const struct cloud_offer *of, int64_t cost_nano,
                  int64_t now_us);
/* Does every offer of the model that reads prompts here compute with that fingerprint, and has room
 * for so many tokens, and one at least? ERR_NO_MODEL, ERR_LOADING, ERR_UNSUPPORTED, ERR_CONTEXT. */
int offers_check_print(struct offers *o, const char *model, const char *fingerprint,
                       int64_t n_tokens, struct err *e);
void offers_put(struct offers *o, struct cloud_offer *of); /* held no more; accepts NULL */
/* Has that key a right to any offer of the model (or are there none now)? Under o->lock. */
int offers_are_for(const struct offers *o, int i_model, const struct grant *g);
/* How busy it is; its capacity is what its site leaves it, 0 where that takes nothing new. */
void offers_load(const struct offers *o, const struct cloud_offer *of, struct load *ret);
/* Tell each supplier how much of its places it may use now, how many are kept, and
 * what is not lent at its site (contracts.h). One thread at a time. */
void offers_obey(struct offers *o, const _Atomic int32_t kept[SITES_EVER_MAX],
                 const _Atomic int32_t unlent_ppm[SITES_EVER_MAX]);
/* Bits of the sites of those that this process computes itself are set. */
void offers_local_sites(struct offers *o, uint64_t ret[SITES_EVER_MAX / 64]);
/* What those at a site have to do, and their places: as many as may be used now, and all. */
struct site_load {
    int32_t n_suppliers, n_running, n_waiting, n_places, n_all;
};
void offers_load_site(struct offers *o, int i_site, struct site_load *ret);
void offers_look(struct offers *o, int i_model, struct cloud_look *ret);

#endif
