#include "kern/kmath.h"

#include "kern/kern.h"

/* Natural logarithm; -inf at 0, NaN below.
 * x = 2^e * m with m in [sqrt(1/2), sqrt(2)); log m = 2 atanh(s), s = (m - 1) / (m + 1), summed as
 * s's odd series in its square; e * ln 2 is added in two parts, the exact one last. */
static float kmath_log(float x)
{
    if (!(x > 0.0f))
        return x == 0.0f ? -INFINITY : NAN;
    if (x == INFINITY)
        return x;
    int32_t e = 0;
    if (x < 0x1p-126f) {
        x *= 0x1p24f;
        e = -24;
    }
    uint32_t u = kmath_bits(x);
    int32_t d = (int32_t)(u - 0x3f3504f3u) >> 23; /* exponent relative to sqrt(1/2) */
    e += d;
    float m = kmath_from_bits(u - ((uint32_t)d << 23));
    float f = m - 1.0f, s = f / (2.0f + f), z = s * s;
    /* log(1 + f) = f - s (f - R), R = 2 z / 3 + 2 z^2 / 5 + ... */
    float r = fmaf(0.2222222222f, z, 0.2857142857f);
    r = fmaf(r, z, 0.4f);
    r = fmaf(r, z, 0.6666666667f);
    float hfsq = 0.5f * f * f;
    float t = fmaf(s, hfsq + r * z, (float)e * KMATH_LN2_LO);
    return fmaf((float)e, KMATH_LN2_HI, f - (hfsq - t));
}

float kern_exp(float x)
{
    return kmath_exp(x);
}

float kern_tanh(float x)
{
    return kmath_tanh(x);
}

float kern_log(float x)
{
    return kmath_log(x);
}

float kern_f16_to_f32(uint16_t h)
{
    return kmath_f16_to_f32(h);
}

uint16_t kern_f32_to_f16(float f)
{
    return kmath_f32_to_f16(f);
}
