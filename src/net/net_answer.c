/* The functions with which the upper room answers an exchange, and reads the request's head. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/map.h"
#include "base/put.h"
#include "net/net_int.h"

#define SMALL_CHUNK 4096

/* ---- the request ---- */

const struct http_head *net_head(const struct net_exchange *x)
{
    net_io_check(x->conn->io);
    return &x->parser.head;
}

static struct net_server *net_server_of(const struct net_exchange *x)
{
    return x->conn->io->server;
}

int net_io(const struct net_exchange *x)
{
    return x->conn->io->index;
}

int64_t net_started_us(const struct net_exchange *x)
{
    return x->started_us;
}

void net_set_user(struct net_exchange *x, void *user)
{
    net_io_check(x->conn->io);
    x->user = user;
}

int net_is_reserve(const struct net_exchange *x)
{
    net_io_check(x->conn->io);
    return x->conn->is_reserve;
}

int net_is_near(const struct net_exchange *x)
{
    net_io_check(x->conn->io);
    return x->conn->is_near;
}

void net_set_owner(struct net_exchange *x, uint64_t owner)
{
    net_io_check(x->conn->io);
    x->owner = map_hash(&owner, sizeof owner, net_server_of(x)->seed);
}

void *net_user(const struct net_exchange *x)
{
    return x->user;
}

const char *net_peer(const struct net_exchange *x)
{
    net_io_check(x->conn->io);
    return x->conn->name;
}

int net_read_body(struct net_exchange *x, size_t limit)
{
    static const char go_on[] = "HTTP/1.1 100 Continue\r\n\r\n";
    struct net_conn *c = x->conn;
    int r;

    net_io_check(c->io);
    if (c->state == CONN_DEAD)
        return ERR_CANCELLED;
    CHECK(c->state == CONN_ASK);
    r = body_begin(x, limit);
    if (r)
        return r;
    conn_set(c, CONN_BODY);
    c->deadline_us = body_due_us(x);
    if (x->parser.head.expect_continue) {
        x->continued = 1;
        /* a client that has sent body bytes already does not wait for `100 Continue` */
        if (c->n_in == 0)
            conn_write(c, go_on, sizeof go_on - 1);
    }
    if (!c->is_busy) /* else the loop that called goes on with the body */
        conn_defer(c);
    return 0;
}

/* ---- the head of an answer ---- */

static void add_date(struct net_io *io)
{
    time_t now = (time_t)(clock_wall_us() / 1000000);
    struct tm tm;

    if (now != io->date_s) {
        io->date_s = now;
        gmtime_r(&now, &tm);
        /* not strftime: its names follow the locale */
        snprintf(io->date, sizeof io->date, "%.3s, %02d %.3s %04d %02d:%02d:%02d GMT",
                 &"SunMonTueWedThuFriSat"[tm.tm_wday * 3], tm.tm_mday,
                 &"JanFebMarAprMayJunJulAugSepOctNovDec"[tm.tm_mon * 3],
                 (tm.tm_year + 1900) % 10000, tm.tm_hour, tm.tm_min, tm.tm_sec);
    }
    buf_add_str(&io->scratch, "Date: ");
    buf_add_str(&io->scratch, io->date);
    buf_add_str(&io->scratch, "\r\n");
}

/* Names that net writes itself. */
static int is_ours(const char *name)
{
    switch (*name | 0x20) {
    case 'c':
        return !strcasecmp(name, "content-length") || !strcasecmp(name, "connection");
    case 'd':
        return !strcasecmp(name, "date");
    case 't':
        return !strcasecmp(name, "transfer-encoding");
    default:
        return 0;
    }
}

static void add_line(struct buf *b, const char *name, const char *value, size_t n_value)
{
    size_t n_name = strlen(name);
    char *p;

    if (buf_reserve(b, n_name + n_value + 4))
        return;
    p = mempcpy(b->data + b->len, name, n_name);
    p = mempcpy(mempcpy(p, ": ", 2), value, n_value);
    p = mempcpy(p, "\r\n", 3); /* with the NUL behind a buffer's content */
    b->len = (size_t)(p - b->data) - 1;
}

