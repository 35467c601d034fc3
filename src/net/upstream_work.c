/* The walk of a request on its io thread: a connection, its deadlines, the answer as it comes, the
 * end. */
#include <stdlib.h>
#include <string.h>

#include <event2/event.h>

#include "base/check.h"
#include "base/clock.h"
#include "net/net_int.h"
#include "net/upstream_int.h"

#define SWEEP_MIN_US 10000 /* between two sweeps */
/* A kept connection that ends so soon after it was used again had ended before. When it took
 * longer, the service may have been at work on the request, and has it done twice only by the upper
 * room's will. */
#define AGAIN_US 1000000

/* ---- those under way, and those to go on with ---- */

void upstream_request_enter(struct upstream_request *r)
{
    struct upstream_io *io = r->io;

    r->next = io->requests;
    if (r->next)
        r->next->prev = r;
    io->requests = r;
    io->n_requests++;
    upstream_now(io);
    r->begun_us = r->mark_us = io->now_us;
    upstream_expect(r);
    upstream_todo(r);
}

void upstream_request_leave(struct upstream_request *r)
{
    struct upstream_io *io = r->io;

    if (r->next)
        r->next->prev = r->prev;
    if (r->prev)
        r->prev->next = r->next;
    else
        io->requests = r->next;
    io->n_requests--;
}

/* Its head, with the keys in it. */
static void drop_ask(struct upstream_request *r)
{
    if (r->ask.data)
        explicit_bzero(r->ask.data, r->ask.len);
    buf_done(&r->ask);
}

void upstream_request_free(struct upstream_request *r)
{
    if (r->is_busy || r->is_todo)
        return; /* whoever holds it frees it */
    http_parser_done(&r->parser);
    drop_ask(r);
    buf_done(&r->held);
    free(r);
}

void upstream_todo(struct upstream_request *r)
{
    struct upstream_io *io = r->io;

    if (r->is_todo)
        return;
    r->is_todo = 1;
    r->todo_next = NULL;
    *(io->todo_first ? &io->todo_last->todo_next : &io->todo_first) = r;
    io->todo_last = r;
    event_active(io->todo_ev, EV_TIMEOUT, 0);
}

void upstream_now(struct upstream_io *io)
{
    io->now_us = clock_now_us();
}

/* ---- deadlines ---- */

void upstream_sweep_by(struct upstream_io *io, int64_t us)
{
    int64_t in_us = us > io->now_us ? us - io->now_us : 0;
    struct timeval tv = {.tv_sec = in_us / 1000000, .tv_usec = in_us % 1000000};

    if (io->sweep_us && io->sweep_us <= us)
        return;
    io->sweep_us = us;
    event_add(io->sweep_ev, &tv);
}

static int64_t phase_due_us(const struct upstream_request *r)
{
    const struct upstream_config *c = &r->io->up->config;
    int64_t due_us;

    switch ((enum upstream_phase)r->phase) {
    case PHASE_CONNECT:
        due_us = r->mark_us + c->connect_ms * 1000LL;
        return r->link && r->link->due_us < due_us ? r->link->due_us : due_us;
    case PHASE_WAIT:
        return r->mark_us + r->first_byte_ms * 1000LL;
    case PHASE_BODY:
        return r->is_paused ? INT64_MAX : r->mark_us + c->silence_ms * 1000LL;
    case PHASE_DONE:
        break;
    }
    return INT64_MAX;
}

void upstream_expect(struct upstream_request *r)
{
    int64_t total_us = r->begun_us + r->io->up->config.total_ms * 1000LL;
    int64_t due_us = phase_due_us(r);

    r->due_us = due_us < total_us ? due_us : total_us;
    upstream_sweep_by(r->io, r->due_us);
}

static void overdue(struct upstream_request *r)
{
    const struct upstream_config *c = &r->io->up->config;

    if (r->begun_us + c->total_ms * 1000LL <= r->io->now_us)
        upstream_fail(r, ERR_TIMEOUT, "The answer took too long");
    else if (r->phase == PHASE_CONNECT && r->mark_us + c->connect_ms * 1000LL > r->io->now_us)
        upstream_link_next(r->link);
    else if (r->phase == PHASE_CONNECT)
        upstream_fail(r, ERR_CONNECT, "The service was not connected to in time");
    else if (r->phase == PHASE_WAIT)
        upstream_fail(r, ERR_SILENT, "The service did not begin to answer in time");
    else
        upstream_fail(r, ERR_SILENT, "The service stopped in the middle of its answer");
}

