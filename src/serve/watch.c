#include "serve/watch.h"

#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/sysmem.h"
#include "base/team.h"
#include "console/bench_store.h"
#include "engine/engine.h"
#include "policy/rota.h"
#include "serve/recent.h"

#define TEXT_MAX  ((size_t)1 << 20)
#define BEHIND    ((size_t)128 << 10) /* unsent bytes at which a state is skipped */
#define EARLY_US  10000               /* a tick may come that much before its time */
#define MEMORY_US INT64_C(1000000)    /* how long a look at the machine's memory holds */

/* A request that waits, also another tenant's: for the place in the queue. */
struct waiter {
    int i_model, service, i_tenant;
    int nth; /* of its tenant's */
    uint64_t order;
};

struct snapshot {
    struct mbox_item item;
    struct call *home;
    int i_tenant, n_left; /* io threads still to see */
    int64_t now_us;
    const char *id; /* one request, or NULL: all of them */
    int do_cancel;

    struct recent_row *row; /* of this tenant */
    int n_rows, cap_rows;
    struct waiter *waiter;
    int n_waiters, cap_waiters;
    int64_t others;
    float *times; /* [model][kind][n_io * TIMELINE_SAMPLES] */
    int n_times[SERVE_MODELS_MAX][TIMELINE_TIMES];
    uint64_t n_requests[SERVE_MODELS_MAX];

    int n_found, n_cancelled;
    struct recent_one found;
};

struct watch {
    struct snapshot snapshot;
    int out; /* the snapshot is under way */
    int is_counted, interval_us, keys_read;
    int64_t next_us, memory_us;
    uint64_t resident, available;
    struct buf text;
};

int watch_is_out(const struct call *c)
{
    return c->watch && c->watch->out;
}

/* ---- on the way: one io thread --------------------------------------------------------------- */

static void *grown(void *old, int n, int *cap, size_t size)
{
    int want = *cap ? *cap * 2 : 64;
    void *p;

    if (n < *cap)
        return old;
    p = realloc(old, (size_t)want * size);
    if (p)
        *cap = want;
    return p;
}

static struct recent_row *new_row(struct snapshot *t)
{
    struct recent_row *p = grown(t->row, t->n_rows, &t->cap_rows, sizeof *p);

    if (!p)
        return NULL; /* one row less is shown */
    t->row = p;
    return &p[t->n_rows++];
}

static void add_waiter(struct snapshot *t, const struct recent_row *r)
{
    struct waiter *p = grown(t->waiter, t->n_waiters, &t->cap_waiters, sizeof *p);

    if (!p)
        return;
    t->waiter = p;
    p[t->n_waiters++] = (struct waiter){
        .i_model = r->i_model, .service = r->service, .i_tenant = r->i_tenant, .order = r->order};
}

static void see_live(struct snapshot *t, const struct server_io *io)
{
    int n_own = 0;

    for (const struct call *c = io->calls; c; c = c->next) { /* newest first */
        struct recent_row r, *own;
        if (!recent_is_job(c) || !c->timeline.order)
            continue;
        recent_row(&r, c);
        if (r.state == RECENT_QUEUED)
            add_waiter(t, &r);
        if (r.i_tenant != t->i_tenant)
            t->others += r.state != RECENT_FINISHED;
        else if (n_own++ < WATCH_LIVE_MAX && (own = new_row(t)))
            *own = r;
    }
}

static void see_recent(struct snapshot *t, const struct server_io *io)
{
    const struct server *s = io->s;
    const struct recent *p = io->recent;
    int max = net_n_io(s->net) * TIMELINE_SAMPLES, n_own = 0;
    const struct recent_one *one;
    struct recent_row *own;

    for (int i = 0; (one = recent_get(p, i)) && n_own < WATCH_FINISHED_MAX; i++) {
        if (one->row.i_tenant == t->i_tenant && ++n_own && (own = new_row(t)))
            *own = one->row;
    }
    for (int m = 0; m < s->n_served; m++) {
        t->n_requests[m] += p->n_requests[m];
        for (int k = 0; t->times && k < TIMELINE_TIMES; k++) {
            float *out = t->times + (size_t)(m * TIMELINE_TIMES + k) * (size_t)max;
            t->n_times[m][k] = timeline_recent(&p->samples[m * TIMELINE_TIMES + k], t->now_us, out,
                                               t->n_times[m][k], max);
        }
    }
}