/* 0, or ERR_ARG when one was left out. */
static int add_headers(struct buf *b, const struct net_header *h, int n_h, int without_type)
{
    int r = 0;

    for (int i = 0; i < n_h; i++) {
        size_t n = strlen(h[i].value);
        if (is_ours(h[i].name) || !http_text_ok(h[i].value, n))
            r = ERR_ARG;
        else if (!without_type || strcasecmp(h[i].name, "content-type"))
            add_line(b, h[i].name, h[i].value, n);
    }
    return r;
}

static int has_no_body(int status)
{
    return status == 204 || status == 304;
}

/* Can the connection carry another request after this answer? Only if the part of the request's
 * body that has not been read has a known length and is small enough to be read and dropped. */
static int can_keep(const struct net_exchange *x)
{
    int64_t left = http_parser_left(&x->parser);

    if (!x->parser.head.keep_alive || x->close_after || net_server_is_draining(net_server_of(x)))
        return 0;
    if (left != 0 && x->parser.head.expect_continue && !x->continued)
        return 0;
    return left >= 0 && left <= NET_SKIP_MAX;
}

static void begin_head(struct net_exchange *x, int status)
{
    struct net_io *io = x->conn->io;

    if (!x->conn->out.bytes)
        x->conn->out.owner = x->owner;
    CHECK(status >= 200 && status <= 999);
    buf_clear(&io->scratch);
    buf_add_str(&io->scratch, "HTTP/1.1 ");
    put_number(&io->scratch, status);
    buf_add_char(&io->scratch, ' ');
    buf_add_str(&io->scratch, http_reason(status));
    buf_add_str(&io->scratch, "\r\n");
    add_date(io);
}

static void end_head(struct net_conn *c)
{
    struct buf *b = &c->io->scratch;
    buf_add_str(b, c->close_after ? "Connection: close\r\n\r\n" : "\r\n");
}

/* ---- answers ---- */

/* No memory for the connection's output: the answer cannot be completed, so the connection is cut.
 */
static int fail_answer(struct net_conn *c)
{
    conn_cut(c);
    return ERR_NOMEM;
}

static int has_room_for(const struct net_conn *c, size_t n)
{
    size_t max = c->io->server->config.stream_pending_max, pending = conn_pending(c);

    if (pending > NET_OUT_FREE && budget_is_over(&c->out))
        return 0;
    return n <= max && pending <= max - n;
}

/* A whole answer. */
static int reply(struct net_exchange *x, int status, const struct net_header *h, int n_h,
                 const char *body, size_t n, char *given)
{
    struct net_conn *c = x->conn;
    struct buf *b = &c->io->scratch;
    int bodyless = has_no_body(status), r;

    net_io_check(c->io);
    if (c->state == CONN_DEAD) {
        free(given);
        return ERR_CANCELLED;
    }
    CHECK(c->state == CONN_ASK || c->state == CONN_BODY || c->state == CONN_WORK);
    c->close_after = !can_keep(x);
    begin_head(x, status);
    r = add_headers(b, h, n_h, n == 0 || bodyless);
    if (!bodyless) {
        buf_add_str(b, "Content-Length: ");
        put_number(b, (int64_t)n);
        buf_add_str(b, "\r\n");
    }
    end_head(c);
    if (bodyless || x->parser.head.method == HTTP_HEAD)
        n = 0;
    if (b->failed) {
        free(given);
        return fail_answer(c);
    }
    if (conn_write_whole(c, b, body, n, given))
        return fail_answer(c);
    conn_answered(c);
    return r;
}

int net_reply(struct net_exchange *x, int status, const struct net_header *h, int n_h,
              const void *body, size_t n)
{
    return reply(x, status, h, n_h, body, n, NULL);
}

int net_reply_buf(struct net_exchange *x, int status, const struct net_header *h, int n_h,
                  struct buf *body)
{
    struct buf b = *body;

    *body = (struct buf){.max = b.max};
    return reply(x, status, h, n_h, b.data, b.len, b.data);
}

