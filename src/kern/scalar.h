/* The scalar reference: every entry of the table in plain C, written to be read, not to be fast.
 * What these functions compute is the definition that each SIMD version equals bit for bit. */
#ifndef KERN_SCALAR_H
#define KERN_SCALAR_H

#include "kern/kern.h"

/* Activations whose largest magnitude is below this are quantised to zeros (127 / amax would
 * overflow). */
#define SCALAR_AMAX_MIN 0x1p-100f

void scalar_quantize(const struct kern_act *a, int32_t i);
void scalar_matmul_q8(const struct kern_mat *m, int32_t g0, int32_t g1, const struct kern_act *a,
                      const int32_t *rows, int32_t n, float *out, size_t out_stride);
void scalar_matmul_f32(const struct kern_mat *m, int32_t g0, int32_t g1, const struct kern_act *a,
                       const int32_t *rows, int32_t n, float *out, size_t out_stride);
void scalar_matmul_bf16(const struct kern_mat *m, int32_t g0, int32_t g1, const uint16_t *x,
                        size_t x_stride, int32_t n, float *out, size_t out_stride);
void scalar_rmsnorm(const float *x, const float *w, float eps, int32_t n, float *y);
void scalar_to_bf16(const float *x, int32_t n, uint16_t *y);
void scalar_add(float *x, const float *y, int32_t n);
void scalar_scale(float *x, float s, int32_t n);
void scalar_axpy(float *x, float s, const float *y, int32_t n);
void scalar_glu(enum kern_act_fn fn, const float *gate, const float *up, int32_t n, float *out);
void scalar_rope(float *x, int32_t n_heads, int32_t head_dim, int32_t n_rot, int adjacent,
                 const float *cos_, const float *sin_);
void scalar_kv_store(enum kern_kv kv, uint8_t *page, int32_t head_dim, int32_t slot, const float *k,
                     const float *v);
void scalar_attn(const struct kern_attn *a);
void scalar_attn_bf16(const struct kern_attn *a);
void scalar_attn_join(const struct kern_attn *a);
int scalar_argmax(const float *x, int32_t n, int32_t *ret_i);
float scalar_sum_exp(const float *x, float max, int32_t n);

#endif
