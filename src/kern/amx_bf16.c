/* Matrix products in AMX tiles of bf16, for the tokens of prompts. Defines amx_matmul_bf16.
 *
 *     C tile: 16 tokens x 16 rows, floats    A tile: 16 tokens x 32 inputs, as they lie in x
 *     B tile: 16 pairs of inputs x 16 rows, unpacked from the repacked group's lines
 *
 * Two by two C tiles are worked on at once, so that each load of A and B serves two products:
 *
 *     block of 256 tokens x 2048 inputs (A stays in L2) > panel of two groups > 256 inputs: the
 *     panel's B is unpacked into L1 > 32 tokens: their sums travel through C
 *
 * The order over the inputs is kern.h's, whatever the blocks are: a tile product is one step of
 * that order, and sums are stored between blocks as floats, which is exact. Unpacking a B tile
 * takes about 160 cycles; a product takes 36-39, of which the unit itself needs 16
 * (docs/performance.md). */
#include "base/check.h"
#include "kern/amx.h"
#include "kern/amx_tile.h"
#include "kern/q8_avx512.h"
#include "kern/simd.h"
#include "kern/tmpl_unit.h"

#define STEP       AMX_STEP
#define TILE_BYTES AMX_TILE_BYTES
#define TOKENS     256 /* of a block: 1 MB of A, half of an L2 */
#define INPUTS     2048
#define PANEL      256 /* inputs: 16 KB of B, and as many of A at a time: both in L1 */
#define PAIR       32  /* tokens, and rows, of two tiles */

/* ---- B --------------------------------------------------------------------------------------- */

/* The byte permutation that makes half a row of a B tile from an unpacked line: dword d takes its
 * two bytes from row d / 2 of the line (in the second half: row 8 + d / 2), and of the line's two
 * pairs of inputs the one that `second` says. */
static __m512i line_places(int half, int second)
{
    int32_t at[16];
    for (int d = 0; d < 16; d++)
        at[d] = 4 * (8 * half + d / 2) + d % 2 + 2 * second;
    return _mm512_loadu_si512(at);
}

static __m512 twice(struct qf v, int half) /* each of 8 lanes, two times */
{
    int32_t at[16];
    for (int d = 0; d < 16; d++)
        at[d] = 8 * half + d / 2;
    return _mm512_permutexvar_ps(_mm512_loadu_si512(at), v.v);
}

INL __m512 flush(__m512 w) /* see kmath_f32_to_bf16 */
{
    __m512 a = _mm512_abs_ps(w), least = _mm512_set1_ps(0x1p-50f);
    return _mm512_maskz_mov_ps(_mm512_cmp_ps_mask(a, least, _CMP_NLT_UQ), w);
}

/* Block i of a quantised group as the 16 lines of a B tile. */
INL void unpack_block(enum kern_fmt fmt, const uint8_t *group, size_t scale_at, int32_t i,
                      uint8_t *tile)
{
    const uint8_t *blk = group + (size_t)i * (size_t)repack_block_lines(fmt) * REPACK_LINE;
    struct unit_scales s = unit_scale(fmt, group + scale_at, i, 0);
    __m512 scale[2][2], start[2][2]; /* [inputs 0..15, 16..31][rows 0..7, 8..15] */
    for (int k = 0; k < 2; k++) {
        /* q * scale + start is exact but for the minimum: one rounding, as in the reference */
        __m512 from = _mm512_mul_ps(s.scale[k].v, _mm512_set1_ps(-(float)repack_offset(fmt)));
        if (fmt == KERN_MXFP4) /* its scales may be so large that this would be infinite */
            from = _mm512_setzero_ps();
        if (fmt == KERN_Q4_1 || fmt == KERN_Q5_1)
            from = s.min.v;
        if (fmt == KERN_Q4_K || fmt == KERN_Q5_K)
            from = _mm512_sub_ps(_mm512_setzero_ps(), s.min.v);
        for (int half = 0; half < 2; half++) {
            scale[k][half] = twice(s.scale[k], half);
            start[k][half] = twice((struct qf){from}, half);
        }
    }
#pragma GCC unroll 8
    for (int j = 0; j < 8; j++) {
        __m512i line = unit_line(fmt, blk, j).v;
#pragma GCC unroll 2
        for (int second = 0; second < 2; second++) {
            __m512 w[2];
#pragma GCC unroll 2
            for (int half = 0; half < 2; half++) {
                __m512i q = _mm512_maskz_permutexvar_epi8(0x1111111111111111u,
                                                          line_places(half, second), line);
                if (fmt == KERN_MXFP4)
                    q = _mm512_sub_epi32(q, _mm512_set1_epi32(repack_offset(fmt)));
                w[half] =
                    _mm512_fmadd_ps(_mm512_cvtepi32_ps(q), scale[j / 4][half], start[j / 4][half]);
                if (fmt == KERN_MXFP4)
                    w[half] = flush(w[half]);
            }
            __m512bh pairs = _mm512_cvtne2ps_pbh(w[1], w[0]);
            memcpy(tile + (2 * j + second) * REPACK_LINE, &pairs, REPACK_LINE);
        }
    }
}

