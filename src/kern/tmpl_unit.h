/* Reading the repacked layout: a unit's quants and scales in registers, for the kernels of every
 * ISA.
 *
 * A unit is what one register covers of a group of 16 rows: all of them, or half where registers
 * have 256 bits. The including file brings struct qv and struct qf (registers of bytes and of
 * floats) with their verbs, INL, and Q8_LANES, the rows of a unit. */
#ifndef KERN_TMPL_UNIT_H
#define KERN_TMPL_UNIT_H

#include "kern/repack.h"

/* Unpacked line j of a unit. Each nibble line is loaded twice, once a nibble: the second load is
 * a hit in L1, and no register is held across the tokens. */
INL struct qv unit_line(enum kern_fmt fmt, const uint8_t *blk, int j)
{
    const int lines = repack_block_lines(fmt);
    if (lines == 8)
        return qv_load(blk + j * REPACK_LINE);
    struct qv q = qv_load(blk + j / 2 * REPACK_LINE);
    q = qv_and(j % 2 ? qv_shift(q, -4) : q, 0x0f);
    if (lines == 5)
        q = qv_or_and(q, qv_shift(qv_load(blk + 4 * REPACK_LINE), 4 - j), 0x10);
    if (lines == 6)
        q = qv_or_and(q, qv_shift(qv_load(blk + (4 + j / 4) * REPACK_LINE), 4 - j % 4 * 2), 0x30);
    return fmt == KERN_MXFP4 ? qv_lookup(q, repack_mxfp4) : q;
}

struct unit_scales {
    struct qf scale[2], min;
};

/* Scales of block i (counted from the group's start) of one unit; s points at the group's
 * scale section, the unit is its h-th. */
INL struct unit_scales unit_scale(enum kern_fmt fmt, const uint8_t *s, int32_t i, int h)
{
    struct unit_scales r;
    const int at = h * Q8_LANES;
    r.min = qf_zero();
    if (fmt == KERN_Q4_K || fmt == KERN_Q5_K) {
        s += (size_t)(i / 8) * 320;
        const uint8_t *b = s + 64 + i % 8 * 32 + at;
        r.scale[0] = r.scale[1] = qf_mul(qf_load_f16(s + 2 * at), qf_load_u8(b));
        r.min = qf_mul(qf_load_f16(s + 32 + 2 * at), qf_load_u8(b + 16));
    } else if (fmt == KERN_Q6_K) {
        s += (size_t)(i / 8) * 288;
        const uint8_t *b = s + 32 + i % 8 * 32 + at;
        struct qf d = qf_load_f16(s + 2 * at);
        r.scale[0] = qf_mul(d, qf_load_s8(b));
        r.scale[1] = qf_mul(d, qf_load_s8(b + 16));
    } else if (fmt == KERN_Q4_1 || fmt == KERN_Q5_1) {
        s += (size_t)i * 64;
        r.scale[0] = r.scale[1] = qf_load_f16(s + 2 * at);
        r.min = qf_load_f16(s + 32 + 2 * at);
    } else if (fmt == KERN_MXFP4) {
        r.scale[0] = r.scale[1] = qf_load_e8m0(s + (size_t)i * 16 + at);
    } else {
        r.scale[0] = r.scale[1] = qf_load_f16(s + (size_t)i * 32 + 2 * at);
    }
    return r;
}

#endif
