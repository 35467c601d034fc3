/* The ledger's tables, and rows in and out of them. */
#ifndef BOOKS_LEDGER_SQL_H
#define BOOKS_LEDGER_SQL_H

#include <sqlite3.h>

#include "books/books.h"

#define LEDGER_BUSY_MS    2000
#define LEDGER_SCHEMA     7 /* user_version */
#define LEDGER_CHAIN_SIZE 16

/* All columns of usage that are a row's own, in the order of bind and read. */
#define LEDGER_COLUMNS                                                                             \
    "request_id, at_us, tenant, key_id, model, supplier, prompt_tokens, cached_tokens,"            \
    " completion_tokens, energy_uj, status, cache_write_tokens, reasoning_tokens, usage_state,"    \
    " tier, charge_nano, cost_nano, currency, team, labels, corrects, cost_currency,"              \
    " cost_own_nano, lost_prompt_tokens, lost_cached_tokens, lost_completion_tokens"
#define LEDGER_N_COLUMNS 26

/* Rows that books_where means; ledger_sql_where binds the parameters, 1 to 9. Without prices at all
 * there is nothing to resolve but the counts. */
#define LEDGER_OPEN                                                                                \
    "corrects = '' AND NOT EXISTS (SELECT 1 FROM usage AS c WHERE c.corrects <> ''"                \
    " AND c.corrects = usage.request_id)"
#define LEDGER_UNPRICED                                                                            \
    "(currency <> '' AND (charge_nano < 0 OR cost_nano < 0) AND " LEDGER_OPEN ")"
#define LEDGER_WHERE                                                                               \
    "(?1 IS NULL OR tenant = ?1) AND (?2 IS NULL OR key_id = ?2) AND (?3 IS NULL OR model = ?3)"   \
    " AND (?4 IS NULL OR supplier = ?4) AND at_us >= ?5 AND (?6 = 0 OR at_us < ?6)"                \
    " AND (?8 IS NULL OR team = ?8)"                                                               \
    " AND (?9 IS NULL OR instr(',' || labels || ',', ',' || ?9 || ',') > 0)"                       \
    " AND (?7 = 0 OR (usage_state <> 0 AND " LEDGER_OPEN ") OR " LEDGER_UNPRICED ")"
/* What was charged and is owed, without those that have no price. */
#define LEDGER_CHARGE "iif(corrects = '', max(charge_nano, 0), charge_nano)"
#define LEDGER_COST   "iif(corrects = '', max(cost_nano, 0), cost_nano)"

/* The columns by which rows are put together; a day is text. */
extern const char *const ledger_columns[BOOKS_BY_N];

/* Make the tables where missing, and bring those of an earlier version up to this one. SQLite's
 * code; SQLITE_MISMATCH: the file is of a later version, *ret_version. */
int ledger_sql_tables(sqlite3 *db, int *ret_version);
void ledger_sql_where(sqlite3_stmt *st, const struct books_where *w);
/* As parameters 1 to LEDGER_N_COLUMNS. The row must stay as it is until the step. */
void ledger_sql_bind(sqlite3_stmt *st, const struct books_row *r);
void ledger_sql_read(sqlite3_stmt *st, struct books_row *ret); /* from columns 0.. */
/* The hash of a row and all before it. */
void ledger_sql_chain(const unsigned char before[LEDGER_CHAIN_SIZE], const struct books_row *r,
                      unsigned char ret[LEDGER_CHAIN_SIZE]);

#endif
