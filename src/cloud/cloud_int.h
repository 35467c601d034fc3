/* What the files of cloud.h share: the request's way (cloud.c), and keys and accounts
 * (cloud_accounts.c). */
#ifndef CLOUD_CLOUD_INT_H
#define CLOUD_CLOUD_INT_H

#include "cloud/accounts.h"
#include "cloud/cloud.h"
#include "cloud/directory.h"
#include "cloud/estimates.h"
#include "cloud/offers.h"
#include "cloud/sites.h"

/* What a tenant used since the start, in requests that are settled. */
struct tenant_used {
    _Atomic int64_t n_requests, prompt_tokens, completion_tokens, charge_nano;
};

struct cloud {
    struct cloud_config config;
    pthread_rwlock_t lock; /* the directory; rank: a leaf */
    struct directory directory;
    struct notices notices;
    struct estimates estimates;
    _Atomic int64_t told[N_TOLD]; /* how often each became of a notice */
    int is_closed;                /* nobody comes in without a key */
    pthread_mutex_t change; /* the store, and changes of accounts, one after the other; rank: before
                               lock */
    unsigned char salt[KEY_SALT_BYTES]; /* of the keys that the configuration names */
    struct accounts *store;             /* NULL: none */
    int64_t store_generation, told_us;  /* what of it is in the directory; the last log line */
    _Atomic int64_t (*there)[CLOUD_OFFERS_MAX]; /* sequences admitted, of each tenant and offer */
    struct tally *tally;                        /* NULL: its limits are counted here only */
    struct books *books;
    struct books_reader *past;                   /* under change; NULL: not opened yet */
    _Atomic(const struct cloud_prices *) prices; /* NULL: none */
    _Atomic(const struct cloud_rules *) rules;   /* NULL: none */
    struct sites sites;
    struct offers offers;
    pthread_mutex_t obey_lock;  /* who tells suppliers their factors; rank: before offers */
    _Atomic int64_t wall_us;    /* what the wall clock is ahead of the monotonic one */
    _Atomic int64_t n_held;     /* tokens, by all open tickets */
    pthread_mutex_t hedge_lock; /* rank: a leaf */
    struct hedge hedge;
    int64_t n_hedges, tokens_hedged;
    _Atomic int64_t refused_budget, exceeded[EXCEEDS];
    _Atomic int64_t n_lost;
    struct tenant_used *used;  /* [CLOUD_TENANTS_MAX] */
    struct replays *replays;   /* NULL: none are kept */
    struct stored_all *stored; /* NULL: none are stored */
    _Atomic int64_t refused_auth, refused_requests, refused_tokens, refused_concurrency,
        refused_queue;
};

/* Tell every supplier how much of its places it may use now. */
void cloud_obey(struct cloud *c);
/* What operators say of sites, from the store. With `change` held. */
int cloud_sync_sites(struct cloud *c, struct err *e);
int64_t cloud_wall_s(const struct cloud *c, int64_t now_us);
/* The directory, with the default tenant; the keys file and the store, where there are any. */
int cloud_accounts_open(struct cloud *c, int64_t now_us, struct err *e);
void cloud_accounts_close(struct cloud *c);
/* cloud_stored.c: after the books were opened. */
int cloud_stored_open(struct cloud *c, struct err *e);
void cloud_stored_stats(const struct cloud *c, struct cloud_stats *ret);
/* What that key gives from that address, held: grant_put. *ret NULL: all, as there are no keys.
 * ERR_AUTH, ERR_FORBIDDEN. */
int cloud_key_grant(struct cloud *c, int64_t now_us, const struct cloud_caller *who,
                    struct grant **ret, struct err *e);
/* tenant_view.c: count what a request of that tenant used; charge_nano < 0: it has no price. */
void cloud_note_used(struct cloud *c, int i_tenant, const struct cloud_use *u, int64_t charge_nano);

#endif
