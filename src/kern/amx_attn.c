/* Attention in AMX tiles of bf16, for the tokens of prompts; kern/attn.h fixes the order.
 *
 * Up to 96 query rows (heads of the group x consecutive tokens) walk the blocks of positions
 * together. Of a block, K becomes B tiles (pairs of dimensions x 16 slots) and meets the rows' q;
 * the scores of a row become weights in bf16; then V becomes B tiles (pairs of slots x 16
 * dimensions) and meets those. The products cost a fifth of what they cost in floats; the
 * exponentials take about as long as they do. Defines amx_attn_bf16. */
#include "base/check.h"
#include "kern/amx.h"
#include "kern/amx_tile.h"
#include "kern/vec_avx512.h"

#include "kern/simd.h"
#include "kern/tmpl_attn_row.h"
#include "kern/vmath.h"

#define ROWS     96 /* a multiple of 32 */
#define S_STRIDE (KERN_ATTN_BLOCK + 16)
#define P_STRIDE (KERN_ATTN_BLOCK + 32)
#define DIM_WIDE (ATTN_DIM_MAX + 32)

struct row {
    int32_t lo, hi;   /* positions seen */
    int32_t from, to; /* slots of the block */
    float m, block_m;
    float l[16], block_l[16];
    const float *sink;
    float *out;
};

struct rows {
    const struct kern_attn *a;
    int32_t i0, n; /* rows of the call */
    int32_t steps; /* of the dimensions: 32 each, the last may be half */
    int32_t wide;  /* elements from one row of q or o to the next */
    struct row row[ROWS];
    /* The block: slots [first, last) are seen by some row; pages [page0, page1) hold them. */
    int32_t block, first, last, page0, page1;
    _Alignas(64) uint16_t q[ROWS * DIM_WIDE];
    _Alignas(64) uint16_t p[ROWS * P_STRIDE];
    _Alignas(64) float s[ROWS * S_STRIDE];
    _Alignas(64) float o[ROWS * DIM_WIDE], block_o[ROWS * DIM_WIDE];
    _Alignas(64) uint8_t tiles[ATTN_DIM_MAX * KERN_ATTN_BLOCK * 2]; /* of K, then of V */
};

/* ---- B --------------------------------------------------------------------------------------- */

/* A line of a B tile: for each of 16 columns, a then b. */
INL void store_pairs(uint8_t *line, struct vf a, struct vf b)
{
    static const uint16_t at[32] = {0, 16, 1, 17, 2,  18, 3,  19, 4,  20, 5,  21, 6,  22, 7,  23,
                                    8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31};
    __m512i v = (__m512i)_mm512_cvtne2ps_pbh(b.v, a.v);
    _mm512_storeu_si512(line, _mm512_permutexvar_epi16(_mm512_loadu_si512(at), v));
}

INL struct vf flush(struct vf x) /* see kmath_f32_to_bf16; NaN stays */
{
    __mmask16 keep = _mm512_cmp_ps_mask(_mm512_abs_ps(x.v), _mm512_set1_ps(0x1p-50f), _CMP_NLT_UQ);
    return vf_of(_mm512_maskz_mov_ps(keep, x.v));
}

/* The call's page i of the block. */
static const uint8_t *page_at(const struct rows *w, int32_t i)
{
    const struct kern_attn *a = w->a;
    return a->base + (size_t)a->page[w->block * ATTN_BLOCK_PAGES + i] * a->page_stride;
}

/* Tiles [page][step][half of the slots]. */
INL void unpack_k(enum kern_kv kv, struct rows *w)
{
    const int32_t dim = w->a->head_dim;
    uint8_t *line = w->tiles;
    for (int32_t i = w->page0; i < w->page1; i++) {
        const uint8_t *page = page_at(w, i);
        for (int32_t step = 0; step < w->steps; step++)
            for (int half = 0; half < 2; half++)
                for (int32_t d = step * 32; d < step * 32 + 32; d += 2, line += AMX_LINE) {
                    if (d >= dim) {
                        memset(line, 0, AMX_LINE);
                        continue;
                    }
                    struct vf k0 = attn_load_k(kv, page, dim, d, 16 * half);
                    struct vf k1 = attn_load_k(kv, page, dim, d + 1, 16 * half);
                    if (kv != KERN_KV_F16) { /* f16's smallest number is above bf16's flush limit */
                        k0 = flush(k0);
                        k1 = flush(k1);
                    }
                    store_pairs(line, k0, k1);
                }
    }
}

