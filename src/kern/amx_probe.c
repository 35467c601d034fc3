/* Limits of a machine with AMX tiles.
 *
 * In assembly: the instructions name their tiles, and gcc 12's _tile_loadconfig tells the compiler
 * of 8 of the 64 bytes that it reads, so that the stores into them are dropped. */
#include <cpuid.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "kern/probe_isa.h"

#define REQ_XCOMP_PERM 0x1023 /* of arch_prctl */
#define XFEATURE_TILES 18

struct tile_config {
    uint8_t palette, start_row, reserved[14];
    uint16_t row_bytes[16];
    uint8_t rows[16];
};

static int cpu_has_tiles(void)
{
    unsigned a, b, c, d, lo, hi;
    if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & bit_OSXSAVE))
        return 0;
    __asm__("xgetbv" : "=a"(lo), "=d"(hi) : "c"(0));
    if ((lo >> 17 & 3) != 3) /* the system keeps tiles over a switch */
        return 0;
    /* bf16, tiles, int8 */
    return __get_cpuid_count(7, 0, &a, &b, &c, &d) && (d >> 22 & 1) && (d >> 24 & 3) == 3;
}

int amx_probe_available(void)
{
    return cpu_has_tiles() && !syscall(SYS_arch_prctl, REQ_XCOMP_PERM, XFEATURE_TILES);
}

void amx_probe_begin(void)
{
    struct tile_config c;
    memset(&c, 0, sizeof c);
    c.palette = 1;
    for (int i = 0; i < 8; i++) {
        c.row_bytes[i] = 64;
        c.rows[i] = 16;
    }
    __asm__ volatile("ldtilecfg %0\n\t"
                     "tilezero %%tmm0\n\ttilezero %%tmm1\n\ttilezero %%tmm2\n\ttilezero %%tmm3\n\t"
                     "tilezero %%tmm4\n\ttilezero %%tmm5\n\ttilezero %%tmm6\n\ttilezero %%tmm7"
                     :
                     : "m"(c));
}

/* Two by two tiles of sums, as a kernel has them. */
#define FOUR(OP)                                                                                   \
    __asm__ volatile(OP " %tmm6, %tmm4, %tmm0\n\t" OP " %tmm7, %tmm4, %tmm1\n\t" OP                \
                        " %tmm6, %tmm5, %tmm2\n\t" OP " %tmm7, %tmm5, %tmm3")

void amx_probe_int8(int64_t iters)
{
    for (int64_t i = 0; i < iters; i++)
        FOUR("tdpbusd");
}

void amx_probe_bf16(int64_t iters)
{
    for (int64_t i = 0; i < iters; i++)
        FOUR("tdpbf16ps");
}

void amx_probe_end(void)
{
    __asm__ volatile("tilerelease");
}
