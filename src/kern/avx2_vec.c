/* Vector kernels for AVX2; the code is in the template. Defines avx2_quantize, avx2_rmsnorm,
 * avx2_to_bf16, avx2_add, avx2_scale, avx2_axpy, avx2_glu, avx2_rope, avx2_kv_store, avx2_argmax
 * and avx2_sum_exp. */
#include "kern/vec_avx2.h"

#include "kern/tmpl_vec.h"
