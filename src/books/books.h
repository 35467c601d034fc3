/* Door of the books room: what was used is written down. One row for every settled request, one
 * balance for every tenant, in one database: an SQLite file, or PostgreSQL by URL ("where" below),
 * which several servers may share.
 *
 * Rows come from a fixed pool. A request takes one when it enters, so that it can be booked when it
 * ends, and no answered request is lost for lack of memory. Rows are written together every 100
 * ms, and are on the disk when that is done: in PostgreSQL by a commit; before an SQLite file in a
 * journal (journal.h), from which few are put into the database at once and many within a second,
 * in one transaction. When the disk fails or the database is away, rows are kept and tried again
 * each second; the log says that, and later that they were written. When the pool is empty,
 * books_take fails and new requests are refused. Only their owner can read the files (base/disk.h).
 *
 * All rows are one chain, whoever wrote them: who commits holds a lock (base/sql.h,
 * sql_begin_alone), reads where the chain ends and goes on from there. A commit whose answer was
 * lost is tried again, and its rows are known by their ids, which are the time and random bits, and
 * so unique among all servers.
 *
 * One thread writes: the books thread, where books_start made one, else whoever calls
 * books_step. A simulation does that, with the time that it imagines. */
#ifndef BOOKS_BOOKS_H
#define BOOKS_BOOKS_H

#include <stdint.h>

#include "base/err.h"
#include "base/mbox.h"
#include "job/energy.h"

#define BOOKS_NAME_MAX   64
#define BOOKS_LABELS_MAX 256
#define BOOKS_ROWS_MAX   16384
#define BOOKS_SALT       16 /* bytes */
#define BOOKS_HEX(n)     (2 * (n) + 1)

struct books;

/* Whose power a request used. */
enum books_lent {
    BOOKS_LENT_OWN,      /* its tenant's contract's own; or there is none */
    BOOKS_LENT_BORROWED, /* what another contract left idle */
    BOOKS_LENT_PAID,     /* beyond its contract, at the price that this names: spillover */
    BOOKS_LENT_BACKSTOP, /* what its contract, a buyer of last resort, takes */
    BOOKS_LENT_N
};

struct books_row {
    struct mbox_item item;
    struct books_row *next_free;
    int64_t at_us; /* wall clock, when the request ended */
    int64_t prompt_tokens, cached_tokens, completion_tokens;
    int64_t energy_uj;      /* microjoules; of no meaning where the method is unknown */
    int energy_boundary;    /* enum energy_boundary */
    int energy_method;      /* enum energy_method; 0: unknown */
    int energy_uncertainty; /* permille of the energy */
    /* Micrograms of CO2 equivalent, by the grid where it is and by what was bought; -1: unknown. */
    int64_t carbon_location_ug, carbon_market_ug;
    int64_t cache_write_tokens, reasoning_tokens; /* of the prompt's, of the completion's */
    /* Owed to the supplier beyond these, as its client left before it was delivered: no tenant is
     * charged for it. The cached ones are of the prompt's. */
    int64_t lost_prompt_tokens, lost_cached_tokens, lost_completion_tokens;
    int usage_state;                 /* enum usage_state */
    int tier;                        /* enum tier */
    int64_t charge_nano, cost_nano;  /* what the tenant owes, what the supplier is owed; -1: it has
                                        no price */
    char currency[4];                /* of both; "": this cloud has none */
    char cost_currency[4];           /* where the supplier's price is in another one, that; and */
    int64_t cost_own_nano;           /* what it is owed in it */
    int status;                      /* HTTP's */
    char request_id[BOOKS_NAME_MAX]; /* a row is booked once: ids must be unique */
    /* The request whose amounts this row corrects: then charge and cost are what is added to them,
     * and may be below 0. "": the row is of a request. */
    char corrects[BOOKS_NAME_MAX];
    char tenant[BOOKS_NAME_MAX], key_id[BOOKS_NAME_MAX];
    char team[2 * BOOKS_NAME_MAX];  /* "tenant/team"; "": none */
    char labels[BOOKS_LABELS_MAX];  /* "name=value,name=value", in order of name; "": none */
    char model[2 * BOOKS_NAME_MAX]; /* as clients name it */
    char
        supplier[2 * BOOKS_NAME_MAX]; /* the stable id of who served it, the same after a restart */
    char site[BOOKS_NAME_MAX];        /* where; "": it has no name */
    /* Of which contract (its id), and which of its tranches served; "": none. */
    char contract[BOOKS_NAME_MAX], tranche[BOOKS_NAME_MAX];
    int lent; /* enum books_lent */
    /* For the log of answers (leaf.h), in hex digits; "": unknown. */
    char salt[BOOKS_HEX(BOOKS_SALT)]; /* random, from books_take on */
    char weights[80];                 /* the model's: "sha256:..." or "print:..." */
    char engine[BOOKS_NAME_MAX]; /* "0.1.0 q8 f16": version, numeric class, type of the KV cache */
    char sampling[192];          /* "temperature=0.7,seed=1,max_tokens=16" */
    char prompt_hash[BOOKS_HEX(32)], output_hash[BOOKS_HEX(32)]; /* of tokens */
    char price_book[BOOKS_HEX(16)];                              /* which list of prices */
};

