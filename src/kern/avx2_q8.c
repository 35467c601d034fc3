/* Quantised matrix products for AVX2: a register holds half of a group's rows. Products of byte
 * pairs are summed in 16 bits where they fit, then widened. Activations are in [-127, 127]. */
#include <immintrin.h>

#include "kern/etch.h"

#define INL           static inline __attribute__((always_inline))
#define Q8_LANES      8
#define Q8_ISA(name)  avx2_##name
#define Q8_MATMUL_F32 avx2_matmul_f32
#define Q8_TOKENS_MAX 4
#define Q8_TILES(X)   X(1, 4) X(2, 2) X(4, 2)

struct qv {
    __m256i v;
};

struct qf {
    __m256 v;
};

struct qacc {
    __m256i s, pairs;
};

/* Lines whose products fit one 16-bit sum: 2 * max quant * 127 * lines < 32768. */
INL int qacc_period(enum kern_fmt fmt)
{
    switch (fmt) {
    case KERN_Q4_0:
    case KERN_Q4_1:
    case KERN_Q4_K:
        return 8; /* 15 */
    case KERN_Q6_K:
        return 2; /* 63 */
    case KERN_Q8_0:
        return 1; /* 128, made positive: its sign moves to the activation */
    default:
        return 4; /* 31, MXFP4 24 */
    }
}

/* What the sum's start takes out; Q8_0 is made signed instead. */
INL int qacc_offset(enum kern_fmt fmt)
{
    return fmt == KERN_Q8_0 ? 0 : etch_offset(fmt);
}

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

INL void qacc_start(enum kern_fmt fmt, struct qacc *a, const int32_t *init)
{
    a->s = _mm256_setzero_si256();
}

INL void qacc_dot(enum kern_fmt fmt, struct qacc *a, struct qv w, const int8_t *x, int j)
{
    const int period = qacc_period(fmt);
    int32_t four;
    memcpy(&four, x, 4);
    __m256i u = w.v, v = _mm256_set1_epi32(four);
    if (fmt == KERN_Q8_0) {
        __m256i s = _mm256_xor_si256(w.v, _mm256_set1_epi8((char)0x80));
        u = _mm256_abs_epi8(s);
        v = _mm256_sign_epi8(v, s);
    }
    __m256i p = _mm256_maddubs_epi16(u, v);
    a->pairs = j % period == 0 ? p : _mm256_add_epi16(a->pairs, p);
    if (j % period == period - 1) {
        p = _mm256_madd_epi16(a->pairs, _mm256_set1_epi16(1));
        a->s = _mm256_add_epi32(a->s, p);
    }
}

INL struct qf qacc_end(enum kern_fmt fmt, const struct qacc *a, const int32_t *init)
{
    return (struct qf){_mm256_cvtepi32_ps(_mm256_add_epi32(a->s, _mm256_set1_epi32(*init)))};
}

#include "kern/tmpl_q8.h"
