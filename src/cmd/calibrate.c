#include "cmd/calibrate.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/sysmem.h"
#include "base/team.h"
#include "cmd/cmd.h"
#include "cmd/progress.h"
#include "hub/hub.h"
#include "kern/peak.h"
#include "serve/energy_store.h"

#define LOADS_MAX   12
#define THREADS_MAX 64                 /* of a load */
#define LOAD_BYTES  ((size_t)32 << 20) /* that each thread reads, beyond its caches */
#define PASSES      2

/* A load, and what it drew in each pass. */
struct load_row {
    int threads;
    int64_t busy_permille[PASSES], uw[PASSES];
};

/* ---- loads ----------------------------------------------------------------------------------- */

/* What engines do: read memory, and multiply; a slice of some tenths of a second. */
static int load_slice(const struct peak_mem *mem, int threads)
{
    enum kern_isa isa = KERN_ISA_SCALAR;

    kern_isa_parse(kern_open(KERN_N_ISA - 1)->name, &isa, NULL);
    if (!threads) {
        clock_sleep_us(50000);
        return 0;
    }
    return peak_read(mem, isa, NULL, 1) <= 0 || peak_dot(isa, threads, NULL, 1) <= 0 ? ERR_INTERNAL
                                                                                     : 0;
}

/* Load until the meter was read once more; *ret: then. */
static int until_read(struct energy_opt *o, const struct peak_mem *mem, int threads,
                      struct energy_look *ret, struct err *e)
{
    const struct serve_energy *s = &o->config.energy;
    struct energy_meter *m = energy_source_meter(o->source);
    int64_t last = clock_now_us() + (3 * s->interval + 2 * s->timeout) * 1000 + 2000000;
    uint64_t n_before;

    energy_meter_look(m, ret);
    n_before = ret->n_readings;
    do {
        if (load_slice(mem, threads))
            return err_set(e, ERR_INTERNAL, "the load cannot run here");
        energy_meter_look(m, ret);
        if (clock_now_us() > last) {
            struct err why;
            energy_source_why(o->source, &why);
            return err_set(e, ERR_TIMEOUT, "the meter tells nothing%s%.300s", why.code ? ": " : "",
                           why.text);
        }
    } while (ret->n_readings == n_before);
    return 0;
}

static int measure(struct energy_opt *o, struct load_row *row, int pass, int64_t seconds,
                   struct err *e)
{
    struct peak_mem mem = {0};
    struct energy_look a, b;
    int64_t began, cpu, us;
    int r = row->threads ? peak_mem_init(&mem, row->threads, LOAD_BYTES, NULL) : 0;

    if (r)
        return err_set(e, r, "no memory for the load");
    r = until_read(o, &mem, row->threads, &a, e);
    began = clock_now_us();
    cpu = clock_process_us();
    while (!r && clock_now_us() - began < seconds * 1000000)
        r = load_slice(&mem, row->threads);
    if (!r)
        r = until_read(o, &mem, row->threads, &b, e);
    us = clock_now_us() - began;
    cpu = clock_process_us() - cpu;
    if (row->threads)
        peak_mem_done(&mem);
    if (r)
        return r;
    if (b.read_us <= a.read_us || b.n_failures > a.n_failures)
        return err_set(e, ERR_AGAIN, "the meter failed while it was read; try again");
    row->busy_permille[pass] = cpu * 1000 / us;
    row->uw[pass] = (b.metered_uj - a.metered_uj) * 1000000 / (b.read_us - a.read_us);
    return 0;
}

/* ---- the curve ------------------------------------------------------------------------------- */

/* Of one pass, or (pass < 0) of the mean of all. What falls within the noise is levelled. */
static void make_curve(const struct load_row *row, int n, int pass, struct energy_curve *c)
{
    c->n = 0;
    for (int i = 0; i < n; i++) {
        struct energy_point p;
        const struct energy_point *before = c->n ? &c->point[c->n - 1] : NULL;
        p.busy_permille =
            (int32_t)(pass < 0 ? (row[i].busy_permille[0] + row[i].busy_permille[1]) / 2
                               : row[i].busy_permille[pass]);
        p.uw = pass < 0 ? (row[i].uw[0] + row[i].uw[1]) / 2 : row[i].uw[pass];
        if (before && p.busy_permille <= before->busy_permille)
            continue;
        if (before && p.uw < before->uw)
            p.uw = before->uw;
        c->point[c->n++] = p;
    }
}

/* How far the curve of the first pass is off in the second, at worst. */
static int32_t error_of(const struct load_row *row, int n)
{
    struct energy_curve first;
    int64_t worst = 0;

    make_curve(row, n, 0, &first);
    for (int i = 0; i < n; i++) {
        int64_t off = energy_curve_uw(&first, row[i].busy_permille[1]) - row[i].uw[1];
        int64_t of = row[i].uw[1] > 0 ? row[i].uw[1] : 1;
        off = (off < 0 ? -off : off) * 1000 / of;
        worst = off > worst ? off : worst;
    }
    return worst > 1000 ? 1000 : (int32_t)worst;
}

