/* Quantised matrix products for AVX-512 VNNI: vpdpbusd takes unsigned weights as they are stored
 * and signed activations; the sum starts at -offset * (sum of the activations), which takes the
 * weights' offset out. Defines vnni_matmul_q8. */
#include "kern/q8_avx512.h"

#include "kern/repack.h"

#define Q8_ISA(name)  vnni_##name
#define Q8_MATMUL_F32 avx512_matmul_f32
#define Q8_TOKENS_MAX 12
#define Q8_TILES(X)   X(1, 4) X(2, 4) X(4, 2) X(6, 2) X(8, 1) X(12, 1)

struct qacc {
    __m512i s;
};

INL int qacc_offset(enum kern_fmt fmt)
{
    return repack_offset(fmt);
}

INL void qacc_start(enum kern_fmt fmt, struct qacc *a, const int32_t *init)
{
    a->s = qacc_offset(fmt) ? _mm512_set1_epi32(*init) : _mm512_setzero_si512();
}

INL void qacc_dot(enum kern_fmt fmt, struct qacc *a, struct qv w, const int8_t *x, int j)
{
    a->s = _mm512_dpbusd_epi32(a->s, w.v, q8_broadcast(x));
}

INL struct qf qacc_end(enum kern_fmt fmt, const struct qacc *a, const int32_t *init)
{
    return (struct qf){_mm512_cvtepi32_ps(a->s)};
}

#include "kern/tmpl_q8.h"
