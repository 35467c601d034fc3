/* The measuring loops of kern/peak.c that need an ISA's widest instructions. */
#ifndef KERN_PEAK_ISA_H
#define KERN_PEAK_ISA_H

#include <stddef.h>
#include <stdint.h>

struct peak_isa {
    /* Read n bytes (a multiple of 4096) in four streams; the result depends on every line, so that
     * no read is optimised away. */
    uint64_t (*read)(const uint8_t *p, size_t n);
    int32_t (*dot)(int64_t iters);
    int dot_macs; /* multiply-adds of an iteration */
    float (*fma)(int64_t iters);
    int fma_macs;
};

extern const struct peak_isa avx2_peak, avxvnni_peak, avx512_peak, vnni_peak;
uint64_t avx2_peak_read(const uint8_t *p, size_t n);
float avx2_peak_fma(int64_t iters);
uint64_t avx512_peak_read(const uint8_t *p, size_t n);
float avx512_peak_fma(int64_t iters);

/* X(s0); .. X(s11): so many sums side by side hide an instruction's latency. */
#define PEAK_TWELVE(X)                                                                             \
    X(s0);                                                                                         \
    X(s1);                                                                                         \
    X(s2);                                                                                         \
    X(s3);                                                                                         \
    X(s4);                                                                                         \
    X(s5);                                                                                         \
    X(s6);                                                                                         \
    X(s7);                                                                                         \
    X(s8);                                                                                         \
    X(s9);                                                                                         \
    X(s10);                                                                                        \
    X(s11)

/* Tiles, between amx_begin and amx_end. An iteration is AMX_INT8_MACS or AMX_BF16_MACS
 * multiply-adds. */
#define AMX_INT8_MACS (4 * 16 * 16 * 64)
#define AMX_BF16_MACS (4 * 16 * 16 * 32)
void amx_peak_int8(int64_t iters);
void amx_peak_bf16(int64_t iters);

#endif
