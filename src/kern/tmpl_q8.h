/* Matrix products with quantised activations, written once; the including file brings the ISA's
 * integer dot product and its tile sizes.
 *
 * A unit is what one register covers: a group's 16 rows, or half of them where registers have 256
 * bits. A tile is U units x T tokens. For each block of 32 inputs every weight line is loaded and
 * unpacked once and meets each token's four bytes, broadcast; then one multiply and one fma turn
 * the integer sums into the float chains (kern.h: their order is fixed, the integers' is free).
 *
 * The tile's tokens are packed beforehand: one pointer with constant offsets reaches everything, a
 * missing token is zeros, and what depends on the token alone (-offset * sum) is computed once.
 * k is cut into chunks when the pack would leave L1; the chains are parked in `out`, exactly.
 *
 *     block of groups that stays in L2 > tile of tokens > chunk of k: pack > units
 *
 * The including file defines, before:
 *     Q8_ISA(name)         the function's name: this file defines Q8_ISA(matmul_q8)
 *     Q8_LANES             rows of a unit: 16 or 8
 *     Q8_TILES(X)          X(T, U) for each tile, T ascending; the last T is the largest
 *     struct qv, struct qf registers of bytes and of floats
 *     struct qacc          integer sums of one (unit, token)
 *     qv_* qf_* qacc_*     the verbs used below */
#include "base/check.h"
#include "kern/repack.h"
#include "kern/simd.h"
#include "kern/tmpl_unit.h"

#define Q8_PER_GROUP  (KERN_LANES / Q8_LANES) /* units of a group */
#define Q8_PACK_BYTES 24576
#define Q8_L2_BYTES   (384 * 1024)
#define Q8_UNITS_MAX  8
#define Q8_AHEAD      24 /* blocks prefetched ahead */
/* Most tokens of a tile whose blocks have two scales (Q6_K): each token needs three registers. */
#define Q8_TOKENS_HALVES 8

/* One block of the packed tokens: the arrays of struct pack, one after the other. */
#define PACK_BYTES(T) ((T) * (KERN_BLOCK + 16))
#define PACK_BLOCKS   (Q8_PACK_BYTES / PACK_BYTES(1))

struct pack {
    const int8_t *q;     /* [T][32] */
    const int32_t *init; /* [2][T]: -offset * sum of each half */
    const float *scale;  /* [T] */
    const float *sum;    /* [T]: scale * sum, for formats with a minimum */
};

INL struct pack pack_at(const uint8_t *p, int T)
{
    struct pack k;
    k.q = (const int8_t *)p;
    k.init = (const int32_t *)(const void *)(p + T * KERN_BLOCK);
    k.scale = (const float *)(const void *)(k.init + 2 * T);
    k.sum = k.scale + T;
    return k;
}

/* Write token t into the pack of n blocks: its 32 values and its scale per block, and the products
 * with its sums that the format needs. q, scale and sum point at the token's first block; p at the
 * pack. There are two loops because the compiler turns the first one, which only computes, into
 * vector code; the second one stores to places that lie apart, so it stays scalar. */
INL void pack_token(int has_off, int halves, int mins, const int8_t *q, const float *scale,
                    const int16_t *sum, int T, int t, int32_t n, int off, uint8_t *p)
{
    float scaled[PACK_BLOCKS];
    int32_t start[2][PACK_BLOCKS];
    for (int32_t i = 0; i < n; i++) {
        int32_t first = sum[2 * i], second = sum[2 * i + 1];
        if (mins)
            scaled[i] = scale[i] * (float)(first + second);
        if (has_off)
            start[0][i] = -off * (halves ? first : first + second);
        if (halves)
            start[1][i] = -off * second;
    }
    for (int32_t i = 0; i < n; i++, p += PACK_BYTES(T)) {
        int32_t *init = (int32_t *)(void *)(p + T * KERN_BLOCK) + t;
        float *to = (float *)(void *)(p + T * (KERN_BLOCK + 8)) + t;
        memcpy(p + t * KERN_BLOCK, q + i * KERN_BLOCK, KERN_BLOCK);
        to[0] = scale[i];
        if (mins)
            to[T] = scaled[i];
        if (has_off)
            init[0] = start[0][i];
        if (halves)
            init[T] = start[1][i];
    }
}

