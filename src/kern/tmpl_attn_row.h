/* A row of attention between its blocks and at its end (kern/attn.h), on kern/vec_*.h's lanes. */
#ifndef KERN_TMPL_ATTN_ROW_H
#define KERN_TMPL_ATTN_ROW_H

#include "kern/attn.h"

/* A block's maximum, sums and outputs join those of the blocks before it. */
INL void attn_row_join(const struct kern_attn *a, float *m, float *l, float *o, float block_m,
                       const float *block_l, const float *block_o)
{
    float top = *m > block_m ? *m : block_m;
    struct vf old = vf_set1(kmath_exp2(*m - top)), c = vf_set1(kmath_exp2(block_m - top));
    *m = top;
    vf_store(l, vf_fma(vf_load(block_l), c, vf_mul(vf_load(l), old)));
    for (int32_t d = 0; d < a->head_dim; d += 16)
        vf_store(o + d, vf_fma(vf_load(block_o + d), c, vf_mul(vf_load(o + d), old)));
}

INL void attn_row_end(const struct kern_attn *a, float m, struct vf l, const float *o,
                      const float *sink, float *out)
{
    float c = 1.0f, extra = 0.0f;
    if (sink) {
        float x = *sink * KMATH_LOG2E, top = m > x ? m : x;
        c = kmath_exp2(m - top);
        extra = kmath_exp2(x - top);
        l = vf_mul(l, vf_set1(c));
    }
    float sum = vf_fold(l);
    if (sink)
        sum += extra;
    struct vf inv = vf_set1(1.0f / sum), vc = vf_set1(c);
    for (int32_t d = 0; d < a->head_dim; d += 16)
        vf_store(out + d, vf_mul(vf_mul(vf_load(o + d), vc), inv));
}

/* Sixteen values of a page, q8_0's without their scale. */
INL struct vf attn_load(enum kern_kv kv, const uint8_t *p, size_t at)
{
    return kv == KERN_KV_F32   ? vf_load((const float *)(const void *)p + at)
           : kv == KERN_KV_F16 ? vf_load_f16(p + 2 * at)
                               : vf_load_s8(p + at);
}

/* K of slots j .. j + 16 of a page, dimension d. */
INL struct vf attn_load_k(enum kern_kv kv, const uint8_t *page, int32_t dim, int32_t d, int j)
{
    struct vf k = attn_load(kv, page, (size_t)d * KERN_PAGE + (size_t)j);
    if (kv == KERN_KV_Q8_0) {
        const float *s = (const float *)(const void *)(page + attn_k_scales(dim));
        k = vf_mul(k, vf_load(s + d / 32 * KERN_PAGE + j));
    }
    return k;
}

/* V of slot j of a page, dimensions d .. d + 16, which share a scale. */
INL struct vf attn_load_v(enum kern_kv kv, const uint8_t *page, int32_t dim, int32_t d, int j)
{
    struct vf v = attn_load(kv, page, (size_t)(KERN_PAGE + j) * (size_t)dim + (size_t)d);
    if (kv == KERN_KV_Q8_0) {
        const float *s = (const float *)(const void *)(page + attn_v_scales(dim));
        v = vf_mul(v, vf_set1(s[j * attn_kv_blocks(dim) + d / 32]));
    }
    return v;
}

#endif