/* The same of a BF16 group, whose inputs lie one after the other, 16 rows each. */
INL void unpack_bf16(const uint8_t *group, int32_t i, uint8_t *tile)
{
    const uint8_t *blk = group + (size_t)i * KERN_BLOCK * KERN_LANES * 2;
    int16_t at[32];
    for (int r = 0; r < 32; r++)
        at[r] = (int16_t)(r / 2 + r % 2 * 16);
    __m512i places = _mm512_loadu_si512(at);
    for (int p = 0; p < 16; p++) {
        __m512i v = _mm512_loadu_si512(blk + p * REPACK_LINE);
        __m512i a = _mm512_and_si512(v, _mm512_set1_epi16(0x7fff));
        __mmask32 keep =
            _mm512_cmpge_epu16_mask(a, _mm512_set1_epi16((short)(KMATH_BF16_MIN >> 16)));
        v = _mm512_permutexvar_epi16(places, _mm512_maskz_mov_epi16(keep, v));
        _mm512_storeu_si512(tile + p * REPACK_LINE, v);
    }
}

/* Blocks [i0, i1) of a group into every second tile from `tile` on. */
typedef void unpack_fn(const uint8_t *group, size_t scale_at, int32_t i0, int32_t i1,
                       uint8_t *tile);

#define UNPACK_FN(fmt, call)                                                                       \
    static void unpack_##fmt(const uint8_t *group, size_t scale_at, int32_t i0, int32_t i1,        \
                             uint8_t *tile)                                                        \
    {                                                                                              \
        (void)scale_at;                                                                            \
        for (int32_t i = i0; i < i1; i++, tile += 2 * TILE_BYTES)                                  \
            call;                                                                                  \
    }
#define UNPACK_QUANTS(fmt) UNPACK_FN(fmt, unpack_block(KERN_##fmt, group, scale_at, i, tile))
UNPACK_QUANTS(Q4_0)
UNPACK_QUANTS(Q4_1)
UNPACK_QUANTS(Q5_0)
UNPACK_QUANTS(Q5_1)
UNPACK_QUANTS(Q8_0)
UNPACK_QUANTS(Q4_K)
UNPACK_QUANTS(Q5_K)
UNPACK_QUANTS(Q6_K)
UNPACK_QUANTS(MXFP4)
UNPACK_FN(BF16, unpack_bf16(group, i, tile))

static unpack_fn *const unpack[KERN_N_FMT] = {
    [KERN_BF16] = unpack_BF16,   [KERN_Q4_0] = unpack_Q4_0, [KERN_Q4_1] = unpack_Q4_1,
    [KERN_Q5_0] = unpack_Q5_0,   [KERN_Q5_1] = unpack_Q5_1, [KERN_Q8_0] = unpack_Q8_0,
    [KERN_Q4_K] = unpack_Q4_K,   [KERN_Q5_K] = unpack_Q5_K, [KERN_Q6_K] = unpack_Q6_K,
    [KERN_MXFP4] = unpack_MXFP4,
};

/* ---- blocks ---------------------------------------------------------------------------------- */

struct product {
    const struct kern_mat *m;
    const uint16_t *x;
    size_t x_stride;
    float *out;
    size_t out_stride;
    int32_t t0, t1; /* tokens */
    int32_t i0, i1; /* steps of the inputs */
    int32_t g, n_g; /* the panel: one group or two */
};

/* Rows of group g that the matrix has (16, fewer in the last group), and likewise below the tokens
 * of tile t that the block has. */
static int rows_of(const struct product *p, int32_t g)
{
    int32_t n = p->m->rows - g * KERN_LANES;
    return g >= p->g + p->n_g || n < 0 ? 0 : n < 16 ? n : 16;
}

