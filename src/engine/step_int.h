/* The insides of a step, for its own files only: step.c (the order of work in a layer), step_mem.c
 * (work memory), step_prod.c (matrix products, and how they are divided among the team's workers),
 * step_attn.c (attention), step_ffn.c (feed-forward). The engine thread calls everything here; the
 * functions that it hands to team_run run on the team's workers. */
#ifndef ENGINE_STEP_INT_H
#define ENGINE_STEP_INT_H

#include <stdatomic.h>

#include "engine/step.h"

#define ATTN_TOKENS                                                                                \
    24                  /* query tokens of one attention item: fills tiles of 12 rows in any group \
                         */
#define ATTN_SHARES 6   /* pieces of attention a worker should find, else long tiles are split */
#define PART_BLOCKS 128 /* parts of one token at full context, and of so many blocks more */
#define FFN_GROUPS  16  /* groups of a feed-forward item: packing the tokens is paid once each */
#define FFN_TOKENS  64  /* tokens of one pass over them */
#define FFN_ROWS    (FFN_GROUPS * KERN_LANES)
#define STREAMED    4 /* groups that the kernels stream side by side with few tokens */
#define FEW_TOKENS  4 /* up to so many, packing is nothing and small claims share work evenly */
#define TOKENS16                                                                                   \
    256 /* of a block in bf16: weights are unpacked once for many, whose rows stay in L2 */

/* A piece of attention work: one tile, over the blocks of positions [block0, block1). The team's
 * items are (piece, KV head). */
struct step_attn_item {
    int32_t tile, block0, block1;
    int32_t split, n;  /* the tile's number among the split ones, and its pieces; -1: not split */
    size_t part, each; /* floats: where the tile's parts begin, and how many one KV head has */
};

/* Activations as int8 and as bf16. A token has one of the two forms, by its phase. */
struct step_act {
    struct kern_act q;
    uint16_t *b; /* row i at b + i * b_stride; NULL where the class has none */
    size_t b_stride;
};

/* Groups [g0, g1) of a product for the tokens [t0, t1). */
typedef void step_block_fn(struct step *s, int32_t g0, int32_t g1, int32_t t0, int32_t t1);

struct step {
    struct step_config c;
    const struct model *m;
    const struct kern_table *k;
    void (*mul)(const struct kern_mat *, int32_t, int32_t, const struct kern_act *, const int32_t *,
                int32_t, float *, size_t);
    void *map;
    size_t map_bytes;

    float *x, *y;           /* [tok][n_embd]: the stream, and what a block adds to it */
    float *xn;              /* [tok][n_embd]: normed */
    float *q, *kk, *v, *ao; /* [tok][heads * head_dim] */
    float *h;               /* [slot][n_ff]: feed-forward inner, slot = token or token x expert */
    float *ys;              /* [slot][n_embd]: outputs of experts */
    float *logits;          /* [out][n_vocab] */
    struct step_act a_x, a_ao, a_h, a_out;
    uint16_t *xs;                 /* [slot][n_embd] bf16: rows of a_x by expert */
    float *xo;                    /* [out][n_embd] */
    float *cos_[2], *sin_[2];     /* [tok][n_rot / 2] per rope */
    float *scratch;               /* [team][2][FFN_TOKENS][32] */
    float *router;                /* [tok][n_experts] */
    int32_t *used;                /* [tok][n_used] expert ids by rank */
    float *used_w;                /* [tok][n_used] */
    int32_t *slot;                /* [tok][n_used] where the (token, rank) pair lies in h and ys */
    int32_t *slot_tok;            /* [slot] its token */
    int32_t *active;              /* [n_experts] experts in use */
    int32_t *x_begin;             /* [n_experts + 1] first slot of an active expert */
    int32_t *x_int8;              /* [n_experts] how many of its first slots are int8 */
    int32_t *tile_seg, *tile_tok; /* attention tiles: segment, first token in it */
    struct step_attn_item *item;  /* what they are worked on as, by the window of the layer */
    _Atomic int32_t *left;        /* [split][KV head] items not yet done */
    uint8_t *ahead;               /* [segment] queries and keys are placed before attention */
    float *part;                  /* what items of split tiles leave */
    size_t part_max;
    int32_t n_int8;   /* tokens that go in int8: all, or those before the prompts' */
    int32_t n_groups; /* of the product under way */
    step_block_fn *block;
    int32_t n_active, n_tiles, n_items, n_splits, n_ahead, item_window, ffn_per;

    /* The run in progress. */
    const struct step_batch *b;
    const struct model_layer *l;
    struct kv_place place;
    int layer;
};

/* ---- step_prod.c ----------------------------------------------------------------------------- */

/* The activations of the tokens from t on. */
struct step_act step_act_from(const struct step_act *a, int32_t t);
int step_reads_int8(const struct step *s, const struct kern_mat *m);
/* Convert row t of `a` from floats to the form that token `tok` has by its phase; want_int8 says
 * whether the matrix that will read it takes int8 at all. */
void step_narrow(const struct step *s, struct step_act *a, int32_t t, int32_t tok, int want_int8);
/* Product of groups [g0, g1) for n tokens, the first n_int8 of them in int8, and the bias. `rows`
 * names the activation rows of floats and int8; those of bf16 lie in the order of the tokens. */
void step_product(const struct step *s, const struct kern_mat *m, const float *bias, int32_t g0,
                  int32_t g1, const struct step_act *a, const int32_t *rows, int32_t n,
                  int32_t n_int8, float *out, size_t stride);
/* The same for the tokens [t0, t1) of the step, where `a` and out[tok][m->rows] hold all of them.
 */
void step_product_block(const struct step *s, const struct kern_mat *m, const float *bias,
                        int32_t g0, int32_t g1, const struct step_act *a, int32_t t0, int32_t t1,
                        float *out);
/* How many blocks of about `size` tokens a step is cut into: one, or as many as its bf16 tokens
 * fill. The first block has all int8 tokens. Then block number `block`: its tokens [t0, t1). */
int32_t step_n_blocks(const struct step *s, int32_t size);
void step_block_tokens(const struct step *s, int32_t block, int32_t size, int32_t *ret_t0,
                       int32_t *ret_t1);
/* Run work on the team: fn for each of n tokens; fn for each group of a product's rows; a product
 * whose work is cut by groups and by blocks of tokens. */
void step_per_token(struct step *s, team_fn *fn, int32_t n);
void step_run_product(struct step *s, team_fn *fn, int32_t n_groups, int32_t n_tok);
void step_run_blocks(struct step *s, step_block_fn *fn, int32_t n_groups);

/* ---- step_attn.c ----------------------------------------------------------------------------- */

/* step_attn_begin is called once a step; step_attn in each layer, when the layer's queries, keys
 * and values have been computed. */
void step_attn_begin(struct step *s);
void step_attn(struct step *s);

/* ---- step_ffn.c ------------------------------------------------------------------------------ */

/* step_ffn computes the feed-forward of a layer. Its output is added to the residual stream later,
 * by step_ffn_finish for each token, which the next layer's norm calls. */
void step_ffn(struct step *s);
void step_ffn_finish(struct step *s, int32_t t);

#endif
