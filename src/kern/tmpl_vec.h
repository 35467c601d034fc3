/* Vector kernels, written once in terms of the sixteen float lanes of kern/vec_avx2.h or
 * kern/vec_avx512.h, whose ISA(name) gives the functions their prefix: avx2_add, avx512_add, ...
 * Each does what scalar_vec.c's function of the same name does, with its 16 lanes in registers. */
#include "kern/attn.h"
#include "kern/scalar.h"
#include "kern/simd.h"
#include "kern/vmath.h"

/* Quantise 32 values to bytes; returns their scale. */
INL float quant_block(const float *x, int8_t *q, int16_t *sum)
{
    uint32_t top = vf_absmax32(x);
    float amax = kmath_from_bits(top);
    if (top >= 0x7f800000u) {
        memset(q, 0, KERN_BLOCK);
        sum[0] = sum[1] = 0;
        return NAN;
    }
    float inv = amax >= SCALAR_AMAX_MIN ? 127.0f / amax : 0.0f;
    sum[0] = (int16_t)vf_quant16(x, inv, q);
    sum[1] = (int16_t)vf_quant16(x + 16, inv, q + 16);
    return amax / 127.0f;
}

void ISA(quantize)(const struct kern_act *a, int32_t i)
{
    const float *x = a->f + (size_t)i * a->f_stride;
    size_t n_blk = (size_t)(a->cols / KERN_BLOCK), at = (size_t)i * n_blk;
    int8_t *q = a->q + at * KERN_BLOCK;
    for (size_t b = at; b < at + n_blk; b++, x += KERN_BLOCK, q += KERN_BLOCK)
        a->scale[b] = quant_block(x, q, a->sum + 2 * b);
}

void ISA(rmsnorm)(const float *x, const float *w, float eps, int32_t n, float *y)
{
    struct vf acc = vf_zero();
    int32_t i;
    for (i = 0; i + 16 <= n; i += 16) {
        struct vf v = vf_load(x + i);
        acc = vf_fma(v, v, acc);
    }
    if (i < n) {
        struct vf v = vf_load_part(x + i, n - i);
        acc = vf_fma(v, v, acc); /* lanes past n are 0, which changes no sum of squares */
    }
    struct vf inv = vf_set1(1.0f / sqrtf(vf_fold(acc) / (float)n + eps));
    for (i = 0; i + 16 <= n; i += 16) {
        struct vf v = vf_mul(vf_load(x + i), inv);
        vf_store(y + i, w ? vf_mul(v, vf_load(w + i)) : v);
    }
    if (i < n) {
        struct vf v = vf_mul(vf_load_part(x + i, n - i), inv);
        vf_store_part(y + i, w ? vf_mul(v, vf_load_part(w + i, n - i)) : v, n - i);
    }
}

void ISA(to_bf16)(const float *x, int32_t n, uint16_t *y) /* the compiler makes vectors of it */
{
    for (int32_t i = 0; i < n; i++)
        y[i] = kmath_f32_to_bf16(x[i]);
}

void ISA(add)(float *x, const float *y, int32_t n)
{
    int32_t i;
    for (i = 0; i + 16 <= n; i += 16)
        vf_store(x + i, vf_add(vf_load(x + i), vf_load(y + i)));
    if (i < n)
        vf_store_part(x + i, vf_add(vf_load_part(x + i, n - i), vf_load_part(y + i, n - i)), n - i);
}

void ISA(scale)(float *x, float s, int32_t n)
{
    struct vf v = vf_set1(s);
    int32_t i;
    for (i = 0; i + 16 <= n; i += 16)
        vf_store(x + i, vf_mul(vf_load(x + i), v));
    if (i < n)
        vf_store_part(x + i, vf_mul(vf_load_part(x + i, n - i), v), n - i);
}

void ISA(axpy)(float *x, float s, const float *y, int32_t n)
{
    struct vf v = vf_set1(s);
    int32_t i;
    for (i = 0; i + 16 <= n; i += 16)
        vf_store(x + i, vf_fma(v, vf_load(y + i), vf_load(x + i)));
    if (i < n)
        vf_store_part(x + i, vf_fma(v, vf_load_part(y + i, n - i), vf_load_part(x + i, n - i)),
                      n - i);
}

INL struct vf glu16(enum kern_act_fn fn, struct vf g, struct vf u)
{
    if (fn == KERN_SILU)
        return vf_mul(vf_silu(g), u);
    if (fn == KERN_GELU_TANH)
        return vf_mul(vf_gelu(g), u);
    return vf_swiglu_oai(g, u);
}

INL void glu_loop(enum kern_act_fn fn, const float *gate, const float *up, int32_t n, float *out)
{
    int32_t i;
    for (i = 0; i + 16 <= n; i += 16)
        vf_store(out + i, glu16(fn, vf_load(gate + i), vf_load(up + i)));
    if (i < n)
        vf_store_part(out + i,
                      glu16(fn, vf_load_part(gate + i, n - i), vf_load_part(up + i, n - i)), n - i);
}

void ISA(glu)(enum kern_act_fn fn, const float *gate, const float *up, int32_t n, float *out)
{
    if (fn == KERN_SILU)
        glu_loop(KERN_SILU, gate, up, n, out);
    else if (fn == KERN_GELU_TANH)
        glu_loop(KERN_GELU_TANH, gate, up, n, out);
    else
        glu_loop(KERN_SWIGLU_OAI, gate, up, n, out);
}

