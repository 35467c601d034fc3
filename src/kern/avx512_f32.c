/* Float matrix products for AVX-512; the code is in the template. */
#define F32_TILE 12
#include "kern/vec_avx512.h"

#include "kern/tmpl_f32.h"
