#include "books/ledger.h"

#include <errno.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/disk.h"
#include "base/log.h"

#define BUSY_MS        2000
#define SCHEMA_VERSION 1

/* SQL that PostgreSQL would take as well: ids are made by this program, times are BIGINT
 * microseconds.
 */
static const char schema[] =
    "CREATE TABLE IF NOT EXISTS usage ("
    " request_id TEXT NOT NULL PRIMARY KEY, at_us BIGINT NOT NULL, tenant TEXT NOT NULL,"
    " key_id TEXT NOT NULL, model TEXT NOT NULL, supplier TEXT NOT NULL,"
    " prompt_tokens BIGINT NOT NULL, cached_tokens BIGINT NOT NULL,"
    " completion_tokens BIGINT NOT NULL, energy_uj BIGINT NOT NULL, status INTEGER NOT NULL);"
    "CREATE INDEX IF NOT EXISTS usage_tenant_at ON usage (tenant, at_us);"
    "CREATE TABLE IF NOT EXISTS balance ("
    " tenant TEXT NOT NULL PRIMARY KEY, n_requests BIGINT NOT NULL, prompt_tokens BIGINT NOT NULL,"
    " cached_tokens BIGINT NOT NULL, completion_tokens BIGINT NOT NULL,"
    " energy_uj BIGINT NOT NULL);";
static const char insert_usage[] =
    "INSERT INTO usage (request_id, at_us, tenant, key_id, model, supplier, prompt_tokens,"
    " cached_tokens, completion_tokens, energy_uj, status)"
    " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)"
    " ON CONFLICT (request_id) DO NOTHING";
static const char find_same[] =
    "SELECT 1 FROM usage WHERE request_id = ?1 AND at_us = ?2 AND tenant = ?3 AND key_id = ?4"
    " AND model = ?5 AND supplier = ?6 AND prompt_tokens = ?7 AND cached_tokens = ?8"
    " AND completion_tokens = ?9 AND energy_uj = ?10 AND status = ?11";
static const char add_balance[] =
    "INSERT INTO balance (tenant, n_requests, prompt_tokens, cached_tokens, completion_tokens,"
    " energy_uj) VALUES (?1, 1, ?2, ?3, ?4, ?5)"
    " ON CONFLICT (tenant) DO UPDATE SET n_requests = n_requests + 1,"
    " prompt_tokens = balance.prompt_tokens + excluded.prompt_tokens,"
    " cached_tokens = balance.cached_tokens + excluded.cached_tokens,"
    " completion_tokens = balance.completion_tokens + excluded.completion_tokens,"
    " energy_uj = balance.energy_uj + excluded.energy_uj";

struct ledger {
    sqlite3 *db;
    sqlite3_stmt *usage, *same, *balance;
    int why_code; /* of the last write that failed */
    char why[200];
};

static int db_err(struct ledger *l, const char *path, struct err *e)
{
    return err_set(e, ERR_IO, "ledger %s: %s", path,
                   l->db ? sqlite3_errmsg(l->db) : "out of memory");
}

static int db_open(struct ledger *l, const char *path, int sync_normal, struct err *e)
{
    static const char check[] = "PRAGMA user_version";
    sqlite3_stmt *st = NULL;
    int version = -1;

    if (disk_make_private(path))
        return err_set(e, ERR_IO, "ledger %s: %s", path, strerror(errno));
    if (sqlite3_open_v2(path, &l->db,
                        SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_FULLMUTEX,
                        disk_vfs()))
        return db_err(l, path, e);
    sqlite3_busy_timeout(l->db, BUSY_MS);
    if (sqlite3_exec(l->db, "PRAGMA journal_mode=WAL", NULL, NULL, NULL) ||
        sqlite3_exec(l->db, sync_normal ? "PRAGMA synchronous=NORMAL" : "PRAGMA synchronous=FULL",
                     NULL, NULL, NULL) ||
        sqlite3_prepare_v2(l->db, check, -1, &st, NULL))
        return db_err(l, path, e);
    if (sqlite3_step(st) == SQLITE_ROW)
        version = sqlite3_column_int(st, 0);
    sqlite3_finalize(st);
    if (version < 0)
        return db_err(l, path, e);
    if (version != 0 && version != SCHEMA_VERSION)
        return err_set(e, ERR_FORMAT, "ledger %s: written by another version (schema %d, not %d)",
                       path, version, SCHEMA_VERSION);
    if (sqlite3_exec(l->db, schema, NULL, NULL, NULL) ||
        sqlite3_exec(l->db, "PRAGMA user_version=1", NULL, NULL, NULL) ||
        sqlite3_prepare_v2(l->db, insert_usage, -1, &l->usage, NULL) ||
        sqlite3_prepare_v2(l->db, find_same, -1, &l->same, NULL) ||
        sqlite3_prepare_v2(l->db, add_balance, -1, &l->balance, NULL))
        return db_err(l, path, e);
    return 0;
}

