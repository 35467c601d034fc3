/* Sixteen float lanes as two registers on AVX2, FMA and F16C. The same verbs as
 * kern/vec_avx512.h. Included only by files built with those flags. */
#ifndef KERN_VEC_AVX2_H
#define KERN_VEC_AVX2_H

#include <immintrin.h>
#include <stdint.h>

#include "kern/kmath.h"

#define INL       static inline __attribute__((always_inline))
#define ISA(name) avx2_##name

struct vf {
    __m256 a, b;
};

struct vm { /* a mask of lanes: all bits or none */
    __m256 a, b;
};

INL struct vf vf_of(__m256 a, __m256 b)
{
    return (struct vf){a, b};
}

INL struct vf vf_zero(void)
{
    return vf_of(_mm256_setzero_ps(), _mm256_setzero_ps());
}

INL struct vf vf_set1(float x)
{
    return vf_of(_mm256_set1_ps(x), _mm256_set1_ps(x));
}

INL struct vf vf_load(const float *p)
{
    return vf_of(_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8));
}

INL void vf_store(float *p, struct vf x)
{
    _mm256_storeu_ps(p, x.a);
    _mm256_storeu_ps(p + 8, x.b);
}

INL struct vm vm_range(int a, int b) /* lanes a .. b - 1 */
{
    const __m256i lo = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    const __m256i hi = _mm256_setr_epi32(8, 9, 10, 11, 12, 13, 14, 15);
    __m256i va = _mm256_set1_epi32(a - 1), vb = _mm256_set1_epi32(b);
    __m256i x = _mm256_and_si256(_mm256_cmpgt_epi32(lo, va), _mm256_cmpgt_epi32(vb, lo));
    __m256i y = _mm256_and_si256(_mm256_cmpgt_epi32(hi, va), _mm256_cmpgt_epi32(vb, hi));
    return (struct vm){_mm256_castsi256_ps(x), _mm256_castsi256_ps(y)};
}

INL struct vm vm_first(int n)
{
    return vm_range(0, n);
}

/* n lanes, the rest 0; nothing past them is touched. */
INL struct vf vf_load_part(const float *p, int n)
{
    struct vm m = vm_first(n);
    return vf_of(_mm256_maskload_ps(p, _mm256_castps_si256(m.a)),
                 _mm256_maskload_ps(p + 8, _mm256_castps_si256(m.b)));
}

INL void vf_store_part(float *p, struct vf x, int n)
{
    struct vm m = vm_first(n);
    _mm256_maskstore_ps(p, _mm256_castps_si256(m.a), x.a);
    _mm256_maskstore_ps(p + 8, _mm256_castps_si256(m.b), x.b);
}

INL struct vf vf_load_f16(const void *p)
{
    const __m128i *h = p;
    return vf_of(_mm256_cvtph_ps(_mm_loadu_si128(h)), _mm256_cvtph_ps(_mm_loadu_si128(h + 1)));
}

INL struct vf vf_load_bf16(const void *p)
{
    const __m128i *h = p;
    __m256i x = _mm256_cvtepu16_epi32(_mm_loadu_si128(h));
    __m256i y = _mm256_cvtepu16_epi32(_mm_loadu_si128(h + 1));
    return vf_of(_mm256_castsi256_ps(_mm256_slli_epi32(x, 16)),
                 _mm256_castsi256_ps(_mm256_slli_epi32(y, 16)));
}

INL void vf_store_f16(void *p, struct vf x)
{
    __m128i *h = p;
    _mm_storeu_si128(h, _mm256_cvtps_ph(x.a, _MM_FROUND_TO_NEAREST_INT));
    _mm_storeu_si128(h + 1, _mm256_cvtps_ph(x.b, _MM_FROUND_TO_NEAREST_INT));
}

INL struct vf vf_add(struct vf x, struct vf y)
{
    return vf_of(_mm256_add_ps(x.a, y.a), _mm256_add_ps(x.b, y.b));
}

INL struct vf vf_sub(struct vf x, struct vf y)
{
    return vf_of(_mm256_sub_ps(x.a, y.a), _mm256_sub_ps(x.b, y.b));
}

INL struct vf vf_mul(struct vf x, struct vf y)
{
    return vf_of(_mm256_mul_ps(x.a, y.a), _mm256_mul_ps(x.b, y.b));
}

INL struct vf vf_div(struct vf x, struct vf y)
{
    return vf_of(_mm256_div_ps(x.a, y.a), _mm256_div_ps(x.b, y.b));
}

INL struct vf vf_fma(struct vf x, struct vf y, struct vf z)
{
    return vf_of(_mm256_fmadd_ps(x.a, y.a, z.a), _mm256_fmadd_ps(x.b, y.b, z.b));
}

INL struct vf vf_max(struct vf x, struct vf y) /* x > y ? x : y */
{
    return vf_of(_mm256_max_ps(x.a, y.a), _mm256_max_ps(x.b, y.b));
}

