#include "books/ledger_file.h"

#include <stdio.h>

#include "base/disk.h"

int ledger_file_err(sqlite3 *db, const char *path, struct err *e)
{
    return err_set(e, ERR_IO, "ledger %s: %s", path, db ? sqlite3_errmsg(db) : "out of memory");
}

int ledger_file_open(sqlite3 **ret, const char *path, struct err *e)
{
    int version = 0, code;

    if (sqlite3_open_v2(path, ret, SQLITE_OPEN_READWRITE, disk_vfs()) ||
        sqlite3_busy_timeout(*ret, LEDGER_BUSY_MS))
        return ledger_file_err(*ret, path, e);
    code = ledger_sql_tables(*ret, &version);
    if (code == SQLITE_MISMATCH)
        return err_set(e, ERR_FORMAT, "ledger %s: written by another version (schema %d, not %d)",
                       path, version, LEDGER_SCHEMA);
    return code ? ledger_file_err(*ret, path, e) : 0;
}

void ledger_file_text(char *to, size_t cap, sqlite3_stmt *st, int i_column)
{
    const unsigned char *s = sqlite3_column_text(st, i_column);

    snprintf(to, cap, "%s", s ? (const char *)s : "");
}
