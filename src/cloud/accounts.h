/* A door of the cloud room: accounts at rest, in a database (base/sql.h). Commands and the admin
 * API change them here; a server reads what has changed and keeps it in its directory.
 *
 * A change is one transaction: it is checked, written with a line of the audit log, and counted in
 * the store's generation, by which servers see that there is something new. Only hashes of keys are
 * stored. Lines of the audit log are never changed; each has a hash of itself and all before it.
 *
 * One thread at a time; calls wait for the database. */
#ifndef CLOUD_ACCOUNTS_H
#define CLOUD_ACCOUNTS_H

#include "base/sql.h"
#include "cloud/account.h"
#include "cloud/measurement.h"
#include "cloud/site.h"

#define ACCOUNTS_FILE        "accounts.db" /* in gaufre's home */
#define ACCOUNTS_KEY_MAX     96            /* of a key's text */
#define ACCOUNTS_SECRETS_MAX 4             /* of one key: those of before, while it is rotated */
#define ACCOUNTS_OVERLAP_MAX (INT64_C(90) * 86400)
#define ACCOUNTS_REQUEST_MAX 128 /* of an idempotency key */
#define ACCOUNTS_HASH_BYTES  32
#define ACCOUNTS_AUDIT_MAX   8192 /* of what stands in one line */

struct accounts;

enum account_state { ACCOUNT_ACTIVE, ACCOUNT_REVOKED, ACCOUNT_REMOVED, ACCOUNT_STATES };
const char *account_state_name(enum account_state s);

struct accounts_secret {
    unsigned char hash[ACCOUNTS_HASH_BYTES];
    int64_t not_after_s; /* 0: no end of its own */
};

struct account_row {
    enum account_kind kind;
    enum account_state state;
    char id[ACCOUNT_ID_MAX];       /* as in account.h */
    char tenant[ACCOUNT_NAME_MAX]; /* whose it is; of a tenant: itself */
    char team[ACCOUNT_ID_MAX];     /* of a key: "tenant/team"; "": none */
    int64_t created_s;
    struct account_settings settings; /* whoever wants to keep them leaves account_unsaid() here */
    int n_secrets;
    struct accounts_secret secret[ACCOUNTS_SECRETS_MAX];
    char broken[200]; /* what of it cannot be read; "": nothing */
};

/* A file's path or a URL; tables are made where missing. */
int accounts_open(struct accounts **ret, const char *where, struct err *e);
void accounts_close(struct accounts *a); /* accepts NULL */

/* ---- reading --------------------------------------------------------------------------------- */

/* Counts up with every change; cheap. */
int accounts_generation(struct accounts *a, int64_t *ret, struct err *e);
/* The accounts that have changed after that generation, removed ones too, of one kind or all (-1),
 * tenants first, then teams, then keys. */
int accounts_each(struct accounts *a, int kind, int64_t after,
                  int (*row)(void *arg, struct account_row *r), void *arg, struct err *e);
/* One that is not removed: ERR_NOTFOUND. Its settings are the caller's. */
int accounts_get(struct accounts *a, enum account_kind kind, const char *id,
                 struct account_row *ret, struct err *e);
/* Was there ever a key? Then nobody comes in without one. */
int accounts_is_closed(struct accounts *a, int *ret, struct err *e);
/* What keys are hashed with, one call each. */
int accounts_salts(struct accounts *a, int (*salt)(void *arg, const unsigned char salt[32]),
                   void *arg, struct err *e);

struct account_audit {
    int64_t seq, at_s;
    const char *actor, *action;      /* "new", "set", "rotate", "revoke", "rm", "import", "amend",
                                        "measure" */
    int kind;                        /* an enum account_kind, or ACCOUNT_OF_... */
    const char *id, *before, *after; /* JSON; "": nothing */
};
/* Lines after that number, the first of them first, at most `max`. */
int accounts_audit(struct accounts *a, int64_t after, int64_t max,
                   int (*line)(void *arg, const struct account_audit *l), void *arg, struct err *e);
