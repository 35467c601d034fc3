/* An SQLite file. */
#include <errno.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/disk.h"
#include "base/sql_int.h"

#define PREPARED_MAX 32

struct prepared {
    char *text; /* as the caller has it */
    sqlite3_stmt *st;
    int is_used;
};

struct lite {
    struct sql s; /* first */
    sqlite3 *db;
    struct prepared prepared[PREPARED_MAX]; /* the last that were used, round and round */
    int i_next;
    char path[4096];
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

    l->s.code = l->db ? sqlite3_extended_errcode(l->db) : SQLITE_NOMEM;
    return err_set(e, r, "%s %s: %s", l->s.what, l->path,
                   l->db ? sqlite3_errmsg(l->db) : "out of memory");
}

static void lite_close(struct sql *s)
{
    struct lite *l = of(s);

    for (int i = 0; i < PREPARED_MAX; i++) {
        sqlite3_finalize(l->prepared[i].st);
        free(l->prepared[i].text);
    }
    sqlite3_close(l->db);
    free(l);
}

static int lite_exec(struct sql *s, const char *statements, struct err *e)
{
    return sqlite3_exec(of(s)->db, statements, NULL, NULL, NULL) ? failed(of(s), e) : 0;
}

/* ---- statements ------------------------------------------------------------------------------ */

/* SQLite numbers "$1" by where it first appears, and "?1" by its number. */
static char *with_numbers(const char *text)
{
    char *copy = strdup(text);

    for (char *p = copy; p && (p = strchr(p, '$')); p++) {
        if (p[1] >= '0' && p[1] <= '9')
            *p = '?';
    }
    return copy;
}

static int compile(struct lite *l, const char *text, sqlite3_stmt **ret)
{
    char *copy = with_numbers(text);
    int code =
        copy ? sqlite3_prepare_v3(l->db, copy, -1, SQLITE_PREPARE_PERSISTENT, ret, NULL) : -1;

    free(copy);
    return code;
}

/* Find the statement of that text, or put it in place of the one that came first; NULL: it is
 * wrong, or there is no memory. */
static struct prepared *prepare(struct lite *l, const char *text)
{
    struct prepared *p;

    for (int i = 0; i < PREPARED_MAX && l->prepared[i].text; i++) {
        if (!strcmp(l->prepared[i].text, text))
            return &l->prepared[i];
    }
    p = &l->prepared[l->i_next];
    CHECK(!p->is_used);
    sqlite3_finalize(p->st);
    free(p->text);
    *p = (struct prepared){.text = strdup(text)};
    if (!p->text || compile(l, text, &p->st)) {
        free(p->text);
        *p = (struct prepared){.text = strdup("")}; /* the slot stays one that is searched */
        return NULL;
    }
    l->i_next = (l->i_next + 1) % PREPARED_MAX;
    return p;
}

