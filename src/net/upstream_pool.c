/* The client on an io thread: libcurl at work on the thread's loop, deadlines, and telling the
 * upper room what came. */
#include <stdlib.h>
#include <string.h>

#include <event2/event.h>

#include "base/check.h"
#include "base/clock.h"
#include "net/net_int.h"
#include "net/upstream_int.h"

#define KEEP_MAX     4096  /* memory of a buffer that is kept with an unused request */
#define SWEEP_MIN_US 10000 /* between two sweeps */

/* ---- lists ---- */

void upstream_pool_push(struct upstream_request *r, enum upstream_list l)
{
    struct upstream_pool *pool = r->pool;

    if (r->is_in[l])
        return;
    r->is_in[l] = 1;
    r->list_next[l] = NULL;
    if (pool->first[l])
        pool->last[l]->list_next[l] = r;
    else
        pool->first[l] = r;
    pool->last[l] = r;
    if (l == LIST_TODO)
        event_active(pool->todo_ev, EV_TIMEOUT, 0);
}

static struct upstream_request *pop(struct upstream_pool *pool, enum upstream_list l)
{
    struct upstream_request *r = pool->first[l];

    if (r) {
        pool->first[l] = r->list_next[l];
        r->is_in[l] = 0;
    }
    return r;
}

/* ---- the end of a request ---- */

static void request_free(struct upstream_request *r)
{
    r->pool->lib->easy_cleanup(r->easy);
    buf_done(&r->ask);
    buf_done(&r->head);
    buf_done(&r->held);
    free(r);
}

/* Empty, with its libcurl handle and small buffers. */
static void request_clear(struct upstream_request *r)
{
    struct buf ask = r->ask, head = r->head, held = r->held;
    struct upstream_pool *pool = r->pool;
    CURL *easy = r->easy;

    buf_done(&held);
    if (head.cap > KEEP_MAX)
        buf_done(&head);
    buf_clear(&ask);
    buf_clear(&head);
    memset(r, 0, offsetof(struct upstream_request, lines));
    r->pool = pool;
    r->easy = easy;
    r->ask = ask;
    r->head = head;
    r->held = held;
    r->n_head = r->n_answer = r->data_at = r->data_n = 0;
    r->status = 0;
}

static void request_leave(struct upstream_request *r)
{
    struct upstream_pool *pool = r->pool;

    if (r->next)
        r->next->prev = r->prev;
    if (r->prev)
        r->prev->next = r->next;
    else
        pool->requests = r->next;
    pool->n_requests--;
    pool->io->n_requests--;
}

void upstream_pool_drop(struct upstream_request *r)
{
    struct upstream_pool *pool = r->pool;

    if (r->is_busy || r->is_in[LIST_TODO] || r->is_in[LIST_NEWS])
        return; /* whoever holds it drops it */
    if (pool->n_unused >= UPSTREAM_FREE_MAX) {
        request_free(r);
        return;
    }
    request_clear(r);
    r->next = pool->unused;
    pool->unused = r;
    pool->n_unused++;
}

static void leave_curl(struct upstream_request *r)
{
    if (r->is_added)
        r->pool->lib->multi_remove_handle(r->pool->multi, r->easy);
    r->is_added = 0;
}

void upstream_pool_stop(struct upstream_request *r)
{
    leave_curl(r);
    r->phase = PHASE_DONE;
    request_leave(r);
}

/* ---- deadlines ---- */

static void arm(struct event *ev, int64_t us)
{
    struct timeval tv = {.tv_sec = us / 1000000, .tv_usec = us % 1000000};
    event_add(ev, &tv);
}

static int64_t phase_due_us(const struct upstream_request *r)
{
    const struct upstream_config *c = r->pool->config;

    switch ((enum upstream_phase)r->phase) {
    case PHASE_CONNECT:
        return r->mark_us + c->connect_ms * 1000LL;
    case PHASE_WAIT:
        return r->mark_us + r->first_byte_ms * 1000LL;
    case PHASE_BODY:
        return r->is_paused ? INT64_MAX : r->mark_us + c->silence_ms * 1000LL;
    case PHASE_DONE:
        break;
    }
    return INT64_MAX;
}

