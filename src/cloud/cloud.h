/* Door of the cloud room: who may ask, how much, from whom, and what is written down. Nouns:
 *
 *   struct cloud         keys, tenants, limits, the books, models and offers of this process;
 *   struct cloud_offer   one supplier's way to serve one model;
 *   struct cloud_ticket  one request's way through them, the caller's memory.
 *
 * A request calls, in order: cloud_enter (key, request rate, concurrency: before its body is read),
 * cloud_route (which offer), cloud_admit (may it wait there), cloud_reserve (tokens), and exactly
 * once cloud_settle (what was used: a row in the ledger) or cloud_leave (nothing was). Where the
 * offer fails before the first byte of the answer, cloud_turn_back and again from cloud_route on.
 * All of them are [any] thread and never block on disk: decisions are taken on a fixed table of
 * atomics, and rows go to the books thread, sole owner of the ledger file.
 *
 * Time is the caller's: now_us is clock_now_us, or what a simulation takes for it.
 *
 * Limits: 16,384 tenants, a million keys and teams, 64 models, 64 offers, 16,384 unwritten ledger
 * rows (then new requests get 503 until the disk keeps up: an answer that could not be booked is
 * not begun). */
#ifndef CLOUD_CLOUD_H
#define CLOUD_CLOUD_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>

#include "api/api.h"
#include "base/buf.h"
#include "base/err.h"
#include "books/books.h"
#include "books/proof.h"
#include "cloud/credential.h"
#include "cloud/holds.h"
#include "cloud/notices.h"
#include "cloud/site.h"
#include "cloud/stored.h"
#include "cloud/supplier.h"
#include "job/receipt.h"
#include "policy/breaker.h"
#include "policy/energy_rate.h"
#include "policy/entitlement.h"
#include "policy/exchange.h"
#include "policy/hedge.h"
#include "policy/price.h"
#include "policy/retry.h"
#include "policy/route.h"

#define CLOUD_NAME_MAX        BOOKS_NAME_MAX
#define CLOUD_SUPPLIER_ID_MAX 128
#define CLOUD_TENANTS_MAX     16384
#define CLOUD_KEYS_MAX        4096 /* of a keys file */
#define CLOUD_MODELS_MAX      64
#define CLOUD_OFFERS_MAX      64
#define CLOUD_TRIES_MAX       8 /* offers that one request tries */
#define CLOUD_DEFAULT_TENANT  "default"

struct cloud;
struct grant;

/* Per tenant where its line says nothing; 0: no limit. Concurrency: sequences under way, prompts
 * times choices. */
struct cloud_limits {
    int64_t requests_per_minute, tokens_per_minute;
    int64_t concurrency;
};

struct cloud_prices {
    const struct price *list;
    int n, n_rates;
    const struct exchange *rates; /* into the cloud's currency, of suppliers' others */
    char id[BOOKS_HEX(16)];       /* of all of them, for receipts; "": there are none */
};

/* How the offers of a model are chosen. */
struct cloud_rule {
    const char *model; /* its id or an alias; NULL: any that has no rule of its own */
    enum route_strategy strategy;
    uint32_t residency; /* bits of those that are allowed; 0: any */
};
struct cloud_rules {
    const struct cloud_rule *list;
    int n;
};

/* An account that the configuration names; strings outlive the call. */
struct cloud_account {
    enum account_kind kind;
    const char *id;            /* as in account.h */
    const char *tenant, *team; /* whose it is; team "tenant/team", NULL: none */
    const char *key;           /* of a key: its text */
    const struct account_change *settings;
    int n_settings;
};

/* Of the places that contracts lend at a supplier a tier has a share at most. */
struct cloud_borrow {
    unsigned tiers;         /* bits 1 << TIER_*, that have a limit ... */
    int32_t ppm[TIER_AUTO]; /* ... of so many millionths */
};

