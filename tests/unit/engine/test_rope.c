/* Rotary angles against libm in long double: plain, linear, YaRN and llama3 divisors. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "engine/rope.h"

enum { ROT_MAX = 128 };

static double freq[ROT_MAX];
static float cos_[ROT_MAX], sin_[ROT_MAX];

static const struct rope_scaling plain = {.kind = ROPE_NONE,
                                          .factor = 1,
                                          .attn_factor = 1,
                                          .ext_factor = 1,
                                          .beta_fast = 32,
                                          .beta_slow = 1,
                                          .context_original = 4096};

/* The formulas of the papers, straight. */
static long double exact_freq(int i, int n_rot, long double base, const struct rope_scaling *s,
                              const float *divisors)
{
    long double f = powl(base, -2.0L * i / n_rot);
    if (divisors)
        f /= (long double)divisors[i];
    if (s->kind == ROPE_LINEAR)
        return f / (long double)s->factor;
    if (s->kind == ROPE_YARN) {
        long double two_pi = 6.283185307179586476925286766559L, y;
        long double low =
            floorl(n_rot * logl(s->context_original / ((long double)s->beta_fast * two_pi)) /
                   (2 * logl(base)));
        long double high =
            ceill(n_rot * logl(s->context_original / ((long double)s->beta_slow * two_pi)) /
                  (2 * logl(base)));
        low = fmaxl(low, 0);
        high = fminl(high, n_rot - 1);
        y = (i - low) / fmaxl(high - low, 0.001L);
        y = fminl(fmaxl(y, 0), 1);
        return f / (long double)s->factor * y + f * (1 - y);
    }
    return f;
}

static void check(int n_rot, float base, const struct rope_scaling *s, const float *divisors,
                  long double amplitude)
{
    static const int32_t positions[] = {0,    1,    2,     3,      31,      511,
                                        4095, 4096, 32767, 131071, 1048575, (1 << 26) - 1};
    struct rope r;

    rope_init(&r, freq, n_rot, base, s, divisors);
    for (int i = 0; i < n_rot / 2; i++) {
        long double want = exact_freq(i, n_rot, (long double)base, s, divisors);
        assert_true(fabsl((long double)freq[i] - want) <= want * 0x1p-43L);
    }
    for (size_t k = 0; k < sizeof positions / sizeof *positions; k++) {
        rope_angles(&r, positions[k], cos_, sin_);
        for (int i = 0; i < n_rot / 2; i++) {
            /* The product itself is rounded to double: half an ulp of the angle. */
            long double x = (long double)positions[k] * (long double)freq[i];
            long double slack = (1e-7L + x * 0x1p-51L) * amplitude;
            assert_true(fabsl((long double)cos_[i] - cosl(x) * amplitude) <= slack);
            assert_true(fabsl((long double)sin_[i] - sinl(x) * amplitude) <= slack);
        }
    }
}

static void plain_and_linear(void **state)
{
    struct rope_scaling s = plain;
    (void)state;
    check(64, 10000, &s, NULL, 1);
    check(128, 1e6f, &s, NULL, 1);
    check(2, 10000, &s, NULL, 1);
    check(96, 500000, &s, NULL, 1);
    s.kind = ROPE_LINEAR;
    s.factor = 8;
    check(128, 1e6f, &s, NULL, 1);
    s.factor = 0.5f;
    check(64, 10000, &s, NULL, 1);
}

static void divisors(void **state)
{
    float d[ROT_MAX / 2];
    (void)state;
    for (int i = 0; i < ROT_MAX / 2; i++)
        d[i] = i < 20 ? 1 : i < 40 ? 1 + 0.35f * (float)(i - 20) : 8;
    check(128, 500000, &plain, d, 1);
}

static void yarn(void **state)
{
    struct rope_scaling s = plain;
    (void)state;
    s.kind = ROPE_YARN;
    s.factor = 32;
    check(64, 150000, &s, NULL, (long double)(float)(1 + 0.1L * logl(32)));
    s.factor = 4;
    s.context_original = 32768;
    check(128, 1e6f, &s, NULL, (long double)(float)(1 + 0.1L * logl(4)));
    s.attn_factor = 0.5f;
    check(128, 1e6f, &s, NULL, 0.5L * (long double)(float)(1 + 0.1L * logl(4)));
}

/* Near multiples of pi / 2, where a short reduction loses everything. */
static void hard_angles(void **state)
{
    (void)state;
    for (int k = 1; k < 200000; k += 997) {
        struct rope r = {.n_rot = 2, .freq = freq, .amplitude = 1};
        long double x;
        freq[0] = k * 1.5707963267948966;
        x = (long double)freq[0];
        rope_angles(&r, 1, cos_, sin_);
        assert_true(fabsl((long double)cos_[0] - cosl(x)) < 1e-7L);
        assert_true(fabsl((long double)sin_[0] - sinl(x)) < 1e-7L);
        if (fabsl(cosl(x)) < 1e-6L) /* relative, too: the float is small there */
            assert_true(fabsl((long double)cos_[0] - cosl(x)) < 1e-10L);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(plain_and_linear),
        cmocka_unit_test(divisors),
        cmocka_unit_test(yarn),
        cmocka_unit_test(hard_angles),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
