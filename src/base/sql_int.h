/* What the two kinds of databases are to sql.c. */
#ifndef BASE_SQL_INT_H
#define BASE_SQL_INT_H

#include "base/sql.h"

struct sql_ops {
    void (*close)(struct sql *s);
    int (*exec)(struct sql *s, const char *statements, struct err *e);
    /* row NULL: no rows are wanted. */
    int (*each)(struct sql *s, const char *query, const struct sql_value *v, int n,
                int (*row)(void *arg, const struct sql_row *r), void *arg, int64_t *ret_changed,
                struct err *e);
    const char *begin;
};

struct sql {
    const struct sql_ops *ops;
};

struct sql_row {
    int64_t (*number)(const struct sql_row *r, int i);
    const char *(*text)(const struct sql_row *r, int i);
};

#define SQL_PARAMETERS_MAX 16

int sql_lite_open(struct sql **ret, const char *path, struct err *e);
int sql_pq_open(struct sql **ret, const char *url, struct err *e);

#endif