/* Of several with one name, one that is under way before one that ended, the newest before. */
static int is_better(const struct snapshot *t, const struct recent_row *r)
{
    const struct recent_row *old = &t->found.row;
    int live = r->state != RECENT_FINISHED, old_live = old->state != RECENT_FINISHED;

    if (!t->n_found || live != old_live)
        return !t->n_found || live;
    return r->started_us > old->started_us;
}

static int is_meant(const struct snapshot *t, const struct recent_row *r)
{
    return r->i_tenant == t->i_tenant && (!strcmp(r->id, t->id) || !strcmp(r->client_id, t->id));
}

static void find(struct snapshot *t, struct server_io *io)
{
    const struct recent_one *one;
    struct recent_row r;

    for (struct call *c = io->calls, *next; c; c = next) {
        next = c->next;
        if (!recent_is_job(c))
            continue;
        recent_row(&r, c);
        if (!is_meant(t, &r))
            continue;
        if (is_better(t, &r)) {
            t->found.row = r;
            recent_marks(&t->found, &c->timeline);
        }
        t->n_found++;
        if (t->do_cancel && r.state != RECENT_FINISHED) {
            t->n_cancelled++;
            call_cancel(c);
            handler_reap(c);
        }
    }
    for (int i = 0; (one = recent_get(io->recent, i)); i++) {
        if (!is_meant(t, &one->row))
            continue;
        if (is_better(t, &one->row))
            t->found = *one;
        t->n_found++;
    }
}

static void see(struct snapshot *t, int i_io)
{
    struct server_io *io = &t->home->s->io[i_io];

    t->n_left--;
    if (t->id) {
        find(t, io);
        return;
    }
    see_live(t, io);
    see_recent(t, io);
}

static void send_on(struct snapshot *t, int from)
{
    struct server *s = t->home->s;
    int to = t->n_left ? (from + 1) % net_n_io(s->net) : t->home->io;
    struct mbox *m = net_io_mbox(s->net, to);

    if (mbox_post(m, &t->item))
        mbox_wake(m);
}

/* ---- at home: what is told ------------------------------------------------------------------- */

static int newest_first(const void *a, const void *b)
{
    const struct recent_row *x = a, *y = b;
    int x_over = x->state == RECENT_FINISHED, y_over = y->state == RECENT_FINISHED;

    if (x_over != y_over)
        return x_over - y_over;
    return (y->started_us > x->started_us) - (y->started_us < x->started_us);
}

static int by_line(const void *a, const void *b)
{
    const struct waiter *x = a, *y = b;

    if (x->i_model != y->i_model)
        return x->i_model - y->i_model;
    if (x->service != y->service)
        return x->service - y->service;
    if (x->i_tenant != y->i_tenant)
        return x->i_tenant - y->i_tenant;
    return (x->order > y->order) - (x->order < y->order);
}

/* Each tenant's waiters of a class and model are a line of their own, and lines take turns. */
static void number_waiters(struct snapshot *t)
{
    if (t->n_waiters)
        qsort(t->waiter, (size_t)t->n_waiters, sizeof *t->waiter, by_line);
    for (int i = 0; i < t->n_waiters; i++) {
        const struct waiter *w = &t->waiter[i], *v = i ? w - 1 : NULL;
        int same =
            v && v->i_model == w->i_model && v->service == w->service && v->i_tenant == w->i_tenant;
        t->waiter[i].nth = same ? v->nth + 1 : 0;
    }
}

