/* The loops of kern/probe.c that need an ISA's widest instructions. */
#ifndef KERN_PROBE_ISA_H
#define KERN_PROBE_ISA_H

#include <stddef.h>
#include <stdint.h>

struct probe_isa {
    /* Read n bytes (a multiple of 4096), in four streams, and make something of each line. */
    uint64_t (*read)(const uint8_t *p, size_t n);
    int32_t (*dot)(int64_t iters);
    int dot_macs; /* multiply-adds of an iteration */
    float (*fma)(int64_t iters);
    int fma_macs;
};

extern const struct probe_isa avx2_probe, avx512_probe, vnni_probe;

#endif
