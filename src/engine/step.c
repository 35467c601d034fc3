#include "engine/step.h"

#include <math.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/check.h"
#include "base/clock.h"

#define ATTN_TOKENS                                                                                \
    24                 /* query tokens of one attention item: fills tiles of 12 rows in any group  \
                        */
#define ATTN_SHARES 6  /* pieces of attention a worker should find, else long tiles are split */
#define FFN_GROUPS  16 /* groups of a feed-forward item: packing the tokens is paid once each */
#define FFN_DECODE  4  /* and with few tokens: what the kernels stream side by side */
#define FEW_TOKENS                                                                                 \
    4 /* up to so many, packing is nothing and small claims share the work evenly                  \
       */
#define CLAIM_MANY   32 /* groups of a claim with more */
#define FFN_ROWS     (FFN_GROUPS * KERN_LANES)
#define FFN_TOKENS   64 /* tokens of one pass over a pair of groups in the feed-forward */
#define FFN_GROUPS16 4  /* in bf16 weights are unpacked: few groups, many tokens */
#define FFN_TOKENS16 256
#define PART_BLOCKS  128 /* parts of one token at full context, and of so many blocks more */
#define SERIAL_MAX   2   /* up to so many tokens, per-token work is done by the caller alone */

/* Blocks of positions of an attention tile, for all KV heads. */
struct attn_item {
    int32_t tile, block0, block1;
    int32_t split, n;  /* its number among the split tiles and their items; or -1: a whole tile */
    size_t part, each; /* floats: where the tile's parts begin, and those of one KV head */
};

/* Activations, int8 and bf16: each token has the form that its phase asks for. */
struct act {
    struct kern_act q;
    uint16_t *b; /* row i at b + i * b_stride; NULL where the class has none */
    size_t b_stride;
};

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
    struct act a_x, a_ao, a_h, a_out;
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
    struct attn_item *item;       /* what they are worked on as, by the window of the layer */
    _Atomic int32_t *left;        /* [split][KV head] items not yet done */
    uint8_t *ahead;               /* [segment] queries and keys are placed before attention */
    float *part;                  /* what items of split tiles leave */
    size_t part_max;
    int32_t n_int8; /* tokens that go in int8: all, or those before the prompts' */
    int32_t n_active, n_tiles, n_items, n_splits, n_ahead, item_window, ffn_per;

    /* The run in progress. */
    const struct step_batch *b;
    const struct model_layer *l;
    struct kv_place place;
    int layer;
};

/* ---- buffers ----------------------------------------------------------------------------------
 */

/* With base NULL it only counts. */
struct carve {
    uint8_t *base;
    size_t at;
};

static void *carve(struct carve *c, size_t n, size_t size)
{
    void *p = c->base ? c->base + c->at : NULL;
    c->at += (n * size + 63) & ~(size_t)63;
    return p;
}

/* A row of bf16 in elements: lines, and one more, so that the rows of a tile, read side by side, do
 * not all fall into one set of the cache. */
static size_t stride16(int32_t cols)
{
    return ((size_t)cols + 31) / 32 * 32 + 32;
}

/* Rows of bf16; kernels may read up to a multiple of 16. */
static uint16_t *carve16(struct carve *c, size_t n, int32_t cols)
{
    return carve(c, (n + 16) * stride16(cols), sizeof(uint16_t));
}

static void carve_act(struct carve *c, struct act *a, const float *f, int32_t n, int32_t cols,
                      int is16)
{
    *a = (struct act){{.n = n, .cols = cols, .f = f, .f_stride = (size_t)cols}, NULL, 0};
    a->q.q = carve(c, (size_t)n * (size_t)cols + 64, 1);
    a->q.scale = carve(c, (size_t)n * (size_t)(cols / 32 + 1), sizeof(float));
    a->q.sum = carve(c, (size_t)n * (size_t)(cols / 16 + 2), sizeof(int16_t));
    a->b_stride = stride16(cols);
    if (is16)
        a->b = carve16(c, (size_t)n, cols);
}

