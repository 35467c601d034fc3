/* gaufre bench MODEL: tokens per second of prefill and decode, and how near that is to what the
 * machine can do. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/sysmem.h"
#include "base/team.h"
#include "cmd/energy_opt.h"
#include "cmd/model_opt.h"
#include "cmd/peaks.h"
#include "cmd/progress.h"
#include "console/bench_store.h"
#include "hub/hub.h"
#include "serve/serve.h"

#define LIST_MAX 16
#define REPS_MAX 100

struct bench {
    const char *prefill, *decode, *depth, *batch, *config;
    int64_t reps;
    int same_prompt, csv, json, report;
    struct model_opt model;
};

static const struct opt opts[] = {
    OPT_STR('p', "prefill", "N,N", "512", bench, prefill, "prompt lengths to measure (0: none)"),
    OPT_STR('n', "decode", "N,N", "64", bench, decode, "tokens to decode (0: none)"),
    OPT_STR('d', "depth", "N,N", "0", bench, depth, "tokens in the context before"),
    OPT_STR('b', "batch", "N,N", "1", bench, batch, "sequences at once"),
    OPT_FLAG(0, "same-prompt", bench, same_prompt,
             "sequences of a batch share the tokens before, and their KV cache"),
    OPT_INT('r', "reps", "N", "5", 1, REPS_MAX, bench, reps, "runs of each, after one to warm up"),
    OPT_FILE(0, "config", NULL, bench, config,
             "the server's configuration: its `energy` says which meter is read"),
    OPT_FLAG(0, "csv", bench, csv, "print comma-separated values"),
    OPT_FLAG(0, "json", bench, json, "print one JSON array"),
    OPT_FLAG(0, "report", bench, report,
             "print one JSON object: model, machine's limits, rows with the weights read"),
    MODEL_OPT_ROWS(bench, model),
    OPT_END,
};

struct list {
    int64_t v[LIST_MAX];
    int n;
};

struct row {
    int decode;
    int32_t n, depth, batch;
    double median, min, max; /* tokens/s, over the whole batch */
    double peak;             /* tokens/s that the machine allows; called limit in the output */
    double step_bytes;       /* of weights that a decode step, or a prefill, read */
    double token_uj;         /* energy of a token, over all timed runs; < 0: not known */
};

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Bytes of weights that one decode step of a batch reads at least. */
static double step_bytes(const struct engine_info *in, int32_t batch)
{
    double experts = (double)in->n_experts_used * batch;
    if (experts > in->n_experts)
        experts = in->n_experts;
    return (double)in->step_bytes_dense + experts * (double)in->expert_bytes * in->n_layers;
}

/* Decode cannot be faster than reading the weights once per step; nothing can be faster than the
 * multiply-adds of its matrices: int8 in class q8, float in f32; in bf16, prompts in tiles. */
static double peak_of(const struct machine *m, const struct engine_info *in, const struct row *r)
{
    double rate = strcmp(in->cls, "f32") ? m->dot : m->fma, arith, read;

    if (r->decode) {
        arith = rate / (double)(in->macs_per_token + in->macs_output);
        read = m->read / step_bytes(in, r->batch) * r->batch;
        return arith < read ? arith : read;
    }
    if (!strcmp(in->cls, "bf16") && m->tiles > 0)
        rate = m->tiles;
    return rate / ((double)in->macs_per_token + (double)in->macs_output / r->n);
}

/* What flowed since this was asked before; -1: not known. */
static int64_t energy_since(struct energy_meter *m)
{
    int is_late = 1;
    int64_t uj = m ? energy_meter_take(m, &is_late) : 0;

    return is_late ? -1 : uj;
}

static int measure(struct engine *e, const struct bench *o, struct energy_meter *m, struct row *r,
                   struct progress *bar, uint64_t *done, struct err *err)
{
    struct engine_bench *p;
    double v[REPS_MAX];
    int64_t us, uj, sum_uj = 0;
    uint64_t bytes;
    int rc = engine_bench_open(&p, e, r->depth, r->n, r->batch, o->same_prompt, err);

