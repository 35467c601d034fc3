/* Repack GGUF rows into the repacked layout (repack.h draws it), and read them back. */
#include "kern/repack.h"

#include "base/check.h"

#define INLINE inline __attribute__((always_inline))

const uint8_t repack_mxfp4[16] = REPACK_MXFP4;

static INLINE uint64_t load64(const uint8_t *p)
{
    uint64_t v;
    memcpy(&v, p, 8);
    return v;
}

static INLINE void store32(uint8_t *p, uint32_t v)
{
    memcpy(p, &v, 4);
}

#define EACH(byte) ((uint64_t)(byte)*0x0101010101010101u) /* in each byte of a word */

/* ---- source block -> 32 unsigned quants ------------------------------------------------------ */

/* The quants of 32 inputs, a byte each, in memory's order: work goes eight at a time. */
struct quants {
    uint64_t w[4];
};

/* 16 bytes of nibbles: inputs 0..15 low, 16..31 high. */
static INLINE struct quants read_nibbles(const uint8_t *qs)
{
    uint64_t a = load64(qs), b = load64(qs + 8);
    return (struct quants){{a & EACH(15), b & EACH(15), a >> 4 & EACH(15), b >> 4 & EACH(15)}};
}

/* Add the fifth bit of each quant: bit j of qh belongs to input j. */
static INLINE void read_fifth(const uint8_t *qh, struct quants *q)
{
    for (int l = 0; l < 4; l++) {
        uint64_t bits = EACH(qh[l]) & 0x8040201008040201u;  /* byte j keeps bit j only */
        q->w[l] |= ((bits + EACH(0x7f)) & EACH(0x80)) >> 3; /* where byte j is not 0: set bit 4 */
    }
}

/* The nibbles of sub-block b (0..7) of a block of 256 of Q4_K or Q5_K, where 32 bytes hold 64
 * inputs. */
static INLINE struct quants read_k_nibbles(const uint8_t *qs, int b)
{
    struct quants q;
    for (int l = 0; l < 4; l++)
        q.w[l] = load64(qs + b / 2 * 32 + 8 * l) >> b % 2 * 4 & EACH(15);
    return q;
}

static INLINE struct quants read_q6_k(const uint8_t *src, int b)
{
    /* per 128 inputs: 64 bytes of nibbles (low: the first 64 inputs), 32 bytes of 2-bit fields */
    const uint8_t *ql = src + b / 4 * 64 + b % 2 * 32, *qh = src + 128 + b / 4 * 32;
    int nib = b % 4 / 2 * 4, two = b % 4 * 2;
    struct quants q;
    for (int l = 0; l < 4; l++)
        q.w[l] = (load64(ql + 8 * l) >> nib & EACH(15)) | (load64(qh + 8 * l) >> two & EACH(3))
                                                              << 4;
    return q;
}

/* The quants of inputs 32 i .. 32 i + 31 of a row; blk is the source block that holds them. */
static INLINE struct quants read_quants(enum kern_fmt fmt, const uint8_t *blk, int32_t i)
{
    struct quants q = {{0}};

    switch (fmt) {
    case KERN_Q4_0:
        return read_nibbles(blk + 2);
    case KERN_Q4_1:
        return read_nibbles(blk + 4);
    case KERN_MXFP4:
        return read_nibbles(blk + 1);
    case KERN_Q5_0:
        q = read_nibbles(blk + 6);
        read_fifth(blk + 2, &q);
        return q;
    case KERN_Q5_1:
        q = read_nibbles(blk + 8);
        read_fifth(blk + 4, &q);
        return q;
    case KERN_Q8_0:
        for (int l = 0; l < 4; l++)
            q.w[l] = load64(blk + 2 + 8 * l) ^ EACH(0x80);
        return q;
    case KERN_Q4_K:
        return read_k_nibbles(blk + 16, i % 8);
    case KERN_Q5_K:
        q = read_k_nibbles(blk + 48, i % 8);
        for (int l = 0; l < 4; l++)
            q.w[l] |= (load64(blk + 16 + 8 * l) >> i % 8 & EACH(1)) << 4;
        return q;
    case KERN_Q6_K:
        return read_q6_k(blk, i % 8);
    default:
        CHECK(0);
        return q;
    }
}

/* ---- quants -> lines ------------------------------------------------------------------------- */

