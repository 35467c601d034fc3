#include "books/upkeep.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/disk.h"
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

int books_correct(const char *path, const char *request_id, const struct books_wish *wish,
                  struct books_row *ret, struct err *e)
{
    struct ledger *l = NULL;
    int r = ledger_open(&l, path, 0, e);

    if (r)
        return r;
    r = ledger_correct(l, request_id, wish, ret, e);
    ledger_close(l);
    return r ? err_prefix(e, "ledger %s", path) : 0;
}

/* ---- backup ---------------------------------------------------------------------------------- */

#define PATH_BYTES 4096

/* All pages, of one moment: a reader of a database in WAL mode holds nobody up. The copy is one
 * file, without a log beside it. */
static int copy_pages(sqlite3 *from, const char *to, struct err *e)
{
    sqlite3 *db = NULL;
    sqlite3_backup *b;
    int code = sqlite3_open_v2(to, &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, disk_vfs());
    int r = 0;

    if (!code) {
        b = sqlite3_backup_init(db, "main", from, "main");
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

int books_backup(const char *path, const char *to, int64_t *ret_n, struct err *e)
{
    char part[PATH_BYTES];
    sqlite3 *db = NULL;
    int fd, r;

    if (snprintf(part, sizeof part, "%s.part", to) >= (int)sizeof part)
        return err_set(e, ERR_ARG, "%.80s...: too long a name", to);
    if (!access(to, F_OK))
        return err_set(e, ERR_EXISTS, "%s is there already", to);
    unlink(part); /* of one that was cut short */
    fd = disk_open_private(part, O_RDWR | O_CREAT | O_EXCL);
    if (fd < 0)
        return err_set(e, ERR_IO, "%s: %s", part, strerror(errno));
    close(fd);
    r = ledger_file_open(&db, path, e);
    if (!r)
        r = copy_pages(db, part, e);
    sqlite3_close(db);
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
