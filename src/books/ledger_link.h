/* The chain that rows are in: each has a number and a hash of itself and all before it. Rows of the
 * first version have no place in it (number 0). It begins at the opening: where rows were pruned,
 * behind the last of them. */
#ifndef BOOKS_LEDGER_LINK_H
#define BOOKS_LEDGER_LINK_H

#include "books/ledger_sql.h"

#define LEDGER_LINK_TEXT (2 * LEDGER_CHAIN_SIZE + 1)

struct ledger_link {
    int64_t seq; /* of the last row; 0: none */
    unsigned char chain[LEDGER_CHAIN_SIZE];
};

/* Both return SQLite's code. */
int ledger_link_open(sqlite3 *db, struct ledger_link *ret); /* where the chain begins */
int ledger_link_end(sqlite3 *db, struct ledger_link *ret);

/* Go on by a row; text: the hash as it is written. */
void ledger_link_next(struct ledger_link *l, const struct books_row *r,
                      char text[LEDGER_LINK_TEXT]);
/* Does the row of a statement (LEDGER_COLUMNS, seq, chain) come next? Goes on by it. */
int ledger_link_follow(struct ledger_link *l, sqlite3_stmt *st, const struct books_row *r);

#endif
