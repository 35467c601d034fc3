/* The audit: every balance computed anew from the rows, and the rows' chain of hashes. */
#include "books/entry.h"
#include "books/ledger_file.h"
#include "books/ledger_link.h"

/* Balances as they should be, beside those of the file, in a table of this connection alone. */
static const char make_should[] = "CREATE TEMP TABLE should (account "
                                  "TEXT NOT NULL, unit TEXT NOT NULL, amount BIGINT NOT NULL,"
                                  " PRIMARY KEY (account, unit));"
                                  "INSERT INTO should SELECT * FROM opening_account";
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
    " (SELECT tenant, sum(n) AS n, sum(tokens) AS tokens FROM (SELECT tenant,"
    " sum(corrects = '') AS n, sum(prompt_tokens + completion_tokens) AS tokens FROM usage"
    " GROUP BY tenant UNION ALL SELECT tenant, n_requests, prompt_tokens + completion_tokens"
    " FROM opening_balance) GROUP BY tenant) AS u USING (tenant) WHERE u.n IS NOT b.n_requests"
    " OR u.tokens IS NOT b.prompt_tokens + b.completion_tokens ORDER BY tenant LIMIT 1";

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

static int audit_rows(sqlite3 *db, const char *path, int64_t *ret_rows, struct err *e)
{
    sqlite3_stmt *st = NULL, *add = NULL;
    struct ledger_link link;
    struct books_row row;
    int code = 0, r = 0;

    if (ledger_link_open(db, &link) || sqlite3_prepare_v2(db, all_rows, -1, &st, NULL) ||
        sqlite3_prepare_v2(db, add_should, -1, &add, NULL))
        r = ledger_file_err(db, path, e);
    while (!r && (code = sqlite3_step(st)) == SQLITE_ROW) {
        ledger_sql_read(st, &row);
        if (!ledger_link_follow(&link, st, &row))
            r = err_set(
                e, ERR_FORMAT,
                "ledger %s: row %lld (request %s of tenant %s) is not as it was written, or "
                "one before it is gone",
                path, (long long)sqlite3_column_int64(st, LEDGER_N_COLUMNS), row.request_id,
                row.tenant);
        else if (post_should(add, &row))
            r = ledger_file_err(db, path, e);
        ++*ret_rows;
    }
    if (!r && code != SQLITE_DONE)
        r = ledger_file_err(db, path, e);
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
        r = ledger_file_err(db, path, e);
    sqlite3_finalize(st);
    return r;
}

int books_audit(const char *path, int64_t *ret_rows, struct err *e)
{
    sqlite3 *db = NULL;
    int r = ledger_file_open(&db, path, e);

    *ret_rows = 0;
    if (!r && (sqlite3_exec(db, "PRAGMA temp_store = MEMORY", NULL, NULL, NULL) ||
               sqlite3_exec(db, "BEGIN", NULL, NULL, NULL) || /* one state, whoever writes */
               sqlite3_exec(db, make_should, NULL, NULL, NULL)))
        r = ledger_file_err(db, path, e);
    if (!r)
        r = audit_rows(db, path, ret_rows, e);
    if (!r)
        r = audit_balances(db, path, first_account, "balance", 2, 3, e);
    if (!r)
        r = audit_balances(db, path, first_balance, "count of tokens", 2, 1, e);
    sqlite3_close(db);
    return r;
}
