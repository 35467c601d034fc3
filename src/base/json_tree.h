/* Inside of json.c: trees of ordinary JSON texts, made in one pass over the bytes. jansson's own
 * reader asks for every byte by a call; it still judges all that is not ordinary. */
#ifndef BASE_JSON_TREE_H
#define BASE_JSON_TREE_H

#include <jansson.h>
#include <stddef.h>

/* The tree that json_loadb would make of the text with JSON_REJECT_DUPLICATES and JSON_DECODE_ANY,
 * or NULL: the text is wrong, or out of the ordinary (deep, with long numbers or exponents), or
 * there is no memory. What it is then, json_loadb says. Time is linear in the text; beside the
 * tree it takes n bytes at most. Any thread. */
json_t *json_tree(const char *s, size_t n);

#endif
