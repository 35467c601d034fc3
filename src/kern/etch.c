/* Repack GGUF rows into the etched layout (etch.h draws it), and read them back. */
#include "kern/etch.h"

#include "base/check.h"

const uint8_t etch_mxfp4[16] = ETCH_MXFP4;

static uint32_t load32(const uint8_t *p)
{
    uint32_t v;
    memcpy(&v, p, 4);
    return v;
}

static void store32(uint8_t *p, uint32_t v)
{
    memcpy(p, &v, 4);
}

/* ---- source block -> 32 unsigned quants ------------------------------------------------------ */

/* 16 bytes of nibbles: inputs 0..15 low, 16..31 high. */
static void read_nibbles(const uint8_t *qs, uint8_t q[KERN_BLOCK])
{
    for (int j = 0; j < 16; j++) {
        q[j] = qs[j] & 15;
        q[j + 16] = qs[j] >> 4;
    }
}

static void read_fifth(const uint8_t *qh, uint8_t q[KERN_BLOCK])
{
    uint32_t h = load32(qh);
    for (int j = 0; j < KERN_BLOCK; j++)
        q[j] |= (uint8_t)((h >> j & 1) << 4);
}

/* Sub-block b (0..7) of a 256-block of the K family: nibbles, 64 inputs to 32 bytes. */
static void read_k_nibbles(const uint8_t *qs, int b, uint8_t q[KERN_BLOCK])
{
    qs += b / 2 * 32;
    for (int j = 0; j < KERN_BLOCK; j++)
        q[j] = b % 2 ? qs[j] >> 4 : qs[j] & 15;
}

static void read_q6_k(const uint8_t *src, int b, uint8_t q[KERN_BLOCK])
{
    /* per 128 inputs: 64 bytes of nibbles (low: the first 64 inputs), 32 bytes of 2-bit fields */
    const uint8_t *ql = src + b / 4 * 64 + b % 2 * 32, *qh = src + 128 + b / 4 * 32;
    int nib = b % 4 / 2 * 4, two = b % 4 * 2;
    for (int j = 0; j < KERN_BLOCK; j++)
        q[j] = (uint8_t)((ql[j] >> nib & 15) | (qh[j] >> two & 3) << 4);
}

/* Inputs 32 i .. of a source row, unsigned. */
static void read_quants(enum kern_fmt fmt, const uint8_t *row, int32_t i, uint8_t q[KERN_BLOCK])
{
    const uint8_t *k = row; /* the 256-block of the K family */
    if (etch_scale_span(fmt) == 256)
        k += (size_t)(i / 8) * (size_t)kern_fmt_info(fmt)->block_bytes;
    else
        row += (size_t)i * (size_t)kern_fmt_info(fmt)->block_bytes;
    switch (fmt) {
    case KERN_Q4_0:
        read_nibbles(row + 2, q);
        break;
    case KERN_Q4_1:
        read_nibbles(row + 4, q);
        break;
    case KERN_MXFP4:
        read_nibbles(row + 1, q);
        break;
    case KERN_Q5_0:
        read_nibbles(row + 6, q);
        read_fifth(row + 2, q);
        break;
    case KERN_Q5_1:
        read_nibbles(row + 8, q);
        read_fifth(row + 4, q);
        break;
    case KERN_Q8_0:
        for (int j = 0; j < KERN_BLOCK; j++)
            q[j] = row[2 + j] ^ 0x80;
        break;
    case KERN_Q4_K:
        read_k_nibbles(k + 16, i % 8, q);
        break;
    case KERN_Q5_K:
        read_k_nibbles(k + 48, i % 8, q);
        for (int j = 0; j < KERN_BLOCK; j++)
            q[j] |= (uint8_t)((k[16 + j] >> i % 8 & 1) << 4);
        break;
    case KERN_Q6_K:
        read_q6_k(k, i % 8, q);
        break;
    default:
        CHECK(0);
    }
}

/* ---- quants -> lines ------------------------------------------------------------------------- */

/* Row r's words of a block's lines; each word is four consecutive inputs. */
static void write_quants(int lines, uint8_t *blk, int r, const uint8_t q[KERN_BLOCK])
{
    uint8_t *p = blk + 4 * r;
    uint32_t w[8], hi = 0;
    for (int j = 0; j < 8; j++)
        w[j] = load32(q + 4 * j);
    if (lines == 8) {
        for (int j = 0; j < 8; j++)
            store32(p + j * ETCH_LINE, w[j]);
        return;
    }
    for (int l = 0; l < 4; l++)
        store32(p + l * ETCH_LINE, (w[2 * l] & 0x0f0f0f0fu) | (w[2 * l + 1] & 0x0f0f0f0fu) << 4);
    if (lines == 5) {
        for (int j = 0; j < 8; j++)
            hi |= (w[j] >> 4 & 0x01010101u) << j;
        store32(p + 4 * ETCH_LINE, hi);
    } else if (lines == 6) {
        for (int l = 0; l < 2; l++) {
            hi = 0;
            for (int j = 0; j < 4; j++)
                hi |= (w[4 * l + j] >> 4 & 0x03030303u) << 2 * j;
            store32(p + (4 + l) * ETCH_LINE, hi);
        }
    }
}

