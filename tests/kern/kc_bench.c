/* kerncheck --bench [--threads N] [--mb M] [--cols K] [--isa NAME] [--reps R] [FILTER]
 *
 * Measures kernels next to the machine's peaks, measured right before and after each: matrix
 * products against read bandwidth (few tokens) or the int8 dot, float or bf16 tile peak (many),
 * attention against both. Products in bf16 only where they are fast. FILTER keeps the lines that
 * contain it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kc.h"
#include "kern/peak.h"

static struct {
    int threads, reps, cols;
    size_t bytes;
    const char *filter;
    enum kern_isa isa;
    struct peak_mem mem;
} opt;

struct timed {
    void (*part)(void *arg, int i);
    void *arg;
    double seconds[64];
};

static void timed_part(void *arg, int i)
{
    struct timed *t = arg;
    double begin = peak_cpu_seconds();
    t->part(t->arg, i);
    t->seconds[i] = peak_cpu_seconds() - begin;
}

/* CPU seconds of the slowest thread, best of reps runs. */
static double best_of(void (*part)(void *arg, int i), void *arg)
{
    struct timed t = {part, arg, {0}};
    double best = 1e9;
    for (int k = 0; k < opt.reps; k++) {
        double s = 0;
        peak_run(NULL, opt.threads, timed_part, &t);
        for (int i = 0; i < opt.threads; i++)
            s = t.seconds[i] > s ? t.seconds[i] : s;
        best = s < best ? s : best;
    }
    return best;
}

static double peak(int which)
{
    return which == 0   ? peak_read(&opt.mem, opt.isa, NULL, 3)
           : which == 1 ? peak_dot(opt.isa, opt.threads, NULL, 3)
           : which == 3 ? peak_tiles(1, opt.threads, NULL, 3)
                        : peak_fma(opt.isa, opt.threads, NULL, 3);
}

/* amount per run against the peak `which`: 0 bytes read, 1 int8 macs, 2 float macs, 3 bf16
 * macs in tiles. */
static void report(const char *name, int which, double amount, void (*part)(void *, int), void *arg)
{
    static const char *const units[] = {"GB/s", "GMAC/s int8", "GMAC/s f32", "GMAC/s bf16"};
    if (opt.filter && !strstr(name, opt.filter))
        return;
    double before = peak(which), s = best_of(part, arg), after = peak(which);
    double top = before > after ? before : after, rate = amount / s;
    printf("%-44s %9.2f %-12s %5.1f %% of %.2f\n", name, rate * 1e-9, units[which],
           100 * rate / top, top * 1e-9);
    fflush(stdout);
}

static int skip(const char *name)
{
    return opt.filter && !strstr(name, opt.filter);
}

/* ---- matrix products ------------------------------------------------------------------------- */

enum mat_kind { MAT_F32, MAT_Q8, MAT_BF16 };
static const char *const mat_names[] = {"f32", "q8", "bf16"};

struct mat_job {
    const struct kern_table *t;
    struct kern_mat m;
    struct kern_act a;
    uint16_t *x;
    size_t x_stride;
    float *out;
    int n;
    enum mat_kind kind;
};

/* A thread's share of the groups, in claims of the table's size. */
static void mat_part(void *arg, int i)
{
    struct mat_job *j = arg;
    int groups = kern_mat_groups(&j->m), chunk = j->kind == MAT_BF16 ? 32 : j->t->chunk_groups;
    int g0 = (int)((int64_t)groups * i / opt.threads);
    int g1 = (int)((int64_t)groups * (i + 1) / opt.threads);
    for (int g = g0; g < g1; g += chunk) {
        int end = g + chunk < g1 ? g + chunk : g1;
        if (j->kind == MAT_BF16)
            j->t->matmul_bf16(&j->m, g, end, j->x, j->x_stride, j->n, j->out, (size_t)j->m.rows);
        else
            (j->kind == MAT_Q8 ? j->t->matmul_q8 : j->t->matmul_f32)(
                &j->m, g, end, &j->a, NULL, j->n, j->out, (size_t)j->m.rows);
    }
}

