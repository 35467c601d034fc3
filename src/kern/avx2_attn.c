/* Attention for AVX2; the code is in the template. Defines avx2_attn and avx2_attn_join. */
#define ATTN_ROWS 4 /* query rows that share a K or V register */
#define ATTN_WIDE 4 /* sums of sixteen lanes that fit the registers */
#include "kern/vec_avx2.h"

#include "kern/tmpl_attn.h"