/* Write one row's quants into the lines of a block. In each line a row has one word of four bytes
 * (four consecutive inputs); `p` points at its word in the first line. */
static INLINE void write_quants(int lines, uint8_t *p, struct quants q)
{
    uint64_t hi = 0;

    if (lines == 8) {
        for (int l = 0; l < 4; l++) {
            store32(p + 2 * l * REPACK_LINE, (uint32_t)q.w[l]);
            store32(p + (2 * l + 1) * REPACK_LINE, (uint32_t)(q.w[l] >> 32));
        }
        return;
    }
    for (int l = 0; l < 4; l++) { /* line 2 l + 1 goes into the high nibbles of line 2 l */
        uint64_t v = q.w[l] & EACH(15);
        store32(p + l * REPACK_LINE, (uint32_t)(v | v >> 28));
    }
    if (lines == 5) {
        for (int l = 0; l < 4; l++)
            hi |= (q.w[l] >> 4 & EACH(1)) << 2 * l;
        store32(p + 4 * REPACK_LINE, (uint32_t)(hi | hi >> 31));
    } else if (lines == 6) {
        for (int l = 0; l < 2; l++) {
            hi = (q.w[2 * l] >> 4 & EACH(3)) | (q.w[2 * l + 1] >> 4 & EACH(3)) << 4;
            store32(p + (4 + l) * REPACK_LINE, (uint32_t)(hi | hi >> 30));
        }
    }
}

/* The 6-bit scale and minimum of sub-block b from the 12 bytes in which Q4_K and Q5_K pack them. */
static INLINE void read_k_scale(const uint8_t *s, int b, uint8_t *ret_scale, uint8_t *ret_min)
{
    if (b < 4) {
        *ret_scale = s[b] & 63;
        *ret_min = s[b + 4] & 63;
    } else {
        *ret_scale = (uint8_t)((s[b + 4] & 15) | s[b - 4] >> 6 << 4);
        *ret_min = (uint8_t)(s[b + 4] >> 4 | s[b] >> 6 << 4);
    }
}

/* Row r's scales of one unit (repack_scale_span inputs). */
static INLINE void write_scales(enum kern_fmt fmt, const uint8_t *src, uint8_t *dst, int r)
{
    switch (fmt) {
    case KERN_Q4_0:
    case KERN_Q5_0:
    case KERN_Q8_0:
        memcpy(dst + 2 * r, src, 2);
        break;
    case KERN_Q4_1:
    case KERN_Q5_1:
        memcpy(dst + 2 * r, src, 2);
        memcpy(dst + 32 + 2 * r, src + 2, 2);
        break;
    case KERN_Q4_K:
    case KERN_Q5_K:
        memcpy(dst + 2 * r, src, 2);
        memcpy(dst + 32 + 2 * r, src + 2, 2);
        for (int b = 0; b < 8; b++)
            read_k_scale(src + 4, b, &dst[64 + 32 * b + r], &dst[64 + 32 * b + 16 + r]);
        break;
    case KERN_Q6_K:
        memcpy(dst + 2 * r, src + 208, 2);
        for (int b = 0; b < 16; b++)
            dst[32 + 16 * b + r] = src[192 + b];
        break;
    case KERN_MXFP4:
        dst[r] = src[0];
        break;
    default:
        CHECK(0);
    }
}

/* Repack the groups of a quantised matrix. The function is inlined once for each format, so that
 * the format is a constant, switches on it disappear and loops unroll. Blocks are the outer loop:
 * the sixteen rows are read side by side, and each line is written whole while it is in the cache.
 */
