/* The trees over a ledger's rows, in the ledger's database: one over the rows of requests, the log
 * of answers, and one over those of power (power_log.h). Row number base + 1 + i is entry i.
 *
 * The rows themselves are the leaves. Beside them are kept the complete nodes of every eighth
 * level, one for 256 entries; the nodes that make up the tree as it is, so that it goes on from
 * there; and the signed heads. All of it is written in the transaction of the rows, so what is
 * booked is in the tree, and a head never covers what is not booked. Where rows were pruned, the
 * nodes that the paths of later ones need are kept. */
#ifndef BOOKS_LEDGER_TREE_H
#define BOOKS_LEDGER_TREE_H

#include "books/ledger_sql.h"
#include "books/proof.h"

#define LEDGER_TREE_STEP 8   /* levels */
#define LEDGER_TREE_TILE 256 /* nodes below one that is kept */

/* Nodes that became complete, to be written. */
#define LEDGER_TREE_MADE 64

/* One of the logs. */
struct ledger_log {
    enum tree_log log;              /* what its heads say of them */
    const char *tree, *node, *head; /* its tables */
    /* The leaves of the rows with a number above `after`, up to `upto`, in order. */
    int (*leaves)(struct sql *db, int64_t after, int64_t upto,
                  int (*take)(void *arg, int64_t seq, const unsigned char *leaf), void *arg,
                  struct err *e);
};
extern const struct ledger_log ledger_answers, ledger_power;

struct ledger_tree {
    const struct ledger_log *log;
    int64_t base, at_us; /* at_us: the newest time of its entries */
    struct tree tree;
    struct {
        int level;
        int64_t i;
        char hash[BOOKS_HEX(TREE_HASH)];
    } made[LEDGER_TREE_MADE];
    int n_made;
};

/* As it is in the database. */
int ledger_tree_open(struct sql *db, const struct ledger_log *log, struct ledger_tree *ret,
                     struct err *e);
/* The leaf of a row that was written, in order; at_us: the time of what it tells. */
int ledger_tree_add(struct sql *db, struct ledger_tree *t, const unsigned char leaf[TREE_HASH],
                    int64_t at_us, struct err *e);
/* Before the commit; key NULL: no head is signed. */
int ledger_tree_save(struct sql *db, struct ledger_tree *t, const struct tree_key *key,
                     struct err *e);

/* Nodes of the tree, from rows and what is kept. The caller's transaction sees to it that all is of
 * one moment. ERR_NOTFOUND: its rows were pruned; ERR_NOMEM, ERR_IO. */
struct ledger_nodes;
int ledger_nodes_open(struct ledger_nodes **ret, struct sql *db, const struct ledger_tree *t,
                      struct err *e);
void ledger_nodes_close(struct ledger_nodes *n); /* accepts NULL */
/* For tree_prove_inclusion and its like; e of ledger_nodes_open says what failed. */
struct tree_nodes ledger_nodes_door(struct ledger_nodes *n);
/* The tree as it was at a size. */
int ledger_nodes_tree(struct ledger_nodes *n, int64_t size, struct tree *ret);

/* Is it the tree that its rows make, and the last head one of it? `what` they are, for errors. */
int ledger_tree_check(struct sql *db, const struct ledger_tree *is, const struct tree *should,
                      const char *where, const char *what, struct err *e);

/* Rows of requests up to number `last` are about to be taken out: keep what later paths need of
 * them. */
int ledger_tree_keep(struct sql *db, int64_t last, struct err *e);

/* The first head of at least that size, or the last of at most that; ret->size 0: there is none. */
int ledger_tree_head_from(struct sql *db, const struct ledger_log *log, int64_t size,
                          struct tree_head *ret, struct err *e);
int ledger_tree_head_upto(struct sql *db, const struct ledger_log *log, int64_t size,
                          struct tree_head *ret, struct err *e);

#endif
