/* COSE receipts of any log (RFC 9942, RFC9162_SHA256), as other programs make them: that an entry
 * of which one has the bytes is in a tree whose root a key signed. Only EdDSA over Ed25519. Pure.
 */
#ifndef BOOKS_COSE_H
#define BOOKS_COSE_H

#include "books/tree_head.h"

struct cose_place {
    int64_t index, size; /* of the entry, of the tree */
    unsigned char root[TREE_HASH];
};

/* 0 and where it is; ERR_FORMAT with what is wrong. Every proof of inclusion that the receipt has
 * must be of this entry and under this root. */
int cose_check(const void *receipt, size_t n, const void *entry, size_t n_entry,
               const unsigned char key[TREE_KEY], struct cose_place *ret, struct err *e);

#endif