    if (m && !rc)
        energy_meter_begin(m);
    for (int64_t i = -1; i < o->reps && !rc; i++) {
        energy_since(m);
        rc = engine_bench_run(p, r->decode, r->n, &us, &bytes, err);
        uj = energy_since(m);
        if (i >= 0)
            sum_uj = uj < 0 || sum_uj < 0 ? -1 : sum_uj + uj;
        r->step_bytes = (double)bytes / (r->decode ? r->n : 1);
        if (!rc && i >= 0)
            v[i] = (double)r->n * r->batch / ((double)us / 1e6);
        progress_set(bar, ++*done);
    }
    if (!rc) {
        if (m)
            energy_meter_end(m);
        r->token_uj =
            sum_uj < 0 ? -1 : (double)sum_uj / ((double)r->n * r->batch * (double)o->reps);
        engine_bench_close(p);
        qsort(v, (size_t)o->reps, sizeof v[0], ascending);
        r->min = v[0];
        r->max = v[o->reps - 1];
        r->median = o->reps % 2 ? v[o->reps / 2] : (v[o->reps / 2 - 1] + v[o->reps / 2]) / 2;
    }
    return rc;
}

static void print_row(const struct bench *o, const struct machine *m, const struct row *r)
{
    const char *name = r->decode ? "decode" : "prefill";
    char joules[32] = "";

    if (r->token_uj >= 0)
        snprintf(joules, sizeof joules, o->csv ? "%.6f" : "%.4f", r->token_uj / 1e6);
    if (o->csv)
        printf("%s,%d,%d,%d,%d,%d,%.2f,%.2f,%.2f,%.2f,%.4f,%s\n", name, r->n, r->depth, r->batch,
               m->threads, (int)o->reps, r->median, r->min, r->max, r->peak, r->median / r->peak,
               joules);
    else
        printf("%-8s %6d %7d %6d %12.1f %11.1f %11.1f %12.1f %6.1f %% %9s\n", name, r->n, r->depth,
               r->batch, r->median, r->min, r->max, r->peak, 100 * r->median / r->peak,
               *joules ? joules : "-");
    fflush(stdout);
}

/* Where the joules come from. */
static void print_meter(struct energy_meter *m)
{
    const struct energy *l = m ? energy_meter_label(m) : NULL;

    if (l)
        printf("energy by %s: %s, +-%.1f %%\n\n", energy_method_name(l->method),
               energy_boundary_name(l->boundary), (double)l->uncertainty_permille / 10);
}

static void print_head(const struct bench *o, const struct machine *m, const struct peaks *l,
                       const struct engine_info *in, struct energy_meter *meter)
{
    if (o->csv) {
        puts("test,n,depth,batch,threads,reps,median,min,max,limit,share,joules_per_token");
        return;
    }
    cmd_line(stdout, "%s: %s, %s; class %s, KV %s, kernels %s, %d thread%s", in->name, in->family,
             in->formats, in->cls, in->kv, in->kernels, m->threads, m->threads > 1 ? "s" : "");
    puts("");
    peaks_print(l);
    print_meter(meter);
    printf("%-8s %6s %7s %6s %12s %11s %11s %12s %8s %9s\n", "test", "n", "depth", "batch",
           "tokens/s", "min", "max", "limit", "share", "J/token");
}

static json_t *energy_json(const struct energy *l)
{
    return json_pack("{s:s, s:s, s:f}", "boundary", energy_boundary_name(l->boundary), "method",
                     energy_method_name(l->method), "uncertainty",
                     (double)l->uncertainty_permille / 1000);
}

static json_t *row_json(const struct bench *o, const struct machine *m, const struct row *r,
                        struct energy_meter *meter)
{
    json_t *j =
        json_pack("{s:s, s:i, s:i, s:i, s:i, s:i, s:f, s:f, s:f, s:f, s:f}", "test",
                  r->decode ? "decode" : "prefill", "n", r->n, "depth", r->depth, "batch", r->batch,
                  "threads", m->threads, "reps", (int)o->reps, "median", r->median, "min", r->min,
                  "max", r->max, "limit", r->peak, "share", r->median / r->peak);
    if (meter) {
        json_object_set_new(j, "joules_per_token",
                            r->token_uj < 0 ? json_null() : json_real(r->token_uj / 1e6));
        json_object_set_new(j, "energy", energy_json(energy_meter_label(meter)));
    }
    if (o->report)
        json_object_set_new(j, "weight_bytes", json_real(r->step_bytes));
    return j;
}