int ledger_open(struct ledger **ret, const char *path, int sync_normal, struct err *e)
{
    struct ledger *l = calloc(1, sizeof *l);
    int r = l ? db_open(l, path, sync_normal, e) : err_set(e, ERR_NOMEM, "ledger: out of memory");

    if (r)
        ledger_close(l);
    else
        *ret = l;
    return r;
}

void ledger_close(struct ledger *l)
{
    if (!l)
        return;
    sqlite3_finalize(l->usage);
    sqlite3_finalize(l->same);
    sqlite3_finalize(l->balance);
    sqlite3_close(l->db);
    free(l);
}

static int run(sqlite3_stmt *st)
{
    int code = sqlite3_step(st);

    sqlite3_reset(st);
    return code;
}

static void bind_row(sqlite3_stmt *u, const struct books_row *r)
{
    sqlite3_bind_text(u, 1, r->request_id, -1, SQLITE_STATIC);
    sqlite3_bind_int64(u, 2, r->at_us);
    sqlite3_bind_text(u, 3, r->tenant, -1, SQLITE_STATIC);
    sqlite3_bind_text(u, 4, r->key_id, -1, SQLITE_STATIC);
    sqlite3_bind_text(u, 5, r->model, -1, SQLITE_STATIC);
    sqlite3_bind_text(u, 6, r->supplier, -1, SQLITE_STATIC);
    sqlite3_bind_int64(u, 7, r->prompt_tokens);
    sqlite3_bind_int64(u, 8, r->cached_tokens);
    sqlite3_bind_int64(u, 9, r->completion_tokens);
    sqlite3_bind_int64(u, 10, r->energy_uj);
    sqlite3_bind_int(u, 11, r->status);
}

/* The id is there. Of the same row: by a commit that had happened and then failed. Else two
 * requests have one id, and nobody finds out unless it is said. */
static int see_clash(struct ledger *l, const struct books_row *r)
{
    int code;

    bind_row(l->same, r);
    code = run(l->same);
    if (code == SQLITE_DONE)
        log_line(LOG_ERROR,
                 "ledger: another request has the id %s; not booked: %lld tokens of tenant %s",
                 r->request_id, (long long)(r->prompt_tokens + r->completion_tokens), r->tenant);
    return code == SQLITE_ROW || code == SQLITE_DONE ? 0 : -1;
}

static int write_row(struct ledger *l, const struct books_row *r)
{
    sqlite3_stmt *b = l->balance;

    bind_row(l->usage, r);
    if (run(l->usage) != SQLITE_DONE)
        return -1;
    if (!sqlite3_changes(l->db))
        return see_clash(l, r);
    sqlite3_bind_text(b, 1, r->tenant, -1, SQLITE_STATIC);
    sqlite3_bind_int64(b, 2, r->prompt_tokens);
    sqlite3_bind_int64(b, 3, r->cached_tokens);
    sqlite3_bind_int64(b, 4, r->completion_tokens);
    sqlite3_bind_int64(b, 5, r->energy_uj);
    return run(b) == SQLITE_DONE ? 0 : -1;
}

