/* A range of the log of answers as a file, one JSON object a line: first where it begins and the
 * head under which it ends, then each entry in order. Who has the file can compute the tree again
 * from what comes before the range (its nodes) and the range itself: the signed heads at both ends
 * then say that nothing of it was dropped, doubled, changed or put elsewhere.
 *
 *   {"object":"receipts","tenant":T,"from":N,"nodes":[...],"first":HEAD,"head":HEAD}
 *   {"i":N,"leaf":"..."}                                 another tenant's entry: its hash alone
 *   {"i":N+1,"tenant":T,"salt":"...","entry":"..."}      an entry of T; without T: all of them
 *
 * "first" is null where the range begins at no signed head. */
#ifndef BOOKS_LOG_EXPORT_H
#define BOOKS_LOG_EXPORT_H

#include "books/proof.h"

/* ---- writing --------------------------------------------------------------------------------- */

struct log_range {
    const char *tenant;      /* whose entries are shown; NULL: everybody's */
    int64_t from_s, until_s; /* the entries of this time are in it; 0: any time. Unix seconds */
};
/* The smallest range between two heads that has all entries of that time: each line by itself, a
 * reference that stays books'. ERR_NOTFOUND: there is none; ERR_AGAIN: no head covers it yet.
 * [any], also while a server writes. */
int log_export(const char *where, const struct log_range *range,
               int (*line)(void *arg, const json_t *j), void *arg, struct err *e);

/* ---- reading --------------------------------------------------------------------------------- */

/* Line by line; zeroed before the first. */
struct log_import {
    char tenant[BOOKS_NAME_MAX];  /* "": all are shown */
    struct tree_head first, head; /* first.size 0: it has none */
    struct tree tree;             /* so far */
    int has_begun;
};
/* An entry that was read; n_entry 0: it is another's, and only the leaf is known. */
struct log_entry {
    int64_t i;
    unsigned char leaf[TREE_HASH], salt[BOOKS_SALT];
    char tenant[BOOKS_NAME_MAX];
    size_t n_entry;
    unsigned char entry[LEAF_ENTRY_MAX];
};
/* Take the next line: *ret is the entry, or of the first line ret->i is -1. Its heads' signatures,
 * the nodes at its beginning, its entries and their order are checked. ERR_FORMAT. */
int log_import(struct log_import *x, const json_t *line, struct log_entry *ret, struct err *e);
/* Behind the last line: is the tree that of the head? ERR_FORMAT. */
int log_import_end(const struct log_import *x, struct err *e);

#endif
