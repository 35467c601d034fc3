/* Formats: dequantisation equals the gguf package's, sizes keep their promise, scalar math is exact
 * where it says so. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "fmt_fixture.h"
#include "kern/kern.h"

static uint32_t bits(float f)
{
    uint32_t u;
    memcpy(&u, &f, 4);
    return u;
}

static float from_bits(uint32_t u)
{
    float f;
    memcpy(&f, &u, 4);
    return f;
}

/* The row is put at every place of a group, and in a ragged last group. */
static void check_fixture(enum kern_fmt fmt, const uint8_t *src, size_t src_bytes,
                          const uint32_t *want)
{
    assert_int_equal(kern_row_bytes(fmt, 256), src_bytes);
    enum { ROWS = 21 };
    uint8_t *file = malloc(ROWS * src_bytes);
    for (size_t r = 0; r < ROWS; r++)
        memcpy(file + r * src_bytes, src, src_bytes);
    size_t bytes = kern_mat_bytes(fmt, ROWS, 256);
    uint8_t *data = aligned_alloc(64, bytes);
    memset(data, 0xa5, bytes);
    kern_repack(fmt, file, ROWS, 256, 0, 2, data);
    struct kern_mat m = {fmt, ROWS, 256, data};
    for (int r = 0; r < ROWS; r++) {
        float out[256];
        kern_row_f32(&m, r, out);
        for (int k = 0; k < 256; k++)
            if (out[k] != 0.0f || want[k] << 1 != 0) /* either zero will do */
                assert_int_equal(bits(out[k]), want[k]);
    }
    free(file);
    free(data);
}

static void test_dequantise(void **state)
{
    (void)state;
#define CHECK_FIXTURE(fmt, src, out) check_fixture(fmt, src, sizeof(src), out);
    FIXTURES(CHECK_FIXTURE)
#undef CHECK_FIXTURE
}

static void test_float_rows(void **state)
{
    (void)state;
    static const enum kern_fmt fmts[] = {KERN_F32, KERN_F16, KERN_BF16};
    enum { ROWS = 18, COLS = 7 };
    for (size_t f = 0; f < ARRAY_LEN(fmts); f++) {
        uint8_t src[ROWS * COLS * 4];
        size_t elt = (size_t)kern_fmt_info(fmts[f])->block_bytes;
        for (size_t i = 0; i < ROWS * COLS; i++) {
            float x = (float)i * 0.25f - 9.0f; /* exact in all three */
            uint16_t h = fmts[f] == KERN_F16 ? kern_f32_to_f16(x) : (uint16_t)(bits(x) >> 16);
            if (elt == 4)
                memcpy(src + 4 * i, &x, 4);
            else
                memcpy(src + 2 * i, &h, 2);
        }
        uint8_t *data = aligned_alloc(64, kern_mat_bytes(fmts[f], ROWS, COLS));
        kern_repack(fmts[f], src, ROWS, COLS, 0, 2, data);
        struct kern_mat m = {fmts[f], ROWS, COLS, data};
        for (int r = 0; r < ROWS; r++) {
            float out[COLS];
            kern_row_f32(&m, r, out);
            for (int k = 0; k < COLS; k++)
                assert_true(out[k] == (float)(r * COLS + k) * 0.25f - 9.0f);
        }
        free(data);
    }
}

static void test_sizes(void **state)
{
    (void)state;
    for (int f = 0; f < KERN_N_FMT; f++) {
        const struct kern_fmt_info *info = kern_fmt_info((enum kern_fmt)f);
        assert_int_equal(kern_fmt_from_ggml((uint32_t)info->ggml_type), f);
        for (int cols = 512; cols <= 8192; cols += 256) {
            double file = 16.0 * (double)kern_row_bytes((enum kern_fmt)f, cols);
            assert_true((double)kern_group_bytes((enum kern_fmt)f, cols) <= 1.05 * file);
            assert_int_equal(kern_group_bytes((enum kern_fmt)f, cols) % 64, 0);
        }
    }
    assert_int_equal(kern_fmt_from_ggml(10), -1); /* Q2_K: not yet */
    assert_int_equal(kern_fmt_from_ggml(0xffffffffu), -1);
}

