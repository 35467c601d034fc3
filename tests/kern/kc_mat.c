/* Matrix products: every format and ISA, ragged sizes, token counts, row lists, group ranges. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "kc.h"

/* Where a source block keeps its f16 scales; -1 ends. */
static const int *half_places(enum kern_fmt fmt)
{
    static const int one[] = {0, -1}, two[] = {0, 2, -1}, q6[] = {208, -1}, none[] = {-1};
    switch (fmt) {
    case KERN_Q4_0:
    case KERN_Q5_0:
    case KERN_Q8_0:
        return one;
    case KERN_Q4_1:
    case KERN_Q5_1:
    case KERN_Q4_K:
    case KERN_Q5_K:
        return two;
    case KERN_Q6_K:
        return q6;
    default:
        return none;
    }
}

static uint16_t random_half(enum kc_mode mode)
{
    uint16_t sign = (uint16_t)(kc_rand() & 0x8000);
    if (mode == KC_EXTREME)
        return (uint16_t)(sign | 0x7bff);
    if (mode == KC_TINY)
        return (uint16_t)(sign | (kc_rand() & 0x3ff)); /* subnormal, or zero */
    return (uint16_t)(sign | kern_f32_to_f16(kc_uniform(0.001f, 0.1f)));
}

static void random_block(enum kern_fmt fmt, uint8_t *b, int bytes, enum kc_mode mode)
{
    static const uint8_t fills[] = {0x00, 0xff, 0x80, 0x7f, 0x88, 0xf0};
    int fill = mode == KC_EXTREME ? fills[kc_rand() % ARRAY_LEN(fills)] : -1;
    for (int i = 0; i < bytes; i++)
        b[i] = (uint8_t)(fill >= 0 ? fill : (int)(kc_rand() & 255));
    for (const int *at = half_places(fmt); *at >= 0; at++) {
        uint16_t h = random_half(mode);
        memcpy(b + *at, &h, 2);
    }
    if (fmt == KERN_MXFP4)
        b[0] = (uint8_t)(mode == KC_TINY      ? kc_range(0, 3)
                         : mode == KC_EXTREME ? 190
                                              : kc_range(110, 130));
}

uint8_t *kc_weights(enum kern_fmt fmt, int rows, int cols, enum kc_mode mode)
{
    const struct kern_fmt_info *f = kern_fmt_info(fmt);
    size_t bytes = kern_row_bytes(fmt, cols) * (size_t)rows;
    uint8_t *src = kc_alloc(bytes, 1);
    for (size_t i = 0; i < bytes; i += (size_t)f->block_bytes) {
        if (!f->is_float) {
            random_block(fmt, src + i, f->block_bytes, mode);
            continue;
        }
        float x = kc_uniform(-2.0f, 2.0f);
        x *= mode == KC_EXTREME ? 30000.0f : mode == KC_TINY ? 1e-6f : 1.0f;
        uint16_t h = kern_f32_to_f16(x);
        uint32_t u;
        memcpy(&u, &x, 4);
        if (fmt == KERN_BF16)
            h = (uint16_t)(u >> 16);
        memcpy(src + i, f->block_bytes == 4 ? (const void *)&x : (const void *)&h,
               (size_t)f->block_bytes);
    }
    return src;
}

struct kern_mat kc_repack(enum kern_fmt fmt, const uint8_t *src, int rows, int cols)
{
    uint8_t *data = kc_alloc(kern_mat_bytes(fmt, rows, cols), 64);
    struct kern_mat m = {fmt, rows, cols, data};
    kern_repack(fmt, src, rows, cols, 0, kern_mat_groups(&m), data);
    return m;
}

static float random_act(enum kc_mode mode, int block)
{
    switch (mode) {
    case KC_EXTREME: /* +-amax everywhere: every quant is +-127 */
        return (block & 1) && (kc_rand() & 1) ? -90.0f : 90.0f;
    case KC_TINY: /* subnormals, zero blocks */
        return block % 3 == 0 ? 0.0f : kc_uniform(-1e-39f, 1e-39f) * (block % 3 == 1 ? 1.0f : 1e9f);
    case KC_STRANGE: /* now and then an infinity, a NaN, a -0 */
        switch (kc_rand() % 300) {
        case 0:
            return INFINITY;
        case 1:
            return NAN;
        case 2:
            return -0.0f;
        default:
            return kc_uniform(-3.0f, 3.0f);
        }
    default:
        return kc_uniform(-3.0f, 3.0f) * (kc_rand() % 50 == 0 ? 20.0f : 1.0f);
    }
}

