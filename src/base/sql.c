#include <string.h>

#include "base/check.h"
#include "base/sql_int.h"

int sql_is_url(const char *where)
{
    return !strncmp(where, "postgresql://", 13) || !strncmp(where, "postgres://", 11);
}

int sql_open(struct sql **ret, const char *where, struct err *e)
{
    return sql_is_url(where) ? sql_pq_open(ret, where, e) : sql_lite_open(ret, where, e);
}

void sql_close(struct sql *s)
{
    if (s)
        s->ops->close(s);
}

int sql_exec(struct sql *s, const char *statements, struct err *e)
{
    return s->ops->exec(s, statements, e);
}

int sql_run(struct sql *s, const char *statement, const struct sql_value *v, int n,
            int64_t *ret_changed, struct err *e)
{
    int64_t changed;

    CHECK(n <= SQL_PARAMETERS_MAX);
    return s->ops->each(s, statement, v, n, NULL, NULL, ret_changed ? ret_changed : &changed, e);
}

int sql_each(struct sql *s, const char *query, const struct sql_value *v, int n,
             int (*row)(void *arg, const struct sql_row *r), void *arg, struct err *e)
{
    int64_t changed;

    CHECK(n <= SQL_PARAMETERS_MAX);
    return s->ops->each(s, query, v, n, row, arg, &changed, e);
}

int64_t sql_number(const struct sql_row *r, int i)
{
    return r->number(r, i);
}

const char *sql_text(const struct sql_row *r, int i)
{
    return r->text(r, i);
}

int sql_begin(struct sql *s, struct err *e)
{
    return s->ops->exec(s, s->ops->begin, e);
}

int sql_commit(struct sql *s, struct err *e)
{
    int r = s->ops->exec(s, "COMMIT", e);

    if (r)
        sql_rollback(s);
    return r;
}

void sql_rollback(struct sql *s)
{
    struct err e;

    (void)s->ops->exec(s, "ROLLBACK", &e);
}