void upstream_pool_expect(struct upstream_request *r)
{
    struct upstream_pool *pool = r->pool;
    int64_t total_us = r->begun_us + pool->config->total_ms * 1000LL;
    int64_t due_us = phase_due_us(r);

    r->due_us = due_us < total_us ? due_us : total_us;
    if (!pool->sweep_us || r->due_us < pool->sweep_us) {
        pool->sweep_us = r->due_us;
        arm(pool->sweep_ev, r->due_us > pool->now_us ? r->due_us - pool->now_us : 0);
    }
}

static void overdue(struct upstream_request *r)
{
    if (r->begun_us + r->pool->config->total_ms * 1000LL <= r->pool->now_us)
        upstream_fail(r, ERR_TIMEOUT, "The answer took too long");
    else if (r->phase == PHASE_CONNECT)
        upstream_fail(r, ERR_CONNECT, "The service was not connected to in time");
    else if (r->phase == PHASE_WAIT)
        upstream_fail(r, ERR_SILENT, "The service did not begin to answer in time");
    else
        upstream_fail(r, ERR_SILENT, "The service stopped in the middle of its answer");
    leave_curl(r);
    r->phase = PHASE_DONE;
    buf_done(&r->held);
    upstream_pool_push(r, LIST_NEWS);
}

static void run(struct upstream_pool *pool);

static void sweep_cb(evutil_socket_t fd, short what, void *ctx)
{
    struct upstream_pool *pool = ctx;
    int64_t next_us = INT64_MAX;

    upstream_pool_now(pool);
    for (struct upstream_request *r = pool->requests; r; r = r->next) {
        if (r->due_us <= pool->now_us)
            overdue(r);
        else if (r->due_us < next_us)
            next_us = r->due_us;
    }
    pool->sweep_us = 0;
    if (next_us != INT64_MAX) {
        if (next_us < pool->now_us + SWEEP_MIN_US)
            next_us = pool->now_us + SWEEP_MIN_US;
        pool->sweep_us = next_us;
        arm(pool->sweep_ev, next_us - pool->now_us);
    }
    run(pool);
}
/* ---- telling the upper room ---- */

/* What came goes up, unless it must wait for the end of a pause. */
static void tell_data(struct upstream_request *r)
{
    const struct upstream_pool *pool = r->pool;
    size_t n = r->data_n;

    r->data_n = 0;
    if (n && r->is_paused) {
        if (buf_add(&r->held, pool->io->data.data + r->data_at, n))
            upstream_fail(r, ERR_NOMEM, "Out of memory for an answer");
    } else if (n)
        r->handler.on_data(r->handler.ctx, r, pool->io->data.data + r->data_at, n);
    while (!r->is_ended && !r->is_paused && r->held.len) {
        struct buf held = r->held;
        buf_init(&r->held, held.max);
        r->handler.on_data(r->handler.ctx, r, held.data, held.len);
        buf_done(&held);
    }
    if (!r->is_ended && r->is_held && !r->is_paused && !r->held.len)
        upstream_pool_push(r, LIST_TODO);
}

static void tell_end(struct upstream_request *r)
{
    struct err e = {0};

    if (r->code)
        err_set(&e, r->code, "%s", r->why);
    r->is_ended = 1;
    request_leave(r);
    r->handler.on_end(r->handler.ctx, r, &e);
}

/* Each of these may cancel it. */
static void tell(struct upstream_request *r)
{
    r->is_busy = 1;
    if (!r->is_ended && r->has_head) {
        r->has_head = 0;
        r->handler.on_head(r->handler.ctx, r);
    }
    if (!r->is_ended)
        tell_data(r);
    if (!r->is_ended && r->phase == PHASE_DONE && !r->held.len)
        tell_end(r);
    r->is_busy = 0;
    if (r->is_ended)
        upstream_pool_drop(r);
}

static void take_ends(struct upstream_pool *pool)
{
    const CURLMsg *m;
    int n;

    while ((m = pool->lib->multi_info_read(pool->multi, &n)) != NULL) {
        CURLcode result = m->data.result;
        struct upstream_request *r = NULL;

        pool->lib->easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, &r);
        leave_curl(r);
        upstream_easy_judge(r, result);
        r->phase = PHASE_DONE;
        upstream_pool_push(r, LIST_NEWS);
    }
}

/* After libcurl was at work: tell what came of it. */
static void run(struct upstream_pool *pool)
{
    struct upstream_request *r;

    take_ends(pool);
    while ((r = pop(pool, LIST_NEWS)) != NULL)
        tell(r);
    buf_clear(&pool->io->data);
}

