#include "kern/peak.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/err.h"
#include "kern/amx.h"
#include "kern/isa.h"
#include "kern/peak_isa.h"

#define THREADS_MAX 64
#define HUGE_BYTES  ((size_t)2 << 20)

static uint64_t scalar_peak_read(const uint8_t *p, size_t n)
{
    uint64_t sum = 0, v;
    for (size_t i = 0; i + 8 <= n; i += 8) {
        memcpy(&v, p + i, 8);
        sum += v;
    }
    return sum;
}

/* The products go through memory that the compiler may not see through. */
static int32_t scalar_peak_dot(int64_t iters)
{
    volatile int8_t a = 3, b = -7;
    int32_t sum[4] = {0};
    for (int64_t i = 0; i < iters; i++)
        for (int k = 0; k < 4; k++)
            sum[k] += a * b;
    return sum[0] + sum[1] + sum[2] + sum[3];
}

static float scalar_peak_fma(int64_t iters)
{
    volatile float a = 0.5f;
    float sum[4] = {0};
    for (int64_t i = 0; i < iters; i++)
        for (int k = 0; k < 4; k++)
            sum[k] += a * 0.25f;
    return sum[0] + sum[1] + sum[2] + sum[3];
}

static const struct peak_isa scalar_peak = {scalar_peak_read, scalar_peak_dot, 4, scalar_peak_fma,
                                            4};

static const struct peak_isa *peak_of(enum kern_isa isa)
{
    for (int i = (int)isa; i > KERN_ISA_SCALAR; i--)
        if (isa_rows[i].peak && kern_isa_available((enum kern_isa)i))
            return isa_rows[i].peak;
    return &scalar_peak;
}

/* ---- threads --------------------------------------------------------------------------------- */

struct own_thread {
    pthread_t id;
    void (*fn)(void *arg, int i);
    void *arg;
    int i;
};

static void *own_main(void *p)
{
    struct own_thread *t = p;
    t->fn(t->arg, t->i);
    return NULL;
}

void peak_run(const struct peak_team *team, int n, void (*fn)(void *arg, int i), void *arg)
{
    CHECK(n >= 1 && n <= THREADS_MAX);
    if (team && team->run) {
        team->run(team->arg, n, fn, arg);
        return;
    }
    struct own_thread t[THREADS_MAX];
    int started[THREADS_MAX];
    for (int i = 1; i < n; i++) {
        t[i] = (struct own_thread){.fn = fn, .arg = arg, .i = i};
        started[i] = pthread_create(&t[i].id, NULL, own_main, &t[i]) == 0;
    }
    fn(arg, 0);
    for (int i = 1; i < n; i++) {
        if (started[i])
            pthread_join(t[i].id, NULL);
        else
            fn(arg, i);
    }
}

/* ---- memory ---------------------------------------------------------------------------------- */

void *peak_huge_alloc(size_t n)
{
    n = (n + HUGE_BYTES - 1) / HUGE_BYTES * HUGE_BYTES;
    /* an aligned start: map more, give back what is around */
    uint8_t *p =
        mmap(NULL, n + HUGE_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED)
        return NULL;
    size_t before = (HUGE_BYTES - (uintptr_t)p % HUGE_BYTES) % HUGE_BYTES;
    if (before)
        munmap(p, before);
    munmap(p + before + n, HUGE_BYTES - before);
    madvise(p + before, n, MADV_HUGEPAGE);
    return p + before;
}

void peak_huge_free(void *p, size_t n)
{
    if (p)
        munmap(p, (n + HUGE_BYTES - 1) / HUGE_BYTES * HUGE_BYTES);
}

static void touch_part(void *arg, int i)
{
    struct peak_mem *m = arg;
    memset(m->data + (size_t)i * m->bytes_per_thread, 1, m->bytes_per_thread);
}

int peak_mem_init(struct peak_mem *m, int n, size_t bytes_per_thread, const struct peak_team *team)
{
    m->bytes_per_thread = (bytes_per_thread + 4095) / 4096 * 4096;
    m->n = n;
    m->data = peak_huge_alloc(m->bytes_per_thread * (size_t)n);
    if (!m->data)
        return ERR_NOMEM;
    peak_run(team, n, touch_part, m);
    return 0;
}

void peak_mem_done(struct peak_mem *m)
{
    if (m && m->data) {
        peak_huge_free(m->data, m->bytes_per_thread * (size_t)m->n);
        m->data = NULL;
    }
}

/* ---- rounds ---------------------------------------------------------------------------------- */

double peak_cpu_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