static INLINE void repack_quants(enum kern_fmt fmt, const uint8_t *src, int32_t rows, int32_t cols,
                                 int32_t g0, int32_t g1, uint8_t *dst)
{
    const int lines = repack_block_lines(fmt), span = repack_scale_span(fmt);
    const size_t group_bytes = kern_group_bytes(fmt, cols), row_bytes = kern_row_bytes(fmt, cols);
    const size_t unit = (size_t)kern_fmt_info(fmt)->block_bytes;
    const size_t scales = repack_scale_at(fmt, cols);
    const size_t end = scales + (size_t)(cols / span) * (size_t)repack_scale_bytes(fmt);

    for (int32_t g = g0; g < g1; g++) {
        uint8_t *group = dst + (size_t)g * group_bytes;
        const uint8_t *row = src + (size_t)g * KERN_LANES * row_bytes;
        const uint8_t *ahead = row + KERN_LANES * row_bytes; /* where the next group's rows begin */
        int n = rows - g * KERN_LANES < KERN_LANES ? rows - g * KERN_LANES : KERN_LANES;
        if (n < KERN_LANES) /* rows past the end */
            memset(group, 0, group_bytes);
        else
            memset(group + end, 0, group_bytes - end);
        for (int32_t i = 0; i < cols / KERN_BLOCK; i++) {
            for (int r = 0; r < n; r++) {
                const uint8_t *blk = row + (size_t)r * row_bytes + (size_t)(32 * i / span) * unit;
                __builtin_prefetch(ahead);
                ahead += unit * KERN_BLOCK / (size_t)span;
                write_quants(lines, group + (size_t)i * (size_t)(lines * REPACK_LINE) + 4 * r,
                             read_quants(fmt, blk, i));
            }
        }
        for (int32_t u = 0; u < cols / span; u++) {
            for (int r = 0; r < n; r++)
                write_scales(fmt, row + (size_t)r * row_bytes + (size_t)u * unit,
                             group + scales + (size_t)u * (size_t)repack_scale_bytes(fmt), r);
        }
    }
}

/* Element (k, r) of a float group lies at [k][r]. */
static INLINE void repack_floats(enum kern_fmt fmt, size_t elt, const uint8_t *src, int32_t rows,
                                 int32_t cols, int32_t g0, int32_t g1, uint8_t *dst)
{
    const size_t group_bytes = kern_group_bytes(fmt, cols), row_bytes = (size_t)cols * elt;

    for (int32_t g = g0; g < g1; g++) {
        uint8_t *group = dst + (size_t)g * group_bytes;
        const uint8_t *row = src + (size_t)g * KERN_LANES * row_bytes;
        int n = rows - g * KERN_LANES < KERN_LANES ? rows - g * KERN_LANES : KERN_LANES;
        if (n < KERN_LANES || group_bytes > KERN_LANES * row_bytes)
            memset(group, 0, group_bytes);
        for (int32_t k = 0; k < cols; k++) {
            for (int r = 0; r < n; r++)
                memcpy(group + ((size_t)k * KERN_LANES + (size_t)r) * elt,
                       row + (size_t)r * row_bytes + (size_t)k * elt, elt);
        }
    }
}

void kern_repack(enum kern_fmt fmt, const void *src, int32_t rows, int32_t cols, int32_t g0,
                 int32_t g1, uint8_t *dst)
{
    CHECK(g0 >= 0 && g1 <= (rows + KERN_LANES - 1) / KERN_LANES);
    switch (fmt) {
#define QUANTS(f)                                                                                  \
    case f:                                                                                        \
        repack_quants(f, src, rows, cols, g0, g1, dst);                                            \
        break;
        QUANTS(KERN_Q4_0)
        QUANTS(KERN_Q4_1)
        QUANTS(KERN_Q5_0)
        QUANTS(KERN_Q5_1)
        QUANTS(KERN_Q8_0)
        QUANTS(KERN_Q4_K)
        QUANTS(KERN_Q5_K)
        QUANTS(KERN_Q6_K)
        QUANTS(KERN_MXFP4)
#undef QUANTS
    case KERN_F32:
        repack_floats(fmt, 4, src, rows, cols, g0, g1, dst);
        break;
    default:
        repack_floats(fmt, 2, src, rows, cols, g0, g1, dst);
        break;
    }
}

/* ---- and back -------------------------------------------------------------------------------- */

static float half_at(const uint8_t *p)
{
    uint16_t h;
    memcpy(&h, p, 2);
    return kmath_f16_to_f32(h);
}

/* Quant of row r, input k of a block, as stored. */
static int quant_at(enum kern_fmt fmt, const uint8_t *blk, int k, int r)
{
    int j = k / 4, p = 4 * r + k % 4, q;
    int lines = repack_block_lines(fmt);
    if (lines == 8)
        return blk[j * REPACK_LINE + p];
    q = blk[j / 2 * REPACK_LINE + p] >> j % 2 * 4 & 15;
    if (lines == 5)
        q |= (blk[4 * REPACK_LINE + p] >> j & 1) << 4;
    if (lines == 6)
        q |= (blk[(4 + j / 4) * REPACK_LINE + p] >> j % 4 * 2 & 3) << 4;
    return fmt == KERN_MXFP4 ? repack_mxfp4[q] : q;
}

