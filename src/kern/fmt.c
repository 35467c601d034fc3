/* The table of weight formats. */
#include "base/check.h"
#include "kern/kern.h"
#include "kern/repack.h"

static const struct kern_fmt_info fmt_table[KERN_N_FMT] = {
    [KERN_F32] = {"F32", 1, 4, 0, 1},        [KERN_F16] = {"F16", 1, 2, 1, 1},
    [KERN_BF16] = {"BF16", 1, 2, 30, 1},     [KERN_Q4_0] = {"Q4_0", 32, 18, 2, 0},
    [KERN_Q4_1] = {"Q4_1", 32, 20, 3, 0},    [KERN_Q5_0] = {"Q5_0", 32, 22, 6, 0},
    [KERN_Q5_1] = {"Q5_1", 32, 24, 7, 0},    [KERN_Q8_0] = {"Q8_0", 32, 34, 8, 0},
    [KERN_Q4_K] = {"Q4_K", 256, 144, 12, 0}, [KERN_Q5_K] = {"Q5_K", 256, 176, 13, 0},
    [KERN_Q6_K] = {"Q6_K", 256, 210, 14, 0}, [KERN_MXFP4] = {"MXFP4", 32, 17, 39, 0},
};

const struct kern_fmt_info *kern_fmt_info(enum kern_fmt fmt)
{
    CHECK((unsigned)fmt < KERN_N_FMT);
    return &fmt_table[fmt];
}

int kern_fmt_from_ggml(uint32_t ggml_type)
{
    for (int i = 0; i < KERN_N_FMT; i++)
        if ((uint32_t)fmt_table[i].ggml_type == ggml_type)
            return i;
    return -1;
}

size_t kern_row_bytes(enum kern_fmt fmt, int32_t cols)
{
    const struct kern_fmt_info *f = kern_fmt_info(fmt);
    CHECK(cols > 0 && cols % f->block == 0);
    return (size_t)(cols / f->block) * (size_t)f->block_bytes;
}

size_t kern_group_bytes(enum kern_fmt fmt, int32_t cols)
{
    const struct kern_fmt_info *f = kern_fmt_info(fmt);
    CHECK(cols > 0 && cols % f->block == 0);
    size_t n;
    if (f->is_float)
        n = (size_t)cols * KERN_LANES * (size_t)f->block_bytes;
    else
        n = repack_scale_at(fmt, cols) +
            (size_t)(cols / repack_scale_span(fmt)) * (size_t)repack_scale_bytes(fmt);
    return (n + REPACK_LINE - 1) / REPACK_LINE * REPACK_LINE;
}

size_t kern_mat_bytes(enum kern_fmt fmt, int32_t rows, int32_t cols)
{
    CHECK(rows > 0);
    size_t groups = ((size_t)rows + KERN_LANES - 1) / KERN_LANES;
    return groups * kern_group_bytes(fmt, cols);
}

const char *kern_kv_name(enum kern_kv kv)
{
    return kv == KERN_KV_F32 ? "f32" : kv == KERN_KV_F16 ? "f16" : "q8_0";
}

size_t kern_kv_head_bytes(enum kern_kv kv, int32_t head_dim)
{
    size_t n = (size_t)2 * KERN_PAGE * (size_t)head_dim;
    if (kv == KERN_KV_Q8_0)
        return n + (size_t)2 * KERN_PAGE * (size_t)((head_dim + 31) / 32) * sizeof(float);
    return n * (kv == KERN_KV_F32 ? 4 : 2);
}
