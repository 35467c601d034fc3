#include "cmd/peaks.h"

#include <stdio.h>
#include <string.h>

#include "base/err.h"

#define ROUNDS 3
#define MIB    ((size_t)1 << 20)

static size_t clamp(size_t v, size_t low, size_t high)
{
    return v < low ? low : v > high ? high : v;
}

static int read_rate(double *ret, enum kern_isa isa, int threads, size_t set)
{
    struct peak_mem mem;

    if (peak_mem_init(&mem, threads, set / (size_t)threads, NULL))
        return ERR_NOMEM;
    *ret = peak_read(&mem, isa, NULL, ROUNDS);
    peak_mem_done(&mem);
    return 0;
}

/* Bytes that each thread reads: its part of the weights, but at least 1 MiB, as a smaller model
 * would be read from the caches. */
static size_t weights_set(size_t set, int threads)
{
    return clamp(set / (size_t)threads, MIB, 1024 * MIB) * (size_t)threads;
}

int machine_measure(struct machine *m, size_t set)
{
    int rc = read_rate(&m->read, m->isa, m->threads, weights_set(set, m->threads));

    m->dot = peak_dot(m->isa, m->threads, NULL, ROUNDS);
    m->fma = peak_fma(m->isa, m->threads, NULL, ROUNDS);
    m->tiles = m->isa >= KERN_ISA_AMX ? peak_tiles(1, m->threads, NULL, ROUNDS) : 0;
    return rc;
}

static void add(struct peaks *l, const char *what, const char *unit, int threads, size_t bytes,
                double rate)
{
    if (rate > 0 && l->n < PEAKS_MAX)
        l->row[l->n++] = (struct peak){what, unit, threads, bytes, rate / 1e9};
}

static int add_read(struct peaks *l, const char *what, enum kern_isa isa, int threads, size_t set)
{
    double rate;
    int rc = read_rate(&rate, isa, threads, set);

    if (!rc)
        add(l, what, "GB/s", threads, set, rate);
    return rc;
}

/* Measure with t threads. The working sets: half of each L2; one that is larger than all L2 but
 * fits the L3 of one socket; one beyond any L3, up to 1 GiB. */
static int measure_for(struct peaks *l, const struct machine *m, size_t set, int t, size_t l2,
                       size_t l3)
{
    size_t n = (size_t)t, mid = clamp(l3 / 4, 4 * l2 * n, 64 * MIB * n);
    int rc = 0;

    if (l2)
        rc = add_read(l, "read L2", m->isa, t, l2 / 2 * n);
    if (!rc && l2 && mid <= l3 / 2)
        rc = add_read(l, "read L3", m->isa, t, mid);
    if (!rc && t != m->threads)
        rc = add_read(l, "read weights", m->isa, t, weights_set(set, t));
    else if (!rc)
        add(l, "read weights", "GB/s", t, weights_set(set, t), m->read);
    if (!rc)
        rc = add_read(l, "read memory", m->isa, t, clamp(4 * l3, 256 * MIB, 1024 * MIB));
    add(l, "int8 dot", "GMAC/s", t, 0,
        t == m->threads ? m->dot : peak_dot(m->isa, t, NULL, ROUNDS));
    add(l, "f32 fma", "GMAC/s", t, 0, t == m->threads ? m->fma : peak_fma(m->isa, t, NULL, ROUNDS));
    add(l, "AMX int8", "GMAC/s", t, 0, peak_tiles(0, t, NULL, ROUNDS));
    add(l, "AMX bf16", "GMAC/s", t, 0, peak_tiles(1, t, NULL, ROUNDS));
    return rc;
}

int peaks_measure(struct peaks *l, const struct machine *m, size_t set)
{
    size_t l2, l3;
    int rc = 0;

    l->n = 0;
    peak_caches(&l2, &l3);
    if (m->threads > 1)
        rc = measure_for(l, m, set, 1, l2, l3);
    return rc ? rc : measure_for(l, m, set, m->threads, l2, l3);
}

void peaks_print(const struct peaks *l)
{
    printf("%-14s %7s %12s %10s\n", "limit", "threads", "over", "");
    for (int i = 0; i < l->n; i++) {
        const struct peak *r = &l->row[i];
        char over[32] = "registers";
        if (r->bytes)
            snprintf(over, sizeof over, "%.1f MB", (double)r->bytes / 1e6);
        printf("%-14s %7d %12s %10.1f %s\n", r->what, r->threads, over, r->value, r->unit);
    }
    puts("");
}

json_t *peaks_json(const struct peaks *l)
{
    json_t *all = json_array();

    for (int i = 0; i < l->n; i++) {
        const struct peak *r = &l->row[i];
        json_array_append_new(all, json_pack("{s:s, s:i, s:I, s:f, s:s}", "what", r->what,
                                             "threads", r->threads, "bytes", (json_int_t)r->bytes,
                                             "value", r->value, "unit", r->unit));
    }
    return all;
}
