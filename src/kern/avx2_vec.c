/* Vector kernels for AVX2; the code is in the template. */
#include "kern/vec_avx2.h"

#include "kern/tmpl_vec.h"