int ledger_write(struct ledger *l, struct books_row *const *rows, int n)
{
    int r = sqlite3_exec(l->db, "BEGIN IMMEDIATE", NULL, NULL, NULL);

    for (int i = 0; !r && i < n; i++)
        r = write_row(l, rows[i]);
    if (!r)
        r = sqlite3_exec(l->db, "COMMIT", NULL, NULL, NULL);
    if (!r)
        return 0;
    l->why_code = sqlite3_extended_errcode(l->db);
    snprintf(l->why, sizeof l->why, "%s", sqlite3_errmsg(l->db));
    if (!sqlite3_get_autocommit(l->db))
        sqlite3_exec(l->db, "ROLLBACK", NULL, NULL, NULL);
    return -1;
}

int ledger_failure(const struct ledger *l, const char **ret_text)
{
    *ret_text = l->why;
    return l->why_code;
}

/* ---- reading, for commands ------------------------------------------------------------------- */

static void copy(char *to, size_t cap, const unsigned char *from)
{
    snprintf(to, cap, "%s", from ? (const char *)from : "");
}

/* Open the file for one question. On failure both are NULL or still to be closed. */
static int ask(const char *path, const char *sql, sqlite3 **db, sqlite3_stmt **st, struct err *e)
{
    if (sqlite3_open_v2(path, db, SQLITE_OPEN_READWRITE, disk_vfs()) ||
        sqlite3_busy_timeout(*db, BUSY_MS) || sqlite3_prepare_v2(*db, sql, -1, st, NULL))
        return err_set(e, ERR_IO, "ledger %s: %s", path,
                       *db ? sqlite3_errmsg(*db) : "out of memory");
    return 0;
}

int books_used(const char *path, const char *tenant, int64_t from_us, int64_t until_us,
               int64_t *ret, struct err *e)
{
    static const char sql[] =
        "SELECT coalesce(sum(prompt_tokens + completion_tokens), 0) FROM usage"
        " WHERE tenant = ?1 AND at_us >= ?2 AND at_us < ?3";
    sqlite3_stmt *st = NULL;
    sqlite3 *db = NULL;
    int r = ask(path, sql, &db, &st, e);

    if (!r && (sqlite3_bind_text(st, 1, tenant, -1, SQLITE_STATIC) ||
               sqlite3_bind_int64(st, 2, from_us) || sqlite3_bind_int64(st, 3, until_us) ||
               sqlite3_step(st) != SQLITE_ROW))
        r = err_set(e, ERR_IO, "ledger %s: %s", path, sqlite3_errmsg(db));
    if (!r)
        *ret = sqlite3_column_int64(st, 0);
    sqlite3_finalize(st);
    sqlite3_close(db);
    return r;
}

int books_balances(const char *path, int (*row)(void *arg, const struct books_balance *b),
                   void *arg, struct err *e)
{
    static const char sql[] = "SELECT tenant, n_requests, prompt_tokens, cached_tokens,"
                              " completion_tokens, energy_uj FROM balance ORDER BY tenant";
    struct books_balance b;
    sqlite3_stmt *st = NULL;
    sqlite3 *db = NULL;
    int code = SQLITE_DONE, r = ask(path, sql, &db, &st, e);

    while (!r && (code = sqlite3_step(st)) == SQLITE_ROW) {
        copy(b.tenant, sizeof b.tenant, sqlite3_column_text(st, 0));
        b.n_requests = sqlite3_column_int64(st, 1);
        b.prompt_tokens = sqlite3_column_int64(st, 2);
        b.cached_tokens = sqlite3_column_int64(st, 3);
        b.completion_tokens = sqlite3_column_int64(st, 4);
        b.energy_uj = sqlite3_column_int64(st, 5);
        r = row(arg, &b);
    }
    if (!r && code != SQLITE_DONE)
        r = err_set(e, ERR_IO, "ledger %s: %s", path, sqlite3_errmsg(db));
    sqlite3_finalize(st);
    sqlite3_close(db);
    return r;
}
