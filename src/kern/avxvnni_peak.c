/* The int8 peak of a machine with AVX-VNNI; its others are those of AVX2. */
#include <immintrin.h>

#include "kern/peak_isa.h"

#define DOT(s)                                                                                     \
    __asm__("" : "+x"(w));                                                                         \
    s = _mm256_dpbusd_avx_epi32(s, w, x)

#define PEAK_REG      __m256i
#define PEAK_SET1(b)  _mm256_set1_epi8(b)
#define PEAK_FIRST(s) _mm_cvtsi128_si32(_mm256_castsi256_si128(s))
#include "kern/tmpl_peak.h"

const struct peak_isa avxvnni_peak = {avx2_peak_read, peak_dot, 32 * 12, avx2_peak_fma, 8 * 12};
