/* The contracts in force, as admission needs them; inside of the cloud room. What a contract says
 * is read from the store of accounts when that has changed, and when a date has come at which a
 * tranche or an amendment begins or ends: it is then exchanged as a whole. A request holds what it
 * found to its end. What is counted stays: it hangs on names, and lives as long as the table.
 *
 * A contract takes part from the day on which one of its tranches is active whose rate is known
 * (policy/entitlement.h). A tenant is of one contract: where several name it, of the one whose term
 * began first, and then the one whose name is first; the log tells. What was measured of a tranche
 * goes before what it declares, but at sites where this process computes only if it was measured
 * with this version.
 *
 * Threads: contracts_init, contracts_done and contracts_sync one at a time, all others [any].
 * Looking up is a hash of the tenant's name, whatever the number of contracts. Limits:
 * CONTRACTS_MAX contracts that take part, CONTRACTS_TRANCHES_MAX names of tranches since the start.
 */
#ifndef CLOUD_CONTRACTS_H
#define CLOUD_CONTRACTS_H

#include <pthread.h>
#include <stdatomic.h>

#include "base/map.h"
#include "cloud/account.h"
#include "cloud/quota.h"
#include "cloud/sites.h"
#include "policy/entitlement.h"
#include "policy/price.h"

#define CONTRACTS_MAX          4096
#define CONTRACTS_TRANCHES_MAX 65536
#define CONTRACTS_NAME_MAX     64

struct accounts;

/* What is counted of a tranche: a bucket of its tokens, the sequences that it serves, and since the
 * start what it served and lent. */
struct tranche_use {
    char contract[CONTRACTS_NAME_MAX], name[CONTRACTS_NAME_MAX];
    struct quota_bucket tokens;
    _Atomic int64_t rate; /* thousandths of a token a second, by its sites' factors */
    _Atomic int64_t n_inside;
    _Atomic int64_t n_requests, n_tokens; /* within */
    _Atomic int64_t tokens_lent;          /* to others, while it was idle */
    uint64_t round;                       /* of reading, in which it was active; one thread */
};

/* What is counted of a contract, since the start. */
struct contract_use {
    char name[CONTRACTS_NAME_MAX];
    _Atomic int64_t n_refused, tokens_paid, tokens_borrowed;
    _Atomic int64_t mean_output;    /* of its answers; 0: not known yet */
    _Atomic int64_t spent_until_s;  /* of a backstop: its caps are reached until then */
    struct quota_bucket borrowable; /* what it may borrow, where that has a limit */
    uint64_t told;                  /* what of it the log has; one thread */
};

struct live_tranche {
    struct tranche_use *use;
    int64_t watts, full;                 /* full: its rate where its sites may use all */
    int64_t concurrency;                 /* 0: any number */
    uint64_t sites[SITES_EVER_MAX / 64]; /* bits */
};

/* A contract that takes part. Immutable but for its count. */
struct live_contract {
    _Atomic int32_t n_holders;
    struct contract_use *use;
    int64_t version, from_s;
    enum contract_spillover rule;
    int is_backstop; /* its work is served on what nobody bought; it entitles to nothing else */
    int64_t unlent_ppm, borrow_ppm; /* limits of lending, policy/contract.h */
    struct price price;             /* SPILL_PAY: of what is above it */
    char currency[4];
    enum entitlement_basis basis;        /* the best of its tranches */
    enum power_basis power_basis;        /* of its watts */
    int64_t input_ppm;                   /* entitlement_input */
    uint64_t sites[SITES_EVER_MAX / 64]; /* bits: of all its tranches */
    int n_tenants, n;
    char (*tenant)[CONTRACTS_NAME_MAX];
    struct live_tranche tranche[]; /* [n] */
};

