/* Reading a ledger's file, for commands: balances, bills, the audit. */
#include <sodium.h>
#include <stdio.h>
#include <string.h>

#include "base/disk.h"
#include "base/map.h"
#include "books/entry.h"
#include "books/ledger_sql.h"

static int read_err(sqlite3 *db, const char *path, struct err *e)
{
    return err_set(e, ERR_IO, "ledger %s: %s", path, db ? sqlite3_errmsg(db) : "out of memory");
}

/* Open a file that is there, and bring it up to date. On failure *ret is to be closed too. */
static int open_file(sqlite3 **ret, const char *path, struct err *e)
{
    int version = 0, code;

    if (sqlite3_open_v2(path, ret, SQLITE_OPEN_READWRITE, disk_vfs()) ||
        sqlite3_busy_timeout(*ret, LEDGER_BUSY_MS))
        return read_err(*ret, path, e);
    code = ledger_sql_tables(*ret, &version);
    if (code == SQLITE_MISMATCH)
        return err_set(e, ERR_FORMAT, "ledger %s: written by another version (schema %d, not %d)",
                       path, version, LEDGER_SCHEMA);
    return code ? read_err(*ret, path, e) : 0;
}

static void copy(char *to, size_t cap, const unsigned char *from)
{
    snprintf(to, cap, "%s", from ? (const char *)from : "");
}

int books_balances(const char *path, int (*row)(void *arg, const struct books_balance *b),
                   void *arg, struct err *e)
{
    static const char sql[] = "SELECT tenant, n_requests, prompt_tokens, cached_tokens,"
                              " completion_tokens, energy_uj FROM balance ORDER BY tenant";
    struct books_balance b;
    sqlite3_stmt *st = NULL;
    sqlite3 *db = NULL;
    int code = 0, r = open_file(&db, path, e);

    if (!r && sqlite3_prepare_v2(db, sql, -1, &st, NULL))
        r = read_err(db, path, e);
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
        r = read_err(db, path, e);
    sqlite3_finalize(st);
    sqlite3_close(db);
    return r;
}

/* The columns by which rows are put together; a day is text. */
static const char *const columns[BOOKS_BY_N] = {
    [BOOKS_BY_ALL] = "''",
    [BOOKS_BY_TENANT] = "tenant",
    [BOOKS_BY_TEAM] = "team",
    [BOOKS_BY_KEY] = "key_id",
    [BOOKS_BY_LABELS] = "labels",
    [BOOKS_BY_MODEL] = "model",
    [BOOKS_BY_SUPPLIER] = "supplier",
    [BOOKS_BY_DAY] = "strftime('%Y-%m-%d', at_us / 1000000, 'unixepoch')"};

int books_used(const char *path, enum books_by by, const char *name, int64_t from_us,
               int64_t until_us, int64_t *ret_tokens, int64_t *ret_nano, struct err *e)
{
    char sql[300];
    sqlite3_stmt *st = NULL;
    sqlite3 *db = NULL;
    int r = open_file(&db, path, e);

    snprintf(sql, sizeof sql,
             "SELECT coalesce(sum(prompt_tokens + completion_tokens), 0),"
             " coalesce(sum(max(charge_nano, 0)), 0) FROM usage"
             " WHERE %s = ?1 AND at_us >= ?2 AND at_us < ?3",
             columns[by]);
    if (!r &&
        (sqlite3_prepare_v2(db, sql, -1, &st, NULL) ||
         sqlite3_bind_text(st, 1, name, -1, SQLITE_STATIC) || sqlite3_bind_int64(st, 2, from_us) ||
         sqlite3_bind_int64(st, 3, until_us) || sqlite3_step(st) != SQLITE_ROW))
        r = read_err(db, path, e);
    if (!r) {
        *ret_tokens = sqlite3_column_int64(st, 0);
        *ret_nano = sqlite3_column_int64(st, 1);
    }
    sqlite3_finalize(st);
    sqlite3_close(db);
    return r;
}

/* ---- bills ----------------------------------------------------------------------------------- */

/* Without prices at all there is nothing to resolve but the counts. */
#define UNPRICED "(currency <> '' AND (charge_nano < 0 OR cost_nano < 0))"
#define PENDING  "(" UNPRICED " OR usage_state <> 0)"

