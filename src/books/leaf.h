/* The entries of the log of answers: what is written down of one, as one string of bytes.
 *
 * An entry is a map in deterministic CBOR (base/cbor.h) of the fields below, each under its number;
 * docs/receipts.md says what they mean. The tree's leaf is the hash of these bytes (books/tree.h).
 * It is made of a row of the ledger and of nothing else, so anybody who has the row can make it
 * again. Whose it is stands there as SHA-256(salt, tenant): who does not have the salt, which is
 * another one for each request, cannot try names. Pure functions. */
#ifndef BOOKS_LEAF_H
#define BOOKS_LEAF_H

#include "base/cbor.h"
#include "base/err.h"
#include "books/books.h"
#include "books/tree.h"

#define LEAF_VERSION   1
#define LEAF_ENTRY_MAX 2048

/* Fields in the order of their numbers, from 1 on, and how they stand there: a text, a whole
 * number, one that may be unknown (null), or a hash (32 bytes, or none where it is unknown). */
#define LEAF_FIELDS(X)                                                                             \
    X(INT, version)                                                                                \
    X(TEXT, request_id)                                                                            \
    X(HASH, tenant)                                                                                \
    X(INT, at_us)                                                                                  \
    X(TEXT, model)                                                                                 \
    X(TEXT, supplier)                                                                              \
    X(TEXT, site)                                                                                  \
    X(TEXT, tier)                                                                                  \
    X(TEXT, weights)                                                                               \
    X(TEXT, engine)                                                                                \
    X(TEXT, sampling)                                                                              \
    X(HASH, prompt)                                                                                \
    X(HASH, output)                                                                                \
    X(INT, status)                                                                                 \
    X(TEXT, counted)                                                                               \
    X(INT, prompt_tokens)                                                                          \
    X(INT, cached_tokens)                                                                          \
    X(INT, cache_write_tokens)                                                                     \
    X(INT, completion_tokens)                                                                      \
    X(INT, reasoning_tokens)                                                                       \
    X(MAYBE, charge_nano)                                                                          \
    X(TEXT, currency)                                                                              \
    X(TEXT, price_book)                                                                            \
    X(MAYBE, energy_uj)                                                                            \
    X(TEXT, energy_boundary)                                                                       \
    X(TEXT, energy_method)                                                                         \
    X(INT, energy_uncertainty)                                                                     \
    X(TEXT, contract)                                                                              \
    X(TEXT, tranche)                                                                               \
    X(TEXT, power)                                                                                 \
    X(TEXT, corrects)
#define LEAF_ENUM_(kind, name) LEAF_##name,
enum leaf_field { LEAF_FIELDS(LEAF_ENUM_) LEAF_N };
enum leaf_kind { LEAF_INT, LEAF_TEXT, LEAF_MAYBE, LEAF_HASH };
extern const struct leaf_column {
    const char *name;
    enum leaf_kind kind;
} leaf_columns[LEAF_N];

/* A field as it was read: a number, or bytes that are the entry's. */
struct leaf_value {
    int64_t number;
    int is_null;
    const char *at;
    size_t n;
};

/* The entry of a row; its length. */
size_t leaf_entry(const struct books_row *r, unsigned char ret[LEAF_ENTRY_MAX]);
/* The hash of that, as the tree has it. */
void leaf_of_row(const struct books_row *r, unsigned char ret[TREE_HASH]);
/* Read one: ERR_FORMAT unless it is what leaf_entry writes. */
int leaf_read(const void *entry, size_t n, struct leaf_value ret[LEAF_N], struct err *e);
/* Whose it is, as an entry has it. */
void leaf_tenant(const unsigned char salt[BOOKS_SALT], const char *tenant,
                 unsigned char ret[TREE_HASH]);
/* Hashes of token ids, as an entry has them: of each list by itself (ids in four bytes, little
 * endian), then of the salt and the hashes of all lists in order. */
void leaf_lists(const unsigned char salt[BOOKS_SALT], const unsigned char (*list)[TREE_HASH], int n,
                unsigned char ret[TREE_HASH]);

#endif
