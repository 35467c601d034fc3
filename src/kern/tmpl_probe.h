/* The int8 probe, written once: twelve sums side by side hide the instruction's latency. The
 * including file defines DOT(s), which adds w * x to s, with an empty asm on w to keep the rounds
 * apart; PROBE_REG, PROBE_SET1(byte) and PROBE_FIRST(reg), a register's first 32 bits. */
#include "kern/probe_isa.h"

static int32_t probe_dot(int64_t iters)
{
    PROBE_REG w = PROBE_SET1(3), x = PROBE_SET1(-5), s0 = PROBE_SET1(0), s1 = s0, s2 = s0, s3 = s0,
              s4 = s0, s5 = s0, s6 = s0, s7 = s0, s8 = s0, s9 = s0, s10 = s0, s11 = s0;
    for (int64_t i = 0; i < iters; i++) {
        PROBE_TWELVE(DOT);
    }
    int32_t sum = 0;
#define ADD(s) sum += PROBE_FIRST(s)
    PROBE_TWELVE(ADD);
#undef ADD
    return sum;
}