/* Every f16 and back; rounding of what lies between two of them. */
static void test_half(void **state)
{
    (void)state;
    for (uint32_t h = 0; h < 0x10000; h++) {
        float f = kern_f16_to_f32((uint16_t)h);
        if ((h & 0x7fff) > 0x7c00) {
            assert_true(isnan(f));
            assert_true((kern_f32_to_f16(f) & 0x7fff) > 0x7c00);
            continue;
        }
        assert_int_equal(kern_f32_to_f16(f), h);
        if ((h & 0x7fff) >= 0x7bff)
            continue;
        float next = kern_f16_to_f32((uint16_t)(h + 1)), mid = (f + next) / 2; /* exact */
        assert_int_equal(kern_f32_to_f16(mid), h & 1 ? h + 1 : h);
        assert_int_equal(kern_f32_to_f16(nextafterf(mid, next)), h + 1);
        assert_int_equal(kern_f32_to_f16(nextafterf(mid, f)), h);
    }
    assert_int_equal(kern_f32_to_f16(65519.9f), 0x7bff);
    assert_int_equal(kern_f32_to_f16(65520.0f), 0x7c00);
    assert_int_equal(kern_f32_to_f16(-INFINITY), 0xfc00);
    assert_int_equal(kern_f32_to_f16(1e-9f), 0);
}

static double ulps(float got, double want)
{
    float w = (float)want;
    if (got == w)
        return 0;
    double step =
        fabsf(w) < 0x1p-126f ? 0x1p-149 : (double)nextafterf(fabsf(w), INFINITY) - (double)fabsf(w);
    return fabs((double)got - want) / step;
}

static void test_exp_log(void **state)
{
    (void)state;
    double worst_exp = 0, worst_log = 0;
    for (uint32_t u = 0; u < 0x7f800000u; u += 9973) {
        float x = from_bits(u);
        if (x < 88.7f) {
            worst_exp = fmax(worst_exp, ulps(kern_exp(x), exp((double)x)));
            worst_exp = fmax(worst_exp, ulps(kern_exp(-x), exp(-(double)x)));
        }
        if (x > 0)
            worst_log = fmax(worst_log, ulps(kern_log(x), log((double)x)));
    }
    for (float x = -104; x < -87; x += 0.001f) /* down through the subnormals */
        worst_exp = fmax(worst_exp, ulps(kern_exp(x), exp((double)x)));
    print_message("# worst error in ulp: exp %.2f, log %.2f\n", worst_exp, worst_log);
    assert_true(worst_exp < 2.0);
    assert_true(worst_log < 2.0);
    assert_true(kern_exp(0.0f) == 1.0f && kern_exp(-0.0f) == 1.0f);
    assert_true(kern_exp(INFINITY) == INFINITY && kern_exp(89.0f) == INFINITY);
    assert_true(kern_exp(-INFINITY) == 0.0f && kern_exp(-200.0f) == 0.0f);
    assert_true(isnan(kern_exp(NAN)) && isnan(kern_log(NAN)) && isnan(kern_log(-1.0f)));
    assert_true(kern_log(0.0f) == -INFINITY && kern_log(INFINITY) == INFINITY);
    assert_true(kern_log(1.0f) == 0.0f);
}

