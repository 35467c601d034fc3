#include "policy/trace_keep.h"

uint64_t trace_keep_part(double ratio)
{
    return ratio >= 1 ? TRACE_KEEP_ALL : ratio > 0 ? (uint64_t)(ratio * (double)TRACE_KEEP_ALL) : 0;
}

int trace_keep(const unsigned char trace[16], uint64_t part)
{
    uint64_t random = 0;

    for (int i = 9; i < 16; i++)
        random = random << 8 | trace[i];
    return random < part;
}