struct kern_act kc_act(int n, int cols, enum kc_mode mode)
{
    size_t stride = (size_t)cols + 3, blocks = (size_t)n * (size_t)((cols + 31) / 32);
    float *f = kc_alloc(((size_t)n * stride - 3) * 4, 4);
    for (int i = 0; i < n; i++)
        for (int k = 0; k < cols; k++)
            f[(size_t)i * stride + (size_t)k] = random_act(mode, k / 32 + i);
    struct kern_act a = {.n = n, .cols = cols, .f = f, .f_stride = stride};
    if (cols % 32 != 0)
        return a;
    a.q = kc_alloc(blocks * 32, 1);
    a.scale = kc_alloc(blocks * 4, 4);
    a.sum = kc_alloc(blocks * 4, 2);
    for (int i = 0; i < n; i++)
        kc_ref->quantize(&a, i);
    return a;
}

typedef void mat_fn(const struct kern_mat *m, int32_t g0, int32_t g1, const struct kern_act *a,
                    const int32_t *rows, int32_t n, float *out, size_t out_stride);

static mat_fn *entry(const struct kern_table *t, int q8)
{
    return q8 ? t->matmul_q8 : t->matmul_f32;
}

/* One product on every ISA, in two random ranges of groups; nothing outside may be written. */
static void check_product(int q8, const struct kern_mat *m, const struct kern_act *a,
                          const int32_t *rows, int n)
{
    int groups = kern_mat_groups(m), pad = kc_range(0, 5);
    size_t stride = (size_t)(m->rows + pad), len = (size_t)(n - 1) * stride + (size_t)m->rows;
    float *want = kc_alloc(len * 4, 4), *got = kc_alloc(len * 4, 4);
    entry(kc_ref, q8)(m, 0, groups, a, rows, n, want, stride);
    for (int i = KERN_ISA_SCALAR + 1; i < KERN_N_ISA; i++) {
        if (!kc_table[i])
            continue;
        memset(got, 0xff, len * 4);
        int g = kc_range(0, groups);
        char what[128];
        snprintf(what, sizeof what, "%s rows %d cols %d n %d cut %d%s", kern_fmt_info(m->fmt)->name,
                 m->rows, m->cols, n, g, rows ? " listed" : "");
        entry(kc_table[i], q8)(m, g, groups, a, rows, n, got, stride);
        for (int t = 0; t < n; t++)
            for (int r = 0; r < g * KERN_LANES && r < m->rows; r++)
                if (got[(size_t)t * stride + (size_t)r] == got[(size_t)t * stride + (size_t)r])
                    kc_fail(i, "%s: wrote row %d, outside its groups", what, r);
        entry(kc_table[i], q8)(m, 0, g, a, rows, n, got, stride);
        kc_same(i, got, want, len, what);
    }
}

static void check_case(int q8, enum kern_fmt fmt, int rows, int cols, int n, enum kc_mode mode)
{
    struct kern_mat m = kc_repack(fmt, kc_weights(fmt, rows, cols, mode), rows, cols);
    int listed = kc_rand() % 3 == 0, n_act = listed ? n + 3 : n;
    struct kern_act a = kc_act(n_act, cols, mode);
    int32_t *list = kc_alloc((size_t)n * 4, 4);
    for (int i = 0; i < n; i++)
        list[i] = kc_range(0, n_act - 1);
    check_product(q8, &m, &a, listed ? list : NULL, n);
    kc_free_all();
}

static void check_format(int q8, enum kern_fmt fmt)
{
    int block = kern_fmt_info(fmt)->block, step = block == 1 ? 1 : block;
    static const int sizes[] = {1, 15, 16, 17, 64, 65, 100};
    for (int n = 1; n <= 70; n += kc_whole || n < 17 ? 1 : 6)
        check_case(q8, fmt, n % 2 ? 17 : 80,
                   step == 256  ? 256
                   : step == 32 ? 96
                                : 41,
                   n, KC_NORMAL);
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++)
        for (int mode = 0; mode < KC_N_MODE; mode++) {
            int cols = step == 256  ? 256 * kc_range(1, 3)
                       : step == 32 ? 32 * kc_range(1, 20)
                                    : kc_range(1, 600);
            check_case(q8, fmt, sizes[i], cols, kc_range(1, 14), (enum kc_mode)mode);
        }
    /* k long enough to be cut into chunks, for each tile size */
    static const int tokens[] = {1, 2, 3, 4, 6, 8, 12, 13};
    for (size_t i = 0; i < ARRAY_LEN(tokens); i++)
        check_case(q8, fmt, 33,
                   tokens[i] == 1  ? 17408
                   : tokens[i] < 4 ? 8448
                                   : 3072,
                   tokens[i], KC_NORMAL);
}

/* n rows of bf16 in a buffer that ends with the last of them, rounded up to 16: what a product may
 * read. The rows of nobody are NaN. */
static const uint16_t *bf16_rows(const struct kern_act *a, int n, size_t stride)
{
    size_t rows = (size_t)(n + 15) / 16 * 16;
    uint16_t *x = kc_alloc(rows * stride * sizeof *x, 64);
    for (int i = 0; i < n; i++)
        kc_ref->to_bf16(a->f + (size_t)i * a->f_stride, a->cols, x + (size_t)i * stride);
    return x;
}

