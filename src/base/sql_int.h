/* What the two kinds of databases are to sql.c. */
#ifndef BASE_SQL_INT_H
#define BASE_SQL_INT_H

#include "base/sql.h"

enum sql_begin { SQL_BEGIN_WRITE, SQL_BEGIN_ALONE, SQL_BEGIN_READ };

struct sql_ops {
    void (*close)(struct sql *s);
    int (*exec)(struct sql *s, const char *statements, struct err *e);
    int (*make)(struct sql *s, const char *statements, struct err *e);
    /* row NULL: no rows are wanted. */
    int (*each)(struct sql *s, const char *query, const struct sql_value *v, int n,
                int (*row)(void *arg, const struct sql_row *r), void *arg, int64_t *ret_changed,
                struct err *e);
    int (*begin)(struct sql *s, enum sql_begin how, struct err *e);
    int (*end)(struct sql *s, const char *how, struct err *e);
    int (*version)(struct sql *s, int *ret, struct err *e);
    int (*set_version)(struct sql *s, int version, struct err *e);
    int (*copy)(struct sql *s, const char *to, struct err *e);
};

struct sql {
    const struct sql_ops *ops;
    const char *what; /* "database" */
    int code;         /* of the last failure */
};

struct sql_row {
    int64_t (*number)(const struct sql_row *r, int i);
    const char *(*text)(const struct sql_row *r, int i);
    int (*is_null)(const struct sql_row *r, int i);
};

int sql_lite_open(struct sql **ret, const char *path, const struct sql_how *how, struct err *e);
int sql_pq_open(struct sql **ret, const char *url, const struct sql_how *how, struct err *e);

#endif