int books_bill(const char *path, enum books_by by, const struct books_where *w,
               int (*row)(void *arg, const struct books_sum *s), void *arg, struct err *e)
{
    char sql[1400];
    struct books_sum s;
    sqlite3_stmt *st = NULL;
    sqlite3 *db = NULL;
    int code = 0, r = open_file(&db, path, e);

    snprintf(sql, sizeof sql,
             "SELECT %s AS k, currency, count(*), sum(prompt_tokens), sum(cached_tokens),"
             " sum(completion_tokens), sum(reasoning_tokens), sum(max(charge_nano, 0)),"
             " sum(max(cost_nano, 0)), sum(" UNPRICED "), sum(usage_state = 1),"
             " sum(usage_state = 2) FROM usage WHERE (?1 IS NULL OR tenant = ?1)"
             " AND (?2 IS NULL OR key_id = ?2) AND (?3 IS NULL OR model = ?3)"
             " AND (?4 IS NULL OR supplier = ?4) AND at_us >= ?5 AND (?6 = 0 OR at_us < ?6)"
             " AND (?8 IS NULL OR team = ?8)"
             " AND (?9 IS NULL OR instr(',' || labels || ',', ',' || ?9 || ',') > 0)"
             " AND (?7 = 0 OR " PENDING ") GROUP BY k, currency ORDER BY k, currency",
             columns[by]);
    if (!r && sqlite3_prepare_v2(db, sql, -1, &st, NULL))
        r = read_err(db, path, e);
    if (!r) {
        sqlite3_bind_text(st, 1, w->tenant, -1, SQLITE_STATIC);
        sqlite3_bind_text(st, 2, w->key_id, -1, SQLITE_STATIC);
        sqlite3_bind_text(st, 3, w->model, -1, SQLITE_STATIC);
        sqlite3_bind_text(st, 4, w->supplier, -1, SQLITE_STATIC);
        sqlite3_bind_int64(st, 5, w->from_s * 1000000);
        sqlite3_bind_int64(st, 6, w->until_s * 1000000);
        sqlite3_bind_int(st, 7, w->only_pending);
        sqlite3_bind_text(st, 8, w->team, -1, SQLITE_STATIC);
        sqlite3_bind_text(st, 9, w->label, -1, SQLITE_STATIC);
    }
    while (!r && (code = sqlite3_step(st)) == SQLITE_ROW) {
        copy(s.key, sizeof s.key, sqlite3_column_text(st, 0));
        copy(s.currency, sizeof s.currency, sqlite3_column_text(st, 1));
        s.n_requests = sqlite3_column_int64(st, 2);
        s.prompt_tokens = sqlite3_column_int64(st, 3);
        s.cached_tokens = sqlite3_column_int64(st, 4);
        s.completion_tokens = sqlite3_column_int64(st, 5);
        s.reasoning_tokens = sqlite3_column_int64(st, 6);
        s.charge_nano = sqlite3_column_int64(st, 7);
        s.cost_nano = sqlite3_column_int64(st, 8);
        s.n_unpriced = sqlite3_column_int64(st, 9);
        s.n_estimated = sqlite3_column_int64(st, 10);
        s.n_disputed = sqlite3_column_int64(st, 11);
        r = row(arg, &s);
    }
    if (!r && code != SQLITE_DONE)
        r = read_err(db, path, e);
    sqlite3_finalize(st);
    sqlite3_close(db);
    return r;
}

/* ---- the audit ------------------------------------------------------------------------------- */

/* Balances as they should be, beside those of the file, in a table of this connection alone. */
static const char make_should[] = "PRAGMA temp_store = MEMORY; CREATE TEMP TABLE should (account "
                                  "TEXT NOT NULL, unit TEXT NOT NULL, amount BIGINT NOT NULL,"
                                  " PRIMARY KEY (account, unit))";
static const char add_should[] =
    "INSERT INTO should (account, unit, amount) VALUES (?1, ?2, ?3)"
    " ON CONFLICT (account, unit) DO UPDATE SET amount = should.amount + excluded.amount";
static const char all_rows[] =
    "SELECT " LEDGER_COLUMNS ", seq, chain FROM usage ORDER BY seq, at_us";
static const char first_account[] =
    "SELECT s.account, s.unit, s.amount, a.amount FROM should AS s LEFT JOIN account AS a"
    " USING (account, unit) WHERE a.amount IS NULL OR a.amount <> s.amount UNION ALL"
    " SELECT a.account, a.unit, 0, a.amount FROM account AS a LEFT JOIN should AS s"
    " USING (account, unit) WHERE s.amount IS NULL AND a.amount <> 0 ORDER BY 1, 2 LIMIT 1";
static const char first_balance[] =
    "SELECT tenant, b.prompt_tokens + b.completion_tokens, u.tokens FROM balance AS b LEFT JOIN"
    " (SELECT tenant, count(*) AS n, sum(prompt_tokens + completion_tokens) AS tokens FROM usage"
    " GROUP BY tenant) AS u USING (tenant) WHERE u.n IS NOT b.n_requests OR u.tokens IS NOT"
    " b.prompt_tokens + b.completion_tokens ORDER BY tenant LIMIT 1";