static void lay_out(struct step *s, struct carve *c)
{
    const struct model *m = s->m;
    size_t t = (size_t)s->c.tok_max, e = (size_t)m->n_embd, hd = (size_t)m->head_dim;
    size_t slots = m->n_experts ? t * (size_t)m->n_used : t;
    size_t ff = (size_t)(m->n_experts ? m->n_ff_x : m->n_ff), n_rot = (size_t)m->rope[0].n_rot;
    size_t tiles = (size_t)s->c.seg_max + t / ATTN_TOKENS + 1;
    int is16 = s->c.cls == ENGINE_BF16;

    s->x = carve(c, t * e, sizeof(float));
    s->y = carve(c, t * e, sizeof(float));
    s->xn = carve(c, t * e, sizeof(float));
    s->q = carve(c, t * (size_t)m->n_heads * hd, sizeof(float));
    s->kk = carve(c, t * (size_t)m->n_kv_heads * hd, sizeof(float));
    s->v = carve(c, t * (size_t)m->n_kv_heads * hd, sizeof(float));
    s->ao = carve(c, t * (size_t)m->n_heads * hd, sizeof(float));
    s->h = carve(c, slots * ff, sizeof(float));
    s->xo = carve(c, (size_t)s->c.out_max * e, sizeof(float));
    carve_act(c, &s->a_x, s->xn, s->c.tok_max, m->n_embd, is16);
    carve_act(c, &s->a_ao, s->ao, s->c.tok_max, m->n_heads * m->head_dim, is16);
    carve_act(c, &s->a_h, s->h, (int32_t)slots, (int32_t)ff, is16);
    carve_act(c, &s->a_out, s->xo, s->c.out_max, m->n_embd, 0);
    for (int r = 0; r < 2; r++) {
        s->cos_[r] = carve(c, t * n_rot / 2, sizeof(float));
        s->sin_[r] = carve(c, t * n_rot / 2, sizeof(float));
    }
    s->scratch = carve(c, (size_t)team_size(s->c.team) * 2 * FFN_TOKENS * FFN_ROWS, sizeof(float));
    s->tile_seg = carve(c, tiles, sizeof(int32_t));
    s->tile_tok = carve(c, tiles, sizeof(int32_t));
    s->item = carve(c, 2 * tiles + (size_t)team_size(s->c.team) * ATTN_SHARES, sizeof *s->item);
    s->left = carve(c, tiles * (size_t)m->n_kv_heads, sizeof *s->left);
    s->ahead = carve(c, (size_t)s->c.seg_max, 1);
    s->part_max = (size_t)(s->c.context / KERN_ATTN_BLOCK + PART_BLOCKS) * (size_t)m->n_heads *
                  kern_attn_part_floats(m->head_dim);
    s->part = carve(c, s->part_max, sizeof(float));
    if (m->n_experts) {
        s->ys = carve(c, slots * e, sizeof(float));
        s->router = carve(c, t * (size_t)m->n_experts, sizeof(float));
        s->used = carve(c, slots, sizeof(int32_t));
        s->used_w = carve(c, slots, sizeof(float));
        s->slot = carve(c, slots, sizeof(int32_t));
        s->slot_tok = carve(c, slots, sizeof(int32_t));
        s->active = carve(c, (size_t)m->n_experts, sizeof(int32_t));
        s->x_begin = carve(c, (size_t)m->n_experts + 1, sizeof(int32_t));
        s->x_int8 = carve(c, (size_t)m->n_experts, sizeof(int32_t));
        s->xs = is16 ? carve16(c, slots, m->n_embd) : NULL;
    }
    s->logits = carve(c, (size_t)s->c.out_max * (size_t)m->n_vocab, sizeof(float));
}

size_t step_bytes(const struct step_config *c)
{
    struct step s = {.c = *c, .m = c->model};
    struct carve count = {NULL, 0};
    lay_out(&s, &count);
    return count.at;
}