struct cloud_config {
    /* Both NULL, and none that the configuration names: no keys, everybody is the default tenant.
     */
    const char *keys_path;     /* a keys file (keyring.h) */
    const char *accounts_path; /* a store of accounts (accounts.h) */
    const struct cloud_account *accounts;
    int n_accounts;
    const char *ledger_path;         /* NULL: no ledger */
    const struct tree_key *tree_key; /* signs the log of answers; NULL: it has no heads */
    int ledger_sync_normal;          /* no fsync of its journal: the last rows may go with power */
    struct cloud_limits limits;      /* of tenants whose line says nothing */
    const struct cloud_prices *prices; /* outlives the cloud; NULL: nothing is priced */
    const struct cloud_rules *rules;   /* likewise; NULL: every model by the first strategy */
    const struct cloud_sites *sites;   /* likewise; NULL: none */
    const char *currency;              /* of all; NULL: none */
    int32_t waiting_max;               /* sequences waiting at one offer before 429 */
    struct cloud_borrow borrow;        /* zeroed: every tier may borrow all */
    struct retry_limits retry;         /* zeroed: a request is tried once */
    struct {
        unsigned tiers;   /* bits 1 << TIER_*, whose streams are hedged; 0: none */
        int32_t percent;  /* of these tiers' tokens may be lost so */
        int64_t after_us; /* 0: later than is usual at the offer */
    } hedge;
    struct mbox *notices_box;  /* whose reader takes notices (notices.h); NULL: nobody */
    int notices_mail;          /* the kind of its item there */
    size_t replay_memory;      /* for answers that are kept for retries (replay.h); 0: none are */
    int64_t replay_window_us;  /* so long */
    size_t stored_memory;      /* for answers that are stored (stored.h); 0: none are */
    int64_t stored_window_us;  /* so long after their end */
    const char *stored_folder; /* where, so that they survive; NULL: in memory only */
    /* Limits are counted together with the process before, which handed this over; -1: none did,
     * but the next one may; 0: with none. */
    int tally_fd;
    int64_t now_us, wall_us; /* what the monotonic and the wall clock say */
};

/* Opens keys and ledger. On failure nothing is left behind. */
int cloud_open(struct cloud **ret, const struct cloud_config *c, struct err *e);
/* Tell what the wall clock says, for budgets' windows; now and then, as it may be set. [any] */
void cloud_tell_wall(struct cloud *c, int64_t now_us, int64_t wall_us);
/* Start the books thread. A simulation does not call this, but cloud_step (see books_step). */
int cloud_start(struct cloud *c, struct err *e);
int64_t cloud_step(struct cloud *c, int64_t now_us);
/* Write the rows that were settled, and close. No ticket may be open. Returns how many rows could
 * not be written and are lost. Accepts NULL. */
int64_t cloud_close(struct cloud *c);
/* Read the keys file again; on failure the old keys stay. [any, may wait for the disk] */
int cloud_reload_keys(struct cloud *c, int64_t now_us, struct err *e);
/* These in place of those that the configuration named before; on failure those stay. Tenants come
 * before teams and keys. [any, may wait for the disk] */
int cloud_set_accounts(struct cloud *c, int64_t now_us, const struct cloud_account *list, int n,
                       struct err *e);
/* Take over what has changed in the store of accounts; to be called several times a second. 1:
 * something was; 0: nothing has changed. A failure is logged, and what was known stays. [any, may
 * wait for the database] */
int cloud_sync_accounts(struct cloud *c, int64_t now_us);
int cloud_n_keys(struct cloud *c);
int cloud_tally_fd(const struct cloud *c); /* to hand over to the next process; -1: there is none */
/* What processes held that are gone counts no more; now and then. One thread. */
void cloud_tidy(struct cloud *c);
/* Does any account name that origin of web pages (setting origins)? [any] */
int cloud_has_origin(struct cloud *c, const char *origin);
struct replays *cloud_replays(const struct cloud *c);   /* NULL: no answers are kept */
struct stored_all *cloud_stored(const struct cloud *c); /* NULL: none are stored */
/* Where answers are stored: those of processes that are gone are this one's, as stored_inherit. May
 * wait for the ledger. */
int cloud_stored_inherit(struct cloud *c, int64_t wall_us, struct err *e);
/* Price by these from now on; they and all earlier ones outlive the cloud. [any] */
void cloud_set_prices(struct cloud *c, const struct cloud_prices *p);

/* Route by these from now on; likewise. [any] */
void cloud_set_rules(struct cloud *c, const struct cloud_rules *r);

/* What is to be told about accounts, one after the other, and what became of each for each of its
 * receivers. 1, or 0: there is none. [any] */
int cloud_take_notice(struct cloud *c, struct notice *ret);
enum cloud_told { TOLD_DELIVERED, TOLD_FAILED /* a try */, TOLD_DROPPED, N_TOLD };
void cloud_note_told(struct cloud *c, enum cloud_told how);

/* ---- models and offers ----------------------------------------------------------------------- */

