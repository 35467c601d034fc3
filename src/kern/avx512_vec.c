/* Vector kernels for AVX-512; the code is in the template. */
#include "kern/vec_avx512.h"

#include "kern/tmpl_vec.h"
