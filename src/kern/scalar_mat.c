/* Scalar reference: matrix products and the quantisation of their inputs. */
#include "base/check.h"
#include "kern/repack.h"
#include "kern/scalar.h"

void scalar_quantize(const struct kern_act *a, int32_t i)
{
    const float *x = a->f + (size_t)i * a->f_stride;
    int8_t *q = a->q + (size_t)i * (size_t)a->cols;
    for (int32_t b = 0; b < a->cols / KERN_BLOCK; b++, x += KERN_BLOCK, q += KERN_BLOCK) {
        /* the bits of |x|, read as an integer, have the order of the values, and NaN is above
         * infinity: so the largest is found without losing a NaN */
        uint32_t top = 0;
        for (int k = 0; k < KERN_BLOCK; k++) {
            uint32_t u = kmath_bits(x[k]) & 0x7fffffffu;
            top = u > top ? u : top;
        }
        float amax = kmath_from_bits(top), inv = 0.0f, scale = amax / 127.0f;
        int bad = top >= 0x7f800000u;
        if (bad)
            scale = NAN; /* makes every product NaN, so that the sampler sees it in the logits */
        else if (amax >= SCALAR_AMAX_MIN)
            inv = 127.0f / amax;
        int sum[2] = {0, 0};
        for (int k = 0; k < KERN_BLOCK; k++) {
            q[k] = bad ? 0 : (int8_t)kmath_rint(x[k] * inv);
            sum[k / 16] += q[k];
        }
        size_t at = (size_t)i * (size_t)(a->cols / KERN_BLOCK) + (size_t)b;
        a->scale[at] = scale;
        a->sum[2 * at] = (int16_t)sum[0];
        a->sum[2 * at + 1] = (int16_t)sum[1];
    }
}

static float float_at(enum kern_fmt fmt, const uint8_t *p, size_t at)
{
    float f;
    uint16_t h;
    if (fmt == KERN_F32) {
        memcpy(&f, p + 4 * at, 4);
        return f;
    }
    memcpy(&h, p + 2 * at, 2);
    return fmt == KERN_F16 ? kmath_f16_to_f32(h) : kmath_bf16_to_f32(h);
}

/* Weights of one block as exact floats, [k][lane]. */
static void block_f32(const struct kern_mat *m, const uint8_t *group, int32_t i,
                      float w[KERN_BLOCK][KERN_LANES], int n)
{
    struct repack_block b;
    if (!kern_fmt_info(m->fmt)->is_float)
        repack_unpack(m->fmt, group, m->cols, i, &b);
    for (int k = 0; k < n; k++)
        for (int r = 0; r < KERN_LANES; r++) {
            if (kern_fmt_info(m->fmt)->is_float) {
                w[k][r] =
                    float_at(m->fmt, group, (size_t)(i * KERN_BLOCK + k) * KERN_LANES + (size_t)r);
                continue;
            }
            float q = (float)b.q[k][r] * b.scale[k / 16][r];
            w[k][r] = b.has_min ? q + b.min[r] : q;
        }
}

static const float *act_f(const struct kern_act *a, const int32_t *rows, int32_t t)
{
    return a->f + (size_t)(rows ? rows[t] : t) * a->f_stride;
}

static void store_rows(const struct kern_mat *m, int32_t g, const float acc[KERN_LANES], float *out)
{
    for (int r = 0; r < KERN_LANES && g * KERN_LANES + r < m->rows; r++)
        out[g * KERN_LANES + r] = acc[r];
}

void scalar_matmul_f32(const struct kern_mat *m, int32_t g0, int32_t g1, const struct kern_act *a,
                       const int32_t *rows, int32_t n, float *out, size_t out_stride)
{
    size_t group_bytes = kern_group_bytes(m->fmt, m->cols);
    for (int32_t g = g0; g < g1; g++) {
        const uint8_t *group = m->data + (size_t)g * group_bytes;
        for (int32_t t = 0; t < n; t++) {
            float acc[KERN_LANES] = {0};
            const float *x = act_f(a, rows, t);
            for (int32_t k0 = 0; k0 < m->cols; k0 += KERN_BLOCK) {
                float w[KERN_BLOCK][KERN_LANES];
                int nk = m->cols - k0 < KERN_BLOCK ? m->cols - k0 : KERN_BLOCK;
                block_f32(m, group, k0 / KERN_BLOCK, w, nk);
                for (int k = 0; k < nk; k++)
                    for (int r = 0; r < KERN_LANES; r++)
                        acc[r] = fmaf(w[k][r], x[k0 + k], acc[r]);
            }
            store_rows(m, g, acc, out + (size_t)t * out_stride);
        }
    }
}