/* Makes the file or schema and its tables where missing, and puts into it what processes that died
 * left in their journals. sync_normal: a journal is not flushed, nor each commit in PostgreSQL. */
int books_open(struct books **ret, const char *where, int sync_normal, struct err *e);
struct tree_key;
/* Sign the log's heads with that key (tree_head.h), which is copied, from now on: one with each
 * commit, and one now where rows are there that none covers. Before books_start. 0, ERR_IO. */
int books_sign_with(struct books *b, const struct tree_key *key, struct err *e);
/* Starts the books thread, or ERR_IO. */
int books_start(struct books *b, struct err *e);
/* Writes what was posted, closes; with a failing disk it gives up after a few seconds. Returns how
 * many rows were lost. Accepts NULL. */
int64_t books_close(struct books *b);

/* [any] A row with a salt, of no contract, whose energy, carbon, site and what only the log has of
 * it are unknown; or NULL when all are on their way. Its other members are as they were. */
struct books_row *books_take(struct books *b);
void books_give(struct books *b, struct books_row *r); /* unused */
void books_post(struct books *b, struct books_row *r); /* to be written */
/* [any] The hash of the entry that the row will be in the log of answers (leaf.h), 32 bytes. Its
 * texts are made UTF-8, as they will be written. */
void books_leaf(struct books_row *r, unsigned char *ret);

/* One round of the books thread: take the rows that were posted, write those that are due. Returns
 * for how many microseconds there is nothing to do unless more are posted; -1: for ever. now_us:
 * monotonic. */
int64_t books_step(struct books *b, int64_t now_us);

/* [any] Rows that are on the disk, those that are not yet; and how many writes failed. */
void books_stats(const struct books *b, int64_t *ret_written, int64_t *ret_pending,
                 int64_t *ret_failures);
/* [any] The log of answers as the books thread saw it last. */
struct books_log {
    int64_t entries; /* under a signed head; 0: there is none, or no key */
    int64_t heads;   /* signed by this process */
    int64_t head_s;  /* when the newest of the entries ended */
};
void books_log_state(const struct books *b, struct books_log *ret);
int64_t books_in_journal(const struct books *b); /* [any] of those written, not in the database */
/* [any] When the oldest row that is not in the database came to the books thread, by the clock that
 * books_step is told; 0: all are there. */
int64_t books_oldest_us(const struct books *b);