/* V of a slot that some row sees. A slot that no row sees may hold any bits: 0 then. */
INL struct vf load_seen(enum kern_kv kv, const struct rows *w, const uint8_t *page, int32_t d,
                        int32_t slot)
{
    if (slot < w->first || slot >= w->last)
        return vf_zero();
    struct vf v = attn_load_v(kv, page, w->a->head_dim, d, slot % KERN_PAGE);
    return kv == KERN_KV_F16 ? v : flush(v);
}

/* Tiles [pair of 16 dimensions][page][first, second]. */
INL void unpack_v(enum kern_kv kv, struct rows *w)
{
    uint8_t *line = w->tiles;
    for (int32_t step = 0; step < w->steps; step++)
        for (int32_t i = w->page0; i < w->page1; i++) {
            const uint8_t *page = page_at(w, i);
            for (int32_t d = step * 32; d < step * 32 + 32; d += 16)
                for (int32_t j = i * KERN_PAGE; j < (i + 1) * KERN_PAGE; j += 2, line += AMX_LINE) {
                    if (d >= w->a->head_dim)
                        memset(line, 0, AMX_LINE);
                    else
                        store_pairs(line, load_seen(kv, w, page, d, j),
                                    load_seen(kv, w, page, d, j + 1));
                }
        }
}

/* ---- a block --------------------------------------------------------------------------------- */

/* n steps of two tiles of 16 rows each, from row t on, to `out` (two tiles wide). */
static void run_pair(const struct rows *w, int32_t t, int32_t n, const uint16_t *x, size_t x_stride,
                     const uint8_t *tiles, float *out, size_t stride)
{
    struct amx_sums to[4];
    for (int k = 0; k < 4; k++)
        to[k] = (struct amx_sums){out + (size_t)(t + k / 2 * 16) * stride + k % 2 * 16,
                                  stride * sizeof(float)};
    amx_run_steps(n, x + (size_t)t * x_stride, x_stride * sizeof *x, tiles, w->n - t <= 16, NULL,
                  to);
}

/* Turn the scores of a row into weights, 0 for slots that it does not see, and sum the weights. */
static void row_weights(const struct rows *w, struct row *r, float *s, uint16_t *p)
{
    const struct vf low = vf_set1(-INFINITY), k = vf_set1(attn_k(w->a));
    struct vf top = low, l = vf_zero();
    for (int32_t j = r->from / 16 * 16; j < r->to; j += 16) {
        struct vf x = vf_load(s + j);
        top = vf_max(top, vf_select(vm_range(r->from - j, r->to - j), x, low));
    }
    r->block_m = attn_k(w->a) * vf_fold_max(top);
    struct vf m = vf_set1(-r->block_m);
    for (int32_t j = w->page0 * KERN_PAGE; j < w->page1 * KERN_PAGE; j += 16) {
        __m256i bits = _mm256_setzero_si256();
        if (j + 16 > r->from && j < r->to) {
            struct vf x = flush(vf_exp2(vf_fma(vf_load(s + j), k, m)));
            x = vf_select(vm_range(r->from - j, r->to - j), x, vf_zero());
            bits = (__m256i)_mm512_cvtneps_pbh(x.v);
            l = vf_add(l, vf_load_bf16(&bits));
        }
        _mm256_store_si256((__m256i *)(void *)(p + j), bits);
    }
    vf_store(r->block_l, l);
}

static void row_join(struct rows *w, int32_t i)
{
    struct row *r = &w->row[i];
    const struct kern_attn *a = w->a;
    float *o = &w->o[i * w->wide];
    const float *block_o = &w->block_o[i * w->wide];
    if (!a->part) {
        attn_row_join(a, &r->m, r->l, o, r->block_m, r->block_l, block_o);
        return;
    }
    float *part = attn_part(a, w->block, w->i0 + i);
    memcpy(part, r->block_l, sizeof r->block_l);
    part[ATTN_PART_M] = r->block_m;
    memcpy(part + ATTN_PART_O, block_o, (size_t)a->head_dim * sizeof(float));
}

/* Which slots the rows see; 0 when none does. */
static int block_begin(struct rows *w, int32_t block)
{
    int32_t base = block * KERN_ATTN_BLOCK;
    w->block = block;
    w->first = KERN_ATTN_BLOCK;
    w->last = 0;
    for (int32_t i = 0; i < w->n; i++) {
        struct row *r = &w->row[i];
        r->from = r->lo > base ? r->lo - base : 0;
        r->to = r->hi - base < KERN_ATTN_BLOCK ? r->hi - base : KERN_ATTN_BLOCK;
        if (r->from >= r->to) {
            r->from = r->to = 0;
            continue;
        }
        w->first = r->from < w->first ? r->from : w->first;
        w->last = r->to > w->last ? r->to : w->last;
    }
    w->page0 = w->first / KERN_PAGE;
    w->page1 = (w->last - 1) / KERN_PAGE + 1;
    return w->first < w->last;
}

