/* Writes what a watch has collected as the JSON of /v1/engine/... */
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "base/clock.h"
#include "base/sysmem.h"
#include "console/snapshot.h"

#define MEMORY_US INT64_C(1000000) /* how long a look at the machine's memory holds */

static int newest_first(const void *a, const void *b)
{
    const struct row *x = a, *y = b;
    int x_over = x->state == ROW_FINISHED, y_over = y->state == ROW_FINISHED;

    if (x_over != y_over)
        return x_over - y_over;
    return (y->started_us > x->started_us) - (y->started_us < x->started_us);
}

/* Of one model, each tenant's waiters of a tier together, the first to go first. */
static int by_line(const void *a, const void *b)
{
    static const struct rota nobodys = {0};
    const struct waiter *x = a, *y = b;

    if (x->i_model != y->i_model)
        return x->i_model - y->i_model;
    return rota_before(&nobodys, &y->one, &x->one) - rota_before(&nobodys, &x->one, &y->one);
}

/* Of one model, in the order in which all go: of the scheduler (policy/rota) as things stand now,
 * as if all tenants had used as much, and without those that have waited too long. */
static int by_turn(const void *a, const void *b, void *turns)
{
    const struct waiter *x = a, *y = b;
    const struct rota *r = turns;

    if (x->i_model != y->i_model)
        return x->i_model - y->i_model;
    return rota_before(&r[x->i_model], &y->one, &x->one) -
           rota_before(&r[x->i_model], &x->one, &y->one);
}

static int by_order(const void *a, const void *b)
{
    const struct waiter *x = a, *y = b;

    return (x->one.order > y->one.order) - (x->one.order < y->one.order);
}

/* Give every waiting request its place in the queue of its model: tenants take turns, so the first
 * of each tenant go before the second ones. Afterwards they are sorted for place(). */
static void place_waiters(struct watch *w)
{
    struct waiter *all = w->waiter;
    size_t n = (size_t)w->n_waiters;

    if (!n)
        return;
    qsort(all, n, sizeof *all, by_line);
    for (size_t i = 1; i < n; i++) {
        const struct waiter *b = &all[i - 1];
        struct waiter *a = &all[i];
        if (b->i_model == a->i_model && b->one.tier == a->one.tier &&
            b->one.tenant == a->one.tenant)
            a->one.nth = b->one.nth + 1;
    }
    qsort_r(all, n, sizeof *all, by_turn, w->turns);
    for (size_t i = 0; i < n; i++)
        all[i].place = i && all[i - 1].i_model == all[i].i_model ? all[i - 1].place + 1 : 1;
    qsort(all, n, sizeof *all, by_order);
}

/* The place of a waiting request in its model's queue; 0: it does not wait. */
static int64_t place(const struct watch *w, const struct row *r)
{
    const struct waiter key = {.one.order = r->order}, *own = NULL;

    if (r->state == ROW_QUEUED && w->n_waiters)
        own = bsearch(&key, w->waiter, (size_t)w->n_waiters, sizeof key, by_order);
    return own ? own->place : 0;
}

static void tell_request(const struct watch *w, const struct row *r, struct api_engine_request *q)
{
    static const char *const states[] = {"queued", "prefill", "decode", "finished"};
    int64_t decode_us = r->last_us - r->first_us;
    int64_t end_us = r->ended_us ? r->ended_us : w->now_us;

    *q = (struct api_engine_request){
        .id = r->id,
        .client_id = r->client_id,
        .model = r->model,
        .endpoint = r->endpoint,
        .state = states[r->state],
        .finish = r->finish,
        .stream = r->stream,
        .position = place(w, r),
        .prompt_tokens = r->n_prompt,
        .cached_tokens = r->n_cached,
        .prefilled_tokens = r->n_prefilled,
        .generated_tokens = r->n_generated,
        .draft_tokens = r->n_drafted,
        .draft_accepted = r->n_draft_right,
        .choices = r->n_choices,
        .tokens_per_s = r->n_generated > 1 && decode_us > 0
                            ? (double)(r->n_generated - 1) / ((double)decode_us / 1e6)
                            : 0,
        .age_s = (double)(end_us - r->started_us) / 1e6,
        .accepted = (double)((clock_wall_us() - (w->now_us - r->started_us)) / 1000) / 1e3,
        .ttft_s = r->first_us ? (double)(r->first_us - r->started_us) / 1e6 : -1,
    };
}

static void tell_spread(struct watch *w, int i_model, enum timeline_time kind,
                        struct api_spread *ret)
{
    float *v = snapshot_times(w, i_model, kind);
    int n = w->n_times[i_model][kind];

    *ret = (struct api_spread){.n = n};
    if (!n)
        return;
    timeline_sort(v, n);
    ret->p50 = timeline_quantile(v, n, .50);
    ret->p95 = timeline_quantile(v, n, .95);
    ret->p99 = timeline_quantile(v, n, .99);
}

static void tell_facts(struct api_engine_model *m, const struct supplier *s)
{
    const struct supplier_facts *f = s->ops->facts(s);
    const struct supplier_engine *g = s->ops->engine ? s->ops->engine(s) : NULL;

    m->formats = f->quantization;
    m->context = f->context;
    if (!g)
        return;
    m->kernels = g->kernels;
    m->cls = g->cls;
    m->kv_type = g->kv_type;
    m->family = g->family;
    m->batch_max = g->batch_max;
    m->chunk = g->chunk;
    m->page_tokens = g->page_tokens;
    m->weight_bytes = g->weight_bytes;
    m->kv_bytes = g->kv_bytes;
    m->work_bytes = g->work_bytes;
    m->vocab_bytes = g->vocab_bytes;
    m->has_limit = g->measured != 0;
    m->read_bytes_per_s = g->read_bytes_per_s;
    m->decode_tokens_per_s = g->decode_per_s;
    m->prefill_tokens_per_s = g->prefill_per_s;
    m->measured = g->measured;
}

