/* An SQLite file. */
#include <errno.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/disk.h"
#include "base/sql_int.h"

struct lite {
    struct sql s; /* first */
    sqlite3 *db;
    char path[512];
};

struct lite_row {
    struct sql_row r; /* first */
    sqlite3_stmt *st;
};

static struct lite *of(struct sql *s)
{
    return (struct lite *)(void *)s;
}

static int failed(struct lite *l, struct err *e)
{
    int code = l->db ? sqlite3_errcode(l->db) : SQLITE_NOMEM;
    int r = code == SQLITE_CONSTRAINT                      ? ERR_EXISTS
            : code == SQLITE_BUSY || code == SQLITE_LOCKED ? ERR_AGAIN
                                                           : ERR_IO;

    return err_set(e, r, "database %s: %s", l->path,
                   l->db ? sqlite3_errmsg(l->db) : "out of memory");
}

static void lite_close(struct sql *s)
{
    sqlite3_close(of(s)->db);
    free(s);
}

static int lite_exec(struct sql *s, const char *statements, struct err *e)
{
    return sqlite3_exec(of(s)->db, statements, NULL, NULL, NULL) ? failed(of(s), e) : 0;
}

static int bind(sqlite3_stmt *st, const struct sql_value *v, int n)
{
    char name[16];
    int code = 0;

    for (int i = 0; !code && i < n; i++) {
        int at; /* SQLite numbers them by where they first appear, and knows them by name */
        snprintf(name, sizeof name, "$%d", i + 1);
        at = sqlite3_bind_parameter_index(st, name);
        if (at && v[i].text)
            code = sqlite3_bind_text(st, at, v[i].text, -1, SQLITE_STATIC);
        else if (at)
            code = sqlite3_bind_int64(st, at, v[i].number);
    }
    return code;
}

static int64_t lite_number(const struct sql_row *r, int i)
{
    return sqlite3_column_int64(((const struct lite_row *)(const void *)r)->st, i);
}

static const char *lite_text(const struct sql_row *r, int i)
{
    const void *text = sqlite3_column_text(((const struct lite_row *)(const void *)r)->st, i);

    return text ? text : "";
}

static int lite_each(struct sql *s, const char *query, const struct sql_value *v, int n,
                     int (*row)(void *arg, const struct sql_row *r), void *arg,
                     int64_t *ret_changed, struct err *e)
{
    struct lite *l = of(s);
    struct lite_row one = {.r = {lite_number, lite_text}};
    int r = 0, code = sqlite3_prepare_v2(l->db, query, -1, &one.st, NULL);

    if (!code)
        code = bind(one.st, v, n);
    while (!code && !r && (code = sqlite3_step(one.st)) == SQLITE_ROW) {
        code = 0;
        r = row ? row(arg, &one.r) : 0;
    }
    if (!r && code != SQLITE_DONE)
        r = failed(l, e);
    *ret_changed = sqlite3_changes(l->db);
    sqlite3_finalize(one.st);
    return r;
}

static const struct sql_ops lite_ops = {
    .close = lite_close, .exec = lite_exec, .each = lite_each, .begin = "BEGIN IMMEDIATE"};

int sql_lite_open(struct sql **ret, const char *path, struct err *e)
{
    struct lite *l = calloc(1, sizeof *l);
    int r = 0;

    if (!l)
        return err_set(e, ERR_NOMEM, "database %s: out of memory", path);
    l->s.ops = &lite_ops;
    if (snprintf(l->path, sizeof l->path, "%s", path) >= (int)sizeof l->path)
        r = err_set(e, ERR_ARG, "the database's path is longer than %zu bytes", sizeof l->path - 1);
    else if (disk_make_private(path))
        r = err_set(e, ERR_IO, "database %s: %s", path, strerror(errno));
    else if (sqlite3_open_v2(path, &l->db,
                             SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_FULLMUTEX,
                             disk_vfs()) ||
             sqlite3_busy_timeout(l->db, SQL_BUSY_MS) ||
             sqlite3_exec(l->db, "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL", NULL, NULL,
                          NULL))
        r = failed(l, e);
    if (r)
        lite_close(&l->s);
    else
        *ret = &l->s;
    return r;
}
