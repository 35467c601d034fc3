#include "amx_emulate.h"

#include <dlfcn.h>
#include <errno.h>
#include <immintrin.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <ucontext.h>
#include <unistd.h>

#define TILES     8
#define ROWS      16
#define ROW_BYTES 64

enum op {
    OP_LDTILECFG,
    OP_STTILECFG,
    OP_TILERELEASE,
    OP_TILEZERO,
    OP_TILELOADD,
    OP_TILELOADDT1,
    OP_TILESTORED,
    OP_TDPBF16PS,
    OP_TDPBSSD,
    OP_TDPBSUD,
    OP_TDPBUSD,
    OP_TDPBUUD,
};

static const char *const op_name[] = {
    "ldtilecfg",  "sttilecfg", "tilerelease", "tilezero", "tileloadd", "tileloaddt1",
    "tilestored", "tdpbf16ps", "tdpbssd",     "tdpbsud",  "tdpbusd",   "tdpbuud",
};

struct insn {
    enum op op;
    int length;
    int reg, rm, v;  /* tiles: ModRM.reg, ModRM.rm, VEX.vvvv */
    uintptr_t addr;  /* of the memory operand */
    uint64_t stride; /* its scaled index, from row to row; the address has none for a tile */
    const uint8_t *at;
};

/* As it lies in memory. */
struct config {
    uint8_t palette, start_row, reserved[14];
    uint16_t row_bytes[16];
    uint8_t rows[16];
};
_Static_assert(sizeof(struct config) == 64, "the layout of ldtilecfg");

/* Only ldtilecfg changes shapes, and it zeroes all: what lies outside of one is never seen. */
static _Thread_local struct {
    struct config config; /* all 0 while not configured */
    _Alignas(64) uint8_t data[TILES][ROWS][ROW_BYTES];
} tiles;

static struct sigaction previous;
static int started;
static uint64_t executed;

/* ---- rules of the architecture --------------------------------------------------------------- */

__attribute__((format(printf, 2, 3))) static _Noreturn void refuse(const struct insn *i,
                                                                   const char *fmt, ...)
{
    Dl_info lib;
    if (!dladdr(i->at, &lib) || !lib.dli_fname) {
        lib.dli_fname = "";
        lib.dli_fbase = NULL;
    }
    /* No stdio: it may allocate. */
    char say[512];
    int n = snprintf(say, 256, "amx_emulate: %s at %.200s+0x%lx: ", op_name[i->op], lib.dli_fname,
                     (unsigned long)((uintptr_t)i->at - (uintptr_t)lib.dli_fbase));
    va_list ap;
    va_start(ap, fmt);
    n = n < 256 ? n : 255;
    n += vsnprintf(say + n, 200, fmt, ap);
    va_end(ap);
    say[n++] = '\n';
    if (write(STDERR_FILENO, say, (size_t)n) < 0) {
    }
    abort();
}

static void check_tile(const struct insn *i, int t)
{
    if (!tiles.config.palette)
        refuse(i, "no tile is configured");
    if (!tiles.config.rows[t])
        refuse(i, "tmm%d is not configured", t);
    if (i->op != OP_TILEZERO && tiles.config.row_bytes[t] % 4)
        refuse(i, "tmm%d has rows of %d bytes, no multiple of 4", t, tiles.config.row_bytes[t]);
}

/* C (m x n) += A (m x k) B (k x n), in elements of 4 bytes. */
static void check_product(const struct insn *i)
{
    const struct config *c = &tiles.config;
    if (i->reg == i->rm || i->reg == i->v || i->rm == i->v)
        refuse(i, "tmm%d, tmm%d, tmm%d are not three tiles", i->reg, i->rm, i->v);
    check_tile(i, i->reg);
    check_tile(i, i->rm);
    check_tile(i, i->v);
    if (c->rows[i->reg] != c->rows[i->rm])
        refuse(i, "%d rows in tmm%d, %d in tmm%d", c->rows[i->reg], i->reg, c->rows[i->rm], i->rm);
    if (c->row_bytes[i->reg] != c->row_bytes[i->v])
        refuse(i, "rows of %d bytes in tmm%d, of %d in tmm%d", c->row_bytes[i->reg], i->reg,
               c->row_bytes[i->v], i->v);
    if (c->row_bytes[i->rm] != 4 * c->rows[i->v])
        refuse(i, "rows of %d bytes in tmm%d for %d rows in tmm%d", c->row_bytes[i->rm], i->rm,
               c->rows[i->v], i->v);
}

