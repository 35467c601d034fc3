/* HTTP/1 on a connection: requests in, one after the other. The bytes of answers are made in
 * net_h1_answer.c. */
#include "base/check.h"
#include "base/clock.h"
#include "net/net_int.h"

static void drop(struct net_conn *c)
{
    struct net_exchange *x = c->x;

    c->x = NULL;
    exchange_free(x);
}

static int is_live(const struct net_conn *c)
{
    return c->x && exchange_is_live(c->x);
}

void h1_answered(struct net_conn *c)
{
    c->is_served = 1;
    c->io->now_us = clock_now_us();
    if (c->close_after || c->io->idle_drained) {
        conn_finish(c);
    } else if (http_parser_left(&c->x->parser) != 0) {
        conn_set(c, CONN_SKIP);
        c->deadline_us = conn_deadline(c, conn_config(c)->body_timeout_ms);
    } else {
        conn_set(c, CONN_IDLE);
        c->deadline_us = conn_deadline(c, conn_config(c)->idle_timeout_ms);
        drop(c);
        if (!c->n_in) /* there is nothing to go on with */
            return;
    }
    conn_defer(c);
}

static void refuse(struct net_conn *c, int status, const char *why)
{
    c->x->close_after = 1;
    exchange_refuse(c->x, status, why);
}

/* ---- input ---- */

static void request_ready(struct net_conn *c)
{
    conn_set(c, CONN_BUSY);
    c->deadline_us = 0;
    exchange_ask(c->x);
}

static void body_ready(struct net_conn *c, int code)
{
    c->deadline_us = 0;
    if (code)
        c->x->close_after = 1;
    exchange_body(c->x, code);
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
    if (ev == HTTP_BAD)
        conn_finish(c);
    else if (ev == HTTP_END)
        h1_answered(c);
}

/* The first line of a client that speaks HTTP/2, and knows that this server does. */
static int begins_h2(const struct net_conn *c)
{
    return c->x->parser.is_preface && !c->tls && !c->is_served && conn_config(c)->h2_streams;
}

static void change_to_h2(struct net_conn *c)
{
    drop(c);
    if (h2_open_plain(c))
        conn_cut(c);
}

/* Feed the parser once. Returns 1 when there may be more to do. */
static int feed(struct net_conn *c)
{
    size_t used, n_data;
    const char *data;
    struct http_parser *parser = &c->x->parser;
    enum http_event ev = http_parser_feed(parser, c->in, c->n_in, &used, &data, &n_data);
    int code = 0;

    if (ev == HTTP_DATA && c->state == CONN_BUSY)
        code = body_add(c->x, data, n_data);
    c->in += used;
    c->n_in -= used;
    if (c->state == CONN_BUSY)
        body_event(c, ev, code);
    else if (c->state == CONN_SKIP)
        skip_event(c, ev);
    else if (ev == HTTP_GOT_HEAD)
        request_ready(c);
    else if (ev == HTTP_BAD && begins_h2(c)) {
        change_to_h2(c);
        return 0;
    } else if (ev == HTTP_BAD)
        refuse(c, parser->status, parser->why);
    return ev != HTTP_MORE || c->n_in > 0;
}

/* Begin a request when bytes of one are there. Not while much of the last answer waits: a client
 * that sends and never reads must not fill the memory. */
static int begin(struct net_conn *c)
{
    if (c->n_in == 0 || conn_pending(c) > NET_AHEAD_MAX)
        return 0;
    c->x = exchange_new(c);
    if (!c->x) {
        conn_cut(c);
        return 0;
    }
    conn_set(c, CONN_HEAD);
    c->deadline_us = conn_deadline(c, conn_config(c)->header_timeout_ms);
    return 1;
}

static void advance(struct net_conn *c)
{
    int more = 1;

    while (more) {
        switch ((enum conn_state)c->state) {
        case CONN_IDLE:
            more = begin(c);
            break;
        case CONN_HEAD:
        case CONN_SKIP:
            more = feed(c);
            break;
        case CONN_BUSY:
            more = c->x->state == EXCHANGE_BODY && feed(c);
            break;
        default:
            more = 0;
            break;
        }
    }
}

/* ---- turns of the loop ---- */

static void turn(struct net_conn *c)
{
    if (!is_live(c))
        return;
    if (c->x->cut)
        conn_kill(c, c->x->cut);
    else
        exchange_tell_room(c->x);
}

static void late(struct net_conn *c)
{
    struct net_exchange *x = c->x;

    switch ((enum conn_state)c->state) {
    case CONN_HEAD:
        if (x->parser.text.len == 0) /* an empty line is not a request */
            conn_cut(c);
        else
            refuse(c, 408, "The request head did not arrive in time.");
        break;
    case CONN_BUSY: /* with its body */
        c->deadline_us = body_due_us(x);
        if (c->deadline_us <= clock_now_us())
            body_ready(c, ERR_TIMEOUT);
        break;
    default: /* IDLE, SKIP */
        conn_cut(c);
        break;
    }
}

static void gone(struct net_conn *c, int code)
{
    if (c->x)
        exchange_gone(c->x, code);
}

/* ---- the upper room's ---- */

static void read_body(struct net_exchange *x)
{
    static const char go_on[] = "HTTP/1.1 100 Continue\r\n\r\n";
    struct net_conn *c = x->conn;

    c->deadline_us = body_due_us(x);
    if (x->parser.head.expect_continue) {
        x->continued = 1;
        /* a client that has sent body bytes already does not wait for `100 Continue` */
        if (c->n_in == 0)
            conn_write(c, go_on, sizeof go_on - 1);
    }
    if (!c->is_busy) /* else the loop that called goes on with the body */
        conn_defer(c);
}

static void abort_exchange(struct net_exchange *x)
{
    conn_cut(x->conn);
}

static void wake(struct net_exchange *x)
{
    conn_defer(x->conn);
}

static size_t pending(const struct net_exchange *x)
{
    return conn_pending(x->conn);
}

static struct net_claim *out(const struct net_exchange *x)
{
    return &x->conn->out;
}

const struct carrier h1_carrier = {
    .advance = advance,
    .turn = turn,
    .late = late,
    .gone = gone,
    .drop = drop,
    .read_body = read_body,
    .reply = h1_reply,
    .begin = h1_begin,
    .write = h1_write,
    .end = h1_end,
    .abort = abort_exchange,
    .wake = wake,
    .pending = pending,
    .out = out,
};
