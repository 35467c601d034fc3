/* The kernel checker: every entry of every table that this CPU can run against the scalar
 * reference, bit for bit, on random and worst-case input, in buffers that end at an unreadable
 * page. Prints TAP.
 *
 *     kerncheck                     check, a share of the cases
 *     kerncheck all                 check
 *     kerncheck --bench [filter]    measure, as a share of the machine's limits (kc_bench.c) */
#include "kc.h"

#include <cpuid.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "amx_emulate.h"
#include "base/check.h"
#include "kern/amx.h"

/* ---- memory ---------------------------------------------------------------------------------- */

static struct {
    void *base;
    size_t len;
} blocks[256];
static int n_blocks;

void *kc_alloc(size_t n, size_t align)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE), body = (n + align - 1) / align * align;
    size_t len = (body + page - 1) / page * page + page;
    CHECK((size_t)n_blocks < ARRAY_LEN(blocks));
    uint8_t *p = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(p != MAP_FAILED);
    CHECK(mprotect(p + len - page, page, PROT_NONE) == 0);
    blocks[n_blocks].base = p;
    blocks[n_blocks++].len = len;
    memset(p, 0xff, len - page);
    return p + len - page - body;
}

void kc_free_all(void)
{
    while (n_blocks > 0) {
        n_blocks--;
        munmap(blocks[n_blocks].base, blocks[n_blocks].len);
    }
}

/* ---- random ---------------------------------------------------------------------------------- */

uint64_t kc_seed = 0x9e3779b97f4a7c15u;

uint32_t kc_rand(void)
{
    kc_seed ^= kc_seed << 13;
    kc_seed ^= kc_seed >> 7;
    kc_seed ^= kc_seed << 17;
    return (uint32_t)(kc_seed >> 32);
}

int kc_range(int lo, int hi)
{
    return lo + (int)(kc_rand() % (uint32_t)(hi - lo + 1));
}

float kc_uniform(float lo, float hi)
{
    return lo + (hi - lo) * ((float)(kc_rand() >> 8) * 0x1p-24f);
}

/* ---- verdicts -------------------------------------------------------------------------------- */

const struct kern_table *kc_table[KERN_N_ISA];
int kc_whole;
const struct kern_table *kc_ref;

static int n_fail[KERN_N_ISA], n_test, n_bad;

void kc_begin(void)
{
    memset(n_fail, 0, sizeof n_fail);
}

void kc_fail(int isa, const char *fmt, ...)
{
    if (n_fail[isa]++ >= 5)
        return;
    va_list ap;
    va_start(ap, fmt);
    printf("# %s: ", kern_isa_name((enum kern_isa)isa));
    vprintf(fmt, ap);
    printf("\n");
    va_end(ap);
}

int kc_same(int isa, const float *got, const float *want, size_t n, const char *what)
{
    for (size_t i = 0; i < n; i++) {
        if (memcmp(&got[i], &want[i], sizeof(float)) == 0 ||
            (got[i] != got[i] && want[i] != want[i]))
            continue;
        kc_fail(isa, "%s: value %zu of %zu is %a, should be %a", what, i, n, (double)got[i],
                (double)want[i]);
        return 0;
    }
    return 1;
}

void kc_end(const char *name)
{
    for (int i = KERN_ISA_SCALAR + 1; i < KERN_N_ISA; i++) {
        const char *isa = kern_isa_name((enum kern_isa)i);
        n_test++;
        if (!kc_table[i]) {
            printf("ok %d - %s %s # SKIP this CPU has no %s\n", n_test, isa, name, isa);
            continue;
        }
        printf("%s %d - %s %s\n", n_fail[i] ? "not ok" : "ok", n_test, isa, name);
        n_bad += n_fail[i] != 0;
    }
    fflush(stdout);
    kc_free_all();
}

void evex_matmul_q8(const struct kern_mat *m, int32_t g0, int32_t g1, const struct kern_act *a,
                    const int32_t *rows, int32_t n, float *out, size_t out_stride);

void amx_matmul_bf16(const struct kern_mat *m, int32_t g0, int32_t g1, const uint16_t *x,
                     size_t x_stride, int32_t n, float *out, size_t out_stride);

void amx_attn_bf16(const struct kern_attn *a);

/* What the AMX kernels use beside tiles. */
static int cpu_has_amx_vectors(void)
{
    unsigned a, b, c, d;
    return kern_isa_available(KERN_ISA_AVX512_VNNI) && __builtin_cpu_supports("avx512vbmi") &&
           __get_cpuid_count(7, 1, &a, &b, &c, &d) && (a & 1 << 5); /* avx512_bf16 */
}

int main(int argc, char **argv)
{
    kc_ref = kern_open(KERN_ISA_SCALAR);
    for (int i = KERN_ISA_SCALAR + 1; i < KERN_N_ISA; i++)
        if (kern_isa_available((enum kern_isa)i))
            kc_table[i] = kern_open((enum kern_isa)i);
    /* Where only AVX-512 has the instruction, AVX-VNNI's kernels are proven in that encoding. */
    static struct kern_table evex;
    if (!kc_table[KERN_ISA_AVX_VNNI] && kern_isa_available(KERN_ISA_AVX512_VNNI)) {
        evex = *kern_open(KERN_ISA_AVX2);
        evex.matmul_q8 = evex_matmul_q8;
        kc_table[KERN_ISA_AVX_VNNI] = &evex;
        printf("# avx-vnni: this CPU lacks it, run in AVX-512's encoding\n");
    }
    kc_whole = argc > 1 && strcmp(argv[1], "all") == 0;
    if (argc > 1 && strcmp(argv[1], "--bench") == 0)
        return kc_bench(argc - 2, argv + 2);
    /* Where the program would do without its kernels they run all the same: on tiles whose check at
     * the start failed, and where only the tiles are missing on emulated ones. */
    static struct kern_table tiles;
    if (!kc_table[KERN_ISA_AMX] && cpu_has_amx_vectors() &&
        (amx_available() || !amx_emulate_start())) {
        tiles = *kern_open(KERN_ISA_AVX512_VNNI);
        tiles.matmul_bf16 = amx_matmul_bf16;
        tiles.attn_bf16 = amx_attn_bf16;
        kc_table[KERN_ISA_AMX] = &tiles;
        if (!amx_available())
            printf("# amx: this CPU lacks it, its tiles are emulated\n");
    }
    if (kc_table[KERN_ISA_AMX]) {
        kc_begin();
        if (!amx_is_right()) /* the check that the program makes before it offers the table */
            kc_fail(KERN_ISA_AMX, "the program would do without");
        kc_end("the check at the start");
    }
    kc_test_vec();
    kc_test_mat();
    kc_test_attn();
    printf("1..%d\n", n_test);
    for (int i = KERN_ISA_SCALAR + 1; i < KERN_N_ISA; i++)
        if (!kc_table[i])
            printf("# not run: %s (this CPU lacks it)\n", kern_isa_name((enum kern_isa)i));
    return n_bad != 0;
}