INL struct vf vf_min(struct vf x, struct vf y) /* x < y ? x : y */
{
    return vf_of(_mm256_min_ps(x.a, y.a), _mm256_min_ps(x.b, y.b));
}

INL struct vf vf_abs(struct vf x)
{
    const __m256 s = _mm256_set1_ps(-0.0f);
    return vf_of(_mm256_andnot_ps(s, x.a), _mm256_andnot_ps(s, x.b));
}

INL struct vf vf_neg(struct vf x)
{
    const __m256 s = _mm256_set1_ps(-0.0f);
    return vf_of(_mm256_xor_ps(x.a, s), _mm256_xor_ps(x.b, s));
}

INL struct vf vf_copysign(struct vf x, struct vf y) /* x >= 0 */
{
    const __m256 s = _mm256_set1_ps(-0.0f);
    return vf_of(_mm256_or_ps(x.a, _mm256_and_ps(y.a, s)),
                 _mm256_or_ps(x.b, _mm256_and_ps(y.b, s)));
}

INL struct vm vf_lt(struct vf x, struct vf y)
{
    return (struct vm){_mm256_cmp_ps(x.a, y.a, _CMP_LT_OQ), _mm256_cmp_ps(x.b, y.b, _CMP_LT_OQ)};
}

INL struct vm vf_eq(struct vf x, struct vf y)
{
    return (struct vm){_mm256_cmp_ps(x.a, y.a, _CMP_EQ_OQ), _mm256_cmp_ps(x.b, y.b, _CMP_EQ_OQ)};
}

INL uint32_t vm_bits(struct vm m)
{
    return (uint32_t)_mm256_movemask_ps(m.a) | (uint32_t)_mm256_movemask_ps(m.b) << 8;
}

INL struct vf vf_select(struct vm m, struct vf yes, struct vf no)
{
    return vf_of(_mm256_blendv_ps(no.a, yes.a, m.a), _mm256_blendv_ps(no.b, yes.b, m.b));
}

/* l += l + 8, + 4, + 2, + 1: the order that kern.h fixes. */
INL float vf_fold(struct vf v)
{
    __m256 x = _mm256_add_ps(v.a, v.b);
    __m128 y = _mm_add_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
    y = _mm_add_ps(y, _mm_movehl_ps(y, y));
    return _mm_cvtss_f32(_mm_add_ss(y, _mm_movehdup_ps(y)));
}

INL float vf_fold_max(struct vf v)
{
    __m256 x = _mm256_max_ps(v.a, v.b);
    __m128 y = _mm_max_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
    y = _mm_max_ps(y, _mm_movehl_ps(y, y));
    return _mm_cvtss_f32(_mm_max_ss(y, _mm_movehdup_ps(y)));
}

INL struct vf vf_rint(struct vf x)
{
    enum { MODE = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC };
    return vf_of(_mm256_round_ps(x.a, MODE), _mm256_round_ps(x.b, MODE));
}

INL __m256 vf_ldexp8(__m256 p, __m256 n)
{
    __m256i i = _mm256_cvtps_epi32(n), h = _mm256_srai_epi32(i, 1);
    const __m256i bias = _mm256_set1_epi32(127);
    __m256i lo = _mm256_slli_epi32(_mm256_add_epi32(h, bias), 23);
    __m256i hi = _mm256_slli_epi32(_mm256_add_epi32(_mm256_sub_epi32(i, h), bias), 23);
    return _mm256_mul_ps(_mm256_mul_ps(p, _mm256_castsi256_ps(lo)), _mm256_castsi256_ps(hi));
}

/* p * 2^n with one rounding; n integral, |n| < 252, p near 1 (the first product is exact). */
INL struct vf vf_ldexp(struct vf p, struct vf n)
{
    return vf_of(vf_ldexp8(p.a, n.a), vf_ldexp8(p.b, n.b));
}

/* Bits of the largest |x| of 32 values. */
INL uint32_t vf_absmax32(const float *x)
{
    const __m256i m = _mm256_set1_epi32(0x7fffffff);
    __m256i a = _mm256_setzero_si256();
    for (int i = 0; i < 32; i += 8)
        a = _mm256_max_epi32(
            a, _mm256_and_si256(_mm256_loadu_si256((const __m256i *)(const void *)(x + i)), m));
    __m128i b = _mm_max_epi32(_mm256_castsi256_si128(a), _mm256_extracti128_si256(a, 1));
    b = _mm_max_epi32(b, _mm_shuffle_epi32(b, 0x4e));
    b = _mm_max_epi32(b, _mm_shuffle_epi32(b, 0xb1));
    return (uint32_t)_mm_cvtsi128_si32(b);
}

