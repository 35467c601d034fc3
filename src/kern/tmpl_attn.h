/* Attention, written once in terms of the sixteen float lanes of kern/vec_avx2.h or
 * kern/vec_avx512.h; kern/attn.h fixes the order of the arithmetic. Defines ISA(attn) and
 * ISA(attn_join).
 *
 * A tile is up to ATTN_ROWS query rows (heads of the group x consecutive tokens) that walk the
 * pages together, so that a K or V register, once loaded and converted, serves them all. A block of
 * pages goes through three loops: scores, softmax, values; only the last touches the outputs, once
 * a block. The rows of a tile see different slots of a page at the diagonal and at a window's edge:
 * there V is taken in up to three runs of slots, the middle one seen by all rows.
 *
 * While a page's K (or V) is worked on, the next page's is prefetched, to L2: the memory is never
 * idle, and L1 would not hold it. */
#include "base/check.h"
#include "kern/attn.h"
#include "kern/simd.h"
#include "kern/tmpl_attn_row.h"
#include "kern/vmath.h"

#ifndef ATTN_ROWS
#error "the including file sets ATTN_ROWS (4 or 12) and ATTN_WIDE"
#endif

/* How many vectors of sixteen a loop works on at once, so that it fills the registers: of slots in
 * the scores, of outputs in the values. */
#define ATTN_H(R)     ((R)*2 <= ATTN_WIDE ? 2 : 1)
#define ATTN_D(R)     ((R)*4 <= ATTN_WIDE ? 4 : (R)*2 <= ATTN_WIDE ? 2 : 1)
#define ATTN_TILES    8                      /* tiles that share a converted page */
#define ATTN_P_STRIDE (KERN_ATTN_BLOCK + 16) /* not a power of two: rows share no cache set */

struct tile {
    const struct kern_attn *a;
    int n;                                /* rows in use; results of the others are not stored */
    int32_t lo[ATTN_ROWS], hi[ATTN_ROWS]; /* positions seen: [lo, hi) */
    const float *sink[ATTN_ROWS];
    float *out[ATTN_ROWS];
    float m[16]; /* running maximum */
    float l[ATTN_ROWS][16];
    float o[ATTN_ROWS][ATTN_DIM_MAX];
    float q[ATTN_DIM_MAX][ATTN_ROWS]; /* packed: [d][row] */

    /* The block that is being worked on. */
    const uint8_t *page[ATTN_BLOCK_PAGES + 1]; /* the last: where the next block begins */
    int32_t from[ATTN_ROWS], to[ATTN_ROWS];    /* slots seen */
    int32_t first, begin, end, last; /* seen by any row: [first, last); by all: [begin, end) */
    float bm[16], c[16], old[16];    /* its maximum; factors c of its own and of earlier results */
    float bl[ATTN_ROWS][16];
    float p[ATTN_ROWS][ATTN_P_STRIDE]; /* scores, then weights */
    float *part[ATTN_ROWS];            /* where its outputs go; NULL: joined to o */
};

INL size_t kv_size(enum kern_kv kv)
{
    return kv == KERN_KV_F32 ? 4 : kv == KERN_KV_F16 ? 2 : 1;
}

/* Scales of V from dimension d on, of a page's first slot. */
INL const float *v_scales(enum kern_kv kv, const uint8_t *page, int32_t dim, int32_t d)
{
    return kv == KERN_KV_Q8_0 ? (const float *)(const void *)(page + attn_v_scales(dim)) + d / 32
                              : NULL;
}

INL void prefetch(const uint8_t *p, size_t n)
{
#pragma GCC unroll 4
    for (size_t i = 0; i < n; i += 64)
        __builtin_prefetch(p + i, 0, 2);
}

/* ---- scores ---------------------------------------------------------------------------------- */

/* H * 16 scores of R rows, from slot j0 of a page, to p; with next, K of that page is prefetched.
 */
