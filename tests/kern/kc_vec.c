/* Vector entries: every length up to a hundred, and the values that arithmetic trips over. */
#include <float.h>
#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "kc.h"

#define FOR_ISA(i)                                                                                 \
    for (int i = KERN_ISA_SCALAR + 1; i < KERN_N_ISA; i++)                                         \
        if (kc_table[i])

static float *random_floats(size_t n, float range)
{
    float *x = kc_alloc(n * 4, 4);
    for (size_t i = 0; i < n; i++)
        x[i] = kc_uniform(-range, range);
    return x;
}

static float *copy(const float *x, size_t n)
{
    float *y = kc_alloc(n * 4, 4);
    memcpy(y, x, n * 4);
    return y;
}

/* All exponents, both signs, the special values. */
static float strange(int i)
{
    static const uint32_t special[] = {0,          0x80000000, 0x7f800000, 0xff800000, 0x7fc00000,
                                       0x00000001, 0x007fffff, 0x7f7fffff, 0xff7fffff, 0x3f200000,
                                       0x42b17217, 0xc2aeac50, 0xc2cff1b5, 0xc2ce8ed0};
    uint32_t u = (size_t)i < ARRAY_LEN(special) ? special[i] : kc_rand();
    float f;
    memcpy(&f, &u, 4);
    return f;
}

static void test_quantize(void)
{
    kc_begin();
    for (int round = 0; round < 60; round++) {
        int cols = 32 * kc_range(1, 12);
        struct kern_act want = kc_act(2, cols, (enum kc_mode)(round % KC_N_MODE));
        float *f = (float *)(size_t)want.f;
        if (round % 5 == 4) /* bits of any kind */
            for (int k = 0; k < cols; k++)
                f[k] = strange(kc_range(0, 60));
        kc_ref->quantize(&want, 0);
        size_t blocks = (size_t)(2 * cols / 32);
        FOR_ISA(i)
        {
            struct kern_act got = want;
            got.q = kc_alloc(blocks * 32, 1);
            got.scale = kc_alloc(blocks * 4, 4);
            got.sum = kc_alloc(blocks * 4, 2);
            kc_table[i]->quantize(&got, 0);
            kc_table[i]->quantize(&got, 1);
            kc_same(i, got.scale, want.scale, blocks, "scale");
            if (memcmp(got.q, want.q, blocks * 32) || memcmp(got.sum, want.sum, blocks * 4))
                kc_fail(i, "quants or sums differ, cols %d", cols);
        }
        kc_free_all();
    }
    kc_end("quantize");
}

static void test_to_bf16(void)
{
    static const struct {
        uint32_t in;
        uint16_t out;
    } known[] = {
        {0x3f800000, 0x3f80}, {0x3f808000, 0x3f80}, {0x3f818000, 0x3f82}, /* halves to even */
        {0x3f808001, 0x3f81}, {0x7f7fffff, 0x7f80}, {0xff800000, 0xff80}, /* up to infinity */
        {0x7f800001, 0x7fc0}, {0xffc12345, 0x7fc0}, {0x80000000, 0},      /* NaN, -0 */
        {0x26800000, 0x2680}, {0x267fffff, 0},      {0xa67fffff, 0},      /* 2^-50 and below */
    };
    kc_begin();
    for (int i = KERN_ISA_SCALAR; i < KERN_N_ISA; i++) {
        const struct kern_table *t = i == KERN_ISA_SCALAR ? kc_ref : kc_table[i];
        for (size_t k = 0; t && k < ARRAY_LEN(known); k++) {
            uint16_t y;
            float x;
            memcpy(&x, &known[k].in, 4);
            t->to_bf16(&x, 1, &y);
            if (y != known[k].out)
                kc_fail(i, "%08x is %04x, should be %04x", known[k].in, y, known[k].out);
        }
    }
    for (int n = 1; n <= 100; n++) {
        float *x = kc_alloc((size_t)n * 4, 4);
        uint16_t *want = kc_alloc((size_t)n * 2, 2), *got = kc_alloc((size_t)n * 2, 2);
        for (int k = 0; k < n; k++)
            x[k] = strange(k);
        kc_ref->to_bf16(x, n, want);
        FOR_ISA(i)
        {
            memset(got, 0x55, (size_t)n * 2);
            kc_table[i]->to_bf16(x, n, got);
            if (memcmp(got, want, (size_t)n * 2))
                kc_fail(i, "differs, n %d", n);
        }
        kc_free_all();
    }
    kc_end("to_bf16");
}

