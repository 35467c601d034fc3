/* A server with a scripted upper room, and a blocking client, over real loopback sockets.
 *
 * Routes: GET /hello, /place (which kind the client has), POST /echo (limit 1 MiB), POST /small
 * (limit 10), POST /deny (answers without reading), /hold (kept until an order), POST /keep (body
 * taken, then kept), /stream (begun at once, then kept), /file (a download source with ranges),
 * /big (32 MiB), others 404. Orders run on the io thread through its mailbox; the test waits for
 * them. Waiting has a guard of 30 s that only a failure reaches. */
#ifndef TEST_NET_HARNESS_H
#define TEST_NET_HARNESS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/check.h"
#include "base/clock.h"
#include "net/net.h"

#define MAYBE    __attribute__((unused))
#define GUARD_S  120
#define HELD_MAX 256
#define BIG      (32 << 20)

/* ---- the upper room ---- */

enum order_kind { ORDER_REPLY, ORDER_WRITE, ORDER_END, ORDER_CLOSE_END, ORDER_ABORT, ORDER_CALL };

struct order {
    struct mbox_item item; /* first */
    enum order_kind kind;
    int which;
    size_t n;
    void (*fn)(void *ctx);
    void *ctx;
    int result, done;
};

struct room {
    struct net_server *server;
    pthread_mutex_t lock;
    pthread_cond_t cond;
    struct net_exchange *held[HELD_MAX];
    int held_io[HELD_MAX];
    struct net_body taken;
    int n_held, n_gone, gone_code, n_mail_starts, body_code;
    char *big;
    const char *file; /* of /file */
    size_t file_n;
    const char *file_etag; /* "v1" where NULL, none where "" */
    int file_mode;         /* a test of the downloader chooses how the source misbehaves */
    int n_file_requests;
};

static struct net_header text_type[] = {{"Content-Type", "text/plain"}};

static void room_signal(struct room *r)
{
    pthread_cond_broadcast(&r->cond);
    pthread_mutex_unlock(&r->lock);
}

static void room_hold(struct room *r, struct net_exchange *x)
{
    pthread_mutex_lock(&r->lock);
    CHECK(r->n_held < HELD_MAX);
    r->held_io[r->n_held] = net_io(x);
    r->held[r->n_held++] = x;
    room_signal(r);
}

static void reply_text(struct net_exchange *x, int status, const char *text)
{
    net_reply(x, status, text_type, 1, text, strlen(text));
}

static void serve_file(struct room *r, struct net_exchange *x);

static int path_is(const struct net_exchange *x, const char *path)
{
    return !strcmp(net_head(x)->target, path);
}

static void read_or_refuse(struct net_exchange *x, size_t limit)
{
    int code = net_read_body(x, limit);
    if (code)
        reply_text(x, err_http_status(code), err_text(code));
}

static void room_request(void *ctx, struct net_exchange *x)
{
    struct room *r = ctx;
    const struct net_header bad[] = {{"X-Good", "1"},
                                     {"X-Bad", "a\r\nInjected: 1"},
                                     {"Content-Length", "7"},
                                     {"Content-Type", "application/json"}};

    if (path_is(x, "/hello"))
        reply_text(x, 200, "hello");
    else if (path_is(x, "/place"))
        reply_text(x, 200, net_is_reserve(x) ? "reserve" : "regular");
    else if (path_is(x, "/echo") || path_is(x, "/keep"))
        read_or_refuse(x, 1 << 20);
    else if (path_is(x, "/small"))
        read_or_refuse(x, 10);
    else if (path_is(x, "/deny"))
        reply_text(x, 401, "no");
    else if (path_is(x, "/hold"))
        room_hold(r, x);
    else if (path_is(x, "/headers"))
        CHECK(net_reply(x, 200, bad, 4, NULL, 0) == ERR_ARG);
    else if (path_is(x, "/empty"))
        net_reply(x, 204, NULL, 0, "ignored", 7);
    else if (path_is(x, "/big"))
        net_reply(x, 200, NULL, 0, r->big, BIG);
    else if (path_is(x, "/stream")) {
        const struct net_header type = {"Content-Type", "text/event-stream; charset=utf-8"};
        net_stream_begin(x, 200, &type, 1);
        room_hold(r, x);
    } else if (!strncmp(net_head(x)->target, "/file", 5))
        serve_file(r, x);
    else
        reply_text(x, 404, "none");
}