static int tokens_of(const struct product *p, int32_t t)
{
    return p->t1 - t < 0 ? 0 : p->t1 - t < 16 ? p->t1 - t : 16;
}

/* Copy sums between `out` and `part`, where `out` does not hold the whole tile. */
static void part_copy(const struct product *p, int32_t t, int32_t g, float *part, int to_out)
{
    float *out = p->out + (size_t)t * p->out_stride + g * KERN_LANES;
    int n = tokens_of(p, t), rows = rows_of(p, g);
    for (int i = 0; i < n && rows; i++, out += p->out_stride, part += KERN_LANES) {
        if (to_out)
            qf_store_part(out, (struct qf){_mm512_loadu_ps(part)}, rows);
        else
            _mm512_storeu_ps(part, qf_load_part(out, rows).v);
    }
}

static int is_whole(const struct product *p, int32_t t, int32_t g)
{
    return tokens_of(p, t) == 16 && rows_of(p, g) == 16;
}

/* Compute the sums of one panel for all tokens and inputs of the block. */
static void run_panel(const struct product *p)
{
    _Alignas(64) uint8_t b[PANEL / STEP * 2 * TILE_BYTES];
    _Alignas(64) float between[TOKENS * PAIR], part[4][16 * 16];
    const size_t group_bytes = kern_group_bytes(p->m->fmt, p->m->cols);
    const size_t scale_at = repack_scale_at(p->m->fmt, p->m->cols);
    const uint8_t *group = p->m->data + (size_t)p->g * group_bytes;

    for (int32_t i = p->i0, end; i < p->i1; i = end) {
        end = p->i1 - i < PANEL / STEP ? p->i1 : i + PANEL / STEP;
        /* where there is no second group its tile gets the first one's weights; its sums are not
         * stored */
        unpack[p->m->fmt](group, scale_at, i, end, b);
        unpack[p->m->fmt](group + (p->n_g > 1 ? group_bytes : 0), scale_at, i, end, b + TILE_BYTES);
        for (int32_t t = p->t0; t < p->t1; t += PAIR) {
            struct amx_sums from[4], to[4];
            for (int k = 0; k < 4; k++) {
                int32_t tk = t + k / 2 * 16, gk = p->g + k % 2;
                struct amx_sums own = {between + (tk - p->t0) * PAIR + k % 2 * 16,
                                       PAIR * sizeof(float)};
                struct amx_sums outer = {part[k], 16 * sizeof(float)};
                if (is_whole(p, tk, gk))
                    outer = (struct amx_sums){p->out + (size_t)tk * p->out_stride + gk * KERN_LANES,
                                              p->out_stride * sizeof(float)};
                else if (i == p->i0 && i > 0)
                    part_copy(p, tk, gk, part[k], 0);
                from[k] = i == p->i0 ? outer : own;
                to[k] = end == p->i1 ? outer : own;
            }
            amx_run_steps(end - i, p->x + (size_t)t * p->x_stride + i * STEP,
                          p->x_stride * sizeof *p->x, b, p->t1 - t <= 16, i ? from : NULL, to);
            for (int k = 0; k < 4 && end == p->i1; k++)
                if (to[k].p == part[k])
                    part_copy(p, t + k / 2 * 16, p->g + k % 2, part[k], 1);
        }
    }
}

void amx_matmul_bf16(const struct kern_mat *m, int32_t g0, int32_t g1, const uint16_t *x,
                     size_t x_stride, int32_t n, float *out, size_t out_stride)
{
    struct product p = {.m = m, .x = x, .x_stride = x_stride, .out = out, .out_stride = out_stride};
    int32_t n_steps = m->cols / STEP;

    CHECK(kern_takes_bf16(m) && (uintptr_t)x % 64 == 0 && x_stride % STEP == 0);
    amx_begin();
    for (p.t0 = 0; p.t0 < n; p.t0 = p.t1) {
        p.t1 = n - p.t0 < TOKENS ? n : p.t0 + TOKENS;
        for (p.i0 = 0; p.i0 < n_steps; p.i0 = p.i1) {
            p.i1 = n_steps - p.i0 < INPUTS / STEP ? n_steps : p.i0 + INPUTS / STEP;
            for (p.g = g0; p.g < g1; p.g += p.n_g) {
                p.n_g = g1 - p.g < 2 ? 1 : 2;
                run_panel(&p);
            }
        }
    }
    amx_end();
}
