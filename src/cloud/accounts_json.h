/* A door of the cloud room: accounts as JSON, as commands print them and the admin API has them.
 * Settings stand beside id and state under their names: counts as numbers, money as text
 * ("50.00EUR"), times as text, lists as arrays, labels as an object, flags as booleans. Pure. */
#ifndef CLOUD_ACCOUNTS_JSON_H
#define CLOUD_ACCOUNTS_JSON_H

#include "base/json.h"
#include "cloud/accounts.h"

/* A new reference; NULL: no memory. */
json_t *accounts_json(const struct account_row *r);
/* A line of the audit log, what was and what is as objects. */
json_t *accounts_audit_json(const struct account_audit *l);

#endif
