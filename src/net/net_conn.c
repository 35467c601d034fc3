/* One connection: bytes in and out, states, time limits, and its end. What the bytes mean is its
 * carrier's (net_h1.c).
 *
 * Nothing is freed and no callback of the upper room is made while one of its calls is on the
 * stack: calls change the state and put the connection on its thread's deferred list, which the
 * next turn of the loop works off. That is also where output is written, so that all pieces
 * written in one turn leave in one system call, without a round through epoll. */
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <event2/buffer.h>
#include <event2/event.h>

#include "base/check.h"
#include "base/clock.h"
#include "net/net_int.h"

#define DRAIN_NEW_MS 1000

static void conn_advance(struct net_conn *c);
static int shake(struct net_conn *c);

/* ---- small parts ---- */

static int64_t deadline_in(int ms)
{
    return clock_now_us() + (int64_t)ms * 1000;
}

int64_t conn_deadline(const struct net_conn *c, int ms)
{
    return c->io->now_us + (int64_t)ms * 1000;
}

int64_t conn_idle_deadline(const struct net_conn *c)
{
    return conn_deadline(c, c->io->idle_drained ? DRAIN_NEW_MS : conn_config(c)->idle_timeout_ms);
}

const struct net_config *conn_config(const struct net_conn *c)
{
    return &c->io->server->config;
}

size_t conn_pending(const struct net_conn *c)
{
    return evbuffer_get_length(c->out_bytes);
}

void conn_set(struct net_conn *c, enum conn_state state)
{
    c->state = (uint8_t)state;
    places_note(c);
}

void conn_defer(struct net_conn *c)
{
    if (c->is_deferred)
        return;
    c->is_deferred = 1;
    c->defer_next = c->io->deferred;
    c->io->deferred = c;
    event_active(c->io->defer_ev, 0, 0);
}

/* ---- the end of a connection ---- */

void conn_cut(struct net_conn *c)
{
    if (c->state == CONN_DEAD)
        return;
    conn_set(c, CONN_DEAD);
    event_del(c->in_ev);
    event_del(c->out_ev);
    conn_defer(c);
}

void conn_kill(struct net_conn *c, int code)
{
    if (c->state == CONN_DEAD)
        return;
    conn_cut(c); /* before on_gone, so that calls made from there find a dead connection */
    c->carrier->gone(c, code);
}

static void conn_free(struct net_conn *c)
{
    struct net_io *io = c->io;
    struct net_server *s = io->server;

    c->carrier->drop(c);
    if (c->next)
        c->next->prev = c->prev;
    if (c->prev)
        c->prev->next = c->next;
    else
        io->conns = c->next;
    budget_note(&c->out, 0);
    conn_drop(c);
    if (atomic_load(&s->accept_paused))
        mbox_wake(&s->ios[0].inbox);
}

/* ---- output ---- */

int conn_write(struct net_conn *c, const void *p, size_t n)
{
    if (evbuffer_add(c->out_bytes, p, n))
        return ERR_NOMEM;
    c->out_total += n;
    conn_defer(c);
    return 0;
}

static void free_given(const void *p, size_t n, void *given)
{
    free(given);
}

static int conn_give(struct net_conn *c, const char *p, size_t n, char *given)
{
    if (evbuffer_add_reference(c->out_bytes, p, n, free_given, given)) {
        free(given);
        return ERR_NOMEM;
    }
    c->out_total += n;
    conn_defer(c);
    return 0;
}

int conn_write_whole(struct net_conn *c, const struct buf *head, const char *body, size_t n_body,
                     char *given)
{
    size_t n = wire_send(c, head, body, n_body);
    int r = n < head->len ? conn_write(c, head->data + n, head->len - n) : 0;

    n = n > head->len ? n - head->len : 0;
    if (r || n == n_body) {
        free(given);
        return r;
    }
    return given ? conn_give(c, body + n, n_body - n, given) : conn_write(c, body + n, n_body - n);
}