int net_stream_begin(struct net_exchange *x, int status, const struct net_header *h, int n_h)
{
    struct net_conn *c = x->conn;
    struct buf *b = &c->io->scratch;
    int r;

    net_io_check(c->io);
    if (c->state == CONN_DEAD)
        return ERR_CANCELLED;
    CHECK(c->state == CONN_ASK || c->state == CONN_BODY || c->state == CONN_WORK);
    CHECK(!has_no_body(status));
    x->is_chunked = x->parser.head.minor == 1;
    c->close_after = !can_keep(x) || !x->is_chunked;
    begin_head(x, status);
    r = add_headers(b, h, n_h, 0);
    if (x->is_chunked)
        buf_add_str(b, "Transfer-Encoding: chunked\r\n");
    end_head(c);
    conn_set(c, CONN_STREAM);
    c->deadline_us = 0;
    if (b->failed || conn_write(c, b->data, b->len)) {
        x->cut = ERR_NOMEM;
        conn_defer(c);
        return ERR_NOMEM;
    }
    return r;
}

/* A chunk: a small one goes into the output at once, as each part on its own costs as much as its
 * bytes. */
static int write_chunk(struct net_conn *c, const void *p, size_t n)
{
    struct buf *b = &c->io->scratch;
    char size[PUT_MAX + 2];
    size_t len = put_hex(n, size);

    size[len++] = '\r';
    size[len++] = '\n';
    if (n > SMALL_CHUNK)
        return conn_write(c, size, len) || conn_write(c, p, n) || conn_write(c, "\r\n", 2);
    buf_clear(b);
    buf_add(b, size, len);
    buf_add(b, p, n);
    return buf_add(b, "\r\n", 2) || conn_write(c, b->data, b->len);
}

int net_stream_write(struct net_exchange *x, const void *p, size_t n)
{
    struct net_conn *c = x->conn;

    net_io_check(c->io);
    if (c->state == CONN_DEAD)
        return ERR_CANCELLED;
    CHECK(c->state == CONN_STREAM);
    if (x->cut || n == 0 || x->parser.head.method == HTTP_HEAD)
        return x->cut;
    if (!has_room_for(c, n)) {
        x->cut = ERR_SLOW_READER;
        conn_defer(c);
        return x->cut;
    }
    if (x->is_chunked ? write_chunk(c, p, n) : conn_write(c, p, n)) {
        x->cut = ERR_NOMEM;
        conn_defer(c);
    }
    return x->cut;
}

void net_stream_end(struct net_exchange *x)
{
    struct net_conn *c = x->conn;
    struct net_server *s = net_server_of(x);

    net_io_check(c->io);
    if (c->state == CONN_DEAD)
        return;
    CHECK(c->state == CONN_STREAM);
    if (x->close_after || (net_server_is_draining(s) && !atomic_load(&s->is_leaving)))
        c->close_after = 1;
    if (x->cut) {
        conn_cut(c);
        return;
    }
    if (x->is_chunked && x->parser.head.method != HTTP_HEAD && conn_write(c, "0\r\n\r\n", 5)) {
        conn_cut(c);
        return;
    }
    conn_answered(c);
}

void net_want_room(struct net_exchange *x)
{
    net_io_check(x->conn->io);
    if (x->conn->state != CONN_STREAM || !net_server_of(x)->handler.on_room)
        return;
    x->conn->wants_room = 1;
    conn_defer(x->conn);
}

size_t net_pending(const struct net_exchange *x)
{
    net_io_check(x->conn->io);
    return x->conn->state == CONN_DEAD ? 0 : conn_pending(x->conn);
}

void net_close_after(struct net_exchange *x)
{
    net_io_check(x->conn->io);
    x->close_after = 1;
}

void net_abort(struct net_exchange *x)
{
    net_io_check(x->conn->io);
    conn_cut(x->conn);
}

void answer_refuse(struct net_conn *c, int status, const char *why)
{
    struct net_server *s = c->io->server;
    struct net_exchange *x = c->x;
    struct net_header type = {"Content-Type", "application/json"};
    struct buf body;

    atomic_fetch_add(&s->refused_total, 1);
    buf_init(&body, 65536);
    if (s->handler.on_refuse)
        s->handler.on_refuse(s->handler.ctx, status, why, &body);
    if (body.len == 0 || body.failed) {
        buf_clear(&body);
        buf_addf(&body, "%s\n", why);
        type.value = "text/plain; charset=utf-8";
    }
    x->close_after = 1;
    conn_set(c, CONN_WORK); /* as if the upper room answered */
    net_reply(x, status, &type, 1, body.data, body.len);
    buf_done(&body);
}
