/* Scalar math that gives the same bits on every CPU: exp, tanh, log and the f16/bf16 conversions.
 *
 * Polynomials with every fma written out; no libm beyond fmaf, which is exact by definition. The
 * vector kernels repeat these steps operation by operation (kern/vmath.h), so a change here must be
 * made there as well. exp, tanh and log are within 2 ulp; infinities, NaN, overflow and underflow
 * (to subnormals) give what C's library gives. Pure functions, any thread.
 *
 * Source of the method: Cody and Waite argument reduction; tanh's split at 0.625 as in Moshier's
 * Cephes. Coefficients of exp are Taylor's (|r| <= ln 2 / 2, degree 7 leaves 1e-9). */
#ifndef KERN_KMATH_H
#define KERN_KMATH_H

#include <math.h>
#include <stdint.h>
#include <string.h>

static inline float kmath_from_bits(uint32_t u)
{
    float f;
    memcpy(&f, &u, sizeof f);
    return f;
}

static inline uint32_t kmath_bits(float f)
{
    uint32_t u;
    memcpy(&u, &f, sizeof u);
    return u;
}

/* Round to nearest even for |x| < 2^22. */
#define KMATH_MAGIC 12582912.0f /* 1.5 * 2^23 */
static inline float kmath_rint(float x)
{
    return (x + KMATH_MAGIC) - KMATH_MAGIC;
}

#define KMATH_EXP_LO -104.0f /* e^x rounds to 0 below */
#define KMATH_EXP_HI 89.0f   /* e^x is infinite above */
#define KMATH_LOG2E  1.44269504088896341f
#define KMATH_LN2_HI 0.693145751953125f /* 15 bits: n * LN2_HI is exact */
#define KMATH_LN2_LO 1.42860682030941723212e-6f
#define KMATH_EXP_C2 0.5f
#define KMATH_EXP_C3 0.166666666666666f
#define KMATH_EXP_C4 0.0416666666666666f
#define KMATH_EXP_C5 0.00833333333333333f
#define KMATH_EXP_C6 0.00138888888888889f
#define KMATH_EXP_C7 0.000198412698412698f

/* e^x. 2^n is applied in two exact halves, so the only rounding of a subnormal result is the last.
 */
/* p * 2^n for a whole n, by two factors, so that results below the normal numbers are reached. */
static inline float kmath_ldexp(float p, float n)
{
    int32_t i = (int32_t)n, h = i >> 1;
    p *= kmath_from_bits((uint32_t)(h + 127) << 23);
    return p * kmath_from_bits((uint32_t)(i - h + 127) << 23);
}

static inline float kmath_exp(float x)
{
    x = KMATH_EXP_LO > x ? KMATH_EXP_LO : x; /* a NaN stays NaN in both lines */
    x = KMATH_EXP_HI < x ? KMATH_EXP_HI : x;
    float n = kmath_rint(x * KMATH_LOG2E);
    float r = fmaf(n, -KMATH_LN2_HI, x);
    r = fmaf(n, -KMATH_LN2_LO, r);
    float p = fmaf(KMATH_EXP_C7, r, KMATH_EXP_C6);
    p = fmaf(p, r, KMATH_EXP_C5);
    p = fmaf(p, r, KMATH_EXP_C4);
    p = fmaf(p, r, KMATH_EXP_C3);
    p = fmaf(p, r, KMATH_EXP_C2);
    p = fmaf(p, r, 1.0f);
    p = fmaf(p, r, 1.0f);
    return x != x ? x : kmath_ldexp(p, n);
}

/* 2^x for x <= 0 (or a little above), within 2 ulp: the weights of a softmax, whose scores already
 * carry log2(e). Minimax on [-1/2, 1/2] with 2^0 = 1. */
#define KMATH_EXP2_LO -152.0f /* 2^x rounds to 0 below */
#define KMATH_EXP2_C1 0.693147004f
#define KMATH_EXP2_C2 0.240222424f
#define KMATH_EXP2_C3 0.0555073358f
#define KMATH_EXP2_C4 0.00967151299f
#define KMATH_EXP2_C5 0.00132647273f

static inline float kmath_exp2(float x)
{
    x = KMATH_EXP2_LO > x ? KMATH_EXP2_LO : x; /* a NaN stays NaN */
    float n = kmath_rint(x), r = x - n;
    float p = fmaf(KMATH_EXP2_C5, r, KMATH_EXP2_C4);
    p = fmaf(p, r, KMATH_EXP2_C3);
    p = fmaf(p, r, KMATH_EXP2_C2);
    p = fmaf(p, r, KMATH_EXP2_C1);
    p = fmaf(p, r, 1.0f);
    return x != x ? x : kmath_ldexp(p, n);
}