static void test_act(void **state)
{
    (void)state;
    const struct kern_table *k = kern_open(KERN_ISA_SCALAR);
    for (float x = -20; x < 20; x += 0.013f) {
        float up = 1.5f, got, d = x;
        k->glu(KERN_SILU, &x, &up, 1, &got);
        assert_true(fabs((double)got - 1.5 * d / (1 + exp(-(double)d))) < 1e-6 * (1 + fabs(d)));
        k->glu(KERN_GELU_TANH, &x, &up, 1, &got);
        double u = 0.7978845608028654 * (d + 0.044715 * (double)d * d * d);
        assert_true(fabs((double)got - 1.5 * 0.5 * d * (1 + tanh(u))) < 1e-6 * (1 + fabs(d)));
        k->glu(KERN_SWIGLU_OAI, &x, &x, 1, &got);
        double g = fmin(d, 7), v = fmax(-7, fmin(d, 7));
        assert_true(fabs((double)got - g / (1 + exp(-1.702 * g)) * (v + 1)) < 1e-5 * (1 + d * d));
    }
}

static void test_isa(void **state)
{
    (void)state;
    enum kern_isa isa;
    struct err e = {0};
    assert_int_equal(kern_isa_parse("scalar", &isa, &e), 0);
    assert_int_equal(isa, KERN_ISA_SCALAR);
    assert_int_equal(kern_isa_parse("auto", &isa, &e), 0);
    assert_ptr_equal(kern_open(isa), kern_open(KERN_N_ISA - 1));
    assert_int_equal(kern_isa_parse("sse9", &isa, &e), ERR_ARG);
    assert_non_null(strstr(e.text, "avx512-vnni"));
    for (int i = 0; i < KERN_N_ISA; i++) {
        int rc = kern_isa_parse(kern_isa_name((enum kern_isa)i), &isa, &e);
        assert_int_equal(rc, kern_isa_available((enum kern_isa)i) ? 0 : ERR_UNSUPPORTED);
        if (rc == 0)
            assert_string_equal(kern_open(isa)->name, kern_isa_name(isa));
    }
}

/* A set puts its functions in place of those of the sets before it, and leaves the others. */
static void test_isa_overrides(void **state)
{
    (void)state;
    const struct kern_table *scalar = kern_open(KERN_ISA_SCALAR), *last = scalar;
    for (int i = 0; i < KERN_N_ISA; i++) {
        const struct kern_table *t = kern_open((enum kern_isa)i);
        if (!kern_isa_available((enum kern_isa)i)) {
            assert_ptr_equal(t, last);
            continue;
        }
        last = t;
        assert_string_equal(t->name, kern_isa_name((enum kern_isa)i));
        assert_int_equal(t->fast_bf16, i == KERN_ISA_AMX);
        assert_int_equal(t->attn_bf16 != scalar->attn_bf16, i == KERN_ISA_AMX);
        assert_int_equal(t->attn != scalar->attn, i != KERN_ISA_SCALAR);
        if (i == KERN_ISA_AVX512_VNNI) {
            const struct kern_table *below = kern_open(KERN_ISA_AVX512);
            assert_true(t->matmul_q8 != below->matmul_q8 && t->matmul_f32 == below->matmul_f32);
        }
    }
}

/* The words of settings, by index, are the names of the values. */
static void test_words(void **state)
{
    (void)state;
    char kv[64], isa[128] = "";
    snprintf(kv, sizeof kv, "%s|%s|%s", kern_kv_name(KERN_KV_F32), kern_kv_name(KERN_KV_F16),
             kern_kv_name(KERN_KV_Q8_0));
    assert_string_equal(kv, KERN_KV_WORDS);
    for (int i = 0; i < KERN_N_ISA; i++) {
        size_t at = strlen(isa);
        snprintf(isa + at, sizeof isa - at, "|%s", kern_isa_name((enum kern_isa)i));
    }
    assert_string_equal(isa, KERN_ISA_WORDS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_dequantise), cmocka_unit_test(test_float_rows),
        cmocka_unit_test(test_sizes),      cmocka_unit_test(test_half),
        cmocka_unit_test(test_exp_log),    cmocka_unit_test(test_act),
        cmocka_unit_test(test_isa),        cmocka_unit_test(test_isa_overrides),
        cmocka_unit_test(test_words),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
