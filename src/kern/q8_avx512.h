/* Registers of sixteen rows for kern/tmpl_q8.h, on AVX-512: all but the dot product. */
#ifndef KERN_Q8_AVX512_H
#define KERN_Q8_AVX512_H

#include <immintrin.h>
#include <stdint.h>
#include <string.h>

#include "kern/kmath.h"

#define INL      static inline __attribute__((always_inline))
#define Q8_LANES 16

struct qv {
    __m512i v;
};

struct qf {
    __m512 v;
};

INL struct qv qv_load(const uint8_t *p)
{
    return (struct qv){_mm512_loadu_si512(p)};
}

INL struct qv qv_and(struct qv a, int byte)
{
    return (struct qv){_mm512_and_si512(a.v, _mm512_set1_epi8((char)byte))};
}

/* a | (b & byte) */
INL struct qv qv_or_and(struct qv a, struct qv b, int byte)
{
    return (struct qv){_mm512_ternarylogic_epi32(a.v, b.v, _mm512_set1_epi8((char)byte), 0xf8)};
}

INL struct qv qv_shift(struct qv a, int n)
{
    return (struct qv){n >= 0 ? _mm512_slli_epi16(a.v, (unsigned)n)
                              : _mm512_srli_epi16(a.v, (unsigned)-n)};
}

INL struct qv qv_lookup(struct qv a, const uint8_t *table)
{
    __m512i t = _mm512_broadcast_i32x4(_mm_loadu_si128((const __m128i *)(const void *)table));
    return (struct qv){_mm512_shuffle_epi8(t, a.v)};
}

INL __m512i q8_broadcast(const int8_t *p) /* four bytes to every row */
{
    int32_t x;
    memcpy(&x, p, 4);
    return _mm512_set1_epi32(x);
}

INL struct qf qf_zero(void)
{
    return (struct qf){_mm512_setzero_ps()};
}

INL struct qf qf_load_f16(const uint8_t *p)
{
    return (struct qf){_mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)(const void *)p))};
}

INL struct qf qf_load_u8(const uint8_t *p)
{
    __m128i b = _mm_loadu_si128((const __m128i *)(const void *)p);
    return (struct qf){_mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(b))};
}

INL struct qf qf_load_s8(const uint8_t *p)
{
    __m128i b = _mm_loadu_si128((const __m128i *)(const void *)p);
    return (struct qf){_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(b))};
}

INL struct qf qf_load_e8m0(const uint8_t *p)
{
    __m512i e = _mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)(const void *)p));
    __m512i normal = _mm512_slli_epi32(_mm512_sub_epi32(e, _mm512_set1_epi32(1)), 23);
    __m512i tiny = _mm512_sllv_epi32(_mm512_set1_epi32(0x00200000), e);
    __mmask16 m = _mm512_cmplt_epi32_mask(e, _mm512_set1_epi32(2));
    return (struct qf){_mm512_castsi512_ps(_mm512_mask_blend_epi32(m, normal, tiny))};
}

INL __mmask16 qf_rows(int n)
{
    return (__mmask16)(n >= 16 ? 0xffff : (1u << n) - 1);
}

INL struct qf qf_load_part(const float *p, int n) /* n >= 1 */
{
    return (struct qf){_mm512_maskz_loadu_ps(qf_rows(n), p)};
}

INL void qf_store_part(float *p, struct qf a, int n)
{
    _mm512_mask_storeu_ps(p, qf_rows(n), a.v);
}

INL void qf_store(float *p, struct qf a)
{
    _mm512_storeu_ps(p, a.v);
}

INL struct qf qf_mul(struct qf a, struct qf b)
{
    return (struct qf){_mm512_mul_ps(a.v, b.v)};
}

INL struct qf qf_mul_at(struct qf a, const float *x)
{
    return (struct qf){_mm512_mul_ps(a.v, _mm512_set1_ps(*x))};
}

INL struct qf qf_fma(struct qf a, struct qf b, struct qf c)
{
    return (struct qf){_mm512_fmadd_ps(a.v, b.v, c.v)};
}

INL struct qf qf_fma_at(struct qf a, const float *x, struct qf c)
{
    return (struct qf){_mm512_fmadd_ps(a.v, _mm512_set1_ps(*x), c.v)};
}

INL struct qf qf_fnma_at(struct qf a, const float *x, struct qf c) /* c - a * x */
{
    return (struct qf){_mm512_fnmadd_ps(a.v, _mm512_set1_ps(*x), c.v)};
}

#endif
