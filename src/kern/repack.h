/* The repacked layout: how a weight matrix lies in memory while it is streamed.
 *
 * Owns the geometry; repack.c fills it, the kernels read it. Pure functions, any thread.
 *
 * A group is 16 output rows. Everything is cut into lines of 64 bytes: 16 rows x 4 bytes, so that a
 * 512-bit register holds four consecutive inputs of each row (what vpdpbusd wants; two lines of
 * registers of 256 bits, 8 rows each), and a lane never has to be summed with its neighbours.
 * The quants of the whole group come first, 64-byte aligned, then the scales of the whole group:
 *
 *     group   | block 0: L lines | block 1: L lines | ... | scales 0 | scales 1 | ... | pad to 64 |
 *
 * A block is 32 inputs. Its 8 unpacked lines hold, in line j at byte 4 r + c, the quant of row r
 * and input 4 j + c. They are stored as:
 *
 *     4 bits   L = 4   line l: unpacked line 2l in the low nibbles, 2l + 1 in the high ones
 *     5 bits   L = 5   the same, then one line whose byte p holds bit 4 of unpacked line j's byte p
 *                      as its bit j
 *     6 bits   L = 6   the same 4 lines, then two lines: bits 4-5 of unpacked line j at bits
 *                      2 (j % 4) of line j / 4
 *     8 bits   L = 8   the unpacked lines themselves
 *
 * Quants are stored unsigned; the value is quant - offset (Q4_0: 8, Q5_0: 16, Q6_K: 32, Q8_0: 128).
 * MXFP4's nibbles are its codes; their values, plus 12, come from repack_mxfp4[].
 *
 * Scales, 16 rows side by side, f16 as in the file:
 *
 *     Q4_0 Q5_0 Q8_0   per block  d[16]                                             32 bytes
 *     Q4_1 Q5_1        per block  d[16] m[16]                                       64
 *     Q4_K Q5_K        per 256    d[16] dmin[16], 8 x { u8 scale[16], u8 min[16] }  320
 *     Q6_K             per 256    d[16], 16 x s8 scale[16] (one per 16 inputs)      288
 *     MXFP4            per block  e8m0[16]                                          16
 *
 * Float formats have no sections: element (k, r) lies at [k][r]. */
#ifndef KERN_REPACK_H
#define KERN_REPACK_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "kern/kern.h"
#include "kern/kmath.h"

#define REPACK_LINE 64

/* Lines of a block of 32 inputs. */
static inline int repack_block_lines(enum kern_fmt fmt)
{
    switch (fmt) {
    case KERN_Q4_0:
    case KERN_Q4_1:
    case KERN_Q4_K:
    case KERN_MXFP4:
        return 4;
    case KERN_Q5_0:
    case KERN_Q5_1:
    case KERN_Q5_K:
        return 5;
    case KERN_Q6_K:
        return 6;
    case KERN_Q8_0:
        return 8;
    default:
        return 0;
    }
}

/* What is subtracted from a stored quant. */
static inline int repack_offset(enum kern_fmt fmt)
{
    switch (fmt) {
    case KERN_Q4_0:
        return 8;
    case KERN_Q5_0:
        return 16;
    case KERN_Q6_K:
        return 32;
    case KERN_Q8_0:
        return 128;
    case KERN_MXFP4:
        return 12;
    default:
        return 0;
    }
}

/* Inputs that share a unit of the scale section, and the unit's bytes. */
static inline int repack_scale_span(enum kern_fmt fmt)
{
    return fmt == KERN_Q4_K || fmt == KERN_Q5_K || fmt == KERN_Q6_K ? 256 : 32;
}

static inline int repack_scale_bytes(enum kern_fmt fmt)
{
    switch (fmt) {
    case KERN_Q4_0:
    case KERN_Q5_0:
    case KERN_Q8_0:
        return 32;
    case KERN_Q4_1:
    case KERN_Q5_1:
        return 64;
    case KERN_Q4_K:
    case KERN_Q5_K:
        return 320;
    case KERN_Q6_K:
        return 288;
    case KERN_MXFP4:
        return 16;
    default:
        return 0;
    }
}

/* Where a group's scale section starts. */
static inline size_t repack_scale_at(enum kern_fmt fmt, int32_t cols)
{
    return (size_t)(cols / KERN_BLOCK) * (size_t)repack_block_lines(fmt) * REPACK_LINE;
}

/* MXFP4 code -> twice its value + 12, so that the table is unsigned bytes. */
#define REPACK_MXFP4                                                                               \
    {                                                                                              \
        12, 13, 14, 15, 16, 18, 20, 24, 12, 11, 10, 9, 8, 6, 4, 0                                  \
    }
extern const uint8_t repack_mxfp4[16];

/* Half of 2^(e - 127), as the doubled codes need it; e = 0 and 1 are subnormal, exact. */
static inline float repack_e8m0_half(uint8_t e)
{
    return kmath_from_bits(e < 2 ? 0x00200000u << e : (uint32_t)(e - 1) << 23);
}

/* One block of a group, unpacked: the reference's view, and that of tests. */
struct repack_block {
    int16_t q[KERN_BLOCK][KERN_LANES]; /* offset taken out */
    float scale[2][KERN_LANES];        /* inputs 0..15 and 16..31; exact */
    float min[KERN_LANES]; /* added to scale * q: m, or -dmin * m; 0 where there is none */
    int has_min;
};

/* Block i (inputs 32 i .. 32 i + 31) of a quantised group. */
void repack_unpack(enum kern_fmt fmt, const uint8_t *group, int32_t cols, int32_t i,
                   struct repack_block *b);

#endif
