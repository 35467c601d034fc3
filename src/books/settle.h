/* From the journal into the ledger's database. The same code does it while a server runs, when one
 * starts, and for commands: a row that is in the database already is known by its request's id, so
 * doing it twice changes nothing. */
#ifndef BOOKS_SETTLE_H
#define BOOKS_SETTLE_H

#include "books/journal.h"
#include "books/ledger.h"

/* All rows of a journal that is this process's; *ret_n went into the database. 0, or: ERR_IO, those
 * that are left are tried again by the next call; ERR_FORMAT: it is damaged, all else of it is in
 * the database, and it stays as it is. */
int settle_journal(struct journal *j, struct ledger *l, int64_t *ret_n, struct err *e);

/* For a server that starts: have a journal of its own, empty, and settle those that others left. */
int settle_open(struct journal **ret, const char *path, struct ledger *l, int is_loose,
                struct err *e);

/* For a command: what was on the disk when it began is in the database. It settles journals that
 * nobody has; of those that a server has it waits until the server has, 2 seconds at most. A ledger
 * in PostgreSQL has none. */
int settle_for_readers(const char *where, struct err *e);

/* Look at the journals that servers have: ERR_FORMAT where one is damaged. */
int settle_check(const char *where, struct err *e);

#endif