/* acc[] += one block of one token. */
static void block_dot(enum kern_fmt fmt, const struct repack_block *b, const int8_t *q, float scale,
                      const int16_t *sum, float acc[KERN_LANES])
{
    for (int r = 0; r < KERN_LANES; r++) {
        int32_t dot[2] = {0, 0};
        for (int k = 0; k < KERN_BLOCK; k++)
            dot[k / 16] += b->q[k][r] * q[k];
        if (fmt == KERN_Q6_K) {
            float both = fmaf((float)dot[1], b->scale[1][r], (float)dot[0] * b->scale[0][r]);
            acc[r] = fmaf(both, scale, acc[r]);
        } else {
            acc[r] = fmaf((float)(dot[0] + dot[1]), b->scale[0][r] * scale, acc[r]);
        }
        if (b->has_min)
            acc[r] = fmaf(b->min[r], scale * (float)(sum[0] + sum[1]), acc[r]);
    }
}

void scalar_matmul_q8(const struct kern_mat *m, int32_t g0, int32_t g1, const struct kern_act *a,
                      const int32_t *rows, int32_t n, float *out, size_t out_stride)
{
    if (kern_fmt_info(m->fmt)->is_float) {
        scalar_matmul_f32(m, g0, g1, a, rows, n, out, out_stride);
        return;
    }
    int32_t n_blk = m->cols / KERN_BLOCK;
    size_t group_bytes = kern_group_bytes(m->fmt, m->cols);
    for (int32_t g = g0; g < g1; g++) {
        const uint8_t *group = m->data + (size_t)g * group_bytes;
        /* tokens in tiles, so that a block is unpacked once for several */
        for (int32_t t0 = 0; t0 < n; t0 += 16) {
            float acc[16][KERN_LANES] = {{0}};
            int32_t nt = n - t0 < 16 ? n - t0 : 16;
            for (int32_t i = 0; i < n_blk; i++) {
                struct repack_block b;
                repack_unpack(m->fmt, group, m->cols, i, &b);
                for (int32_t t = 0; t < nt; t++) {
                    size_t row = (size_t)(rows ? rows[t0 + t] : t0 + t);
                    size_t at = row * (size_t)n_blk + (size_t)i;
                    block_dot(m->fmt, &b, a->q + at * KERN_BLOCK, a->scale[at], a->sum + 2 * at,
                              acc[t]);
                }
            }
            for (int32_t t = 0; t < nt; t++)
                store_rows(m, g, acc[t], out + (size_t)(t0 + t) * out_stride);
        }
    }
}

/* acc[] += one block of one token: AMX's order. Products of bf16 numbers are exact in a float
 * (as long as they are finite), so that its fused multiply-add is the same as these two steps. */
static void block_bf16(float w[KERN_BLOCK][KERN_LANES], const uint16_t *x, float acc[KERN_LANES])
{
    float even[KERN_LANES] = {0}, odd[KERN_LANES] = {0};
    for (int k = 0; k < KERN_BLOCK; k += 2) {
        float x0 = kmath_bf16_to_f32(x[k]), x1 = kmath_bf16_to_f32(x[k + 1]);
        for (int r = 0; r < KERN_LANES; r++) {
            even[r] += w[k][r] * x0;
            odd[r] += w[k + 1][r] * x1;
        }
    }
    for (int r = 0; r < KERN_LANES; r++)
        acc[r] += even[r] + odd[r];
}

void scalar_matmul_bf16(const struct kern_mat *m, int32_t g0, int32_t g1, const uint16_t *x,
                        size_t x_stride, int32_t n, float *out, size_t out_stride)
{
    CHECK(kern_takes_bf16(m));
    size_t group_bytes = kern_group_bytes(m->fmt, m->cols);
    for (int32_t g = g0; g < g1; g++) {
        const uint8_t *group = m->data + (size_t)g * group_bytes;
        for (int32_t t0 = 0; t0 < n; t0 += 32) {
            float acc[32][KERN_LANES] = {{0}};
            int32_t nt = n - t0 < 32 ? n - t0 : 32;
            for (int32_t k0 = 0; k0 < m->cols; k0 += KERN_BLOCK) {
                float w[KERN_BLOCK][KERN_LANES];
                block_f32(m, group, k0 / KERN_BLOCK, w, KERN_BLOCK);
                for (int k = 0; k < KERN_BLOCK; k++)
                    for (int r = 0; r < KERN_LANES; r++)
                        w[k][r] = kmath_bf16_to_f32(kmath_f32_to_bf16(w[k][r]));
                for (int32_t t = 0; t < nt; t++)
                    block_bf16(w, x + (size_t)(t0 + t) * x_stride + k0, acc[t]);
            }
            for (int32_t t = 0; t < nt; t++)
                store_rows(m, g, acc[t], out + (size_t)(t0 + t) * out_stride);
        }
    }
}
