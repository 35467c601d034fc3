/* Attention, written once on kern/vec_*.h's lanes; kern/attn.h fixes the order of the arithmetic.
 *
 * A tile is up to ATTN_ROWS query rows (heads of the group x consecutive tokens) that walk the
 * pages together, so that a K or V register, once loaded and converted, serves them all. The rows
 * of a tile see different slots of a page at the diagonal and at a window's edge: there V is taken
 * in up to three runs of slots, the middle one seen by all rows.
 *
 * The next page is prefetched while one is worked on: to L2, for two pages may be more than L1. */
#include "base/check.h"
#include "kern/attn.h"
#include "kern/simd.h"
#include "kern/vmath.h"

#ifndef ATTN_ROWS
#error "the including file sets ATTN_ROWS (a power of two up to 8) and ATTN_WIDE"
#endif

struct tile {
    const struct kern_attn *a;
    int n;                                /* rows in use; the others compute on zeros, unseen */
    int32_t lo[ATTN_ROWS], hi[ATTN_ROWS]; /* positions seen: [lo, hi) */
    const float *sink[ATTN_ROWS];
    float *out[ATTN_ROWS];
    float m[16], c[16];                     /* running maximum, factor of this page */
    int32_t from[ATTN_ROWS], to[ATTN_ROWS]; /* slots of this page */
    float l[ATTN_ROWS][16];
    float q[ATTN_DIM_MAX][ATTN_ROWS]; /* packed: [d][row] */
    float p[ATTN_ROWS][KERN_PAGE];
    float o[ATTN_ROWS][ATTN_DIM_MAX];
};

INL struct vf load_kv(enum kern_kv kv, const uint8_t *p, size_t at)
{
    return kv == KERN_KV_F32 ? vf_load((const float *)(const void *)p + at)
                             : vf_load_f16(p + 2 * at);
}

INL size_t kv_size(enum kern_kv kv)
{
    return kv == KERN_KV_F32 ? 4 : 2;
}

/* H * 16 scores of R rows, from slot j0; K rows of the next page are prefetched. */
INL void tile_scores(enum kern_kv kv, int R, int H, struct tile *t, const uint8_t *page,
                     const uint8_t *next, int j0)
{
    struct vf s[ATTN_ROWS * 2];
    const int32_t dim = t->a->head_dim;
#pragma GCC unroll 16
    for (int i = 0; i < R * H; i++)
        s[i] = vf_zero();
    for (int32_t d = 0; d < dim; d++) {
        size_t at = (size_t)d * KERN_PAGE + (size_t)j0;
        struct vf k[2];
#pragma GCC unroll 2
        for (int h = 0; h < H; h++)
            k[h] = load_kv(kv, page, at + 16 * (size_t)h);
        __builtin_prefetch(next + at * kv_size(kv), 0, 2);
        if (kv == KERN_KV_F32)
            __builtin_prefetch(next + at * kv_size(kv) + 64, 0, 2);
#pragma GCC unroll 8
        for (int r = 0; r < R; r++)
#pragma GCC unroll 2
            for (int h = 0; h < H; h++)
                s[r * H + h] = vf_fma(vf_set1(t->q[d][r]), k[h], s[r * H + h]);
    }
#pragma GCC unroll 8
    for (int r = 0; r < R; r++)
#pragma GCC unroll 2
        for (int h = 0; h < H; h++)
            vf_store(&t->p[r][j0 + 16 * h], s[r * H + h]);
}

/* Scores of row r -> weights p, its maximum and sums. t->c is filled for all rows afterwards. */
INL void row_maximum(struct tile *t, int r)
{
    const struct kern_attn *a = t->a;
    const struct vf low = vf_set1(-INFINITY);
    struct vf s[2], top = low;
    for (int h = 0; h < 2; h++) {
        s[h] = vf_mul(vf_load(&t->p[r][16 * h]), vf_set1(a->scale));
        if (a->softcap > 0.0f) {
            struct vf cap = vf_set1(a->softcap);
            s[h] = vf_mul(cap, vf_tanh(vf_div(s[h], cap)));
        }
        struct vm seen = vm_range(t->from[r] - 16 * h, t->to[r] - 16 * h);
        top = vf_max(top, vf_select(seen, s[h], low));
        vf_store(&t->p[r][16 * h], s[h]);
    }
    float m = vf_fold_max(top);
    t->c[r] = t->m[r]; /* the old maximum, for now */
    if (t->from[r] < t->to[r])
        t->m[r] = t->m[r] > m ? t->m[r] : m;
}

INL void row_weights(struct tile *t, int r)
{
    struct vf l = vf_mul(vf_load(t->l[r]), vf_set1(t->c[r])), m = vf_set1(t->m[r]);
    for (int h = 0; h < 2; h++) {
        struct vf p = vf_exp(vf_sub(vf_load(&t->p[r][16 * h]), m));
        struct vm seen = vm_range(t->from[r] - 16 * h, t->to[r] - 16 * h);
        p = vf_select(seen, p, vf_zero());
        l = vf_add(l, p);
        vf_store(&t->p[r][16 * h], p);
    }
    vf_store(t->l[r], l);
}

