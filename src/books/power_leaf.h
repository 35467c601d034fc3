/* Entries of the log of power: what a row of the table `power` (power_log.h) is as bytes, which the
 * log's leaves are hashes of. docs/receipts.md says what the fields mean.
 *
 * All of a row are its *details*, a map in deterministic CBOR with a salt of its own. The entry is
 * a map of two hashes: of the place's name, and of the details. So who is shown the place's hash
 * and the details' sees that a row is not of a place of his, and nothing else of it. Pure
 * functions. */
#ifndef BOOKS_POWER_LEAF_H
#define BOOKS_POWER_LEAF_H

#include "base/err.h"
#include "books/power_log.h"
#include "books/tree.h"

#define POWER_LEAF_VERSION 1
#define POWER_DETAILS_MAX  1024

/* The details of a row that can be; their length. */
size_t power_leaf_details(const struct power_entry *r, unsigned char ret[POWER_DETAILS_MAX]);
/* Read them: ERR_FORMAT unless they are what power_leaf_details writes. seq is 0: it is not in
 * them. */
int power_leaf_read(const void *details, size_t n, struct power_entry *ret, struct err *e);

/* The leaf, by the two hashes. */
void power_leaf_place(const char *place, unsigned char ret[TREE_HASH]);
void power_leaf_of(const unsigned char place[TREE_HASH], const unsigned char details[TREE_HASH],
                   unsigned char ret[TREE_HASH]);
void power_leaf_of_row(const struct power_entry *r, unsigned char ret[TREE_HASH]);

#endif