/* A model is what clients name. It stays, with and without offers. `names` (id first, then aliases)
 * must outlive the cloud. ERR_EXISTS: a name is another model's; ERR_LIMIT. */
int cloud_add_model(struct cloud *c, const char *const *names, int n_names, int *ret_model,
                    struct err *e);
int cloud_find_model(struct cloud *c, const char *name, int *ret_model,
                     struct err *e); /* ERR_NO_MODEL */
/* Offers come and go at any time. ERR_EXISTS: that supplier is on offer; ERR_LIMIT. */
int cloud_add_offer(struct cloud *c, int i_model, struct supplier *s, struct err *e);
/* It comes behind all others where their order decides, as if it had been added now. */
void cloud_place_offer(struct cloud *c, const struct supplier *s);
/* No request is sent there any more. Those that are there end as they would have; then the
 * supplier's `gone` is called. ERR_NOTFOUND. */
int cloud_remove_offer(struct cloud *c, const struct supplier *s);

struct cloud_offer {
    struct supplier *sup;
    int i_model;
    int i_site; /* -1: none */
    /* cloud's own */
    int slot;                          /* its place in the counts of each tenant */
    int i_share, i_owner_share;        /* whose spending counts; -1: nobody's (shares.h) */
    uint64_t serial;                   /* never used again */
    uint64_t place;                    /* in their order */
    uint32_t key;                      /* of its id, for policy/route */
    _Atomic int64_t n_entitled;        /* sequences there that are within a contract */
    _Atomic int64_t n_lent[TIER_AUTO]; /* and that use what contracts left idle, by tier */
    /* Running means of the time of a job and to the first content of streams, 0: none; and when the
     * last of these was measured. A lost update does not matter. */
    _Atomic int64_t job_us, first_us, measured_us;
    pthread_mutex_t lock;      /* of what follows; rank: a leaf */
    struct energy_rate energy; /* that its tokens take */
    struct late late;          /* how late first contents are */
    struct breaker breaker;    /* only of suppliers elsewhere */
    _Atomic int32_t n_holders; /* the table, and requests */
};

/* The state of a model: its health is that of its best offer, its load the sum of all offers. */
struct cloud_look {
    struct load load;          /* counts of all; state and frozen of the best; FAILED without any */
    struct cloud_offer *offer; /* the best; NULL: there is none */
    int n_offers;
};
void cloud_look(struct cloud *c, int i_model, struct cloud_look *ret);
void cloud_look_done(struct cloud *c, struct cloud_look *l); /* its offer may go */

/* An offer, and whether requests go there. */
struct cloud_offer_view {
    char supplier[CLOUD_SUPPLIER_ID_MAX];
    int i_model, is_here; /* of this process: it has no breaker */
    enum supplier_state readiness;
    int is_frozen;
    enum breaker_state state;
    enum breaker_why why;                   /* it opened last */
    int64_t wait_us;                        /* nothing is sent there for so long; 0: now */
    int32_t n_running, n_waiting, capacity; /* sequences */
};
int cloud_view_offers(struct cloud *c, int64_t now_us,
                      struct cloud_offer_view ret[CLOUD_OFFERS_MAX]); /* those elsewhere */
/* All of them, those of this process too. */
int cloud_view_all_offers(struct cloud *c, int64_t now_us,
                          struct cloud_offer_view ret[CLOUD_OFFERS_MAX]);

struct cloud_caller;

/* ---- looking at tenants ---------------------------------------------------------------------- */

/* A tenant; what it used since the start of this process, in requests that are settled. */
struct cloud_tenant_view {
    const char *id; /* lives as long as the cloud */
    int i_tenant;
    int64_t n_requests, prompt_tokens, completion_tokens;
    int64_t charge_nano; /* of the cloud's currency; what has no price is not in it */
    int64_t n_inside;    /* sequences under way; -1: not counted, as it has no limits */
    int n_budgets;
    char currency[4]; /* of its budgets of money */
    struct budget_view budget[N_BUDGETS];
};
/* The `max` tenants that are nearest to the end of a budget, then those that used most; who never
 * used anything and has no budget is left out. Returns how many; *ret_n: how many there are of all.
 * Time is linear in the tenants. [any] */
int cloud_view_tenants(struct cloud *c, int64_t now_us, struct cloud_tenant_view *ret, int max,
                       int *ret_n);