/* What the socket takes. 0, or -1 when the client is gone. */
static int write_some(struct net_conn *c)
{
    if (wire_write(c))
        return -1;
    budget_note(&c->out, conn_pending(c));
    return 0;
}

/* Write straight to the socket; bytes that it does not take are written by the loop later. 0, or -1
 * when the client is gone. */
static int conn_flush(struct net_conn *c)
{
    if (conn_pending(c) == 0 || c->is_writing)
        return 0;
    if (write_some(c))
        return -1;
    if (conn_pending(c) == 0)
        return 0;
    c->is_writing = 1;
    return event_add(c->out_ev, NULL);
}

static void write_cb(evutil_socket_t fd, short what, void *ctx)
{
    struct net_conn *c = ctx;

    if (write_some(c)) {
        conn_kill(c, ERR_CANCELLED);
        return;
    }
    if (conn_pending(c) > 0)
        return;
    event_del(c->out_ev);
    c->is_writing = 0;
    c->stall_us = 0;
    if (c->state == CONN_SHAKE && !shake(c))
        return;
    c->carrier->turn(c);
    conn_advance(c);
}

/* Come again when the socket can be written. */
static void wait_writable(struct net_conn *c)
{
    c->is_writing = 1;
    if (event_add(c->out_ev, NULL))
        conn_cut(c);
}

static void conn_linger(struct net_conn *c)
{
    if (!c->is_eof && wire_end(c) == WIRE_AGAIN_OUT) {
        wait_writable(c);
        return;
    }
    if (c->is_eof || shutdown(c->fd, SHUT_WR)) {
        conn_cut(c);
        return;
    }
    conn_set(c, CONN_LINGER);
    c->deadline_us = conn_deadline(c, conn_config(c)->linger_ms);
}

void conn_finish(struct net_conn *c)
{
    conn_set(c, CONN_FLUSH);
    c->deadline_us = 0;
    c->carrier->drop(c);
}

static int start_h2(struct net_conn *c)
{
    if (!h2_open(c))
        return 1;
    conn_cut(c);
    return 0;
}

/* Go on with the handshake: 1 when it is done, and requests may come. A client that speaks
 * something else, or has no right to come, is told, and its connection closed. */
static int shake(struct net_conn *c)
{
    c->io->now_us = clock_now_us();
    switch (wire_shake(c)) {
    case 0:
        if (tls_is_h2(c->tls))
            return start_h2(c);
        conn_set(c, CONN_IDLE);
        c->deadline_us = conn_idle_deadline(c);
        return 1;
    case WIRE_AGAIN:
        break;
    case WIRE_AGAIN_OUT:
        wait_writable(c);
        break;
    case WIRE_PLAIN:
        c->x = exchange_new(c);
        if (!c->x) {
            conn_cut(c);
            break;
        }
        c->x->close_after = 1;
        exchange_refuse(c->x, 400,
                        "This port speaks TLS only: write https:// where you wrote http://.");
        break;
    default:
        conn_finish(c);
        conn_defer(c);
        break;
    }
    return 0;
}

/* ---- input ---- */

static void drop_input(struct net_conn *c)
{
    c->n_in = 0;
}

/* Bytes ahead of a running request stay in the kernel when they are many. */
static void watch_input(struct net_conn *c)
{
    int waits = c->state == CONN_BUSY || c->state == CONN_IDLE;
    int pause = waits && c->n_in > NET_AHEAD_MAX;

    if (pause == c->read_paused || c->state == CONN_DEAD || c->is_eof)
        return;
    c->read_paused = (uint8_t)pause;
    if (pause)
        event_del(c->in_ev);
    else if (event_add(c->in_ev, NULL))
        conn_kill(c, ERR_CANCELLED);
}

