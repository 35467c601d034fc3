/* A range of the log of answers as a file, one JSON object a line: first where it begins and the
 * head under which it ends, then each entry in order. Who has the file can compute the tree again
 * from what comes before the range (its nodes) and the range itself: the signed heads at both ends
 * then say that nothing of it was dropped, doubled, changed or put elsewhere.
 *
 *   {"object":"receipts","tenant":T,"contract":C,"base":B,"from":N,"nodes":[...],"first":HEAD,
 *    "head":HEAD}
 *   {"i":N,"leaf":"..."}                                 another tenant's entry: its hash alone
 *   {"i":N+1,"tenant":T,"salt":"...","entry":"..."}      an entry of T; without T: all of them
 *   {"i":N+2,"entry":"..."}                              of C, by a tenant who is not told
 *
 * "first" is null where the range begins at no signed head, "contract" where it is not what a
 * contract's statement is made from. Of one that is, a range of the log of power follows:
 *
 *   {"object":"power","base":B,"from":N,"nodes":[...],"first":HEAD,"head":HEAD}
 *   {"i":N,"place":"...","rest":"..."}                   a row of another place: two hashes
 *   {"i":N+1,"row":"..."}                                a row (power_leaf.h) of the contract's
 * places
 *
 * Entry i is row B + 1 + i of the ledger's table. */
#ifndef BOOKS_LOG_EXPORT_H
#define BOOKS_LOG_EXPORT_H

#include "books/power_leaf.h"
#include "books/proof.h"

/* ---- writing --------------------------------------------------------------------------------- */

struct log_range {
    const char *tenant;      /* whose entries are shown; NULL: everybody's */
    int64_t from_s, until_s; /* the entries of this time are in it; 0: any time. Unix seconds */
    /* What a statement of this contract is made from, in place of a tenant's entries; NULL: that is
     * not asked for. Of its entries those of these tenants say whose they are; of power the rows of
     * these places are shown. Rows up to these numbers are in it. */
    const char *contract;
    const char *const *tenants, *const *places;
    int n_tenants, n_places;
    int64_t upto_usage, upto_power;
};
/* The smallest range between two heads that has all entries of that time: each line by itself, a
 * reference that stays books'. ERR_NOTFOUND: there is none; ERR_AGAIN: no head covers it yet;
 * ERR_UNSUPPORTED: some of it are rows of before there was this log. [any], also while a server
 * writes. */
int log_export(const char *where, const struct log_range *range,
               int (*line)(void *arg, const json_t *j), void *arg, struct err *e);

/* ---- reading --------------------------------------------------------------------------------- */

/* Line by line; zeroed before the first. */
struct log_import {
    enum tree_log log;             /* whose range it is */
    char tenant[BOOKS_NAME_MAX];   /* "": all are shown */
    char contract[BOOKS_NAME_MAX]; /* "": it is not what a statement is made from */
    int64_t base, from;            /* base: -1, it is not told */
    struct tree_head first, head;  /* first.size 0: it has none */
    struct tree tree;              /* so far */
    int has_begun;
};
/* An entry that was read; n_entry 0: it is another's, and only the leaf is known. tenant "": it is
 * not told. Of power the entry is a row, or of another place. */
struct log_entry {
    int64_t i;
    unsigned char leaf[TREE_HASH], salt[BOOKS_SALT];
    char tenant[BOOKS_NAME_MAX];
    size_t n_entry;
    unsigned char entry[LEAF_ENTRY_MAX];
    unsigned char place[TREE_HASH]; /* of power */
    struct power_entry row;         /* of power, where n_entry is not 0: its seq is base + 1 + i */
};
/* Does a line begin a range? 1 of answers, 2 of power, 0 neither. */
int log_import_begins(const char *text, size_t n);
/* Take the next line: *ret is the entry, or of the first line ret->i is -1. Its heads' signatures,
 * the nodes at its beginning, its entries and their order are checked. ERR_FORMAT. */
int log_import(struct log_import *x, const json_t *line, struct log_entry *ret, struct err *e);
/* Behind the last line: is the tree that of the head? ERR_FORMAT. */
int log_import_end(const struct log_import *x, struct err *e);

#endif