static void sweep_cb(evutil_socket_t fd, short what, void *ctx)
{
    struct upstream_io *io = ctx;
    int64_t next_us = INT64_MAX;

    upstream_now(io);
    io->sweep_us = 0;
    upstream_link_expire(io);
    for (struct upstream_request *r = io->requests; r; r = r->next) { /* none leaves meanwhile */
        if (r->phase != PHASE_DONE && r->due_us <= io->now_us)
            overdue(r);
        if (r->phase != PHASE_DONE && r->due_us < next_us)
            next_us = r->due_us;
    }
    if (next_us != INT64_MAX)
        upstream_sweep_by(io, next_us < io->now_us + SWEEP_MIN_US ? io->now_us + SWEEP_MIN_US
                                                                  : next_us);
}

/* ---- ends ---- */

static void over(struct upstream_request *r)
{
    r->phase = PHASE_DONE;
    buf_done(&r->held);
    upstream_todo(r);
}

void upstream_fail(struct upstream_request *r, int code, const char *why)
{
    r->code = code;
    r->why = why;
    if (r->link)
        upstream_link_close(r->link);
    over(r);
}

/* The answer is complete. Another may follow on its connection, if nothing has come of that yet. */
static void answered(struct upstream_request *r, size_t n_more)
{
    int all_sent = r->n_out == r->n_all;

    upstream_link_leave(r->link, r->parser.head.keep_alive && all_sent && !n_more);
    over(r);
}

static void tell_end(struct upstream_request *r)
{
    struct err e = {0};

    if (r->code)
        err_set(&e, r->code, "%s", r->why);
    r->is_ended = r->is_busy = 1;
    upstream_request_leave(r);
    r->handler.on_end(r->handler.ctx, r, &e);
    r->is_busy = 0;
    upstream_request_free(r);
}

/* Once more on a new connection. */
static void again(struct upstream_request *r)
{
    upstream_link_close(r->link);
    r->is_again = 1;
    r->phase = PHASE_CONNECT;
    r->mark_us = r->io->now_us;
    r->n_out = 0;
    upstream_expect(r);
    upstream_todo(r);
}

/* The connection has ended, properly or not. */
static void ended(struct upstream_request *r, int well)
{
    if (r->phase == PHASE_BODY && r->parser.head.until_close && well)
        answered(r, 1);
    else if (r->phase == PHASE_BODY)
        upstream_fail(r, ERR_RESET, "The answer ended in the middle");
    else if (r->has_answer)
        upstream_fail(r, ERR_RESET, "The answer ended in the middle of its head");
    else if (r->link->is_used && !r->is_again && r->io->now_us - r->sent_us <= AGAIN_US)
        again(r);
    else
        upstream_fail(r, ERR_RESET, "The connection ended before the answer");
}

/* ---- the answer ---- */

static void malformed(struct upstream_request *r)
{
    const struct http_parser *p = &r->parser;

    if (p->status == 503)
        upstream_fail(r, ERR_NOMEM, "Out of memory for an answer");
    else if (r->phase == PHASE_BODY)
        upstream_fail(r, ERR_RESET, "The connection broke, or its bytes are not HTTP");
    else if (p->status == 431 || p->status == 414)
        upstream_fail(r, ERR_TOO_LARGE, "The head of the answer does not fit");
    else
        upstream_fail(r, ERR_FORMAT, "The answer is not HTTP/1.1");
}

static void take_head(struct upstream_request *r)
{
    r->status = r->parser.head.status;
    r->phase = PHASE_BODY;
    r->mark_us = r->io->now_us;
    if (r->n_out == r->n_all)
        drop_ask(r);
    upstream_expect(r);
    r->handler.on_head(r->handler.ctx, r);
}

static void take_data(struct upstream_request *r, const char *p, size_t n)
{
    r->n_answer += n;
    if (r->n_answer > r->io->up->config.body_max)
        upstream_fail(r, ERR_TOO_LARGE, "The answer is too large");
    else
        r->handler.on_data(r->handler.ctx, r, p, n);
}

/* Bytes of the answer. What comes in a pause waits, and is not read from the connection. */
static void feed(struct upstream_request *r, const char *p, size_t n)
{
    enum http_event ev = HTTP_GOT_HEAD;

    while (!r->is_ended && r->phase != PHASE_DONE && ev != HTTP_MORE) {
        size_t used, n_data;
        const char *data;

        if (r->is_paused) {
            upstream_link_listen(r->link, 0);
            if (n && buf_add(&r->held, p, n))
                upstream_fail(r, ERR_NOMEM, "Out of memory for an answer");
            return;
        }
        ev = http_parser_feed(&r->parser, p, n, &used, &data, &n_data);
        p += used;
        n -= used;
        if (ev == HTTP_GOT_HEAD)
            take_head(r);
        else if (ev == HTTP_DATA)
            take_data(r, data, n_data);
        else if (ev == HTTP_END)
            answered(r, n);
        else if (ev == HTTP_BAD)
            malformed(r);
    }
}