/* Fill place t of a tile that has fewer tokens than T with zeros. */
static void pack_nothing(int T, int t, int32_t n, uint8_t *p)
{
    for (int32_t i = 0; i < n; i++, p += PACK_BYTES(T)) {
        memset(p + t * KERN_BLOCK, 0, KERN_BLOCK);
        for (int k = 0; k < 4; k++)
            memset(p + T * (KERN_BLOCK + 4 * k) + 4 * t, 0, 4);
    }
}

/* Pack blocks [i0, i1) of n_tok tokens; the places up to T are filled with zeros. */
static void pack_tokens(const struct kern_act *a, const int32_t *rows, int32_t t0, int n_tok, int T,
                        int32_t i0, int32_t i1, enum kern_fmt fmt, uint8_t *dst)
{
    const int off = qacc_offset(fmt);
    size_t n_blk = (size_t)(a->cols / KERN_BLOCK);
    for (int t = 0; t < T; t++) {
        size_t at = t < n_tok ? (size_t)(rows ? rows[t0 + t] : t0 + t) * n_blk + (size_t)i0 : 0;
        const int8_t *q = a->q + at * KERN_BLOCK;
        const float *scale = a->scale + at;
        const int16_t *sum = a->sum + 2 * at;
        if (t >= n_tok)
            pack_nothing(T, t, i1 - i0, dst);
        else if (fmt == KERN_Q6_K)
            pack_token(1, 1, 0, q, scale, sum, T, t, i1 - i0, off, dst);
        else if (fmt == KERN_Q4_1 || fmt == KERN_Q5_1 || fmt == KERN_Q4_K || fmt == KERN_Q5_K)
            pack_token(0, 0, 1, q, scale, sum, T, t, i1 - i0, 0, dst);
        else
            pack_token(1, 0, 0, q, scale, sum, T, t, i1 - i0, off, dst);
    }
}

/* ---- a block --------------------------------------------------------------------------------- */

/* Called with the work on line j: prefetch the lines that lie `ahead` bytes further, so that the
 * prefetches of a block are spread over its eight lines. They go to L2, because a core can have
 * only about ten misses of L1 under way, which would limit its bandwidth. */
INL void unit_prefetch(enum kern_fmt fmt, const uint8_t *blk, size_t ahead, int j)
{
    const int lines = repack_block_lines(fmt);
    if (lines == 8)
        __builtin_prefetch(blk + ahead + j * REPACK_LINE, 0, 2);
    else if (j % 2 == 0)
        __builtin_prefetch(blk + ahead + j / 2 * REPACK_LINE, 0, 2);
    else if (j / 2 < lines - 4)
        __builtin_prefetch(blk + ahead + (4 + j / 2) * REPACK_LINE, 0, 2);
}

/* sum[u][t] = lines [j0, j1) of a block, which share a scale: the block, or for Q6_K one half of
 * it. blk[u] points at the unit's bytes of the block. */
INL void tile_dots(enum kern_fmt fmt, int U, int T, int half, int j0, int j1,
                   const uint8_t *const *blk, size_t ahead, const struct pack *p, struct qacc *sum)
{
#pragma GCC unroll 12
    for (int t = 0; t < T; t++)
#pragma GCC unroll 8
        for (int u = 0; u < U; u++)
            qacc_start(fmt, &sum[u * T + t], p->init + half * T + t);
#pragma GCC unroll 8
    for (int j = j0; j < j1; j++)
#pragma GCC unroll 8
        for (int u = 0; u < U; u++) {
            struct qv w = unit_line(fmt, blk[u], j);
            if (u % Q8_PER_GROUP == 0)
                unit_prefetch(fmt, blk[u], ahead, j);
#pragma GCC unroll 12
            for (int t = 0; t < T; t++)
                qacc_dot(fmt, &sum[u * T + t], w, p->q + t * KERN_BLOCK + 4 * j, j);
        }
}

