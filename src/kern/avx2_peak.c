/* Peaks of a machine with AVX2. A dot step is the cheapest one that the kernels have: byte
 * products summed in 16 bits. */
#include <immintrin.h>

#include "kern/peak_isa.h"

#define AHEAD 2048 /* bytes prefetched ahead in each stream */

uint64_t avx2_peak_read(const uint8_t *p, size_t n)
{
    __m256i a = _mm256_setzero_si256(), b = a, c = a, d = a;
    const size_t q = n / 4;
    for (size_t i = 0; i < q; i += 64) {
        __builtin_prefetch(p + i + AHEAD);
        __builtin_prefetch(p + q + i + AHEAD);
        __builtin_prefetch(p + 2 * q + i + AHEAD);
        __builtin_prefetch(p + 3 * q + i + AHEAD);
        a = _mm256_xor_si256(a, _mm256_loadu_si256((const __m256i *)(const void *)(p + i)));
        a = _mm256_xor_si256(a, _mm256_loadu_si256((const __m256i *)(const void *)(p + i + 32)));
        b = _mm256_xor_si256(b, _mm256_loadu_si256((const __m256i *)(const void *)(p + q + i)));
        b = _mm256_xor_si256(b,
                             _mm256_loadu_si256((const __m256i *)(const void *)(p + q + i + 32)));
        c = _mm256_xor_si256(c, _mm256_loadu_si256((const __m256i *)(const void *)(p + 2 * q + i)));
        c = _mm256_xor_si256(
            c, _mm256_loadu_si256((const __m256i *)(const void *)(p + 2 * q + i + 32)));
        d = _mm256_xor_si256(d, _mm256_loadu_si256((const __m256i *)(const void *)(p + 3 * q + i)));
        d = _mm256_xor_si256(
            d, _mm256_loadu_si256((const __m256i *)(const void *)(p + 3 * q + i + 32)));
    }
    a = _mm256_xor_si256(a, b);
    c = _mm256_xor_si256(c, d);
    a = _mm256_xor_si256(a, c);
    return (uint64_t)_mm_cvtsi128_si64(_mm256_castsi256_si128(a));
}

#define DOT(s)                                                                                     \
    __asm__("" : "+x"(w));                                                                         \
    s = _mm256_add_epi16(s, _mm256_maddubs_epi16(w, x))
#define FMA(s)                                                                                     \
    __asm__("" : "+x"(s));                                                                         \
    s = _mm256_fmadd_ps(s, x, y)
#define FMA_MACS (8 * 12)

#define PEAK_REG      __m256i
#define PEAK_SET1(b)  _mm256_set1_epi8(b)
#define PEAK_FIRST(s) _mm_cvtsi128_si32(_mm256_castsi256_si128(s))
#include "kern/tmpl_peak.h"

float avx2_peak_fma(int64_t iters)
{
    __m256 x = _mm256_set1_ps(0.999f), y = _mm256_set1_ps(1e-3f), s0 = y;
    __m256 s1 = s0, s2 = s0, s3 = s0, s4 = s0, s5 = s0, s6 = s0, s7 = s0, s8 = s0, s9 = s0,
           s10 = s0, s11 = s0;
    for (int64_t i = 0; i < iters; i++) {
        PEAK_TWELVE(FMA);
    }
    float sum = 0;
#define ADD(s) sum += _mm256_cvtss_f32(s)
    PEAK_TWELVE(ADD);
#undef ADD
    return sum;
}

const struct peak_isa avx2_peak = {avx2_peak_read, peak_dot, 32 * 12, avx2_peak_fma, FMA_MACS};
