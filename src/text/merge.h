/* The merge loop of both BPE families, inlined into each with its own pair look-up.
 *
 * A word is a row of symbols; while two neighbours merge, the best pair (smallest rank, then
 * leftmost) becomes one symbol. Short words: a scan over arrays on the stack. Longer ones: a heap
 * over a linked list, O(n log n). Both give the same result. Source: Sennrich et al. 2016, and the
 * order of ties of SentencePiece. */
#ifndef TEXT_MERGE_H
#define TEXT_MERGE_H

#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "text/vocab_int.h"

#define MERGE_SMALL    48   /* symbols; with more the heap is faster than the quadratic scan */
#define MERGE_PATIENCE 4096 /* merges between two calls of patience_over */

/* What symbols [a, b) with token ida and [b, c) with token idb merge into. */
typedef struct vocab_pair merge_look(const struct vocab *v, const char *word, size_t a, size_t b,
                                     size_t c, int32_t ida, int32_t idb);
/* One symbol of the result: id >= 0 when it came from a merge or was known at the start. */
typedef int merge_emit(const struct vocab *v, const char *p, size_t n, int32_t id,
                       struct vocab_out *out);

struct merge_node {
    uint32_t prev, next; /* a symbol is named by its first byte; next is also its end */
    int32_t id;
    uint32_t live;
};

struct merge_item {
    uint32_t rank, left, end;
    int32_t id;
};

/* start[0..k] are symbol borders (start[k] = n), id[0..k) their tokens. k <= MERGE_SMALL. */
static inline __attribute__((always_inline)) int
merge_small(const struct vocab *v, const char *word, uint32_t *start, int32_t *id, int k,
            merge_look *look, merge_emit *emit, struct vocab_out *out)
{
    uint32_t rank[MERGE_SMALL];
    int32_t to[MERGE_SMALL];

#define MERGE_LOOK(i)                                                                              \
    do {                                                                                           \
        struct vocab_pair p_ =                                                                     \
            look(v, word, start[i], start[(i) + 1], start[(i) + 2], id[i], id[(i) + 1]);           \
        rank[i] = p_.rank;                                                                         \
        to[i] = p_.id;                                                                             \
    } while (0)

    for (int i = 0; i + 1 < k; i++)
        MERGE_LOOK(i);
    while (k > 1) {
        int best = 0;
        for (int i = 1; i + 1 < k; i++)
            if (rank[i] < rank[best])
                best = i;
        if (rank[best] == VOCAB_NO_PAIR)
            break;
        id[best] = to[best];
        memmove(&id[best + 1], &id[best + 2], (size_t)(k - best - 2) * sizeof *id);
        memmove(&start[best + 1], &start[best + 2], (size_t)(k - best - 1) * sizeof *start);
        memmove(&rank[best], &rank[best + 1], (size_t)(k - best - 2) * sizeof *rank);
        memmove(&to[best], &to[best + 1], (size_t)(k - best - 2) * sizeof *to);
        k--;
        if (best + 1 < k)
            MERGE_LOOK(best);
        if (best > 0)
            MERGE_LOOK(best - 1);
    }
#undef MERGE_LOOK
    for (int i = 0; i < k; i++) {
        int rc = emit(v, word + start[i], start[i + 1] - start[i], id[i], out);
        if (rc)
            return rc;
    }
    return 0;
}

static inline int merge_before(const struct merge_item *a, const struct merge_item *b)
{
    return a->rank != b->rank ? a->rank < b->rank : a->left < b->left;
}

static inline void merge_sift_down(struct merge_item *h, size_t n, size_t i)
{
    struct merge_item x = h[i];
    for (;;) {
        size_t c = 2 * i + 1;
        if (c >= n)
            break;
        if (c + 1 < n && merge_before(&h[c + 1], &h[c]))
            c++;
        if (!merge_before(&h[c], &x))
            break;
        h[i] = h[c];
        i = c;
    }
    h[i] = x;
}

static inline void merge_sift_up(struct merge_item *h, size_t i)
{
    struct merge_item x = h[i];
    while (i && merge_before(&x, &h[(i - 1) / 2])) {
        h[i] = h[(i - 1) / 2];
        i = (i - 1) / 2;
    }
    h[i] = x;
}

/* scratch->node[] describes the symbols of the word's n bytes (live ones linked from 0); the heap
 * has room for twice as many items as there are symbols: each merge takes one and adds two at most,
 * and there are fewer merges than symbols. */
static inline __attribute__((always_inline)) int
merge_long(const struct vocab *v, const char *word, uint32_t n, struct vocab_scratch *scratch,
           merge_look *look, merge_emit *emit, struct vocab_out *out)
{
    struct merge_node *node = scratch->node;
    struct merge_item *heap = scratch->heap;
    size_t k = 0, pops = 0;

#define MERGE_PUT(a, sift)                                                                         \
    do {                                                                                           \
        uint32_t a_ = (a), b_ = node[a_].next;                                                     \
        if (b_ < n) {                                                                              \
            struct vocab_pair p_ = look(v, word, a_, b_, node[b_].next, node[a_].id, node[b_].id); \
            if (p_.rank != VOCAB_NO_PAIR) {                                                        \
                heap[k++] = (struct merge_item){p_.rank, a_, node[b_].next, p_.id};                \
                if (sift)                                                                          \
                    merge_sift_up(heap, k - 1);                                                    \
            }                                                                                      \
        }                                                                                          \
    } while (0)

    for (uint32_t i = 0; i < n; i = node[i].next)
        MERGE_PUT(i, 0);
    for (size_t i = k / 2; i-- > 0;)
        merge_sift_down(heap, k, i);
    while (k) {
        struct merge_item top = heap[0];
        uint32_t left = top.left, right;
        if (++pops % MERGE_PATIENCE == 0) {
            int rc = patience_over(scratch->patience, NULL);
            if (rc)
                return rc;
        }
        heap[0] = heap[--k];
        if (k)
            merge_sift_down(heap, k, 0);
        right = node[left].next;
        /* Symbols only grow, so a heap item is still valid if its two symbols have the same ends.
         */
        if (!node[left].live || right >= n || node[right].next != top.end)
            continue;
        node[left].id = top.id;
        node[left].next = top.end;
        node[right].live = 0;
        if (top.end < n)
            node[top.end].prev = left;
        if (left)
            MERGE_PUT(node[left].prev, 1);
        MERGE_PUT(left, 1);
    }
#undef MERGE_PUT
    for (uint32_t i = 0; i < n; i = node[i].next) {
        int rc = emit(v, word + i, node[i].next - i, node[i].id, out);
        if (rc)
            return rc;
    }
    return 0;
}

/* Room for a word of n bytes and at most n symbols; 0, ERR_LIMIT or ERR_NOMEM. */
static inline int merge_reserve(struct vocab_scratch *s, size_t n)
{
    if (n > VOCAB_WORD_MAX)
        return ERR_LIMIT;
    if (n > s->node_cap) {
        vocab_scratch_done(s);
        s->node = malloc(n * sizeof *s->node);
        s->heap = malloc(2 * n * sizeof *s->heap);
        if (!s->node || !s->heap)
            return ERR_NOMEM;
        s->node_cap = n;
    }
    return 0;
}

#endif