static void check_bf16(enum kern_fmt fmt, int rows, int cols, int n, enum kc_mode mode)
{
    struct kern_mat m = kc_repack(fmt, kc_weights(fmt, rows, cols, mode), rows, cols);
    struct kern_act a = kc_act(n, cols, mode);
    int groups = kern_mat_groups(&m);
    size_t x_stride = (size_t)(cols + 32 * kc_range(0, 2));
    size_t stride = (size_t)(rows + kc_range(0, 5)), len = (size_t)(n - 1) * stride + (size_t)rows;
    const uint16_t *x = bf16_rows(&a, n, x_stride);
    float *want = kc_alloc(len * 4, 4), *got = kc_alloc(len * 4, 4);
    kc_ref->matmul_bf16(&m, 0, groups, x, x_stride, n, want, stride);
    for (int i = KERN_ISA_SCALAR + 1; i < KERN_N_ISA; i++) {
        if (!kc_table[i] || kc_table[i]->matmul_bf16 == kc_ref->matmul_bf16)
            continue;
        memset(got, 0xff, len * 4);
        int g = kc_range(0, groups);
        char what[128];
        snprintf(what, sizeof what, "%s rows %d cols %d n %d cut %d", kern_fmt_info(fmt)->name,
                 rows, cols, n, g);
        kc_table[i]->matmul_bf16(&m, g, groups, x, x_stride, n, got, stride);
        for (int t = 0; t < n; t++)
            for (int r = 0; r < g * KERN_LANES && r < rows; r++)
                if (got[(size_t)t * stride + (size_t)r] == got[(size_t)t * stride + (size_t)r])
                    kc_fail(i, "%s: wrote row %d, outside its groups", what, r);
        kc_table[i]->matmul_bf16(&m, 0, g, x, x_stride, n, got, stride);
        kc_same(i, got, want, len, what);
    }
    kc_free_all();
}

static void check_format_bf16(enum kern_fmt fmt)
{
    static const int tokens[] = {1, 15, 16, 17, 31, 32, 33, 64, 100};
    int step = kern_fmt_info(fmt)->block == 256 ? 256 : 32;
    for (size_t i = 0; i < ARRAY_LEN(tokens); i++)
        for (int mode = kc_whole ? 0 : (int)i % KC_N_MODE; mode < KC_N_MODE;
             mode += kc_whole ? 1 : KC_N_MODE)
            check_bf16(fmt, kc_range(1, 100), step * kc_range(1, 544 / step), tokens[i],
                       (enum kc_mode)mode);
    /* more than one block of tokens, panel of inputs, block of inputs */
    check_bf16(fmt, 20, step, 300, KC_NORMAL);
    check_bf16(fmt, 33, 768, 20, KC_NORMAL);
    check_bf16(fmt, 49, 4352, 35, KC_NORMAL);
    check_bf16(fmt, 49, 256, 20, KC_STRANGE);
}

/* What the reference computes is close to the product of floats. */
static void check_bf16_near(enum kern_fmt fmt)
{
    struct kern_mat m = kc_repack(fmt, kc_weights(fmt, 16, 512, KC_NORMAL), 16, 512);
    struct kern_act a = kc_act(4, 512, KC_NORMAL);
    const uint16_t *x = bf16_rows(&a, 4, 512);
    float got[64], want[64], mean = 0, off = 0;
    kc_ref->matmul_bf16(&m, 0, 1, x, 512, 4, got, 16);
    kc_ref->matmul_f32(&m, 0, 1, &a, NULL, 4, want, 16);
    for (int i = 0; i < 64; i++) {
        mean += want[i] * want[i] / 64;
        off += (got[i] - want[i]) * (got[i] - want[i]) / 64;
    }
    /* two roundings to 8 bits: each 2^-9 / sqrt(3) at most of a product, not of the sum */
    if (!(off < mean * 0.005f * 0.005f))
        kc_fail(KERN_ISA_AMX, "%s: bf16 is %g off, squared, of %g", kern_fmt_info(fmt)->name,
                (double)off, (double)mean);
    kc_free_all();
}

void kc_test_mat(void)
{
    char name[64];
    for (int f = 0; f < KERN_N_FMT; f++) {
        const struct kern_fmt_info *info = kern_fmt_info((enum kern_fmt)f);
        for (int q8 = 1; q8 >= 0; q8--) {
            if (q8 && info->is_float)
                continue; /* the same function */
            kc_begin();
            check_format(q8, (enum kern_fmt)f);
            snprintf(name, sizeof name, "matmul_%s %s", q8 ? "q8" : "f32", info->name);
            kc_end(name);
        }
        if (info->is_float && f != KERN_BF16)
            continue;
        kc_begin();
        check_format_bf16((enum kern_fmt)f);
        check_bf16_near((enum kern_fmt)f);
        snprintf(name, sizeof name, "matmul_bf16 %s", info->name);
        kc_end(name);
    }
}
