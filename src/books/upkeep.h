/* Looking after a ledger, for commands: what is not settled for good, and correcting it. [any],
 * also while servers write it. */
#ifndef BOOKS_UPKEEP_H
#define BOOKS_UPKEEP_H

#include "books/books.h"

/* The requests that are without a price, estimated or disputed, and were not corrected since; in
 * order of time. w->only_pending is taken for set. */
int books_pending(const char *where, const struct books_where *w,
                  int (*row)(void *arg, const struct books_row *r), void *arg, struct err *e);

/* What a request is to be charged and to cost altogether; NULL: as it is. */
struct books_wish {
    const int64_t *charge_nano, *cost_nano; /* of the request's currency */
    const int64_t *cost_own_nano;           /* of its supplier's, where that is another one */
    int64_t at_us;                          /* wall clock: when this was decided */
};
/* Book that, whatever was booked before: a row is appended that adds what is missing, and no other
 * is changed; *ret is that row. ERR_NOTFOUND; ERR_ARG where an amount would still have no price. */
int books_correct(const char *where, const char *request_id, const struct books_wish *wish,
                  struct books_row *ret, struct err *e);

/* Take out the rows of before that time; nothing else changes: balances stay as they are, and what
 * the rows added to them is kept as an opening balance that the audit begins with, and what
 * budgets were used is kept by the quarter of an hour. Rows go in the order in which they were
 * written, up to the first that is not of before; *ret_n: how many went. ERR_AGAIN where one of
 * them is pending, unless with_pending; ERR_FORMAT where one is not as it was written. */
int books_prune(const char *where, int64_t before_us, int with_pending, int64_t *ret_n,
                struct err *e);

/* Copy the ledger as it is at one moment into a new file, and audit the copy: *ret_n rows. Writers
 * are not held up. ERR_EXISTS where there is such a file; ERR_UNSUPPORTED of a ledger in
 * PostgreSQL, which has tools of its own. */
int books_backup(const char *where, const char *to, int64_t *ret_n, struct err *e);

#endif
