/* A Merkle tree over a log, as RFC 9162 section 2.1 defines it: SHA-256, with the byte 0x00 before
 * an entry and 0x01 before the two hashes of a node. Pure: no I/O, no memory of its own.
 *
 * Of a log that only grows, the tree that was signed says what all its entries were: a proof of
 * inclusion shows that one is among them, a proof of consistency that a later tree begins with all
 * entries of an earlier one, in their order. A node (level, i) covers the 2^level entries from
 * i * 2^level on. Limits: 2^62 entries. */
#ifndef BOOKS_TREE_H
#define BOOKS_TREE_H

#include <stddef.h>
#include <stdint.h>

#define TREE_HASH     32
#define TREE_LEVELS   63
#define TREE_PATH_MAX 64
#define TREE_SIZE_MAX (INT64_C(1) << 62)

/* SHA-256 of all of it at once, by the processor's own instructions where it has them. [any] */
void tree_sha256(const void *p, size_t n, unsigned char ret[TREE_HASH]);
void tree_hash_leaf(const void *entry, size_t n, unsigned char ret[TREE_HASH]);
void tree_hash_node(const unsigned char left[TREE_HASH], const unsigned char right[TREE_HASH],
                    unsigned char ret[TREE_HASH]);

/* A tree that grows at its end: of each 1 in the binary form of its size the node that covers so
 * many entries. Zeroed: empty. */
struct tree {
    int64_t size;
    unsigned char node[TREE_LEVELS][TREE_HASH]; /* [level], where size has a 1 there */
};
/* One entry more, by the hash of its leaf. `made` (may be NULL) is told each node of level 1 and
 * above that is complete with it. */
void tree_append(struct tree *t, const unsigned char leaf[TREE_HASH],
                 void (*made)(void *arg, int level, int64_t i, const unsigned char *hash),
                 void *arg);
void tree_root(const struct tree *t, unsigned char ret[TREE_HASH]);

/* Proofs. `node` gives the hash of a complete node; what it returns but 0 ends the making of the
 * proof with that. *ret_n: how many hashes, TREE_PATH_MAX at most. */
struct tree_nodes {
    int (*node)(void *arg, int level, int64_t i, unsigned char ret[TREE_HASH]);
    void *arg;
};
struct tree_path {
    int n;
    unsigned char hash[TREE_PATH_MAX][TREE_HASH];
};
/* index < size. */
int tree_prove_inclusion(const struct tree_nodes *of, int64_t index, int64_t size,
                         struct tree_path *ret);
/* 0 < from <= size. */
int tree_prove_consistency(const struct tree_nodes *of, int64_t from, int64_t size,
                           struct tree_path *ret);

/* The root that a path leads to from a leaf: 1; 0: a path of that place has another length. */
int tree_root_by(const unsigned char leaf[TREE_HASH], int64_t index, int64_t size,
                 const struct tree_path *path, unsigned char ret[TREE_HASH]);
/* RFC 9162 sections 2.1.3.2 and 2.1.4.2. 1: it is proven; 0: it is not. Of a tree of size 0
 * everything that it says is true, and proves nothing: it is refused. */
int tree_check_inclusion(const unsigned char leaf[TREE_HASH], int64_t index, int64_t size,
                         const struct tree_path *path, const unsigned char root[TREE_HASH]);
int tree_check_consistency(int64_t from, const unsigned char from_root[TREE_HASH], int64_t size,
                           const unsigned char root[TREE_HASH], const struct tree_path *path);

#endif