static void check_config(const struct insn *i, const struct config *c)
{
    if (c->palette > 1)
        refuse(i, "palette %d", c->palette);
    if (c->start_row)
        refuse(i, "start row %d", c->start_row);
    for (int n = 0; n < 14; n++)
        if (c->reserved[n])
            refuse(i, "byte %d is %d, but reserved", 2 + n, c->reserved[n]);
    for (int t = 0; t < 16; t++) {
        int rows = c->rows[t], bytes = c->row_bytes[t];
        if (t >= TILES && (rows || bytes))
            refuse(i, "tmm%d does not exist, and has a shape", t);
        if (rows > ROWS || bytes > ROW_BYTES || !rows != !bytes)
            refuse(i, "tmm%d of %d rows of %d bytes", t, rows, bytes);
    }
}

/* ---- what they do ---------------------------------------------------------------------------- */

/* Even and odd elements of the pairs are summed apart over all k, each step a fused multiply-add,
 * then together, then into C. The caller sets MXCSR: hence no inlining. */
__attribute__((target("avx2,fma"), noinline)) static void product_bf16(uint8_t (*c)[ROW_BYTES],
                                                                       uint8_t (*a)[ROW_BYTES],
                                                                       uint8_t (*b)[ROW_BYTES],
                                                                       int rows, int pairs)
{
    const __m256i high = _mm256_set1_epi32((int)0xffff0000);
    for (int m = 0; m < rows; m++) {
        __m256 even[2] = {_mm256_setzero_ps(), _mm256_setzero_ps()};
        __m256 odd[2] = {_mm256_setzero_ps(), _mm256_setzero_ps()};
        for (int k = 0; k < pairs; k++) {
            uint32_t pair;
            memcpy(&pair, a[m] + 4 * k, 4);
            __m256 a0 = _mm256_castsi256_ps(_mm256_set1_epi32((int)(pair << 16)));
            __m256 a1 = _mm256_castsi256_ps(_mm256_set1_epi32((int)(pair & 0xffff0000)));
            for (int n = 0; n < 2; n++) {
                __m256i v = _mm256_load_si256((const __m256i *)b[k] + n);
                __m256 b0 = _mm256_castsi256_ps(_mm256_slli_epi32(v, 16));
                __m256 b1 = _mm256_castsi256_ps(_mm256_and_si256(v, high));
                even[n] = _mm256_fmadd_ps(a0, b0, even[n]);
                odd[n] = _mm256_fmadd_ps(a1, b1, odd[n]);
            }
        }
        for (int n = 0; n < 2; n++) {
            float *to = (float *)c[m] + 8 * n;
            __m256 sum = _mm256_add_ps(even[n], odd[n]);
            _mm256_store_ps(to, _mm256_add_ps(_mm256_load_ps(to), sum));
        }
    }
}

__attribute__((target("avx2"))) static inline __m256i widen(const uint8_t *p, int is_signed)
{
    __m128i v = _mm_load_si128((const __m128i *)p);
    return is_signed ? _mm256_cvtepi8_epi16(v) : _mm256_cvtepu8_epi16(v);
}

/* Sums wrap around, so that their order is free: the halves of each 4 bytes meet last. */
__attribute__((target("avx2"))) static void product_int8(uint8_t (*c)[ROW_BYTES],
                                                         uint8_t (*a)[ROW_BYTES],
                                                         uint8_t (*b)[ROW_BYTES], int rows,
                                                         int quads, int a_signed, int b_signed)
{
    __m256i wide[ROWS][4], row[4];
    for (int k = 0; k < quads; k++)
        for (int n = 0; n < 4; n++)
            wide[k][n] = widen(b[k] + 16 * n, b_signed);
    for (int m = 0; m < rows; m++) {
        __m256i sum[4] = {_mm256_setzero_si256(), _mm256_setzero_si256(), _mm256_setzero_si256(),
                          _mm256_setzero_si256()};
        for (int n = 0; n < 4; n++)
            row[n] = widen(a[m] + 16 * n, a_signed);
        for (int k = 0; k < quads; k++) {
            long long quad;
            memcpy(&quad, (const char *)row + 8 * k, 8);
            __m256i v = _mm256_set1_epi64x(quad);
            for (int n = 0; n < 4; n++)
                sum[n] = _mm256_add_epi32(sum[n], _mm256_madd_epi16(v, wide[k][n]));
        }
        for (int n = 0; n < 2; n++) {
            __m256i *to = (__m256i *)c[m] + n;
            __m256i two = _mm256_hadd_epi32(sum[2 * n], sum[2 * n + 1]);
            two = _mm256_permute4x64_epi64(two, 0xd8);
            _mm256_store_si256(to, _mm256_add_epi32(_mm256_load_si256(to), two));
        }
    }
}

