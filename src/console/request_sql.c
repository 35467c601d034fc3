#include "console/request_sql.h"

#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "base/put.h"

#define SCHEMA     1 /* sql_version */
#define IN         "gaufre_requests"
#define PRUNE_ROWS 2000

static const struct request_field fields[] = {
#define SIZE(name)              sizeof((struct request_row *)NULL)->name
#define FIELD_TEXT(name)        {#name, 1, offsetof(struct request_row, name), SIZE(name)},
#define FIELD_LONG(name)        {#name, 0, offsetof(struct request_row, name), SIZE(name)},
#define FIELD(kind, name, size) FIELD_##kind(name)
    REQUEST_FIELDS(FIELD)
#undef FIELD
};
enum { N_FIELDS = ARRAY_LEN(fields) };
_Static_assert(N_FIELDS < REQUEST_FIELDS_MAX, "a place for seq");

static const char tables[] = "CREATE TABLE request (seq BIGINT NOT NULL PRIMARY KEY,"
#define COLUMN_TEXT(name)        " " #name " TEXT NOT NULL,"
#define COLUMN_LONG(name)        " " #name " BIGINT NOT NULL,"
#define COLUMN(kind, name, size) COLUMN_##kind(name)
    REQUEST_FIELDS(
        COLUMN) " UNIQUE (id));"
#undef COLUMN
                "CREATE INDEX request_at ON request (at_us);"
                "CREATE INDEX request_tenant ON request (tenant, seq);"
                "CREATE TABLE request_text (id TEXT NOT NULL PRIMARY KEY, tenant TEXT NOT NULL,"
                " until_us BIGINT NOT NULL, request TEXT, answer TEXT);"
                "CREATE INDEX request_text_until ON request_text (until_us);"
                "CREATE INDEX request_text_tenant ON request_text (tenant);";

#define NAME(kind, name, size)   #name ", "
#define COLUMNS                  REQUEST_FIELDS(NAME) "seq"
#define OF_ROW(kind, name, size) "r." #name ", "
#define ROW_COLUMNS              REQUEST_FIELDS(OF_ROW) "r.seq"

const struct request_field *request_field_row(int i)
{
    return i >= 0 && i < N_FIELDS ? &fields[i] : NULL;
}

static int make(struct sql *db, const char *where, struct err *e)
{
    int version = 0, r = sql_begin_alone(db, e);

    if (r)
        return r;
    r = sql_version(db, &version, e); /* another may have made it meanwhile */
    if (!r && version > SCHEMA)
        r = err_set(e, ERR_FORMAT, "request log %s: written by another version (schema %d, not %d)",
                    sql_name(where), version, SCHEMA);
    if (!r && !version) {
        r = sql_make(db, tables, e);
        if (!r)
            r = sql_set_version(db, SCHEMA, e);
    }
    if (!r)
        return sql_commit(db, e);
    sql_rollback(db);
    return r;
}

int request_sql_open(struct sql **ret, const char *where, int must_exist, struct err *e)
{
    const struct sql_how how = {
        .what = "request log", .schema = IN, .must_exist = must_exist, .is_flushed_late = 1};
    struct sql *db = NULL;
    int version = 0, r = sql_open_how(&db, where, &how, e);

    if (!r)
        r = sql_version(db, &version, e);
    if (!r && version != SCHEMA)
        r = must_exist && !version ? err_set(e, ERR_FORMAT, "%s is no request log", sql_name(where))
                                   : make(db, where, e);
    if (r)
        sql_close(db);
    else
        *ret = db;
    return r;
}

/* ---- rows in --------------------------------------------------------------------------------- */

static int first_number(void *arg, const struct sql_row *r)
{
    *(int64_t *)arg = sql_number(r, 0);
    return 0;
}

/* "INSERT ... VALUES ($1, ...)". */
static void insert_text(char *out, size_t cap)
{
    size_t n = (size_t)snprintf(out, cap, "INSERT INTO request (" COLUMNS ") VALUES (");

    for (int i = 1; i <= N_FIELDS + 1; i++)
        n += (size_t)snprintf(out + n, cap - n, "$%d%s", i, i <= N_FIELDS ? ", " : ")");
    snprintf(out + n, cap - n, " ON CONFLICT DO NOTHING");
}

static int write_texts(struct sql *db, const struct request_put *p, struct err *e)
{
    const struct sql_value v[] = {
        SQL_TEXT(p->row->id), SQL_TEXT(p->row->tenant), SQL_NUMBER(p->until_us),
        p->request ? SQL_TEXT(p->request) : SQL_NULL, p->answer ? SQL_TEXT(p->answer) : SQL_NULL};

    if (!p->request && !p->answer)
        return 0;
    return sql_run(db,
                   "INSERT INTO request_text (id, tenant, until_us, request, answer)"
                   " VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING",
                   v, 5, NULL, e);
}

int request_sql_write(struct sql *db, const struct request_put *puts, int n, struct err *e)
{
    char insert[1024];
    int64_t seq = 0;
    int r = sql_begin_alone(db, e);

    if (r)
        return r;
    insert_text(insert, sizeof insert);
    r = sql_each(db, "SELECT COALESCE(max(seq), 0) FROM request", NULL, 0, first_number, &seq, e);
    for (int k = 0; !r && k < n; k++) {
        struct sql_value v[N_FIELDS + 1];
        for (int i = 0; i < N_FIELDS; i++) {
            const char *at = (const char *)puts[k].row + fields[i].at;
            v[i] =
                fields[i].is_text ? SQL_TEXT(at) : SQL_NUMBER(*(const int64_t *)(const void *)at);
        }
        v[N_FIELDS] = SQL_NUMBER(++seq);
        r = sql_run(db, insert, v, N_FIELDS + 1, NULL, e);
        if (!r)
            r = write_texts(db, &puts[k], e);
    }
    if (!r)
        return sql_commit(db, e);
    sql_rollback(db);
    return r;
}