/* The rows of a in bf16. */
static void x_init(struct mat_job *j)
{
    j->x_stride = (size_t)j->a.cols + 32;
    j->x = aligned_alloc(64, ((size_t)j->n + 16) * j->x_stride * 2);
    memset(j->x, 0, ((size_t)j->n + 16) * j->x_stride * 2);
    for (int i = 0; i < j->n; i++)
        j->t->to_bf16(j->a.f + (size_t)i * j->a.f_stride, j->a.cols,
                      j->x + (size_t)i * j->x_stride);
}

static void act_init(struct kern_act *a, int n, int cols)
{
    size_t len = (size_t)n * (size_t)cols;
    float *f = malloc(len * 4);
    for (size_t i = 0; i < len; i++)
        f[i] = kc_uniform(-2, 2);
    *a = (struct kern_act){.n = n, .cols = cols, .f = f, .f_stride = (size_t)cols};
    a->q = malloc(len);
    a->scale = malloc(len / 8);
    a->sum = malloc(len / 8);
    for (int i = 0; i < n; i++)
        kc_table[opt.isa]->quantize(a, i);
}

static void act_done(struct kern_act *a)
{
    free((void *)(size_t)a->f);
    free(a->q);
    free(a->scale);
    free(a->sum);
}

static void bench_mat(enum mat_kind kind, enum kern_fmt fmt, const int *counts, int n_counts)
{
    const int cols = opt.cols;
    char name[96];
    size_t group = kern_group_bytes(fmt, cols);
    struct mat_job j = {.t = kc_table[opt.isa], .kind = kind};
    int groups = (int)(opt.bytes / group), any = 0;
    for (int i = 0; i < n_counts; i++) {
        snprintf(name, sizeof name, "matmul_%s %s n=%d", mat_names[kind], kern_fmt_info(fmt)->name,
                 counts[i]);
        any |= !skip(name);
    }
    if (!any)
        return;
    uint8_t *data = peak_huge_alloc(group * (size_t)groups);
    struct kern_mat one = kc_repack(fmt, kc_weights(fmt, 16, cols, KC_NORMAL), 16, cols);
    for (int g = 0; g < groups; g++)
        memcpy(data + (size_t)g * group, one.data, group);
    for (int i = 0; i < n_counts; i++) {
        int n = counts[i], g = n > 64 ? (groups < 64 ? groups : 64) : groups;
        j.m = (struct kern_mat){fmt, g * 16, cols, data};
        j.n = n;
        snprintf(name, sizeof name, "matmul_%s %s n=%d", mat_names[kind], kern_fmt_info(fmt)->name,
                 n);
        act_init(&j.a, n, cols);
        x_init(&j);
        j.out = malloc((size_t)n * (size_t)g * 16 * 4);
        memset(j.out, 0, (size_t)n * (size_t)g * 16 * 4);
        double macs = (double)n * g * 16 * cols;
        if (n <= 4)
            report(name, 0, (double)group * g, mat_part, &j);
        else
            report(name, kind == MAT_Q8 ? 1 : kind == MAT_BF16 ? 3 : 2, macs, mat_part, &j);
        free(j.out);
        free(j.x);
        act_done(&j.a);
    }
    peak_huge_free(data, group * (size_t)groups);
    kc_free_all();
}

/* ---- attention ------------------------------------------------------------------------------- */

struct attn_job {
    const struct kern_table *t;
    struct kern_attn a; /* of head 0; head h's KV lies heads_bytes further */
    int heads;          /* KV heads */
    size_t head_bytes;
};

static void attn_part(void *arg, int i)
{
    struct attn_job *j = arg;
    size_t row = (size_t)(j->a.n_group * j->a.head_dim);
    for (int h = j->heads * i / opt.threads; h < j->heads * (i + 1) / opt.threads; h++) {
        struct kern_attn a = j->a;
        a.base += (size_t)h * j->head_bytes;
        a.q += (size_t)h * row;
        a.out += (size_t)h * row;
        j->t->attn(&a);
    }
}