INL void page_scores(enum kern_kv kv, int R, int H, struct tile *t, const uint8_t *page,
                     const uint8_t *next, int j0, float *p)
{
    struct vf s[ATTN_ROWS * 2];
    const int32_t dim = t->a->head_dim;
#pragma GCC unroll 24
    for (int i = 0; i < R * H; i++)
        s[i] = vf_zero();
    for (int32_t d = 0; d < dim; d++) {
        size_t at = (size_t)d * KERN_PAGE + (size_t)j0;
        struct vf k[2];
#pragma GCC unroll 2
        for (int h = 0; h < H; h++)
            k[h] = attn_load_k(kv, page, dim, d, j0 + 16 * h);
        if (next)
            prefetch(next + at * kv_size(kv), 16 * (size_t)H * kv_size(kv));
#pragma GCC unroll 12
        for (int r = 0; r < R; r++)
#pragma GCC unroll 2
            for (int h = 0; h < H; h++)
                s[r * H + h] = vf_fma(vf_set1(t->q[d][r]), k[h], s[r * H + h]);
    }
#pragma GCC unroll 12
    for (int r = 0; r < R; r++)
#pragma GCC unroll 2
        for (int h = 0; h < H; h++)
            vf_store(p + r * ATTN_P_STRIDE + j0 + 16 * h, s[r * H + h]);
}

INL void block_scores(enum kern_kv kv, int R, struct tile *t)
{
    const int H = ATTN_H(R);
    int last = (t->last - 1) / KERN_PAGE;
    size_t v_at = (size_t)KERN_PAGE * (size_t)t->a->head_dim * kv_size(kv);
    for (int i = t->first / KERN_PAGE; i <= last; i++) {
        const uint8_t *next = i < last ? t->page[i + 1] : t->page[t->first / KERN_PAGE] + v_at;
        for (int j0 = 0; j0 < KERN_PAGE; j0 += 16 * H)
            page_scores(kv, R, H, t, t->page[i], next, j0, &t->p[0][i * KERN_PAGE]);
    }
}

/* ---- softmax --------------------------------------------------------------------------------- */

/* Turn the scores of row r into weights and sum them, in the vectors that hold slots it sees. */
INL void row_softmax(struct tile *t, int r, struct vf k)
{
    const struct vf low = vf_set1(-INFINITY);
    const int from = t->from[r], to = t->to[r];
    struct vf top = low, l = vf_zero();
    for (int j = from / 16 * 16; j < to; j += 16) {
        struct vf s = vf_load(&t->p[r][j]);
        if (j < from || j + 16 > to)
            s = vf_select(vm_range(from - j, to - j), s, low);
        top = vf_max(top, s);
    }
    t->bm[r] = attn_k(t->a) * vf_fold_max(top);
    struct vf m = vf_set1(-t->bm[r]);
    for (int j = from / 16 * 16; j < to; j += 16) {
        struct vf p = vf_exp2(vf_fma(vf_load(&t->p[r][j]), k, m));
        vf_store(&t->p[r][j], p);
        if (j < from || j + 16 > to)
            p = vf_select(vm_range(from - j, to - j), p, vf_zero());
        l = vf_add(l, p);
    }
    vf_store(t->bl[r], l);
}

INL void block_softmax(int R, struct tile *t)
{
    struct vf k = vf_set1(attn_k(t->a));
    for (int r = 0; r < R; r++) {
        t->bm[r] = -INFINITY;
        if (t->from[r] < t->to[r])
            row_softmax(t, r, k);
    }
    if (t->a->part) {
        for (int r = 0; r < t->n; r++) {
            if (t->from[r] >= t->to[r])
                continue;
            vf_store(t->part[r], vf_load(t->bl[r]));
            t->part[r][ATTN_PART_M] = t->bm[r];
        }
        return;
    }
    struct vf m = vf_load(t->m), bm = vf_load(t->bm), top = vf_max(m, bm);
    vf_store(t->old, vf_exp2(vf_sub(m, top)));
    vf_store(t->c, vf_exp2(vf_sub(bm, top)));
    vf_store(t->m, top);
    for (int r = 0; r < R; r++) {
        if (t->from[r] < t->to[r]) {
            struct vf l = vf_mul(vf_load(t->l[r]), vf_set1(t->old[r]));
            vf_store(t->l[r], vf_fma(vf_load(t->bl[r]), vf_set1(t->c[r]), l));
        } else {
            t->old[r] = 1.0f;
            t->c[r] = 0.0f;
        }
    }
}

/* ---- values ---------------------------------------------------------------------------------- */

/* o += sum over slots [j0, j1) of a page of p[j] v[j * stride ..+ 16 D); ragged: each slot only for
 * the rows that see it, base being the page's first slot in the block. vs: q8_0's scales. */
