/* Peaks of a machine with AMX tiles. */
#include "kern/peak_isa.h"

/* Two by two tiles of sums, as a kernel has them. */
#define FOUR(OP)                                                                                   \
    __asm__ volatile(OP " %tmm6, %tmm4, %tmm0\n\t" OP " %tmm7, %tmm4, %tmm1\n\t" OP                \
                        " %tmm6, %tmm5, %tmm2\n\t" OP " %tmm7, %tmm5, %tmm3")

void amx_peak_int8(int64_t iters)
{
    for (int64_t i = 0; i < iters; i++)
        FOUR("tdpbusd");
}

void amx_peak_bf16(int64_t iters)
{
    for (int64_t i = 0; i < iters; i++)
        FOUR("tdpbf16ps");
}