/* What limits a key, a team or a tenant, and how far that is used. */
struct cloud_account_view {
    enum account_kind kind;
    char id[ACCOUNT_ID_MAX];                       /* as in account.h */
    int64_t concurrency_max, n_inside, output_max; /* maxima: 0, none */
    int n_rates, n_budgets;
    char currency[4]; /* of its budgets of money */
    struct rate_view rate[N_RATES];
    struct budget_view budget[N_BUDGETS];
};
/* What who has a key may see of himself: his tenant, and the accounts of his path that have limits.
 */
struct cloud_own {
    struct cloud_tenant_view tenant;
    char key_id[CLOUD_NAME_MAX], team[ACCOUNT_ID_MAX]; /* "": none */
    int n_accounts;
    struct cloud_account_view account[HOLDS_PATH_MAX];
};
/* ERR_AUTH, ERR_FORBIDDEN. [any] */
int cloud_view_own(struct cloud *c, int64_t now_us, const struct cloud_caller *who,
                   struct cloud_own *ret, struct err *e);
/* The keys of a tenant that are there, at most `max`, in no order. Returns how many there are of
 * all. Time is linear in all accounts: not on an io thread. */
int cloud_key_ids(struct cloud *c, int i_tenant, char (*ret)[ACCOUNT_NAME_MAX], int max);
const char *cloud_tenant_name(struct cloud *c, int i_tenant); /* "": there is none */

/* ---- a request ------------------------------------------------------------------------------- */

/* What a contract does for a request. */
struct live_contract;
struct tranche_use;
struct cloud_claim {
    struct live_contract *of; /* its tenant's, held to the ticket's end; NULL: none */
    /* As it was routed last: */
    enum entitlement_how how;
    struct tranche_use *tranche; /* ENTITLED_WITHIN: that serves it */
    struct quota_held held;      /* of the tranche's tokens ... */
    int64_t n_tokens, n_seqs;    /* ... so many, and sequences */
    int64_t n_there;             /* counted as within at its offer */
    int is_lent;                 /* it uses what is left idle there ... */
    struct tranche_use *lender;  /* ... by that tranche; NULL: by nobody's */
    struct tranche_use *buyer;   /* ENTITLED_BACKSTOP: of that tranche */
    int64_t n_lent_there;        /* counted at its offer as sequences on what is left idle */
    int64_t n_borrowed;          /* ENTITLED_BORROWED: tokens held of what it may borrow */
};

struct cloud_ticket {
    int i_tenant;                /* -1: none, the ticket is closed */
    int i_rate;                  /* whose it is, also of a refusal; -1: nobody's */
    const char *tenant;          /* lives as long as the cloud */
    char key_id[CLOUD_NAME_MAX]; /* "" without keys */
    struct grant *grant;         /* what its key gives, while it is open; NULL: no keys */
    unsigned tiers;              /* the tiers that were granted: bits 1 << TIER_* */
    struct holds holds;          /* on its accounts */
    enum exceed exceed;          /* it was refused once, and goes on so */
    int64_t n_choices;           /* as it was asked for */
    int is_capped;
    int64_t n_held, money_held;      /* tokens, and what they may cost at most; < 0: unknown */
    int64_t energy_held;             /* microjoules that they will probably take; likewise */
    struct cloud_offer *offer;       /* after cloud_route, to the ticket's end; NULL: none */
    int32_t breaker_turn;            /* at its offer */
    struct credential_use key;       /* with which it goes there */
    int is_noted;                    /* how it went there was told to the breaker */
    int is_keys_fault;               /* it failed for its key: there may be another */
    struct route_request asked;      /* as it was routed last */
    uint64_t tried[CLOUD_TRIES_MAX]; /* serials of offers that failed with this request; 0: a key */
    int n_tried;
    _Atomic int64_t *n_there; /* where these count, after cloud_admit; NULL: nowhere */
    int offer_is_full; /* why cloud_admit refused: the offer's queue, not the tenant's limit */
    int64_t retry_us;  /* after a refusal: when to come back; 0: unknown */
    const struct cloud_prices *prices; /* in force when it entered; NULL: none */
    struct cloud_claim claim;
    struct books_row *row;
    int64_t n_hedged; /* a hedge's: so many tokens were expected to be lost; 0: it is none */
};

/* Who asks. key NULL: none was sent; address NULL: not known, as text with or without a port.
 * Of a request that came in before and goes on, its key's id and tenant in place of all that. */