static void bench_attn(enum kern_kv kv, int dim, int n_group, int ctx, int n_tok)
{
    char name[96];
    enum { HEADS = 16 };
    snprintf(name, sizeof name, "attn %s dim=%d group=%d ctx=%d n=%d",
             kv == KERN_KV_F16   ? "f16"
             : kv == KERN_KV_F32 ? "f32"
                                 : "q8_0",
             dim, n_group, ctx, n_tok);
    if (skip(name))
        return;
    int pages = (ctx + KERN_PAGE - 1) / KERN_PAGE;
    struct attn_job j = {.t = kc_table[opt.isa], .heads = HEADS};
    j.head_bytes = kern_kv_head_bytes(kv, dim);
    size_t stride = j.head_bytes * HEADS, row = (size_t)(HEADS * n_group * dim);
    uint8_t *base = peak_huge_alloc(stride * (size_t)pages);
    int32_t *page = malloc((size_t)pages * 4);
    float *q = malloc((size_t)n_tok * row * 4), *out = malloc((size_t)n_tok * row * 4);
    float *k = malloc((size_t)dim * 4);
    for (int i = 0; i < dim; i++)
        k[i] = kc_uniform(-1, 1);
    for (int p = 0; p < pages; p++) {
        page[p] = (p * 7 + 3) % pages;
        for (int s = 0; s < HEADS * KERN_PAGE; s++)
            j.t->kv_store(kv, base + (size_t)p * stride + (size_t)(s / 32) * j.head_bytes, dim,
                          s % 32, k, k);
    }
    if (pages % 7 == 0)
        for (int p = 0; p < pages; p++)
            page[p] = p;
    for (size_t i = 0; i < (size_t)n_tok * row; i++)
        q[i] = kc_uniform(-1, 1);
    j.a = (struct kern_attn){.kv = kv,
                             .head_dim = dim,
                             .n_group = n_group,
                             .pos = ctx - n_tok,
                             .n_tok = n_tok,
                             .scale = 0.1f,
                             .base = base,
                             .page_stride = stride,
                             .page = page,
                             .q = q,
                             .q_stride = row,
                             .out = out,
                             .out_stride = row};
    if (n_tok == 1)
        report(name, 0, (double)stride * pages, attn_part, &j);
    else
        report(name, 2, 2.0 * HEADS * n_group * dim * n_tok * ((double)ctx - 0.5 * (double)n_tok),
               attn_part, &j);
    free(page);
    free(q);
    free(out);
    free(k);
    peak_huge_free(base, stride * (size_t)pages);
}

/* ---- vectors --------------------------------------------------------------------------------- */

static void bench_vec(void)
{
    enum { N = 4096, ROUNDS = 2000 };
    static float x[N], y[N], z[N];
    static int8_t q[N];
    static float scale[N / 32];
    static int16_t sum[N / 16];
    const struct kern_table *t = kc_table[opt.isa];
    struct kern_act a = {1, N, x, N, q, scale, sum};
    static const char *const names[] = {"quantize", "rmsnorm", "glu silu", "glu gelu",
                                        "rope",     "argmax",  "sum_exp",  "axpy"};
    for (int i = 0; i < N; i++)
        x[i] = kc_uniform(-3, 3);
    for (int f = 0; f < 8; f++) {
        if (skip(names[f]))
            continue;
        double best = 1e9;
        int32_t at;
        for (int r = 0; r < opt.reps; r++) {
            double begin = peak_cpu_seconds();
            for (int k = 0; k < ROUNDS / 10; k++) {
                if (f == 0)
                    t->quantize(&a, 0);
                else if (f == 1)
                    t->rmsnorm(x, x, 1e-5f, N, y);
                else if (f == 2 || f == 3)
                    t->glu(f == 2 ? KERN_SILU : KERN_GELU_TANH, x, y, N, z);
                else if (f == 4)
                    t->rope(z, N / 64, 64, 64, 0, x, y);
                else if (f == 5)
                    t->argmax(x, N, &at);
                else if (f == 6)
                    y[0] += t->sum_exp(x, 3.0f, N);
                else
                    t->axpy(z, 1e-3f, x, N);
            }
            double s = (peak_cpu_seconds() - begin) / (ROUNDS / 10);
            best = s < best ? s : best;
        }
        printf("%-44s %9.3f ns/value\n", names[f], best * 1e9 / N);
    }
}

