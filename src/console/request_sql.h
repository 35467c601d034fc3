/* The table of the request log, and rows in and out of it. */
#ifndef CONSOLE_REQUEST_SQL_H
#define CONSOLE_REQUEST_SQL_H

#include "base/sql.h"
#include "console/request_store.h"

/* must_exist: to read. */
int request_sql_open(struct sql **ret, const char *where, int must_exist, struct err *e);
/* A row, and its texts as JSON, to be kept until then; NULL: none. */
struct request_put {
    const struct request_row *row;
    const char *request, *answer;
    int64_t until_us;
};
/* In one transaction, numbered from where the table ends. */
int request_sql_write(struct sql *db, const struct request_put *puts, int n, struct err *e);
/* Remove rows that ended before, and texts that were to be kept until then, few at a time; *ret_n
 * of them went. */
int request_sql_prune(struct sql *db, int64_t before_us, int64_t *ret_n, struct err *e);
int request_sql_prune_texts(struct sql *db, int64_t until_us, int64_t *ret_n, struct err *e);
int request_sql_forget(struct sql *db, const char *tenant, const char *id, int64_t *ret_n,
                       struct err *e);
int request_sql_each(struct sql *db, const struct request_where *w, int64_t n_max,
                     int (*row)(void *arg, const struct request_row *r), void *arg, struct err *e);

#endif