/* acc[u][t] += block i. sc[u] points at the scales of the unit's group. */
INL void tile_block(enum kern_fmt fmt, int U, int T, const uint8_t *const *blk,
                    const uint8_t *const *sc, int32_t i, size_t ahead, size_t sc_ahead,
                    const uint8_t *packed, struct qf *acc)
{
    struct pack p = pack_at(packed, T);
    struct qacc sum[Q8_UNITS_MAX * Q8_TOKENS_MAX];
    tile_dots(fmt, U, T, 0, 0, 8, blk, ahead, &p, sum);
#pragma GCC unroll 8
    for (int u = 0; u < U; u++) {
        struct unit_scales s = unit_scale(fmt, sc[u], i, u % Q8_PER_GROUP);
        if (u % Q8_PER_GROUP == 0)
            __builtin_prefetch(sc[u] + sc_ahead, 0, 2);
#pragma GCC unroll 12
        for (int t = 0; t < T; t++) {
            struct qf *f = &acc[u * T + t];
            *f = qf_fma(qacc_end(fmt, &sum[u * T + t], p.init + t),
                        qf_mul_at(s.scale[0], p.scale + t), *f);
            if (fmt == KERN_Q4_1 || fmt == KERN_Q5_1)
                *f = qf_fma_at(s.min, p.sum + t, *f);
            if (fmt == KERN_Q4_K || fmt == KERN_Q5_K)
                *f = qf_fnma_at(s.min, p.sum + t, *f);
        }
    }
}

/* The same for Q6_K: each half of the block has a scale of its own. */
INL void tile_block_halves(enum kern_fmt fmt, int U, int T, const uint8_t *const *blk,
                           const uint8_t *const *sc, int32_t i, size_t ahead, size_t sc_ahead,
                           const uint8_t *packed, struct qf *acc)
{
    struct pack p = pack_at(packed, T);
    struct qf both[Q8_UNITS_MAX * Q8_TOKENS_MAX];
#pragma GCC unroll 2
    for (int half = 0; half < 2; half++) {
        struct qacc sum[Q8_UNITS_MAX * Q8_TOKENS_MAX];
        tile_dots(fmt, U, T, half, 4 * half, 4 * half + 4, blk, ahead, &p, sum);
#pragma GCC unroll 8
        for (int u = 0; u < U; u++) {
            struct unit_scales s = unit_scale(fmt, sc[u], i, u % Q8_PER_GROUP);
#pragma GCC unroll 12
            for (int t = 0; t < T; t++) {
                struct qf d = qacc_end(fmt, &sum[u * T + t], p.init + half * T + t);
                struct qf *f = &both[u * T + t];
                *f = half ? qf_fma(d, s.scale[1], *f) : qf_mul(d, s.scale[0]);
            }
        }
    }
#pragma GCC unroll 8
    for (int u = 0; u < U; u++) {
        if (u % Q8_PER_GROUP == 0)
            __builtin_prefetch(sc[u] + sc_ahead, 0, 2);
#pragma GCC unroll 12
        for (int t = 0; t < T; t++)
            acc[u * T + t] = qf_fma_at(both[u * T + t], p.scale + t, acc[u * T + t]);
    }
}

/* ---- a tile ---------------------------------------------------------------------------------- */

struct tile {
    const struct kern_mat *m;
    size_t group_bytes, scale_at;
    int32_t g0, g1; /* groups */
    int32_t i0, i1; /* blocks of k */
    const uint8_t *packed;
    float *out; /* of the tile's first token */
    size_t stride;
    int n_tok;
};

/* Load the chains (running sums) of the rows of unit h of group g: zeros at the first chunk of k,
 * later what chains_store left in `out`. */
INL void chains_load(const struct tile *t, int32_t g, int h, int T, struct qf *acc)
{
#pragma GCC unroll 12
    for (int k = 0; k < T; k++)
        acc[k] = qf_zero();
    if (t->i0 == 0)
        return;
    int32_t row = g * KERN_LANES + h * Q8_LANES;
    const float *p = t->out + row;
#pragma GCC unroll 12
    for (int k = 0; k < T; k++)
        if (k < t->n_tok)
            acc[k] = qf_load_part(p + (size_t)k * t->stride, t->m->rows - row);
}