INL void page_values(enum kern_kv kv, int R, int D, int ragged, const struct tile *t, int base,
                     const uint8_t *v, const float *vs, size_t stride, const uint8_t *next, int j0,
                     int j1, struct vf *o)
{
    const float *p = &t->p[0][base];
    const int32_t n_scales = attn_kv_blocks(t->a->head_dim);
    for (int j = j0; j < j1; j++) {
        size_t at = (size_t)j * stride;
        struct vf x[4];
#pragma GCC unroll 4
        for (int i = 0; i < D; i++)
            x[i] = attn_load(kv, v, at + 16 * (size_t)i);
#pragma GCC unroll 4
        for (int i = 0; kv == KERN_KV_Q8_0 && i < D; i++) /* of D >= 2 the first begins a block */
            x[i] = vf_mul(x[i], vf_set1(vs[j * n_scales + i / 2]));
        if (next)
            prefetch(next + at * kv_size(kv), 16 * (size_t)D * kv_size(kv));
#pragma GCC unroll 12
        for (int r = 0; r < R; r++) {
            if (ragged && (base + j < t->from[r] || base + j >= t->to[r]))
                continue;
            struct vf w = vf_set1(p[r * ATTN_P_STRIDE + j]);
#pragma GCC unroll 4
            for (int i = 0; i < D; i++)
                o[r * D + i] = vf_fma(w, x[i], o[r * D + i]);
        }
    }
}

static inline int clamp_slot(int32_t j)
{
    return j < 0 ? 0 : j > KERN_PAGE ? KERN_PAGE : j;
}

/* Outputs d0 .. d0 + 16 D of the block, joined to o or left in the parts. With buf, V of all its
 * slots lies there as floats, [slot][16 D]. */
INL void block_values(enum kern_kv kv, int R, int D, struct tile *t, int32_t d0, const float *buf)
{
    struct vf o[ATTN_WIDE];
    int last = (t->last - 1) / KERN_PAGE;
    size_t dim = (size_t)t->a->head_dim, stride = buf ? 16 * (size_t)D : dim;
    size_t v_at = (KERN_PAGE * dim + (size_t)d0) * kv_size(kv);
#pragma GCC unroll 24
    for (int i = 0; i < R * D; i++)
        o[i] = vf_zero();
    for (int i = t->first / KERN_PAGE; i <= last; i++) {
        int base = i * KERN_PAGE;
        int first = clamp_slot(t->first - base), begin = clamp_slot(t->begin - base);
        int end = clamp_slot(t->end - base), stop = clamp_slot(t->last - base);
        const uint8_t *v = buf ? (const uint8_t *)(buf + (size_t)base * stride) : t->page[i] + v_at;
        const uint8_t *next = buf ? NULL : t->page[i + 1] + (i < last ? v_at : 0);
        const float *vs = v_scales(kv, t->page[i], t->a->head_dim, d0);
        if (first < begin)
            page_values(kv, R, D, 1, t, base, v, vs, stride, next, first, begin, o);
        page_values(kv, R, D, 0, t, base, v, vs, stride, next, begin, end, o);
        if (end < stop)
            page_values(kv, R, D, 1, t, base, v, vs, stride, next, end, stop, o);
    }
    if (t->a->part) {
#pragma GCC unroll 12
        for (int r = 0; r < R; r++)
#pragma GCC unroll 4
            for (int i = 0; i < D; i++)
                if (r < t->n && t->from[r] < t->to[r])
                    vf_store(t->part[r] + ATTN_PART_O + d0 + 16 * i, o[r * D + i]);
        return;
    }
#pragma GCC unroll 12
    for (int r = 0; r < R; r++) {
        struct vf old = vf_set1(t->old[r]), c = vf_set1(t->c[r]);
#pragma GCC unroll 4
        for (int i = 0; i < D; i++) {
            float *at = &t->o[r][d0 + 16 * i];
            vf_store(at, vf_fma(o[r * D + i], c, vf_mul(vf_load(at), old)));
        }
    }
}

INL void tile_block(enum kern_kv kv, int R, struct tile *t)
{
    const int D = ATTN_D(R);
    int32_t d = 0, dim = t->a->head_dim;
    block_scores(kv, R, t);
    block_softmax(R, t);
    for (; d + 16 * D <= dim; d += 16 * D)
        block_values(kv, R, D, t, d, NULL);
    for (; d < dim; d += 16)
        block_values(kv, R, 1, t, d, NULL);
}

/* ---- a tile ---------------------------------------------------------------------------------- */