struct contracts {
    pthread_rwlock_t lock; /* rank: a leaf */
    struct live_contract **list;
    int n;
    struct map by_tenant;       /* -> place in the list */
    struct map uses, tranches;  /* by name, "contract/tranche" -> place in what follows */
    struct contract_use **use;  /* [n_uses] */
    struct tranche_use **slice; /* [n_slices] */
    int n_uses, n_slices;
    struct tranche_use **lender; /* of site i those from lender_at[i] to lender_at[i + 1] */
    int lender_at[SITES_EVER_MAX + 1];
    _Atomic int32_t sold_ppm[SITES_EVER_MAX];   /* of a site's power: of active tranches */
    _Atomic int32_t unlent_ppm[SITES_EVER_MAX]; /* ... that their contracts do not lend */
    _Atomic int32_t kept[SITES_EVER_MAX];       /* sequences to which they entitle there */
    _Atomic uint32_t n_looks;
    /* One thread: */
    int64_t next_s; /* a date comes then */
    uint64_t round; /* of reading */
    int64_t stamp;  /* of the store, as it was read */
    _Atomic int is_stale;
};

int contracts_init(struct contracts *c); /* ERR_NOMEM, ERR_IO */
void contracts_done(struct contracts *c);

/* Read them anew, as they hold at wall_s. Waits for the database. What cannot take part is logged,
 * and nobody else suffers; on failure those of before stay. */
struct contracts_source {
    struct accounts *store;
    const struct sites *sites;
    const char *currency;                      /* the cloud's; NULL: none */
    uint64_t local_sites[SITES_EVER_MAX / 64]; /* bits: where this process computes itself */
    int64_t now_us, wall_s;
};
int contracts_sync(struct contracts *c, const struct contracts_source *s, struct err *e);
/* Has a date come, or were sites or suppliers exchanged? */
int contracts_is_due(const struct contracts *c, int64_t wall_s);
void contracts_note_sites(struct contracts *c); /* sites or suppliers were exchanged */
/* Reckon by the factors that the sites have now. */
void contracts_obey(struct contracts *c, const struct sites *sites, int64_t now_us, int64_t wall_s);
/* The same under the lock. */
void contracts_reckon(struct contracts *c, const struct sites *sites, int64_t now_us,
                      int64_t wall_s);

/* The tenant's, held; NULL: none. */
struct live_contract *contracts_find(struct contracts *c, const char *tenant);
void contracts_put(struct live_contract *l); /* held no more; accepts NULL */

int contract_is_at(const struct live_tranche *t, int i_site); /* < 0: no site */
/* Is any of its tranches at that site (< 0: none), and has one room for so much? */
enum contract_room { ROOM_NO_TRANCHE, ROOM_NONE, ROOM_THERE };
struct contract_need {
    int64_t n_tokens, n_seqs, now_us;
    int64_t retry_us; /* out: where there is no room, when there will be; the least of all */
};
enum contract_room contract_look(const struct live_contract *l, int i_site,
                                 struct contract_need *n);
/* Of a backstop: which of its tranches is at that site; NULL: none. */
struct tranche_use *contract_buyer(const struct live_contract *l, int i_site);
/* Its caps are reached until then; 0: they are not. */
void contracts_note_spent(struct contracts *c, const char *name, int64_t until_s);
/* Take it; NULL: another was quicker. */
struct tranche_use *contract_take(const struct live_contract *l, int i_site,
                                  struct contract_need *n, struct quota_held *ret);

/* Whose idle power is it that others use at that site: of some of its tranches the one that has
 * most left. NULL: nobody's. Lives as long as the table. */
struct tranche_use *contracts_lender(struct contracts *c, int i_site, int64_t now_us);

/* How a contract that takes part stands. */
struct contract_standing {
    enum entitlement_basis basis;
    enum contract_spillover rule;
    int64_t rate, full; /* thousandths of a token a second, of all its active tranches */
    int64_t n_inside, n_requests, n_tokens, tokens_lent, tokens_paid, tokens_borrowed, n_refused;
};
int contracts_view(struct contracts *c, const char *name, struct contract_standing *ret);
/* The i-th of those that take part, with its name; ERR_NOTFOUND behind the last one. */
int contracts_view_nth(struct contracts *c, int i, char name[CONTRACTS_NAME_MAX],
                       struct contract_standing *ret);

#endif
