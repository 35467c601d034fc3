/* The SIMD versions of the table's entries; the prefix is the instruction set. isa_x86.c lists
 * their whole names where it puts them into the table, and nobody else calls them. avx512_* need
 * AVX-512 F, BW, VL, DQ; vnni_matmul_q8 also VNNI; avx2_* AVX2, FMA, F16C; avxvnni_matmul_q8 also
 * AVX-VNNI; amx_* AMX tiles with bf16, AVX-512 VBMI and BF16. */
#ifndef KERN_SIMD_H
#define KERN_SIMD_H

#include "kern/kern.h"

#define SIMD_DECLARE(isa)                                                                          \
    void isa##_quantize(const struct kern_act *a, int32_t i);                                      \
    void isa##_matmul_q8(const struct kern_mat *m, int32_t g0, int32_t g1,                         \
                         const struct kern_act *a, const int32_t *rows, int32_t n, float *out,     \
                         size_t out_stride);                                                       \
    void isa##_matmul_f32(const struct kern_mat *m, int32_t g0, int32_t g1,                        \
                          const struct kern_act *a, const int32_t *rows, int32_t n, float *out,    \
                          size_t out_stride);                                                      \
    void isa##_rmsnorm(const float *x, const float *w, float eps, int32_t n, float *y);            \
    void isa##_to_bf16(const float *x, int32_t n, uint16_t *y);                                    \
    void isa##_add(float *x, const float *y, int32_t n);                                           \
    void isa##_scale(float *x, float s, int32_t n);                                                \
    void isa##_axpy(float *x, float s, const float *y, int32_t n);                                 \
    void isa##_glu(enum kern_act_fn fn, const float *gate, const float *up, int32_t n,             \
                   float *out);                                                                    \
    void isa##_rope(float *x, int32_t n_heads, int32_t head_dim, int32_t n_rot, int adjacent,      \
                    const float *cos_, const float *sin_);                                         \
    void isa##_kv_store(enum kern_kv kv, uint8_t *page, int32_t head_dim, int32_t slot,            \
                        const float *k, const float *v);                                           \
    void isa##_attn(const struct kern_attn *a);                                                    \
    void isa##_attn_join(const struct kern_attn *a);                                               \
    int isa##_argmax(const float *x, int32_t n, int32_t *ret_i);                                   \
    float isa##_sum_exp(const float *x, float max, int32_t n);

SIMD_DECLARE(avx2)
SIMD_DECLARE(avx512)

void avxvnni_matmul_q8(const struct kern_mat *m, int32_t g0, int32_t g1, const struct kern_act *a,
                       const int32_t *rows, int32_t n, float *out, size_t out_stride);
void vnni_matmul_q8(const struct kern_mat *m, int32_t g0, int32_t g1, const struct kern_act *a,
                    const int32_t *rows, int32_t n, float *out, size_t out_stride);
void amx_matmul_bf16(const struct kern_mat *m, int32_t g0, int32_t g1, const uint16_t *x,
                     size_t x_stride, int32_t n, float *out, size_t out_stride);
void amx_attn_bf16(const struct kern_attn *a);

#endif
