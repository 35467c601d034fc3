/* Quantised matrix products for AVX-VNNI: vpdpbusd on registers of 256 bits, for CPUs without
 * AVX-512. Defines avxvnni_matmul_q8. The kernel checker also builds this file with AVX-512's
 * encoding of the same instruction (its build sets Q8_ISA and Q8_DPBUSD, and gets evex_matmul_q8),
 * so that the code is proven on CPUs that have AVX-512 but no AVX-VNNI. */
#include "kern/q8_avx2.h"

#include "kern/repack.h"

#ifndef Q8_ISA
#define Q8_ISA(name) avxvnni_##name
#define Q8_DPBUSD    _mm256_dpbusd_avx_epi32
#endif
#define Q8_MATMUL_F32 avx2_matmul_f32
#define Q8_TOKENS_MAX 4
#define Q8_TILES(X)   X(1, 4) X(2, 2) X(4, 2)

struct qacc {
    __m256i s;
};

INL int qacc_offset(enum kern_fmt fmt)
{
    return repack_offset(fmt);
}

INL void qacc_start(enum kern_fmt fmt, struct qacc *a, const int32_t *init)
{
    a->s = qacc_offset(fmt) ? _mm256_set1_epi32(*init) : _mm256_setzero_si256();
}

INL void qacc_dot(enum kern_fmt fmt, struct qacc *a, struct qv w, const int8_t *x, int j)
{
    a->s = Q8_DPBUSD(a->s, w.v, q8_broadcast(x));
}

INL struct qf qacc_end(enum kern_fmt fmt, const struct qacc *a, const int32_t *init)
{
    return (struct qf){_mm256_cvtepi32_ps(a->s)};
}

#include "kern/tmpl_q8.h"