/* The upper room may cancel it meanwhile, and with it its connection. 1: it goes on. */
static int told(struct upstream_request *r)
{
    r->is_busy = 0;
    if (!r->is_ended)
        return 1;
    upstream_request_free(r);
    return 0;
}

static int feed_busy(struct upstream_request *r, const char *p, size_t n)
{
    r->is_busy = 1;
    feed(r, p, n);
    return told(r);
}

void upstream_readable(struct upstream_request *r)
{
    struct upstream_io *io = r->io;
    int more = 1;

    if (r->is_paused) {
        upstream_link_listen(r->link, 0);
        return;
    }
    while (more && r->phase != PHASE_DONE && !r->is_paused) {
        ssize_t n = upstream_link_read(r->link, io->in, UPSTREAM_IN_MAX);
        if (n == TLS_AGAIN || n == TLS_AGAIN_OUT)
            break;
        if (n <= 0) {
            ended(r, n == TLS_END);
            return;
        }
        r->has_answer = 1;
        if (r->phase == PHASE_BODY)
            r->mark_us = io->now_us;
        /* what TLS has read ahead makes no descriptor readable */
        more = r->link->tls || n == UPSTREAM_IN_MAX;
        if (!feed_busy(r, io->in, (size_t)n))
            return;
        upstream_expect(r);
    }
    if (r->link && r->link->tls && r->n_out < r->n_all)
        upstream_link_send(r->link); /* it waited for this, maybe */
}

/* The pause has ended: what waits here, and then what waits in the connection. */
static void resume(struct upstream_request *r)
{
    struct buf held = r->held;
    int goes_on;

    buf_init(&r->held, held.max);
    goes_on = feed_busy(r, held.data ? held.data : "", held.len);
    buf_done(&held);
    if (!goes_on || r->phase == PHASE_DONE || r->is_paused)
        return;
    upstream_link_listen(r->link, 1);
    if (r->link->tls)
        upstream_readable(r);
}

/* ---- from its beginning to its connection ---- */

void upstream_ready(struct upstream_request *r)
{
    if (!r->sent_us)
        r->sent_us = r->io->now_us;
    r->phase = PHASE_WAIT;
    r->mark_us = r->io->now_us;
    upstream_expect(r);
    upstream_link_send(r->link);
}

static void start(struct upstream_request *r)
{
    struct upstream_link *l = r->is_again ? NULL : upstream_link_take(r->io);
    int known;

    if (l) {
        l->r = r;
        r->link = l;
        upstream_ready(r);
        return;
    }
    known = upstream_name_get(r->io);
    if (known > 0)
        upstream_link_dial(r);
    else if (known < 0)
        upstream_fail(r, ERR_NOMEM, "Out of memory for a look-up");
}

void upstream_named(struct upstream_io *io, int code)
{
    for (struct upstream_request *r = io->requests; r; r = r->next) { /* none leaves meanwhile */
        if (r->phase != PHASE_CONNECT || r->link)
            continue;
        if (code)
            upstream_fail(r, code, "The address of the service cannot be found");
        else
            upstream_todo(r);
    }
}

static void todo_cb(evutil_socket_t fd, short what, void *ctx)
{
    struct upstream_io *io = ctx;
    struct upstream_request *r;

    upstream_now(io);
    while ((r = io->todo_first) != NULL) {
        io->todo_first = r->todo_next;
        r->is_todo = 0;
        if (r->is_ended)
            upstream_request_free(r);
        else if (r->phase == PHASE_DONE)
            tell_end(r);
        else if (r->phase == PHASE_CONNECT && !r->link)
            start(r);
        else if (r->link && r->link->step == LINK_READY && !r->is_paused)
            resume(r);
    }
}

/* ---- lifecycle ---- */

int upstream_work_open(struct upstream_io *io)
{
    struct event_base *base = io->net->base;

    io->in = malloc(UPSTREAM_IN_MAX);
    io->todo_ev = event_new(base, -1, EV_PERSIST, todo_cb, io);
    io->sweep_ev = event_new(base, -1, 0, sweep_cb, io);
    return io->in && io->todo_ev && io->sweep_ev ? 0 : ERR_NOMEM;
}

static void free_event(struct event *ev)
{
    if (ev)
        event_free(ev);
}

void upstream_work_close(struct upstream_io *io)
{
    struct upstream_request *r;

    while ((r = io->todo_first) != NULL) { /* cancelled, the others are in both lists */
        io->todo_first = r->todo_next;
        r->is_todo = 0;
        if (r->is_ended)
            upstream_request_free(r);
    }
    while ((r = io->requests) != NULL) {
        if (r->link)
            upstream_link_close(r->link);
        upstream_request_leave(r);
        upstream_request_free(r);
    }
    while (io->kept)
        upstream_link_close(io->kept);
    free_event(io->todo_ev);
    free_event(io->sweep_ev);
    free(io->in);
}
