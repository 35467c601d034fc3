/* The loop that measures the int8 peak, written once: twelve sums side by side hide the
 * instruction's latency. The including file defines DOT(s), which adds w * x to s, with an empty
 * asm on w to keep the rounds apart; PEAK_REG, PEAK_SET1(byte) and PEAK_FIRST(reg), a register's
 * first 32 bits. */
#include "kern/peak_isa.h"

static int32_t peak_dot(int64_t iters)
{
    PEAK_REG w = PEAK_SET1(3), x = PEAK_SET1(-5), s0 = PEAK_SET1(0), s1 = s0, s2 = s0, s3 = s0,
             s4 = s0, s5 = s0, s6 = s0, s7 = s0, s8 = s0, s9 = s0, s10 = s0, s11 = s0;
    for (int64_t i = 0; i < iters; i++) {
        PEAK_TWELVE(DOT);
    }
    int32_t sum = 0;
#define ADD(s) sum += PEAK_FIRST(s)
    PEAK_TWELVE(ADD);
#undef ADD
    return sum;
}
