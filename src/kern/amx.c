/* AMX: permission, and the tiles' shapes. */
#include "kern/amx.h"

#include <cpuid.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

#define REQ_XCOMP_PERM 0x1023 /* of arch_prctl */
#define XFEATURE_TILES 18

struct amx_config {
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
    if ((lo >> 17 & 3) != 3) /* the system must save tiles when it switches threads */
        return 0;
    /* bf16, tiles, int8 */
    return __get_cpuid_count(7, 0, &a, &b, &c, &d) && (d >> 22 & 1) && (d >> 24 & 3) == 3;
}

int amx_available(void)
{
    return cpu_has_tiles() && !syscall(SYS_arch_prctl, REQ_XCOMP_PERM, XFEATURE_TILES);
}

void amx_begin(void)
{
    static const struct amx_config c = {
        .palette = 1,
        .row_bytes = {64, 64, 64, 64, 64, 64, 64, 64},
        .rows = {16, 16, 16, 16, 16, 16, 16, 16},
    };
    __asm__ volatile("ldtilecfg %0" : : "m"(c));
}

void amx_end(void)
{
    __asm__ volatile("tilerelease");
}
