#include <string.h>

#include "base/check.h"
#include "base/sql_int.h"

int sql_is_url(const char *where)
{
    return !strncmp(where, "postgresql://", 13) || !strncmp(where, "postgres://", 11);
}

/* Of another scheme, or mistyped: no file is meant. */
static int is_other_url(const char *where)
{
    return strstr(where, "://") && !sql_is_url(where);
}

const char *sql_name(const char *where)
{
    return sql_is_url(where) ? "in PostgreSQL" : is_other_url(where) ? "at another URL" : where;
}

int sql_open_how(struct sql **ret, const char *where, const struct sql_how *how, struct err *e)
{
    if (is_other_url(where))
        return err_set(e, ERR_ARG,
                       "%s: a URL of a database begins with postgresql://, all else is a file",
                       how->what ? how->what : "database");
    return sql_is_url(where) ? sql_pq_open(ret, where, how, e) : sql_lite_open(ret, where, how, e);
}

int sql_open(struct sql **ret, const char *where, struct err *e)
{
    return sql_open_how(ret, where, &(struct sql_how){0}, e);
}

int sql_open_memory(struct sql **ret, struct err *e)
{
    return sql_lite_open(ret, NULL, &(struct sql_how){0}, e);
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

int sql_make(struct sql *s, const char *statements, struct err *e)
{
    return s->ops->make(s, statements, e);
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

int sql_is_null(const struct sql_row *r, int i)
{
    return r->is_null(r, i);
}

static int begin(struct sql *s, enum sql_begin how, struct err *e)
{
    int r = s->ops->begin(s, how, e);

    if (r)
        sql_rollback(s);
    return r;
}

int sql_begin(struct sql *s, struct err *e)
{
    return begin(s, SQL_BEGIN_WRITE, e);
}

int sql_begin_alone(struct sql *s, struct err *e)
{
    return begin(s, SQL_BEGIN_ALONE, e);
}

int sql_begin_read(struct sql *s, struct err *e)
{
    return begin(s, SQL_BEGIN_READ, e);
}

int sql_commit(struct sql *s, struct err *e)
{
    int r = s->ops->end(s, "COMMIT", e);

    if (r)
        sql_rollback(s);
    return r;
}

/* What failed before it stays what sql_code tells. */
void sql_rollback(struct sql *s)
{
    int code = s->code;
    struct err e;

    (void)s->ops->end(s, "ROLLBACK", &e);
    s->code = code;
}

int sql_version(struct sql *s, int *ret, struct err *e)
{
    return s->ops->version(s, ret, e);
}

int sql_set_version(struct sql *s, int version, struct err *e)
{
    return s->ops->set_version(s, version, e);
}

int sql_copy(struct sql *s, const char *to, struct err *e)
{
    return s->ops->copy(s, to, e);
}

int sql_code(const struct sql *s)
{
    return s->code;
}
