/* Matrix products with float activations, written once in terms of the sixteen float lanes of
 * kern/vec_avx2.h or kern/vec_avx512.h. Defines ISA(matmul_f32).
 *
 * Each output is one chain: acc = fmaf(w, a[k], acc) for k in order. Many chains side by side hide
 * its latency: a tile is 16 rows x up to F32_TILE tokens. k is cut into chunks (and the chains
 * parked in `out` between them, exactly) so that what a chunk needs stays in the caches:
 *
 *     panel of tokens > chunk of k: the activations, packed [tile][k][token] > group > tile
 *
 * Float formats are read as they lie. Quantised groups are unpacked to floats, a chunk at a time,
 * once a panel. */
#include "base/check.h"
#include "kern/repack.h"
#include "kern/simd.h"

#ifndef F32_TILE
#error "the including file sets F32_TILE: tokens in a tile"
#endif

#define F32_PANEL (4 * F32_TILE) /* tokens that share an unpacked chunk */
#define F32_CHUNK 256            /* k in a chunk; a multiple of 32 */

/* Sixteen weights (input k of a group) of a float format. */
INL struct vf load_w(enum kern_fmt fmt, const uint8_t *p, int32_t k)
{
    if (fmt == KERN_F32)
        return vf_load((const float *)(const void *)p + (size_t)k * KERN_LANES);
    p += (size_t)k * KERN_LANES * 2;
    return fmt == KERN_F16 ? vf_load_f16(p) : vf_load_bf16(p);
}

/* n_k steps of T chains of sixteen rows. x is [k][T]. The chains start from out[t * stride + 0 ..
 * 15] and are stored there; only n_tok tokens and n_row rows exist in `out`. */
INL void tile_f32(enum kern_fmt fmt, int T, const uint8_t *w, int32_t n_k, const float *x,
                  int first, float *out, size_t stride, int n_tok, int n_row)
{
    struct vf acc[F32_TILE];
    for (int t = 0; t < T; t++)
        acc[t] = first || t >= n_tok   ? vf_zero()
                 : n_row == KERN_LANES ? vf_load(out + (size_t)t * stride)
                                       : vf_load_part(out + (size_t)t * stride, n_row);
    for (int32_t k = 0; k < n_k; k++, x += T) {
        __builtin_prefetch(w + 2048 + (size_t)k * KERN_LANES * (fmt == KERN_F32 ? 4 : 2));
        struct vf v = load_w(fmt, w, k);
#pragma GCC unroll 12
        for (int t = 0; t < T; t++)
            acc[t] = vf_fma(v, vf_set1(x[t]), acc[t]);
    }
    for (int t = 0; t < T && t < n_tok; t++) {
        if (n_row == KERN_LANES)
            vf_store(out + (size_t)t * stride, acc[t]);
        else
            vf_store_part(out + (size_t)t * stride, acc[t], n_row);
    }
}

/* Several groups for one token: their chains run side by side. */
INL void groups_f32(enum kern_fmt fmt, const uint8_t *w, size_t group_bytes, int32_t n_k,
                    const float *x, int first, float *out, int32_t n_rows)
{
    enum { U = 4 };
    struct vf acc[U];
    for (int u = 0; u < U; u++)
        acc[u] = first ? vf_zero() : vf_load_part(out + u * KERN_LANES, n_rows - u * KERN_LANES);
    size_t line = KERN_LANES * (fmt == KERN_F32 ? 4 : 2);
    for (int32_t k = 0; k < n_k; k++) {
        struct vf a = vf_set1(x[k]);
#pragma GCC unroll 4
        for (int u = 0; u < U; u++) {
            const uint8_t *p = w + (size_t)u * group_bytes;
            __builtin_prefetch(p + 4096 + (size_t)k * line, 0, 2);
            acc[u] = vf_fma(load_w(fmt, p, k), a, acc[u]);
        }
    }
    for (int u = 0; u < U; u++)
        vf_store_part(out + u * KERN_LANES, acc[u], n_rows - u * KERN_LANES);
}