int request_sql_prune(struct sql *db, int64_t before_us, int64_t *ret_n, struct err *e)
{
    const struct sql_value v[] = {SQL_NUMBER(before_us), SQL_NUMBER(PRUNE_ROWS)};

    return sql_run(db,
                   "DELETE FROM request WHERE seq IN"
                   " (SELECT seq FROM request WHERE at_us < $1 ORDER BY at_us LIMIT $2)",
                   v, 2, ret_n, e);
}

int request_sql_prune_texts(struct sql *db, int64_t until_us, int64_t *ret_n, struct err *e)
{
    const struct sql_value v[] = {SQL_NUMBER(until_us), SQL_NUMBER(PRUNE_ROWS)};

    return sql_run(db,
                   "DELETE FROM request_text WHERE id IN"
                   " (SELECT id FROM request_text WHERE until_us < $1 ORDER BY until_us LIMIT $2)",
                   v, 2, ret_n, e);
}

int request_sql_forget(struct sql *db, const char *tenant, const char *id, int64_t *ret_n,
                       struct err *e)
{
    const struct sql_value v[] = {SQL_TEXT(tenant ? tenant : id)};

    return sql_run(db,
                   tenant ? "DELETE FROM request_text WHERE tenant = $1"
                          : "DELETE FROM request_text WHERE id = $1",
                   v, 1, ret_n, e);
}

/* ---- rows out -------------------------------------------------------------------------------- */

struct cond {
    char text[800];
    struct sql_value v[16];
    int n;
};

static void add(struct cond *c, const char *what, struct sql_value v)
{
    size_t at = strlen(c->text);

    c->v[c->n++] = v;
    snprintf(c->text + at, sizeof c->text - at, "%s%s $%d", at ? " AND " : " WHERE ", what, c->n);
}

static void add_name(struct cond *c, const char *what, const char *name)
{
    if (name)
        add(c, what, SQL_TEXT(name));
}

static void add_least(struct cond *c, const char *what, int64_t n)
{
    if (n > 0)
        add(c, what, SQL_NUMBER(n));
}

static void condition(const struct request_where *w, struct cond *c)
{
    add_name(c, "r.id =", w->id);
    add_name(c, "r.tenant =", w->tenant);
    add_name(c, "key_id =", w->key_id);
    add_name(c, "model =", w->model);
    add_name(c, "supplier =", w->supplier);
    add_least(c, "status >=", w->status_from);
    add_least(c, "status <=", w->status_to);
    add_least(c, "at_us >=", w->from_us);
    add_least(c, "total_us >=", w->slower_us);
    add_least(c, "seq >", w->after_seq);
    if (w->only_failed)
        add(c, "(error <> '' OR status >= 400) AND 1 =", SQL_NUMBER(1));
    if (w->only_texts)
        add(c, "t.id IS NOT NULL AND 1 =", SQL_NUMBER(1));
}

struct out {
    int with_texts;
    int (*row)(void *arg, const struct request_row *r);
    void *arg;
};

static int read_row(void *arg, const struct sql_row *s)
{
    const struct out *o = arg;
    struct request_row r = {0};

    for (int i = 0; i < N_FIELDS; i++) {
        char *at = (char *)&r + fields[i].at;
        if (fields[i].is_text)
            put_text(at, fields[i].size, sql_text(s, i));
        else
            *(int64_t *)(void *)at = sql_number(s, i);
    }
    r.seq = sql_number(s, N_FIELDS);
    if (o->with_texts) {
        r.request = sql_is_null(s, N_FIELDS + 1) ? NULL : sql_text(s, N_FIELDS + 1);
        r.answer = sql_is_null(s, N_FIELDS + 2) ? NULL : sql_text(s, N_FIELDS + 2);
    }
    return o->row(o->arg, &r);
}

int request_sql_each(struct sql *db, const struct request_where *w, int64_t n_max,
                     int (*row)(void *arg, const struct request_row *r), void *arg, struct err *e)
{
    struct out o = {w->with_texts, row, arg};
    struct cond c = {.n = 0};
    const char *texts =
        w->with_texts ? ", t.request AS texts_request, t.answer AS texts_answer" : "";
    const char *join =
        w->with_texts || w->only_texts ? " LEFT JOIN request_text AS t ON t.id = r.id" : "";
    char q[4000];

    condition(w, &c);
    if (!n_max) {
        snprintf(q, sizeof q, "SELECT " ROW_COLUMNS "%s FROM request AS r%s%s ORDER BY r.seq",
                 texts, join, c.text);
        return sql_each(db, q, c.v, c.n, read_row, &o, e);
    }
    c.v[c.n] = SQL_NUMBER(n_max);
    snprintf(q, sizeof q,
             "SELECT * FROM (SELECT " ROW_COLUMNS
             "%s FROM request AS r%s%s ORDER BY r.seq DESC LIMIT $%d) AS newest ORDER BY seq",
             texts, join, c.text, c.n + 1);
    return sql_each(db, q, c.v, c.n + 1, read_row, &o, e);
}