static void test_simple(void)
{
    static const char *const names[] = {"rmsnorm", "add", "scale", "axpy"};
    for (int f = 0; f < 4; f++) {
        kc_begin();
        for (int n = 1; n <= 100; n++) {
            size_t len = (size_t)n;
            float *x = random_floats(len, 8.0f), *y = random_floats(len, 2.0f);
            float *want = copy(x, len), s = kc_uniform(-2, 2);
            const float *w = n % 4 == 0 ? NULL : y;
            for (int i = KERN_ISA_SCALAR; i < KERN_N_ISA; i++) {
                const struct kern_table *t = i == KERN_ISA_SCALAR ? kc_ref : kc_table[i];
                if (!t)
                    continue;
                float *got = i == KERN_ISA_SCALAR ? want : copy(x, len);
                if (f == 0)
                    t->rmsnorm(n % 3 ? x : got, w, 1e-5f, n, got);
                else if (f == 1)
                    t->add(got, y, n);
                else if (f == 2)
                    t->scale(got, s, n);
                else
                    t->axpy(got, s, y, n);
                if (i != KERN_ISA_SCALAR)
                    kc_same(i, got, want, len, names[f]);
            }
            kc_free_all();
        }
        kc_end(names[f]);
    }
}

static void test_glu(void)
{
    static const char *const names[] = {"glu silu", "glu gelu", "glu swiglu_oai"};
    for (int fn = 0; fn < 3; fn++) {
        kc_begin();
        for (int round = 0; round < 100; round++) {
            size_t n = round < 50 ? (size_t)round + 1 : 4001;
            float *g = random_floats(n, 12.0f), *u = random_floats(n, 9.0f);
            float *want = random_floats(n, 0);
            if (round >= 90)
                for (size_t k = 0; k < n; k++)
                    g[k] = strange((int)k);
            kc_ref->glu((enum kern_act_fn)fn, g, u, (int32_t)n, want);
            FOR_ISA(i)
            {
                float *got = kc_alloc(n * 4, 4);
                kc_table[i]->glu((enum kern_act_fn)fn, g, u, (int32_t)n, got);
                kc_same(i, got, want, n, names[fn]);
            }
            kc_free_all();
        }
        kc_end(names[fn]);
    }
}

static void test_rope(void)
{
    kc_begin();
    for (int round = 0; round < 120; round++) {
        int dim = 16 * kc_range(1, 16), rot = 2 * kc_range(1, dim / 2), heads = kc_range(1, 5);
        size_t n = (size_t)(dim * heads);
        float *x = random_floats(n, 4.0f), *c = random_floats((size_t)rot / 2, 1.0f);
        float *s = random_floats((size_t)rot / 2, 1.0f), *want = copy(x, n);
        kc_ref->rope(want, heads, dim, rot, round & 1, c, s);
        FOR_ISA(i)
        {
            float *got = copy(x, n);
            kc_table[i]->rope(got, heads, dim, rot, round & 1, c, s);
            kc_same(i, got, want, n, "rope");
        }
        kc_free_all();
    }
    kc_end("rope");
}

static void test_argmax(void)
{
    kc_begin();
    for (int n = 1; n <= 200; n++)
        for (int kind = 0; kind < 4; kind++) {
            float *x = random_floats((size_t)n, 5.0f);
            if (kind == 1) /* equals: the first wins */
                for (int k = 0; k < n; k++)
                    x[k] = (float)kc_range(-2, 0);
            if (kind == 2)
                x[kc_range(0, n - 1)] = strange(kc_range(2, 4));
            if (kind == 3)
                for (int k = 0; k < n; k++)
                    x[k] = -FLT_MAX;
            int32_t wi = -1, gi = -1;
            int want = kc_ref->argmax(x, n, &wi);
            FOR_ISA(i)
            {
                int got = kc_table[i]->argmax(x, n, &gi);
                if (got != want || gi != wi)
                    kc_fail(i, "n %d: %d at %d, should be %d at %d", n, got, gi, want, wi);
            }
            kc_free_all();
        }
    kc_end("argmax");
}

static void test_sum_exp(void)
{
    kc_begin();
    for (int round = 0; round < 4000; round++) {
        /* long sums, and single values over all of exp's range */
        int n = round < 100 ? round + 1 : round < 110 ? 5000 : 1;
        float *x = random_floats((size_t)n, n == 1 ? 110.0f : 20.0f);
        if (n == 1 && round < 500)
            x[0] = strange(round - 110);
        float max = n == 1 ? 0.0f : 20.0f, want = kc_ref->sum_exp(x, max, n);
        FOR_ISA(i)
        {
            float got = kc_table[i]->sum_exp(x, max, n);
            kc_same(i, &got, &want, 1, "sum_exp");
        }
        kc_free_all();
    }
    kc_end("sum_exp");
}

void kc_test_vec(void)
{
    test_quantize();
    test_to_bf16();
    test_simple();
    test_glu();
    test_rope();
    test_argmax();
    test_sum_exp();
}