static void room_body(void *ctx, struct net_exchange *x, int code)
{
    struct room *r = ctx;
    size_t n;
    const char *p;

    if (code) {
        pthread_mutex_lock(&r->lock);
        r->body_code = code;
        room_signal(r);
        reply_text(x, err_http_status(code), err_text(code));
        return;
    }
    if (path_is(x, "/keep")) {
        net_body_take(x, &r->taken);
        room_hold(r, x);
        return;
    }
    p = net_body(x, &n);
    CHECK(p[n] == 0);
    net_reply(x, 200, text_type, 1, p, n);
}

static void room_gone(void *ctx, struct net_exchange *x, int code)
{
    struct room *r = ctx;

    /* calls on a lost exchange are harmless */
    CHECK(net_stream_write(x, "x", 1) == ERR_CANCELLED);
    pthread_mutex_lock(&r->lock);
    for (int i = 0; i < r->n_held; i++) {
        if (r->held[i] == x)
            r->held[i] = NULL;
    }
    r->n_gone++;
    r->gone_code = code;
    room_signal(r);
}

static void run_order(struct room *r, struct order *o)
{
    struct net_exchange *x;
    char *fill;

    pthread_mutex_lock(&r->lock);
    x = r->held[o->which];
    if (o->kind != ORDER_WRITE && o->kind != ORDER_CALL)
        r->held[o->which] = NULL;
    pthread_mutex_unlock(&r->lock);
    switch (o->kind) {
    case ORDER_REPLY:
        reply_text(x, 200, "held");
        break;
    case ORDER_WRITE:
        fill = malloc(o->n);
        CHECK(fill);
        memset(fill, 'w', o->n);
        o->result = x ? net_stream_write(x, fill, o->n) : ERR_CANCELLED;
        free(fill);
        break;
    case ORDER_CLOSE_END:
        net_close_after(x);
        __attribute__((fallthrough));
    case ORDER_END:
        net_stream_end(x);
        break;
    case ORDER_ABORT:
        net_abort(x);
        break;
    case ORDER_CALL:
        o->fn(o->ctx);
        break;
    }
}

static void room_mail(void *ctx, int io)
{
    struct room *r = ctx;
    struct mbox_item *list, *it;

    pthread_mutex_lock(&r->lock);
    r->n_mail_starts++;
    room_signal(r);
    list = mbox_take(net_io_mbox(r->server, io));
    while ((it = mbox_next(&list)) != NULL) {
        struct order *o = (struct order *)it;
        run_order(r, o);
        pthread_mutex_lock(&r->lock);
        o->done = 1;
        room_signal(r);
    }
}

static void room_refuse(void *ctx, int status, const char *why, struct buf *body)
{
    buf_addf(body, "{\"error\":{\"code\":%d,\"message\":\"%s\"}}", status, why);
}

/* Wait until *p >= want (under the room's lock). */
static void room_wait(struct room *r, const int *p, int want)
{
    struct timespec until;
    int late = 0;

    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += GUARD_S;
    pthread_mutex_lock(&r->lock);
    while (*p < want && !late)
        late = pthread_cond_timedwait(&r->cond, &r->lock, &until) == ETIMEDOUT;
    pthread_mutex_unlock(&r->lock);
    assert_false(late);
}

MAYBE static int room_order_at(struct room *r, int io, struct order *o)
{
    if (mbox_post(net_io_mbox(r->server, io), &o->item))
        mbox_wake(net_io_mbox(r->server, io));
    room_wait(r, &o->done, 1);
    return o->result;
}

MAYBE static int room_order(struct room *r, enum order_kind kind, int which, size_t n)
{
    struct order o = {.kind = kind, .which = which, .n = n};
    return room_order_at(r, r->held_io[which], &o);
}