INL void chains_store(const struct tile *t, int32_t g, int h, int T, const struct qf *acc)
{
    int32_t row = g * KERN_LANES + h * Q8_LANES;
    float *p = t->out + row;
    if (t->n_tok == T && row + Q8_LANES <= t->m->rows) {
#pragma GCC unroll 12
        for (int k = 0; k < T; k++, p += t->stride)
            qf_store(p, acc[k]);
        return;
    }
#pragma GCC unroll 12
    for (int k = 0; k < T; k++)
        if (k < t->n_tok)
            qf_store_part(p + (size_t)k * t->stride, acc[k], t->m->rows - row);
}

/* All groups of the tile, U / Q8_PER_GROUP at a time. Where fewer are left, the units that have no
 * group compute the last one again and store the same values. */
INL void tile_run(enum kern_fmt fmt, int U, int T, const struct tile *t)
{
    const int G = U / Q8_PER_GROUP;
    const size_t blk_bytes = (size_t)repack_block_lines(fmt) * REPACK_LINE;
    const size_t sc_bytes = (size_t)repack_scale_bytes(fmt) / (size_t)(repack_scale_span(fmt) / 32);
    const int32_t n_blk = t->i1 - t->i0, dist = n_blk < Q8_AHEAD ? n_blk : Q8_AHEAD;
    for (int32_t g = t->g0; g < t->g1; g += G) {
        const uint8_t *blk[Q8_UNITS_MAX], *sc[Q8_UNITS_MAX];
        int32_t of[Q8_UNITS_MAX];
        struct qf acc[Q8_UNITS_MAX * Q8_TOKENS_MAX];
#pragma GCC unroll 8
        for (int u = 0; u < U; u++) {
            int32_t gu = g + u / Q8_PER_GROUP;
            of[u] = gu < t->g1 ? gu : t->g1 - 1;
            const uint8_t *p = t->m->data + (size_t)of[u] * t->group_bytes;
            sc[u] = p + t->scale_at;
            blk[u] = p + (size_t)t->i0 * blk_bytes + u % Q8_PER_GROUP * (Q8_LANES * 4);
            chains_load(t, of[u], u % Q8_PER_GROUP, T, &acc[u * T]);
        }
        const uint8_t *packed = t->packed;
        for (int32_t i = 0; i < n_blk; i++, packed += PACK_BYTES(T)) {
            /* near the end of these groups, prefetch the beginning of the groups that follow */
            int wrap = i + dist >= n_blk;
            size_t hop = wrap ? (size_t)G * t->group_bytes - (size_t)n_blk * blk_bytes : 0;
            size_t sc_at = (size_t)(t->i0 + i + dist) * sc_bytes;
            size_t sc_hop = wrap ? (size_t)G * t->group_bytes - (size_t)n_blk * sc_bytes : 0;
            (fmt == KERN_Q6_K ? tile_block_halves : tile_block)(fmt, U, T, blk, sc, t->i0 + i,
                                                                hop + (size_t)dist * blk_bytes,
                                                                sc_at + sc_hop, packed, acc);
#pragma GCC unroll 8
            for (int u = 0; u < U; u++)
                blk[u] += blk_bytes;
        }
#pragma GCC unroll 8
        for (int u = 0; u < U; u++)
            chains_store(t, of[u], u % Q8_PER_GROUP, T, &acc[u * T]);
    }
}

/* ---- dispatch -------------------------------------------------------------------------------- */

#define TILE_CASE(T, U)                                                                            \
    case T:                                                                                        \
        tile_run(FMT, U, T, t);                                                                    \
        break;
#define TILE_FN(fmt)                                                                               \
    static void tile_##fmt(int T, const struct tile *t)                                            \
    {                                                                                              \
        const enum kern_fmt FMT = KERN_##fmt;                                                      \
        switch (T) {                                                                               \
            Q8_TILES(TILE_CASE)                                                                    \
        default:                                                                                   \
            CHECK(0);                                                                              \
        }                                                                                          \
    }
