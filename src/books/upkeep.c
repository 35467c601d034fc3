#include "books/upkeep.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/disk.h"
#include "books/ledger.h"
#include "books/ledger_file.h"
#include "books/settle.h"

struct pending {
    int (*row)(void *arg, const struct books_row *r);
    void *arg;
};

static int take_pending(void *arg, const struct sql_row *s)
{
    const struct pending *p = arg;
    struct books_row row;

    ledger_sql_read(s, &row);
    return p->row(p->arg, &row);
}

int books_pending(const char *where, const struct books_where *w,
                  int (*row)(void *arg, const struct books_row *r), void *arg, struct err *e)
{
    struct books_where pending = *w;
    struct pending p = {row, arg};
    struct ledger_where rows;
    struct sql *db = NULL;
    char sql[2400];
    int r = ledger_file_open(&db, where, 1, e);

    pending.only_pending = 1;
    ledger_sql_where(&rows, &pending);
    snprintf(sql, sizeof sql,
             "SELECT " LEDGER_COLUMNS " FROM usage WHERE %s ORDER BY at_us, request_id", rows.text);
    if (!r)
        r = sql_each(db, sql, rows.v, rows.n, take_pending, &p, e);
    sql_close(db);
    return r;
}

int books_correct(const char *where, const char *request_id, const struct books_wish *wish,
                  struct books_row *ret, struct err *e)
{
    struct ledger *l = NULL;
    int r = ledger_open(&l, where, 0, e);

    if (!r)
        r = settle_for_readers(where, e);
    if (r) {
        ledger_close(l);
        return r;
    }
    r = ledger_correct(l, request_id, wish, ret, e);
    ledger_close(l);
    return r && r != ERR_IO && r != ERR_AGAIN ? err_prefix(e, "ledger %s", sql_name(where)) : r;
}

/* ---- backup ---------------------------------------------------------------------------------- */

static int audit_copy(void *arg, const char *path, struct err *e)
{
    return books_audit(path, arg, e);
}

int books_backup(const char *where, const char *to, int64_t *ret_n, struct err *e)
{
    struct sql *db = NULL;
    int r;

    if (sql_is_url(where))
        return err_set(e, ERR_UNSUPPORTED,
                       "a ledger in PostgreSQL is copied by PostgreSQL's own tools: pg_dump "
                       "--schema=" LEDGER_IN);
    r = ledger_file_open(&db, where, 1, e);
    if (!r)
        r = sql_backup(db, to, audit_copy, ret_n, e);
    sql_close(db);
    return r;
}
