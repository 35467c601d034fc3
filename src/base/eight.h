/* Looking through text eight bytes at a time, where nearly all of it is plain. A question gives a
 * mask, and masks may be joined by |: 0 where none of the eight is such a byte, else eight_first
 * tells which is the first. (Marks behind the first may be wrong, where a borrow went on.) Pure
 * functions. */
#ifndef BASE_EIGHT_H
#define BASE_EIGHT_H

#include <endian.h>
#include <stdint.h>
#include <string.h>

#define EIGHT_OF(c) (UINT64_C(0x0101010101010101) * (c)) /* the byte c, eight times */

static inline uint64_t eight_at(const char *p)
{
    uint64_t v;
    memcpy(&v, p, sizeof v);
    return le64toh(v);
}

/* Those below c, which is at most 0x80. */
static inline uint64_t eight_below(uint64_t v, unsigned char c)
{
    return (v - EIGHT_OF(c)) & ~v & EIGHT_OF(0x80);
}

/* Those that are c. */
static inline uint64_t eight_is(uint64_t v, unsigned char c)
{
    return eight_below(v ^ EIGHT_OF(c), 1);
}

/* Those beyond ASCII. */
static inline uint64_t eight_high(uint64_t v)
{
    return v & EIGHT_OF(0x80);
}

static inline int eight_first(uint64_t mask)
{
    return __builtin_ctzll(mask) / 8;
}

#endif
