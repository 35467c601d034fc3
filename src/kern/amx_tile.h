/* The inner loop of AMX products and attention: two by two tiles of sums, fed by tiles of bf16. To
 * be called between amx_begin and amx_end. */
#ifndef KERN_AMX_TILE_H
#define KERN_AMX_TILE_H

#include <stddef.h>
#include <stdint.h>

#define AMX_STEP       32 /* inputs of a tile: 16 rows of 32 in A, 16 pairs by 16 columns in B */
#define AMX_LINE       64 /* bytes of a row */
#define AMX_TILE_BYTES 1024

#define AMX_ZERO(tmm) __asm__ volatile("tilezero %%" tmm : : : "memory")
#define AMX_LOAD(tmm, p, bytes)                                                                    \
    __asm__ volatile("tileloadd (%0,%1,1), %%" tmm : : "r"(p), "r"(bytes) : "memory")
#define AMX_LOAD_L2(tmm, p, bytes)                                                                 \
    __asm__ volatile("tileloaddt1 (%0,%1,1), %%" tmm : : "r"(p), "r"(bytes) : "memory")
#define AMX_STORE(tmm, p, bytes)                                                                   \
    __asm__ volatile("tilestored %%" tmm ", (%0,%1,1)" : : "r"(p), "r"(bytes) : "memory")
#define AMX_DOT(c, a, b) __asm__ volatile("tdpbf16ps %%" b ", %%" a ", %%" c : : : "memory")

/* Where a tile of sums lies: 16 lines, `bytes` apart. */
struct amx_sums {
    float *p;
    size_t bytes;
};

/* The sums C (tiles 0-3: two tiles of tokens by two groups) are loaded from from[] or start at
 * zero, take n steps of A rows x and B tiles b, and are stored to to[]. `one` is set where there
 * are 16 tokens only: the second tile of tokens is left out. */
static inline void amx_run_steps(int32_t n, const uint16_t *x, size_t x_bytes, const uint8_t *b,
                                 int one, const struct amx_sums *from, const struct amx_sums *to)
{
    const uint16_t *x1 = x + 16 * (x_bytes / sizeof *x);
    if (from) {
        AMX_LOAD("tmm0", from[0].p, from[0].bytes);
        AMX_LOAD("tmm1", from[1].p, from[1].bytes);
    } else {
        AMX_ZERO("tmm0");
        AMX_ZERO("tmm1");
    }
    if (one) {
        for (int32_t i = 0; i < n; i++, x += AMX_STEP, b += 2 * AMX_TILE_BYTES) {
            AMX_LOAD_L2("tmm4", x, x_bytes);
            AMX_LOAD("tmm6", b, (size_t)AMX_LINE);
            AMX_DOT("tmm0", "tmm4", "tmm6");
            AMX_LOAD("tmm7", b + AMX_TILE_BYTES, (size_t)AMX_LINE);
            AMX_DOT("tmm1", "tmm4", "tmm7");
        }
    } else {
        if (from) {
            AMX_LOAD("tmm2", from[2].p, from[2].bytes);
            AMX_LOAD("tmm3", from[3].p, from[3].bytes);
        } else {
            AMX_ZERO("tmm2");
            AMX_ZERO("tmm3");
        }
        for (int32_t i = 0; i < n; i++, x += AMX_STEP, x1 += AMX_STEP, b += 2 * AMX_TILE_BYTES) {
            AMX_LOAD_L2("tmm4", x, x_bytes);
            AMX_LOAD("tmm6", b, (size_t)AMX_LINE);
            AMX_DOT("tmm0", "tmm4", "tmm6");
            AMX_LOAD("tmm7", b + AMX_TILE_BYTES, (size_t)AMX_LINE);
            AMX_DOT("tmm1", "tmm4", "tmm7");
            AMX_LOAD_L2("tmm5", x1, x_bytes);
            AMX_DOT("tmm2", "tmm5", "tmm6");
            AMX_DOT("tmm3", "tmm5", "tmm7");
        }
        AMX_STORE("tmm2", to[2].p, to[2].bytes);
        AMX_STORE("tmm3", to[3].p, to[3].bytes);
    }
    AMX_STORE("tmm0", to[0].p, to[0].bytes);
    AMX_STORE("tmm1", to[1].p, to[1].bytes);
}

#endif