/* Lines before that number, the last of them first. */
int accounts_audit_back(struct accounts *a, int64_t before, int64_t max,
                        int (*line)(void *arg, const struct account_audit *l), void *arg,
                        struct err *e);
/* Is every line as it was written, every contract and every measurement? ERR_FORMAT names the first
 * that is not. */
int accounts_audit_check(struct accounts *a, int64_t *ret_lines, struct err *e);

/* Calls of the grid that end at that time or later, by their start. ERR_FORMAT. */
int accounts_calls(struct accounts *a, int64_t since_s,
                   int (*each)(void *arg, const struct site_call *call), void *arg, struct err *e);
/* What operators say of sites. */
int accounts_sites(struct accounts *a,
                   int (*each)(void *arg, const char *site, const struct site_order *o), void *arg,
                   struct err *e);
/* A contract's text at rest (contract_file.h), as it was amended. Versions are never changed. */
#define CONTRACT_REASON_MAX 1000 /* characters */
struct contract_version {
    const char *name;
    int64_t version;                   /* from 1 */
    int64_t effective_s;               /* it holds from then on */
    int64_t recorded_s;                /* when it was put here */
    const char *actor, *reason, *text; /* reason "": none was given */
};
/* All versions of one, the first of them first. ERR_NOTFOUND. */
int accounts_contract_versions(struct accounts *a, const char *name,
                               int (*each)(void *arg, const struct contract_version *v), void *arg,
                               struct err *e);
/* Of each contract what held at as_of_s, as it was known at known_s: the last version that was
 * effective and recorded by then. */
int accounts_contracts(struct accounts *a, int64_t as_of_s, int64_t known_s,
                       int (*each)(void *arg, const struct contract_version *v), void *arg,
                       struct err *e);
/* When the next version of any will be effective, after that time; INT64_MAX: none is recorded. */
int accounts_contracts_next(struct accounts *a, int64_t after_s, int64_t *ret, struct err *e);
/* Another number whenever a contract's version or a measurement was added; cheap. */
int accounts_contracts_stamp(struct accounts *a, int64_t *ret, struct err *e);
/* The same of one, or (version > 0) that version of it. ERR_NOTFOUND. */
int accounts_contract(struct accounts *a, const char *name, int64_t version, int64_t as_of_s,
                      int64_t known_s, int (*each)(void *arg, const struct contract_version *v),
                      void *arg, struct err *e);

/* What was measured of a contract's basket, and whether a tranche was accepted (measurement.h).
 * Rows are only added. */
struct measured_row {
    int64_t id; /* from 1, in the order in which they were recorded */
    const char *contract;
    int64_t recorded_s;
    const char *actor;
    const char *text;                   /* of a measurement */
    const char *signature, *public_key; /* of that text, as hex; "": nobody has signed it */
};
/* Of one contract or (NULL) of all, the first of them first. */
int accounts_measurements(struct accounts *a, const char *contract,
                          int (*each)(void *arg, const struct measured_row *m), void *arg,
                          struct err *e);
/* What counts for a tranche: the last measurement of its site (or region) and its hardware with
 * that version of the engine (NULL: with any). Where there is none of that version the last of
 * another is told as stale: it is shown, and entitles to nothing. Acceptances do not count here.
 * *ret is the caller's (measurement_free). ERR_NOTFOUND: nothing was measured. */
int accounts_measured(struct accounts *a, const char *contract, const struct tranche *t,
                      const char *engine, struct measurement **ret, int *ret_is_stale,
                      struct err *e);
/* The same without what was measured after as_of_s, or recorded after known_s. */
int accounts_measured_on(struct accounts *a, const char *contract, const struct tranche *t,
                         const char *engine, int64_t as_of_s, int64_t known_s,
                         struct measurement **ret, int *ret_is_stale, struct err *e);