/* Where block b's pages lie, from the one of slot first on; hi: one past the last position seen. */
static void block_pages(struct tile *t, int32_t b, int first, int32_t hi)
{
    const struct kern_attn *a = t->a;
    int32_t final = (hi - 1) / KERN_PAGE;
    for (int i = first / KERN_PAGE; i <= ATTN_BLOCK_PAGES; i++) {
        int32_t page = b * ATTN_BLOCK_PAGES + i;
        t->page[i] = a->base + (size_t)a->page[page < final ? page : final] * a->page_stride;
    }
}

/* Block b's pages, and which of its slots the rows see; 0 when none does. */
static int block_begin(struct tile *t, int32_t b, int R, int32_t i0)
{
    const struct kern_attn *a = t->a;
    int32_t base = b * KERN_ATTN_BLOCK;
    t->first = t->end = KERN_ATTN_BLOCK;
    t->last = t->begin = 0;
    for (int r = 0; r < R; r++) {
        int32_t from = t->lo[r] - base, to = t->hi[r] - base;
        from = from > 0 ? from : 0;
        to = to < KERN_ATTN_BLOCK ? to : KERN_ATTN_BLOCK;
        t->from[r] = from;
        t->to[r] = to;
        if (r >= t->n)
            continue;
        if (a->part && from < to)
            t->part[r] = attn_part(a, b, i0 + r);
        t->first = from < t->first ? from : t->first;
        t->last = to > t->last ? to : t->last;
        t->begin = from > t->begin ? from : t->begin;
        t->end = to < t->end ? to : t->end;
    }
    if (t->first >= t->last)
        return 0;
    if (t->begin >= t->end) /* no slot is seen by all rows */
        t->begin = t->end = t->first;
    block_pages(t, b, t->first, t->hi[t->n - 1]);
    return 1;
}

/* The blocks that rows [t->lo[0], hi) see, of those that the call asks for. */
static void block_range(const struct kern_attn *a, int32_t lo, int32_t hi, int32_t *ret_b0,
                        int32_t *ret_b1)
{
    int32_t b0 = lo / KERN_ATTN_BLOCK, b1 = (hi - 1) / KERN_ATTN_BLOCK + 1;
    *ret_b0 = a->part && b0 < a->block0 ? a->block0 : b0;
    *ret_b1 = a->part && b1 > a->block1 ? a->block1 : b1;
}

INL void tile_walk(enum kern_kv kv, int R, struct tile *t, int32_t i0)
{
    int32_t b0, b1;
    block_range(t->a, t->lo[0], t->hi[t->n - 1], &b0, &b1);
    for (int32_t b = b0; b < b1; b++)
        if (block_begin(t, b, R, i0))
            tile_block(kv, R, t);
}

/* ---- several tiles ---------------------------------------------------------------------------
 * Prompts: a page is read once and converted to floats for all tiles of a call: K page by page, V
 * in strips as wide as a tile's registers. */

struct strip {
    _Alignas(64) float k[ATTN_DIM_MAX * KERN_PAGE]; /* of a page */
    _Alignas(64) float v[KERN_ATTN_BLOCK * 16 * ATTN_D(ATTN_ROWS)];
};

INL void many_scores(enum kern_kv kv, struct tile *t, int n, int first, int last, struct strip *buf)
{
    const int H = ATTN_H(ATTN_ROWS);
    const int32_t dim = t->a->head_dim;
    const size_t size = KERN_PAGE * kv_size(kv); /* of the slots of a dimension */
    for (int i = first / KERN_PAGE; i <= (last - 1) / KERN_PAGE; i++) {
        const uint8_t *k = t->page[i];
        for (int32_t d = 0; d < dim; d++) {
            prefetch(t->page[i + 1] + (size_t)d * size, size);
            prefetch(k + (size_t)(dim + d) * size, size); /* its V */
            vf_store(buf->k + d * KERN_PAGE, attn_load_k(kv, k, dim, d, 0));
            vf_store(buf->k + d * KERN_PAGE + 16, attn_load_k(kv, k, dim, d, 16));
        }
        for (int m = 0; m < n; m++) {
            if (t[m].last <= i * KERN_PAGE || t[m].first >= (i + 1) * KERN_PAGE)
                continue;
            for (int j0 = 0; j0 < KERN_PAGE; j0 += 16 * H)
                page_scores(KERN_KV_F32, ATTN_ROWS, H, &t[m], (const uint8_t *)buf->k, NULL, j0,
                            &t[m].p[0][i * KERN_PAGE]);
        }
    }
}