static void product(const struct insn *i)
{
    check_product(i);
    uint8_t(*c)[ROW_BYTES] = tiles.data[i->reg];
    uint8_t(*a)[ROW_BYTES] = tiles.data[i->rm], (*b)[ROW_BYTES] = tiles.data[i->v];
    int rows = tiles.config.rows[i->reg], k = tiles.config.rows[i->v];
    if (i->op != OP_TDPBF16PS) {
        product_int8(c, a, b, rows, k, i->op == OP_TDPBSSD || i->op == OP_TDPBSUD,
                     i->op == OP_TDPBSSD || i->op == OP_TDPBUSD);
        return;
    }
    unsigned mxcsr = _mm_getcsr();
    _mm_setcsr(0x9fc0); /* nearest even, denormals are and become 0, no exceptions */
    product_bf16(c, a, b, rows, k);
    _mm_setcsr(mxcsr);
}

static void configure(const struct insn *i)
{
    struct config c;
    memcpy(&c, (const void *)i->addr, sizeof c);
    if (!c.palette) /* the rest does not matter then */
        memset(&c, 0, sizeof c);
    check_config(i, &c);
    tiles.config = c;
    memset(tiles.data, 0, sizeof tiles.data);
}

static void move(const struct insn *i)
{
    check_tile(i, i->reg);
    size_t bytes = tiles.config.row_bytes[i->reg];
    uintptr_t addr = i->addr;
    for (int m = 0; m < tiles.config.rows[i->reg]; m++, addr += i->stride) {
        uint8_t *row = tiles.data[i->reg][m];
        if (i->op == OP_TILESTORED)
            memcpy((void *)addr, row, bytes);
        else
            memcpy(row, (const void *)addr, bytes);
    }
}

static void execute(const struct insn *i)
{
    switch (i->op) {
    case OP_LDTILECFG:
        configure(i);
        break;
    case OP_STTILECFG:
        memcpy((void *)i->addr, &tiles.config, sizeof tiles.config);
        break;
    case OP_TILERELEASE:
        memset(&tiles, 0, sizeof tiles);
        break;
    case OP_TILEZERO:
        check_tile(i, i->reg);
        memset(tiles.data[i->reg], 0, sizeof tiles.data[0]);
        break;
    case OP_TILELOADD:
    case OP_TILELOADDT1:
    case OP_TILESTORED:
        move(i);
        break;
    default:
        product(i);
    }
}

/* ---- decoding -------------------------------------------------------------------------------- */

static int find_op(uint8_t opcode, int prefix, uint8_t modrm)
{
    /* By the prefix that VEX stands for: none, 66, F3, F2. */
    static const int8_t load[4] = {-1, OP_TILELOADDT1, OP_TILESTORED, OP_TILELOADD};
    static const int8_t int8[4] = {OP_TDPBUUD, OP_TDPBUSD, OP_TDPBSUD, OP_TDPBSSD};
    int in_register = modrm >> 6 == 3;
    switch (opcode) {
    case 0x49:
        if (in_register)
            return prefix == 0 && modrm == 0xc0      ? OP_TILERELEASE
                   : prefix == 3 && (modrm & 7) == 0 ? OP_TILEZERO
                                                     : -1;
        return prefix < 2 && (modrm >> 3 & 7) == 0 ? (prefix ? OP_STTILECFG : OP_LDTILECFG) : -1;
    case 0x4b:
        return !in_register && (modrm & 7) == 4 ? load[prefix] : -1;
    case 0x5c:
        return in_register && prefix == 2 ? OP_TDPBF16PS : -1;
    case 0x5e:
        return in_register ? int8[prefix] : -1;
    }
    return -1;
}

/* From ModRM on; returns the bytes taken. */
static int find_address(struct insn *i, const uint8_t *p, uint8_t vex, const greg_t *regs)
{
    static const int8_t number[16] = {
        REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI,
        REG_R8,  REG_R9,  REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15,
    };
    int mod = p[0] >> 6, rm = p[0] & 7, n = 1, base = rm,
        displace = mod == 1   ? 1
                   : mod == 2 ? 4
                              : 0;
    uint64_t addr = 0;
    i->stride = 0;
    if (rm == 4) {
        base = p[1] & 7;
        int index = (p[1] >> 3 & 7) | (vex & 0x40 ? 0 : 8);
        if (index != 4)
            i->stride = (uint64_t)regs[number[index]] << (p[1] >> 6);
        n = 2;
    }
    if (base == 5 && mod == 0) { /* no base, or with no SIB the next instruction */
        displace = 4;
        addr = rm == 4 ? 0 : (uintptr_t)(p + n + displace);
    } else {
        addr = (uint64_t)regs[number[base | (vex & 0x20 ? 0 : 8)]];
    }
    if (displace == 1) {
        addr += (uint64_t)(int8_t)p[n];
    } else if (displace) {
        int32_t d;
        memcpy(&d, p + n, 4);
        addr += (uint64_t)d;
    }
    i->addr = addr;
    return n + displace;
}

