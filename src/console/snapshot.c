/* A watch on its way from one io thread to the next, collecting rows. */
#include "console/snapshot.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/clock.h"
#include "policy/rota.h"

struct watch *watch_new(struct console *c, int i_tenant, void *owner)
{
    struct watch *w = calloc(1, sizeof *w);

    if (!w)
        return NULL;
    w->console = c;
    w->i_tenant = i_tenant;
    w->owner = owner;
    w->item.kind = c->setup.mail_kind;
    w->item.owner = w;
    return w;
}

void watch_free(struct watch *w)
{
    if (!w)
        return;
    if (w->is_watcher) {
        atomic_fetch_sub(&w->console->n_watchers_of[w->i_tenant], 1);
        atomic_fetch_sub(&w->console->n_watchers, 1);
    }
    free(w->row);
    free(w->waiter);
    free(w->times);
    free(w->route);
    free(w);
}

void *watch_owner(const struct watch *w)
{
    return w->owner;
}

int watch_want_times(struct watch *w, struct err *e)
{
    const struct console *c = w->console;
    size_t n = (size_t)c->n_models * TIMELINE_TIMES * (size_t)c->n_io * TIMELINE_SAMPLES;

    w->times = malloc((n ? n : 1) * sizeof *w->times);
    return w->times ? 0 : err_set(e, ERR_NOMEM, "No memory for one more watcher.");
}

int watch_join(struct watch *w, struct err *e)
{
    struct console *c = w->console;
    int n_own = atomic_fetch_add(&c->n_watchers_of[w->i_tenant], 1);
    int n_all = atomic_fetch_add(&c->n_watchers, 1);

    w->is_watcher = 1;
    if (!rota_may_take(n_own, n_all, WATCHERS_MAX, c->setup.has_one_tenant))
        return err_set_param(e, ERR_QUEUE_FULL, "engine",
                             "Too many are watching this engine (limit %d).", WATCHERS_MAX);
    return watch_want_times(w, e);
}

/* ---- all requests ---------------------------------------------------------------------------- */

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

static void add_row(struct watch *w, const struct row *r)
{
    struct row *p = grown(w->row, w->n_rows, &w->cap_rows, sizeof *p);

    if (!p)
        return; /* one row less is shown */
    w->row = p;
    p[w->n_rows++] = *r;
}

static void add_waiter(struct watch *w, const struct row *r)
{
    struct waiter *p = grown(w->waiter, w->n_waiters, &w->cap_waiters, sizeof *p);

    if (!p)
        return;
    w->waiter = p;
    p[w->n_waiters++] = (struct waiter){
        .i_model = r->i_model,
        .one = {.tier = tier_rank(r->tier), .tenant = r->i_tenant, .order = r->order}};
}

static int is_seen(const struct watch *w, int i_tenant)
{
    return w->i_tenant == WATCH_ALL || w->i_tenant == i_tenant;
}

static void add_up(struct watch_sums *s, const struct row *r)
{
    s->n_live++;
    s->prompt += r->n_prefilled > r->n_cached ? r->n_prefilled : r->n_cached;
    s->generated += r->n_generated;
    if (r->state == ROW_QUEUED)
        s->waiting[r->tier]++;
    else if (r->state != ROW_FINISHED)
        s->running[r->tier]++;
}

static void see_live(struct watch *w, const struct rows *io)
{
    int n_own = 0;

    w->sums.requests += io->ended.n;
    w->sums.refused += io->ended.n_refused;
    w->sums.failed += io->ended.n_failed;
    w->sums.prompt += io->ended.prompt;
    w->sums.generated += io->ended.generated;
    for (const struct row_live *l = io->live; l; l = l->next) { /* newest first */
        const struct row *r = &l->row;
        if (!r->order)
            continue;
        add_up(&w->sums, r);
        if (r->state == ROW_QUEUED)
            add_waiter(w, r);
        if (!is_seen(w, r->i_tenant))
            w->others += r->state != ROW_FINISHED;
        else if (n_own++ < WATCH_LIVE_MAX)
            add_row(w, r);
    }
}

float *snapshot_times(const struct watch *w, int i_model, enum timeline_time kind)
{
    size_t max = (size_t)w->console->n_io * TIMELINE_SAMPLES;

    return w->times + (size_t)(i_model * TIMELINE_TIMES + (int)kind) * max;
}