int kc_bench(int argc, char **argv)
{
    static const int q8_counts[] = {1, 2, 4, 8, 12, 16, 64, 512}, f32_counts[] = {1, 4, 12, 256};
    opt.threads = 1;
    opt.reps = 5;
    opt.cols = 2048;
    opt.bytes = (size_t)128 << 20;
    kern_isa_parse("auto", &opt.isa, NULL);
    for (int i = 0; i < argc; i++) {
        const char *v = i + 1 < argc ? argv[i + 1] : "";
        if (strcmp(argv[i], "--threads") == 0)
            opt.threads = atoi(v), i++;
        else if (strcmp(argv[i], "--mb") == 0)
            opt.bytes = (size_t)atoi(v) << 20, i++;
        else if (strcmp(argv[i], "--reps") == 0)
            opt.reps = atoi(v), i++;
        else if (strcmp(argv[i], "--cols") == 0)
            opt.cols = atoi(v) / 256 * 256, i++;
        else if (strcmp(argv[i], "--isa") == 0) {
            if (kern_isa_parse(v, &opt.isa, NULL) != 0 || opt.isa == KERN_ISA_SCALAR)
                return 2;
            i++;
        } else
            opt.filter = argv[i];
    }
    kc_table[KERN_ISA_SCALAR] = kc_ref;
    if (opt.threads < 1 || opt.threads > 64 || opt.cols < 256 ||
        peak_mem_init(&opt.mem, opt.threads, opt.bytes / (size_t)opt.threads, NULL) != 0)
        return 2;
    printf("%s, %d threads, working set %zu MB\n", kern_isa_name(opt.isa), opt.threads,
           opt.bytes >> 20);
    printf("limits: read %.1f GB/s, int8 dot %.0f GMAC/s, f32 fma %.0f GMAC/s\n", peak(0) * 1e-9,
           peak(1) * 1e-9, peak(2) * 1e-9);
    for (int f = 0; f < KERN_N_FMT; f++) {
        if (kern_fmt_info((enum kern_fmt)f)->is_float)
            bench_mat(MAT_F32, (enum kern_fmt)f, f32_counts, 4);
        else
            bench_mat(MAT_Q8, (enum kern_fmt)f, q8_counts, 8);
    }
    static const int bf16_counts[] = {16, 64, 256, 512};
    for (int f = 0; f < KERN_N_FMT && kc_table[opt.isa]->fast_bf16; f++) {
        if (!kern_fmt_info((enum kern_fmt)f)->is_float || f == KERN_BF16)
            bench_mat(MAT_BF16, (enum kern_fmt)f, bf16_counts, 4);
    }
    bench_mat(MAT_F32, KERN_Q4_1, f32_counts + 2, 2);
    bench_mat(MAT_F32, KERN_Q8_0, f32_counts + 2, 2);
    bench_attn(KERN_KV_F16, 64, 3, 2048, 1);
    bench_attn(KERN_KV_F16, 64, 1, 2048, 1);
    bench_attn(KERN_KV_F16, 128, 4, 8192, 1);
    bench_attn(KERN_KV_F16, 256, 4, 2048, 1);
    bench_attn(KERN_KV_F16, 64, 3, 512, 512);
    bench_attn(KERN_KV_F16, 64, 3, 2048, 512);
    bench_attn(KERN_KV_F16, 256, 4, 512, 512);
    bench_attn(KERN_KV_F32, 64, 3, 2048, 512);
    bench_attn(KERN_KV_Q8_0, 64, 3, 2048, 1);
    bench_attn(KERN_KV_Q8_0, 256, 4, 2048, 1);
    bench_attn(KERN_KV_Q8_0, 64, 3, 2048, 512);
    bench_vec();
    peak_mem_done(&opt.mem);
    return 0;
}