static int post_should(sqlite3_stmt *add, const struct books_row *r)
{
    struct posting p[ENTRY_POSTINGS_MAX];
    int n = entry_of(r, p), code = SQLITE_DONE;

    for (int i = 0; i < n && code == SQLITE_DONE; i++) {
        sqlite3_bind_text(add, 1, p[i].account, -1, SQLITE_STATIC);
        sqlite3_bind_text(add, 2, p[i].unit, -1, SQLITE_STATIC);
        sqlite3_bind_int64(add, 3, p[i].amount);
        code = sqlite3_step(add);
        sqlite3_reset(add);
    }
    return code == SQLITE_DONE ? 0 : -1;
}

/* Does the row continue the chain? Rows of the first version have no place in it. */
static int follows(sqlite3_stmt *st, const struct books_row *r, int64_t *seq,
                   unsigned char chain[LEDGER_CHAIN_SIZE])
{
    char text[2 * LEDGER_CHAIN_SIZE + 1];
    const char *has = (const char *)sqlite3_column_text(st, LEDGER_N_COLUMNS + 1);
    int64_t at = sqlite3_column_int64(st, LEDGER_N_COLUMNS);

    if (!at)
        return 1;
    ledger_sql_chain(chain, r, chain);
    sodium_bin2hex(text, sizeof text, chain, LEDGER_CHAIN_SIZE);
    return at == ++*seq && has && !strcmp(has, text);
}

static int audit_rows(sqlite3 *db, const char *path, int64_t *ret_rows, struct err *e)
{
    unsigned char chain[LEDGER_CHAIN_SIZE] = {0};
    sqlite3_stmt *st = NULL, *add = NULL;
    struct books_row row;
    int64_t seq = 0;
    int code = 0, r = 0;

    if (sqlite3_prepare_v2(db, all_rows, -1, &st, NULL) ||
        sqlite3_prepare_v2(db, add_should, -1, &add, NULL))
        r = read_err(db, path, e);
    while (!r && (code = sqlite3_step(st)) == SQLITE_ROW) {
        ledger_sql_read(st, &row);
        if (!follows(st, &row, &seq, chain))
            r = err_set(
                e, ERR_FORMAT,
                "ledger %s: row %lld (request %s of tenant %s) is not as it was written, or "
                "one before it is gone",
                path, (long long)sqlite3_column_int64(st, LEDGER_N_COLUMNS), row.request_id,
                row.tenant);
        else if (post_should(add, &row))
            r = read_err(db, path, e);
        ++*ret_rows;
    }
    if (!r && code != SQLITE_DONE)
        r = read_err(db, path, e);
    sqlite3_finalize(st);
    sqlite3_finalize(add);
    return r;
}

/* A query for the first balance that differs: its name, what it should be, what it is. */
static int audit_balances(sqlite3 *db, const char *path, const char *sql, const char *what,
                          int i_should, int i_is, struct err *e)
{
    sqlite3_stmt *st = NULL;
    int code = sqlite3_prepare_v2(db, sql, -1, &st, NULL), r = 0;

    if (!code)
        code = sqlite3_step(st);
    if (code == SQLITE_ROW)
        r = err_set(e, ERR_FORMAT, "ledger %s: the %s of %s is %lld, its rows say %lld", path, what,
                    (const char *)sqlite3_column_text(st, 0),
                    (long long)sqlite3_column_int64(st, i_is),
                    (long long)sqlite3_column_int64(st, i_should));
    else if (code != SQLITE_DONE)
        r = read_err(db, path, e);
    sqlite3_finalize(st);
    return r;
}

int books_audit(const char *path, int64_t *ret_rows, struct err *e)
{
    sqlite3 *db = NULL;
    int r = open_file(&db, path, e);

    *ret_rows = 0;
    if (!r && sqlite3_exec(db, make_should, NULL, NULL, NULL))
        r = read_err(db, path, e);
    if (!r && sqlite3_exec(db, "BEGIN", NULL, NULL, NULL)) /* one state of it, whoever writes */
        r = read_err(db, path, e);
    if (!r)
        r = audit_rows(db, path, ret_rows, e);
    if (!r)
        r = audit_balances(db, path, first_account, "balance", 2, 3, e);
    if (!r)
        r = audit_balances(db, path, first_balance, "count of tokens", 2, 1, e);
    sqlite3_close(db);
    return r;
}