static void see_kept(struct watch *w, const struct rows *io)
{
    const struct console *c = w->console;
    int max = c->n_io * TIMELINE_SAMPLES, n_own = 0;
    const struct row_kept *k;

    for (int i = 0; (k = rows_kept(io, i)) && n_own < WATCH_FINISHED_MAX; i++) {
        if (is_seen(w, k->row.i_tenant) && ++n_own)
            add_row(w, &k->row);
    }
    for (int m = 0; m < c->n_models; m++) {
        w->n_requests[m] += io->model[m]->n_requests;
        for (int t = 0; w->times && t < TIMELINE_TIMES; t++)
            w->n_times[m][t] =
                timeline_recent(&io->model[m]->samples[t], w->now_us,
                                snapshot_times(w, m, (enum timeline_time)t), w->n_times[m][t], max);
    }
}

/* ---- one request ----------------------------------------------------------------------------- */

/* Several requests may have the same client's id: prefer one that is under way to one that ended,
 * and then the newest. */
static int is_better(const struct watch *w, const struct row *r)
{
    const struct row *old = &w->found.row;
    int live = r->state != ROW_FINISHED, old_live = old->state != ROW_FINISHED;

    if (!w->n_found || live != old_live)
        return !w->n_found || live;
    return r->started_us > old->started_us;
}

static int is_meant(const struct watch *w, const struct row *r)
{
    if (w->i_tenant == WATCH_ALL) /* clients' ids are unique within a tenant at best */
        return !strcmp(r->id, w->id);
    return r->i_tenant == w->i_tenant && (!strcmp(r->id, w->id) || !strcmp(r->client_id, w->id));
}

/* Of several with one client's id the first that is seen. */
static void find_route(struct watch *w, const struct rows *io)
{
    const struct route_kept *k = w->route ? NULL : routes_find(&io->routes, w->i_tenant, w->id);
    size_t n = k ? sizeof *k + strlen(k->record) + 1 : 0;

    if (k && (w->route = malloc(n)))
        memcpy(w->route, k, n);
}

/* Find the requests with the wanted id in this thread's rows; returns how many were marked to be
 * cancelled. */
static int find(struct watch *w, const struct rows *io)
{
    const struct row_kept *k;
    int n = 0;

    for (struct row_live *l = io->live; l; l = l->next) {
        const struct row *r = &l->row;
        if (r->order && r->state == ROW_QUEUED)
            add_waiter(w, r);
        if (!is_meant(w, r))
            continue;
        if (is_better(w, r))
            row_keep(&w->found, l);
        w->n_found++;
        if (w->what == WATCH_CANCEL && r->state != ROW_FINISHED) {
            l->cancel = 1;
            n++;
        }
    }
    for (int i = 0; (k = rows_kept(io, i)); i++) {
        if (!is_meant(w, &k->row))
            continue;
        if (is_better(w, &k->row))
            w->found = *k;
        w->n_found++;
    }
    return n;
}

/* ---- the way --------------------------------------------------------------------------------- */

void watch_set_out(struct watch *w, int home, const char *id, enum watch_what what)
{
    w->home = home;
    w->id = id;
    w->what = what;
    free(w->route);
    w->route = NULL;
    w->now_us = clock_now_us();
    w->n_left = w->console->n_io;
    w->n_rows = w->n_waiters = w->n_found = w->n_cancelled = 0;
    w->others = 0;
    w->sums = (struct watch_sums){0};
    memset(w->n_times, 0, sizeof w->n_times);
    memset(w->n_requests, 0, sizeof w->n_requests);
}

int watch_see(struct watch *w, int io)
{
    const struct rows *rows = console_rows(w->console, io);
    int n;

    CHECK(w->n_left > 0);
    w->n_left--;
    if (w->id && w->what == WATCH_ROUTE) {
        find_route(w, rows);
        return 0;
    }
    if (w->id) {
        n = find(w, rows);
        w->n_cancelled += n;
        return n;
    }
    see_live(w, rows);
    see_kept(w, rows);
    return 0;
}

int watch_is_home(const struct watch *w)
{
    return !w->n_left;
}

void watch_send(struct watch *w, int from)
{
    int to = w->n_left ? (from + 1) % w->console->n_io : w->home;
    struct mbox *m = net_io_mbox(w->console->setup.net, to);

    if (mbox_post(m, &w->item))
        mbox_wake(m);
}
