/* Finder of special tokens in text: control tokens (only inside trusted spans) and user-defined
 * ones (anywhere). Leftmost match, longest first, as the reference tokenizers search.
 *
 * A trie whose edges lie in one hash table, behind a bit per possible first two bytes. Read-only
 * once all are added; any thread. Time: linear in the text times the longest token, in practice
 * about one look-up a byte. Limit: SPECIAL_LEN_MAX bytes a token. */
#ifndef TEXT_SPECIAL_H
#define TEXT_SPECIAL_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "text/vocab.h"

#define SPECIAL_LEN_MAX 1024u

struct special {
    struct special_edge *edge;
    size_t edge_cap;  /* power of two */
    int32_t *id;      /* of the token that ends at a node, or -1 */
    uint8_t *guarded; /* 1: the token of this node is recognised in trusted text only */
    size_t n_nodes, node_cap;
    uint64_t *pair; /* bit per first two bytes (a token of one byte sets its whole row) */
    uint64_t seed;
};

/* n_bytes: the sum of the lengths of all tokens to be added. */
int special_init(struct special *s, size_t n_bytes);
void special_done(struct special *s); /* accepts zeroed */
/* text: 1..SPECIAL_LEN_MAX bytes. The first token of equal ones stays. */
int special_add(struct special *s, const char *text, size_t n, int32_t id, int guarded);
size_t special_memory(const struct special *s);

struct special_hit {
    size_t begin, end;
    int32_t id;
};
/* The next match at or after `from`: 1 and *ret, or 0. *span is the caller's place in the trusted
 * spans; it starts at 0 and only grows over calls with growing `from`. */
int special_next(const struct special *s, const char *text, size_t n, size_t from,
                 const struct vocab_span *trusted, size_t n_trusted, size_t *span,
                 struct special_hit *ret);

#endif
