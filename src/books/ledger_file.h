/* A ledger's file as commands open it: one that is there, brought up to date, also while a server
 * writes it. */
#ifndef BOOKS_LEDGER_FILE_H
#define BOOKS_LEDGER_FILE_H

#include <stddef.h>

#include "books/ledger_sql.h"

/* On failure *ret is to be closed too. */
int ledger_file_open(sqlite3 **ret, const char *path, struct err *e);
/* What SQLite says of the last call that failed. Returns ERR_IO. */
int ledger_file_err(sqlite3 *db, const char *path, struct err *e);
/* A text of a column, cut to what fits; NULL: "". */
void ledger_file_text(char *to, size_t cap, sqlite3_stmt *st, int i_column);

#endif
