/* The ledger's tables, and rows in and out of them. */
#ifndef BOOKS_LEDGER_SQL_H
#define BOOKS_LEDGER_SQL_H

#include <stddef.h>

#include "base/sql.h"
#include "books/books.h"

#define LEDGER_SCHEMA     12              /* sql_version */
#define LEDGER_IN         "gaufre_ledger" /* where the tables are in PostgreSQL */
#define LEDGER_CHAIN_SIZE 16
#define LEDGER_TOGETHER   32 /* rows that one statement writes */

/* All columns of usage that are a row's own, and members of struct books_row of the same name. A
 * new one is added at the end. */
#define LEDGER_FIELDS(X)                                                                           \
    X(TEXT, request_id)                                                                            \
    X(LONG, at_us)                                                                                 \
    X(TEXT, tenant)                                                                                \
    X(TEXT, key_id)                                                                                \
    X(TEXT, model)                                                                                 \
    X(TEXT, supplier)                                                                              \
    X(LONG, prompt_tokens)                                                                         \
    X(LONG, cached_tokens)                                                                         \
    X(LONG, completion_tokens)                                                                     \
    X(LONG, energy_uj)                                                                             \
    X(INT, status)                                                                                 \
    X(LONG, cache_write_tokens)                                                                    \
    X(LONG, reasoning_tokens)                                                                      \
    X(INT, usage_state)                                                                            \
    X(INT, tier)                                                                                   \
    X(LONG, charge_nano)                                                                           \
    X(LONG, cost_nano)                                                                             \
    X(TEXT, currency)                                                                              \
    X(TEXT, team)                                                                                  \
    X(TEXT, labels)                                                                                \
    X(TEXT, corrects)                                                                              \
    X(TEXT, cost_currency)                                                                         \
    X(LONG, cost_own_nano)                                                                         \
    X(LONG, lost_prompt_tokens)                                                                    \
    X(LONG, lost_cached_tokens)                                                                    \
    X(LONG, lost_completion_tokens)                                                                \
    X(INT, energy_boundary)                                                                        \
    X(INT, energy_method)                                                                          \
    X(INT, energy_uncertainty)                                                                     \
    X(TEXT, site)                                                                                  \
    X(LONG, carbon_location_ug)                                                                    \
    X(LONG, carbon_market_ug)                                                                      \
    X(TEXT, contract)                                                                              \
    X(TEXT, tranche)                                                                               \
    X(INT, lent)                                                                                   \
    X(TEXT, salt)                                                                                  \
    X(TEXT, weights)                                                                               \
    X(TEXT, engine)                                                                                \
    X(TEXT, sampling)                                                                              \
    X(TEXT, prompt_hash)                                                                           \
    X(TEXT, output_hash)                                                                           \
    X(TEXT, price_book)
#define LEDGER_COUNT_(kind, name) +1
#define LEDGER_NAME_(kind, name)  #name ", "
/* Number and hash in the chain come last. */
enum { LEDGER_SEQ = 0 LEDGER_FIELDS(LEDGER_COUNT_), LEDGER_CHAIN, LEDGER_N_COLUMNS };
#define LEDGER_COLUMNS LEDGER_FIELDS(LEDGER_NAME_) "seq, chain"

/* Without prices at all there is nothing to resolve but the counts. */
#define LEDGER_OPEN                                                                                \
    "corrects = '' AND NOT EXISTS (SELECT 1 FROM usage AS c WHERE c.corrects <> ''"                \
    " AND c.corrects = usage.request_id)"
#define LEDGER_UNPRICED                                                                            \
    "(currency <> '' AND (charge_nano < 0 OR cost_nano < 0) AND " LEDGER_OPEN ")"
#define LEDGER_PENDING "((usage_state <> 0 AND " LEDGER_OPEN ") OR " LEDGER_UNPRICED ")"
/* What was charged and is owed, without those that have no price. */
#define LEDGER_PRICED(amount)                                                                      \
    "CASE WHEN corrects = '' AND " amount " < 0 THEN 0 ELSE " amount " END"
#define LEDGER_CHARGE   LEDGER_PRICED("charge_nano")
#define LEDGER_COST     LEDGER_PRICED("cost_nano")
#define LEDGER_DAY_US   INT64_C(86400000000)
#define LEDGER_DAY      "at_us / 86400000000" /* since 1970, a number */
#define LEDGER_DAY_TEXT 11

/* The rows that books_where means: a condition, and its parameters from $1 on. */
struct ledger_where {
    char text[1200];
    struct sql_value v[12];
    int n;
};

/* Make the tables where missing, and bring those of an earlier version up to this one. ERR_FORMAT:
 * they are of a later version. `where` is for errors. */
int ledger_sql_tables(struct sql *db, const char *where, struct err *e);
void ledger_sql_where(struct ledger_where *ret, const struct books_where *w);
/* Energy, carbon, site, and what only the log of answers has are unknown; of no contract. */
void ledger_row_unmeasured(struct books_row *r);
/* The values of LEDGER_COLUMNS but the last two. The row must stay as it is while they are used. */
void ledger_sql_values(const struct books_row *r, struct sql_value ret[LEDGER_SEQ]);
void ledger_sql_read(const struct sql_row *s, struct books_row *ret); /* of LEDGER_COLUMNS */
int ledger_sql_same(const struct books_row *a, const struct books_row *b);
/* Texts of a row that are not UTF-8 (a long one may have been cut inside a character) get '?' for
 * what is wrong, as no database but SQLite takes them. 1: there were some. */
int ledger_sql_is_clean(const struct books_row *r);
void ledger_sql_clean(struct books_row *r);
/* Write n_rows rows of n_columns values each, LEDGER_TOGETHER at most a statement: `head` VALUES
 * (...), (...) `tail`. */
int ledger_sql_put(struct sql *db, const char *head, const char *tail, const struct sql_value *v,
                   int n_columns, int n_rows, struct err *e);
/* A column's text, cut to what fits. */
void ledger_sql_text(char *to, size_t cap, const struct sql_row *s, int i_column);
void ledger_sql_day(int64_t day, char ret[LEDGER_DAY_TEXT]); /* 2026-12-01 */
/* The hash of a row and all before it. */
void ledger_sql_chain(const unsigned char before[LEDGER_CHAIN_SIZE], const struct books_row *r,
                      unsigned char ret[LEDGER_CHAIN_SIZE]);

#endif