/* Outputs d0 .. d0 + 16 D of all tiles. */
INL void many_values(enum kern_kv kv, int D, struct tile *t, int n, int first, int last, int32_t d0,
                     struct strip *buf)
{
    const int32_t dim = t->a->head_dim, n_scales = attn_kv_blocks(dim);
    for (int j = first; j < last; j++) {
        const uint8_t *page = t->page[j / KERN_PAGE];
        size_t at = (size_t)((KERN_PAGE + j % KERN_PAGE) * dim + d0);
        const float *vs = v_scales(kv, page, dim, d0);
        for (int i = 0; i < D; i++) {
            struct vf x = attn_load(kv, page, at + 16 * (size_t)i);
            if (kv == KERN_KV_Q8_0)
                x = vf_mul(x, vf_set1(vs[j % KERN_PAGE * n_scales + i / 2]));
            vf_store(buf->v + (j * D + i) * 16, x);
        }
    }
    for (int m = 0; m < n; m++)
        if (t[m].first < t[m].last)
            block_values(KERN_KV_F32, ATTN_ROWS, D, &t[m], d0, buf->v);
}

/* n tiles, one after the other from row i0 on. */
INL void walk_many(enum kern_kv kv, struct tile *t, int n, int32_t i0)
{
    const int D = ATTN_D(ATTN_ROWS);
    const struct kern_attn *a = t->a;
    struct strip buf;
    int32_t b0, b1;
    block_range(a, t->lo[0], t[n - 1].hi[t[n - 1].n - 1], &b0, &b1);
    for (int32_t b = b0; b < b1; b++) {
        int first = KERN_ATTN_BLOCK, last = 0;
        int32_t d = 0;
        for (int m = 0; m < n; m++) {
            if (!block_begin(&t[m], b, ATTN_ROWS, i0 + m * ATTN_ROWS)) {
                t[m].first = t[m].last = 0;
                continue;
            }
            first = t[m].first < first ? t[m].first : first;
            last = t[m].last > last ? t[m].last : last;
        }
        block_pages(t, b, first, t[n - 1].hi[t[n - 1].n - 1]);
        many_scores(kv, t, n, first, last, &buf);
        for (int m = 0; m < n; m++)
            if (t[m].first < t[m].last)
                block_softmax(ATTN_ROWS, &t[m]);
        for (; d + 16 * D <= a->head_dim; d += 16 * D)
            many_values(kv, D, t, n, first, last, d, &buf);
        for (; d < a->head_dim; d += 16)
            many_values(kv, 1, t, n, first, last, d, &buf);
    }
}

/* ---- calls ----------------------------------------------------------------------------------- */

/* Row i of the call becomes row r of the tile. */
static void row_begin(struct tile *t, int r, int32_t i)
{
    const struct kern_attn *a = t->a;
    int32_t tok = i / a->n_group, head = i % a->n_group;
    t->lo[r] = attn_first(a, a->pos + tok);
    t->hi[r] = a->pos + tok + 1;
    t->sink[r] = a->sinks ? a->sinks + head : NULL;
    t->out[r] = a->out + (size_t)tok * a->out_stride + (size_t)head * (size_t)a->head_dim;
    t->m[r] = -INFINITY;
    memset(t->l[r], 0, sizeof t->l[r]);
    memset(t->o[r], 0, (size_t)a->head_dim * sizeof(float));
}

/* Rows [i0, i0 + n) of the call's n_tok * n_group. Rows past n see nothing: from >= to. */
static void tile_begin(struct tile *t, const struct kern_attn *a, int32_t i0, int n, int R)
{
    t->a = a;
    t->n = n;
    for (int r = 0; r < 16; r++)
        t->m[r] = t->bm[r] = -INFINITY;
    for (int r = 0; r < R; r++) {
        if (r >= n) {
            t->lo[r] = t->hi[r] = 0;
            for (int32_t d = 0; d < a->head_dim; d++)
                t->q[d][r] = 0.0f;
            continue;
        }
        row_begin(t, r, i0 + r);
        const float *q = a->q + (size_t)((i0 + r) / a->n_group) * a->q_stride +
                         (size_t)((i0 + r) % a->n_group) * (size_t)a->head_dim;
        for (int32_t d = 0; d < a->head_dim; d++)
            t->q[d][r] = q[d];
    }
}