/* 16 values times inv, rounded to int8; returns their sum. */
INL int vf_quant16(const float *x, float inv, int8_t *q)
{
    __m256 s = _mm256_set1_ps(inv);
    __m256i a = _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_loadu_ps(x), s));
    __m256i b = _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_loadu_ps(x + 8), s));
    __m256i w = _mm256_permute4x64_epi64(_mm256_packs_epi32(a, b), 0xd8);
    __m128i v = _mm_packs_epi16(_mm256_castsi256_si128(w), _mm256_extracti128_si256(w, 1));
    _mm_storeu_si128((__m128i *)q, v);
    a = _mm256_add_epi32(a, b);
    __m128i t = _mm_add_epi32(_mm256_castsi256_si128(a), _mm256_extracti128_si256(a, 1));
    t = _mm_add_epi32(t, _mm_shuffle_epi32(t, 0x4e));
    t = _mm_add_epi32(t, _mm_shuffle_epi32(t, 0xb1));
    return _mm_cvtsi128_si32(t);
}

/* Any lane infinite or NaN? */
INL int vf_any_bad(struct vf x)
{
    const __m256i e = _mm256_set1_epi32(0x7f800000);
    __m256i a = _mm256_cmpeq_epi32(_mm256_and_si256(_mm256_castps_si256(x.a), e), e);
    __m256i b = _mm256_cmpeq_epi32(_mm256_and_si256(_mm256_castps_si256(x.b), e), e);
    return _mm256_movemask_epi8(_mm256_or_si256(a, b)) != 0;
}

/* ---- bytes of repacked lines ----------------------------------------------------------------- */

struct vi { /* a line: byte 4 r + c is row r's c-th */
    __m256i a, b;
};

INL struct vi vi_load(const uint8_t *p)
{
    const __m256i *v = (const __m256i *)(const void *)p;
    return (struct vi){_mm256_loadu_si256(v), _mm256_loadu_si256(v + 1)};
}

INL struct vi vi_and(struct vi x, int byte)
{
    __m256i m = _mm256_set1_epi8((char)byte);
    return (struct vi){_mm256_and_si256(x.a, m), _mm256_and_si256(x.b, m)};
}

INL struct vi vi_or(struct vi x, struct vi y)
{
    return (struct vi){_mm256_or_si256(x.a, y.a), _mm256_or_si256(x.b, y.b)};
}

/* Shift left (n > 0) or right; bits cross bytes, so mask after. */
INL struct vi vi_shift(struct vi x, int n)
{
    if (n >= 0)
        return (struct vi){_mm256_slli_epi16(x.a, n), _mm256_slli_epi16(x.b, n)};
    return (struct vi){_mm256_srli_epi16(x.a, -n), _mm256_srli_epi16(x.b, -n)};
}

/* Look up each byte (0..15) in a table of 16. */
INL struct vi vi_lookup(struct vi x, const uint8_t *table)
{
    __m256i t = _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)(const void *)table));
    return (struct vi){_mm256_shuffle_epi8(t, x.a), _mm256_shuffle_epi8(t, x.b)};
}

/* Byte c of each row, less off, as floats. */
INL struct vf vi_byte_f32(const struct vi *x, int c, int off)
{
    const __m256i m = _mm256_set1_epi32(255), o = _mm256_set1_epi32(off);
    __m256i a = _mm256_and_si256(_mm256_srli_epi32(x->a, 8 * c), m);
    __m256i b = _mm256_and_si256(_mm256_srli_epi32(x->b, 8 * c), m);
    return vf_of(_mm256_cvtepi32_ps(_mm256_sub_epi32(a, o)),
                 _mm256_cvtepi32_ps(_mm256_sub_epi32(b, o)));
}

INL struct vf vf_load_u8(const uint8_t *p)
{
    __m128i x = _mm_loadu_si128((const __m128i *)(const void *)p);
    return vf_of(_mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(x)),
                 _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_srli_si128(x, 8))));
}

INL struct vf vf_load_s8(const uint8_t *p)
{
    __m128i x = _mm_loadu_si128((const __m128i *)(const void *)p);
    return vf_of(_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(x)),
                 _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_srli_si128(x, 8))));
}

INL __m256 vf_e8m0_8(__m256i e)
{
    __m256i normal = _mm256_slli_epi32(_mm256_sub_epi32(e, _mm256_set1_epi32(1)), 23);
    __m256i tiny = _mm256_sllv_epi32(_mm256_set1_epi32(0x00200000), e);
    __m256i m = _mm256_cmpgt_epi32(_mm256_set1_epi32(2), e);
    return _mm256_castsi256_ps(_mm256_blendv_epi8(normal, tiny, m));
}

/* repack_e8m0_half() of 16 bytes. */
INL struct vf vf_load_e8m0(const uint8_t *p)
{
    __m128i x = _mm_loadu_si128((const __m128i *)(const void *)p);
    return vf_of(vf_e8m0_8(_mm256_cvtepu8_epi32(x)),
                 vf_e8m0_8(_mm256_cvtepu8_epi32(_mm_srli_si128(x, 8))));
}

#endif