enum what { READ, DOT, FMA, TILES_INT8, TILES_BF16 };

struct round {
    enum what what;
    const struct peak_isa *isa;
    const struct peak_mem *mem;
    int64_t iters; /* of a thread */
    int n;
    atomic_int ready;
    double seconds[THREADS_MAX];
    volatile uint64_t sink[THREADS_MAX];
};

static void round_part(void *arg, int i)
{
    struct round *r = arg;
    /* start together; give up waiting where threads run one after another */
    int64_t limit = clock_now_us() + 2000;
    atomic_fetch_add(&r->ready, 1);
    while (atomic_load(&r->ready) < r->n && clock_now_us() < limit)
        ;
    int tiles = r->what == TILES_INT8 || r->what == TILES_BF16;
    if (tiles)
        amx_begin();
    double begin = peak_cpu_seconds();
    if (r->what == TILES_INT8) {
        amx_peak_int8(r->iters);
    } else if (r->what == TILES_BF16) {
        amx_peak_bf16(r->iters);
    } else if (r->what == READ) {
        size_t bytes = r->mem->bytes_per_thread;
        for (int64_t k = 0; k < r->iters; k++)
            r->sink[i] += r->isa->read(r->mem->data + (size_t)i * bytes, bytes);
    } else if (r->what == DOT) {
        r->sink[i] += (uint64_t)(uint32_t)r->isa->dot(r->iters);
    } else {
        r->sink[i] += r->isa->fma(r->iters) > 1.0f;
    }
    r->seconds[i] = peak_cpu_seconds() - begin;
    if (tiles)
        amx_end();
}

/* The best of reps rounds, in units/s; a thread does `units` a round. */
static double best_round(struct round *r, double units, const struct peak_team *team, int reps)
{
    double best = 0;
    for (int k = 0; k < reps; k++) {
        atomic_store(&r->ready, 0);
        peak_run(team, r->n, round_part, r);
        double seconds = 1e-9;
        for (int i = 0; i < r->n; i++)
            seconds = r->seconds[i] > seconds ? r->seconds[i] : seconds;
        double rate = units * r->n / seconds;
        best = rate > best ? rate : best;
    }
    return best;
}

double peak_read(const struct peak_mem *m, enum kern_isa isa, const struct peak_team *team,
                 int reps)
{
    struct round r = {.what = READ, .isa = peak_of(isa), .mem = m, .n = m->n};
    r.iters = (int64_t)(((size_t)16 << 20) / m->bytes_per_thread) + 1;
    return best_round(&r, (double)r.iters * (double)m->bytes_per_thread, team, reps);
}

double peak_dot(enum kern_isa isa, int n, const struct peak_team *team, int reps)
{
    struct round r = {.what = DOT, .isa = peak_of(isa), .n = n, .iters = 1 << 20};
    return best_round(&r, (double)r.iters * r.isa->dot_macs, team, reps);
}

double peak_fma(enum kern_isa isa, int n, const struct peak_team *team, int reps)
{
    struct round r = {.what = FMA, .isa = peak_of(isa), .n = n, .iters = 1 << 20};
    return best_round(&r, (double)r.iters * r.isa->fma_macs, team, reps);
}

double peak_tiles(int bf16, int n, const struct peak_team *team, int reps)
{
    if (!amx_available())
        return 0;
    struct round r = {.what = bf16 ? TILES_BF16 : TILES_INT8, .n = n, .iters = 1 << 16};
    return best_round(&r, (double)r.iters * (bf16 ? AMX_BF16_MACS : AMX_INT8_MACS), team, reps);
}

/* From the system's tables: glibc's sysconf computes shared caches from what the CPU says, which in
 * a virtual machine is ten times too much. */
void peak_caches(size_t *ret_l2, size_t *ret_l3)
{
    *ret_l2 = *ret_l3 = 0;
    for (int i = 0; i < 8; i++) {
        char path[80];
        int level = 0;
        unsigned kib = 0;
        FILE *f;

        snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu0/cache/index%d/level", i);
        f = fopen(path, "re");
        if (!f)
            return;
        if (fscanf(f, "%d", &level) != 1)
            level = 0;
        fclose(f);
        snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu0/cache/index%d/size", i);
        f = fopen(path, "re");
        if (!f)
            return;
        if (fscanf(f, "%uK", &kib) == 1 && level == 2)
            *ret_l2 = (size_t)kib << 10;
        else if (kib && level == 3)
            *ret_l3 = (size_t)kib << 10;
        fclose(f);
    }
}
