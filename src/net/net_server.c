/* The server: io threads, their loops, mailboxes, timers, and the drain. */
#include "net/net.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <event2/event.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/rand.h"
#include "net/net_int.h"
#include "net/tls_server.h"

#define SCRATCH_MAX    262144 /* of an answer's head */
#define SWEEP_MAX_MS   1000
#define DRAIN_SWEEP_MS 20

static _Thread_local const struct net_io *this_io;

void net_io_check(const struct net_io *io)
{
    CHECK(this_io == io);
}

/* ---- configuration ---- */

void net_config_default(struct net_config *c)
{
    *c = (struct net_config){
        .host = "127.0.0.1",
        .port = 8080,
        .n_io = 1,
        .conns_max = 4096,
        .conns_reserve = 32,
        .evict_after_ms = 250,
        .backlog = 4096,
        .header_timeout_ms = 10000,
        .body_timeout_ms = 20000,
        .idle_timeout_ms = 75000,
        .stall_timeout_ms = 30000,
        .rate_min = 16384,
        .linger_ms = 2000,
        .drain_idle_ms = 250,
        .stream_pending_max = 1 << 20,
        .body_budget_bytes = 256 << 20,
        .http = HTTP_LIMITS_DEFAULT,
        .h2_streams = 128,
    };
}

int64_t net_patience_us(const struct net_config *c, int timeout_ms, uint64_t n)
{
    return (int64_t)timeout_ms * 1000 + (int64_t)(n * 1000000 / (uint64_t)c->rate_min);
}

static int check_config(const struct net_config *c, const struct net_handler *h, struct err *e)
{
    if (!c->host || c->port < 0 || c->port > 65535)
        return err_set(e, ERR_ARG, "The port must be from 0 to 65535");
    if (c->n_io < 1 || c->n_io > 64)
        return err_set(e, ERR_ARG, "The number of io threads must be from 1 to 64");
    if (c->conns_max < 1 || c->conns_reserve < 1 || c->conns_per_peer < 0 ||
        c->evict_after_ms < 0 || c->backlog < 1 || c->header_timeout_ms < 1 ||
        c->body_timeout_ms < 1 || c->idle_timeout_ms < 1 || c->stall_timeout_ms < 1 ||
        c->rate_min < 1 || c->linger_ms < 0 || c->drain_idle_ms < 0)
        return err_set(e, ERR_ARG, "A network limit must be positive");
    if (c->stream_pending_max < 4096 || c->body_budget_bytes < 4096 || c->http.head_max < 256)
        return err_set(e, ERR_ARG, "A network buffer limit is too small");
    if (c->h2_streams < 0 || c->h2_streams > NET_STREAMS_MAX)
        return err_set(e, ERR_ARG, "The streams of a connection must be from 0 to %d",
                       NET_STREAMS_MAX);
    CHECK(h->on_request && h->on_body && h->on_gone);
    return 0;
}

/* ---- one io thread ---- */

static int sweep_ms(const struct net_io *io)
{
    const struct net_config *c = &io->server->config;
    const int limits[] = {c->header_timeout_ms, c->body_timeout_ms, c->idle_timeout_ms,
                          c->stall_timeout_ms, c->linger_ms};
    int ms = SWEEP_MAX_MS;

    for (size_t i = 0; i < ARRAY_LEN(limits); i++) {
        if (limits[i] / 4 < ms)
            ms = limits[i] / 4;
    }
    if (io->idle_drained && ms > DRAIN_SWEEP_MS)
        ms = DRAIN_SWEEP_MS;
    return ms < 10 ? 10 : ms;
}

static void arm_sweep(struct net_io *io)
{
    int ms = sweep_ms(io);
    struct timeval tv = {.tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000};
    event_add(io->sweep_ev, &tv);
}

/* The thread ends when the drain is on, nothing can be accepted, and no connection and no other
 * work is left. */
static void check_drain(struct net_io *io)
{
    struct net_server *s = io->server;

    if (!atomic_load(&s->is_draining))
        return;
    if (!io->drain_seen) {
        io->drain_seen = 1;
        if (io->index == 0) {
            listen_close(s);
            for (int i = 1; i < s->config.n_io; i++)
                mbox_wake(&s->ios[i].inbox);
        }
    }
    if (!io->idle_drained && !atomic_load(&s->is_leaving)) {
        io->idle_drained = 1;
        conn_drain(io);
        arm_sweep(io);
    }
    if (atomic_load(&s->accept_closed) && atomic_load(&io->n_assigned) == 0 && !io->n_kept)
        event_base_loopbreak(io->base);
}

