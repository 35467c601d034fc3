/* Vector kernels for AVX-512; the code is in the template. Defines avx512_quantize, avx512_rmsnorm,
 * avx512_to_bf16, avx512_add, avx512_scale, avx512_axpy, avx512_glu, avx512_rope, avx512_kv_store,
 * avx512_argmax and avx512_sum_exp. */
#include "kern/vec_avx512.h"

#include "kern/tmpl_vec.h"