static void unpack_scales(enum kern_fmt fmt, const uint8_t *s, int b, struct repack_block *out)
{
    out->has_min = 0;
    for (int r = 0; r < KERN_LANES; r++) {
        float d0 = 0, d1, m = 0;
        switch (fmt) {
        case KERN_Q4_0:
        case KERN_Q5_0:
        case KERN_Q8_0:
            d0 = d1 = half_at(s + 2 * r);
            break;
        case KERN_Q4_1:
        case KERN_Q5_1:
            d0 = d1 = half_at(s + 2 * r);
            m = half_at(s + 32 + 2 * r);
            out->has_min = 1;
            break;
        case KERN_Q4_K:
        case KERN_Q5_K:
            d0 = d1 = half_at(s + 2 * r) * (float)s[64 + 32 * b + r];
            m = -(half_at(s + 32 + 2 * r) * (float)s[64 + 32 * b + 16 + r]);
            out->has_min = 1;
            break;
        case KERN_Q6_K:
            d0 = half_at(s + 2 * r) * (float)(int8_t)s[32 + 32 * b + r];
            d1 = half_at(s + 2 * r) * (float)(int8_t)s[32 + 32 * b + 16 + r];
            break;
        default:
            d0 = d1 = repack_e8m0_half(s[r]);
            break;
        }
        out->scale[0][r] = d0;
        out->scale[1][r] = d1;
        out->min[r] = m;
    }
}

void repack_unpack(enum kern_fmt fmt, const uint8_t *group, int32_t cols, int32_t i,
                   struct repack_block *b)
{
    int lines = repack_block_lines(fmt), off = repack_offset(fmt),
        per = repack_scale_span(fmt) / 32;
    const uint8_t *blk = group + (size_t)i * (size_t)(lines * REPACK_LINE);
    for (int k = 0; k < KERN_BLOCK; k++)
        for (int r = 0; r < KERN_LANES; r++)
            b->q[k][r] = (int16_t)(quant_at(fmt, blk, k, r) - off);
    const uint8_t *s = group + repack_scale_at(fmt, cols);
    unpack_scales(fmt, s + (size_t)(i / per) * (size_t)repack_scale_bytes(fmt), i % per, b);
}

static void row_float(const struct kern_mat *m, const uint8_t *group, int r, float *out)
{
    for (int32_t k = 0; k < m->cols; k++) {
        size_t at = (size_t)k * KERN_LANES + (size_t)r;
        uint16_t h;
        if (m->fmt == KERN_F32) {
            memcpy(out + k, group + 4 * at, 4);
            continue;
        }
        memcpy(&h, group + 2 * at, 2);
        out[k] = m->fmt == KERN_F16 ? kmath_f16_to_f32(h) : kmath_bf16_to_f32(h);
    }
}

void kern_row_f32(const struct kern_mat *m, int32_t row, float *out)
{
    CHECK(row >= 0 && row < m->rows);
    const uint8_t *group = m->data + (size_t)(row / KERN_LANES) * kern_group_bytes(m->fmt, m->cols);
    int r = row % KERN_LANES;
    if (kern_fmt_info(m->fmt)->is_float) {
        row_float(m, group, r, out);
        return;
    }
    for (int32_t i = 0; i < m->cols / KERN_BLOCK; i++) {
        /* only one row is wanted: unpacking all sixteen would be sixteen times the work */
        struct repack_block b;
        int per = repack_scale_span(m->fmt) / 32, lines = repack_block_lines(m->fmt);
        const uint8_t *s = group + repack_scale_at(m->fmt, m->cols);
        const uint8_t *blk = group + (size_t)i * (size_t)(lines * REPACK_LINE);
        unpack_scales(m->fmt, s + (size_t)(i / per) * (size_t)repack_scale_bytes(m->fmt), i % per,
                      &b);
        for (int k = 0; k < KERN_BLOCK; k++) {
            int q = quant_at(m->fmt, blk, k, r) - repack_offset(m->fmt);
            float w = (float)q * b.scale[k / 16][r]; /* exact: at most 24 bits */
            out[32 * i + k] = b.has_min ? w + b.min[r] : w;
        }
    }
}