/* The smallest tile that holds n tokens. */
static int tile_size(int32_t n)
{
    return n <= 1 ? 1 : n <= 4 ? 4 : F32_TILE;
}

#define TILE_F32(fmt)                                                                              \
    static void tile_##fmt(int T, const uint8_t *w, int32_t n_k, const float *x, int first,        \
                           float *out, size_t stride, int n_tok, int n_row)                        \
    {                                                                                              \
        if (T == 1)                                                                                \
            tile_f32(KERN_##fmt, 1, w, n_k, x, first, out, stride, n_tok, n_row);                  \
        else if (T == 4)                                                                           \
            tile_f32(KERN_##fmt, 4, w, n_k, x, first, out, stride, n_tok, n_row);                  \
        else                                                                                       \
            tile_f32(KERN_##fmt, F32_TILE, w, n_k, x, first, out, stride, n_tok, n_row);           \
    }                                                                                              \
    static void groups_##fmt(const uint8_t *w, size_t group_bytes, int32_t n_k, const float *x,    \
                             int first, float *out, int32_t n_rows)                                \
    {                                                                                              \
        groups_f32(KERN_##fmt, w, group_bytes, n_k, x, first, out, n_rows);                        \
    }
TILE_F32(F32)
TILE_F32(F16)
TILE_F32(BF16)

/* Where chunk [k0, ...) of a float group starts. */
static const uint8_t *chunk_at(enum kern_fmt fmt, const uint8_t *group, int32_t k0)
{
    return group + (size_t)k0 * KERN_LANES * (fmt == KERN_F32 ? 4 : 2);
}

/* One token and float weights, as in decode: four groups are streamed side by side. */
static void stream_one(const struct kern_mat *m, int32_t g0, int32_t g1, const float *x, float *out)
{
    size_t group_bytes = kern_group_bytes(m->fmt, m->cols);
    int32_t g = g0;
    for (; g + 4 <= g1; g += 4) {
        const uint8_t *w = m->data + (size_t)g * group_bytes;
        float *o = out + (size_t)g * KERN_LANES;
        int32_t n_rows = m->rows - g * KERN_LANES;
        if (m->fmt == KERN_F32)
            groups_F32(w, group_bytes, m->cols, x, 1, o, n_rows);
        else if (m->fmt == KERN_F16)
            groups_F16(w, group_bytes, m->cols, x, 1, o, n_rows);
        else
            groups_BF16(w, group_bytes, m->cols, x, 1, o, n_rows);
    }
    for (; g < g1; g++) {
        const uint8_t *w = m->data + (size_t)g * group_bytes;
        float *o = out + (size_t)g * KERN_LANES;
        int32_t left = m->rows - g * KERN_LANES;
        int n_row = left < KERN_LANES ? left : KERN_LANES;
        if (m->fmt == KERN_F32)
            tile_F32(1, w, m->cols, x, 1, o, 0, 1, n_row);
        else if (m->fmt == KERN_F16)
            tile_F16(1, w, m->cols, x, 1, o, 0, 1, n_row);
        else
            tile_BF16(1, w, m->cols, x, 1, o, 0, 1, n_row);
    }
}

/* ---- quantised weights as floats ------------------------------------------------------------- */

/* Unpacked line j of a block: one byte a quant, as stored (MXFP4: looked up). */
INL struct vi vi_line(enum kern_fmt fmt, const uint8_t *blk, int j)
{
    const int lines = repack_block_lines(fmt);
    if (lines == 8)
        return vi_load(blk + j * REPACK_LINE);
    struct vi q = vi_load(blk + j / 2 * REPACK_LINE);
    q = vi_and(j % 2 ? vi_shift(q, -4) : q, 0x0f);
    if (lines == 5)
        q = vi_or(q, vi_and(vi_shift(vi_load(blk + 4 * REPACK_LINE), 4 - j), 0x10));
    if (lines == 6)
        q = vi_or(q,
                  vi_and(vi_shift(vi_load(blk + (4 + j / 4) * REPACK_LINE), 4 - j % 4 * 2), 0x30));
    return fmt == KERN_MXFP4 ? vi_lookup(q, repack_mxfp4) : q;
}

/* One unpacked line of quants as floats: w = (q - off) * scale (+ min). Only the addition of min
 * rounds. */
INL void line_f32(const struct vi *line, int off, struct vf scale, const struct vf *min,
                  struct vf out[4])
{
    for (int c = 0; c < 4; c++) {
        struct vf q = vi_byte_f32(line, c, off);
        out[c] = min ? vf_fma(q, scale, *min) : vf_mul(q, scale);
    }
}

struct scales {
    struct vf scale[2], min;
};

/* Scales of block i of a group; s is its scale section. */
INL struct scales load_scales(enum kern_fmt fmt, const uint8_t *s, int32_t i)
{
    struct scales r = {{vf_zero(), vf_zero()}, vf_zero()};
    if (fmt == KERN_Q4_K || fmt == KERN_Q5_K) {
        s += (size_t)(i / 8) * 320;
        const uint8_t *b = s + 64 + i % 8 * 32;
        r.scale[0] = r.scale[1] = vf_mul(vf_load_f16(s), vf_load_u8(b));
        r.min = vf_neg(vf_mul(vf_load_f16(s + 32), vf_load_u8(b + 16)));
    } else if (fmt == KERN_Q6_K) {
        s += (size_t)(i / 8) * 288;
        const uint8_t *b = s + 32 + i % 8 * 32;
        r.scale[0] = vf_mul(vf_load_f16(s), vf_load_s8(b));
        r.scale[1] = vf_mul(vf_load_f16(s), vf_load_s8(b + 16));
    } else if (fmt == KERN_Q4_1 || fmt == KERN_Q5_1) {
        r.scale[0] = r.scale[1] = vf_load_f16(s + (size_t)i * 64);
        r.min = vf_load_f16(s + (size_t)i * 64 + 32);
    } else if (fmt == KERN_MXFP4) {
        r.scale[0] = r.scale[1] = vf_load_e8m0(s + (size_t)i * 16);
    } else {
        r.scale[0] = r.scale[1] = vf_load_f16(s + (size_t)i * 32);
    }
    return r;
}

/* Blocks [i0, i1) of a group -> w[32 (i1 - i0)][16]. */
INL void unpack_f32(enum kern_fmt fmt, const uint8_t *group, int32_t cols, int32_t i0, int32_t i1,
                    float *w)
{
    const int lines = repack_block_lines(fmt), off = repack_offset(fmt);
    const int has_min =
        fmt == KERN_Q4_1 || fmt == KERN_Q5_1 || fmt == KERN_Q4_K || fmt == KERN_Q5_K;
    const uint8_t *s = group + repack_scale_at(fmt, cols);
    for (int32_t i = i0; i < i1; i++) {
        const uint8_t *blk = group + (size_t)i * (size_t)lines * REPACK_LINE;
        struct scales sc = load_scales(fmt, s, i);
#pragma GCC unroll 8
        for (int j = 0; j < 8; j++, w += 4 * KERN_LANES) {
            struct vi q = vi_line(fmt, blk, j);
            struct vf out[4];
            line_f32(&q, off, sc.scale[j / 4], has_min ? &sc.min : NULL, out);
            for (int c = 0; c < 4; c++)
                vf_store(w + c * KERN_LANES, out[c]);
        }
    }
}

#define UNPACK_CASE(fmt)                                                                           \
    case KERN_##fmt:                                                                               \
        unpack_f32(KERN_##fmt, group, m->cols, i0, i1, w);                                         \
        break

static void unpack_chunk(const struct kern_mat *m, const uint8_t *group, int32_t i0, int32_t i1,
                         float *w)
{
    switch (m->fmt) {
        UNPACK_CASE(Q4_0);
        UNPACK_CASE(Q4_1);
        UNPACK_CASE(Q5_0);
        UNPACK_CASE(Q5_1);
        UNPACK_CASE(Q8_0);
        UNPACK_CASE(Q4_K);
        UNPACK_CASE(Q5_K);
        UNPACK_CASE(Q6_K);
        UNPACK_CASE(MXFP4);
    default:
        CHECK(0);
    }
}

/* ---- the loops ------------------------------------------------------------------------------- */

struct panel {
    const struct kern_act *a;
    const int32_t *rows;
    int32_t t0, n; /* tokens of this panel */
    int32_t k0, n_k;
    float x[F32_PANEL * F32_CHUNK]; /* tiles of [k][T] */
};

/* Gather the panel's tokens for the chunk; the places of missing tokens are 0. */
static void panel_pack(struct panel *p)
{
    for (int32_t t = 0; t < p->n; t += F32_TILE) {
        int T = tile_size(p->n - t);
        float *x = p->x + (size_t)t * F32_CHUNK;
        for (int j = 0; j < T; j++) {
            int32_t i = p->t0 + t + j;
            if (t + j >= p->n) {
                for (int32_t k = 0; k < p->n_k; k++)
                    x[k * T + j] = 0.0f;
                continue;
            }
            const float *f = p->a->f + (size_t)(p->rows ? p->rows[i] : i) * p->a->f_stride + p->k0;
            for (int32_t k = 0; k < p->n_k; k++)
                x[k * T + j] = f[k];
        }
    }
}

/* One group, one chunk, all the panel's tiles. */
static void panel_group(const struct panel *p, enum kern_fmt fmt, const uint8_t *w, float *out,
                        size_t stride, int n_row)
{
    for (int32_t t = 0; t < p->n; t += F32_TILE) {
        int left = p->n - t, T = tile_size(left), n_tok = left < T ? left : T;
        const float *x = p->x + (size_t)t * F32_CHUNK;
        float *o = out + (size_t)(p->t0 + t) * stride;
        if (fmt == KERN_F16)
            tile_F16(T, w, p->n_k, x, p->k0 == 0, o, stride, n_tok, n_row);
        else if (fmt == KERN_BF16)
            tile_BF16(T, w, p->n_k, x, p->k0 == 0, o, stride, n_tok, n_row);
        else
            tile_F32(T, w, p->n_k, x, p->k0 == 0, o, stride, n_tok, n_row);
    }
}

void ISA(matmul_f32)(const struct kern_mat *m, int32_t g0, int32_t g1, const struct kern_act *a,
                     const int32_t *rows, int32_t n, float *out, size_t out_stride)
{
    int is_float = kern_fmt_info(m->fmt)->is_float;
    if (n == 1 && is_float) {
        stream_one(m, g0, g1, a->f + (size_t)(rows ? rows[0] : 0) * a->f_stride, out);
        return;
    }
    struct panel p = {.a = a, .rows = rows};
    float w[F32_CHUNK * KERN_LANES] __attribute__((aligned(64)));
    size_t group_bytes = kern_group_bytes(m->fmt, m->cols);
    for (p.t0 = 0; p.t0 < n; p.t0 += F32_PANEL) {
        p.n = n - p.t0 < F32_PANEL ? n - p.t0 : F32_PANEL;
        for (p.k0 = 0; p.k0 < m->cols; p.k0 += F32_CHUNK) {
            p.n_k = m->cols - p.k0 < F32_CHUNK ? m->cols - p.k0 : F32_CHUNK;
            panel_pack(&p);
            for (int32_t g = g0; g < g1; g++) {
                const uint8_t *group = m->data + (size_t)g * group_bytes;
                float *o = out + (size_t)g * KERN_LANES;
                int32_t left = m->rows - g * KERN_LANES;
                int n_row = left < KERN_LANES ? left : KERN_LANES;
                if (is_float) {
                    panel_group(&p, m->fmt, chunk_at(m->fmt, group, p.k0), o, out_stride, n_row);
                    continue;
                }
                unpack_chunk(m, group, p.k0 / KERN_BLOCK, (p.k0 + p.n_k) / KERN_BLOCK, w);
                panel_group(&p, KERN_F32, (const uint8_t *)w, o, out_stride, n_row);
            }
        }
    }
}