TILE_FN(Q4_0)
TILE_FN(Q4_1)
TILE_FN(Q5_0)
TILE_FN(Q5_1)
TILE_FN(Q8_0)
TILE_FN(Q4_K)
TILE_FN(Q5_K)
TILE_FN(Q6_K)
TILE_FN(MXFP4)

static void tile_any(int T, const struct tile *t)
{
    static void (*const fn[KERN_N_FMT])(int, const struct tile *) = {
        [KERN_Q4_0] = tile_Q4_0, [KERN_Q4_1] = tile_Q4_1, [KERN_Q5_0] = tile_Q5_0,
        [KERN_Q5_1] = tile_Q5_1, [KERN_Q8_0] = tile_Q8_0, [KERN_Q4_K] = tile_Q4_K,
        [KERN_Q5_K] = tile_Q5_K, [KERN_Q6_K] = tile_Q6_K, [KERN_MXFP4] = tile_MXFP4,
    };
    fn[t->m->fmt](T, t);
}

/* The smallest tile that holds n tokens, or the largest there is. */
static int tile_tokens(enum kern_fmt fmt, int32_t n)
{
    if (fmt == KERN_Q6_K && n > Q8_TOKENS_HALVES)
        n = Q8_TOKENS_HALVES;
#define TILE_PICK(T, U)                                                                            \
    if (n <= (T))                                                                                  \
        return T;
    Q8_TILES(TILE_PICK)
    return Q8_TOKENS_MAX;
}

/* One tile of tokens over the groups [g0, g1), k in chunks. */
static void run_tokens(struct tile *t, const struct kern_act *a, const int32_t *rows, int32_t t0,
                       int T)
{
    _Alignas(64) uint8_t packed[Q8_PACK_BYTES];
    int32_t n_blk = t->m->cols / KERN_BLOCK, most = Q8_PACK_BYTES / PACK_BYTES(T);
    int32_t n_chunk = (n_blk + most - 1) / most;
    int32_t per = (n_blk + n_chunk - 1) / n_chunk;
    t->packed = packed;
    for (t->i0 = 0; t->i0 < n_blk; t->i0 = t->i1) {
        t->i1 = n_blk - t->i0 < per ? n_blk : t->i0 + per;
        pack_tokens(a, rows, t0, t->n_tok, T, t->i0, t->i1, t->m->fmt, packed);
        tile_any(T, t);
    }
}

void Q8_ISA(matmul_q8)(const struct kern_mat *m, int32_t g0, int32_t g1, const struct kern_act *a,
                       const int32_t *rows, int32_t n, float *out, size_t out_stride)
{
    if (kern_fmt_info(m->fmt)->is_float) {
        Q8_MATMUL_F32(m, g0, g1, a, rows, n, out, out_stride);
        return;
    }
    struct tile t = {.m = m, .stride = out_stride};
    t.group_bytes = kern_group_bytes(m->fmt, m->cols);
    t.scale_at = repack_scale_at(m->fmt, m->cols);
    /* one pass over the weights when all tokens fit a tile; else by blocks that stay in L2 */
    int32_t per = g1 - g0;
    if (n > Q8_TOKENS_MAX && (size_t)per * t.group_bytes > Q8_L2_BYTES)
        per = (int32_t)(Q8_L2_BYTES / t.group_bytes) / 4 * 4 + 4;
    for (t.g0 = g0; t.g0 < g1; t.g0 = t.g1) {
        t.g1 = g1 - t.g0 < per ? g1 : t.g0 + per;
        for (int32_t t0 = 0; t0 < n;) {
            int T = tile_tokens(m->fmt, n - t0);
            t.n_tok = n - t0 < T ? n - t0 : T;
            t.out = out + (size_t)t0 * out_stride;
            run_tokens(&t, a, rows, t0, T);
            t0 += t.n_tok;
        }
    }
}
