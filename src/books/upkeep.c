#include "books/upkeep.h"

#include <errno.h>
#include <fcntl.h>
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

#define PATH_BYTES 4096

/* What was written survives the power. */
static int sync_file(const char *path, struct err *e)
{
    int fd = open(path, O_RDWR | O_CLOEXEC), r = 0;

    if (fd < 0 || fsync(fd))
        r = err_set(e, ERR_IO, "%s: %s", path, strerror(errno));
    if (fd >= 0)
        close(fd);
    return r;
}

int books_backup(const char *where, const char *to, int64_t *ret_n, struct err *e)
{
    char part[PATH_BYTES];
    struct sql *db = NULL;
    int fd, r;

    if (sql_is_url(where))
        return err_set(e, ERR_UNSUPPORTED,
                       "a ledger in PostgreSQL is copied by PostgreSQL's own tools: pg_dump "
                       "--schema=" LEDGER_IN);
    if (snprintf(part, sizeof part, "%s.part", to) >= (int)sizeof part)
        return err_set(e, ERR_ARG, "%.80s...: too long a name", to);
    if (!access(to, F_OK))
        return err_set(e, ERR_EXISTS, "%s is there already", to);
    unlink(part); /* of one that was cut short */
    fd = disk_open_private(part, O_RDWR | O_CREAT | O_EXCL);
    if (fd < 0)
        return err_set(e, ERR_IO, "%s: %s", part, strerror(errno));
    close(fd);
    r = ledger_file_open(&db, where, 1, e);
    if (!r)
        r = sql_copy(db, part, e);
    sql_close(db);
    if (!r)
        r = books_audit(part, ret_n, e);
    if (!r)
        r = sync_file(part, e);
    if (!r && (link(part, to) || unlink(part))) /* never over another file */
        r = err_set(e, errno == EEXIST ? ERR_EXISTS : ERR_IO, "%s: %s", to, strerror(errno));
    if (r)
        unlink(part);
    return r;
}