static void inbox_cb(evutil_socket_t fd, short what, void *ctx)
{
    struct net_io *io = ctx;
    struct mbox_item *list, *it;

    mbox_clear(&io->inbox);
    list = mbox_take(&io->inbox);
    while ((it = mbox_next(&list)) != NULL)
        conn_open((struct net_conn *)it); /* its first member */
    if (io->index == 0)
        listen_resume(io->server);
    places_make(io);
    check_drain(io);
}

static void mail_cb(evutil_socket_t fd, short what, void *ctx)
{
    struct net_io *io = ctx;
    struct net_handler *h = &io->server->handler;

    mbox_clear(&io->mail);
    if (h->on_mail)
        h->on_mail(h->ctx, io->index);
}

static void defer_cb(evutil_socket_t fd, short what, void *ctx)
{
    struct net_io *io = ctx;
    conn_defer_run(io);
    check_drain(io);
}

static void sweep_cb(evutil_socket_t fd, short what, void *ctx)
{
    struct net_io *io = ctx;

    conn_sweep(io, clock_now_us());
    if (io->index == 0) {
        listen_resume(io->server);
        if (atomic_load(&io->server->accept_paused))
            places_want(io->server);
    }
    check_drain(io);
    arm_sweep(io);
}

static void *io_main(void *ctx)
{
    struct net_io *io = ctx;
    struct net_handler *h = &io->server->handler;

    this_io = io;
    arm_sweep(io);
    if (h->on_mail)
        h->on_mail(h->ctx, io->index);
    check_drain(io);
    if (!event_base_got_break(io->base))
        event_base_dispatch(io->base);
    conn_free_all(io);
    atomic_fetch_add(&io->server->n_io_ended, 1);
    return NULL;
}

static int io_open(struct net_io *io, struct net_server *s, int index)
{
    struct event_config *config = event_config_new();

    io->server = s;
    io->index = index;
    io->mail.fd = io->inbox.fd = -1;
    atomic_store(&io->longest_us, INT64_MAX);
    buf_init(&io->scratch, SCRATCH_MAX);
    if (!config)
        return ERR_NOMEM;
    event_config_set_flag(config, EVENT_BASE_FLAG_NOLOCK); /* one thread, no locks */
    io->base = event_base_new_with_config(config);
    event_config_free(config);
    io->in = malloc(NET_READ_MAX);
    io->record = s->tls ? malloc(TLS_RECORD_MAX) : NULL;
    if (!io->base || !io->in || (s->tls && !io->record) || mbox_open(&io->mail) ||
        mbox_open(&io->inbox))
        return ERR_NOMEM;
    io->mail_ev = event_new(io->base, io->mail.fd, EV_READ | EV_PERSIST, mail_cb, io);
    io->inbox_ev = event_new(io->base, io->inbox.fd, EV_READ | EV_PERSIST, inbox_cb, io);
    io->defer_ev = event_new(io->base, -1, EV_PERSIST, defer_cb, io);
    io->sweep_ev = event_new(io->base, -1, 0, sweep_cb, io);
    if (!io->mail_ev || !io->inbox_ev || !io->defer_ev || !io->sweep_ev)
        return ERR_NOMEM;
    return event_add(io->mail_ev, NULL) || event_add(io->inbox_ev, NULL) ? ERR_NOMEM : 0;
}

static void free_event(struct event *ev)
{
    if (ev)
        event_free(ev);
}

static void io_close(struct net_io *io)
{
    struct mbox_item *list, *it;

    if (io->inbox.fd >= 0) { /* handed over to a thread that was never started */
        list = mbox_take(&io->inbox);
        while ((it = mbox_next(&list)) != NULL)
            conn_drop((struct net_conn *)it);
    }
    free_event(io->mail_ev);
    free_event(io->inbox_ev);
    free_event(io->defer_ev);
    free_event(io->sweep_ev);
    if (io->base)
        event_base_free(io->base);
    mbox_close(&io->mail);
    mbox_close(&io->inbox);
    buf_done(&io->scratch);
    free(io->in);
    free(io->record);
}

