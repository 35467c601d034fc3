/* The home of a demonstration: a folder of its own with configuration, accounts, contracts and
 * ledger, gone with it unless it is to be kept; and the model of its one real engine. */
#ifndef CMD_DEMO_HOME_H
#define CMD_DEMO_HOME_H

#include "cloud/accounts.h"
#include "demo/demo.h"

#define DEMO_PATH_MAX 1024

struct demo_home {
    char path[DEMO_PATH_MAX];
    int is_kept;
    char admin_key[ACCOUNTS_KEY_MAX], key[DEMO_TENANTS][ACCOUNTS_KEY_MAX];
};

/* keep: the folder to be made; NULL: a private one that demo_home_close removes. ERR_EXISTS,
 * ERR_IO. */
int demo_home_open(struct demo_home *h, const char *keep, struct err *e);
char *demo_home_file(const struct demo_home *h, const char *name, char ret[DEMO_PATH_MAX + 32]);
int demo_home_write(const struct demo_home *h, const char *name, const struct buf *text,
                    struct err *e);
/* Tenants with a key each, an operator's key, and the contracts, as they are in the beginning. */
int demo_home_fill(struct demo_home *h, int64_t now_s, struct err *e);
void demo_home_close(struct demo_home *h);

/* The file of a model; what is not on this machine is pulled, with a bar. *ret is malloc'd. */
int demo_model_find(const char *spec, char **ret, struct err *e);

#endif