static void room_open(struct room *r, const struct net_config *c)
{
    struct err e = {0};
    const struct net_handler h = {.ctx = r,
                                  .on_request = room_request,
                                  .on_body = room_body,
                                  .on_gone = room_gone,
                                  .on_mail = room_mail,
                                  .on_refuse = room_refuse};

    memset(r, 0, sizeof *r);
    pthread_mutex_init(&r->lock, NULL);
    pthread_cond_init(&r->cond, NULL);
    r->big = calloc(1, BIG);
    assert_non_null(r->big);
    if (net_server_open(&r->server, c, &h, &e) || net_server_start(r->server, &e))
        fail_msg("%s", e.text);
}

static void room_config(struct net_config *c)
{
    net_config_default(c);
    c->port = 0;
}

MAYBE static void room_open_default(struct room *r)
{
    struct net_config c;
    room_config(&c);
    room_open(r, &c);
}

static void room_close(struct room *r)
{
    net_body_done(&r->taken);
    net_server_close(r->server);
    free(r->big);
    pthread_cond_destroy(&r->cond);
    pthread_mutex_destroy(&r->lock);
}

/* Wait until a number of the server's statistics is as wanted. */
#define WAIT_STAT(r, member, op, want)                                                             \
    do {                                                                                           \
        struct net_stats st_;                                                                      \
        int64_t until_ = clock_now_us() + GUARD_S * 1000000LL;                                     \
        for (;;) {                                                                                 \
            net_server_stats((r)->server, &st_);                                                   \
            if (st_.member op(want))                                                               \
                break;                                                                             \
            assert_true(clock_now_us() < until_);                                                  \
            clock_sleep_us(2000);                                                                  \
        }                                                                                          \
    } while (0)

/* ---- a download source ---- */

enum {
    FILE_RANGES,
    FILE_NO_RANGES,
    FILE_ANY_RANGE, /* If-Range is not looked at */
    FILE_SHORT,     /* half of it, without a length */
    FILE_GZIP,
    FILE_REDIRECT,
    FILE_BUSY,
    FILE_LOOP
};

static const char *file_etag(const struct room *r)
{
    return r->file_etag ? r->file_etag : "\"v1\"";
}

static void serve_range(struct room *r, struct net_exchange *x, size_t from)
{
    char range[96];
    struct net_header h[] = {{"Content-Range", range}, {"ETag", file_etag(r)}};
    int n = *file_etag(r) ? 2 : 1;

    if (from >= r->file_n) {
        snprintf(range, sizeof range, "bytes */%zu", r->file_n);
        net_reply(x, 416, h, n, NULL, 0);
        return;
    }
    snprintf(range, sizeof range, "bytes %zu-%zu/%zu", from, r->file_n - 1, r->file_n);
    net_reply(x, 206, h, n, r->file + from, r->file_n - from);
}

static void serve_file(struct room *r, struct net_exchange *x)
{
    const char *range = http_field(net_head(x), "range");
    const char *if_range = http_field(net_head(x), "if-range");
    const struct net_header etag[] = {{"ETag", file_etag(r)}, {"Content-Encoding", "gzip"}};
    const struct net_header location = {"Location", r->file_mode == FILE_LOOP ? "/file" : "/file2"};
    int same = !if_range || !strcmp(if_range, file_etag(r)) || r->file_mode == FILE_ANY_RANGE;

    pthread_mutex_lock(&r->lock);
    r->n_file_requests++;
    pthread_mutex_unlock(&r->lock);
    if ((r->file_mode == FILE_REDIRECT && path_is(x, "/file")) || r->file_mode == FILE_LOOP)
        net_reply(x, 302, &location, 1, "moved", 5);
    else if (r->file_mode == FILE_BUSY)
        reply_text(x, 503, "busy");
    else if (r->file_mode == FILE_SHORT) {
        net_stream_begin(x, 200, etag, 1);
        net_stream_write(x, r->file, r->file_n / 2);
        net_stream_end(x);
    } else if (r->file_mode == FILE_GZIP)
        net_reply(x, 200, etag, 2, r->file, r->file_n);
    else if (range && same && r->file_mode != FILE_NO_RANGES)
        serve_range(r, x, (size_t)atol(range + strlen("bytes=")));
    else
        net_reply(x, 200, etag, *file_etag(r) ? 1 : 0, r->file, r->file_n);
}

