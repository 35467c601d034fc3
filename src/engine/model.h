/* A loaded model: shapes, and weights in the repacked layout. Read-only after model_load.
 *
 * The matrices live in anonymous huge pages; they are repacked once, by the whole team (which also
 * spreads the page faults), and the pages of the file are given back on the way. */
#ifndef ENGINE_MODEL_H
#define ENGINE_MODEL_H

#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/team.h"
#include "engine/class.h"
#include "engine/family.h"
#include "engine/gguf.h"
#include "engine/rope.h"
#include "kern/kern.h"

#define MODEL_LAYERS_MAX  1024
#define MODEL_EXPERTS_MAX 1024
#define MODEL_USED_MAX    64 /* experts used per token */

/* The experts' version of a matrix: n matrices of one shape, one after the other. */
struct model_experts {
    struct kern_mat first; /* expert 0 */
    size_t stride;         /* bytes from one expert's data to the next */
    const float *bias;     /* [n_experts][rows] or NULL */
};

struct model_layer {
    const float *attn_norm, *post_attn_norm, *ffn_norm, *post_ffn_norm; /* [n_embd] or NULL */
    const float *q_norm, *k_norm;                                       /* [head_dim] or NULL */
    struct kern_mat wq, wk, wv, wo;
    const float *bq, *bk, *bv, *bo; /* or NULL */
    const float *sinks;             /* [n_heads] or NULL */
    int window;                     /* 0: global attention */
    int kv_group;                   /* which page tables: 0 global, 1 window */
    int kv_index;                   /* index among the layers of its group */
    int rope;                       /* index into model.rope */

    struct kern_mat gate, up, down; /* dense feed-forward, rows = 0 where the layer has experts */
    const float *b_gate, *b_up, *b_down;

    struct kern_mat router; /* rows = n_experts; rows = 0 where the layer is dense */
    const float *b_router;
    struct model_experts x_gate, x_up, x_down;
};

struct model {
    const struct family *family;
    int32_t n_layers, n_embd, n_heads, n_kv_heads, head_dim, n_ff, n_vocab;
    int32_t n_experts, n_used, n_ff_x;
    int32_t context_trained, window;
    float norm_eps, attn_scale, embed_scale, final_softcap;
    int n_kv_groups;      /* 1, or 2 with window layers */
    int32_t kv_layers[2]; /* layers per group */
    int32_t kv_window[2]; /* 0, window */

    struct model_layer *layer;
    struct kern_mat embed; /* [n_vocab][n_embd]; also the output where tied */
    struct kern_mat output;
    const float *output_norm;
    struct rope rope[2]; /* global, window */

    uint64_t n_params, tensor_bytes, weight_bytes;
    /* Source bytes that a step reads: dense matrices without the output, the output, one expert of
     * one layer; and what one decoded token reads in all. */
    uint64_t dense_bytes, output_bytes, expert_bytes, token_bytes;
    /* Multiply-adds of a token in the same matrices. */
    uint64_t dense_macs, output_macs, expert_macs;
    char formats[128];

    struct arena arena; /* small tensors and tables */
    struct bind *binds; /* tensors still to be repacked (between plan and load) */
    uint8_t *pages;     /* repacked matrices, huge-page aligned */
    size_t pages_bytes;
    void *map; /* the mapping around them */
    size_t map_bytes;
};

/* Read shapes and check every tensor against them; loads nothing heavy. Afterwards pages_bytes is
 * what model_load will take. */
int model_plan(struct model *m, const struct gguf *g, struct err *e);
/* Work that is done while the weights are repacked, called once by one thread of the team. It may
 * not use the model, which is not ready. A result other than 0 ends the load with this code. */
struct model_meanwhile {
    int (*fn)(void *arg);
    void *arg;
};
/* Repack the weights. model_plan must have succeeded on m; its file must still be open. `progress`
 * (may be NULL) is called by the calling thread. */
int model_load(struct model *m, struct team *t, const struct model_meanwhile *also,
               engine_progress *progress, void *arg, struct err *e);
/* Frees everything, also after a failed plan or load; accepts a zeroed model. */
void model_done(struct model *m);

/* Expert i of a set. */
static inline struct kern_mat model_expert(const struct model_experts *x, int32_t i)
{
    struct kern_mat m = x->first;
    m.data += (size_t)i * x->stride;
    return m;
}

#endif