INL void run_block(enum kern_kv kv, struct rows *w)
{
    const int32_t n_pages = w->page1 - w->page0;
    const size_t page_bytes = (size_t)w->steps * 2 * AMX_TILE_BYTES;
    unpack_k(kv, w);
    for (int32_t t = 0; t < w->n; t += 32)
        for (int32_t i = 0; i < n_pages; i++)
            run_pair(w, t, w->steps, w->q, (size_t)w->wide, w->tiles + (size_t)i * page_bytes,
                     w->s + (w->page0 + i) * KERN_PAGE, S_STRIDE);
    for (int32_t i = 0; i < w->n; i++) {
        struct row *r = &w->row[i];
        if (r->from < r->to)
            row_weights(w, r, w->s + i * S_STRIDE, w->p + i * P_STRIDE);
        else
            memset(w->p + i * P_STRIDE, 0, P_STRIDE * sizeof *w->p);
    }
    unpack_v(kv, w);
    for (int32_t t = 0; t < w->n; t += 32)
        for (int32_t step = 0; step < w->steps; step++)
            run_pair(w, t, n_pages, w->p + w->page0 * KERN_PAGE, P_STRIDE,
                     w->tiles + (size_t)(step * n_pages) * 2 * AMX_TILE_BYTES,
                     w->block_o + step * 32, (size_t)w->wide);
    for (int32_t i = 0; i < w->n; i++)
        if (w->row[i].from < w->row[i].to)
            row_join(w, i);
}

/* ---- calls ----------------------------------------------------------------------------------- */

static void row_begin(struct rows *w, int32_t i)
{
    const struct kern_attn *a = w->a;
    int32_t tok = (w->i0 + i) / a->n_group, head = (w->i0 + i) % a->n_group, dim = a->head_dim;
    uint16_t *q = w->q + i * w->wide;
    avx512_to_bf16(a->q + (size_t)tok * a->q_stride + (size_t)(head * dim), dim, q);
    memset(q + dim, 0, (size_t)(w->steps * 32 - dim) * sizeof *q);
    memset(w->o + i * w->wide, 0, (size_t)dim * sizeof *w->o);
    w->row[i] = (struct row){
        .lo = attn_first(a, a->pos + tok),
        .hi = a->pos + tok + 1,
        .m = -INFINITY,
        .sink = a->sinks ? a->sinks + head : NULL,
        .out = a->out + (size_t)tok * a->out_stride + (size_t)(head * dim),
    };
}

/* Rows [i0, i0 + n) of the call, n <= ROWS. */
INL void run_rows(enum kern_kv kv, const struct kern_attn *a, int32_t i0, int32_t n)
{
    struct rows w;
    w.a = a;
    w.i0 = i0;
    w.n = n;
    w.steps = (a->head_dim + 31) / 32;
    w.wide = w.steps * 32 + 32;
    for (int32_t i = 0; i < n; i++)
        row_begin(&w, i);
    int32_t b0 = w.row[0].lo / KERN_ATTN_BLOCK, b1 = (w.row[n - 1].hi - 1) / KERN_ATTN_BLOCK + 1;
    if (a->part) {
        b0 = b0 < a->block0 ? a->block0 : b0;
        b1 = b1 > a->block1 ? a->block1 : b1;
    }
    for (int32_t b = b0; b < b1; b++)
        if (block_begin(&w, b))
            run_block(kv, &w);
    for (int32_t i = 0; i < n && !a->part; i++)
        attn_row_end(a, w.row[i].m, vf_load(w.row[i].l), w.o + i * w.wide, w.row[i].sink,
                     w.row[i].out);
}

#define RUN_ROWS(kind, KV)                                                                         \
    static __attribute__((noinline)) void run_##kind(const struct kern_attn *a, int32_t i0,        \
                                                     int32_t n)                                    \
    {                                                                                              \
        run_rows(KV, a, i0, n);                                                                    \
    }
RUN_ROWS(f32, KERN_KV_F32)
RUN_ROWS(f16, KERN_KV_F16)
RUN_ROWS(q8_0, KERN_KV_Q8_0)

void amx_attn_bf16(const struct kern_attn *a)
{
    CHECK(a->head_dim > 0 && a->head_dim % 16 == 0 && a->head_dim <= ATTN_DIM_MAX);
    int32_t n_rows = a->n_tok * a->n_group;
    amx_begin();
    for (int32_t i = 0; i < n_rows; i += ROWS) {
        int32_t n = n_rows - i < ROWS ? n_rows - i : ROWS;
        (a->kv == KERN_KV_F32 ? run_f32 : a->kv == KERN_KV_F16 ? run_f16 : run_q8_0)(a, i, n);
    }
    amx_end();
}