/* What rows may be alike in. */
enum books_by {
    BOOKS_BY_ALL,
    BOOKS_BY_TENANT,
    BOOKS_BY_KEY,
    BOOKS_BY_MODEL,
    BOOKS_BY_SUPPLIER,
    BOOKS_BY_DAY, /* UTC: 2026-12-01 */
    BOOKS_BY_TEAM,
    BOOKS_BY_LABELS,
    BOOKS_BY_TIER,
    BOOKS_BY_CLASS, /* "Correction", or "" for requests */
    BOOKS_BY_SITE,
    BOOKS_BY_CONTRACT,
    BOOKS_BY_N
};
#define BOOKS_PART(by) (1u << (by))
/* What was used and is owed, of rows that are alike in some parts and their currency. */
struct books_sum {
    char key[BOOKS_BY_N][BOOKS_LABELS_MAX]; /* "" where any will do */
    char currency[4];
    int64_t n_requests, prompt_tokens, cached_tokens, cache_write_tokens, completion_tokens,
        reasoning_tokens;
    int64_t lost_tokens; /* owed beside these, and delivered to nobody */
    int64_t charge_nano, cost_nano;
    int64_t n_unpriced, n_estimated, n_disputed; /* requests that are not settled for good */
    /* Of so many that had tokens, energy and carbon (location, market) are known of so many, and
     * are so much. The boundary is the narrowest of those; 0 where there are none. */
    int64_t n_used, n_energy, n_location, n_market;
    int64_t energy_uj, energy_boundary, carbon_location_ug, carbon_market_ug;
};
/* Which rows: NULL and 0 mean any; times in unix seconds, `until` is not reached. */
struct books_where {
    const char *tenant, *key_id, *model, *supplier, *team, *site, *contract;
    const char *label; /* "name=value": of the rows that have it */
    int64_t from_s, until_s;
    int only_pending; /* without a price, estimated or disputed, and not corrected since */
};
/* Read a ledger file: one call for all rows that are alike in these parts, in order of tenant,
 * currency, day, team, key, labels, model, supplier, tier, class, site and contract. [any], also
 * while a server writes. */
int books_bill(const char *where, unsigned parts, const struct books_where *w,
               int (*row)(void *arg, const struct books_sum *s), void *arg, struct err *e);

/* How concentrated amounts are: policy/concentration.h. */
int32_t books_hhi(const int64_t *amount, int n);

/* Compute every balance anew from the rows, and the rows' chain of hashes; look at the journals. 0:
 * all is as it should be, *ret_rows were looked at; ERR_FORMAT: e says the first row or account
 * that differs. [any] */
int books_audit(const char *where, int64_t *ret_rows, struct err *e);

struct books_balance {
    char tenant[BOOKS_NAME_MAX];
    int64_t n_requests, prompt_tokens, cached_tokens, completion_tokens;
    /* Of the requests of which they are known; -1: of none. */
    int64_t energy_uj, carbon_location_ug, carbon_market_ug;
};
/* Read the balances from a ledger file, in order of tenant. [any], also while a server writes. */
int books_balances(const char *where, int (*row)(void *arg, const struct books_balance *b),
                   void *arg, struct err *e);

/* A ledger that stays open for many questions. One thread at a time; also while a server writes. */
struct books_reader;
int books_reader_open(struct books_reader **ret, const char *where, struct err *e);
void books_reader_close(struct books_reader *r); /* accepts NULL */
/* Is there a row of that request? */
int books_has(struct books_reader *r, const char *request_id, int *ret, struct err *e);
/* The receipt of that request (proof.h), below the first head that covers it: the same each time.
 * ERR_NOTFOUND: no such row, or it is older than the log; ERR_AGAIN: no head covers it yet. */
struct proof;
int books_proof(struct books_reader *r, const char *request_id, struct proof *ret, struct err *e);
/* The newest head of the log, and since > 0: the proof that it goes on from the tree of that size.
 * ERR_NOTFOUND: it has no head, or is not as long, or what the proof needs was pruned. */
struct tree_growth;
int books_growth(struct books_reader *r, int64_t since, struct tree_growth *ret, struct err *e);
/* What a tenant, a team or a key (by) of that name used in requests that ended in [from_us,
 * until_us) of the wall clock: tokens, what was charged for those that have a price, and energy
 * where it is known. What was corrected later changes bills, not budgets. */
struct books_used {
    int64_t tokens, nano, energy_uj;
};
int books_used(struct books_reader *r, enum books_by by, const char *name, int64_t from_us,
               int64_t until_us, struct books_used *ret, struct err *e);
/* The energy of a site's requests that ended in [from_us, until_us), by its boundary, microjoules;
 * of those of which it is known. *ret_rows: how many these are. */
int books_site_energy(struct books_reader *r, const char *site, int64_t from_us, int64_t until_us,
                      int64_t ret_uj[ENERGY_BOUNDARIES], int64_t *ret_rows, struct err *e);

#endif
