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

int ledger_link_open(struct sql *db, struct ledger_link *ret,
                     struct err *e); /* where the chain begins */
int ledger_link_end(struct sql *db, struct ledger_link *ret, struct err *e);

/* The number and hash that a query finds; none: as it was. */
int ledger_link_read(struct sql *db, const char *query, struct ledger_link *ret, struct err *e);

/* Go on by a row; text: the hash as it is written. */
void ledger_link_next(struct ledger_link *l, const struct books_row *r,
                      char text[LEDGER_LINK_TEXT]);
/* Does the row, which was read from s (LEDGER_COLUMNS), come next? Goes on by it. */
int ledger_link_follow(struct ledger_link *l, const struct sql_row *s, const struct books_row *r);

#endif