int step_open(struct step **ret, const struct step_config *c, struct err *e)
{
    struct step *s = calloc(1, sizeof *s);
    struct carve place = {NULL, 0};

    if (!s)
        return err_set(e, ERR_NOMEM, "no memory for work buffers");
    s->c = *c;
    s->m = c->model;
    s->k = c->kern;
    s->mul = c->cls == ENGINE_F32 ? c->kern->matmul_f32 : c->kern->matmul_q8;
    s->map_bytes = step_bytes(c);
    s->map = mmap(NULL, s->map_bytes, PROT_READ | PROT_WRITE,
                  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (s->map == MAP_FAILED) {
        free(s);
        return err_set(e, ERR_NOMEM, "no memory for %.1f MB of work buffers",
                       (double)step_bytes(c) / 1e6);
    }
    place.base = s->map;
    lay_out(s, &place);
    *ret = s;
    return 0;
}

void step_close(struct step *s)
{
    if (!s)
        return;
    munmap(s->map, s->map_bytes);
    free(s);
}

float *step_logits(struct step *s, int32_t i)
{
    return s->logits + (size_t)i * (size_t)s->m->n_vocab;
}

/* ---- pieces -----------------------------------------------------------------------------------
 */

/* Tokens from token t on. */
static struct act act_from(const struct act *a, int32_t t)
{
    struct act v = *a;
    v.q.n -= t;
    v.q.f += (size_t)t * a->q.f_stride;
    v.q.q += (size_t)t * (size_t)a->q.cols;
    v.q.scale += (size_t)t * (size_t)(a->q.cols / 32);
    v.q.sum += (size_t)t * (size_t)(a->q.cols / 16);
    if (v.b)
        v.b += (size_t)t * a->b_stride;
    return v;
}

/* The matrix from group g on. */
static struct kern_mat rows_from(const struct kern_mat *m, int32_t g)
{
    struct kern_mat v = *m;
    v.rows -= g * KERN_LANES;
    v.data += (size_t)g * kern_group_bytes(m->fmt, m->cols);
    return v;
}

static int reads_quantised(const struct step *s, const struct kern_mat *m)
{
    return s->c.cls != ENGINE_F32 && !kern_fmt_info(m->fmt)->is_float;
}

/* Row t of `a` in the form of token `tok`, to be read by a matrix that wants int8 or does not. */
static void narrow(const struct step *s, struct act *a, int32_t t, int32_t tok, int want_int8)
{
    if (tok >= s->n_int8)
        s->k->to_bf16(a->q.f + (size_t)t * a->q.f_stride, a->q.cols,
                      a->b + (size_t)t * a->b_stride);
    else if (want_int8)
        s->k->quantize(&a->q, t);
}

/* Product of groups [g0, g1) for n tokens, the first n_int8 of them in int8, and the bias. `rows`
 * names the activation rows of floats and int8; those of bf16 lie in the order of the tokens. */
static void product(const struct step *s, const struct kern_mat *m, const float *bias, int32_t g0,
                    int32_t g1, const struct act *a, const int32_t *rows, int32_t n, int32_t n_int8,
                    float *out, size_t stride)
{
    int32_t r0 = g0 * KERN_LANES, r1 = g1 * KERN_LANES < m->rows ? g1 * KERN_LANES : m->rows;

    if (n_int8 < n && !kern_takes_bf16(m))
        n_int8 = n; /* a matrix of floats: one product for all */
    if (n_int8)
        s->mul(m, g0, g1, &a->q, rows, n_int8, out, stride);
    if (n_int8 < n)
        s->k->matmul_bf16(m, g0, g1, a->b + (size_t)n_int8 * a->b_stride, a->b_stride, n - n_int8,
                          out + (size_t)n_int8 * stride, stride);
    for (int32_t t = 0; bias && t < n; t++)
        s->k->add(out + (size_t)t * stride + r0, bias + r0, r1 - r0);
}

/* Claims of a matrix product over n_groups: large enough that what a call pays once vanishes, a
 * multiple of what the kernels stream side by side, and several for each worker. */
static int32_t claim_size(const struct step *s, int32_t n_groups, int32_t n_tok)
{
    int32_t even = n_groups / (team_size(s->c.team) * 3);
    int32_t most = n_tok > FEW_TOKENS ? CLAIM_MANY : s->k->chunk_groups;
    if (even > most)
        even = most;
    if (even >= FFN_DECODE)
        even = even / FFN_DECODE * FFN_DECODE;
    return even > 0 ? even : 1;
}

/* Per-token work: alone where it is little, by the team where it is much. */
static void per_token(struct step *s, team_fn *fn, int32_t n)
{
    if (n <= SERIAL_MAX)
        fn(s, 0, 0, n);
    else
        team_run(s->c.team, n, n > 64 ? 8 : 1, fn, s);
}

/* ---- phases ------------------------------------------------------------------------------------
 */

static void ph_embed(void *arg, int w, int32_t t0, int32_t t1)
{
    struct step *s = arg;
    const struct model *m = s->m;

    (void)w;
    for (int32_t t = t0; t < t1; t++) {
        float *x = s->x + (size_t)t * (size_t)m->n_embd;
        kern_row_f32(&m->embed, s->b->token[t], x);
        if (m->embed_scale != 1)
            s->k->scale(x, m->embed_scale, m->n_embd);
    }
    for (int32_t i = 0; i < s->b->n_segs; i++) {
        const struct step_seg *g = &s->b->seg[i];
        int32_t lo = g->tok > t0 ? g->tok : t0, hi = g->tok + g->n < t1 ? g->tok + g->n : t1;
        for (int32_t t = lo; t < hi; t++) {
            for (int r = 0; r < m->n_kv_groups; r++) {
                size_t at = (size_t)t * (size_t)(m->rope[r].n_rot / 2);
                rope_angles(&m->rope[r], g->pos + t - g->tok, s->cos_[r] + at, s->sin_[r] + at);
            }
        }
    }
}

/* Add what the previous layer's feed-forward gave to the stream. */
static void finish_ffn(struct step *s, int32_t t)
{
    const struct model *m = s->m;
    const struct model_layer *l = &m->layer[s->layer - 1];
    float *x = s->x + (size_t)t * (size_t)m->n_embd, *y = s->y + (size_t)t * (size_t)m->n_embd;

    if (m->n_experts) {
        memset(y, 0, (size_t)m->n_embd * sizeof *y);
        for (int32_t r = 0; r < m->n_used; r++) {
            size_t i = (size_t)t * (size_t)m->n_used + (size_t)r;
            s->k->axpy(y, s->used_w[i], s->ys + (size_t)s->slot[i] * (size_t)m->n_embd, m->n_embd);
        }
    }
    if (l->post_ffn_norm)
        s->k->rmsnorm(y, l->post_ffn_norm, m->norm_eps, m->n_embd, y);
    s->k->add(x, y, m->n_embd);
}

static void ph_attn_norm(void *arg, int w, int32_t t0, int32_t t1)
{
    struct step *s = arg;
    const struct model *m = s->m;

    (void)w;
    for (int32_t t = t0; t < t1; t++) {
        size_t at = (size_t)t * (size_t)m->n_embd;
        if (s->layer)
            finish_ffn(s, t);
        s->k->rmsnorm(s->x + at, s->l->attn_norm, m->norm_eps, m->n_embd, s->xn + at);
        narrow(s, &s->a_x, t, t,
               reads_quantised(s, &s->l->wq) || reads_quantised(s, &s->l->wk) ||
                   reads_quantised(s, &s->l->wv));
    }
}

static void ph_qkv(void *arg, int w, int32_t g0, int32_t g1)
{
    struct step *s = arg;
    const struct model_layer *l = s->l;
    const struct kern_mat *mat[3] = {&l->wq, &l->wk, &l->wv};
    const float *bias[3] = {l->bq, l->bk, l->bv};
    float *out[3] = {s->q, s->kk, s->v};

    (void)w;
    for (int i = 0, base = 0; i < 3; i++) {
        int32_t n = kern_mat_groups(mat[i]);
        int32_t lo = g0 > base ? g0 - base : 0, hi = g1 - base < n ? g1 - base : n;
        if (lo < hi)
            product(s, mat[i], bias[i], lo, hi, &s->a_x, NULL, s->b->n_tok, s->n_int8, out[i],
                    (size_t)mat[i]->rows);
        base += n;
    }
}

/* Norm and rotate the query heads that share KV head h, norm, rotate and store its key and value.
 */
static void place_token(struct step *s, const struct step_seg *g, int32_t i, int32_t h)
{
    const struct model *m = s->m;
    const struct model_layer *l = s->l;
    int32_t t = g->tok + i, pos = g->pos + i, hd = m->head_dim, group = m->n_heads / m->n_kv_heads;
    const struct rope *r = &m->rope[l->rope];
    size_t at = (size_t)t * (size_t)(r->n_rot / 2);
    float *q = s->q + ((size_t)t * (size_t)m->n_heads + (size_t)h * (size_t)group) * (size_t)hd;
    float *k = s->kk + ((size_t)t * (size_t)m->n_kv_heads + (size_t)h) * (size_t)hd;
    float *v = s->v + ((size_t)t * (size_t)m->n_kv_heads + (size_t)h) * (size_t)hd;
    int32_t page = g->kv->page[l->kv_group][pos / KERN_PAGE];
    uint8_t *dst = s->place.base + (size_t)page * s->place.stride + (size_t)h * s->place.head_bytes;

    if (l->q_norm) {
        for (int32_t j = 0; j < group; j++)
            s->k->rmsnorm(q + j * hd, l->q_norm, m->norm_eps, hd, q + j * hd);
    }
    if (l->k_norm)
        s->k->rmsnorm(k, l->k_norm, m->norm_eps, hd, k);
    s->k->rope(q, group, hd, r->n_rot, m->family->rope_adjacent, s->cos_[l->rope] + at,
               s->sin_[l->rope] + at);
    s->k->rope(k, 1, hd, r->n_rot, m->family->rope_adjacent, s->cos_[l->rope] + at,
               s->sin_[l->rope] + at);
    s->k->kv_store(s->c.kv_type, dst, hd, pos % KERN_PAGE, k, v);
}

/* Items: tokens of segments longer than one or split; the others do it with attention. */
static void ph_place(void *arg, int w, int32_t t0, int32_t t1)
{
    struct step *s = arg;

    (void)w;
    for (int32_t i = 0; i < s->b->n_segs; i++) {
        const struct step_seg *g = &s->b->seg[i];
        int32_t lo = g->tok > t0 ? g->tok : t0, hi = g->tok + g->n < t1 ? g->tok + g->n : t1;
        for (int32_t t = lo; s->ahead[i] && t < hi; t++) {
            for (int32_t h = 0; h < s->m->n_kv_heads; h++)
                place_token(s, g, t - g->tok, h);
        }
    }
}

/* Items: (item, KV head). Whoever finishes a split tile's last one joins the parts. */
static void ph_attn(void *arg, int w, int32_t i0, int32_t i1)
{
    struct step *s = arg;
    const struct model *m = s->m;
    const struct model_layer *l = s->l;
    int32_t hd = m->head_dim, group = m->n_heads / m->n_kv_heads;

    (void)w;
    for (int32_t i = i0; i < i1; i++) {
        const struct attn_item *item = &s->item[i / m->n_kv_heads];
        int32_t tile = item->tile, h = i % m->n_kv_heads;
        const struct step_seg *g = &s->b->seg[s->tile_seg[tile]];
        int32_t first = s->tile_tok[tile];
        int32_t n = g->n - first < ATTN_TOKENS ? g->n - first : ATTN_TOKENS;
        size_t at = ((size_t)(g->tok + first) * (size_t)m->n_heads + (size_t)h * (size_t)group) *
                    (size_t)hd;
        struct kern_attn a = {
            .kv = s->c.kv_type,
            .head_dim = hd,
            .n_group = group,
            .pos = g->pos + first,
            .n_tok = n,
            .window = l->window,
            .scale = m->attn_scale,
            .sinks = l->sinks ? l->sinks + h * group : NULL,
            .base = s->place.base + (size_t)h * s->place.head_bytes,
            .page_stride = s->place.stride,
            .page = g->kv->page[l->kv_group],
            .q = s->q + at,
            .q_stride = (size_t)m->n_heads * (size_t)hd,
            .out = s->ao + at,
            .out_stride = (size_t)m->n_heads * (size_t)hd,
            .part = item->split < 0 ? NULL : s->part + item->part + (size_t)h * item->each,
            .block0 = item->block0,
            .block1 = item->block1,
        };
        if (!s->ahead[s->tile_seg[tile]])
            place_token(s, g, 0, h);
        s->k->attn(&a);
        if (!a.part)
            continue;
        _Atomic int32_t *left = &s->left[item->split * m->n_kv_heads + h];
        if (atomic_fetch_sub_explicit(left, 1, memory_order_acq_rel) == 1) {
            s->k->attn_join(&a);
            atomic_store_explicit(left, item->n, memory_order_relaxed); /* for the next layer */
        }
    }
}

static void ph_attn_narrow(void *arg, int w, int32_t t0, int32_t t1)
{
    struct step *s = arg;
    (void)w;
    for (int32_t t = t0; t < t1; t++)
        narrow(s, &s->a_ao, t, t, reads_quantised(s, &s->l->wo));
}

static void ph_attn_out(void *arg, int w, int32_t g0, int32_t g1)
{
    struct step *s = arg;
    (void)w;
    product(s, &s->l->wo, s->l->bo, g0, g1, &s->a_ao, NULL, s->b->n_tok, s->n_int8, s->y,
            (size_t)s->m->n_embd);
}

/* The experts of a token: ids by rank (largest first, the lower id of equals) and weights. */
static void route_token(struct step *s, int32_t t)
{
    const struct model *m = s->m;
    struct act a = act_from(&s->a_x, t);
    float *z = s->router + (size_t)t * (size_t)m->n_experts, sum = 0;
    int32_t *id = s->used + (size_t)t * (size_t)m->n_used;
    float *wt = s->used_w + (size_t)t * (size_t)m->n_used;

    product(s, &s->l->router, s->l->b_router, 0, kern_mat_groups(&s->l->router), &a, NULL, 1,
            t < s->n_int8, z, (size_t)m->n_experts);
    for (int32_t r = 0; r < m->n_used; r++) {
        int32_t best = -1;
        for (int32_t i = 0; i < m->n_experts; i++) {
            int taken = 0;
            for (int32_t j = 0; j < r; j++)
                taken |= id[j] == i;
            if (!taken && (best < 0 || z[i] > z[best]))
                best = i;
        }
        id[r] = best;
    }
    /* Softmax over the chosen equals softmax over all, renormalised: one formula for both gatings.
     */
    for (int32_t r = 0; r < m->n_used; r++)
        sum += wt[r] = kern_exp(z[id[r]] - z[id[0]]);
    for (int32_t r = 0; r < m->n_used; r++)
        wt[r] /= sum;
}

static void ph_ffn_norm(void *arg, int w, int32_t t0, int32_t t1)
{
    struct step *s = arg;
    const struct model *m = s->m;
    const struct model_layer *l = s->l;

    (void)w;
    for (int32_t t = t0; t < t1; t++) {
        size_t at = (size_t)t * (size_t)m->n_embd;
        float *x = s->x + at, *y = s->y + at;
        if (l->post_attn_norm)
            s->k->rmsnorm(y, l->post_attn_norm, m->norm_eps, m->n_embd, y);
        s->k->add(x, y, m->n_embd);
        s->k->rmsnorm(x, l->ffn_norm, m->norm_eps, m->n_embd, s->xn + at);
        narrow(s, &s->a_x, t, t, m->n_embd % KERN_BLOCK == 0 && s->c.cls != ENGINE_F32);
        if (m->n_experts)
            route_token(s, t);
    }
}

/* Groups of a feed-forward item: fewer where the items would not go round the team. */
static int32_t ffn_groups(const struct step *s, int32_t n_groups)
{
    int32_t n = s->b->n_tok > FEW_TOKENS ? FFN_GROUPS : FFN_DECODE;
    if (s->n_int8 < s->b->n_tok)
        n = FFN_GROUPS16;
    while (n > 2 && n_groups / n < 2 * team_size(s->c.team))
        n /= 2;
    return n;
}

/* The feed-forward's first half: of the layer, or of one of its experts. */
struct inner {
    struct kern_mat gate, up;
    const float *b_gate, *b_up;
    const struct kern_mat *down;
    struct act in;       /* its tokens' rows; bf16: by slot */
    const int32_t *rows; /* or NULL */
    int32_t slot;        /* of its first token */
};

/* Gate, up, activation and narrowing of the groups from g0 on, at most `per`, for its tokens
 * [t, t + n), all int8 or none of them. */
static void inner_block(struct step *s, int w, const struct inner *f, int32_t g0, int32_t per,
                        int32_t t, int32_t n, int is_int8)
{
    size_t z_stride = (size_t)per * KERN_LANES;
    float *zg = s->scratch + (size_t)w * 2 * FFN_TOKENS * FFN_ROWS, *zu = zg + z_stride * (size_t)n;
    int32_t groups = kern_mat_groups(&f->gate), r0 = g0 * KERN_LANES;
    int32_t g1 = g0 + per < groups ? g0 + per : groups;
    int32_t n_rows = f->gate.rows - r0 < per * KERN_LANES ? f->gate.rows - r0 : per * KERN_LANES;
    struct kern_mat gate = rows_from(&f->gate, g0), up = rows_from(&f->up, g0);
    struct act *a = &s->a_h, in = f->in;
    const int32_t *rows = f->rows ? f->rows + t : NULL;

    if (!rows)
        in = act_from(&f->in, t);
    else if (in.b)
        in.b += (size_t)t * in.b_stride;
    product(s, &gate, f->b_gate ? f->b_gate + r0 : NULL, 0, g1 - g0, &in, rows, n, is_int8 ? n : 0,
            zg, z_stride);
    product(s, &up, f->b_up ? f->b_up + r0 : NULL, 0, g1 - g0, &in, rows, n, is_int8 ? n : 0, zu,
            z_stride);
    for (int32_t j = 0; j < n; j++) {
        size_t slot = (size_t)(f->slot + t + j), at = slot * (size_t)a->q.cols + (size_t)r0;
        size_t z = (size_t)j * z_stride;
        s->k->glu(s->m->family->act, zg + z, zu + z, n_rows, s->h + at);
        if (!is_int8) {
            s->k->to_bf16(s->h + at, n_rows, a->b + slot * a->b_stride + (size_t)r0);
        } else if (reads_quantised(s, f->down)) {
            struct kern_act block = {.n = 1,
                                     .cols = n_rows,
                                     .f = s->h + at,
                                     .f_stride = (size_t)n_rows,
                                     .q = a->q.q + at,
                                     .scale = a->q.scale + at / 32,
                                     .sum = a->q.sum + at / 16};
            s->k->quantize(&block, 0);
        }
    }
}

/* The groups from g0 on for its tokens [t, end), the first n_int8 of all in int8. */
static void inner_rows(struct step *s, int w, const struct inner *f, int32_t g0, int32_t per,
                       int32_t t, int32_t end, int32_t n_int8)
{
    for (int32_t n; t < end; t += n) {
        int is_int8 = t < n_int8;
        int32_t most = is_int8 ? FFN_TOKENS : FFN_TOKENS16, stop = is_int8 ? n_int8 : end;
        n = stop - t < most ? stop - t : most;
        inner_block(s, w, f, g0, per, t, n, is_int8);
    }
}

static int32_t n_parts(const struct kern_mat *m, int32_t per)
{
    return (kern_mat_groups(m) + per - 1) / per;
}

/* Items: (block of tokens, part of the groups). In int8 all tokens are one block; in bf16 the rows
 * of a block stay in a core's L2 while it goes through its parts. */
static int32_t ffn_blocks(const struct step *s)
{
    int32_t n16 = s->b->n_tok - s->n_int8;
    return n16 ? (n16 + FFN_TOKENS16 - 1) / FFN_TOKENS16 : 1;
}

static void ph_inner(void *arg, int w, int32_t i0, int32_t i1)
{
    struct step *s = arg;
    const struct model_layer *l = s->l;
    struct inner f = {l->gate, l->up, l->b_gate, l->b_up, &l->down, s->a_x, NULL, 0};
    int32_t parts = n_parts(&l->gate, s->ffn_per), n_tok = s->b->n_tok;

    for (int32_t i = i0; i < i1; i++) {
        int32_t t0 = s->n_int8 + i / parts * FFN_TOKENS16, t1 = t0 + FFN_TOKENS16;
        inner_rows(s, w, &f, i % parts * s->ffn_per, s->ffn_per, i < parts ? 0 : t0,
                   t1 < n_tok ? t1 : n_tok, s->n_int8);
    }
}

static void ph_down(void *arg, int w, int32_t g0, int32_t g1)
{
    struct step *s = arg;
    (void)w;
    product(s, &s->l->down, s->l->b_down, g0, g1, &s->a_h, NULL, s->b->n_tok, s->n_int8, s->y,
            (size_t)s->m->n_embd);
}

/* Group the (token, rank) pairs by expert: slots of one expert lie together, in order of token. */
static void group_by_expert(struct step *s)
{
    const struct model *m = s->m;
    int32_t n = s->b->n_tok * m->n_used, *count = s->x_begin;

    memset(count, 0, (size_t)(m->n_experts + 1) * sizeof *count);
    for (int32_t i = 0; i < n; i++)
        count[s->used[i] + 1]++;
    for (int32_t e = 0; e < m->n_experts; e++)
        count[e + 1] += count[e];
    /* count[e] is now e's first slot; fill moves it to the end, so shift back afterwards */
    for (int32_t i = 0; i < n; i++) {
        s->slot[i] = count[s->used[i]]++;
        s->slot_tok[s->slot[i]] = i / m->n_used;
    }
    for (int32_t e = m->n_experts; e > 0; e--)
        count[e] = count[e - 1];
    count[0] = 0;
    s->n_active = 0;
    for (int32_t e = 0; e < m->n_experts; e++) {
        int32_t i = count[e];
        if (count[e + 1] > count[e])
            s->active[s->n_active++] = e;
        while (i < count[e + 1] && s->slot_tok[i] < s->n_int8)
            i++;
        s->x_int8[e] = i - count[e];
    }
}

/* bf16 rows of tokens, side by side for each expert. */
static void ph_x_gather(void *arg, int w, int32_t i0, int32_t i1)
{
    struct step *s = arg;
    size_t stride = s->a_x.b_stride;

    (void)w;
    for (int32_t i = i0; i < i1; i++) {
        if (s->slot_tok[i] >= s->n_int8)
            memcpy(s->xs + (size_t)i * stride, s->a_x.b + (size_t)s->slot_tok[i] * stride,
                   (size_t)s->m->n_embd * sizeof *s->xs);
    }
}

/* Items: (active expert, part of its groups). */
static void ph_x_inner(void *arg, int w, int32_t i0, int32_t i1)
{
    struct step *s = arg;
    const struct model_layer *l = s->l;
    int32_t parts = n_parts(&l->x_gate.first, s->ffn_per);
    size_t ff = (size_t)s->m->n_ff_x;

    for (int32_t i = i0; i < i1; i++) {
        int32_t e = s->active[i / parts], slot = s->x_begin[e], n = s->x_begin[e + 1] - slot;
        struct inner f = {.gate = model_expert(&l->x_gate, e),
                          .up = model_expert(&l->x_up, e),
                          .b_gate = l->x_gate.bias ? l->x_gate.bias + (size_t)e * ff : NULL,
                          .b_up = l->x_up.bias ? l->x_up.bias + (size_t)e * ff : NULL,
                          .down = &l->x_down.first,
                          .in = s->a_x,
                          .rows = s->slot_tok + slot,
                          .slot = slot};
        if (s->xs)
            f.in.b = s->xs + (size_t)slot * f.in.b_stride;
        inner_rows(s, w, &f, i % parts * s->ffn_per, s->ffn_per, 0, n, s->x_int8[e]);
    }
}

/* Items: (active expert, group). */
static void ph_x_down(void *arg, int w, int32_t i0, int32_t i1)
{
    struct step *s = arg;
    const struct model_layer *l = s->l;
    int32_t groups = kern_mat_groups(&l->x_down.first), n_embd = s->m->n_embd;

    (void)w;
    while (i0 < i1) {
        int32_t e = s->active[i0 / groups], slot = s->x_begin[e], g0 = i0 % groups;
        int32_t g1 = g0 + (i1 - i0) < groups ? g0 + (i1 - i0) : groups;
        struct kern_mat down = model_expert(&l->x_down, e);
        struct act in = act_from(&s->a_h, slot);
        product(s, &down, l->x_down.bias ? l->x_down.bias + (size_t)e * (size_t)n_embd : NULL, g0,
                g1, &in, NULL, s->x_begin[e + 1] - slot, s->x_int8[e],
                s->ys + (size_t)slot * (size_t)n_embd, (size_t)n_embd);
        i0 += g1 - g0;
    }
}

static void ph_out_norm(void *arg, int w, int32_t i0, int32_t i1)
{
    struct step *s = arg;
    const struct model *m = s->m;

    (void)w;
    for (int32_t i = i0; i < i1; i++) {
        int32_t t = s->b->out[i];
        finish_ffn(s, t);
        s->k->rmsnorm(s->x + (size_t)t * (size_t)m->n_embd, m->output_norm, m->norm_eps, m->n_embd,
                      s->xo + (size_t)i * (size_t)m->n_embd);
        if (reads_quantised(s, &m->output))
            s->k->quantize(&s->a_out.q, i);
    }
}

static void ph_logits(void *arg, int w, int32_t g0, int32_t g1)
{
    struct step *s = arg;
    const struct model *m = s->m;
    int32_t r0 = g0 * KERN_LANES, r1 = g1 * KERN_LANES < m->n_vocab ? g1 * KERN_LANES : m->n_vocab;

    (void)w;
    product(s, &m->output, NULL, g0, g1, &s->a_out, NULL, s->b->n_out, s->b->n_out, s->logits,
            (size_t)m->n_vocab);
    for (int32_t i = 0; m->final_softcap > 0 && i < s->b->n_out; i++) {
        float *z = step_logits(s, i);
        for (int32_t r = r0; r < r1; r++)
            z[r] = m->final_softcap * kern_tanh(z[r] / m->final_softcap);
    }
}

/* ---- the step -----------------------------------------------------------------------------------
 */

static void run_product(struct step *s, team_fn *fn, int32_t n_groups, int32_t n_tok)
{
    team_run(s->c.team, n_groups, claim_size(s, n_groups, n_tok), fn, s);
}

/* Cut the segments into attention tiles, the longest work first. */
static void cut_tiles(struct step *s)
{
    s->n_tiles = 0;
    for (int32_t i = s->b->n_segs - 1; i >= 0; i--) {
        int32_t last = (s->b->seg[i].n - 1) / ATTN_TOKENS * ATTN_TOKENS;
        for (int32_t t = last; t >= 0; t -= ATTN_TOKENS) {
            s->tile_seg[s->n_tiles] = i;
            s->tile_tok[s->n_tiles++] = t;
        }
    }
}

/* First block of positions that a tile sees in a layer with this window, and one past the last. */
static void tile_blocks(const struct step *s, int32_t tile, int32_t window, int32_t *ret_b0,
                        int32_t *ret_b1, int32_t *ret_n)
{
    const struct step_seg *g = &s->b->seg[s->tile_seg[tile]];
    int32_t first = s->tile_tok[tile], p = g->pos + first;
    int32_t n = g->n - first < ATTN_TOKENS ? g->n - first : ATTN_TOKENS;

    *ret_b0 = window > 0 && p >= window ? (p - window + 1) / KERN_ATTN_BLOCK : 0;
    *ret_b1 = (p + n - 1) / KERN_ATTN_BLOCK + 1;
    *ret_n = n;
}

/* Tiles become items; those that would keep a worker busy while the others wait are split along the
 * positions, as far as there is room for the parts. Which ones are does not show in any result. */
static void cut_items(struct step *s, int32_t window)
{
    const struct model *m = s->m;
    int64_t total = 0, shares = (int64_t)team_size(s->c.team) * ATTN_SHARES;
    int32_t b0, b1, n;
    size_t at = 0;

    if (window == s->item_window)
        return;
    s->item_window = window;
    s->n_items = s->n_splits = s->n_ahead = 0;
    for (int32_t i = 0; i < s->b->n_segs; i++)
        s->n_ahead += s->ahead[i] = s->b->seg[i].n > 1;
    for (int32_t i = 0; i < s->n_tiles; i++) {
        tile_blocks(s, i, window, &b0, &b1, &n);
        total += (int64_t)(b1 - b0) * n * m->n_kv_heads;
    }
    for (int32_t i = 0; i < s->n_tiles; i++) {
        tile_blocks(s, i, window, &b0, &b1, &n);
        int32_t n_blk = b1 - b0, k = (int32_t)(((int64_t)n_blk * n * shares + total - 1) / total);
        size_t each = (size_t)n_blk * (size_t)n * (size_t)(m->n_heads / m->n_kv_heads) *
                      kern_attn_part_floats(m->head_dim);
        size_t all = each * (size_t)m->n_kv_heads;
        k = k < n_blk ? k : n_blk;
        if (k < 2 || team_size(s->c.team) == 1 || all > s->part_max - at) {
            s->item[s->n_items++] = (struct attn_item){i, b0, b1, -1, 1, 0, 0};
            continue;
        }
        for (int32_t j = 0; j < k; j++)
            s->item[s->n_items++] = (struct attn_item){
                i, b0 + n_blk * j / k, b0 + n_blk * (j + 1) / k, s->n_splits, k, at, each};
        for (int32_t h = 0; h < m->n_kv_heads; h++)
            atomic_store_explicit(&s->left[s->n_splits * m->n_kv_heads + h], k,
                                  memory_order_relaxed);
        s->n_ahead += !s->ahead[s->tile_seg[i]];
        s->ahead[s->tile_seg[i]] = 1;
        s->n_splits++;
        at += all;
    }
}

static void run_layer(struct step *s, int i)
{
    const struct model *m = s->m;
    const struct model_layer *l = &m->layer[i];
    int32_t n = s->b->n_tok;

    s->layer = i;
    s->l = l;
    s->place = kv_place(s->c.kv, l);
    per_token(s, ph_attn_norm, n);
    run_product(s, ph_qkv,
                kern_mat_groups(&l->wq) + kern_mat_groups(&l->wk) + kern_mat_groups(&l->wv), n);
    cut_items(s, l->window);
    if (s->n_ahead)
        per_token(s, ph_place, n);
    team_run(s->c.team, s->n_items * m->n_kv_heads, 1, ph_attn, s);
    if (s->n_int8 < n || reads_quantised(s, &l->wo))
        per_token(s, ph_attn_narrow, n);
    run_product(s, ph_attn_out, kern_mat_groups(&l->wo), n);
    per_token(s, ph_ffn_norm, n);
    if (m->n_experts) {
        group_by_expert(s);
        if (s->n_int8 < n)
            per_token(s, ph_x_gather, n * m->n_used);
        s->ffn_per = ffn_groups(s, kern_mat_groups(&l->x_gate.first) * s->n_active);
        team_run(s->c.team, s->n_active * n_parts(&l->x_gate.first, s->ffn_per), 1, ph_x_inner, s);
        run_product(s, ph_x_down, s->n_active * kern_mat_groups(&l->x_down.first), n);
    } else {
        s->ffn_per = ffn_groups(s, kern_mat_groups(&l->gate));
        team_run(s->c.team, ffn_blocks(s) * n_parts(&l->gate, s->ffn_per), 1, ph_inner, s);
        run_product(s, ph_down, kern_mat_groups(&l->down), n);
    }
}

uint64_t step_run(struct step *s, const struct step_batch *b)
{
    const struct model *m = s->m;
    uint64_t bytes = m->dense_bytes;

    CHECK(b->n_tok > 0 && b->n_tok <= s->c.tok_max);
    CHECK(b->n_segs > 0 && b->n_segs <= s->c.seg_max && b->n_out <= s->c.out_max);
    CHECK(b->n_generated >= 0 && b->n_generated <= b->n_tok);
    s->b = b;
    s->n_int8 = s->c.cls == ENGINE_BF16 ? b->n_generated : b->n_tok;
    cut_tiles(s);
    s->item_window = -1;
    per_token(s, ph_embed, b->n_tok);
    for (int i = 0; i < m->n_layers; i++) {
        run_layer(s, i);
        if (s->c.beat_us)
            atomic_store_explicit(s->c.beat_us, clock_now_us(), memory_order_relaxed);
        bytes += m->expert_bytes * (uint64_t)(m->n_experts ? s->n_active : 0);
    }
    if (b->n_out) {
        s->layer = m->n_layers;
        per_token(s, ph_out_norm, b->n_out);
        run_product(s, ph_logits, kern_mat_groups(&m->output), b->n_out);
        bytes += m->output_bytes;
    }
    return bytes;
}
