/* JSON behind one header: jansson for trees, json_write.h for the token path.
 *
 * Parsing is strict: RFC 8259, whole UTF-8, no duplicate keys, no \u0000, no lone surrogates,
 * integers within 64 bits, finite reals. Depth is bounded by jansson (2048), size and memory by
 * the caller. Any thread. */
#ifndef BASE_JSON_H
#define BASE_JSON_H

#include <jansson.h>
#include <stddef.h>

#include "base/err.h"
#include "base/json_write.h"

/* Parse n bytes (a UTF-8 byte order mark in front is skipped). On success 0 and *ret, a new
 * reference. memory_max bounds what the tree may allocate, because a few bytes of text can become
 * a hundred of tree; 0 takes a bound from n that ordinary bodies stay far below.
 *
 * ERR_SCHEMA: not JSON; the sentence says what and where (line, column, byte), and names the key if
 * it is a duplicate (also e->param). ERR_TOO_LARGE: memory_max. */
int json_parse(json_t **ret, const char *s, size_t n, size_t memory_max, struct err *e);

/* How much memory the tree of a text can take at most, by a look at its brackets and commas. */
size_t json_cost(const char *s, size_t n);

/* Compact text of a tree, keys in insertion order; 0 or b->failed. */
int json_put_tree(struct buf *b, const json_t *j);

#endif
