/* Attention for AVX-512; the code is in the template. Defines avx512_attn and avx512_attn_join. */
#define ATTN_ROWS 12 /* query rows that share a K or V register */
#define ATTN_WIDE 24 /* sums of sixteen lanes that fit the registers */
#include "kern/vec_avx512.h"

#include "kern/tmpl_attn.h"