struct cloud_caller {
    const char *key;
    size_t n_key;
    const char *address;
    const char *again_key_id, *again_tenant; /* NULL: it is a new one */
    const char *origin; /* of the page of elsewhere that asks; NULL: none does */
    int must_be_named;  /* only accounts that name that origin let it in */
};
/* ERR_AUTH, ERR_FORBIDDEN (from this address, by a page of this origin, or an admin's key),
 * ERR_RATE_REQUESTS, ERR_QUEUE_FULL (concurrency), ERR_AGAIN (the books are full). On failure the
 * ticket is closed, but i_tenant's rates may still be asked for. */
int cloud_enter(struct cloud *c, int64_t now_us, const struct cloud_caller *who,
                struct cloud_ticket *t, struct err *e);
/* ERR_AUTH: its key was revoked or has expired since. */
int cloud_check_over(struct cloud *c, int64_t now_us, const struct cloud_ticket *t, struct err *e);
/* The tier in which a request that asks for that one is served: the best that its key has a right
 * to and that is not above it; auto: the best of all. Flex is everybody's who has nothing as low,
 * batch everybody's who asks for it. */
enum tier cloud_tier(const struct cloud_ticket *t, enum tier asked);
/* Check only the key: for endpoints that cost nothing. */
int cloud_check_key(struct cloud *c, int64_t now_us, const struct cloud_caller *who, struct err *e);
/* Of each model the first of its names that the key may ask for, or NULL: it may not use it, or no
 * supplier of it serves this key. `who` NULL: who has no key. Names live as long as the cloud. */
int cloud_key_models(struct cloud *c, int64_t now_us, const struct cloud_caller *who,
                     const char *ret[CLOUD_MODELS_MAX], struct err *e);
/* ERR_NO_MODEL where it may not ask for a model of that name, there or not. */
int cloud_key_sees(struct cloud *c, int64_t now_us, const struct cloud_caller *who,
                   const char *name, struct err *e);
/* The same, and whose it is, as in a ticket's i_tenant. */
int cloud_find_tenant(struct cloud *c, int64_t now_us, const struct cloud_caller *who,
                      int *ret_tenant, struct err *e);
/* The same of a key of the admin API: who that is. ERR_FORBIDDEN for others, ERR_UNSUPPORTED
 * without a store of accounts. */
struct cloud_admin {
    char key_id[CLOUD_NAME_MAX]; /* "": there are no keys */
    int is_read_only;            /* it looks, and changes nothing */
};
int cloud_check_admin(struct cloud *c, int64_t now_us, const struct cloud_caller *who,
                      struct cloud_admin *ret, struct err *e);
/* May an answer of another server go on here: is its key's id here, of that tenant, and good for
 * the model, and is the model computed with that fingerprint, with room for so many tokens?
 * ERR_AUTH, ERR_FORBIDDEN, ERR_NO_MODEL, ERR_LOADING, ERR_UNSUPPORTED, ERR_CONTEXT. */
int cloud_may_go_on(struct cloud *c, int64_t now_us, const struct cloud_caller *who,
                    const char *model, const char *fingerprint, int64_t n_tokens, struct err *e);
/* Work on the store, one after the other, and take over what it changed before this returns. Waits
 * for the database: not on an io thread. */
struct accounts;
int cloud_with_accounts(struct cloud *c, int64_t now_us,
                        int (*work)(void *arg, struct accounts *a, struct err *e), void *arg,
                        struct err *e);
/* What a request wants to be routed for. All but the model may be 0. */
struct cloud_want {
    const char *model; /* as its client names it */
    enum tier tier;
    uint32_t needs;             /* bits 1 << FEATURE_* */
    int64_t n_prompt, n_output; /* tokens of all prompts and answers, probably */
    int64_t n_longest;          /* of one prompt and its answer */
    int32_t n_seqs;             /* sequences at a time, at most; 0: one */
    uint32_t affinity;          /* equal for requests that begin alike */
    const char *region;         /* where its user is; NULL: as its account says */
    struct buf *record;         /* the decision is added to it (route_record.h); NULL: nowhere */
};
/* Days that its tenant wants its texts to be kept; 0: it does not. */
int64_t cloud_texts_days(const struct cloud_ticket *t);
/* ERR_FORBIDDEN where the ticket's key has no right to use the model. cloud_route asks it, too. */
int cloud_may_use(const struct cloud_ticket *t, const char *model, struct err *e);
/* Choose who serves the model, among the offers that this request has not tried: t->offer. The body
 * is known, its prompt is not yet read. ERR_NO_MODEL; where no offer can take it ERR_LOADING,
 * ERR_FROZEN, ERR_INTERNAL (its load failed), ERR_UNSUPPORTED (all lack what it needs) or ERR_AGAIN
 * (there is none, or all were tried). */