/* In the queue, as it looks now: the first of each line go before the second ones. */
static int64_t place(const struct snapshot *t, const struct recent_row *r)
{
    int64_t n = 1;
    int nth = 0;

    if (r->state != RECENT_QUEUED)
        return 0;
    for (int i = 0; i < t->n_waiters; i++) {
        if (t->waiter[i].order == r->order)
            nth = t->waiter[i].nth;
    }
    for (int i = 0; i < t->n_waiters; i++) {
        const struct waiter *w = &t->waiter[i];
        int same = w->service == r->service;
        n += w->i_model == r->i_model &&
             (w->service > r->service ||
              (same && (w->nth < nth || (w->nth == nth && w->order < r->order))));
    }
    return n;
}

static void tell_request(const struct snapshot *t, const struct recent_row *r,
                         struct api_engine_request *q)
{
    static const char *const states[] = {"queued", "prefill", "decode", "finished"};
    int64_t decode_us = r->last_us - r->first_us;
    int64_t end_us = r->ended_us ? r->ended_us : t->now_us;

    *q = (struct api_engine_request){
        .id = r->id,
        .client_id = r->client_id,
        .model = r->model,
        .endpoint = r->endpoint,
        .state = states[r->state],
        .finish = r->finish,
        .stream = r->stream,
        .position = place(t, r),
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
        .accepted = (double)((clock_wall_us() - (t->now_us - r->started_us)) / 1000) / 1e3,
        .ttft_s = r->first_us ? (double)(r->first_us - r->started_us) / 1e6 : -1,
    };
}

static void tell_spread(struct snapshot *t, const struct server *s, int i_model,
                        enum timeline_time kind, struct api_spread *ret)
{
    int max = net_n_io(s->net) * TIMELINE_SAMPLES, n = t->n_times[i_model][kind];
    float *v = t->times + (size_t)(i_model * TIMELINE_TIMES + (int)kind) * (size_t)max;

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

/* Its words are those of its best offer, until cloud_look_done. */
static void tell_model(struct snapshot *t, const struct server *s, int i, struct cloud_look *look,
                       struct api_engine_model *m)
{
    struct load load;