/* Do all that can be done now. */
static void conn_advance(struct net_conn *c)
{
    if (c->is_busy)
        return;
    c->is_busy = 1;
    c->io->now_us = clock_now_us();
    for (const struct carrier *k = NULL; k != c->carrier;) { /* the first bytes may change it */
        k = c->carrier;
        k->advance(c);
    }
    if (c->state == CONN_FLUSH) {
        drop_input(c);
        if (conn_pending(c) == 0)
            conn_linger(c);
    }
    if (c->state == CONN_LINGER)
        drop_input(c);
    if (c->n_in == 0)
        buf_done(&c->ahead);
    watch_input(c);
    c->is_busy = 0;
}

/* The client's end, or an error. */
static void input_ended(struct net_conn *c, int is_error)
{
    int waits = c->state == CONN_IDLE || c->state == CONN_HEAD || c->state == CONN_SKIP ||
                c->state == CONN_FLUSH;

    c->is_eof = 1;
    event_del(c->in_ev);
    if (!is_error && waits && conn_pending(c) > 0)
        conn_finish(c); /* the last answer may still be read */
    else
        conn_kill(c, ERR_CANCELLED);
}

/* Bytes behind those that are ahead. 0 or ERR_NOMEM. */
static int add_ahead(struct net_conn *c, const char *p, size_t n)
{
    if (c->n_in && c->in != c->ahead.data) /* to the front, over those that are used */
        memmove(c->ahead.data, c->in, c->n_in);
    c->ahead.len = c->n_in;
    if (buf_add(&c->ahead, p, n))
        return ERR_NOMEM;
    c->in = c->ahead.data;
    c->n_in = c->ahead.len;
    return 0;
}

/* What was not used of the thread's buffer stays with the connection. */
static void keep_input(struct net_conn *c)
{
    const char *p = c->in;
    size_t n = c->n_in;

    if (n == 0 || c->ahead.len)
        return;
    c->n_in = 0;
    if (c->state != CONN_DEAD && add_ahead(c, p, n))
        conn_kill(c, ERR_CANCELLED);
}

static void read_cb(evutil_socket_t fd, short what, void *ctx)
{
    struct net_conn *c = ctx;
    char *in = c->io->in;
    ssize_t n;

    if (c->state == CONN_SHAKE && !shake(c))
        return;
    n = wire_read(c, in, NET_READ_MAX);
    if (n == WIRE_AGAIN)
        return;
    if (n <= 0) {
        input_ended(c, n < 0);
        return;
    }
    if (c->n_in == 0) {
        c->in = in;
        c->n_in = (size_t)n;
    } else if (add_ahead(c, in, (size_t)n)) {
        conn_kill(c, ERR_CANCELLED);
        return;
    }
    conn_advance(c);
    keep_input(c);
}

/* ---- turns of the loop ---- */

static void free_event(struct event *ev)
{
    if (ev)
        event_free(ev);
}

void conn_drop(struct net_conn *c)
{
    free_event(c->in_ev);
    free_event(c->out_ev);
    if (c->out_bytes)
        evbuffer_free(c->out_bytes);
    wire_close(c);
    buf_done(&c->ahead);
    close(c->fd);
    places_count(c, -1);
    free(c);
}

void conn_open(struct net_conn *c)
{
    struct net_io *io = c->io;

    net_io_check(io);
    c->in_ev = event_new(io->base, c->fd, EV_READ | EV_PERSIST, read_cb, c);
    c->out_ev = event_new(io->base, c->fd, EV_WRITE | EV_PERSIST, write_cb, c);
    c->out_bytes = evbuffer_new();
    buf_init(&c->ahead, NET_AHEAD_MAX + NET_READ_MAX);
    if (!c->in_ev || !c->out_ev || !c->out_bytes || event_add(c->in_ev, NULL) || wire_open(c)) {
        conn_drop(c);
        return;
    }
    c->carrier = &h1_carrier;
    c->out = (struct net_claim){.server = io->server, .owner = c->peer, .kind = NET_CLAIM_ANSWER};
    c->next = io->conns;
    if (c->next)
        c->next->prev = c;
    io->conns = c;
    io->now_us = clock_now_us();
    places_enter(c);
    conn_set(c, c->tls ? CONN_SHAKE : CONN_IDLE);
    c->deadline_us = c->tls && !io->idle_drained
                         ? conn_deadline(c, conn_config(c)->header_timeout_ms)
                         : conn_idle_deadline(c);
}

