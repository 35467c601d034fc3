/* The int8 limit of a machine with AVX-512 VNNI; its others are those of AVX-512. */
#include <immintrin.h>

#include "kern/probe_isa.h"

#define DOT(s)                                                                                     \
    __asm__("" : "+v"(w));                                                                         \
    s = _mm512_dpbusd_epi32(s, w, x)

#define PROBE_REG      __m512i
#define PROBE_SET1(b)  _mm512_set1_epi8(b)
#define PROBE_FIRST(s) _mm512_cvtsi512_si32(s)
#include "kern/tmpl_probe.h"

const struct probe_isa vnni_probe = {avx512_probe_read, probe_dot, 64 * 12, avx512_probe_fma,
                                     16 * 12};