/* --json: the rows; --report: what they were measured on, too. */
static void print_json(const struct bench *o, const struct machine *m, const struct peaks *l,
                       const struct engine_info *in, const struct row *rows, int n,
                       struct energy_meter *meter)
{
    json_t *all = json_array();

    for (int i = 0; i < n; i++)
        json_array_append_new(all, row_json(o, m, &rows[i], meter));
    if (o->report)
        all = json_pack("{s:{s:o, s:s, s:s, s:s, s:s, s:s, s:I, s:I}, s:o, s:o}", "model", "name",
                        cmd_json_str(in->name), "family", in->family, "formats", in->formats,
                        "class", in->cls, "kv", in->kv, "kernels", in->kernels, "bytes_per_token",
                        (json_int_t)in->bytes_per_token, "kv_token_bytes",
                        (json_int_t)in->kv_token_bytes, "limits", peaks_json(l), "rows", all);
    cmd_json(all, JSON_REAL_PRECISION(7) | JSON_INDENT(1));
}

static int read_lists(const struct bench *o, struct list l[4], struct err *e)
{
    const char *text[] = {o->prefill, o->decode, o->depth, o->batch};
    const char *name[] = {"--prefill", "--decode", "--depth", "--batch"};
    int rc = 0;

    for (int i = 0; i < 4 && !rc; i++)
        rc = opt_int_list(text[i], name[i], i == 3, 1 << 20, l[i].v, LIST_MAX, &l[i].n, e);
    return rc;
}

/* All combinations, prefill before decode; returns how many. */
static int make_rows(const struct list l[4], struct row *rows)
{
    int n = 0;
    for (int t = 0; t < 2; t++)
        for (int d = 0; d < l[2].n; d++)
            for (int b = 0; b < l[3].n; b++)
                for (int k = 0; k < l[t].n; k++)
                    if (l[t].v[k])
                        rows[n++] = (struct row){.decode = t,
                                                 .n = (int32_t)l[t].v[k],
                                                 .depth = (int32_t)l[2].v[d],
                                                 .batch = (int32_t)l[3].v[b]};
    return n;
}

/* The row that is stored for the server: one sequence, the shortest context, the longest run. */
static const struct row *plainest(const struct row *rows, int n, int decode)
{
    const struct row *best = NULL;

    for (int i = 0; i < n; i++) {
        const struct row *r = &rows[i];
        if (r->decode != decode || r->batch != 1)
            continue;
        if (!best || r->depth < best->depth || (r->depth == best->depth && r->n > best->n))
            best = r;
    }
    return best;
}

/* Store what was measured, so that the server can show it; a failure to write is a remark only. */
static void store(const struct machine *m, const struct engine_info *in, const struct row *rows,
                  int n)
{
    const struct row *decode = plainest(rows, n, 1), *prefill = plainest(rows, n, 0);
    const char *base = strrchr(in->path, '/');
    struct bench_rates l = {.file_bytes = in->file_bytes,
                            .threads = m->threads,
                            .measured = clock_wall_us() / 1000000,
                            .read_bytes_per_s = m->read,
                            .int8_per_s = m->dot};
    struct hub *h = NULL;
    struct err e = {0};
    char *path = NULL;
    int r;

    if (!decode && !prefill)
        return;
    if (decode) {
        l.decode_median = decode->median;
        l.decode_limit = decode->peak;
    }
    if (prefill) {
        l.prefill_median = prefill->median;
        l.prefill_limit = prefill->peak;
    }
    snprintf(l.model, sizeof l.model, "%s", base ? base + 1 : in->path);
    snprintf(l.cls, sizeof l.cls, "%s", in->cls);
    snprintf(l.kernels, sizeof l.kernels, "%s", in->kernels);
    sysmem_cpu_name(l.cpu, sizeof l.cpu);
    r = hub_open(&h, &e);
    if (!r)
        r = hub_make_home(h, &e);
    if (!r && asprintf(&path, "%s/bench.json", hub_home(h)) < 0) {
        path = NULL;
        r = err_set(&e, ERR_NOMEM, "out of memory");
    }
    if (!r)
        r = bench_store_put(path, &l, &e);
    if (r)
        cmd_note("the figures are not kept: %s", e.text);
    free(path);
    hub_close(h);
}

