/* The chain of the table `taken` (taken_log.h), for the audit. */
#ifndef BOOKS_TAKEN_CHAIN_H
#define BOOKS_TAKEN_CHAIN_H

#include "books/ledger_link.h"

/* Is every row as it was written? ERR_FORMAT names the first that is not. */
int taken_chain_check(struct sql *db, const char *where, struct err *e);

#endif
