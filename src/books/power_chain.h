/* The table `power` (power_log.h) for who has the ledger open: its chain and its log for the audit,
 * and its rows in order. */
#ifndef BOOKS_POWER_CHAIN_H
#define BOOKS_POWER_CHAIN_H

#include "books/ledger_link.h"
#include "books/power_log.h"

/* Is every row as it was written? ERR_FORMAT names the first that is not. */
int power_chain_check(struct sql *db, const char *where, struct err *e);

/* Rows with a number above `after`, up to `upto`. */
int power_log_range(struct sql *db, int64_t after, int64_t upto,
                    int (*row)(void *arg, const struct power_entry *r), void *arg, struct err *e);

#endif
