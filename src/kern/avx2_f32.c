/* Float matrix products for AVX2; the code is in the template. Defines avx2_matmul_f32. */
#define F32_TILE 6
#include "kern/vec_avx2.h"

#include "kern/tmpl_f32.h"
