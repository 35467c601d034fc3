/* The emulator of AMX tiles against plain loops. Where the CPU has tiles nothing can be emulated
 * (amx_emulate.h), and the same tests run on them: that the loops say what tiles do. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <math.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>
#include <xmmintrin.h>

#include "amx_emulate.h"
#include "kern/amx.h"

struct config {
    uint8_t palette, start_row, reserved[14];
    uint16_t row_bytes[16];
    uint8_t rows[16];
};

static int native; /* on the CPU's own tiles: as main found it */

/* cmocka sets its own handler before each test. */
static void begin(void)
{
    if (!native)
        assert_int_equal(amx_emulate_start(), 0);
}

static uint64_t seed = 1;

static uint32_t draw(void)
{
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(seed >> 32);
}

static void configure(const struct config *c)
{
    __asm__ volatile("ldtilecfg %0" : : "m"(*c));
}

static struct config whole(void)
{
    struct config c = {.palette = 1};
    for (int t = 0; t < 8; t++) {
        c.row_bytes[t] = 64;
        c.rows[t] = 16;
    }
    return c;
}

#define LOAD(T, P, STRIDE)                                                                         \
    __asm__ volatile("tileloadd (%0,%1,1), %%tmm" #T ::"r"(P), "r"((int64_t)(STRIDE)) : "memory")
#define STORE(T, P, STRIDE)                                                                        \
    __asm__ volatile("tilestored %%tmm" #T ", (%0,%1,1)"                                           \
                     :                                                                             \
                     : "r"(P), "r"((int64_t)(STRIDE))                                              \
                     : "memory")

/* ---- addressing ------------------------------------------------------------------------------ */

/* name, base, index, its scale, displacement. The stack pointer among the bases: a signal's frame
 * is written below the operand then. */
#define FORMS(F)                                                                                   \
    F(rax, rax, rsi, 1, 0)                                                                         \
    F(rbx, rbx, rsi, 1, 0x40)                                                                      \
    F(rcx, rcx, rsi, 2, -0x40)                                                                     \
    F(rdi, rdi, rsi, 4, 0x12340)                                                                   \
    F(rbp, rbp, rsi, 1, 0)                                                                         \
    F(rbp8, rbp, rsi, 1, 8)                                                                        \
    F(rsp, rsp, rsi, 1, 0)                                                                         \
    F(rsp8, rsp, rsi, 8, 127)                                                                      \
    F(rsp32, rsp, rsi, 1, 128)                                                                     \
    F(r8, r8, rsi, 1, -128)                                                                        \
    F(r9, r9, rsi, 1, -129)                                                                        \
    F(r10, r10, r11, 1, 0)                                                                         \
    F(r11, r11, r10, 2, 1)                                                                         \
    F(r12, r12, rsi, 1, 0)                                                                         \
    F(r12r12, r12, r13, 1, 0)                                                                      \
    F(r13, r13, rsi, 1, 0)                                                                         \
    F(r13r12, r13, r12, 4, 5)                                                                      \
    F(r13w, r13, r12, 1, -0x12345)                                                                 \
    F(r14, r14, rbp, 1, 0)                                                                         \
    F(r15, r15, rbx, 8, 0)                                                                         \
    F(rbxr15, rbx, r15, 1, 0x7f)

#define WITH(BASE, INDEX, OP)                                                                      \
    __asm__ volatile("mov %%" #BASE ", %%rax\n\tmov %%" #INDEX ", %%rdx\n\t"                       \
                     "mov %%rdi, %%" #BASE "\n\tmov %%rsi, %%" #INDEX "\n\t" OP                    \
                     "\n\tmov %%rax, %%" #BASE "\n\tmov %%rdx, %%" #INDEX                          \
                     :                                                                             \
                     : "D"(p), "S"(stride)                                                         \
                     : "rax", "rdx", "memory")
#define FORM(NAME, BASE, INDEX, SCALE, DISP)                                                       \
    static void load_##NAME(uintptr_t p, int64_t stride)                                           \
    {                                                                                              \
        WITH(BASE, INDEX, "tileloadd " #DISP "(%%" #BASE ",%%" #INDEX "," #SCALE "), %%tmm1");     \
    }                                                                                              \
    static void loadt1_##NAME(uintptr_t p, int64_t stride)                                         \
    {                                                                                              \
        WITH(BASE, INDEX, "tileloaddt1 " #DISP "(%%" #BASE ",%%" #INDEX "," #SCALE "), %%tmm2");   \
    }                                                                                              \
    static void store_##NAME(uintptr_t p, int64_t stride)                                          \
    {                                                                                              \
        WITH(BASE, INDEX, "tilestored %%tmm1, " #DISP "(%%" #BASE ",%%" #INDEX "," #SCALE ")");    \
    }                                                                                              \
    static void config_##NAME(uintptr_t p, int64_t stride)                                         \
    {                                                                                              \
        WITH(BASE, INDEX, "ldtilecfg " #DISP "(%%" #BASE ",%%" #INDEX "," #SCALE ")");             \
    }                                                                                              \
    static void unconfig_##NAME(uintptr_t p, int64_t stride)                                       \
    {                                                                                              \
        WITH(BASE, INDEX, "sttilecfg " #DISP "(%%" #BASE ")");                                     \
    }
FORMS(FORM)

#define ROW(NAME, BASE, INDEX, SCALE, DISP)                                                        \
    {#NAME, SCALE, DISP, load_##NAME, loadt1_##NAME, store_##NAME, config_##NAME, unconfig_##NAME},
static const struct {
    const char *name;
    int scale, disp;
    void (*load)(uintptr_t, int64_t), (*loadt1)(uintptr_t, int64_t), (*store)(uintptr_t, int64_t);
    void (*config)(uintptr_t, int64_t), (*unconfig)(uintptr_t, int64_t);
} forms[] = {FORMS(ROW)};

/* Bytes that a kernel or a signal's frame may take below an operand. */
static _Alignas(64) uint8_t field[1 << 20];
#define OPERAND (field + (1 << 19))

static int rows_equal(const uint8_t *a, int64_t a_stride, const uint8_t *b, int64_t b_stride)
{
    for (int m = 0; m < 16; m++)
        if (memcmp(a + m * a_stride, b + m * b_stride, 64))
            return 0;
    return 1;
}

static void test_addressing(void **state)
{
    begin();
    struct config c = whole(), got;
    uint8_t tile[1024];
    for (size_t f = 0; f < sizeof forms / sizeof *forms; f++) {
        uintptr_t p = (uintptr_t)OPERAND - (uintptr_t)(int64_t)forms[f].disp;
        int64_t stride = 16 * forms[f].scale;
        for (int n = 0; n < 4096; n++)
            OPERAND[n] = (uint8_t)draw();
        configure(&c);
        int64_t step = stride * forms[f].scale;
        forms[f].load(p, stride);
        STORE(1, tile, 64);
        assert_true(rows_equal(tile, 64, OPERAND, step));
        forms[f].loadt1(p, stride);
        STORE(2, tile, 64);
        assert_true(rows_equal(tile, 64, OPERAND, step));
        /* Rows that do not overlap. */
        memset(OPERAND, 0, 1 << 14);
        forms[f].store(p, 64 + stride);
        assert_true(rows_equal(tile, 64, OPERAND, (64 + stride) * forms[f].scale));

        c.rows[7] = (uint8_t)(1 + draw() % 16);
        memcpy(OPERAND + step, &c, sizeof c);
        forms[f].config(p, stride);
        memset(OPERAND, 0xff, 128);
        forms[f].unconfig(p, stride);
        memcpy(&got, OPERAND, sizeof got);
        assert_memory_equal(&got, &c, sizeof c);
        assert_int_equal(OPERAND[64], 0xff);
    }
}

static struct config here; /* reached from the instruction pointer */

static void test_addressing_bare(void **state)
{
    begin();
    here = whole();
    __asm__ volatile("ldtilecfg %0" : : "m"(here));
    uint8_t tile[1024];
    for (int n = 0; n < 1024; n++)
        OPERAND[n] = (uint8_t)draw();
    /* No index: a stride of 0. */
    __asm__ volatile("tileloadd (%0), %%tmm7" : : "r"(OPERAND) : "memory");
    STORE(7, tile, 64);
    assert_true(rows_equal(tile, 64, OPERAND, 0));
    __asm__ volatile("mov %0, %%r12\n\ttileloadd 0x40(%%r12), %%tmm7" : : "r"(OPERAND) : "r12");
    STORE(7, tile, 64);
    assert_true(rows_equal(tile, 64, OPERAND + 64, 0));
    /* A negative stride. */
    LOAD(6, OPERAND + 15 * 64, -64);
    STORE(6, tile, 64);
    assert_true(rows_equal(tile, 64, OPERAND + 15 * 64, -64));
    /* No base. */
    uint8_t *low = mmap((void *)0x10000000, 4096, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
    if (low == MAP_FAILED)
        return;
    memcpy(low, OPERAND, 1024);
    __asm__ volatile("tileloadd 0x10000000(,%0,4), %%tmm5" : : "r"(16L) : "memory");
    STORE(5, tile, 64);
    assert_true(rows_equal(tile, 64, low, 64));
    munmap(low, 4096);
}

/* ---- shapes and products --------------------------------------------------------------------- */

enum kind { BF16, SS, SU, US, UU };

#define PRODUCT(C, A, B)                                                                           \
    static void product_##C##A##B(enum kind k)                                                     \
    {                                                                                              \
        if (k == BF16)                                                                             \
            __asm__ volatile("tdpbf16ps %tmm" #B ", %tmm" #A ", %tmm" #C);                         \
        else if (k == SS)                                                                          \
            __asm__ volatile("tdpbssd %tmm" #B ", %tmm" #A ", %tmm" #C);                           \
        else if (k == SU)                                                                          \
            __asm__ volatile("tdpbsud %tmm" #B ", %tmm" #A ", %tmm" #C);                           \
        else if (k == US)                                                                          \
            __asm__ volatile("tdpbusd %tmm" #B ", %tmm" #A ", %tmm" #C);                           \
        else                                                                                       \
            __asm__ volatile("tdpbuud %tmm" #B ", %tmm" #A ", %tmm" #C);                           \
    }                                                                                              \
    static void run_##C##A##B(enum kind k, uint8_t *c, const uint8_t *a, const uint8_t *b)         \
    {                                                                                              \
        LOAD(C, c, 80);                                                                            \
        LOAD(A, a, 72);                                                                            \
        LOAD(B, b, 64);                                                                            \
        product_##C##A##B(k);                                                                      \
        STORE(C, c, 80);                                                                           \
    }
PRODUCT(0, 1, 2)
PRODUCT(7, 6, 5)
PRODUCT(3, 4, 0)
PRODUCT(1, 7, 3)
PRODUCT(5, 2, 6)

static const struct {
    int c, a, b;
    void (*run)(enum kind, uint8_t *, const uint8_t *, const uint8_t *);
} triples[] = {{0, 1, 2, run_012},
               {7, 6, 5, run_765},
               {3, 4, 0, run_340},
               {1, 7, 3, run_173},
               {5, 2, 6, run_526}};

static float calm(float x)
{
    return fpclassify(x) == FP_SUBNORMAL ? copysignf(0, x) : x;
}

/* Denormals are and become 0; whether the result is one is asked after rounding to 24 bits. */
static float fused(float a, float b, float c)
{
    double wide = fma(calm(a), calm(b), calm(c));
    return fabs(wide) < 0x1.ffffffp-127 ? (float)copysign(0, wide)
                                        : fmaf(calm(a), calm(b), calm(c));
}

static float from_bf16(const uint8_t *p)
{
    uint32_t bits = (uint32_t)(p[0] | p[1] << 8) << 16;
    float x;
    memcpy(&x, &bits, 4);
    return x;
}

static int32_t byte_of(const uint8_t *p, int is_signed)
{
    return is_signed ? (int8_t)*p : *p;
}

/* One element of C, from its row of A and its column of B. */
static uint32_t plain(enum kind kind, uint32_t c, const uint8_t *a, const uint8_t *b, int k)
{
    if (kind != BF16) {
        for (int i = 0; i < 4 * k; i++)
            c += (uint32_t)(byte_of(a + i, kind == SS || kind == SU) *
                            byte_of(b + i / 4 * 64 + i % 4, kind == SS || kind == US));
        return c;
    }
    float even = 0, odd = 0, to;
    for (int i = 0; i < k; i++) {
        even = fused(from_bf16(a + 4 * i), from_bf16(b + 64 * i), even);
        odd = fused(from_bf16(a + 4 * i + 2), from_bf16(b + 64 * i + 2), odd);
    }
    memcpy(&to, &c, 4);
    to = fused(to, 1, fused(even, 1, odd));
    memcpy(&c, &to, 4);
    return c;
}

enum data { ANY, MODEST, TINY, LARGE, N_DATA };

/* bf16 whose products underflow, overflow, are anything at all, or only need rounding. */
static void fill(uint8_t *p, int n, enum data data, int is_float)
{
    for (int i = 0; i < n; i += 2) {
        uint32_t r = draw(), exponent = r >> 16 & 0xff;
        if (data == MODEST)
            exponent = 120 + exponent % 14;
        else if (data == TINY)
            exponent = is_float ? exponent % 12 : 56 + exponent % 14;
        else if (data == LARGE)
            exponent = is_float ? 250 + exponent % 5 : 186 + exponent % 10;
        uint32_t x = (r & 0x807f) | exponent << 7;
        if (data == ANY)
            x = r & 0xffff;
        p[i] = (uint8_t)x;
        p[i + 1] = (uint8_t)(x >> 8);
    }
}

static int is_nan(uint32_t bits)
{
    return (bits & 0x7fffffff) > 0x7f800000;
}

/* A product of m x k by k x n elements of 4 bytes against the loops. */
static int product_differs(int triple, enum kind kind, enum data data, int m, int k, int n)
{
    static _Thread_local uint8_t a[16 * 72], b[16 * 64], c[16 * 80], was[16 * 80];
    fill(a, sizeof a, data, 0);
    fill(b, sizeof b, data, 0);
    for (int i = 0; i < (int)sizeof c; i += 4) { /* floats whose low half is not 0 */
        fill(c + i, 4, ANY, 1);
        fill(c + i + 2, 2, data, 1);
    }
    memcpy(was, c, sizeof c);
    struct config config = {.palette = 1};
    config.rows[triples[triple].c] = config.rows[triples[triple].a] = (uint8_t)m;
    config.rows[triples[triple].b] = (uint8_t)k;
    config.row_bytes[triples[triple].c] = config.row_bytes[triples[triple].b] = (uint16_t)(4 * n);
    config.row_bytes[triples[triple].a] = (uint16_t)(4 * k);
    configure(&config);
    triples[triple].run(kind, c, a, b);
    for (int i = 0; i < (int)sizeof c / 4; i++) {
        int row = i / 20, col = i % 20;
        uint32_t got, want;
        memcpy(&got, c + 4 * i, 4);
        memcpy(&want, was + 4 * i, 4);
        if (row < m && col < n)
            want = plain(kind, want, a + 72 * row, b + 4 * col, k);
        if (got != want && !(kind == BF16 && row < m && col < n && is_nan(got) && is_nan(want))) {
            print_error("kind %d data %d, %d x %d x %d: [%d][%d] is %08x, not %08x\n", (int)kind,
                        (int)data, m, k, n, row, col, got, want);
            return 1;
        }
    }
    return 0;
}

static const int sizes[] = {1, 7, 8, 16};

static void test_products(void **state)
{
    begin();
    int triple = 0;
    for (int shape = 0; shape < 64; shape++)
        for (enum kind kind = BF16; kind <= UU; kind++)
            for (enum data data = ANY; data < N_DATA; data++) {
                assert_false(product_differs(triple, kind, data, sizes[shape & 3],
                                             sizes[shape >> 2 & 3], sizes[shape >> 4]));
                triple = (triple + 1) % 5;
            }
}

/* Rounding up, denormals alive: neither is obeyed, and MXCSR stays. */
static void test_mxcsr(void **state)
{
    begin();
    unsigned was = _mm_getcsr(), after;
    int differ = 0;
    for (int i = 0; i < 20; i++) {
        struct config config = whole();
        _Alignas(64) uint8_t a[1024], b[1024], c[1024] = {0};
        fill(a, 1024, i % 2 ? MODEST : TINY, 0);
        fill(b, 1024, i % 2 ? MODEST : TINY, 0);
        configure(&config);
        LOAD(1, a, 64);
        LOAD(2, b, 64);
        LOAD(0, c, 64);
        _mm_setcsr(0x5f80);
        product_012(BF16);
        STORE(0, c, 64);
        after = _mm_getcsr();
        _mm_setcsr(was);
        assert_int_equal(after, 0x5f80);
        for (int e = 0; e < 256; e++) {
            uint32_t got;
            memcpy(&got, c + 4 * e, 4);
            differ += got != plain(BF16, 0, a + e / 16 * 64, b + e % 16 * 4, 16);
        }
    }
    assert_int_equal(differ, 0);
}

/* What lies outside a shape is 0: seen when a larger shape is not loaded, but zeroed and stored. */
static void test_zero(void **state)
{
    begin();
    struct config config = whole();
    config.rows[3] = 7;
    config.row_bytes[3] = 32;
    uint8_t to[1024], zero[1024] = {0};
    configure(&config);
    memset(to, 1, sizeof to);
    STORE(4, to, 64); /* zeroed by ldtilecfg */
    assert_memory_equal(to, zero, 1024);
    memset(to, 1, sizeof to);
    LOAD(4, to, 64);
    __asm__ volatile("tilezero %tmm4");
    STORE(4, to, 64);
    assert_memory_equal(to, zero, 1024);
    memset(to, 1, sizeof to);
    LOAD(3, to, 64);
    memset(to, 2, sizeof to);
    STORE(3, to, 64);
    for (int i = 0; i < 1024; i++)
        assert_int_equal(to[i], i / 64 < 7 && i % 64 < 32 ? 1 : 2);
    __asm__ volatile("tilerelease\n\tsttilecfg %0" : "=m"(config));
    assert_memory_equal(&config, zero, sizeof config);
    config = whole();
    configure(&config);
    configure((const struct config *)zero);
    __asm__ volatile("sttilecfg %0" : "=m"(config));
    assert_memory_equal(&config, zero, sizeof config);
}

/* ---- threads --------------------------------------------------------------------------------- */

static pthread_barrier_t gate;

/* Each shape is another's in the other thread, at the same time. */
static void *work(void *arg)
{
    int number = *(int *)arg;
    intptr_t differ = 0;
    for (int i = 0; i < 64; i++) {
        struct config config = whole();
        uint8_t in[1024], out[1024] = {0};
        int rows = number ? 16 - i % 16 : 1 + i % 16;
        config.rows[1] = (uint8_t)rows;
        memset(in, 16 * number + i, sizeof in);
        configure(&config);
        pthread_barrier_wait(&gate);
        LOAD(1, in, 64);
        pthread_barrier_wait(&gate);
        STORE(1, out, 64);
        for (int b = 0; b < 1024; b++)
            differ += out[b] != (b < 64 * rows ? in[b] : 0);
    }
    return (void *)differ;
}

static void test_threads(void **state)
{
    begin();
    pthread_t thread[2];
    int number[2] = {0, 1};
    assert_int_equal(pthread_barrier_init(&gate, NULL, 2), 0);
    for (int t = 0; t < 2; t++)
        assert_int_equal(pthread_create(&thread[t], NULL, work, &number[t]), 0);
    for (int t = 0; t < 2; t++) {
        void *differ;
        assert_int_equal(pthread_join(thread[t], &differ), 0);
        assert_ptr_equal(differ, NULL);
    }
    pthread_barrier_destroy(&gate);
}

/* ---- the handler ----------------------------------------------------------------------------- */

static void test_count(void **state)
{
    begin();
    uint64_t was = amx_emulate_count();
    struct config config = whole();
    uint8_t tile[1024] = {0};
    configure(&config);
    LOAD(1, tile, 64);
    __asm__ volatile("tilezero %tmm2\n\ttilezero %tmm3\n\tnop\n\ttdpbusd %tmm2, %tmm3, %tmm1");
    STORE(1, tile, 64);
    __asm__ volatile("tilerelease");
    assert_int_equal(amx_emulate_count() - was, 7);
    assert_int_equal(amx_emulate_start(), -1);
    assert_int_equal(errno, EALREADY);
}

static volatile int caught;
static sigjmp_buf back;

static void step_over(int sig, siginfo_t *info, void *context)
{
    caught++;
    ((ucontext_t *)context)->uc_mcontext.gregs[REG_RIP] += 2;
}

static void jump_back(int sig)
{
    caught++;
    siglongjmp(back, 1);
}

static void test_other_instruction(void **state)
{
    struct sigaction cmocka, mine = {.sa_sigaction = step_over, .sa_flags = SA_SIGINFO}, now;
    assert_int_equal(sigaction(SIGILL, &mine, &cmocka), 0);
    begin();
    caught = 0;
    __asm__ volatile("ud2");
    assert_int_equal(caught, 1);
    amx_emulate_stop();
    __asm__ volatile("ud2");
    assert_int_equal(caught, 2);
    assert_int_equal(sigaction(SIGILL, NULL, &now), 0);
    assert_ptr_equal(now.sa_sigaction, step_over);

    mine.sa_handler = jump_back;
    mine.sa_flags = 0;
    assert_int_equal(sigaction(SIGILL, &mine, NULL), 0);
    begin();
    for (volatile int i = 0; i < 2; i++)
        if (!sigsetjmp(back, 1))
            __asm__ volatile("ud2");
    assert_int_equal(caught, 4);
    amx_emulate_stop();
    amx_emulate_stop();
    sigaction(SIGILL, &cmocka, NULL);
}

static void default_dies(void)
{
    amx_emulate_stop();
    signal(SIGILL, SIG_DFL);
    if (!amx_emulate_start())
        __asm__ volatile("ud2");
}

static void do_unconfigured(void)
{
    struct config c = {.palette = 0};
    configure(&c);
    LOAD(1, field, 64);
}

static void configure_shape(int t, int rows, int bytes)
{
    struct config c = whole();
    c.rows[t] = (uint8_t)rows;
    c.row_bytes[t] = (uint16_t)bytes;
    configure(&c);
}

static void do_no_tile(void)
{
    configure_shape(3, 0, 0);
    __asm__ volatile("tilezero %tmm3");
}

static void do_ragged(void)
{
    configure_shape(2, 16, 62);
    STORE(2, field, 64);
}

static void do_rows(void)
{
    configure_shape(2, 15, 64);
    product_765(SS);
    product_012(US);
}

static void do_columns(void)
{
    configure_shape(0, 16, 60);
    product_012(BF16);
}

static void do_depth(void)
{
    configure_shape(1, 16, 60);
    product_012(UU);
}

static void do_height(void)
{
    configure_shape(0, 9, 64);
    product_012(SU);
}

static void do_too_high(void)
{
    configure_shape(0, 17, 64);
}

static void do_too_wide(void)
{
    configure_shape(0, 16, 65);
}

static void do_half_empty(void)
{
    configure_shape(6, 0, 64);
}

static void do_ninth(void)
{
    configure_shape(8, 1, 4);
}

static void do_palette(void)
{
    struct config c = whole();
    c.palette = 2;
    configure(&c);
}

static void do_reserved(void)
{
    struct config c = whole();
    c.reserved[13] = 1;
    configure(&c);
}

static void do_start_row(void)
{
    struct config c = whole();
    c.start_row = 1;
    configure(&c);
}

static void do_twice(void)
{
    configure_shape(0, 16, 64);
    /* tdpbusd %tmm2, %tmm2, %tmm1: assemblers do not write it */
    __asm__ volatile(".byte 0xc4, 0xe2, 0x69, 0x5e, 0xca");
}

static void do_segment(void)
{
    configure_shape(0, 16, 64);
    __asm__ volatile("tileloadd %%fs:(%0,%1,1), %%tmm0" : : "r"(field), "r"(64L));
}

static void do_address_size(void)
{
    configure_shape(0, 16, 64);
    __asm__ volatile("tileloadd (%%eax,%%ecx,1), %%tmm0" : : "a"(field), "c"(64L));
}

static const struct {
    void (*run)(void);
    int sig;
    const char *says;
} wrongs[] = {
    {default_dies, SIGILL, ""},
    {do_unconfigured, SIGABRT, "tileloadd at "},
    {do_unconfigured, SIGABRT, ": no tile is configured"},
    {do_no_tile, SIGABRT, ": tmm3 is not configured"},
    {do_ragged, SIGABRT, ": tmm2 has rows of 62 bytes, no multiple of 4"},
    {do_rows, SIGABRT, ": rows of 64 bytes in tmm1 for 15 rows in tmm2"},
    {do_columns, SIGABRT, ": rows of 60 bytes in tmm0, of 64 in tmm2"},
    {do_depth, SIGABRT, ": rows of 60 bytes in tmm1 for 16 rows in tmm2"},
    {do_height, SIGABRT, ": 9 rows in tmm0, 16 in tmm1"},
    {do_too_high, SIGABRT, ": tmm0 of 17 rows of 64 bytes"},
    {do_too_wide, SIGABRT, ": tmm0 of 16 rows of 65 bytes"},
    {do_half_empty, SIGABRT, ": tmm6 of 0 rows of 64 bytes"},
    {do_ninth, SIGABRT, ": tmm8 does not exist"},
    {do_palette, SIGABRT, ": palette 2"},
    {do_reserved, SIGABRT, ": byte 15 is 1, but reserved"},
    {do_start_row, SIGABRT, ": start row 1"},
    {do_twice, SIGABRT, ": tmm1, tmm2, tmm2 are not three tiles"},
    {do_segment, SIGABRT, ": it has a prefix"},
    {do_address_size, SIGABRT, ": it has a prefix"},
};

static void test_rules(void **state)
{
    begin();
    for (size_t w = 0; w < sizeof wrongs / sizeof *wrongs; w++) {
        char said[512] = "";
        int pipes[2], status;
        assert_int_equal(pipe(pipes), 0);
        pid_t child = fork();
        assert_true(child >= 0);
        if (!child) {
            dup2(pipes[1], STDERR_FILENO);
            close(pipes[0]);
            signal(SIGABRT, SIG_DFL);
            wrongs[w].run();
            _exit(0);
        }
        close(pipes[1]);
        ssize_t n = read(pipes[0], said, sizeof said - 1);
        close(pipes[0]);
        assert_int_equal(waitpid(child, &status, 0), child);
        if (n < 0 || !WIFSIGNALED(status) || WTERMSIG(status) != wrongs[w].sig ||
            !strstr(said, wrongs[w].says))
            fail_msg("%zu: status %x, said: %s", w, (unsigned)status, said);
    }
}

/* ---- a CPU that configures tiles itself ------------------------------------------------------ */

/* Such a CPU, for a child that waits to be traced: its tilerelease is stepped over, so that no
 * handler hears of it, as if it had been executed. Returns the child's exit status, or -1. */
static int run_with_release(pid_t child)
{
    static const uint8_t release[5] = {0xc4, 0xe2, 0x78, 0x49, 0xc0};
    int status = -1;
    while (waitpid(child, &status, 0) == child && WIFSTOPPED(status)) {
        struct user_regs_struct regs;
        int sig = WSTOPSIG(status) == SIGSTOP ? 0 : WSTOPSIG(status);
        if (sig == SIGILL && !ptrace(PTRACE_GETREGS, child, NULL, &regs)) {
            errno = 0;
            long code = ptrace(PTRACE_PEEKTEXT, child, (void *)regs.rip, NULL);
            if (!errno && !memcmp(&code, release, sizeof release)) {
                regs.rip += sizeof release;
                sig = ptrace(PTRACE_SETREGS, child, NULL, &regs) ? SIGILL : 0;
            }
        }
        if (ptrace(PTRACE_CONT, child, NULL, (void *)(intptr_t)sig))
            return -1;
    }
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

enum declined { DECLINED, STARTED, OTHER_REASON, HANDLER_LEFT, NO_TRACER };

static _Noreturn void start_and_tell(void)
{
    struct sigaction before, after;
    if (ptrace(PTRACE_TRACEME, 0, NULL, NULL))
        _exit(NO_TRACER);
    raise(SIGSTOP);
    sigaction(SIGILL, NULL, &before);
    if (!amx_emulate_start())
        _exit(STARTED);
    if (errno != EEXIST)
        _exit(OTHER_REASON);
    sigaction(SIGILL, NULL, &after);
    _exit(after.sa_handler == before.sa_handler ? DECLINED : HANDLER_LEFT);
}

/* What a CPU with tiles does before the process asks for them: what the emulator must notice. */
static void test_declines(void **state)
{
    pid_t child = fork();
    assert_true(child >= 0);
    if (!child)
        start_and_tell();
    int said = run_with_release(child);
    if (said == NO_TRACER)
        skip(); /* the system forbids tracing */
    assert_int_equal(said, DECLINED);
}

/* ------------------------------------------------------------------------------------------------
 */

static int end(void **state)
{
    amx_emulate_stop();
    return 0;
}

#define EMULATED(F) cmocka_unit_test_teardown(F, end)

int main(void)
{
    const struct CMUnitTest emulated[] = {
        EMULATED(test_addressing), EMULATED(test_addressing_bare),
        EMULATED(test_products),   EMULATED(test_mxcsr),
        EMULATED(test_zero),       EMULATED(test_threads),
        EMULATED(test_count),      EMULATED(test_other_instruction),
        EMULATED(test_rules),      EMULATED(test_declines),
    };
    const struct CMUnitTest on_tiles[] = {
        cmocka_unit_test(test_addressing), cmocka_unit_test(test_addressing_bare),
        cmocka_unit_test(test_products),   cmocka_unit_test(test_mxcsr),
        cmocka_unit_test(test_zero),       cmocka_unit_test(test_threads),
    };
    if (!amx_emulate_start()) {
        amx_emulate_stop();
        return cmocka_run_group_tests(emulated, NULL, NULL);
    }
    if (errno != EEXIST) {
        printf("1..0 # SKIP no emulator: %s\n", strerror(errno));
        return 0;
    }
    if (!amx_available()) {
        printf("1..0 # SKIP the CPU configures tiles, but gives no use of them\n");
        return 0;
    }
    native = 1;
    printf("# on this CPU's own tiles\n");
    return cmocka_run_group_tests(on_tiles, NULL, NULL);
}