/* 0, 1, 2, 4, ... and all threads. */
static int make_rows(struct load_row *row)
{
    int all = team_cpus() < THREADS_MAX ? team_cpus() : THREADS_MAX, n = 0;

    row[n++] = (struct load_row){.threads = 0};
    for (int t = 1; t < all && n < LOADS_MAX - 1; t *= 2)
        row[n++] = (struct load_row){.threads = t};
    row[n++] = (struct load_row){.threads = all};
    return n;
}

static void print_found(const struct load_row *row, int n, const struct energy_calibration *c)
{
    const struct energy_point *last = &c->curve.point[c->curve.n - 1];

    printf("%8s %14s %14s\n", "threads", "first pass", "second pass");
    for (int i = 0; i < n; i++)
        printf("%8d %12.2f W %12.2f W\n", row[i].threads, (double)row[i].uw[0] / 1e6,
               (double)row[i].uw[1] / 1e6);
    printf("\nidle %.2f W", (double)c->curve.point[0].uw / 1e6);
    if (last->busy_permille > c->curve.point[0].busy_permille)
        printf(", and about %.2f W for each thread at work",
               (double)(last->uw - c->curve.point[0].uw) /
                   (double)(last->busy_permille - c->curve.point[0].busy_permille) / 1e3);
    printf("\nthe curve of the first pass is off by at most %.1f %% in the second\n",
           (double)c->error_permille / 10);
}

static void print_json(const struct load_row *row, int n, const struct energy_calibration *c)
{
    json_t *loads = json_array(), *points = json_array();

    for (int i = 0; i < n; i++)
        json_array_append_new(loads,
                              json_pack("{s:i, s:[f, f], s:[f, f]}", "threads", row[i].threads,
                                        "busy", (double)row[i].busy_permille[0] / 1e3,
                                        (double)row[i].busy_permille[1] / 1e3, "watts",
                                        (double)row[i].uw[0] / 1e6, (double)row[i].uw[1] / 1e6));
    for (int i = 0; i < c->curve.n; i++)
        json_array_append_new(points, json_pack("{s:f, s:f}", "busy",
                                                (double)c->curve.point[i].busy_permille / 1e3,
                                                "watts", (double)c->curve.point[i].uw / 1e6));
    cmd_json(json_pack("{s:s, s:s, s:f, s:f, s:o, s:o}", "boundary",
                       energy_boundary_name(c->by.boundary), "method",
                       energy_method_name(c->by.method), "uncertainty",
                       (double)c->by.uncertainty_permille / 1e3, "error",
                       (double)c->error_permille / 1e3, "loads", loads, "curve", points),
             JSON_INDENT(1) | JSON_REAL_PRECISION(9));
}

static int keep(const struct energy_opt *o, const struct energy_calibration *c, struct err *e)
{
    struct hub *h = NULL;
    int r = hub_open(&h, e);

    if (!r)
        r = hub_make_home(h, e);
    hub_close(h);
    return r ? r : energy_store_put(o->config.energy.store_path, c, e);
}

int calibrate_run(struct energy_opt *o, int64_t seconds, int json, struct err *e)
{
    struct energy_calibration c = {.measured = clock_wall_us() / 1000000};
    struct load_row row[LOADS_MAX] = {0};
    int n = make_rows(row), r = energy_opt_open(o, 0, e);
    struct progress bar;

    if (r)
        return r;
    if (!o->source)
        return err_set(e, ERR_ARG, "the meter is off: its configuration says so");
    c.by = *energy_meter_label(energy_source_meter(o->source));
    if (c.by.method == ENERGY_MODEL)
        return err_set(e, ERR_ARG,
                       "there is no meter to calibrate against, only the model itself: "
                       "configure one ('gaufre energy show')");
    progress_start(&bar, "measuring", PROGRESS_COUNT, (uint64_t)n * PASSES, 0);
    for (int i = 0; !r && i < n * PASSES; i++) {
        r = measure(o, &row[i % n], i / n, seconds, e);
        progress_set(&bar, (uint64_t)i + 1);
    }
    progress_stop(&bar, 1);
    energy_opt_close(o);
    if (r)
        return r;
    make_curve(row, n, -1, &c.curve);
    c.error_permille = error_of(row, n);
    sysmem_cpu_name(c.cpu, sizeof c.cpu);
    r = keep(o, &c, e);
    if (!r && json)
        print_json(row, n, &c);
    else if (!r)
        print_found(row, n, &c);
    if (!r && !json)
        cmd_note("kept in %s", o->config.energy.store_path);
    return r;
}
