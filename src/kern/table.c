/* The table of kernels: which ISAs this CPU has, and the functions of each. */
#include <cpuid.h>
#include <stdatomic.h>
#include <string.h>

#include "base/check.h"
#include "kern/amx.h"
#include "kern/kern.h"
#include "kern/scalar.h"
#include "kern/simd.h"

static const struct kern_table table_scalar = {
    .name = "scalar",
    .quantize = scalar_quantize,
    .matmul_q8 = scalar_matmul_q8,
    .matmul_f32 = scalar_matmul_f32,
    .matmul_bf16 = scalar_matmul_bf16,
    .to_bf16 = scalar_to_bf16,
    .rmsnorm = scalar_rmsnorm,
    .add = scalar_add,
    .scale = scalar_scale,
    .axpy = scalar_axpy,
    .glu = scalar_glu,
    .rope = scalar_rope,
    .kv_store = scalar_kv_store,
    .attn = scalar_attn,
    .attn_bf16 = scalar_attn_bf16,
    .attn_join = scalar_attn_join,
    .argmax = scalar_argmax,
    .sum_exp = scalar_sum_exp,
    .chunk_groups = 8,
};

#define TABLE_SIMD(table_name, isa, q8, bf16, fast)                                                \
    {                                                                                              \
        .name = table_name, .quantize = isa##_quantize, .matmul_q8 = q8##_matmul_q8,               \
        .matmul_f32 = isa##_matmul_f32, .matmul_bf16 = bf16##_matmul_bf16,                         \
        .to_bf16 = isa##_to_bf16, .rmsnorm = isa##_rmsnorm, .add = isa##_add,                      \
        .scale = isa##_scale, .axpy = isa##_axpy, .glu = isa##_glu, .rope = isa##_rope,            \
        .kv_store = isa##_kv_store, .attn = isa##_attn, .attn_bf16 = bf16##_attn_bf16,             \
        .attn_join = isa##_attn_join, .argmax = isa##_argmax, .sum_exp = isa##_sum_exp,            \
        .chunk_groups = 8, .fast_bf16 = (fast),                                                    \
    }

static const struct kern_table table_avx2 = TABLE_SIMD("avx2", avx2, avx2, scalar, 0);
static const struct kern_table table_avxvnni = TABLE_SIMD("avx-vnni", avx2, avxvnni, scalar, 0);
static const struct kern_table table_avx512 = TABLE_SIMD("avx512", avx512, avx512, scalar, 0);
static const struct kern_table table_vnni = TABLE_SIMD("avx512-vnni", avx512, vnni, scalar, 0);

static const struct kern_table table_amx = TABLE_SIMD("amx", avx512, vnni, amx, 1);

static const struct kern_table *const tables[KERN_N_ISA] = {
    [KERN_ISA_SCALAR] = &table_scalar,    [KERN_ISA_AVX2] = &table_avx2,
    [KERN_ISA_AVX_VNNI] = &table_avxvnni, [KERN_ISA_AVX512] = &table_avx512,
    [KERN_ISA_AVX512_VNNI] = &table_vnni, [KERN_ISA_AMX] = &table_amx,
};

static const char *const isa_names[KERN_N_ISA] = {"scalar", "avx2",        "avx-vnni",
                                                  "avx512", "avx512-vnni", "amx"};

const char *kern_isa_name(enum kern_isa isa)
{
    CHECK((unsigned)isa < KERN_N_ISA);
    return isa_names[isa];
}

/* clang 14 does not know this one's name. */
static int cpu_has_f16c(void)
{
    unsigned a, b, c, d;
    return __get_cpuid(1, &a, &b, &c, &d) && (c & bit_F16C);
}

static int cpu_has_avx_vnni(void)
{
    unsigned a, b, c, d;
    return __get_cpuid_count(7, 1, &a, &b, &c, &d) && (a & 1 << 4);
}

static int cpu_has_avx512_bf16(void) /* nor does clang 14 know this one's */
{
    unsigned a, b, c, d;
    return __get_cpuid_count(7, 1, &a, &b, &c, &d) && (a & 1 << 5);
}

static int cpu_has_amx(void)
{
    static _Atomic int known; /* 0: not asked, 1: yes, 2: no; two threads would find the same */
    int has = atomic_load(&known);
    if (!has) {
        has = __builtin_cpu_supports("avx512vbmi") && cpu_has_avx512_bf16() && amx_available() &&
                      amx_is_right()
                  ? 1
                  : 2;
        atomic_store(&known, has);
    }
    return has == 1;
}

static int cpu_has(enum kern_isa isa)
{
    /* each level asks for all that its kernels use; the compiler's run time also asks the system
     * whether it saves the wide registers */
    if (isa >= KERN_ISA_AVX2 &&
        !(__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && cpu_has_f16c()))
        return 0;
    if (isa == KERN_ISA_AVX_VNNI)
        return cpu_has_avx_vnni();
    if (isa >= KERN_ISA_AVX512 &&
        !(__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
          __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq")))
        return 0;
    if (isa >= KERN_ISA_AVX512_VNNI && !__builtin_cpu_supports("avx512vnni"))
        return 0;
    return isa < KERN_ISA_AMX || cpu_has_amx();
}

int kern_isa_available(enum kern_isa isa)
{
    CHECK((unsigned)isa < KERN_N_ISA);
    return tables[isa] && cpu_has(isa);
}

const struct kern_table *kern_open(enum kern_isa max_isa)
{
    CHECK((unsigned)max_isa < KERN_N_ISA);
    int isa = (int)max_isa;
    while (isa > KERN_ISA_SCALAR && !kern_isa_available((enum kern_isa)isa))
        isa--;
    return tables[isa];
}

int kern_isa_parse(const char *name, enum kern_isa *ret_isa, struct err *e)
{
    if (strcmp(name, "auto") == 0) {
        int isa = KERN_N_ISA - 1;
        while (isa > KERN_ISA_SCALAR && !kern_isa_available((enum kern_isa)isa))
            isa--;
        *ret_isa = (enum kern_isa)isa;
        return 0;
    }
    for (int i = 0; i < KERN_N_ISA; i++) {
        if (strcmp(name, isa_names[i]) != 0)
            continue;
        if (!kern_isa_available((enum kern_isa)i))
            return err_set_param(e, ERR_UNSUPPORTED, "cpu",
                                 "this CPU has no %s; the best it can run is %s", name,
                                 kern_open(KERN_N_ISA - 1)->name);
        *ret_isa = (enum kern_isa)i;
        return 0;
    }
    return err_set_param(e, ERR_ARG, "cpu",
                         "unknown CPU level \"%s\"; known: auto, scalar, avx2, avx-vnni, avx512, "
                         "avx512-vnni, amx",
                         name);
}