/* ---- the client ---- */

/* Connect a socket; 0 or -1. */
static int dial_on(const struct room *r, int fd)
{
    struct sockaddr_in a = {.sin_family = AF_INET,
                            .sin_port = htons((uint16_t)net_server_port(r->server))};
    struct timeval tv = {.tv_sec = GUARD_S};

    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof tv);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &tv, sizeof tv);
    return connect(fd, (struct sockaddr *)&a, sizeof a);
}

/* With a receive buffer of so many bytes (0: the usual); -1 when refused. */
MAYBE static int dial_buffered(const struct room *r, int rcvbuf)
{
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    assert_true(fd >= 0);
    if (rcvbuf)
        setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &rcvbuf, sizeof rcvbuf);
    if (dial_on(r, fd)) {
        close(fd);
        return -1;
    }
    return fd;
}

MAYBE static int dial(const struct room *r)
{
    int fd = dial_buffered(r, 0);
    assert_true(fd >= 0);
    return fd;
}

/* From another address of this machine: 127.0.0.`last`. */
MAYBE static int dial_from(const struct room *r, int last)
{
    struct sockaddr_in a = {.sin_family = AF_INET};
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK - 1 + (uint32_t)last);
    assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof a), 0);
    assert_int_equal(dial_on(r, fd), 0);
    return fd;
}

MAYBE static void say_n(int fd, const char *p, size_t n)
{
    while (n) {
        ssize_t w = send(fd, p, n, MSG_NOSIGNAL);
        assert_true(w > 0);
        p += w;
        n -= (size_t)w;
    }
}

MAYBE static void say(int fd, const char *text)
{
    say_n(fd, text, strlen(text));
}

/* Read until `until` is seen (NULL: until the end). What came, in a buffer to be freed by
 * buf_done. Returns 1 when the connection ended, -1 when it was reset. */
MAYBE static int hear(int fd, struct buf *b, const char *until)
{
    char piece[65536];

    buf_init(b, 256 << 20);
    for (;;) {
        ssize_t n;
        if (until && b->data && strstr(b->data, until))
            return 0;
        /* with `until`, byte by byte: what follows is the next call's */
        n = recv(fd, piece, until ? 1 : sizeof piece, 0);
        if (n < 0 && errno == ECONNRESET)
            return -1;
        assert_true(n >= 0);
        if (n == 0)
            return 1;
        buf_add(b, piece, (size_t)n);
    }
}

MAYBE static void expect_in(const struct buf *b, const char *what)
{
    if (!b->data || !strstr(b->data, what))
        fail_msg("no \"%s\" in: %s", what, b->data ? b->data : "");
}

MAYBE static void expect_not_in(const struct buf *b, const char *what)
{
    if (b->data && strstr(b->data, what))
        fail_msg("\"%s\" in: %s", what, b->data);
}

/* Hear up to `until` and want `what` in it. */
MAYBE static void hear_in(int fd, const char *until, const char *what)
{
    struct buf b;
    hear(fd, &b, until);
    expect_in(&b, what);
    buf_done(&b);
}

/* Hear all that comes; the connection must end in order. */
MAYBE static void hear_end(int fd, const char *what)
{
    struct buf b;
    assert_int_equal(hear(fd, &b, NULL), 1);
    expect_in(&b, what);
    buf_done(&b);
    close(fd);
}

/* The connection must end, in order or by reset. */
MAYBE static void hear_cut(int fd)
{
    struct buf b;
    hear(fd, &b, NULL);
    buf_done(&b);
    close(fd);
}

#define GET(path)  "GET " path " HTTP/1.1\r\nHost: t\r\n\r\n"
#define HELLO_BODY "\r\n\r\nhello"

#endif
