/* Sixteen float lanes on AVX-512 (F, BW, VL, DQ). The same verbs as kern/vec_avx2.h: kernels are
 * written once in terms of them. Included only by files built with those flags. */
#ifndef KERN_VEC_AVX512_H
#define KERN_VEC_AVX512_H

#include <immintrin.h>
#include <stdint.h>

#include "kern/kmath.h"

#define INL       static inline __attribute__((always_inline))
#define ISA(name) avx512_##name

struct vf {
    __m512 v;
};

struct vm { /* a mask of lanes */
    __mmask16 m;
};

INL struct vf vf_of(__m512 v)
{
    return (struct vf){v};
}

INL struct vf vf_zero(void)
{
    return vf_of(_mm512_setzero_ps());
}

INL struct vf vf_set1(float x)
{
    return vf_of(_mm512_set1_ps(x));
}

INL struct vf vf_load(const float *p)
{
    return vf_of(_mm512_loadu_ps(p));
}

INL void vf_store(float *p, struct vf a)
{
    _mm512_storeu_ps(p, a.v);
}

INL struct vm vm_first(int n) /* lanes 0 .. n - 1 */
{
    return (struct vm){(__mmask16)(n >= 16 ? 0xffff : (1u << n) - 1)};
}

INL struct vm vm_range(int a, int b) /* lanes a .. b - 1, each clamped to 0..16 */
{
    a = a < 0 ? 0 : a > 16 ? 16 : a;
    b = b < a ? a : b > 16 ? 16 : b;
    return (struct vm){(__mmask16)((1u << b) - (1u << a))};
}

/* n lanes, the rest 0; nothing past them is touched. */
INL struct vf vf_load_part(const float *p, int n)
{
    return vf_of(_mm512_maskz_loadu_ps(vm_first(n).m, p));
}

INL void vf_store_part(float *p, struct vf a, int n)
{
    _mm512_mask_storeu_ps(p, vm_first(n).m, a.v);
}

INL struct vf vf_load_f16(const void *p)
{
    return vf_of(_mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)p)));
}

INL struct vf vf_load_bf16(const void *p)
{
    __m512i x = _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)p));
    return vf_of(_mm512_castsi512_ps(_mm512_slli_epi32(x, 16)));
}

INL void vf_store_f16(void *p, struct vf a)
{
    _mm256_storeu_si256((__m256i *)p, _mm512_cvtps_ph(a.v, _MM_FROUND_TO_NEAREST_INT));
}

INL struct vf vf_add(struct vf a, struct vf b)
{
    return vf_of(_mm512_add_ps(a.v, b.v));
}

INL struct vf vf_sub(struct vf a, struct vf b)
{
    return vf_of(_mm512_sub_ps(a.v, b.v));
}

INL struct vf vf_mul(struct vf a, struct vf b)
{
    return vf_of(_mm512_mul_ps(a.v, b.v));
}

INL struct vf vf_div(struct vf a, struct vf b)
{
    return vf_of(_mm512_div_ps(a.v, b.v));
}

INL struct vf vf_fma(struct vf a, struct vf b, struct vf c)
{
    return vf_of(_mm512_fmadd_ps(a.v, b.v, c.v));
}

INL struct vf vf_max(struct vf a, struct vf b) /* a > b ? a : b */
{
    return vf_of(_mm512_max_ps(a.v, b.v));
}

INL struct vf vf_min(struct vf a, struct vf b) /* a < b ? a : b */
{
    return vf_of(_mm512_min_ps(a.v, b.v));
}

INL struct vf vf_abs(struct vf a)
{
    return vf_of(_mm512_abs_ps(a.v));
}

INL struct vf vf_neg(struct vf a)
{
    return vf_of(_mm512_xor_ps(a.v, _mm512_set1_ps(-0.0f)));
}

INL struct vf vf_copysign(struct vf a, struct vf s) /* a >= 0 */
{
    return vf_of(_mm512_or_ps(a.v, _mm512_and_ps(s.v, _mm512_set1_ps(-0.0f))));
}

INL struct vm vf_lt(struct vf a, struct vf b)
{
    return (struct vm){_mm512_cmp_ps_mask(a.v, b.v, _CMP_LT_OQ)};
}

INL struct vm vf_eq(struct vf a, struct vf b)
{
    return (struct vm){_mm512_cmp_ps_mask(a.v, b.v, _CMP_EQ_OQ)};
}

INL uint32_t vm_bits(struct vm m)
{
    return m.m;
}

INL struct vf vf_select(struct vm m, struct vf yes, struct vf no)
{
    return vf_of(_mm512_mask_blend_ps(m.m, no.v, yes.v));
}

/* l += l + 8, + 4, + 2, + 1: the order that kern.h fixes. */
INL float vf_fold(struct vf a)
{
    __m256 x = _mm256_add_ps(_mm512_castps512_ps256(a.v), _mm512_extractf32x8_ps(a.v, 1));
    __m128 y = _mm_add_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
    y = _mm_add_ps(y, _mm_movehl_ps(y, y));
    return _mm_cvtss_f32(_mm_add_ss(y, _mm_movehdup_ps(y)));
}

