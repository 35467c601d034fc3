/* The int8 peak of a machine with AVX-512 VNNI; its others are those of AVX-512. */
#include <immintrin.h>

#include "kern/peak_isa.h"

#define DOT(s)                                                                                     \
    __asm__("" : "+v"(w));                                                                         \
    s = _mm512_dpbusd_epi32(s, w, x)

#define PEAK_REG      __m512i
#define PEAK_SET1(b)  _mm512_set1_epi8(b)
#define PEAK_FIRST(s) _mm512_cvtsi512_si32(s)
#include "kern/tmpl_peak.h"

const struct peak_isa vnni_peak = {avx512_peak_read, peak_dot, 64 * 12, avx512_peak_fma, 16 * 12};
