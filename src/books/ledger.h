/* The ledger's database: an SQLite file in WAL mode, or PostgreSQL by URL, which many processes may
 * write. One thread at a time; see books.h.
 *
 * When ledger_write succeeds, the rows stay written even if the machine fails right after (with
 * sync_normal: if the process does). When it fails, none of its rows is written. */
#ifndef BOOKS_LEDGER_H
#define BOOKS_LEDGER_H

#include "books/upkeep.h"

struct ledger;

int ledger_open(struct ledger **ret, const char *where, int sync_normal, struct err *e);
void ledger_close(struct ledger *l); /* accepts NULL */
/* Of an SQLite file: whoever else is writing it is waited for a tenth of a second only. */
int ledger_hurry(struct ledger *l, struct err *e);
/* Sign a head of the log of answers with each commit from now on, and one now where there are rows
 * that none covers. The key is copied. 0, ERR_IO, ERR_AGAIN. */
struct tree_key;
int ledger_sign_with(struct ledger *l, const struct tree_key *key, struct err *e);
/* [any] The log of answers as this process saw it last; zeroed before the first commit. */
struct books_log;
void ledger_log_state(const struct ledger *l, struct books_log *ret);
/* All rows in one transaction: 0, or -1 and none of them, for ledger_failure to explain. A row
 * that is there already was written by an attempt that only seemed to fail; another row of the same
 * id is not written, and logged. */
int ledger_write(struct ledger *l, struct books_row *const *rows, int n);
/* Why the last write that failed did: the database's own number, and its sentence. */
int ledger_failure(const struct ledger *l, const char **ret_text);

/* Append the row that adds what is missing of it, whatever was booked and corrected before. The
 * first correction of a request leaves nothing without a price: ERR_ARG. ERR_NOTFOUND, ERR_IO. */
int ledger_correct(struct ledger *l, const char *request_id, const struct books_wish *wish,
                   struct books_row *ret, struct err *e);

#endif