int cloud_route(struct cloud *c, int64_t now_us, const struct cloud_want *w, struct cloud_ticket *t,
                struct err *e);
/* Where its tenant has a contract, cloud_route looks first at the offers of the contract's sites.
 * What is above the contract is refused (ERR_ABOVE_CONTRACT with t->retry_us), or served otherwise:
 * t->asked.tier is the tier in which it then is. */
/* May it go before all others where it waits: it is within a contract, and its tier is none that
 * fills what is idle. */
int cloud_goes_first(const struct cloud_ticket *t);
/* "NAME/TRANCHE", "NAME; spillover=pay", or "": what a contract did for it, for its client. */
#define CLOUD_CLAIM_MAX (2 * CLOUD_NAME_MAX + 32)
char *cloud_claim_text(const struct cloud_ticket *t, char ret[CLOUD_CLAIM_MAX]);
/* The contract that lends what it uses; "": none does. Valid while the ticket is open. */
const char *cloud_claim_lender(const struct cloud_ticket *t);
/* A buyer of last resort has all of its year's caps until then; 0: not. [any] */
void cloud_note_spent(struct cloud *c, const char *contract, int64_t until_s);
/* How a contract that takes part in admission stands. ERR_NOTFOUND: it does not. [any] */
struct cloud_contract_view {
    char name[CLOUD_NAME_MAX];
    const char *basis, *spillover; /* "declared", "measured"; "reject", "pay", "borrow" */
    int64_t rate, full;            /* thousandths of a token a second, of its active tranches: by
                                      the factors of their sites, and without */
    int64_t n_inside;              /* sequences within it, under way */
    int64_t n_requests, n_refused; /* within it; above it, and refused: since the start, as */
    int64_t tokens, tokens_paid, tokens_borrowed; /* within it, above it by its spillover, ... */
    int64_t tokens_lent;                          /* ... and of others on what it left idle */
};
int cloud_view_contract(struct cloud *c, const char *name, struct cloud_contract_view *ret);
/* The i-th of them; ERR_NOTFOUND behind the last one. */
int cloud_view_nth_contract(struct cloud *c, int i, struct cloud_contract_view *ret);
/* Could another offer than t->offer take the request now? */
int cloud_has_other(struct cloud *c, int64_t now_us, const struct cloud_ticket *t);
/* t->offer has refused the request for want of room, and said retry_us (<= 0: nothing): when the
 * first of the model's offers may be asked again, from now; 0: not known. */
int64_t cloud_come_back(struct cloud *c, int64_t now_us, const struct cloud_ticket *t,
                        int64_t retry_us);
/* It has reached t->offer, which failed: may it be tried at another? If so it is counted, within a
 * budget of its model's retries (policy/retry.h). */
int cloud_take_retry(struct cloud *c, int64_t now_us, const struct cloud_ticket *t);
/* t->offer failed before the first byte of the answer: what was held there is given back, the
 * tokens too, and it is not chosen again. */
void cloud_turn_back(struct cloud *c, int64_t now_us, struct cloud_ticket *t);
/* Could so many sequences wait at t->offer now? Nothing is counted: a look before work is done for
 * them. ERR_QUEUE_FULL with t->retry_us. */
int cloud_may_wait(struct cloud *c, int32_t n_seqs, int64_t queue_threshold_us,
                   struct cloud_ticket *t, struct err *e);
/* May jobs of n_choices sequences each wait at t->offer, at most n_jobs of them together?
 * *ret_at_once: as many as its tenant's concurrency has room for now. queue_threshold_us 0: none.
 * ERR_QUEUE_FULL with t->retry_us; ERR_LIMIT: never, one has more choices than the tenant may have
 * sequences. */
int cloud_admit(struct cloud *c, int32_t n_jobs, int32_t n_choices, int64_t queue_threshold_us,
                struct cloud_ticket *t, int32_t *ret_at_once, struct err *e);
/* How long it will probably take until all that wait at t->offer have begun; within 0.25 to 60 s.
 */
