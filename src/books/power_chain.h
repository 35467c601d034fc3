/* The chain of the table `power` (power_log.h), for the audit. */
#ifndef BOOKS_POWER_CHAIN_H
#define BOOKS_POWER_CHAIN_H

#include "books/ledger_link.h"

/* Is every row as it was written? ERR_FORMAT names the first that is not. */
int power_chain_check(struct sql *db, const char *where, struct err *e);

#endif