/* ---- lifecycle ---- */

int net_server_open(struct net_server **ret_server, const struct net_config *c,
                    const struct net_handler *h, struct err *e)
{
    struct net_server *s;
    int r = check_config(c, h, e);

    if (r)
        return r;
    s = calloc(1, sizeof *s);
    if (!s)
        return err_set(e, ERR_NOMEM, "Out of memory for the server");
    s->config = *c;
    places_allow_files(c);
    s->handler = *h;
    s->tls = c->tls;
    atomic_store(&s->is_held, c->is_held);
    pthread_mutex_init(&s->tls_lock, NULL);
    s->ios = calloc((size_t)c->n_io, sizeof *s->ios);
    r = s->ios ? 0 : err_set(e, ERR_NOMEM, "Out of memory for the io threads");
    if (!r && rand_system(&s->seed, sizeof s->seed))
        r = err_set(e, ERR_IO, "No random bytes from the system");
    for (; !r && s->n_io_open < c->n_io; s->n_io_open++) {
        if (io_open(&s->ios[s->n_io_open], s, s->n_io_open))
            r = err_set(e, ERR_NOMEM, "Cannot make an event loop: out of memory or descriptors");
    }
    if (!r)
        r = listen_open(s, e);
    s->config.host = NULL; /* the caller's, as are the next */
    s->config.listen_fds = NULL;
    if (r) {
        s->tls = NULL; /* it stays the caller's */
        net_server_close(s);
        return r;
    }
    *ret_server = s;
    return 0;
}

int net_server_start(struct net_server *s, struct err *e)
{
    sigset_t all, old;
    int r = 0;

    if (listen_start(s))
        return err_set(e, ERR_NOMEM, "Out of memory for the listeners");
    atomic_store(&s->is_running, 1);
    sigfillset(&all); /* signals are for the main thread; SIGPIPE for nobody */
    pthread_sigmask(SIG_SETMASK, &all, &old);
    for (int i = 0; i < s->config.n_io && !r; i++) {
        struct net_io *io = &s->ios[i];
        r = pthread_create(&io->thread, NULL, io_main, io);
        if (r)
            break;
        s->n_io_started++;
        pthread_setname_np(io->thread, "net-io");
    }
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (r) {
        net_server_drain(s, 0);
        net_server_join(s);
        return err_set(e, ERR_NOMEM, "Cannot start an io thread: %s", strerror(r));
    }
    return 0;
}

int net_server_port(const struct net_server *s)
{
    return s->port;
}

static void begin_drain(struct net_server *s, int deadline_ms)
{
    int64_t at = clock_now_us() + (int64_t)deadline_ms * 1000, old = 0;

    /* 0 means none yet; the earliest deadline stays */
    while (!atomic_compare_exchange_weak(&s->drain_deadline_us, &old, at)) {
        if (old != 0 && old <= at)
            break;
    }
    atomic_store(&s->is_draining, 1);
    for (int i = 0; i < s->n_io_open; i++)
        mbox_wake(&s->ios[i].inbox);
}

void net_server_drain(struct net_server *s, int deadline_ms)
{
    atomic_store(&s->is_leaving, 0);
    begin_drain(s, deadline_ms);
}

void net_server_leave(struct net_server *s, int deadline_ms)
{
    if (!net_server_is_draining(s))
        atomic_store(&s->is_leaving, 1);
    begin_drain(s, deadline_ms);
}

int net_server_accepts(const struct net_server *s)
{
    return !atomic_load(&s->accept_closed);
}

int net_server_has_ended(const struct net_server *s)
{
    return atomic_load(&s->n_io_ended) == s->n_io_started;
}

void net_server_accept(struct net_server *s)
{
    atomic_store(&s->is_held, 0);
    mbox_wake(&s->ios[0].inbox);
}

int net_server_is_draining(const struct net_server *s)
{
    return atomic_load(&s->is_draining);
}

int net_server_is_over(const struct net_server *s)
{
    return net_server_is_draining(s) && clock_now_us() >= atomic_load(&s->drain_deadline_us);
}

void net_io_keep(struct net_server *s, int io, int add)
{
    net_io_check(&s->ios[io]);
    s->ios[io].n_kept += add;
    CHECK(s->ios[io].n_kept >= 0);
}