int64_t cloud_wait_us(const struct cloud_ticket *t);
/* The most tokens that one of its choices may have; 0: any. */
int64_t cloud_output_max(const struct cloud_ticket *t);
/* What a request is about to hold for, after cloud_route. */
struct cloud_ask {
    const char *model; /* as it is priced; NULL: it costs no money */
    enum tier tier;
    int64_t n_prompt;  /* tokens; all others that it holds are of answers */
    int64_t n_choices; /* answers, where how long they are is learned; 0: it is not */
    int is_capped;     /* its client has set a maximum */
};
/* The most tokens that the request can hold: of its full rates, and of its budgets what is left and
 * pays for them; 0: any number. */
int64_t cloud_room(const struct cloud *c, int64_t now_us, const struct cloud_ticket *t,
                   const struct cloud_ask *a);
/* The tokens that its rates have now; INT64_MAX: any number. */
int64_t cloud_left(int64_t now_us, const struct cloud_ticket *t);
/* Hold all the tokens that it may use (policy/hold.h), their price and their energy, on all of its
 * accounts; or fewer, as answers of its tenant and model usually need, where its accounts allow an
 * overshoot. ERR_RATE_TOKENS with t->retry_us; ERR_QUOTA: never; ERR_BUDGET: not in this window. */
int cloud_reserve(struct cloud *c, int64_t now_us, struct cloud_ticket *t,
                  const struct cloud_ask *a, int64_t tokens, struct err *e);

/* It has used so many microjoules so far, and is not done: where that is more than it holds, it
 * holds more, in steps of an eighth, so that budgets let in nobody on what is used already. It goes
 * on even where they have no more: only who comes after it is refused. [any], as cloud_reserve */
void cloud_note_energy(struct cloud_ticket *t, int64_t uj);

/* cloud_reserve has refused with that code: how its account wants it to go on, once. If not with
 * EXCEED_REJECT, what is held at the offer is to be given back, and the request goes on from
 * cloud_route: in a low tier and with a maximum that can be lowered to cloud_left and cloud_room,
 * or for the model cloud_fallback. No limit is overshot so: it holds all that it may use, too. */
enum exceed cloud_exceed(struct cloud_ticket *t, int code);
int cloud_may_exceed(const struct cloud_ticket *t); /* may it begin again so? */
const char *cloud_fallback(const struct cloud_ticket *t);
/* Give back what was held at t->offer, and the offer; it may be chosen again. */
void cloud_give_back(struct cloud *c, int64_t now_us, struct cloud_ticket *t);

/* Hedging: a stream whose first content is late is tried at a second offer too (policy/hedge.h).
 * How long one waits at t->offer before that; < 0: it is not hedged. */
int64_t cloud_hedge_after(const struct cloud *c, const struct cloud_ticket *t, enum tier tier);
/* Take a place at a second offer, where about n_tokens may be lost: a ticket of its own, for which
 * cloud_settle or cloud_leave is called too. What it uses is the platform's to pay, booked for
 * CLOUD_PLATFORM; its sequences count in the tenant's concurrency. ERR_AGAIN: there is no other,
 * nothing left to be lost, or no room in that. */
#define CLOUD_PLATFORM "(platform)"
int cloud_hedge(struct cloud *c, int64_t now_us, const struct cloud_want *w,
                const struct cloud_ticket *t, int64_t n_tokens, struct cloud_ticket *ret);
/* It has failed: its offer is not tried again by the first one. */
void cloud_hedge_failed(struct cloud_ticket *t, const struct cloud_ticket *hedge);
/* The second is quicker: they change their places. waited_us: so long the first one has waited. */
void cloud_hedge_swap(struct cloud_ticket *t, struct cloud_ticket *hedge, int64_t waited_us);

/* How an answer was made, as its entry in the log of answers has it (books/leaf.h); "": unknown. */
struct cloud_evidence {
    const char *weights, *engine;
    char sampling[192], prompt_hash[BOOKS_HEX(TREE_HASH)], output_hash[BOOKS_HEX(TREE_HASH)];
};
struct cloud_use {
    const struct cloud_evidence *evidence; /* NULL: nothing is known of it */
    const char *request_id, *model, *supplier;
    int64_t prompt_tokens, cached_tokens, completion_tokens;
    int64_t cache_write_tokens, reasoning_tokens;
    enum usage_state usage_state;
    const struct usage *owed; /* to the supplier, at least as much; NULL: the same */
    enum tier tier;           /* as it was served */
    struct energy energy;
    int status;    /* HTTP status answered */
    int64_t at_us; /* wall clock */
};
/* What its client is told of that: as its row will have it. */
void cloud_receipt(const struct cloud *c, const struct cloud_ticket *t, const struct cloud_use *u,
                   struct receipt *ret);