INL void tile_softmax(int R, struct tile *t)
{
    for (int r = 0; r < R; r++)
        row_maximum(t, r);
    /* c = exp(old - new); 1 for a row that sees nothing here, where both may be -inf */
    struct vf c = vf_exp(vf_sub(vf_load(t->c), vf_load(t->m)));
    vf_store(t->c, c);
    for (int r = 0; r < R; r++) {
        if (t->from[r] >= t->to[r])
            t->c[r] = 1.0f;
        row_weights(t, r);
    }
}

/* o[d0 .. d0 + 16 D) = o * c + sum over j in [j0, j1) of p[j] v[j], for R rows. */
INL void tile_values(enum kern_kv kv, int R, int D, struct tile *t, const uint8_t *v,
                     const uint8_t *next, int32_t d0, int j0, int j1)
{
    struct vf o[ATTN_ROWS * 4];
    size_t dim = (size_t)t->a->head_dim;
#pragma GCC unroll 8
    for (int r = 0; r < R; r++)
#pragma GCC unroll 4
        for (int i = 0; i < D; i++)
            o[r * D + i] = vf_mul(vf_load(&t->o[r][d0 + 16 * i]), vf_set1(t->c[r]));
    for (int j = j0; j < j1; j++) {
        size_t at = (size_t)j * dim + (size_t)d0;
        struct vf x[4];
#pragma GCC unroll 4
        for (int i = 0; i < D; i++)
            x[i] = load_kv(kv, v, at + 16 * (size_t)i);
#pragma GCC unroll 4
        for (int i = 0; i < D * 16; i += 64 / (int)kv_size(kv))
            __builtin_prefetch(next + (at + (size_t)i) * kv_size(kv), 0, 2);
#pragma GCC unroll 8
        for (int r = 0; r < R; r++) {
            struct vf p = vf_set1(t->p[r][j]);
#pragma GCC unroll 4
            for (int i = 0; i < D; i++)
                o[r * D + i] = vf_fma(p, x[i], o[r * D + i]);
        }
    }
#pragma GCC unroll 8
    for (int r = 0; r < R; r++)
#pragma GCC unroll 4
        for (int i = 0; i < D; i++)
            vf_store(&t->o[r][d0 + 16 * i], o[r * D + i]);
}

/* Slots [j0, j1), each for the rows that see it. */
INL void ragged_values(enum kern_kv kv, int R, struct tile *t, const uint8_t *v, int j0, int j1)
{
    size_t dim = (size_t)t->a->head_dim;
    for (int j = j0; j < j1; j++)
        for (int r = 0; r < R; r++) {
            if (j < t->from[r] || j >= t->to[r])
                continue;
            struct vf p = vf_set1(t->p[r][j]);
            for (size_t d = 0; d < dim; d += 16)
                vf_store(&t->o[r][d],
                         vf_fma(p, load_kv(kv, v, (size_t)j * dim + d), vf_load(&t->o[r][d])));
        }
}

/* Slots [j0, j1), seen by all rows, after o *= c. */
INL void common_values(enum kern_kv kv, int R, struct tile *t, const uint8_t *v,
                       const uint8_t *next, int j0, int j1)
{
    const int D = R * 4 <= ATTN_WIDE ? 4 : R * 2 <= ATTN_WIDE ? 2 : 1;
    int32_t d = 0, dim = t->a->head_dim;
    for (; d + 16 * D <= dim; d += 16 * D)
        tile_values(kv, R, D, t, v, next, d, j0, j1);
    for (; d < dim; d += 16)
        tile_values(kv, R, 1, t, v, next, d, j0, j1);
}

INL void tile_page(enum kern_kv kv, int R, struct tile *t, const uint8_t *page, const uint8_t *next)
{
    size_t v_at = (size_t)KERN_PAGE * (size_t)t->a->head_dim * kv_size(kv);
    const int H = R * 2 <= ATTN_WIDE ? 2 : 1;
    for (int j0 = 0; j0 < KERN_PAGE; j0 += 16 * H)
        tile_scores(kv, R, H, t, page, next, j0);
    tile_softmax(R, t);
    int first = KERN_PAGE, last = 0, begin = 0, end = KERN_PAGE;
    for (int r = 0; r < t->n; r++) {
        first = t->from[r] < first ? t->from[r] : first;
        last = t->to[r] > last ? t->to[r] : last;
        begin = t->from[r] > begin ? t->from[r] : begin;
        end = t->to[r] < end ? t->to[r] : end;
    }
    if (begin >= end) /* no slot that all see */
        begin = end = first < last ? first : 0;
    if (first < begin || begin == end) {
        common_values(kv, R, t, page + v_at, next + v_at, 0, 0); /* o *= c */
        for (int r = 0; r < R; r++)
            t->c[r] = 1.0f;
        ragged_values(kv, R, t, page + v_at, first, begin);
    }
    if (begin < end)
        common_values(kv, R, t, page + v_at, next + v_at, begin, end);
    ragged_values(kv, R, t, page + v_at, end, last);
}

