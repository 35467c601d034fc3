/* The int8 limit of a machine with AVX-VNNI; its others are those of AVX2. */
#include <immintrin.h>

#include "kern/probe_isa.h"

#define DOT(s)                                                                                     \
    __asm__("" : "+x"(w));                                                                         \
    s = _mm256_dpbusd_avx_epi32(s, w, x)

#define PROBE_REG      __m256i
#define PROBE_SET1(b)  _mm256_set1_epi8(b)
#define PROBE_FIRST(s) _mm_cvtsi128_si32(_mm256_castsi256_si128(s))
#include "kern/tmpl_probe.h"

const struct probe_isa avxvnni_probe = {avx2_probe_read, probe_dot, 32 * 12, avx2_probe_fma,
                                        8 * 12};
