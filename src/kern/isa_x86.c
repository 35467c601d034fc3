/* The instruction sets of x86-64. */
#include <cpuid.h>
#include <stdatomic.h>

#include "kern/amx.h"
#include "kern/isa.h"
#include "kern/simd.h"

enum {
    HAS_AVX2 = 1 << 0, /* with FMA and F16C */
    HAS_AVX_VNNI = 1 << 1,
    HAS_AVX512 = 1 << 2, /* F, BW, VL and DQ */
    HAS_AVX512_VNNI = 1 << 3,
    HAS_AVX512_VBMI = 1 << 4,
    HAS_AVX512_BF16 = 1 << 5,
};

static unsigned ask_cpu(void)
{
    unsigned a, b, c, d, has = 0;
    /* the compiler's run time also asks the system whether it saves the wide registers; clang 14
     * does not know the names of F16C, AVX-VNNI and AVX512-BF16 */
    int f16c = __get_cpuid(1, &a, &b, &c, &d) && (c & bit_F16C);
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && f16c)
        has |= HAS_AVX2;
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq"))
        has |= HAS_AVX512;
    if (__builtin_cpu_supports("avx512vnni"))
        has |= HAS_AVX512_VNNI;
    if (__builtin_cpu_supports("avx512vbmi"))
        has |= HAS_AVX512_VBMI;
    if (__get_cpuid_count(7, 1, &a, &b, &c, &d)) {
        has |= a & 1 << 4 ? HAS_AVX_VNNI : 0;
        has |= a & 1 << 5 ? HAS_AVX512_BF16 : 0;
    }
    return has;
}

unsigned isa_cpu_flags(void)
{
    static _Atomic unsigned known; /* 0: not asked; two threads would find the same */
    unsigned has = atomic_load(&known);
    if (!has) {
        has = ask_cpu() << 1 | 1;
        atomic_store(&known, has);
    }
    return has >> 1;
}

/* Tiles need the system's permission, and must compute what the reference does. */
static int amx_may_run(void)
{
    static _Atomic int known; /* 0: not asked, 1: yes, 2: no; two threads would find the same */
    int has = atomic_load(&known);
    if (!has) {
        has = amx_available() && amx_is_right() ? 1 : 2;
        atomic_store(&known, has);
    }
    return has == 1;
}

static void avx2_override(struct kern_table *t)
{
    t->quantize = avx2_quantize;
    t->matmul_q8 = avx2_matmul_q8;
    t->matmul_f32 = avx2_matmul_f32;
    t->to_bf16 = avx2_to_bf16;
    t->rmsnorm = avx2_rmsnorm;
    t->add = avx2_add;
    t->scale = avx2_scale;
    t->axpy = avx2_axpy;
    t->glu = avx2_glu;
    t->rope = avx2_rope;
    t->kv_store = avx2_kv_store;
    t->attn = avx2_attn;
    t->attn_join = avx2_attn_join;
    t->argmax = avx2_argmax;
    t->sum_exp = avx2_sum_exp;
}

static void avxvnni_override(struct kern_table *t)
{
    t->matmul_q8 = avxvnni_matmul_q8;
}

static void avx512_override(struct kern_table *t)
{
    t->quantize = avx512_quantize;
    t->matmul_q8 = avx512_matmul_q8;
    t->matmul_f32 = avx512_matmul_f32;
    t->to_bf16 = avx512_to_bf16;
    t->rmsnorm = avx512_rmsnorm;
    t->add = avx512_add;
    t->scale = avx512_scale;
    t->axpy = avx512_axpy;
    t->glu = avx512_glu;
    t->rope = avx512_rope;
    t->kv_store = avx512_kv_store;
    t->attn = avx512_attn;
    t->attn_join = avx512_attn_join;
    t->argmax = avx512_argmax;
    t->sum_exp = avx512_sum_exp;
}

static void vnni_override(struct kern_table *t)
{
    t->matmul_q8 = vnni_matmul_q8;
}

static void amx_override(struct kern_table *t)
{
    t->matmul_bf16 = amx_matmul_bf16;
    t->attn_bf16 = amx_attn_bf16;
    t->fast_bf16 = 1;
}

#define NEEDS_AVX512 (HAS_AVX2 | HAS_AVX512)
#define NEEDS_VNNI   (NEEDS_AVX512 | HAS_AVX512_VNNI)

const struct isa_row isa_rows[KERN_N_ISA] = {
    [KERN_ISA_AVX2] = {HAS_AVX2, NULL, avx2_override, &avx2_peak},
    [KERN_ISA_AVX_VNNI] = {HAS_AVX2 | HAS_AVX_VNNI, NULL, avxvnni_override, &avxvnni_peak},
    [KERN_ISA_AVX512] = {NEEDS_AVX512, NULL, avx512_override, &avx512_peak},
    [KERN_ISA_AVX512_VNNI] = {NEEDS_VNNI, NULL, vnni_override, &vnni_peak},
    [KERN_ISA_AMX] = {NEEDS_VNNI | HAS_AVX512_VBMI | HAS_AVX512_BF16, amx_may_run, amx_override,
                      NULL},
};