/* Is it one of ours at p? Reads no further than a CPU that looks for that. */
static int decode(struct insn *i, const uint8_t *p, const greg_t *regs)
{
    int prefixed = 0;
    i->at = p;
    while (prefixed < 4 && (*p == 0x26 || *p == 0x2e || *p == 0x36 || *p == 0x3e || *p == 0x64 ||
                            *p == 0x65 || *p == 0x67)) {
        prefixed++;
        p++;
    }
    /* VEX in 3 bytes: R X B (inverted) and the map 0F38; W = 0, vvvv (inverted), L = 0, prefix */
    if (p[0] != 0xc4 || (p[1] & 0x1f) != 2 || p[2] & 0x84)
        return 0;
    int v = ~p[2] >> 3 & 15;
    int op = find_op(p[3], p[2] & 3, p[4]);
    if (op < 0 || (op >= OP_TDPBF16PS ? v >= TILES : v != 0))
        return 0;
    i->op = (enum op)op;
    i->v = v;
    i->reg = p[4] >> 3 & 7;
    i->rm = p[4] & 7;
    int has_tile = op >= OP_TILEZERO;
    if ((has_tile && !(p[1] & 0x80)) || (op >= OP_TDPBF16PS && !(p[1] & 0x20)))
        return 0; /* tmm8 and on */
    if (prefixed)
        refuse(i, "it has a prefix of a segment or of the address's size");
    i->length = 5;
    if (p[4] >> 6 != 3) {
        i->length = 4 + find_address(i, p + 4, p[1], regs);
        if (op < OP_TILERELEASE)
            i->addr += i->stride;
    }
    return 1;
}

/* ---- the handler ----------------------------------------------------------------------------- */

/* Only to the function: the mask and the other flags that were asked for with it are not obeyed. */
static void pass_on(int sig, siginfo_t *info, void *context)
{
    if (previous.sa_flags & SA_SIGINFO) {
        previous.sa_sigaction(sig, info, context);
    } else if (previous.sa_handler == SIG_DFL || previous.sa_handler == SIG_IGN) {
        /* The instruction runs once more, and the process dies where it should. */
        struct sigaction dfl = {.sa_handler = SIG_DFL};
        sigaction(sig, &dfl, NULL);
    } else {
        previous.sa_handler(sig);
    }
}

static void handle(int sig, siginfo_t *info, void *context)
{
    greg_t *regs = ((ucontext_t *)context)->uc_mcontext.gregs;
    struct insn i;
    uint64_t n = 0;
    /* Kernels have many in a row, and a signal costs ten times any of them. */
    while (decode(&i, (const uint8_t *)regs[REG_RIP], regs)) {
        execute(&i);
        regs[REG_RIP] += i.length;
        n++;
    }
    if (!n)
        pass_on(sig, info, context);
    else
        __atomic_fetch_add(&executed, n, __ATOMIC_RELAXED);
}

int amx_emulate_start(void)
{
    if (started) {
        errno = EALREADY;
        return -1;
    }
    if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma")) {
        errno = ENOTSUP;
        return -1;
    }
    struct sigaction ours = {.sa_sigaction = handle, .sa_flags = SA_SIGINFO};
    sigemptyset(&ours.sa_mask);
    /* Before ours is in place: another thread's illegal instruction may come at once. */
    if (sigaction(SIGILL, NULL, &previous) || sigaction(SIGILL, &ours, NULL))
        return -1;
    /* tilerelease, in bytes for compilers that are told of no tiles: those that configure need no
     * permission, and the CPU has all of them or none. */
    uint64_t before = amx_emulate_count();
    __asm__ volatile(".byte 0xc4, 0xe2, 0x78, 0x49, 0xc0" : : : "memory");
    if (amx_emulate_count() == before) {
        sigaction(SIGILL, &previous, NULL);
        errno = EEXIST;
        return -1;
    }
    started = 1;
    return 0;
}

void amx_emulate_stop(void)
{
    if (started)
        sigaction(SIGILL, &previous, NULL);
    started = 0;
}

uint64_t amx_emulate_count(void)
{
    return __atomic_load_n(&executed, __ATOMIC_RELAXED);
}