static void rope_halves(float *restrict a, float *restrict b, int32_t half,
                        const float *restrict cos_, const float *restrict sin_)
{
    for (int32_t i = 0; i < half; i++) {
        float x = a[i], y = b[i];
        a[i] = fmaf(x, cos_[i], -(y * sin_[i]));
        b[i] = fmaf(y, cos_[i], x * sin_[i]);
    }
}

static void rope_pairs(float *restrict x, int32_t half, const float *restrict cos_,
                       const float *restrict sin_)
{
    for (int32_t i = 0; i < half; i++) {
        float a = x[2 * i], b = x[2 * i + 1];
        x[2 * i] = fmaf(a, cos_[i], -(b * sin_[i]));
        x[2 * i + 1] = fmaf(b, cos_[i], a * sin_[i]);
    }
}

void ISA(rope)(float *x, int32_t n_heads, int32_t head_dim, int32_t n_rot, int adjacent,
               const float *cos_, const float *sin_)
{
    for (int32_t h = 0; h < n_heads; h++, x += head_dim) {
        if (adjacent)
            rope_pairs(x, n_rot / 2, cos_, sin_);
        else
            rope_halves(x, x + n_rot / 2, n_rot / 2, cos_, sin_);
    }
}

/* Quantise one token's K or V: bytes at q, the scale of block b at s[b * s_step]. */
INL void kv_quantise(const float *x, int32_t head_dim, int8_t *q, float *s, size_t s_step)
{
    int16_t sum[2];
    int32_t d = 0;
    for (; d + KERN_BLOCK <= head_dim; d += KERN_BLOCK, s += s_step)
        *s = quant_block(x + d, q + d, sum);
    if (d < head_dim) {
        float block[KERN_BLOCK] = {0};
        int8_t one[KERN_BLOCK];
        memcpy(block, x + d, (size_t)(head_dim - d) * sizeof(float));
        *s = quant_block(block, one, sum);
        memcpy(q + d, one, (size_t)(head_dim - d));
    }
}

static void kv_store_q8(uint8_t *page, int32_t head_dim, int32_t slot, const float *k,
                        const float *v)
{
    int8_t *q = (int8_t *)page, kq[ATTN_DIM_MAX];
    float *ks = (float *)(void *)(page + attn_k_scales(head_dim));
    float *vs = (float *)(void *)(page + attn_v_scales(head_dim));
    kv_quantise(k, head_dim, kq, ks + slot, KERN_PAGE);
    for (int32_t d = 0; d < head_dim; d++)
        q[d * KERN_PAGE + slot] = kq[d];
    kv_quantise(v, head_dim, q + (KERN_PAGE + slot) * head_dim,
                vs + slot * attn_kv_blocks(head_dim), 1);
}

void ISA(kv_store)(enum kern_kv kv, uint8_t *page, int32_t head_dim, int32_t slot, const float *k,
                   const float *v)
{
    size_t v_at = ((size_t)KERN_PAGE + (size_t)slot) * (size_t)head_dim;
    if (kv == KERN_KV_Q8_0) {
        kv_store_q8(page, head_dim, slot, k, v);
        return;
    }
    if (kv == KERN_KV_F32) {
        float *p = (float *)(void *)page;
        for (int32_t d = 0; d < head_dim; d++)
            p[d * KERN_PAGE + slot] = k[d];
        memcpy(p + v_at, v, (size_t)head_dim * sizeof(float));
        return;
    }
    uint16_t *p = (uint16_t *)(void *)page;
    for (int32_t d = 0; d < head_dim; d += 16) {
        uint16_t h[16];
        vf_store_f16(h, vf_load(k + d));
        for (int i = 0; i < 16; i++)
            p[(d + i) * KERN_PAGE + slot] = h[i];
        vf_store_f16(p + v_at + d, vf_load(v + d));
    }
}

int ISA(argmax)(const float *x, int32_t n, int32_t *ret_i)
{
    struct vf top = vf_set1(-INFINITY);
    int bad = 0;
    int32_t i;
    *ret_i = 0;
    for (i = 0; i + 16 <= n; i += 16) {
        struct vf v = vf_load(x + i);
        bad |= vf_any_bad(v);
        top = vf_max(top, v);
    }
    if (i < n) {
        struct vf v = vf_load_part(x + i, n - i);
        bad |= vf_any_bad(v);
        top = vf_max(top, vf_select(vm_first(n - i), v, top));
    }
    if (bad)
        return 0;
    struct vf best = vf_set1(vf_fold_max(top));
    for (i = 0; i < n; i += 16) {
        struct vf v = n - i >= 16 ? vf_load(x + i) : vf_load_part(x + i, n - i);
        uint32_t hit = vm_bits(vf_eq(v, best));
        if (n - i < 16)
            hit &= (1u << (n - i)) - 1;
        if (hit) {
            *ret_i = i + __builtin_ctz(hit);
            break;
        }
    }
    return 1;
}

float ISA(sum_exp)(const float *x, float max, int32_t n)
{
    struct vf acc = vf_zero(), m = vf_set1(max);
    int32_t i;
    for (i = 0; i + 16 <= n; i += 16)
        acc = vf_add(acc, vf_exp(vf_sub(vf_load(x + i), m)));
    if (i < n) {
        struct vf e = vf_exp(vf_sub(vf_load_part(x + i, n - i), m));
        acc = vf_add(acc, vf_select(vm_first(n - i), e, vf_zero()));
    }
    return vf_fold(acc);
}
