/* API keys at rest: a text file, one line each, keys only as keyed BLAKE2b hashes.
 *
 *   salt 64 hex digits                 the file's own hash key; first, once
 *   tenant NAME [SETTING=VALUE ...]
 *   key ID HASH [tenant=NAME] [SETTING=VALUE ...]   64 hex digits; without tenant: "default"
 *   # comment, empty lines
 *
 * Settings are the fields of account.h, under their names. A generated key has 192 random bits and
 * cannot be guessed, so a fast hash is enough. A table is read-only once loaded.
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
    int i_tenant; /* in the table's tenants */
    struct account_settings settings;
};

struct key_tenant {
    char name[CLOUD_NAME_MAX];
    struct account_settings settings;
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
/* A new key: its text. */
int key_text_new(char ret[CLOUD_KEY_TEXT_MAX], struct err *e);
void key_hash(const unsigned char salt[KEY_SALT_BYTES], const char *key, size_t n,
              unsigned char ret[KEY_HASH_BYTES]);

#endif
