/* Registers of eight rows for kern/tmpl_q8.h, on AVX2: all but the dot product. */
#ifndef KERN_Q8_AVX2_H
#define KERN_Q8_AVX2_H

#include <immintrin.h>
#include <stdint.h>
#include <string.h>

#define INL      static inline __attribute__((always_inline))
#define Q8_LANES 8

struct qv {
    __m256i v;
};

struct qf {
    __m256 v;
};

INL struct qv qv_load(const uint8_t *p)
{
    return (struct qv){_mm256_loadu_si256((const __m256i *)(const void *)p)};
}

INL struct qv qv_and(struct qv a, int byte)
{
    return (struct qv){_mm256_and_si256(a.v, _mm256_set1_epi8((char)byte))};
}

/* a | (b & byte) */
INL struct qv qv_or_and(struct qv a, struct qv b, int byte)
{
    return (struct qv){_mm256_or_si256(a.v, qv_and(b, byte).v)};
}

INL struct qv qv_shift(struct qv a, int n)
{
    return (struct qv){n >= 0 ? _mm256_slli_epi16(a.v, n) : _mm256_srli_epi16(a.v, -n)};
}

INL struct qv qv_lookup(struct qv a, const uint8_t *table)
{
    __m128i t = _mm_loadu_si128((const __m128i *)(const void *)table);
    return (struct qv){_mm256_shuffle_epi8(_mm256_broadcastsi128_si256(t), a.v)};
}

INL __m256i q8_broadcast(const int8_t *p) /* four bytes to every row */
{
    int32_t x;
    memcpy(&x, p, 4);
    return _mm256_set1_epi32(x);
}

INL struct qf qf_zero(void)
{
    return (struct qf){_mm256_setzero_ps()};
}

INL struct qf qf_load_f16(const uint8_t *p)
{
    return (struct qf){_mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(const void *)p))};
}

INL struct qf qf_load_u8(const uint8_t *p)
{
    __m128i b = _mm_loadl_epi64((const __m128i *)(const void *)p);
    return (struct qf){_mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(b))};
}

INL struct qf qf_load_s8(const uint8_t *p)
{
    __m128i b = _mm_loadl_epi64((const __m128i *)(const void *)p);
    return (struct qf){_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(b))};
}

INL struct qf qf_load_e8m0(const uint8_t *p)
{
    __m256i e = _mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)(const void *)p));
    __m256i normal = _mm256_slli_epi32(_mm256_sub_epi32(e, _mm256_set1_epi32(1)), 23);
    __m256i tiny = _mm256_sllv_epi32(_mm256_set1_epi32(0x00200000), e);
    __m256i m = _mm256_cmpgt_epi32(_mm256_set1_epi32(2), e);
    return (struct qf){_mm256_castsi256_ps(_mm256_blendv_epi8(normal, tiny, m))};
}

INL __m256i qf_rows(int n)
{
    return _mm256_cmpgt_epi32(_mm256_set1_epi32(n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}

INL struct qf qf_load_part(const float *p, int n)
{
    return (struct qf){n >= 8 ? _mm256_loadu_ps(p) : _mm256_maskload_ps(p, qf_rows(n))};
}

INL void qf_store_part(float *p, struct qf a, int n)
{
    if (n >= 8)
        _mm256_storeu_ps(p, a.v);
    else
        _mm256_maskstore_ps(p, qf_rows(n), a.v);
}

INL void qf_store(float *p, struct qf a)
{
    _mm256_storeu_ps(p, a.v);
}

INL struct qf qf_mul(struct qf a, struct qf b)
{
    return (struct qf){_mm256_mul_ps(a.v, b.v)};
}

INL struct qf qf_mul_at(struct qf a, const float *x)
{
    return (struct qf){_mm256_mul_ps(a.v, _mm256_set1_ps(*x))};
}

INL struct qf qf_fma(struct qf a, struct qf b, struct qf c)
{
    return (struct qf){_mm256_fmadd_ps(a.v, b.v, c.v)};
}

INL struct qf qf_fma_at(struct qf a, const float *x, struct qf c)
{
    return (struct qf){_mm256_fmadd_ps(a.v, _mm256_set1_ps(*x), c.v)};
}

INL struct qf qf_fnma_at(struct qf a, const float *x, struct qf c) /* c - a * x */
{
    return (struct qf){_mm256_fnmadd_ps(a.v, _mm256_set1_ps(*x), c.v)};
}

#endif
