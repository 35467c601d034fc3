/* Looking through text eight bytes at a time, where nearly all of it is plain. A word of eight has
 * no order of its own here: it is only asked whether one of its bytes is such a one. Pure
 * functions. */
#ifndef BASE_EIGHT_H
#define BASE_EIGHT_H

#include <stdint.h>
#include <string.h>

#define EIGHT_OF(c) (UINT64_C(0x0101010101010101) * (c)) /* the byte c, eight times */

static inline uint64_t eight_at(const char *p)
{
    uint64_t v;
    memcpy(&v, p, sizeof v);
    return v;
}

/* Is one of them the byte c? */
static inline int eight_has(uint64_t v, unsigned char c)
{
    v ^= EIGHT_OF(c);
    return ((v - EIGHT_OF(1)) & ~v & EIGHT_OF(0x80)) != 0;
}

/* Is one of them a control byte below the blank? */
static inline int eight_has_control(uint64_t v)
{
    return ((v - EIGHT_OF(0x20)) & ~v & EIGHT_OF(0x80)) != 0;
}

/* Is one of them beyond ASCII? */
static inline int eight_has_high(uint64_t v)
{
    return (v & EIGHT_OF(0x80)) != 0;
}

#endif
