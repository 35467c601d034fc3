/* The int8 limit of a machine with AVX-512 VNNI; its others are those of AVX-512. */
#include <immintrin.h>

#include "kern/probe_isa.h"

/* Twelve sums side by side hide the latency. The empty asm keeps the rounds apart. */
#define DOT(s)                                                                                     \
    __asm__("" : "+v"(w));                                                                         \
    s = _mm512_dpbusd_epi32(s, w, x)

static int32_t probe_dot(int64_t iters)
{
    __m512i w = _mm512_set1_epi8(3), x = _mm512_set1_epi8(-5), s0 = _mm512_setzero_si512();
    __m512i s1 = s0, s2 = s0, s3 = s0, s4 = s0, s5 = s0, s6 = s0, s7 = s0, s8 = s0, s9 = s0,
            s10 = s0, s11 = s0;
    for (int64_t i = 0; i < iters; i++) {
        PROBE_TWELVE(DOT);
    }
    int32_t sum = 0;
#define ADD(s) sum += _mm512_cvtsi512_si32(s)
    PROBE_TWELVE(ADD);
#undef ADD
    return sum;
}

const struct probe_isa vnni_probe = {avx512_probe_read, probe_dot, 64 * 12, avx512_probe_fma,
                                     16 * 12};