static void tile_end(struct tile *t)
{
    int32_t dim = t->a->head_dim;
    for (int r = 0; r < t->n; r++) {
        struct vf l = vf_load(t->l[r]);
        float c = 1.0f, extra = 0.0f;
        if (t->sink[r]) {
            float x = *t->sink[r], m = t->m[r] > x ? t->m[r] : x;
            c = kmath_exp(t->m[r] - m);
            extra = kmath_exp(x - m);
            l = vf_mul(l, vf_set1(c));
        }
        float sum = vf_fold(l);
        if (t->sink[r])
            sum += extra;
        struct vf inv = vf_set1(1.0f / sum), vc = vf_set1(c);
        for (int32_t d = 0; d < dim; d += 16)
            vf_store(t->out[r] + d, vf_mul(vf_mul(vf_load(&t->o[r][d]), vc), inv));
    }
}

/* Rows [i0, i0 + n) of the call's n_tok * n_group. Rows past n see nothing: from >= to. */
static void tile_begin(struct tile *t, const struct kern_attn *a, int32_t i0, int n, int R)
{
    t->a = a;
    t->n = n;
    for (int r = 0; r < 16; r++)
        t->m[r] = -INFINITY;
    for (int r = 0; r < R; r++) {
        int32_t tok = (i0 + r) / a->n_group, head = (i0 + r) % a->n_group;
        memset(t->l[r], 0, sizeof t->l[r]);
        memset(t->o[r], 0, (size_t)a->head_dim * sizeof(float));
        t->lo[r] = t->hi[r] = 0;
        if (r >= n) {
            for (int32_t d = 0; d < a->head_dim; d++)
                t->q[d][r] = 0.0f;
            continue;
        }
        size_t at = (size_t)head * (size_t)a->head_dim;
        const float *q = a->q + (size_t)tok * a->q_stride + at;
        for (int32_t d = 0; d < a->head_dim; d++)
            t->q[d][r] = q[d];
        t->lo[r] = attn_first(a, a->pos + tok);
        t->hi[r] = a->pos + tok + 1;
        t->sink[r] = a->sinks ? a->sinks + head : NULL;
        t->out[r] = a->out + (size_t)tok * a->out_stride + at;
    }
}

INL void tile_walk(enum kern_kv kv, int R, struct tile *t)
{
    const struct kern_attn *a = t->a;
    int32_t i0 = t->lo[0] / KERN_PAGE, i1 = (t->hi[t->n - 1] - 1) / KERN_PAGE;
    for (int32_t i = i0; i <= i1; i++) {
        for (int r = 0; r < R; r++) {
            int32_t from = t->lo[r] - i * KERN_PAGE, to = t->hi[r] - i * KERN_PAGE;
            t->from[r] = from > 0 ? from : 0;
            t->to[r] = to < KERN_PAGE ? to : KERN_PAGE;
        }
        const uint8_t *page = a->base + (size_t)a->page[i] * a->page_stride;
        const uint8_t *next = i < i1 ? a->base + (size_t)a->page[i + 1] * a->page_stride : page;
        tile_page(kv, R, t, page, next);
    }
}

#define WALK(R)                                                                                    \
    static void walk_f32_##R(struct tile *t)                                                       \
    {                                                                                              \
        tile_walk(KERN_KV_F32, R, t);                                                              \
    }                                                                                              \
    static void walk_f16_##R(struct tile *t)                                                       \
    {                                                                                              \
        tile_walk(KERN_KV_F16, R, t);                                                              \
    }
WALK(1)
WALK(2)
WALK(3)
WALK(4)
#if ATTN_ROWS == 8
WALK(8)
#endif

void ISA(attn)(const struct kern_attn *a)
{
    CHECK(a->head_dim > 0 && a->head_dim % 16 == 0 && a->head_dim <= ATTN_DIM_MAX);
    struct tile t;
    int32_t n_rows = a->n_tok * a->n_group;
    int f32 = a->kv == KERN_KV_F32;
    for (int32_t i = 0; i < n_rows; i += ATTN_ROWS) {
        int n = n_rows - i < ATTN_ROWS ? n_rows - i : ATTN_ROWS;
        int R = n <= 4 ? n : ATTN_ROWS;
        tile_begin(&t, a, i, n, R);
        if (R == 1)
            (f32 ? walk_f32_1 : walk_f16_1)(&t);
        else if (R == 2)
            (f32 ? walk_f32_2 : walk_f16_2)(&t);
        else if (R == 3)
            (f32 ? walk_f32_3 : walk_f16_3)(&t);
        else if (R == 4)
            (f32 ? walk_f32_4 : walk_f16_4)(&t);
#if ATTN_ROWS == 8
        else
            (f32 ? walk_f32_8 : walk_f16_8)(&t);
#endif
        tile_end(&t);
    }
}