static int bind(sqlite3_stmt *st, const struct sql_value *v, int n)
{
    int code = 0, n_used = sqlite3_bind_parameter_count(st);

    for (int i = 0; !code && i < n && i < n_used; i++) {
        if (v[i].is_null)
            code = sqlite3_bind_null(st, i + 1);
        else if (v[i].text)
            code = sqlite3_bind_text(st, i + 1, v[i].text, -1, SQLITE_STATIC);
        else
            code = sqlite3_bind_int64(st, i + 1, v[i].number);
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

static int lite_is_null(const struct sql_row *r, int i)
{
    return sqlite3_column_type(((const struct lite_row *)(const void *)r)->st, i) == SQLITE_NULL;
}

static int lite_each(struct sql *s, const char *query, const struct sql_value *v, int n,
                     int (*row)(void *arg, const struct sql_row *r), void *arg,
                     int64_t *ret_changed, struct err *e)
{
    struct lite *l = of(s);
    struct lite_row one = {.r = {lite_number, lite_text, lite_is_null}};
    struct prepared *p = prepare(l, query);
    int r = 0, code;

    if (!p)
        return failed(l, e);
    CHECK(!p->is_used);
    p->is_used = 1;
    one.st = p->st;
    code = bind(p->st, v, n);
    while (!code && !r && (code = sqlite3_step(p->st)) == SQLITE_ROW) {
        code = 0;
        r = row ? row(arg, &one.r) : 0;
    }
    if (!r && code != SQLITE_DONE)
        r = failed(l, e);
    *ret_changed = sqlite3_changes(l->db);
    sqlite3_reset(p->st);
    sqlite3_clear_bindings(p->st);
    p->is_used = 0;
    return r;
}

/* ---- transactions ---------------------------------------------------------------------------- */

static int lite_begin(struct sql *s, enum sql_begin how, struct err *e)
{
    return lite_exec(s, how == SQL_BEGIN_READ ? "BEGIN" : "BEGIN IMMEDIATE", e);
}

static int lite_end(struct sql *s, const char *how, struct err *e)
{
    return *how == 'R' && sqlite3_get_autocommit(of(s)->db) ? 0 : lite_exec(s, how, e);
}

static int take_version(void *arg, const struct sql_row *r)
{
    *(int *)arg = (int)sql_number(r, 0);
    return 0;
}

static int lite_version(struct sql *s, int *ret, struct err *e)
{
    return sql_each(s, "PRAGMA user_version", NULL, 0, take_version, ret, e);
}

static int lite_set_version(struct sql *s, int version, struct err *e)
{
    char text[40];

    snprintf(text, sizeof text, "PRAGMA user_version=%d", version);
    return lite_exec(s, text, e);
}

/* All pages, of one moment: a reader of a database in WAL mode holds nobody up. The copy is one
 * file, without a log beside it. */
static int lite_copy(struct sql *s, const char *to, struct err *e)
{
    sqlite3 *db = NULL;
    sqlite3_backup *b;
    int code = sqlite3_open_v2(to, &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, disk_vfs());
    int r = 0;

    if (!code) {
        b = sqlite3_backup_init(db, "main", of(s)->db, "main");
        if (b) {
            sqlite3_backup_step(b, -1);
            sqlite3_backup_finish(b);
        }
        code = sqlite3_errcode(db);
    }
    if (!code)
        code = sqlite3_exec(db, "PRAGMA journal_mode = DELETE", NULL, NULL, NULL);
    if (code)
        r = err_set(e, ERR_IO, "%s: %s", to, db ? sqlite3_errmsg(db) : "out of memory");
    sqlite3_close(db);
    return r;
}

/* ---- opening --------------------------------------------------------------------------------- */

static const struct sql_ops lite_ops = {.close = lite_close,
                                        .exec = lite_exec,
                                        .make = lite_exec,
                                        .each = lite_each,
                                        .begin = lite_begin,
                                        .end = lite_end,
                                        .version = lite_version,
                                        .set_version = lite_set_version,
                                        .copy = lite_copy};

/* path NULL: in memory. */
static int open_file(struct lite *l, const char *path, const struct sql_how *how, struct err *e)
{
    int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX;
    const char *mode = how->is_flushed_late ? "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL"
                                            : "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL";

    if (!path)
        return sqlite3_open_v2(":memory:", &l->db, flags | SQLITE_OPEN_MEMORY, NULL) ? failed(l, e)
                                                                                     : 0;
    if (snprintf(l->path, sizeof l->path, "%s", path) >= (int)sizeof l->path)
        return err_set(e, ERR_ARG, "the %s's path is longer than %zu bytes", l->s.what,
                       sizeof l->path - 1);
    if (!how->must_exist && disk_make_private(path))
        return err_set(e, ERR_IO, "%s %s: %s", l->s.what, path, strerror(errno));
    if (sqlite3_open_v2(path, &l->db, how->must_exist ? flags : flags | SQLITE_OPEN_CREATE,
                        disk_vfs()) ||
        sqlite3_busy_timeout(l->db, SQL_BUSY_MS) ||
        (!how->must_exist && sqlite3_exec(l->db, mode, NULL, NULL, NULL)))
        return failed(l, e);
    return 0;
}

int sql_lite_open(struct sql **ret, const char *path, const struct sql_how *how, struct err *e)
{
    struct lite *l = calloc(1, sizeof *l);
    int r;

    if (!l)
        return err_set(e, ERR_NOMEM, "out of memory");
    l->s = (struct sql){.ops = &lite_ops, .what = how->what ? how->what : "database"};
    r = open_file(l, path, how, e);
    if (r)
        lite_close(&l->s);
    else
        *ret = &l->s;
    return r;
}
