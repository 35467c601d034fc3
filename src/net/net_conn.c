/* One connection: bytes in, states, time limits, and its end. The answer's bytes are made in
 * net_answer.c.
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

static int64_t deadline_of(const struct net_conn *c, int ms)
{
    return c->io->now_us + (int64_t)ms * 1000;
}

static const struct net_config *config_of(const struct net_conn *c)
{
    return &c->io->server->config;
}

/* 1 when the upper room knows of the exchange and has not ended it. */
static int is_live(const struct net_conn *c)
{
    return c->state == CONN_ASK || c->state == CONN_BODY || c->state == CONN_WORK ||
           c->state == CONN_STREAM;
}

size_t conn_pending(const struct net_conn *c)
{
    return evbuffer_get_length(c->out_bytes);
}

static void exchange_free(struct net_conn *c)
{
    struct net_exchange *x = c->x;

    c->x = NULL;
    if (!x)
        return;
    net_body_done(&x->body);
    http_parser_done(&x->parser);
    free(x);
    atomic_fetch_sub(&c->io->server->n_exchanges, 1);
}

static int exchange_new(struct net_conn *c)
{
    struct net_exchange *x = calloc(1, sizeof *x);

    if (!x)
        return ERR_NOMEM;
    x->conn = c;
    x->owner = c->peer;
    x->started_us = c->io->now_us;
    http_parser_init(&x->parser, &config_of(c)->http);
    c->x = x;
    atomic_fetch_add(&c->io->server->n_exchanges, 1);
    return 0;
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

/* From the loop only: tell the upper room, then close. */
static void conn_kill(struct net_conn *c, int code)
{
    struct net_server *s = c->io->server;

    if (c->state == CONN_DEAD)
        return;
    if (is_live(c)) {
        struct net_exchange *x = c->x;
        conn_cut(c); /* before on_gone, so that calls made from there find a dead connection */
        atomic_fetch_add(&s->gone_total, 1);
        if (code == ERR_SLOW_READER)
            atomic_fetch_add(&s->slow_total, 1);
        s->handler.on_gone(s->handler.ctx, x, code);
    }
    conn_cut(c);
}

static void conn_free(struct net_conn *c)
{
    struct net_io *io = c->io;
    struct net_server *s = io->server;

    exchange_free(c);
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

/* From the loop only. */
static void tell_room(struct net_conn *c)
{
    const struct net_handler *h = &c->io->server->handler;

    if (!c->wants_room || c->state != CONN_STREAM || conn_pending(c) > NET_OUT_FREE)
        return;
    c->wants_room = 0;
    h->on_room(h->ctx, c->x);
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
    tell_room(c);
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
    c->deadline_us = deadline_of(c, config_of(c)->linger_ms);
}

/* No more requests: what is in the output goes out, then the connection closes. */
static void conn_finish(struct net_conn *c)
{
    conn_set(c, CONN_FLUSH);
    c->deadline_us = 0;
    exchange_free(c);
}

/* Go on with the handshake: 1 when it is done, and requests may come. A client that speaks
 * something else, or has no right to come, is told, and its connection closed. */
static int shake(struct net_conn *c)
{
    c->io->now_us = clock_now_us();
    switch (wire_shake(c)) {
    case 0:
        conn_set(c, CONN_IDLE);
        c->deadline_us =
            deadline_of(c, c->io->idle_drained ? DRAIN_NEW_MS : config_of(c)->idle_timeout_ms);
        return 1;
    case WIRE_AGAIN:
        break;
    case WIRE_AGAIN_OUT:
        wait_writable(c);
        break;
    case WIRE_PLAIN:
        if (exchange_new(c)) {
            conn_cut(c);
            break;
        }
        conn_set(c, CONN_HEAD);
        answer_refuse(c, 400, "This port speaks TLS only: write https:// where you wrote http://.");
        break;
    default:
        conn_finish(c);
        conn_defer(c);
        break;
    }
    return 0;
}

void conn_answered(struct net_conn *c)
{
    c->is_served = 1;
    c->io->now_us = clock_now_us();
    if (c->close_after || c->io->idle_drained) {
        conn_finish(c);
    } else if (http_parser_left(&c->x->parser) != 0) {
        conn_set(c, CONN_SKIP);
        c->deadline_us = deadline_of(c, config_of(c)->body_timeout_ms);
    } else {
        conn_set(c, CONN_IDLE);
        c->deadline_us = deadline_of(c, config_of(c)->idle_timeout_ms);
        exchange_free(c);
        if (!c->n_in) /* there is nothing to go on with */
            return;
    }
    conn_defer(c);
}

/* ---- input ---- */

static void drop_input(struct net_conn *c)
{
    c->n_in = 0;
}

static void request_ready(struct net_conn *c)
{
    struct net_server *s = c->io->server;

    conn_set(c, CONN_ASK);
    c->deadline_us = 0;
    atomic_fetch_add(&s->requests_total, 1);
    if (places_is_reserve(c))
        c->x->close_after = 1;
    s->handler.on_request(s->handler.ctx, c->x);
}

static void body_ready(struct net_conn *c, int code)
{
    struct net_server *s = c->io->server;

    conn_set(c, CONN_WORK);
    c->deadline_us = 0;
    if (code)
        c->x->close_after = 1;
    else
        body_finish(c->x);
    s->handler.on_body(s->handler.ctx, c->x, code);
}

static void body_event(struct net_conn *c, enum http_event ev, int code)
{
    if (code)
        body_ready(c, code);
    else if (ev == HTTP_BAD)
        body_ready(c, c->x->parser.status == 413   ? ERR_TOO_LARGE
                      : c->x->parser.status == 503 ? ERR_NOMEM
                                                   : ERR_FORMAT);
    else if (ev == HTTP_END)
        body_ready(c, 0);
}

static void skip_event(struct net_conn *c, enum http_event ev)
{
    if (ev == HTTP_BAD) {
        conn_finish(c);
    } else if (ev == HTTP_END) {
        conn_answered(c);
    }
}

/* Feed the parser once. Returns 1 when there may be more to do. */
static int conn_feed(struct net_conn *c)
{
    size_t used, n_data;
    const char *data;
    struct http_parser *parser = &c->x->parser;
    enum http_event ev = http_parser_feed(parser, c->in, c->n_in, &used, &data, &n_data);
    int code = 0;

    if (ev == HTTP_DATA && c->state == CONN_BODY)
        code = body_add(c->x, data, n_data);
    c->in += used;
    c->n_in -= used;
    if (c->state == CONN_BODY)
        body_event(c, ev, code);
    else if (c->state == CONN_SKIP)
        skip_event(c, ev);
    else if (ev == HTTP_GOT_HEAD)
        request_ready(c);
    else if (ev == HTTP_BAD)
        answer_refuse(c, parser->status, parser->why);
    return ev != HTTP_MORE || c->n_in > 0;
}

/* Begin a request when bytes of one are there. Not while much of the last answer waits: a client
 * that sends and never reads must not fill the memory. */
static int conn_begin(struct net_conn *c)
{
    if (c->n_in == 0 || conn_pending(c) > NET_AHEAD_MAX)
        return 0;
    if (exchange_new(c)) {
        conn_cut(c);
        return 0;
    }
    conn_set(c, CONN_HEAD);
    c->deadline_us = deadline_of(c, config_of(c)->header_timeout_ms);
    return 1;
}

/* Bytes ahead of a running request stay in the kernel when they are many. */
static void watch_input(struct net_conn *c)
{
    int waits = c->state == CONN_ASK || c->state == CONN_WORK || c->state == CONN_STREAM ||
                c->state == CONN_IDLE;
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
    int more = 1;

    if (c->is_busy)
        return;
    c->is_busy = 1;
    c->io->now_us = clock_now_us();
    while (more) {
        switch ((enum conn_state)c->state) {
        case CONN_IDLE:
            more = conn_begin(c);
            break;
        case CONN_HEAD:
        case CONN_BODY:
        case CONN_SKIP:
            more = conn_feed(c);
            break;
        case CONN_FLUSH:
            drop_input(c);
            if (conn_pending(c) == 0)
                conn_linger(c);
            more = 0;
            break;
        case CONN_LINGER:
            drop_input(c);
            more = 0;
            break;
        default:
            more = 0;
            break;
        }
    }
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
    c->out = (struct net_claim){.server = io->server, .owner = c->peer, .kind = NET_CLAIM_ANSWER};
    c->next = io->conns;
    if (c->next)
        c->next->prev = c;
    io->conns = c;
    io->now_us = clock_now_us();
    places_enter(c);
    conn_set(c, c->tls ? CONN_SHAKE : CONN_IDLE);
    c->deadline_us = deadline_of(c, io->idle_drained ? DRAIN_NEW_MS
                                    : c->tls         ? config_of(c)->header_timeout_ms
                                                     : config_of(c)->idle_timeout_ms);
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
        if (conn_flush(c))
            conn_kill(c, ERR_CANCELLED);
        else if (is_live(c) && c->x->cut)
            conn_kill(c, c->x->cut);
        else {
            tell_room(c);
            conn_advance(c);
        }
    }
}

static void deadline_passed(struct net_conn *c)
{
    struct net_exchange *x = c->x;

    switch ((enum conn_state)c->state) {
    case CONN_HEAD:
        if (x->parser.text.len == 0) /* an empty line is not a request */
            conn_cut(c);
        else
            answer_refuse(c, 408, "The request head did not arrive in time.");
        break;
    case CONN_BODY:
        c->deadline_us = body_due_us(x);
        if (c->deadline_us <= clock_now_us())
            body_ready(c, ERR_TIMEOUT);
        break;
    default:                                              /* SHAKE, IDLE, SKIP, LINGER */
        if (c->state == CONN_IDLE && conn_pending(c) > 0) /* it is being read: not idle */
            c->deadline_us = deadline_in(config_of(c)->idle_timeout_ms);
        else
            conn_cut(c);
        break;
    }
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
           now_us - c->stall_us >
               net_patience_us(config_of(c), config_of(c)->stall_timeout_ms, done - c->out_seen);
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
    }
}

/* A drain began. Idle connections are closed after drain_idle_ms and not at once, because a request
 * may be on its way; it is answered with `Connection: close`. One that has not sent any request yet
 * gets DRAIN_NEW_MS. */
void conn_drain(struct net_io *io)
{
    for (struct net_conn *c = io->conns; c; c = c->next) {
        if (c->state == CONN_IDLE || c->state == CONN_SHAKE)
            c->deadline_us = deadline_in(c->is_served ? config_of(c)->drain_idle_ms : DRAIN_NEW_MS);
    }
}

void conn_free_all(struct net_io *io)
{
    while (io->conns)
        conn_free(io->conns);
    io->deferred = NULL;
}
