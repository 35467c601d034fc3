/* The configuration's lists tenants, teams and api_keys. */
#ifndef SERVE_NAMED_ACCOUNTS_H
#define SERVE_NAMED_ACCOUNTS_H

#include "base/config.h"
#include "serve/serve.h"

/* A map of the list of that kind. Tenants are read first, then teams, then keys. */
int named_account_read(struct serve_config *c, struct config_doc *d, struct config_node *map,
                       enum account_kind kind, struct err *e);
/* Their keys, from the environment and from files; names that lead nowhere. */
int named_accounts_check(struct serve_config *c, struct err *e);
void named_accounts_describe(const struct serve_config *c, struct buf *out);

#endif