/* The salt of its entry in the log of answers, in hex digits; NULL: it will have none. */
const char *cloud_salt(const struct cloud_ticket *t);
/* The hash of that entry in hex digits, as its row will have it when it is settled so. 1, or 0: it
 * will have none. */
int cloud_leaf(struct cloud *c, const struct cloud_ticket *t, const struct cloud_use *u,
               char ret[BOOKS_HEX(TREE_HASH)]);
/* The receipt of a request that was settled. Waits for the database: not on an io thread.
 * ERR_NOTFOUND; ERR_AGAIN: not yet. */
int cloud_proof(struct cloud *c, const char *request_id, struct proof *ret, struct err *e);
/* As books_growth; likewise. */
int cloud_growth(struct cloud *c, int64_t since, struct tree_growth *ret, struct err *e);
/* End the ticket: what was used becomes a row in the ledger and is charged in place of what was
 * held, even if it was more. */
void cloud_settle(struct cloud *c, int64_t now_us, struct cloud_ticket *t,
                  const struct cloud_use *u);
/* End the ticket without a row in the ledger; `tokens` are charged. Accepts a closed ticket. */
void cloud_leave(struct cloud *c, int64_t now_us, struct cloud_ticket *t, int64_t tokens);

/* Tell how it goes at t->offer: its first content came (code 0) after first_us, or it failed with
 * that error by the supplier's fault. first_us < 0: not known, or not of a stream. Where the
 * supplier said when to come back: retry_us. Suppliers that fail are left alone for a while
 * (policy/breaker.h). */
void cloud_note_result(struct cloud *c, int64_t now_us, struct cloud_ticket *t, int code,
                       int64_t first_us, int64_t retry_us);
/* Note how long a job took at this offer, for estimates of waiting times. */
void cloud_note_job(struct cloud_offer *of, int64_t now_us, int64_t run_us);
/* Rates of a ticket's accounts, the tightest of each kind, also after its end; limits not
 * configured are -1. 1 when any is. used: tokens that will be charged in place of its hold; < 0: as
 * it is. */
int cloud_rate(struct cloud *c, int64_t now_us, const struct cloud_ticket *t, int64_t used,
               struct api_rate *ret);
/* A sentence for its client where one of its budgets is near its end: 1, or 0. */
int cloud_warning(struct cloud *c, int64_t now_us, const struct cloud_ticket *t, char *ret,
                  size_t cap);

/* ---- keys at rest and books, for commands ---------------------------------------------------- */

/* Make a key, add its line to the file (created with mode 0600 where missing). ret_key: the key,
 * to be shown once. */
#define CLOUD_KEY_TEXT_MAX 96
int cloud_key_new(const char *path, const char *id, const char *tenant,
                  char ret_key[CLOUD_KEY_TEXT_MAX], struct err *e);
/* The line that would stand for this key in that file. */
int cloud_key_line(const char *path, const char *id, const char *tenant, const char *key,
                   struct buf *out, struct err *e);

struct cloud_stats {
    int has_ledger;
    char currency[4]; /* of the cloud; "": it has none */
    int64_t rows_written, rows_pending, rows_in_journal, write_failures; /* see books_stats */
    int64_t oldest_row_us;                                               /* see books_oldest_us */
    struct books_log log;
    int64_t refused_auth, refused_requests, refused_tokens, refused_concurrency, refused_queue;
    int64_t refused_budget, refused_borrow;
    int64_t exceeded[EXCEEDS];     /* of those refused for tokens: served all the same, and how */
    int64_t hedges, tokens_hedged; /* requests tried at two offers, and what that lost */
    int64_t retries, retries_refused; /* requests tried at another offer; that might not be */
    int64_t tokens_held;              /* by requests under way */
    int64_t notices[N_TOLD];
    int64_t tokens_lost; /* owed, as clients left before they were delivered */
    int64_t replayed, replays_in_use, replays_reused, replays_too_long; /* replay.h */
    int64_t replay_bytes;
    int64_t stored, stored_resumed, stored_followed, stored_lost, stored_moved,
        stored_taken; /* stored.h */
    int64_t stored_now, stored_pending, stored_bytes;
};
void cloud_stats(struct cloud *c, struct cloud_stats *ret);
/* What all budgets of tokens or of money (OF_x) that have an amount count now: settled in their
 * windows, and held by requests under way. */
void cloud_enforced(struct cloud *c, int kind, int64_t now_us, int64_t *ret_settled,
                    int64_t *ret_held);

#endif