INL float vf_fold_max(struct vf a)
{
    __m256 x = _mm256_max_ps(_mm512_castps512_ps256(a.v), _mm512_extractf32x8_ps(a.v, 1));
    __m128 y = _mm_max_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
    y = _mm_max_ps(y, _mm_movehl_ps(y, y));
    return _mm_cvtss_f32(_mm_max_ss(y, _mm_movehdup_ps(y)));
}

INL struct vf vf_rint(struct vf a)
{
    return vf_of(_mm512_roundscale_ps(a.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
}

/* p * 2^n with one rounding; n integral. */
INL struct vf vf_ldexp(struct vf p, struct vf n)
{
    return vf_of(_mm512_scalef_ps(p.v, n.v));
}

/* Bits of the largest |x| of 32 values. */
INL uint32_t vf_absmax32(const float *x)
{
    const __m512i m = _mm512_set1_epi32(0x7fffffff);
    __m512i a = _mm512_and_si512(_mm512_loadu_si512(x), m);
    __m512i b = _mm512_and_si512(_mm512_loadu_si512(x + 16), m);
    return (uint32_t)_mm512_reduce_max_epi32(_mm512_max_epi32(a, b));
}

/* 16 values times inv, rounded to int8; returns their sum. */
INL int vf_quant16(const float *x, float inv, int8_t *q)
{
    __m512i v = _mm512_cvtps_epi32(_mm512_mul_ps(_mm512_loadu_ps(x), _mm512_set1_ps(inv)));
    _mm_storeu_si128((__m128i *)q, _mm512_cvtepi32_epi8(v));
    return _mm512_reduce_add_epi32(v);
}

/* Any lane infinite or NaN? */
INL int vf_any_bad(struct vf a)
{
    const __m512i e = _mm512_set1_epi32(0x7f800000);
    return _mm512_cmpeq_epi32_mask(_mm512_and_si512(_mm512_castps_si512(a.v), e), e) != 0;
}

/* ---- bytes of repacked lines ----------------------------------------------------------------- */

struct vi { /* a line: byte 4 r + c is row r's c-th */
    __m512i v;
};

INL struct vi vi_load(const uint8_t *p)
{
    return (struct vi){_mm512_loadu_si512(p)};
}

INL struct vi vi_and(struct vi a, int byte)
{
    return (struct vi){_mm512_and_si512(a.v, _mm512_set1_epi8((char)byte))};
}

INL struct vi vi_or(struct vi a, struct vi b)
{
    return (struct vi){_mm512_or_si512(a.v, b.v)};
}

/* Shift left (n > 0) or right; bits cross bytes, so mask after. */
INL struct vi vi_shift(struct vi a, int n)
{
    return (struct vi){n >= 0 ? _mm512_slli_epi16(a.v, (unsigned)n)
                              : _mm512_srli_epi16(a.v, (unsigned)-n)};
}

/* Look up each byte (0..15) in a table of 16. */
INL struct vi vi_lookup(struct vi a, const uint8_t *table)
{
    __m512i t = _mm512_broadcast_i32x4(_mm_loadu_si128((const __m128i *)(const void *)table));
    return (struct vi){_mm512_shuffle_epi8(t, a.v)};
}

/* Byte c of each row, less off, as floats. */
INL struct vf vi_byte_f32(const struct vi *a, int c, int off)
{
    __m512i x = _mm512_srli_epi32(a->v, (unsigned)(8 * c));
    x = _mm512_and_si512(x, _mm512_set1_epi32(255));
    return vf_of(_mm512_cvtepi32_ps(_mm512_sub_epi32(x, _mm512_set1_epi32(off))));
}

INL struct vf vf_load_u8(const uint8_t *p)
{
    __m128i b = _mm_loadu_si128((const __m128i *)(const void *)p);
    return vf_of(_mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(b)));
}

INL struct vf vf_load_s8(const uint8_t *p)
{
    __m128i b = _mm_loadu_si128((const __m128i *)(const void *)p);
    return vf_of(_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(b)));
}

/* repack_e8m0_half() of 16 bytes. */
INL struct vf vf_load_e8m0(const uint8_t *p)
{
    __m512i e = _mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)(const void *)p));
    __m512i normal = _mm512_slli_epi32(_mm512_sub_epi32(e, _mm512_set1_epi32(1)), 23);
    __m512i tiny = _mm512_sllv_epi32(_mm512_set1_epi32(0x00200000), e);
    __mmask16 m = _mm512_cmplt_epi32_mask(e, _mm512_set1_epi32(2));
    return vf_of(_mm512_castsi512_ps(_mm512_mask_blend_epi32(m, normal, tiny)));
}

#endif