void net_server_join(struct net_server *s)
{
    for (int i = 0; i < s->n_io_started; i++)
        pthread_join(s->ios[i].thread, NULL);
    s->n_io_started = 0;
    atomic_store(&s->is_running, 0);
}

void net_server_close(struct net_server *s)
{
    if (!s)
        return;
    net_server_drain(s, 0);
    net_server_join(s);
    listen_close(s);
    for (int i = 0; i < s->n_io_open; i++)
        io_close(&s->ios[i]);
    tls_context_free(s->tls);
    pthread_mutex_destroy(&s->tls_lock);
    free(s->ios);
    free(s);
}

void net_server_set_tls(struct net_server *s, struct tls_context *tls)
{
    struct tls_context *old;

    CHECK(tls && s->tls);
    pthread_mutex_lock(&s->tls_lock);
    old = s->tls;
    s->tls = tls;
    pthread_mutex_unlock(&s->tls_lock);
    tls_context_free(old);
}

static int64_t tls_expiry_s(struct net_server *s)
{
    int64_t t;

    pthread_mutex_lock(&s->tls_lock);
    t = s->tls ? tls_context_expiry_s(s->tls) : 0;
    pthread_mutex_unlock(&s->tls_lock);
    return t;
}

void net_server_stats(struct net_server *s, struct net_stats *ret)
{
    *ret = (struct net_stats){
        .n_conns = atomic_load(&s->n_conns),
        .n_exchanges = atomic_load(&s->n_exchanges),
        .body_bytes = atomic_load(&s->claimed[NET_CLAIM_BODY]),
        .answer_bytes = atomic_load(&s->claimed[NET_CLAIM_ANSWER]),
        .accepted_total = atomic_load(&s->accepted_total),
        .requests_total = atomic_load(&s->requests_total),
        .refused_total = atomic_load(&s->refused_total),
        .gone_total = atomic_load(&s->gone_total),
        .slow_total = atomic_load(&s->slow_total),
        .evicted_total = atomic_load(&s->evicted_total),
        .accept_fails_total = atomic_load(&s->accept_fails_total),
        .shakes_total = atomic_load(&s->shakes_total),
        .shake_fails_total = atomic_load(&s->shake_fails_total),
        .h2_conns_total = atomic_load(&s->h2_conns_total),
        .h2_resets_total = atomic_load(&s->h2_resets_total),
        .h2_abuse_total = atomic_load(&s->h2_abuse_total),
        .tls_expiry_s = tls_expiry_s(s),
    };
}

/* ---- mailboxes and timers ---- */

int net_n_io(const struct net_server *s)
{
    return s->config.n_io;
}

void net_io_mail(struct net_server *s, int io)
{
    event_active(s->ios[io].mail_ev, EV_READ, 0);
}

struct mbox *net_io_mbox(struct net_server *s, int io)
{
    CHECK(io >= 0 && io < s->config.n_io);
    return &s->ios[io].mail;
}

struct net_timer {
    struct net_io *io;
    struct event *ev;
    void (*fn)(void *ctx);
    void *ctx;
};

static void timer_check(const struct net_timer *t)
{
    if (atomic_load(&t->io->server->is_running))
        net_io_check(t->io);
}

static void timer_cb(evutil_socket_t fd, short what, void *ctx)
{
    struct net_timer *t = ctx;
    t->fn(t->ctx); /* may free t */
}

struct net_timer *net_timer_new(struct net_server *s, int io, void (*fn)(void *ctx), void *ctx)
{
    struct net_timer *t = calloc(1, sizeof *t);

    CHECK(io >= 0 && io < s->config.n_io);
    if (!t)
        return NULL;
    *t = (struct net_timer){.io = &s->ios[io], .fn = fn, .ctx = ctx};
    timer_check(t);
    t->ev = event_new(t->io->base, -1, 0, timer_cb, t);
    if (!t->ev) {
        free(t);
        return NULL;
    }
    return t;
}

void net_timer_arm(struct net_timer *t, int ms)
{
    struct timeval tv = {.tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000};
    timer_check(t);
    event_add(t->ev, &tv);
}

void net_timer_free(struct net_timer *t)
{
    if (!t)
        return;
    timer_check(t);
    event_free(t->ev);
    free(t);
}