#define KMATH_TANH_SPLIT 0.625f
#define KMATH_TANH_C0    -3.33332819422e-1f
#define KMATH_TANH_C1    1.33314422036e-1f
#define KMATH_TANH_C2    -5.37397155531e-2f
#define KMATH_TANH_C3    2.06390887954e-2f
#define KMATH_TANH_C4    -5.70498872745e-3f

static inline float kmath_tanh(float x)
{
    float a = fabsf(x), z = x * x;
    float p = fmaf(KMATH_TANH_C4, z, KMATH_TANH_C3);
    p = fmaf(p, z, KMATH_TANH_C2);
    p = fmaf(p, z, KMATH_TANH_C1);
    p = fmaf(p, z, KMATH_TANH_C0);
    float small = fmaf(p * z, x, x);
    float big = copysignf(1.0f - 2.0f / (kmath_exp(a + a) + 1.0f), x);
    return a < KMATH_TANH_SPLIT ? small : big; /* for NaN this is `big`, which is NaN then */
}

static inline float kmath_silu(float x)
{
    return x / (1.0f + kmath_exp(-x));
}

#define KMATH_GELU_A 0.044715f
#define KMATH_GELU_B 0.797884560802865356f /* sqrt(2 / pi) */

static inline float kmath_gelu(float x)
{
    float u = x * fmaf(x * x, KMATH_GELU_B * KMATH_GELU_A, KMATH_GELU_B);
    return (0.5f * x) * (1.0f + kmath_tanh(u));
}

#define KMATH_OAI_ALPHA 1.702f
#define KMATH_OAI_LIMIT 7.0f

/* gpt-oss's activation: both inputs clamped to 7, the gate times sigmoid(1.702 * gate), and that
 * times (up + 1). */
static inline float kmath_swiglu_oai(float g, float u)
{
    g = KMATH_OAI_LIMIT < g ? KMATH_OAI_LIMIT : g;
    u = KMATH_OAI_LIMIT < u ? KMATH_OAI_LIMIT : u;
    u = -KMATH_OAI_LIMIT > u ? -KMATH_OAI_LIMIT : u;
    return (g / (1.0f + kmath_exp(-KMATH_OAI_ALPHA * g))) * (u + 1.0f);
}

static inline float kmath_f16_to_f32(uint16_t h)
{
    uint32_t s = (uint32_t)(h & 0x8000) << 16, m = h & 0x7fffu;
    if (m >= 0x7c00) /* infinity, NaN (made quiet, as the hardware does) */
        return kmath_from_bits(s | 0x7f800000u | (m & 0x3ff) << 13 | (m > 0x7c00 ? 0x400000u : 0));
    if (m >= 0x0400)
        return kmath_from_bits(s | ((m << 13) + 0x38000000u));
    return kmath_from_bits(s | kmath_bits((float)m * 0x1p-24f)); /* subnormal: exact */
}

static inline uint16_t kmath_f32_to_f16(float f)
{
    uint32_t u = kmath_bits(f), s = u >> 16 & 0x8000, a = u & 0x7fffffffu;
    if (a > 0x7f800000u)
        return (uint16_t)(s | 0x7e00 | (a >> 13 & 0x3ff));
    if (a >= 0x477ff000u) /* 65520 and above round to infinity */
        return (uint16_t)(s | 0x7c00);
    if (a >= 0x38800000u) { /* normal: round the 13 dropped bits, half to even */
        a += 0xfffu + (a >> 13 & 1);
        return (uint16_t)(s | (a - 0x38000000u) >> 13);
    }
    /* subnormal: adding 0.5 lets the float unit round at 2^-24 */
    return (uint16_t)(s | (kmath_bits(kmath_from_bits(a) + 0.5f) - 0x3f000000u));
}

static inline float kmath_bf16_to_f32(uint16_t h)
{
    return kmath_from_bits((uint32_t)h << 16);
}

/* Round to nearest even; magnitudes below 2^-50 become 0, so that sums of products of such numbers
 * never meet a subnormal, which AMX takes for zero. Every NaN becomes the same one. Without a
 * branch: loops over it become vectors. */
#define KMATH_BF16_MIN 0x26800000u /* bits of 2^-50 */
static inline uint16_t kmath_f32_to_bf16(float f)
{
    uint32_t u = kmath_bits(f), a = u & 0x7fffffffu;
    uint32_t r = (u + 0x7fffu + (u >> 16 & 1)) >> 16;
    r = a < KMATH_BF16_MIN ? 0 : r;
    return (uint16_t)(a > 0x7f800000u ? 0x7fc0 : r);
}

#endif
