/* Exchanges: what the upper room sees of a request, whichever protocol carries it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/map.h"
#include "net/net_int.h"

static struct net_server *server_of(const struct net_exchange *x)
{
    return x->conn->io->server;
}

static const struct carrier *carrier_of(const struct net_exchange *x)
{
    return x->conn->carrier;
}

/* ---- lifecycle ---- */

struct net_exchange *exchange_new(struct net_conn *c)
{
    struct net_exchange *x = calloc(1, sizeof *x);

    if (!x)
        return NULL;
    x->conn = c;
    x->owner = c->peer;
    x->started_us = c->io->now_us;
    http_parser_init(&x->parser, &c->io->server->config.http);
    atomic_fetch_add(&c->io->server->n_exchanges, 1);
    return x;
}

void exchange_free(struct net_exchange *x)
{
    if (!x)
        return;
    net_body_done(&x->body);
    http_parser_done(&x->parser);
    atomic_fetch_sub(&server_of(x)->n_exchanges, 1);
    free(x);
}

/* 1 when the upper room knows of it and has not ended it. */
int exchange_is_live(const struct net_exchange *x)
{
    return x->state != EXCHANGE_HEAD && x->state != EXCHANGE_OVER;
}

void exchange_ask(struct net_exchange *x)
{
    struct net_server *s = server_of(x);

    x->state = EXCHANGE_ASK;
    atomic_fetch_add(&s->requests_total, 1);
    if (places_is_reserve(x->conn))
        x->close_after = 1;
    s->handler.on_request(s->handler.ctx, x);
}

void exchange_body(struct net_exchange *x, int code)
{
    struct net_server *s = server_of(x);

    x->state = EXCHANGE_WORK;
    if (!code)
        body_finish(x);
    s->handler.on_body(s->handler.ctx, x, code);
}

void exchange_gone(struct net_exchange *x, int code)
{
    struct net_server *s = server_of(x);

    if (!exchange_is_live(x))
        return;
    x->state = EXCHANGE_OVER; /* before on_gone, so that calls made from there find it dead */
    atomic_fetch_add(&s->gone_total, 1);
    if (code == ERR_SLOW_READER)
        atomic_fetch_add(&s->slow_total, 1);
    s->handler.on_gone(s->handler.ctx, x, code);
}

void exchange_tell_room(struct net_exchange *x)
{
    const struct net_handler *h = &server_of(x)->handler;

    if (!x->wants_room || x->state != EXCHANGE_STREAM || carrier_of(x)->pending(x) > NET_OUT_FREE)
        return;
    x->wants_room = 0;
    h->on_room(h->ctx, x);
}

void exchange_refuse(struct net_exchange *x, int status, const char *why)
{
    struct net_server *s = server_of(x);
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
    x->state = EXCHANGE_WORK; /* as if the upper room answered */
    net_reply(x, status, &type, 1, body.data, body.len);
    buf_done(&body);
}

/* ---- the request ---- */

