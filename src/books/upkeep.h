/* Looking after a ledger's file, for commands: what is not settled for good, and correcting it.
 * [any], also while a server writes the file. */
#ifndef BOOKS_UPKEEP_H
#define BOOKS_UPKEEP_H

#include "books/books.h"

/* The requests that are without a price, estimated or disputed, and were not corrected since; in
 * order of time. w->only_pending is taken for set. */
int books_pending(const char *path, const struct books_where *w,
                  int (*row)(void *arg, const struct books_row *r), void *arg, struct err *e);

/* Book what a request is charged and costs altogether, in nano-units of its currency, whatever was
 * booked before; NULL: as it is. A row is appended that adds what is missing, and no other is
 * changed; *ret is that row. ERR_NOTFOUND; ERR_ARG where an amount would still have no price. */
int books_correct(const char *path, const char *request_id, const int64_t *charge_nano,
                  const int64_t *cost_nano, int64_t at_us, struct books_row *ret, struct err *e);

#endif
