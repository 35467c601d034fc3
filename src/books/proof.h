/* A receipt: the entry of an answer, its place in the log, the path from its leaf to a root, and
 * the signed head with that root. It has two forms, and both are checked here without anything
 * else: JSON for people, and a COSE receipt (RFC 9942), which also carries the entry, its salt and
 * its tenant in its unprotected header. Pure functions but for memory.
 *
 * A reader takes nothing on trust: what could be computed is computed and compared, so that a
 * receipt of which one bit is changed is refused. */
#ifndef BOOKS_PROOF_H
#define BOOKS_PROOF_H

#include "base/buf.h"
#include "base/json.h"
#include "books/leaf.h"
#include "books/tree_head.h"

#define PROOF_TEXT_MAX ((size_t)64 << 10) /* bytes of either form */

struct proof {
    int64_t index;
    char tenant[BOOKS_NAME_MAX];
    unsigned char salt[BOOKS_SALT];
    size_t n_entry;
    unsigned char entry[LEAF_ENTRY_MAX];
    struct tree_path path;
    struct tree_head head;
};

/* A head, and that its log goes on from the tree of an earlier size. */
struct tree_growth {
    int64_t since; /* 0: from nothing in particular */
    struct tree_path path;
    struct tree_head head;
};

/* Is the entry one, of that tenant, below that head, and is the head signed by its key? Whose key
 * it is, is the caller's to know. ERR_FORMAT with what is wrong. */
int proof_check(const struct proof *p, struct err *e);

/* A new reference; NULL: no memory. The entry is one. */
json_t *proof_json(const struct proof *p);
/* The fields of an entry by their names. ERR_FORMAT; *ret is a new reference. */
int proof_entry_json(const void *entry, size_t n, json_t **ret, struct err *e);
json_t *proof_head_json(const struct tree_head *h);
int proof_put_cose(struct buf *out, const struct proof *p); /* 0 or out->failed */

/* Read and check one. ERR_FORMAT, ERR_UNSUPPORTED. */
int proof_read_json(const json_t *j, struct proof *ret, struct err *e);
json_t *proof_growth_json(const struct tree_growth *g);
/* The head is checked, the path is not: that takes the root of that earlier size. */
int proof_read_growth(const json_t *j, struct tree_growth *ret, struct err *e);
int proof_read_cose(const void *bytes, size_t n, struct proof *ret, struct err *e);
int proof_read_head(const json_t *j, enum tree_log log, struct tree_head *ret, struct err *e);

/* Hex digits of JSON: exactly n bytes. 0 or -1. */
int proof_read_hex(const json_t *j, unsigned char *ret, size_t n);
json_t *proof_hex(const void *p, size_t n);

#endif
