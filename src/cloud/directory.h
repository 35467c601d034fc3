/* The accounts of this process: tenants, teams and keys, as three sources say: the keys file, the
 * configuration and the store. What a source says of an account is put here; where several know
 * one, the last of these counts.
 *
 * A key's secret is looked up by its hash in a table, whatever their number. What a key may do is a
 * grant, made when the key is first used after something changed; a request holds it to its end, so
 * that nothing it looks at goes away. An account keeps its counts while the process runs, also when
 * it is gone and comes back.
 *
 * Not thread-safe but for grants: cloud.c has the lock. Limits: CLOUD_TENANTS_MAX tenants and
 * DIRECTORY_ACCOUNTS_MAX teams and keys since the start. */
#ifndef CLOUD_DIRECTORY_H
#define CLOUD_DIRECTORY_H

#include <stdatomic.h>

#include "base/map.h"
#include "cloud/account.h"
#include "cloud/cloud.h"
#include "cloud/holds.h"
#include "cloud/keyring.h"

#define DIRECTORY_ACCOUNTS_MAX (1 << 20)
#define DIRECTORY_SALTS_MAX    8
#define ACCOUNT_SECRETS_MAX    4 /* of one key: while it is rotated, there are several */

enum source { SOURCE_FILE, SOURCE_CONFIG, SOURCE_STORE, N_SOURCES };

/* An account in memory; never freed before the directory. */
struct account {
    enum account_kind kind;
    int i_tenant;                             /* whose it is; of a tenant: its own place */
    char id[ACCOUNT_ID_MAX];                  /* as in account.h */
    struct account *team;                     /* of a key; NULL: none */
    struct account_settings *said[N_SOURCES]; /* NULL: this source does not know it */
    struct holds_account *counts;             /* NULL: nothing was ever limited here */
    _Atomic uint32_t life;  /* of a key: one more when it is revoked or gone; see grant.life */
    _Atomic int64_t told_s; /* of a key: its end, as it was told last */
    struct grant *grant;    /* NULL: to be made */
    uint64_t grant_round;
    int32_t secrets; /* of a key: 1 + the place of its first; 0: none */
    int is_dropped;  /* a source knows it no more: its limits are to be those of the others */
    int is_unusable; /* something of it cannot be put in force: nobody may use it */
    unsigned seen;
};

/* What a key gives. Immutable. */
struct grant {
    _Atomic int32_t n_holders;
    int i_tenant;
    const char *tenant; /* its name; lives as long as the directory */
    char key_id[ACCOUNT_NAME_MAX], team[ACCOUNT_ID_MAX], labels[BOOKS_LABELS_MAX];
    int n_path; /* key, team, tenant: those with counts */
    struct holds_account *path[HOLDS_PATH_MAX];
    unsigned tiers; /* bits 1 << TIER_* */
    enum exceed exceed;
    char *fallback;     /* NULL: none */
    int64_t texts_days; /* its tenant wants texts kept; 0: it does not */
    int is_admin, is_read_only;
    int64_t expires_s;   /* 0: never */
    struct account *key; /* NULL: without keys */
    uint32_t life;       /* the key's, when this was made */
    char *models[HOLDS_PATH_MAX], *suppliers[HOLDS_PATH_MAX], *networks[HOLDS_PATH_MAX];
    char *sites[HOLDS_PATH_MAX], *regions[HOLDS_PATH_MAX];
    char *region; /* of its users; NULL: not said */
    char *origins[HOLDS_PATH_MAX];
};

struct secret {
    unsigned char hash[KEY_HASH_BYTES];
    int64_t not_after_s; /* 0: no end of its own */
    struct account *key; /* NULL: it is gone */
    int32_t next;        /* of the same key: 1 + its place; 0: none */
};

struct directory {
    const char *currency;
    struct notices *notices;                    /* NULL: nobody is told */
    struct tally *tally;                        /* counts with other processes; NULL: none do */
    struct account *tenants[CLOUD_TENANTS_MAX]; /* 0: the default tenant */
    int n_tenants;
    struct account **accounts; /* teams and keys */
    int n_accounts, cap_accounts;
    struct map by_id; /* kind and id -> place among tenants or accounts */
    struct secret *secrets;
    int n_secrets, cap_secrets;
    struct map by_hash; /* -> secret */
    struct map origins; /* of web pages, in small letters -> how many lists of accounts have it */
    unsigned char salts[DIRECTORY_SALTS_MAX][KEY_SALT_BYTES];
    int n_salts, n_keys; /* keys that are there */
    uint64_t round;      /* of changes */
};

int directory_init(struct directory *d, const char *currency, struct notices *notices,
                   struct tally *tally, struct err *e);
void directory_done(struct directory *d);

struct account *directory_find(const struct directory *d, enum account_kind kind, const char *id);
/* The account, made where missing; NULL: no room or memory, e says so. A team or key that is made
 * belongs to that tenant. */
struct account *directory_make(struct directory *d, enum account_kind kind, const char *id,
                               int i_tenant, struct err *e);
/* Counts of its own, made when something is first limited. */
int directory_make_counts(const struct directory *d, struct account *a, struct err *e);
/* What a source says of it now: the settings are the directory's then, NULL: it does not know it
 * any more. A key that no source knows is over for all that use it. */
void directory_say(struct directory *d, struct account *a, enum source by,
                   struct account_settings *said);
/* Does any account's list have that origin of web pages? */
int directory_has_origin(const struct directory *d, const char *origin);
int directory_add_salt(struct directory *d, const unsigned char salt[KEY_SALT_BYTES],
                       struct err *e);
/* The secrets of a key, in place of those that it had. ERR_EXISTS: one is another key's. */
int directory_put_secrets(struct directory *d, struct account *key, const struct secret *s, int n,
                          struct err *e);

/* The key of that secret, now; NULL: there is none. */
struct account *directory_find_key(const struct directory *d, const char *key, size_t n,
                                   int64_t now_s);
/* May it be used: are it, its team and its tenant there, and all their limits in force? */
int directory_is_usable(const struct directory *d, const struct account *key);
/* Its grant as it was made last; NULL: it is to be made. Held: give it back by grant_put. */
struct grant *directory_grant(const struct directory *d, struct account *key);
/* Make it. NULL: no memory. */
struct grant *directory_make_grant(struct directory *d, struct account *key);
int grant_has_model(const struct grant *g, const char *model);
int grant_has_supplier(const struct grant *g, const char *id); /* "NAME/MODEL": of either */
/* Where a supplier is, NULL: not said, which is in no list. */
int grant_has_place(const struct grant *g, const char *site, const char *region);
int grant_has_address(const struct grant *g, const char *address);
int grant_has_origin(const struct grant *g, const char *origin); /* NULL: of no page */
int grant_names_origins(const struct grant *g);                  /* has it a list of them? */
void grant_put(struct grant *g);                                 /* accepts NULL; [any] */
/* The key was revoked, or has expired. [any] */
int grant_is_over(const struct grant *g, int64_t now_s);

#endif
