/* API keys at rest: a text file, one line each, keys only as keyed BLAKE2b hashes.
 *
 *   salt 64 hex digits                        the file's own hash key; first, once
 *   tenant NAME [LIMIT=N ...] [budget_zone=ZONE] [tiers=T,...]
 *   key ID HASH [tenant=NAME] [tiers=T,...]   64 hex digits; without tenant: "default"
 *   # comment, empty lines
 *
 * Limits are requests_, tokens_ and uncached_tokens_per_minute, _hour and _day, concurrency,
 * max_output_tokens,
 * token_budget and token_budget_per_day, _week and _month, budget_warn (percent), and of money
 * (50.00EUR) budget and budget_per_day, _week and _month; the zone is whose days these are. Tiers
 * are default, flex, priority; a key's own list is used in place of its tenant's. A generated key
 * has 192 random bits and cannot be guessed, so a fast hash is enough. Looking a key up compares it
 * with every line in constant time. A table is read-only once loaded.
 */
#ifndef CLOUD_KEYRING_H
#define CLOUD_KEYRING_H

#include <stdint.h>

#include "cloud/cloud.h"

#define KEY_SALT_BYTES 32
#define KEY_HASH_BYTES 32

struct key_line {
    char id[CLOUD_NAME_MAX];
    unsigned char hash[KEY_HASH_BYTES];
    int i_tenant;   /* in the table's tenants */
    unsigned tiers; /* bits 1 << TIER_*; 0: not said */
};

struct key_tenant {
    char name[CLOUD_NAME_MAX];
    struct account_settings limits; /* -1, NULL: not said */
    unsigned tiers;                 /* 0: not said */
    char currency[4];               /* of its budgets of money; "": it has none */
};

struct key_table {
    unsigned char salt[KEY_SALT_BYTES];
    struct key_line *lines;
    int n_lines;
    struct key_tenant *tenants; /* 0: the default tenant */
    int n_tenants;
};

/* ERR_IO, ERR_FORMAT with "file:line: what". */
int key_table_load(struct key_table **ret, const char *path, struct err *e);
int key_table_parse(struct key_table **ret, const char *name, const char *text, size_t n,
                    struct err *e);
void key_table_free(struct key_table *t); /* accepts NULL */
/* The line of that key, or NULL. The time it takes does not depend on which line matches, nor on
 * how much of a line does. */
const struct key_line *key_find(const struct key_table *t, const char *key, size_t n);
void key_hash(const unsigned char salt[KEY_SALT_BYTES], const char *key, size_t n,
              unsigned char ret[KEY_HASH_BYTES]);
/* Letters, digits, - _ . : and at most CLOUD_NAME_MAX - 1 of them. */
int key_name_ok(const char *s);

#endif
