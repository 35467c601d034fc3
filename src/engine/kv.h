/* The KV cache: pages of 32 tokens, per-sequence page tables, and sharing of full pages by content.
 *
 * A page holds K and V of 32 positions for all layers of a layer group (global layers, window
 * layers) and all KV heads. kern/attn.h draws one KV head of a page; the heads of a layer lie
 * together, and the layers one after the other.
 *
 * Sharing. A full page becomes a node of a tree: the path from the root spells the token ids and
 * their phases (phase.h), 32 a node, and the root is the salt (tenant), so two prompts that part at
 * token k share all full pages before k, and nobody can probe another tenant's prompts. Only full
 * pages are shared, and they are never written again, so there is no copy on write. Nodes that no
 * sequence holds are kept; when pages run out, the leaf that has been unused longest is evicted
 * first. A sequence releases a page of the window layers as soon as none of its queries can see it.
 * So a node may have lost its window page; a shared prefix must then end at a token whose whole
 * window is still there.
 *
 * Owned by the engine thread; no locks. All memory is taken in kv_open. */
#ifndef ENGINE_KV_H
#define ENGINE_KV_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "engine/model.h"

struct kv;

/* One sequence's pages. kv_seq_open empties it. */
struct kv_seq {
    int32_t *page[2];   /* [pages_max] page ids per group; -1: let go */
    int32_t *node;      /* [pages_max] node of a shared page, -1 where private */
    int32_t n_pages;    /* pages held in the global group */
    int32_t n_nodes;    /* leading pages that are nodes */
    int32_t first_live; /* first page still held in the window group */
    uint64_t salt;
    int share; /* full pages become nodes */
};

struct kv_config {
    enum kern_kv type;
    int32_t context;  /* tokens of the longest sequence */
    int32_t n_seqs;   /* sequences at once */
    int32_t chunk;    /* most tokens one step adds to a sequence */
    size_t bytes_max; /* for pages */
};

/* Bytes of a page of each group. */
size_t kv_page_bytes(const struct model *m, enum kern_kv type, int group);
/* Bytes that hold one sequence of n tokens, to which a step adds at most `chunk`. */
size_t kv_seq_bytes(const struct model *m, enum kern_kv type, int32_t n_tokens, int32_t chunk);

int kv_open(struct kv **ret, const struct model *m, const struct kv_config *c, struct err *e);
void kv_close(struct kv *kv);

/* Memory for a sequence's tables (once per slot); freed by kv_seq_done. */
int kv_seq_init(struct kv *kv, struct kv_seq *s);
void kv_seq_done(struct kv_seq *s);

/* Start a sequence: find the longest shared prefix of tokens[0, n), whose phases are `answer`
 * (NULL: all of a prompt), that leaves at least the last token to compute. Returns the number of
 * positions already in the cache (a multiple of 32). With use_cache 0 nothing is looked up. share:
 * its own full pages may be found by others. */
int32_t kv_seq_open(struct kv *kv, struct kv_seq *s, uint64_t salt, int use_cache, int share,
                    const int32_t *tokens, const uint32_t *answer, int32_t n);
/* Pages for positions [0, n). 0, or ERR_AGAIN when there are none even after eviction; what was got
 * stays. */
int kv_seq_grow(struct kv *kv, struct kv_seq *s, int32_t n);
/* Positions [0, n_done) of tokens are computed: share the pages that became full, and let go of
 * window pages that no query at n_done or later sees. */
void kv_seq_commit(struct kv *kv, struct kv_seq *s, const int32_t *tokens, const uint32_t *answer,
                   int32_t n_done);
/* Give everything back; shared pages stay findable. */
void kv_seq_close(struct kv *kv, struct kv_seq *s);

/* Where a layer's pages lie: page p of KV head h at base + p * stride + h * head_bytes. */
struct kv_place {
    uint8_t *base;
    size_t stride, head_bytes;
};
struct kv_place kv_place(const struct kv *kv, const struct model_layer *l);

struct kv_stats {
    int32_t n_pages, n_free; /* global group */
    int32_t n_cached;        /* pages in nodes that no sequence holds */
    size_t bytes;            /* all groups' pages, allocated */
    uint64_t evictions;
};
void kv_stats(const struct kv *kv, struct kv_stats *ret);
/* For tests: every count, list and reference agrees; 1 when so. */
int kv_check(const struct kv *kv, struct kv_seq *const *seqs, int n);

#endif
