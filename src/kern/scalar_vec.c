/* Scalar reference: vectors (norms, activations, RoPE, KV store, sampling's reductions). */
#include "kern/attn.h"
#include "kern/kmath.h"
#include "kern/scalar.h"

static float fold(const float lane[16])
{
    float l[16];
    memcpy(l, lane, sizeof l);
    for (int step = 8; step > 0; step /= 2)
        for (int i = 0; i < step; i++)
            l[i] += l[i + step];
    return l[0];
}

void scalar_rmsnorm(const float *x, const float *w, float eps, int32_t n, float *y)
{
    float lane[16] = {0};
    for (int32_t i = 0; i < n; i++)
        lane[i % 16] = fmaf(x[i], x[i], lane[i % 16]);
    float inv = 1.0f / sqrtf(fold(lane) / (float)n + eps);
    for (int32_t i = 0; i < n; i++)
        y[i] = w ? x[i] * inv * w[i] : x[i] * inv;
}

void scalar_add(float *x, const float *y, int32_t n)
{
    for (int32_t i = 0; i < n; i++)
        x[i] += y[i];
}

void scalar_to_bf16(const float *x, int32_t n, uint16_t *y)
{
    for (int32_t i = 0; i < n; i++)
        y[i] = kmath_f32_to_bf16(x[i]);
}

void scalar_scale(float *x, float s, int32_t n)
{
    for (int32_t i = 0; i < n; i++)
        x[i] *= s;
}

void scalar_axpy(float *x, float s, const float *y, int32_t n)
{
    for (int32_t i = 0; i < n; i++)
        x[i] = fmaf(s, y[i], x[i]);
}

void scalar_glu(enum kern_act_fn fn, const float *gate, const float *up, int32_t n, float *out)
{
    for (int32_t i = 0; i < n; i++) {
        if (fn == KERN_SILU)
            out[i] = kmath_silu(gate[i]) * up[i];
        else if (fn == KERN_GELU_TANH)
            out[i] = kmath_gelu(gate[i]) * up[i];
        else
            out[i] = kmath_swiglu_oai(gate[i], up[i]);
    }
}

/* (a, b) -> (a cos - b sin, b cos + a sin), the second product fused. */
void scalar_rope(float *x, int32_t n_heads, int32_t head_dim, int32_t n_rot, int adjacent,
                 const float *cos_, const float *sin_)
{
    int32_t half = n_rot / 2;
    for (int32_t h = 0; h < n_heads; h++, x += head_dim)
        for (int32_t i = 0; i < half; i++) {
            float *pa = x + (adjacent ? 2 * i : i), *pb = x + (adjacent ? 2 * i + 1 : i + half);
            float a = *pa, b = *pb;
            *pa = fmaf(a, cos_[i], -(b * sin_[i]));
            *pb = fmaf(b, cos_[i], a * sin_[i]);
        }
}

/* One token's K or V in 8 bits: value d at q[d * step], the scale of its block at s[b * s_step]. */
static void kv_quantise(const float *x, int32_t head_dim, int8_t *q, size_t step, float *s,
                        size_t s_step)
{
    for (int32_t b = 0; b < attn_kv_blocks(head_dim); b++) {
        float block[KERN_BLOCK] = {0}, scale;
        int8_t one[KERN_BLOCK];
        int16_t sum[2];
        int32_t n = head_dim - b * KERN_BLOCK < KERN_BLOCK ? head_dim - b * KERN_BLOCK : KERN_BLOCK;
        memcpy(block, x + b * KERN_BLOCK, (size_t)n * sizeof(float));
        struct kern_act a = {1, KERN_BLOCK, block, KERN_BLOCK, one, &scale, sum};
        scalar_quantize(&a, 0);
        for (int32_t i = 0; i < n; i++)
            q[(size_t)(b * KERN_BLOCK + i) * step] = one[i];
        s[(size_t)b * s_step] = scale;
    }
}

void scalar_kv_store(enum kern_kv kv, uint8_t *page, int32_t head_dim, int32_t slot, const float *k,
                     const float *v)
{
    if (kv == KERN_KV_Q8_0) {
        int8_t *q = (int8_t *)page;
        float *ks = (float *)(void *)(page + attn_k_scales(head_dim));
        float *vs = (float *)(void *)(page + attn_v_scales(head_dim));
        kv_quantise(k, head_dim, q + slot, KERN_PAGE, ks + slot, KERN_PAGE);
        kv_quantise(v, head_dim, q + (KERN_PAGE + slot) * head_dim, 1,
                    vs + slot * attn_kv_blocks(head_dim), 1);
        return;
    }
    for (int32_t d = 0; d < head_dim; d++) {
        size_t ik = (size_t)d * KERN_PAGE + (size_t)slot;
        size_t iv = (size_t)(KERN_PAGE + 0) * (size_t)head_dim + (size_t)slot * (size_t)head_dim +
                    (size_t)d;
        if (kv == KERN_KV_F32) {
            memcpy(page + 4 * ik, k + d, 4);
            memcpy(page + 4 * iv, v + d, 4);
        } else {
            uint16_t hk = kmath_f32_to_f16(k[d]), hv = kmath_f32_to_f16(v[d]);
            memcpy(page + 2 * ik, &hk, 2);
            memcpy(page + 2 * iv, &hv, 2);
        }
    }
}

int scalar_argmax(const float *x, int32_t n, int32_t *ret_i)
{
    int32_t best = 0;
    for (int32_t i = 0; i < n; i++) {
        if ((kmath_bits(x[i]) & 0x7f800000u) == 0x7f800000u) {
            *ret_i = 0;
            return 0;
        }
        if (x[i] > x[best])
            best = i;
    }
    *ret_i = best;
    return 1;
}

float scalar_sum_exp(const float *x, float max, int32_t n)
{
    float lane[16] = {0};
    for (int32_t i = 0; i < n; i++)
        lane[i % 16] += kmath_exp(x[i] - max);
    return fold(lane);
}
