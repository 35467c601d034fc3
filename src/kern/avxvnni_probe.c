/* The int8 limit of a machine with AVX-VNNI; its others are those of AVX2. */
#include <immintrin.h>

#include "kern/probe_isa.h"

#define DOT(s)                                                                                     \
    __asm__("" : "+x"(w));                                                                         \
    s = _mm256_dpbusd_avx_epi32(s, w, x)

static int32_t probe_dot(int64_t iters)
{
    __m256i w = _mm256_set1_epi8(3), x = _mm256_set1_epi8(-5), s0 = _mm256_setzero_si256();
    __m256i s1 = s0, s2 = s0, s3 = s0, s4 = s0, s5 = s0, s6 = s0, s7 = s0, s8 = s0, s9 = s0,
            s10 = s0, s11 = s0;
    for (int64_t i = 0; i < iters; i++) {
        PROBE_TWELVE(DOT);
    }
    int32_t sum = 0;
#define ADD(s) sum += _mm_cvtsi128_si32(_mm256_castsi256_si128(s))
    PROBE_TWELVE(ADD);
#undef ADD
    return sum;
}

const struct probe_isa avxvnni_probe = {avx2_probe_read, probe_dot, 32 * 12, avx2_probe_fma,
                                        8 * 12};
