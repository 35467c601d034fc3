/* Reading a ledger's file, for commands and at the start: balances, and what was used. */
#include <stdio.h>

#include "books/ledger_file.h"

int books_balances(const char *path, int (*row)(void *arg, const struct books_balance *b),
                   void *arg, struct err *e)
{
    static const char sql[] = "SELECT tenant, n_requests, prompt_tokens, cached_tokens,"
                              " completion_tokens, energy_uj FROM balance ORDER BY tenant";
    struct books_balance b;
    sqlite3_stmt *st = NULL;
    sqlite3 *db = NULL;
    int code = 0, r = ledger_file_open(&db, path, e);

    if (!r && sqlite3_prepare_v2(db, sql, -1, &st, NULL))
        r = ledger_file_err(db, path, e);
    while (!r && (code = sqlite3_step(st)) == SQLITE_ROW) {
        ledger_file_text(b.tenant, sizeof b.tenant, st, 0);
        b.n_requests = sqlite3_column_int64(st, 1);
        b.prompt_tokens = sqlite3_column_int64(st, 2);
        b.cached_tokens = sqlite3_column_int64(st, 3);
        b.completion_tokens = sqlite3_column_int64(st, 4);
        b.energy_uj = sqlite3_column_int64(st, 5);
        r = row(arg, &b);
    }
    if (!r && code != SQLITE_DONE)
        r = ledger_file_err(db, path, e);
    sqlite3_finalize(st);
    sqlite3_close(db);
    return r;
}

int books_used(const char *path, enum books_by by, const char *name, int64_t from_us,
               int64_t until_us, int64_t *ret_tokens, int64_t *ret_nano, struct err *e)
{
    char sql[600];
    sqlite3_stmt *st = NULL;
    sqlite3 *db = NULL;
    int r = ledger_file_open(&db, path, e);

    snprintf(sql, sizeof sql,
             "SELECT coalesce(sum(t), 0), coalesce(sum(c), 0) FROM"
             " (SELECT sum(prompt_tokens + completion_tokens) AS t, sum(max(charge_nano, 0)) AS c"
             " FROM usage WHERE %s = ?1 AND corrects = '' AND at_us >= ?2 AND at_us < ?3"
             " UNION ALL SELECT sum(tokens), sum(charge_nano) FROM opening_use"
             " WHERE %s = ?1 AND at_us >= ?2 AND at_us < ?3)",
             ledger_columns[by], ledger_columns[by]);
    if (!r &&
        (sqlite3_prepare_v2(db, sql, -1, &st, NULL) ||
         sqlite3_bind_text(st, 1, name, -1, SQLITE_STATIC) || sqlite3_bind_int64(st, 2, from_us) ||
         sqlite3_bind_int64(st, 3, until_us) || sqlite3_step(st) != SQLITE_ROW))
        r = ledger_file_err(db, path, e);
    if (!r) {
        *ret_tokens = sqlite3_column_int64(st, 0);
        *ret_nano = sqlite3_column_int64(st, 1);
    }
    sqlite3_finalize(st);
    sqlite3_close(db);
    return r;
}
