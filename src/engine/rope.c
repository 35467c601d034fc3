#include "engine/rope.h"

#include <math.h>

/* sin and cos for 0 <= x < 2^26: reduction by multiples of pi/2 in two parts, then Taylor series on
 * [-pi/4, pi/4] to beyond double precision of what float output needs. Plain double arithmetic in
 * a fixed order: the same bits everywhere. */
static void sin_cos(double x, double *ret_sin, double *ret_cos)
{
    const double two_over_pi = 0x1.45f306dc9c883p-1;
    const double pio2_hi = 0x1.921fb54400000p+0, pio2_lo = 0x1.0b4611a626331p-34;
    double n = rint(x * two_over_pi);
    double r = (x - n * pio2_hi) - n * pio2_lo;
    double z = r * r, s, c;
    int quadrant = (int)((int64_t)n & 3);

    s = r * (1 + z * (-1.0 / 6 +
                      z * (1.0 / 120 + z * (-1.0 / 5040 +
                                            z * (1.0 / 362880 + z * (-1.0 / 39916800 +
                                                                     z * (1.0 / 6227020800.0)))))));
    c = 1 + z * (-0.5 +
                 z * (1.0 / 24 + z * (-1.0 / 720 +
                                      z * (1.0 / 40320 + z * (-1.0 / 3628800 +
                                                              z * (1.0 / 479001600.0 +
                                                                   z * (-1.0 / 87178291200.0)))))));
    switch (quadrant) {
    case 0:
        *ret_sin = s;
        *ret_cos = c;
        break;
    case 1:
        *ret_sin = c;
        *ret_cos = -s;
        break;
    case 2:
        *ret_sin = -s;
        *ret_cos = -c;
        break;
    default:
        *ret_sin = -c;
        *ret_cos = s;
        break;
    }
}

/* Keep 44 bits of f: libm's pow and log may differ in the last bit between machines. */
static double round_44(double f)
{
    int e;
    double m = frexp(f, &e);
    return ldexp(rint(ldexp(m, 44)), e - 44);
}

/* The dimension whose wavelength makes `turns` turns over the original context (YaRN, eq. 17). */
static double yarn_dim(int32_t n_rot, int32_t context, double turns, double base)
{
    return n_rot * log(context / (turns * 2 * 3.14159265358979323846)) / (2 * log(base));
}

void rope_init(struct rope *r, double *freq, int32_t n_rot, float base,
               const struct rope_scaling *s, const float *divisors)
{
    double low = 0, high = 0, inv = 1;

    r->n_rot = n_rot;
    r->freq = freq;
    r->amplitude = 1;
    if (s->kind != ROPE_NONE)
        inv = 1.0 / (double)s->factor;
    if (s->kind == ROPE_YARN) {
        low = floor(yarn_dim(n_rot, s->context_original, (double)s->beta_fast, (double)base));
        high = ceil(yarn_dim(n_rot, s->context_original, (double)s->beta_slow, (double)base));
        low = low < 0 ? 0 : low;
        high = high > n_rot - 1 ? n_rot - 1 : high;
        r->amplitude = s->attn_factor;
        if (s->ext_factor != 0)
            r->amplitude *= (float)(1.0 + 0.1 * log((double)s->factor));
    }
    for (int32_t i = 0; i < n_rot / 2; i++) {
        double f = pow((double)base, -2.0 * i / n_rot);
        if (divisors)
            f /= (double)divisors[i];
        if (s->kind == ROPE_YARN) {
            double span = high - low > 0.001 ? high - low : 0.001;
            double y = (i - low) / span;
            double keep = (1 - (y < 0 ? 0 : y > 1 ? 1 : y)) * (double)s->ext_factor;
            f = f * inv * (1 - keep) + f * keep;
        } else {
            f *= inv;
        }
        r->freq[i] = round_44(f);
    }
}

void rope_angles(const struct rope *r, int32_t pos, float *cos_, float *sin_)
{
    for (int32_t i = 0; i < r->n_rot / 2; i++) {
        double s, c;
        sin_cos(pos * r->freq[i], &s, &c);
        cos_[i] = (float)c * r->amplitude;
        sin_[i] = (float)s * r->amplitude;
    }
}