/* ---- libcurl at work ---- */

void upstream_pool_now(struct upstream_pool *pool)
{
    pool->now_us = clock_now_us();
}

void upstream_pool_act(struct upstream_pool *pool, curl_socket_t fd, int what)
{
    int n;

    pool->lib->multi_socket_action(pool->multi, fd, what, &n);
    run(pool);
}

static void timer_cb(evutil_socket_t fd, short what, void *ctx)
{
    struct upstream_pool *pool = ctx;

    upstream_pool_now(pool);
    upstream_pool_act(pool, CURL_SOCKET_TIMEOUT, 0);
}

static int timer_set(CURLM *multi, long ms, void *ctx)
{
    struct upstream_pool *pool = ctx;

    if (ms < 0)
        event_del(pool->timer_ev);
    else
        arm(pool->timer_ev, ms * 1000LL);
    return 0;
}

/* ---- what the upper room asked for ---- */

static void go_on(struct upstream_request *r)
{
    if (r->is_paused)
        return;
    upstream_pool_push(r, LIST_NEWS); /* what was held here comes first */
    if (r->is_held && !r->held.len && r->is_added) {
        r->is_held = 0;
        r->pool->lib->easy_pause(r->easy, CURLPAUSE_CONT);
    }
}

static void start(struct upstream_request *r)
{
    if (r->pool->lib->multi_add_handle(r->pool->multi, r->easy)) {
        upstream_fail(r, ERR_NOMEM, "Out of memory for a request to a service");
        r->phase = PHASE_DONE;
        upstream_pool_push(r, LIST_NEWS);
    } else
        r->is_added = 1;
}

static void todo_cb(evutil_socket_t fd, short what, void *ctx)
{
    struct upstream_pool *pool = ctx;
    struct upstream_request *r;

    upstream_pool_now(pool);
    while ((r = pop(pool, LIST_TODO)) != NULL) {
        if (r->is_ended)
            upstream_pool_drop(r);
        else if (r->is_added || r->phase != PHASE_CONNECT)
            go_on(r);
        else
            start(r);
    }
    upstream_pool_act(pool, CURL_SOCKET_TIMEOUT, 0);
}

/* ---- lifecycle ---- */

static void free_event(struct event *ev)
{
    if (ev)
        event_free(ev);
}

void upstream_pool_free(struct upstream_pool *pool)
{
    struct upstream_request *r;

    while ((r = pool->requests) != NULL) {
        upstream_pool_stop(r);
        request_free(r);
    }
    while ((r = pool->unused) != NULL) {
        pool->unused = r->next;
        request_free(r);
    }
    if (pool->multi)
        pool->lib->multi_cleanup(pool->multi);
    free_event(pool->timer_ev);
    free_event(pool->todo_ev);
    free_event(pool->sweep_ev);
    free(pool);
}

int upstream_pool_new(struct upstream_pool **ret, struct upstream_io *io)
{
    struct upstream_pool *pool = calloc(1, sizeof *pool);
    const struct curl_lib *lib = io->up->lib;
    struct event_base *base = io->net->base;

    if (!pool)
        return ERR_NOMEM;
    pool->io = io;
    pool->config = &io->up->config;
    pool->lib = lib;
    pool->multi = lib->multi_init();
    pool->timer_ev = event_new(base, -1, 0, timer_cb, pool);
    pool->todo_ev = event_new(base, -1, EV_PERSIST, todo_cb, pool);
    pool->sweep_ev = event_new(base, -1, 0, sweep_cb, pool);
    if (!pool->multi || !pool->timer_ev || !pool->todo_ev || !pool->sweep_ev) {
        upstream_pool_free(pool);
        return ERR_NOMEM;
    }
    lib->multi_setopt(pool->multi, CURLMOPT_SOCKETFUNCTION, upstream_sock_set);
    lib->multi_setopt(pool->multi, CURLMOPT_SOCKETDATA, pool);
    lib->multi_setopt(pool->multi, CURLMOPT_TIMERFUNCTION, timer_set);
    lib->multi_setopt(pool->multi, CURLMOPT_TIMERDATA, pool);
    lib->multi_setopt(pool->multi, CURLMOPT_MAXCONNECTS, (long)UPSTREAM_POOL_MAX);
    *ret = pool;
    return 0;
}
