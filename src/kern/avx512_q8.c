/* Quantised matrix products for AVX-512 without VNNI: products of byte pairs are summed in 16 bits
 * where they fit, then widened. Activations are in [-127, 127]. Defines avx512_matmul_q8. */
#include "kern/q8_avx512.h"

#include "kern/repack.h"

#define Q8_ISA(name)  avx512_##name
#define Q8_MATMUL_F32 avx512_matmul_f32
#define Q8_TOKENS_MAX 8
#define Q8_TILES(X)   X(1, 4) X(2, 4) X(4, 2) X(8, 1)

struct qacc {
    __m512i s, pairs;
};

/* How many lines of products one 16-bit sum can take: 2 * largest quant * 127 * lines < 32768. The
 * comments below give the largest quant. */
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

/* The offset that the start of the sum takes out; Q8_0's weights are made signed instead. */
INL int qacc_offset(enum kern_fmt fmt)
{
    return fmt == KERN_Q8_0 ? 0 : repack_offset(fmt);
}

INL void qacc_start(enum kern_fmt fmt, struct qacc *a, const int32_t *init)
{
    a->s = _mm512_setzero_si512();
}

INL void qacc_dot(enum kern_fmt fmt, struct qacc *a, struct qv w, const int8_t *x, int j)
{
    const int period = qacc_period(fmt);
    __m512i u = w.v, v = q8_broadcast(x);
    if (fmt == KERN_Q8_0) {
        __m512i s = _mm512_xor_si512(w.v, _mm512_set1_epi8((char)0x80));
        u = _mm512_abs_epi8(s);
        v = _mm512_mask_sub_epi8(v, _mm512_movepi8_mask(s), _mm512_setzero_si512(), v);
    }
    __m512i p = _mm512_maddubs_epi16(u, v);
    a->pairs = j % period == 0 ? p : _mm512_add_epi16(a->pairs, p);
    if (j % period == period - 1) {
        p = _mm512_madd_epi16(a->pairs, _mm512_set1_epi16(1));
        a->s = _mm512_add_epi32(a->s, p);
    }
}

INL struct qf qacc_end(enum kern_fmt fmt, const struct qacc *a, const int32_t *init)
{
    __m512i s = qacc_offset(fmt) ? _mm512_add_epi32(a->s, _mm512_set1_epi32(*init)) : a->s;
    return (struct qf){_mm512_cvtepi32_ps(s)};
}

#include "kern/tmpl_q8.h"