/* Copy the store as it is at one moment into a new file, and check the copy's audit log: *ret_lines
 * lines. Writers are not held up. ERR_EXISTS where there is such a file; ERR_UNSUPPORTED of a store
 * in PostgreSQL, which has tools of its own. */
int accounts_backup(struct accounts *a, const char *to, int64_t *ret_lines, struct err *e);

/* ---- changing -------------------------------------------------------------------------------- */

struct account_who {
    const char *actor; /* "cli:ann", "key:ops" */
    int64_t now_s;
};

/* A tenant or a team ("tenant/team"). ERR_EXISTS, ERR_NOTFOUND (its tenant), ERR_ARG. */
int accounts_new(struct accounts *a, const struct account_who *w, enum account_kind kind,
                 const char *id, const struct account_change *c, int n, struct err *e);
/* A key of a tenant, of one of its teams (name; NULL: none). *ret: its text, to be shown once. */
int accounts_new_key(struct accounts *a, const struct account_who *w, const char *id,
                     const char *tenant, const char *team, const struct account_change *c, int n,
                     char ret[ACCOUNTS_KEY_MAX], struct err *e);
int accounts_set(struct accounts *a, const struct account_who *w, enum account_kind kind,
                 const char *id, const struct account_change *c, int n, struct err *e);
/* Another secret for a key; the one of now is good for overlap_s more. `request` (NULL: none) names
 * the rotation: asked for again under the same name, it gives yet another secret in place of the
 * one that it gave before, and the older one's end stays: so it can be repeated when its answer was
 * lost. */
int accounts_rotate(struct accounts *a, const struct account_who *w, const char *id,
                    int64_t overlap_s, const char *request, char ret[ACCOUNTS_KEY_MAX],
                    struct err *e);
int accounts_revoke(struct accounts *a, const struct account_who *w, const char *id, struct err *e);
/* ERR_ARG: it has keys or teams. The name is free again; what it used stays in the ledger. */
int accounts_remove(struct accounts *a, const struct account_who *w, enum account_kind kind,
                    const char *id, struct err *e);
/* Members that are SITE_KEEP stay. Any site: which there are, the configuration says. */
int accounts_site_set(struct accounts *a, const struct account_who *w, const char *site,
                      const struct site_order *o, struct err *e);
/* How many calls of a site may begin in a year; n < 0: any number. */
struct site_call_limit {
    int64_t n, from_s, until_s;
};
/* One more; its id is filled in. ERR_EXISTS: there may be no more. */
int accounts_call_new(struct accounts *a, const struct account_who *w, struct site_call *io,
                      const struct site_call_limit *limit, struct err *e);
/* ERR_NOTFOUND; ERR_EXISTS: it is over, or was cancelled. */
int accounts_call_cancel(struct accounts *a, const struct account_who *w, int64_t id,
                         struct site_call *ret, struct err *e);
/* One version more of the contract that v->text is, or its first: effective from v->effective_s on
 * (0: from now on; the first one from the day on which it was signed), for v->reason. v->name
 * stands for the text's file in what is said; *v then has the version. ERR_FORMAT: the text;
 * ERR_ARG: it is effective before the version of before is. */
int accounts_amend(struct accounts *a, const struct account_who *w, struct contract_version *v,
                   struct err *e);
/* Add a measurement: row->text, which is its JSON as it was signed, or (NULL) as it is written now;
 * row->signature and public_key. *row then has its id. */
int accounts_measure(struct accounts *a, const struct account_who *w, const struct measurement *m,
                     struct measured_row *row, struct err *e);
/* Take over the tenants and keys of a keys file, hashes as they are. *ret_keys: how many keys.
 * ERR_EXISTS: one is there; then none was taken. */
int accounts_import(struct accounts *a, const struct account_who *w, const char *path,
                    int *ret_keys, struct err *e);

#endif
