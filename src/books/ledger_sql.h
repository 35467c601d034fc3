/* The ledger's tables, and rows in and out of them. */
#ifndef BOOKS_LEDGER_SQL_H
#define BOOKS_LEDGER_SQL_H

#include <sqlite3.h>

#include "books/books.h"

#define LEDGER_BUSY_MS    2000
#define LEDGER_SCHEMA     3 /* user_version */
#define LEDGER_CHAIN_SIZE 16

/* All columns of usage that are a row's own, in the order of bind and read. */
#define LEDGER_COLUMNS                                                                             \
    "request_id, at_us, tenant, key_id, model, supplier, prompt_tokens, cached_tokens,"            \
    " completion_tokens, energy_uj, status, cache_write_tokens, reasoning_tokens, usage_state,"    \
    " tier, charge_nano, cost_nano, currency, team, labels"
#define LEDGER_N_COLUMNS 20

/* The columns by which rows are put together; a day is text. */
extern const char *const ledger_columns[BOOKS_BY_N];

/* Make the tables where missing, and bring those of an earlier version up to this one. SQLite's
 * code; SQLITE_MISMATCH: the file is of a later version, *ret_version. */
int ledger_sql_tables(sqlite3 *db, int *ret_version);
/* As parameters 1 to LEDGER_N_COLUMNS. The row must stay as it is until the step. */
void ledger_sql_bind(sqlite3_stmt *st, const struct books_row *r);
void ledger_sql_read(sqlite3_stmt *st, struct books_row *ret); /* from columns 0.. */
/* The hash of a row and all before it. */
void ledger_sql_chain(const unsigned char before[LEDGER_CHAIN_SIZE], const struct books_row *r,
                      unsigned char ret[LEDGER_CHAIN_SIZE]);

#endif