static void look_at_model(struct watch *w, int i, struct cloud_look *look)
{
    cloud_look(w->console->setup.cloud, i, look);
    memcpy(w->turns[i].last, look->load.turn, sizeof look->load.turn);
}

/* Fill what is told of model i. Strings are those of its best offer and live until cloud_look_done.
 */
static void tell_model(struct watch *w, int i, struct cloud_look *look, struct api_engine_model *m)
{
    struct load load;

    look_at_model(w, i, look);
    load = look->load;
    *m = (struct api_engine_model){
        .id = w->console->model[i].id,
        .state = load.state == SUPPLIER_LOADING  ? "loading"
                 : load.state == SUPPLIER_FAILED ? "failed"
                 : load.frozen                   ? "frozen"
                                                 : "loaded",
        .loading = load.state == SUPPLIER_READY ? 1 : load.progress,
        .n_running = load.n_running,
        .n_waiting = load.n_waiting,
        .batch_tokens = load.batch_tokens,
        .batch_sequences = load.batch_seqs,
        .pages = load.n_pages,
        .pages_used = load.pages_used,
        .pages_shared = load.pages_shared,
        .pages_free = load.pages_free,
        .steps = load.n_steps,
        .prompt_tokens = load.prompt_tokens,
        .cached_tokens = load.cached_tokens,
        .generated_tokens = load.generated_tokens,
        .weight_bytes_read = load.bytes_read,
        .preemptions = load.preemptions,
        .requests = w->n_requests[i],
        .draft_tokens = load.draft_tokens,
        .draft_accepted = load.draft_accepted,
    };
    if (load.state == SUPPLIER_READY)
        tell_facts(m, look->offer->sup);
    tell_spread(w, i, TIMELINE_TTFT, &m->ttft);
    tell_spread(w, i, TIMELINE_TPOT, &m->tpot);
    tell_spread(w, i, TIMELINE_QUEUE, &m->queue);
}

static double cpu_seconds(void)
{
    struct rusage u;

    getrusage(RUSAGE_SELF, &u);
    return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
           (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

static void look_at_memory(struct watch *w, int64_t now_us)
{
    if (w->memory_us && now_us - w->memory_us < MEMORY_US)
        return;
    w->memory_us = now_us;
    w->resident = sysmem_resident();
    w->available = sysmem_available();
}

/* The rows that fit into one state: those under way, then those that ended. Returns how many. */
static int tell_requests(struct watch *w, struct api_engine_request *q)
{
    int n = 0, n_live = 0, n_over = 0;

    if (w->n_rows)
        qsort(w->row, (size_t)w->n_rows, sizeof *w->row, newest_first);
    for (int i = 0; i < w->n_rows; i++) {
        int over = w->row[i].state == ROW_FINISHED;
        if (over ? n_over++ < WATCH_FINISHED_MAX : n_live++ < WATCH_LIVE_MAX)
            tell_request(w, &w->row[i], &q[n++]);
    }
    return n;
}

int watch_state(struct watch *w, struct buf *out)
{
    struct api_engine_request q[WATCH_LIVE_MAX + WATCH_FINISHED_MAX];
    struct api_engine_model m[CLOUD_MODELS_MAX];
    struct cloud_look look[CLOUD_MODELS_MAX];
    struct console *c = w->console;
    struct api_engine_state st;
    int r;

    look_at_memory(w, w->now_us);
    for (int i = 0; i < c->n_models; i++)
        tell_model(w, i, &look[i], &m[i]);
    place_waiters(w); /* by the turns of the models, which are known now */
    st = (struct api_engine_state){
        .time = (double)(clock_wall_us() / 1000) / 1e3,
        .uptime_s = (double)(w->now_us - c->opened_us) / 1e6,
        .cpu_s = cpu_seconds(),
        .version = GAUFRE_VERSION,
        .cpu = c->cpu,
        .resident_bytes = w->resident,
        .machine_bytes = c->machine_bytes,
        .available_bytes = w->available,
        .threads = c->n_threads,
        .models = m,
        .n_models = c->n_models,
        .requests = q,
        .n_requests = tell_requests(w, q),
        .others = w->others,
    };
    r = api_engine_state_body(out, &st);
    for (int i = 0; i < c->n_models; i++)
        cloud_look_done(c->setup.cloud, &look[i]);
    return r;
}

int watch_found(struct watch *w, struct buf *out, struct err *e)
{
    struct api_engine_mark marks[TIMELINE_MARKS];
    const struct row_kept *f = &w->found;
    struct api_engine_request q;

    if (w->what == WATCH_ROUTE)
        return w->route ? route_view(w->route->id, w->route->record, out)
                        : api_err_request(e, w->id);
    if (!w->n_found)
        return api_err_request(e, w->id);
    if (w->what == WATCH_CANCEL)
        return api_engine_cancel_body(out, f->row.id, w->n_cancelled > 0);
    if (f->row.state == ROW_QUEUED && f->row.order) { /* for its place */
        struct cloud_look look;
        look_at_model(w, f->row.i_model, &look);
        cloud_look_done(w->console->setup.cloud, &look);
        place_waiters(w);
    }
    tell_request(w, &f->row, &q);
    for (int i = 0; i < f->n_marks; i++)
        marks[i] =
            (struct api_engine_mark){.t = (double)(f->mark[i].at_us - f->row.started_us) / 1e6,
                                     .what = timeline_name((enum timeline_what)f->mark[i].what),
                                     .n = f->mark[i].n};
    return api_engine_request_body(out, &q, marks, f->n_marks);
}
