/* What the files of cloud.h share: the request's way (cloud.c), and keys and accounts
 * (cloud_accounts.c). */
#ifndef CLOUD_CLOUD_INT_H
#define CLOUD_CLOUD_INT_H

#include "cloud/accounts.h"
#include "cloud/cloud.h"
#include "cloud/contracts.h"
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
    pthread_mutex_t proofs_lock;                 /* rank: waits for the database under it */
    struct books_reader *proofs;                 /* under it; NULL: not opened yet */
    struct books_reader *past;                   /* under change; NULL: not opened yet */
    _Atomic(const struct cloud_prices *) prices; /* NULL: none */
    _Atomic(const struct cloud_rules *) rules;   /* NULL: none */
    struct sites sites;
    struct contracts contracts;
    struct offers offers;
    pthread_mutex_t obey_lock;  /* who tells suppliers their factors; rank: before offers */
    _Atomic int64_t wall_us;    /* what the wall clock is ahead of the monotonic one */
    _Atomic int64_t seen_us;    /* the monotonic one, when it was told last */
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
        refused_queue, refused_borrow;
};

/* Tell every supplier how much of its places it may use now, and contracts their rates. */
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

/* cloud_book.c: what a side of a use is about: delivered tokens are sold, those owed were bought.
 */
struct usage cloud_used(const struct cloud_use *u, enum price_side side);
/* What one side of it costs, in the price's own currency; -1: there is no price. */
int64_t cloud_price_side(const struct cloud_ticket *t, enum price_side side,
                         const struct cloud_use *u, const struct price **ret);
/* All of a row that books_take has not filled in, as these say. */
void cloud_put_row(struct cloud *c, const struct cloud_ticket *t, const struct cloud_use *u,
                   const struct usage *owed, struct books_row *r);

/* cloud_hedge.c: so many tokens were expected to be lost by a hedge, and so many were. */
void cloud_settle_hedge(struct cloud *c, int64_t n_expected, int64_t n_lost, int was_sent);

/* ---- cloud_contract.c ------------------------------------------------------------------------ */

/* With `change` held: from the store, if it has changed (is_new) or a date has come. */
int cloud_sync_contracts(struct cloud *c, int64_t now_us, int is_new, struct err *e);
void cloud_claim_begin(struct cloud *c, struct cloud_ticket *t); /* its tenant is known */
void cloud_claim_end(struct cloud_ticket *t);
/* As offers_route, at the offers to which its contract entitles it first. */
int cloud_claim_route(struct cloud *c, const struct offers_by *by, const struct cloud_want *w,
                      struct cloud_ticket *t, struct err *e);
/* So many sequences of it are at its offer now. ERR_QUEUE_FULL: its tier may borrow no more there.
 */
int cloud_claim_admit(struct cloud *c, struct cloud_ticket *t, struct err *e);
/* It leaves its offer, and has used so much. */
void cloud_claim_leave(struct cloud_ticket *t, int64_t n_prompt, int64_t n_output, int64_t now_us);
/* What its tenant pays by: its contract, or the book; NULL: it has no price. */
const struct price *cloud_sell_price(const struct cloud_ticket *t, const char *model,
                                     const char *supplier, enum tier tier, int64_t at_s);
/* The currency of its charge; NULL: there is none. */
const char *cloud_claim_currency(const struct cloud *c, const struct cloud_ticket *t);
void cloud_claim_book(const struct cloud_ticket *t, struct books_row *r);

#endif