/* The 6-bit scale and minimum of sub-block b, out of the K family's 12 packed bytes. */
static void read_k_scale(const uint8_t *s, int b, uint8_t *ret_scale, uint8_t *ret_min)
{
    if (b < 4) {
        *ret_scale = s[b] & 63;
        *ret_min = s[b + 4] & 63;
    } else {
        *ret_scale = (uint8_t)((s[b + 4] & 15) | s[b - 4] >> 6 << 4);
        *ret_min = (uint8_t)(s[b + 4] >> 4 | s[b] >> 6 << 4);
    }
}

/* Row r's scales of one unit (etch_scale_span inputs). */
static void write_scales(enum kern_fmt fmt, const uint8_t *src, uint8_t *dst, int r)
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

static void etch_row_quant(enum kern_fmt fmt, const uint8_t *src, int32_t cols, uint8_t *group,
                           int r)
{
    int lines = etch_block_lines(fmt), span = etch_scale_span(fmt);
    for (int32_t i = 0; i < cols / KERN_BLOCK; i++) {
        uint8_t q[KERN_BLOCK];
        read_quants(fmt, src, i, q);
        write_quants(lines, group + (size_t)i * (size_t)(lines * ETCH_LINE), r, q);
    }
    uint8_t *sc = group + etch_scale_at(fmt, cols);
    for (int32_t u = 0; u < cols / span; u++)
        write_scales(fmt, src + (size_t)u * (size_t)kern_fmt_info(fmt)->block_bytes,
                     sc + (size_t)u * (size_t)etch_scale_bytes(fmt), r);
}

static void etch_row_float(int elt, const uint8_t *src, int32_t cols, uint8_t *group, int r)
{
    for (int32_t k = 0; k < cols; k++)
        memcpy(group + ((size_t)k * KERN_LANES + (size_t)r) * (size_t)elt,
               src + (size_t)k * (size_t)elt, (size_t)elt);
}

void kern_etch(enum kern_fmt fmt, const void *src, int32_t rows, int32_t cols, int32_t g0,
               int32_t g1, uint8_t *dst)
{
    const struct kern_fmt_info *f = kern_fmt_info(fmt);
    size_t group_bytes = kern_group_bytes(fmt, cols), row_bytes = kern_row_bytes(fmt, cols);
    CHECK(g0 >= 0 && g1 <= (rows + KERN_LANES - 1) / KERN_LANES);
    for (int32_t g = g0; g < g1; g++) {
        uint8_t *group = dst + (size_t)g * group_bytes;
        if (!f->is_float || (g + 1) * KERN_LANES > rows)
            memset(group, 0, group_bytes); /* rows past the end, and padding */
        for (int r = 0; r < KERN_LANES && g * KERN_LANES + r < rows; r++) {
            const uint8_t *row = (const uint8_t *)src + (size_t)(g * KERN_LANES + r) * row_bytes;
            if (f->is_float)
                etch_row_float(f->block_bytes, row, cols, group, r);
            else
                etch_row_quant(fmt, row, cols, group, r);
        }
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
    int lines = etch_block_lines(fmt);
    if (lines == 8)
        return blk[j * ETCH_LINE + p];
    q = blk[j / 2 * ETCH_LINE + p] >> j % 2 * 4 & 15;
    if (lines == 5)
        q |= (blk[4 * ETCH_LINE + p] >> j & 1) << 4;
    if (lines == 6)
        q |= (blk[(4 + j / 4) * ETCH_LINE + p] >> j % 4 * 2 & 3) << 4;
    return fmt == KERN_MXFP4 ? etch_mxfp4[q] : q;
}

static void unpack_scales(enum kern_fmt fmt, const uint8_t *s, int b, struct etch_block *out)
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
            d0 = d1 = etch_e8m0_half(s[r]);
            break;
        }
        out->scale[0][r] = d0;
        out->scale[1][r] = d1;
        out->min[r] = m;
    }
}

void etch_unpack(enum kern_fmt fmt, const uint8_t *group, int32_t cols, int32_t i,
                 struct etch_block *b)
{
    int lines = etch_block_lines(fmt), off = etch_offset(fmt), per = etch_scale_span(fmt) / 32;
    const uint8_t *blk = group + (size_t)i * (size_t)(lines * ETCH_LINE);
    for (int k = 0; k < KERN_BLOCK; k++)
        for (int r = 0; r < KERN_LANES; r++)
            b->q[k][r] = (int16_t)(quant_at(fmt, blk, k, r) - off);
    const uint8_t *s = group + etch_scale_at(fmt, cols);
    unpack_scales(fmt, s + (size_t)(i / per) * (size_t)etch_scale_bytes(fmt), i % per, b);
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
        /* one lane only: unpacking all sixteen would be sixteen times the work */
        struct etch_block b;
        int per = etch_scale_span(m->fmt) / 32, lines = etch_block_lines(m->fmt);
        const uint8_t *s = group + etch_scale_at(m->fmt, m->cols);
        const uint8_t *blk = group + (size_t)i * (size_t)(lines * ETCH_LINE);
        unpack_scales(m->fmt, s + (size_t)(i / per) * (size_t)etch_scale_bytes(m->fmt), i % per,
                      &b);
        for (int k = 0; k < KERN_BLOCK; k++) {
            int q = quant_at(m->fmt, blk, k, r) - etch_offset(m->fmt);
            float w = (float)q * b.scale[k / 16][r]; /* exact: at most 24 bits */
            out[32 * i + k] = b.has_min ? w + b.min[r] : w;
        }
    }
}
