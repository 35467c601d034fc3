/* Float matrix products for AVX-512; the code is in the template. Defines avx512_matmul_f32. */
#define F32_TILE 12
#include "kern/vec_avx512.h"

#include "kern/tmpl_f32.h"