    cloud_look(s->cloud, i, look);
    load = look->load;
    *m = (struct api_engine_model){
        .id = s->served[i].names[0],
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
        .requests = t->n_requests[i],
        .draft_tokens = load.draft_tokens,
        .draft_accepted = load.draft_accepted,
    };
    if (load.state == SUPPLIER_READY)
        tell_facts(m, look->offer->sup);
    tell_spread(t, s, i, TIMELINE_TTFT, &m->ttft);
    tell_spread(t, s, i, TIMELINE_TPOT, &m->tpot);
    tell_spread(t, s, i, TIMELINE_QUEUE, &m->queue);
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
static int tell_requests(struct snapshot *t, struct api_engine_request *q)
{
    int n = 0, n_live = 0, n_over = 0;

    if (t->n_rows)
        qsort(t->row, (size_t)t->n_rows, sizeof *t->row, newest_first);
    for (int i = 0; i < t->n_rows; i++) {
        int over = t->row[i].state == RECENT_FINISHED;
        if (over ? n_over++ < WATCH_FINISHED_MAX : n_live++ < WATCH_LIVE_MAX)
            tell_request(t, &t->row[i], &q[n++]);
    }
    return n;
}

static int write_state(struct watch *w, const struct server *s)
{
    struct api_engine_request q[WATCH_LIVE_MAX + WATCH_FINISHED_MAX];
    struct api_engine_model m[SERVE_MODELS_MAX];
    struct cloud_look look[SERVE_MODELS_MAX];
    struct snapshot *t = &w->snapshot;
    const struct api_frame *frame = api_sse_frame(NULL);
    struct api_engine_state st;

    look_at_memory(w, t->now_us);
    number_waiters(t);
    for (int i = 0; i < s->n_served; i++)
        tell_model(t, s, i, &look[i], &m[i]);
    st = (struct api_engine_state){
        .time = (double)(clock_wall_us() / 1000) / 1e3,
        .uptime_s = (double)(t->now_us - s->opened_us) / 1e6,
        .cpu_s = cpu_seconds(),
        .version = GAUFRE_VERSION,
        .cpu = s->cpu,
        .resident_bytes = w->resident,
        .machine_bytes = s->machine_bytes,
        .available_bytes = w->available,
        .threads = s->team ? team_size(s->team) : 0,
        .models = m,
        .n_models = s->n_served,
        .requests = q,
        .n_requests = tell_requests(t, q),
        .others = t->others,
    };
    buf_clear(&w->text);
    buf_add_str(&w->text, frame->begin);
    api_engine_state_body(&w->text, &st);
    for (int i = 0; i < s->n_served; i++)
        cloud_look_done(s->cloud, &look[i]);
    return buf_add_str(&w->text, frame->end);
}

static void answer_state(struct call *c)
{
    struct watch *w = c->watch;
    struct err e = {0};

    if (write_state(w, c->s)) {
        if (!c->streaming) {
            err_set(&e, ERR_NOMEM, "No memory for the answer.");
            call_fail(c, &e);
        }
        return; /* the next one may fit */
    }
    if (!c->streaming)
        call_stream_begin(c);
    net_stream_write(c->x, w->text.data, w->text.len); /* cut: on_gone follows */
}

static void answer_one(struct call *c)
{
    struct snapshot *t = &c->watch->snapshot;
    struct api_engine_mark marks[TIMELINE_MARKS];
    struct api_engine_request q;
    struct err e = {0};

    if (!t->n_found) {
        api_err_request(&e, t->id);
        call_fail(c, &e);
        return;
    }
    if (t->do_cancel) {
        api_engine_cancel_body(&c->out, t->found.row.id, t->n_cancelled > 0);
    } else {
        tell_request(t, &t->found.row, &q);
        for (int i = 0; i < t->found.n_marks; i++)
            marks[i] = (struct api_engine_mark){
                .t = (double)(t->found.mark[i].at_us - t->found.row.started_us) / 1e6,
                .what = timeline_name((enum timeline_what)t->found.mark[i].what),
                .n = t->found.mark[i].n};
        api_engine_request_body(&c->out, &q, marks, t->found.n_marks);
    }
    if (c->out.failed) {
        err_set(&e, ERR_NOMEM, "No memory for the answer.");
        call_fail(c, &e);
        return;
    }
    call_reply(c, 200, "application/json", c->out.data, c->out.len);
}

static void come_home(struct call *c)
{
    if (!c->x)
        c->state = CALL_OVER; /* the client left meanwhile */
    else if (c->watch->snapshot.id)
        answer_one(c);
    else
        answer_state(c);
}

/* ---- snapshots ------------------------------------------------------------------------------- */

static void set_out(struct call *c)
{
    struct snapshot *t = &c->watch->snapshot;

    t->now_us = clock_now_us();
    t->n_left = net_n_io(c->s->net);
    t->n_rows = t->n_waiters = t->n_found = t->n_cancelled = 0;
    t->others = 0;
    memset(t->n_times, 0, sizeof t->n_times);
    memset(t->n_requests, 0, sizeof t->n_requests);
    see(t, c->io);
    if (!t->n_left) {
        come_home(c);
        return;
    }
    c->watch->out = 1;
    send_on(t, c->io);
}

struct call *watch_arrive(struct snapshot *t, int io)
{
    if (t->n_left) {
        see(t, io);
        send_on(t, io);
        return NULL;
    }
    t->home->watch->out = 0;
    come_home(t->home);
    return t->home;
}

static struct watch *watch_new(struct call *c)
{
    const struct server *s = c->s;
    struct watch *w = calloc(1, sizeof *w);

