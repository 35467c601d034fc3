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

/* A number without a fraction, however it is written (5, 5.0); -1: it is none. */
int64_t accounts_count(const json_t *v);

#define ACCOUNTS_CHANGES_MAX 64
/* Settings that a body asks for; null: not said any more. */
struct accounts_changes {
    struct account_change list[ACCOUNTS_CHANGES_MAX];
    int n;
    char text[ACCOUNTS_CHANGES_MAX][ACCOUNT_TEXT_MAX];
};
/* From an object's members, but for those named in `others` (ended by NULL). ERR_ARG with the
 * member's name in e->param. */
int accounts_changes_read(struct accounts_changes *ret, const json_t *object,
                          const char *const *others, struct err *e);

#endif
