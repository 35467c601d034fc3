/* Peaks of a machine with AVX-512 but no VNNI. A dot step is the cheapest one that the kernels
 * have: byte products summed in 16 bits. */
#include <immintrin.h>

#include "kern/peak_isa.h"

#define AHEAD 2048 /* bytes prefetched ahead in each stream */

uint64_t avx512_peak_read(const uint8_t *p, size_t n)
{
    __m512i a = _mm512_setzero_si512(), b = a, c = a, d = a;
    const size_t q = n / 4;
    for (size_t i = 0; i < q; i += 64) {
        __builtin_prefetch(p + i + AHEAD);
        __builtin_prefetch(p + q + i + AHEAD);
        __builtin_prefetch(p + 2 * q + i + AHEAD);
        __builtin_prefetch(p + 3 * q + i + AHEAD);
        a = _mm512_xor_si512(a, _mm512_loadu_si512(p + i));
        b = _mm512_xor_si512(b, _mm512_loadu_si512(p + q + i));
        c = _mm512_xor_si512(c, _mm512_loadu_si512(p + 2 * q + i));
        d = _mm512_xor_si512(d, _mm512_loadu_si512(p + 3 * q + i));
    }
    a = _mm512_xor_si512(a, b);
    c = _mm512_xor_si512(c, d);
    a = _mm512_xor_si512(a, c);
    return (uint64_t)_mm_cvtsi128_si64(_mm512_castsi512_si128(a));
}

#define DOT(s)                                                                                     \
    __asm__("" : "+v"(w));                                                                         \
    s = _mm512_add_epi16(s, _mm512_maddubs_epi16(w, x))
#define FMA(s)                                                                                     \
    __asm__("" : "+v"(s));                                                                         \
    s = _mm512_fmadd_ps(s, x, y)
#define FMA_MACS (16 * 12)

#define PEAK_REG      __m512i
#define PEAK_SET1(b)  _mm512_set1_epi8(b)
#define PEAK_FIRST(s) _mm512_cvtsi512_si32(s)
#include "kern/tmpl_peak.h"

float avx512_peak_fma(int64_t iters)
{
    __m512 x = _mm512_set1_ps(0.999f), y = _mm512_set1_ps(1e-3f), s0 = y;
    __m512 s1 = s0, s2 = s0, s3 = s0, s4 = s0, s5 = s0, s6 = s0, s7 = s0, s8 = s0, s9 = s0,
           s10 = s0, s11 = s0;
    for (int64_t i = 0; i < iters; i++) {
        PEAK_TWELVE(FMA);
    }
    float sum = 0;
#define ADD(s) sum += _mm512_cvtss_f32(s)
    PEAK_TWELVE(ADD);
#undef ADD
    return sum;
}

const struct peak_isa avx512_peak = {avx512_peak_read, peak_dot, 64 * 12, avx512_peak_fma,
                                     FMA_MACS};
