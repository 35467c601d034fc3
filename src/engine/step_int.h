/* Inside of a step, shared by its own files only: step.c (the phases of a layer), step_mem.c (work
 * memory), step_prod.c (products, and how they are cut over the team), step_attn.c, step_ffn.c.
 * All on the engine thread, but for what the team runs. */
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

/* Blocks of positions of an attention tile, for all KV heads. */
struct step_attn_item {
    int32_t tile, block0, block1;
    int32_t split, n;  /* its number among the split tiles and their items; or -1: a whole tile */
    size_t part, each; /* floats: where the tile's parts begin, and those of one KV head */
};

/* Activations, int8 and bf16: each token has the form that its phase asks for. */
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

/* Tokens from token t on. */
struct step_act step_act_from(const struct step_act *a, int32_t t);
int step_reads_int8(const struct step *s, const struct kern_mat *m);
/* Row t of `a` in the form of token `tok`, to be read by a matrix that wants int8 or does not. */
void step_narrow(const struct step *s, struct step_act *a, int32_t t, int32_t tok, int want_int8);
/* Product of groups [g0, g1) for n tokens, the first n_int8 of them in int8, and the bias. `rows`
 * names the activation rows of floats and int8; those of bf16 lie in the order of the tokens. */
void step_product(const struct step *s, const struct kern_mat *m, const float *bias, int32_t g0,
                  int32_t g1, const struct step_act *a, const int32_t *rows, int32_t n,
                  int32_t n_int8, float *out, size_t stride);
/* The tokens [t0, t1) of a product of the whole step, out[tok][m->rows]. */
void step_product_block(const struct step *s, const struct kern_mat *m, const float *bias,
                        int32_t g0, int32_t g1, const struct step_act *a, int32_t t0, int32_t t1,
                        float *out);
/* Blocks of tokens: one, or as many as the prompts in bf16 fill; the first has all that is int8. */
int32_t step_n_blocks(const struct step *s, int32_t size);
void step_block_tokens(const struct step *s, int32_t block, int32_t size, int32_t *ret_t0,
                       int32_t *ret_t1);
/* By the team: per-token work; a product whose items are groups; one cut by tokens as well. */
void step_per_token(struct step *s, team_fn *fn, int32_t n);
void step_run_product(struct step *s, team_fn *fn, int32_t n_groups, int32_t n_tok);
void step_run_blocks(struct step *s, step_block_fn *fn, int32_t n_groups);

/* ---- step_attn.c ----------------------------------------------------------------------------- */

/* Once a step; then in each layer, after its queries, keys and values are there. */
void step_attn_begin(struct step *s);
void step_attn(struct step *s);

/* ---- step_ffn.c ------------------------------------------------------------------------------ */

/* The feed-forward of a layer; what it gives is added to the stream by the next layer's norm. */
void step_ffn(struct step *s);
void step_ffn_finish(struct step *s, int32_t t);

#endif