static int run(const struct cmd *c, void *opts_, int argc, char **argv)
{
    const struct bench *o = opts_;
    struct model_opt mo = o->model;
    struct list l[4];
    struct row *rows = malloc(2 * LIST_MAX * LIST_MAX * LIST_MAX * sizeof *rows);
    struct machine m = {0};
    struct peaks peaks = {.n = 0};
    struct model_run r = {0};
    struct energy_opt *energy = calloc(1, sizeof *energy);
    struct energy_meter *meter;
    struct progress bar;
    uint64_t done = 0;
    struct err e;
    int rc, n, json = o->json || o->report;

    (void)argc;
    if (!rows || !energy)
        rc = err_set(&e, ERR_NOMEM, "no memory");
    else
        rc = read_lists(o, l, &e);
    if (!rc)
        rc = energy_opt_read(energy, o->config, &e);
    if (rc) {
        free(rows);
        free(energy);
        return rc == ERR_ARG ? cmd_usage(c, "%s", e.text) : cmd_fail(c, &e);
    }
    n = make_rows(l, rows);
    mo.batch = 64;
    for (int i = 0; i < l[3].n; i++)
        mo.batch = l[3].v[i] > mo.batch ? l[3].v[i] : mo.batch;
    rc = model_open(&r, argv[0], &mo, &e);
    if (!rc)
        rc = energy_opt_open(energy, 0, &e);
    if (rc)
        goto done;
    meter = energy_source_meter(energy->source);
    m.threads = team_size(r.team);
    if (kern_isa_parse(engine_info(r.engine)->kernels, &m.isa, NULL))
        m.isa = KERN_ISA_SCALAR;
    rc = machine_measure(&m, (size_t)engine_info(r.engine)->bytes_per_token);
    if (!rc && !o->csv && !o->json)
        rc = peaks_measure(&peaks, &m, (size_t)engine_info(r.engine)->bytes_per_token);
    if (rc) {
        err_set(&e, rc, "no memory to measure the machine's limits");
        goto done;
    }
    if (!json)
        print_head(o, &m, &peaks, engine_info(r.engine), meter);
    progress_start(&bar, "measuring", PROGRESS_COUNT, (uint64_t)n * (uint64_t)(o->reps + 1), 0);
    for (int i = 0; i < n && !rc; i++) {
        rc = measure(r.engine, o, meter, &rows[i], &bar, &done, &e);
        rows[i].peak = peak_of(&m, engine_info(r.engine), &rows[i]);
        if (!rc && !json) {
            progress_stop(&bar, 1);
            print_row(o, &m, &rows[i]);
            progress_start(&bar, "measuring", PROGRESS_COUNT, (uint64_t)n * (uint64_t)(o->reps + 1),
                           done);
        }
    }
    progress_stop(&bar, 1);
    if (!rc && json)
        print_json(o, &m, &peaks, engine_info(r.engine), rows, n, meter);
    if (!rc)
        store(&m, engine_info(r.engine), rows, n);
done:
    model_close(&r);
    energy_opt_done(energy);
    free(energy);
    free(rows);
    return rc ? cmd_fail(c, &e) : CMD_OK;
}

const struct cmd cmd_bench = {
    .name = "bench",
    .help = "Measure prefill and decode, and their share of what the machine can do",
    .args = "MODEL",
    .about =
        "Medians of several runs on random tokens. The limit: for decode, reading the file's "
        "tensors\n"
        "once per step at the measured bandwidth; for prefill, the measured rate of int8 dot\n"
        "products (class f32: of float multiply-adds; bf16: of AMX tile products). The newest\n"
        "figures are kept in bench.json in gaufre's home, where the server finds them. J/token: "
        "what the\n"
        "energy meter told of the timed runs, idle power included ('gaufre energy --help').",
    .opts = opts,
    .opts_size = sizeof(struct bench),
    .n_args_min = 1,
    .n_args_max = 1,
    .complete = CMD_COMPLETE_MODEL,
    .run = run,
};