void conn_defer_run(struct net_io *io)
{
    struct net_conn *c = io->deferred, *next;

    io->deferred = NULL;
    for (; c; c = next) {
        next = c->defer_next;
        c->is_deferred = 0;
        if (c->state == CONN_DEAD) {
            conn_free(c);
            continue;
        }
        if (c->carrier->fill)
            c->carrier->fill(c);
        if (conn_flush(c))
            conn_kill(c, ERR_CANCELLED);
        else {
            c->carrier->turn(c);
            conn_advance(c);
        }
    }
}

static void deadline_passed(struct net_conn *c)
{
    if (c->state == CONN_IDLE && conn_pending(c) > 0) /* it is being read: not idle */
        c->deadline_us = deadline_in(conn_config(c)->idle_timeout_ms);
    else if (c->state == CONN_SHAKE || c->state == CONN_LINGER)
        conn_cut(c);
    else
        c->carrier->late(c);
}

/* 1 when output waits for the client and it takes too little of it. When it has taken all that
 * there was, its time begins anew; else each byte that it takes extends its time, at rate_min. */
static int is_stalled(struct net_conn *c, int64_t now_us)
{
    size_t pending = conn_pending(c);
    uint64_t done = c->out_total - pending;

    budget_note(&c->out, pending);
    if (pending == 0) {
        c->stall_us = 0;
    } else if (c->stall_us == 0) {
        c->stall_us = now_us;
        c->out_seen = done;
    }
    return c->stall_us &&
           now_us - c->stall_us > net_patience_us(conn_config(c), conn_config(c)->stall_timeout_ms,
                                                  done - c->out_seen);
}

/* Has the client closed the connection? Asked while reading is paused, when the loop does not see
 * the end of file that comes after unread bytes. */
static int has_hung_up(const struct net_conn *c)
{
    struct pollfd p = {.fd = c->fd, .events = POLLRDHUP};
    return c->read_paused && poll(&p, 1, 0) > 0;
}

void conn_sweep(struct net_io *io, int64_t now_us)
{
    int over = io->drain_seen && net_server_is_over(io->server);

    for (struct net_conn *c = io->conns; c; c = c->next) { /* none is freed meanwhile */
        if (c->state == CONN_DEAD)
            continue;
        if (over)
            conn_kill(c, ERR_DRAINING);
        else if (is_stalled(c, now_us))
            conn_kill(c, ERR_SLOW_READER);
        else if (has_hung_up(c))
            conn_kill(c, ERR_CANCELLED);
        else if (c->deadline_us && now_us >= c->deadline_us)
            deadline_passed(c);
        else if (c->carrier->sweep)
            c->carrier->sweep(c, now_us);
    }
}

/* A drain began. Idle connections are closed after drain_idle_ms and not at once, because a request
 * may be on its way; it is answered with `Connection: close`. One that has not sent any request yet
 * gets DRAIN_NEW_MS. */
void conn_drain(struct net_io *io)
{
    for (struct net_conn *c = io->conns; c; c = c->next) {
        if (c->state == CONN_IDLE || c->state == CONN_SHAKE)
            c->deadline_us =
                deadline_in(c->is_served ? conn_config(c)->drain_idle_ms : DRAIN_NEW_MS);
    }
}

void conn_free_all(struct net_io *io)
{
    while (io->conns)
        conn_free(io->conns);
    io->deferred = NULL;
}
