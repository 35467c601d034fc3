/* The store's tables, and the writing of single rows of them, inside a transaction. */
#ifndef CLOUD_ACCOUNTS_SQL_H
#define CLOUD_ACCOUNTS_SQL_H

#include "cloud/accounts.h"

#define ACCOUNTS_SCHEMA 5

struct accounts {
    struct sql *db;
};

int accounts_sql_tables(struct sql *db, struct err *e);
/* A number that stands in meta. ERR_NOTFOUND. */
int accounts_sql_meta(struct sql *db, const char *name, int64_t *ret, struct err *e);
/* Begin to change: *ret_generation is what this change counts as. */
int accounts_sql_begin(struct sql *db, int64_t *ret_generation, struct err *e);
int accounts_sql_put_account(struct sql *db, const struct account_row *r, int64_t generation,
                             struct err *e);
/* All of its settings, in place of those that it had. */
int accounts_sql_put_settings(struct sql *db, const struct account_row *r, struct err *e);
/* The salt of that text, or (NULL) the first, made where missing. */
int accounts_sql_salt(struct sql *db, const char *hex, int64_t *ret_id, unsigned char ret[32],
                      struct err *e);
int accounts_sql_put_secret(struct sql *db, const char *key_id, const char *hash, int64_t salt,
                            const char *request, int64_t now_s, struct err *e);
/* A line of the audit log. */
int accounts_sql_log(struct sql *db, const struct account_who *w, const char *action, int kind,
                     const char *id, const char *before, const char *after, struct err *e);
/* What of an account stands in a line: its settings as JSON. */
void accounts_sql_json(const struct account_row *r, char ret[ACCOUNTS_AUDIT_MAX]);

/* Has the log a line for each version of a contract, and is it of that text? ERR_FORMAT. */
int accounts_contracts_check(struct accounts *a, struct err *e);
/* The same of measurements. */
int accounts_measurements_check(struct accounts *a, struct err *e);
/* The hash of a line and of all before it, as hex. */
void accounts_audit_link(const char *before, const struct account_audit *l, char ret[65]);

#endif