    if (!w)
        return NULL;
    w->snapshot.home = c;
    w->snapshot.i_tenant = c->i_viewer;
    w->snapshot.item.kind = MAIL_SNAPSHOT;
    w->snapshot.item.owner = &w->snapshot;
    w->keys_read = atomic_load(&s->keys_read);
    buf_init(&w->text, TEXT_MAX);
    return w;
}

/* A watcher more: a stream of states. */
static int begin_watching(struct call *c, struct err *e)
{
    struct server *s = c->s;
    struct watch *w = c->watch;
    size_t n = (size_t)s->n_served * TIMELINE_TIMES * (size_t)net_n_io(s->net) * TIMELINE_SAMPLES;
    int ms, n_own, n_all, r = api_engine_interval(&c->route, &ms, e);

    if (r)
        return r;
    w->is_counted = 1;
    n_own = atomic_fetch_add(&s->n_watchers_of[w->snapshot.i_tenant], 1);
    n_all = atomic_fetch_add(&s->n_watchers, 1);
    if (!rota_may_take(n_own, n_all, WATCHERS_MAX, server_has_one_tenant(s)))
        return err_set_param(e, ERR_QUEUE_FULL, "engine",
                             "Too many are watching this engine (limit %d).", WATCHERS_MAX);
    w->interval_us = ms * 1000;
    w->next_us = clock_now_us() + w->interval_us;
    w->snapshot.times = malloc((n ? n : 1) * sizeof *w->snapshot.times);
    return w->snapshot.times ? 0 : err_set(e, ERR_NOMEM, "No memory for one more watcher.");
}

static int begin(struct call *c, struct err *e)
{
    if (atomic_load(&c->s->draining))
        return err_set(e, ERR_DRAINING, "The server is shutting down.");
    c->watch = watch_new(c);
    return c->watch ? 0 : err_set(e, ERR_NOMEM, "No memory for one more request.");
}

void watch_events(struct call *c)
{
    struct err e = {0};
    int r = begin(c, &e);

    if (!r)
        r = begin_watching(c, &e);
    if (r) {
        call_fail(c, &e);
        return;
    }
    if (c->method == HTTP_HEAD) {
        call_reply(c, 200, "text/event-stream; charset=utf-8", "", 0);
        return;
    }
    c->state = CALL_WATCH;
    set_out(c);
}

static void look_at_one(struct call *c, int do_cancel)
{
    struct err e = {0};

    if (begin(c, &e)) {
        call_fail(c, &e);
        return;
    }
    c->watch->snapshot.id = c->route.arg;
    c->watch->snapshot.do_cancel = do_cancel;
    c->state = CALL_WATCH;
    set_out(c);
}

void watch_request(struct call *c)
{
    look_at_one(c, 0);
}

void watch_cancel(struct call *c)
{
    look_at_one(c, 1);
}

/* No more states: the stream ends in order, and the client may ask again. */
static void end_stream(struct call *c)
{
    struct net_exchange *x = c->x;

    c->x = NULL;
    c->state = CALL_OVER;
    net_close_after(x);
    net_stream_end(x);
}

void watch_tick(struct call *c, int64_t now_us)
{
    struct watch *w = c->watch;
    struct err e = {0};

    if (c->state != CALL_WATCH || !c->x)
        return;
    if (atomic_load(&c->s->draining) && !c->streaming) {
        err_set(&e, ERR_DRAINING, "The server is shutting down.");
        call_fail(c, &e);
    } else if (c->streaming &&
               (atomic_load(&c->s->draining) || w->keys_read != atomic_load(&c->s->keys_read))) {
        end_stream(c);
    } else if (c->streaming && !w->out && now_us + EARLY_US >= w->next_us) {
        w->next_us += w->interval_us;
        if (w->next_us <= now_us)
            w->next_us = now_us + w->interval_us;
        if (net_pending(c->x) <= BEHIND)
            set_out(c);
    }
}

void watch_free(struct call *c)
{
    struct watch *w = c->watch;

    if (!w)
        return;
    CHECK(!w->out);
    if (w->is_counted) {
        atomic_fetch_sub(&c->s->n_watchers_of[w->snapshot.i_tenant], 1);
        atomic_fetch_sub(&c->s->n_watchers, 1);
    }
    buf_done(&w->text);
    free(w->snapshot.row);
    free(w->snapshot.waiter);
    free(w->snapshot.times);
    free(w);
    c->watch = NULL;
}