const struct http_head *net_head(const struct net_exchange *x)
{
    net_io_check(x->conn->io);
    return &x->parser.head;
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

void *net_user(const struct net_exchange *x)
{
    return x->user;
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
    x->owner = map_hash(&owner, sizeof owner, server_of(x)->seed);
}

const char *net_peer(const struct net_exchange *x)
{
    net_io_check(x->conn->io);
    return x->conn->name;
}

/* 1 when the upper room, which may not know it yet, has lost it. */
static int is_lost(const struct net_exchange *x)
{
    net_io_check(x->conn->io);
    return x->state == EXCHANGE_OVER || x->conn->state == CONN_DEAD;
}

int net_read_body(struct net_exchange *x, size_t limit)
{
    int r;

    if (is_lost(x))
        return ERR_CANCELLED;
    CHECK(x->state == EXCHANGE_ASK);
    r = body_begin(x, limit);
    if (r)
        return r;
    x->state = EXCHANGE_BODY;
    carrier_of(x)->read_body(x);
    return 0;
}

/* ---- what answers of every protocol share ---- */

const char *answer_date(struct net_io *io)
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
    return io->date;
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

int answer_header_ok(const struct net_header *h, size_t n_value)
{
    return !is_ours(h->name) && http_text_ok(h->value, n_value);
}

int answer_has_body(int status)
{
    return status != 204 && status != 304;
}

/* ---- answers ---- */

static void own_output(const struct net_exchange *x)
{
    struct net_claim *out = carrier_of(x)->out(x);

    if (!out->bytes)
        out->owner = x->owner;
}

static int reply(struct net_exchange *x, const struct answer *a)
{
    if (is_lost(x)) {
        x->state = EXCHANGE_OVER; /* no on_gone follows */
        free(a->given);
        return ERR_CANCELLED;
    }
    CHECK(x->state == EXCHANGE_ASK || x->state == EXCHANGE_BODY || x->state == EXCHANGE_WORK);
    CHECK(a->status >= 200 && a->status <= 999);
    own_output(x);
    x->state = EXCHANGE_OVER;
    return carrier_of(x)->reply(x, a);
}

int net_reply(struct net_exchange *x, int status, const struct net_header *h, int n_h,
              const void *body, size_t n)
{
    return reply(x,
                 &(struct answer){
                     .headers = h, .n_headers = n_h, .status = status, .body = body, .n_body = n});
}

int net_reply_buf(struct net_exchange *x, int status, const struct net_header *h, int n_h,
                  struct buf *body)
{
    struct buf b = *body;

    *body = (struct buf){.max = b.max};
    return reply(x, &(struct answer){.headers = h,
                                     .n_headers = n_h,
                                     .status = status,
                                     .body = b.data,
                                     .n_body = b.len,
                                     .given = b.data});
}

/* on_gone by the next turn, unless it is ended first. */
static int cut(struct net_exchange *x, int code)
{
    x->cut = code;
    carrier_of(x)->wake(x);
    return code;
}

int net_stream_begin(struct net_exchange *x, int status, const struct net_header *h, int n_h)
{
    int r;

    if (is_lost(x))
        return ERR_CANCELLED;
    CHECK(x->state == EXCHANGE_ASK || x->state == EXCHANGE_BODY || x->state == EXCHANGE_WORK);
    CHECK(status >= 200 && status <= 999 && answer_has_body(status));
    own_output(x);
    x->state = EXCHANGE_STREAM;
    r = carrier_of(x)->begin(x, &(struct answer){.headers = h, .n_headers = n_h, .status = status});
    return r == ERR_NOMEM ? cut(x, r) : r;
}

static int has_room_for(const struct net_exchange *x, size_t n)
{
    size_t max = server_of(x)->config.stream_pending_max, pending = carrier_of(x)->pending(x);

    if (pending > NET_OUT_FREE && budget_is_over(carrier_of(x)->out(x)))
        return 0;
    return n <= max && pending <= max - n;
}

int net_stream_write(struct net_exchange *x, const void *p, size_t n)
{
    if (is_lost(x))
        return ERR_CANCELLED;
    CHECK(x->state == EXCHANGE_STREAM);
    if (x->cut || n == 0 || x->parser.head.method == HTTP_HEAD)
        return x->cut;
    if (!has_room_for(x, n))
        return cut(x, ERR_SLOW_READER);
    return carrier_of(x)->write(x, p, n) ? cut(x, ERR_NOMEM) : 0;
}

void net_stream_end(struct net_exchange *x)
{
    if (is_lost(x)) {
        x->state = EXCHANGE_OVER;
        return;
    }
    CHECK(x->state == EXCHANGE_STREAM);
    x->state = EXCHANGE_OVER;
    if (x->cut)
        carrier_of(x)->abort(x);
    else
        carrier_of(x)->end(x);
}

void net_want_room(struct net_exchange *x)
{
    net_io_check(x->conn->io);
    if (x->state != EXCHANGE_STREAM || !server_of(x)->handler.on_room)
        return;
    x->wants_room = 1;
    carrier_of(x)->wake(x);
}

size_t net_pending(const struct net_exchange *x)
{
    return is_lost(x) ? 0 : carrier_of(x)->pending(x);
}

void net_close_after(struct net_exchange *x)
{
    net_io_check(x->conn->io);
    x->close_after = 1;
}

void net_abort(struct net_exchange *x)
{
    int was_lost = is_lost(x);

    x->state = EXCHANGE_OVER;
    if (!was_lost)
        carrier_of(x)->abort(x);
}
