#include "books/upkeep.h"

#include "books/ledger.h"
#include "books/ledger_file.h"

int books_pending(const char *path, const struct books_where *w,
                  int (*row)(void *arg, const struct books_row *r), void *arg, struct err *e)
{
    static const char sql[] =
        "SELECT " LEDGER_COLUMNS " FROM usage WHERE " LEDGER_WHERE " ORDER BY at_us, request_id";
    struct books_where pending = *w;
    struct books_row found;
    sqlite3_stmt *st = NULL;
    sqlite3 *db = NULL;
    int code = 0, r = ledger_file_open(&db, path, e);

    pending.only_pending = 1;
    if (!r && sqlite3_prepare_v2(db, sql, -1, &st, NULL))
        r = ledger_file_err(db, path, e);
    if (!r)
        ledger_sql_where(st, &pending);
    while (!r && (code = sqlite3_step(st)) == SQLITE_ROW) {
        ledger_sql_read(st, &found);
        r = row(arg, &found);
    }
    if (!r && code != SQLITE_DONE)
        r = ledger_file_err(db, path, e);
    sqlite3_finalize(st);
    sqlite3_close(db);
    return r;
}

int books_correct(const char *path, const char *request_id, const int64_t *charge_nano,
                  const int64_t *cost_nano, int64_t at_us, struct books_row *ret, struct err *e)
{
    const struct ledger_wish wish = {.charge = charge_nano, .cost = cost_nano, .at_us = at_us};
    struct ledger *l = NULL;
    int r = ledger_open(&l, path, 0, e);

    if (r)
        return r;
    r = ledger_correct(l, request_id, &wish, ret, e);
    ledger_close(l);
    return r ? err_prefix(e, "ledger %s", path) : 0;
}
