/* Quantised matrix products for AVX2: a register holds half of a group's rows. Products of byte
 * pairs are summed in 16 bits where they fit, then widened. Activations are in [-127, 127]. Defines
 * avx2_matmul_q8. */
#include "kern/q8_avx2.h"

#include "kern/repack.h"

#define Q8_ISA(name)  avx2_##name
#define Q8_MATMUL_F32 avx2_matmul_f32
#define Q8_TOKENS_MAX 4
#define Q8_TILES(X)   X(1, 4) X(2, 2) X(4, 2)

struct qacc {
    __m256i s, pairs;
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
    a->s = _mm256_setzero_si256();
}

INL void qacc_dot(enum kern_fmt fmt, struct qacc *a, struct qv w, const int8_t *x, int j)
{
    const int period = qacc_period(fmt);
    __m256i u = w.v, v = q8_broadcast(x);
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
    __m256i s = qacc_offset(fmt) ? _mm256_add_epi32(a->s, _mm256_set1_epi32(*init)) : a->s;
    return (struct qf){_mm256_cvtepi32_ps(s)};
}

#include "kern/tmpl_q8.h"