static void row_end(struct tile *t, int r)
{
    attn_row_end(t->a, t->m[r], vf_load(t->l[r]), t->o[r], t->sink[r], t->out[r]);
}

#define WALK(R)                                                                                    \
    static void walk_f32_##R(struct tile *t, int32_t i0)                                           \
    {                                                                                              \
        tile_walk(KERN_KV_F32, R, t, i0);                                                          \
    }                                                                                              \
    static void walk_f16_##R(struct tile *t, int32_t i0)                                           \
    {                                                                                              \
        tile_walk(KERN_KV_F16, R, t, i0);                                                          \
    }                                                                                              \
    static void walk_q8_##R(struct tile *t, int32_t i0)                                            \
    {                                                                                              \
        tile_walk(KERN_KV_Q8_0, R, t, i0);                                                         \
    }
#if ATTN_ROWS == 12
#define WALKS(X) X(1) X(2) X(3) X(4) X(6) X(8) X(12)
#else
#define WALKS(X) X(1) X(2) X(3) X(4)
#endif
WALKS(WALK)

/* Walk rows [i0, i0 + n) with the smallest tile that holds n rows. */
static void walk_any(enum kern_kv kv, struct tile *t, int32_t i0, int n)
{
#define WALK_PICK(R)                                                                               \
    if (n <= (R)) {                                                                                \
        (kv == KERN_KV_F32   ? walk_f32_##R                                                        \
         : kv == KERN_KV_F16 ? walk_f16_##R                                                        \
                             : walk_q8_##R)(t, i0);                                                \
        return;                                                                                    \
    }
    WALKS(WALK_PICK)
}

static int tile_rows(int n)
{
#define ROWS_PICK(R)                                                                               \
    if (n <= (R))                                                                                  \
        return R;
    WALKS(ROWS_PICK)
    return ATTN_ROWS;
}

/* Rows [i0, i0 + n) that share what is converted. */
static void attn_many(const struct kern_attn *a, int32_t i0, int n)
{
    struct tile t[ATTN_TILES];
    int n_tiles = (n + ATTN_ROWS - 1) / ATTN_ROWS;
    for (int m = 0; m < n_tiles; m++) {
        int at = m * ATTN_ROWS, rows = n - at < ATTN_ROWS ? n - at : ATTN_ROWS;
        tile_begin(&t[m], a, i0 + at, rows, ATTN_ROWS);
    }
    if (a->kv == KERN_KV_F16)
        walk_many(KERN_KV_F16, t, n_tiles, i0);
    else
        walk_many(KERN_KV_Q8_0, t, n_tiles, i0);
    for (int m = 0; m < n_tiles; m++)
        for (int r = 0; r < t[m].n && !a->part; r++)
            row_end(&t[m], r);
}

static void attn_one(const struct kern_attn *a, int32_t i0, int n)
{
    struct tile t;
    tile_begin(&t, a, i0, n, tile_rows(n));
    walk_any(a->kv, &t, i0, n);
    for (int r = 0; r < n && !a->part; r++)
        row_end(&t, r);
}

void ISA(attn)(const struct kern_attn *a)
{
    CHECK(a->head_dim > 0 && a->head_dim % 16 == 0 && a->head_dim <= ATTN_DIM_MAX);
    int32_t n_rows = a->n_tok * a->n_group, most = ATTN_ROWS;
    if (a->kv != KERN_KV_F32 && n_rows > 2 * ATTN_ROWS)
        most = ATTN_ROWS * ATTN_TILES;
    for (int32_t i = 0; i < n_rows; i += most) {
        int n = n_rows - i < most ? n_rows - i : most;
        (n > ATTN_ROWS ? attn_many : attn_one)(a, i, n);
    }
}

void ISA(attn_join)(const struct kern_attn *a)
{
    struct tile t;
    t.a = a;
    for (int32_t i = 0; i < a->n_tok * a->n_group; i++) {
        row_begin(&t, 0, i);
        for (int32_t b = t.lo[0] / KERN_ATTN_BLOCK; b <= (t.hi[0] - 1) / KERN_ATTN_BLOCK; b++) {
            const float *part = attn_part(a, b, i);
            attn_row_join(a, &t.m[0], t.l[0], t.o[0], part[ATTN_PART_M], part, part + ATTN_PART_O);
        }
        row_end(&t, 0);
    }
}
