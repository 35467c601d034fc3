/* Checks that this machine's AMX tiles compute what the scalar reference computes. Tiles work only
 * where CPU, hypervisor and system all handle them right; where one does not, the program goes on
 * without AMX: slower, but not wrong. */
#include <string.h>

#include "base/check.h"
#include "kern/amx.h"
#include "kern/kern.h"
#include "kern/kmath.h"
#include "kern/scalar.h"
#include "kern/simd.h"

#define ROWS   20
#define COLS   96
#define TOKENS 19
#define GROUP  896 /* bytes of a group of 96 columns in Q4_0 */
#define DIM    48

/* Numbers of both signs with eight bits each, far apart: another order of additions would round
 * otherwise. */
static float number(size_t i)
{
    float f = (float)(128 + i * 61 % 127) * kmath_from_bits((uint32_t)(115 + i * 7 % 12) << 23);
    return i % 3 ? f : -f;
}

static int product_is_right(void)
{
    _Alignas(64) uint8_t data[2 * GROUP];
    _Alignas(64) uint16_t x[32 * COLS];
    float want[TOKENS * ROWS], got[TOKENS * ROWS];
    struct kern_mat m = {KERN_Q4_0, ROWS, COLS, data};
    CHECK(kern_mat_bytes(m.fmt, ROWS, COLS) == sizeof data);
    for (size_t i = 0; i < sizeof data; i++)
        data[i] = (uint8_t)(i * 37 % 251 & 0x3f); /* scales below 2 */
    for (size_t i = 0; i < ARRAY_LEN(x); i++)
        x[i] = kmath_f32_to_bf16(number(i));
    scalar_matmul_bf16(&m, 0, 2, x, COLS, TOKENS, want, ROWS);
    amx_matmul_bf16(&m, 0, 2, x, COLS, TOKENS, got, ROWS);
    return !memcmp(got, want, sizeof got);
}

static int attention_is_right(void)
{
    _Alignas(64) float page[2 * KERN_PAGE * DIM];
    static const int32_t pages[1] = {0};
    float q[2 * DIM], want[2 * DIM], got[2 * DIM];
    struct kern_attn a = {.kv = KERN_KV_F32,
                          .head_dim = DIM,
                          .n_group = 2,
                          .pos = 24,
                          .n_tok = 1,
                          .scale = 0.01f,
                          .base = (const uint8_t *)page,
                          .page_stride = sizeof page,
                          .page = pages,
                          .q = q,
                          .q_stride = 2 * DIM,
                          .out = want,
                          .out_stride = 2 * DIM};
    for (size_t i = 0; i < ARRAY_LEN(page); i++)
        page[i] = number(i);
    for (size_t i = 0; i < ARRAY_LEN(q); i++)
        q[i] = number(5 * i + 1);
    scalar_attn_bf16(&a);
    a.out = got;
    amx_attn_bf16(&a);
    return !memcmp(got, want, sizeof got);
}

int amx_is_right(void)
{
    return product_is_right() && attention_is_right();
}
