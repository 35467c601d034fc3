/* A service that misbehaves as its path says, a thread a connection, and a client of it on the io
 * threads of a server (net_harness.h). */
#ifndef TEST_UPSTREAM_HARNESS_H
#define TEST_UPSTREAM_HARNESS_H

#include "net_harness.h"

#include <netinet/tcp.h>
#include <openssl/ssl.h>

#include "net/upstream.h"

/* ---- the service ---- */

enum peer_then {
    THEN_NEXT,  /* read the next request */
    THEN_CLOSE, /* close */
    THEN_RESET, /* close with RST */
    THEN_WAIT,  /* until the client has left */
    THEN_LATER, /* the same, and read nothing more before the test says so */
};

enum peer_how {
    HOW_SEND,     /* all at once */
    HOW_BYTES,    /* a byte at a time */
    HOW_WHEN,     /* when the test says so (peer_go) */
    HOW_ECHO,     /* the request's body instead */
    HOW_UNREAD,   /* the request's body is not read before the test says so */
    HOW_ASK,      /* the request's head instead */
    HOW_LOTS,     /* text, and then LOTS bytes */
    HOW_TWICE,    /* once, and once more, unasked, when the test says so */
    HOW_IDLE_END, /* close when the connection was used again */
    HOW_EARLY,    /* before the request's body, which nobody reads */
    HOW_TUNNEL,   /* and speak TLS from then on */
};

struct peer_row {
    const char *path;
    enum peer_how how;
    enum peer_then then;
    const char *text;
};

#define LOTS     (4 << 20)
#define OK_HELLO "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
#define CHUNKED  "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"

struct peer {
    pthread_mutex_t lock;
    pthread_cond_t cond;
    const struct peer_row *rows;
    SSL_CTX *tls;    /* NULL: plain */
    SSL_CTX *tunnel; /* of HOW_TUNNEL */
    pthread_t thread;
    int fd, port;
    int n_conns, n_open, n_requests, go;
};

struct peer_conn {
    struct peer *peer;
    SSL *ssl;
    int fd;
};

static void peer_count(struct peer *p, int *count, int n)
{
    pthread_mutex_lock(&p->lock);
    *count += n;
    pthread_cond_broadcast(&p->cond);
    pthread_mutex_unlock(&p->lock);
}

/* Wait until *count is `want` (or more). */
static void peer_wait(struct peer *p, const int *count, int want, int or_more)
{
    struct timespec until;
    int late = 0;

    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += GUARD_S;
    pthread_mutex_lock(&p->lock);
    while (!late && *count != want && !(or_more && *count > want))
        late = pthread_cond_timedwait(&p->cond, &p->lock, &until) == ETIMEDOUT;
    pthread_mutex_unlock(&p->lock);
    CHECK(!late);
}

static ssize_t conn_read(struct peer_conn *c, void *p, size_t n)
{
    return c->ssl ? SSL_read(c->ssl, p, (int)n) : recv(c->fd, p, n, 0);
}

static int conn_say(struct peer_conn *c, const char *p, size_t n)
{
    while (n) {
        ssize_t w = c->ssl ? SSL_write(c->ssl, p, (int)n) : send(c->fd, p, n, MSG_NOSIGNAL);
        if (w <= 0)
            return -1;
        p += w;
        n -= (size_t)w;
    }
    return 0;
}

/* A request's head into b, and its body behind it; the head's length, or 0 at the end. */
static size_t conn_ask(struct peer_conn *c, struct buf *b)
{
    const char *end = NULL;
    char byte;

    while (!end && conn_read(c, &byte, 1) == 1) {
        buf_add_char(b, byte);
        end = strstr(b->data, "\r\n\r\n");
    }
    return end ? b->len : 0;
}

static void conn_ask_body(struct peer_conn *c, struct buf *b)
{
    const char *length = strstr(b->data, "Content-Length: ");
    size_t n = length ? strtoul(length + 16, NULL, 10) : 0;
    char piece[4096];

    while (n) {
        ssize_t got = conn_read(c, piece, n < sizeof piece ? n : sizeof piece);
        if (got <= 0)
            return;
        buf_add(b, piece, (size_t)got);
        n -= (size_t)got;
    }
}

static const struct peer_row *conn_row(const struct peer *p, const char *ask)
{
    const char *path = strchr(ask, ' ');

    CHECK(path);
    for (const struct peer_row *row = p->rows;; row++) {
        size_t n;
        CHECK(row->path);
        n = strlen(row->path);
        if (!strncmp(path + 1, row->path, n) && path[1 + n] == ' ')
            return row;
    }
}

static void conn_answer(struct peer_conn *c, const struct peer_row *row, const struct buf *ask,
                        size_t n_head)
{
    const char *p = row->how == HOW_ASK ? ask->data : ask->data + n_head;
    size_t n = row->how == HOW_ASK ? n_head : ask->len - n_head;
    char head[128], fill[4096];

    switch (row->how) {
    case HOW_BYTES:
        for (const char *t = row->text; *t; t++)
            conn_say(c, t, 1);
        break;
    case HOW_ECHO:
    case HOW_ASK:
        snprintf(head, sizeof head, "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n\r\n", n);
        conn_say(c, head, strlen(head));
        conn_say(c, p, n);
        break;
    case HOW_LOTS:
        conn_say(c, row->text, strlen(row->text));
        memset(fill, 'x', sizeof fill);
        for (n = 0; n < LOTS && !conn_say(c, fill, sizeof fill);)
            n += sizeof fill;
        break;
    default:
        conn_say(c, row->text, strlen(row->text));
    }
}

/* 1: the next request may come. */
static int conn_serve(struct peer_conn *c, int nth)
{
    const struct linger now = {.l_onoff = 1};
    const struct peer_row *row;
    size_t n_head;
    struct buf ask;
    char piece[65536];

    buf_init(&ask, LOTS + 65536);
    n_head = conn_ask(c, &ask);
    row = n_head ? conn_row(c->peer, ask.data) : NULL;
    if (!row || (row->how == HOW_IDLE_END && nth > 0)) {
        buf_done(&ask);
        return 0;
    }
    peer_count(c->peer, &c->peer->n_requests, 1);
    if (row->how == HOW_WHEN || row->how == HOW_UNREAD)
        peer_wait(c->peer, &c->peer->go, 1, 1);
    if (row->how != HOW_EARLY)
        conn_ask_body(c, &ask);
    if (row->how == HOW_TWICE) {
        conn_answer(c, row, &ask, n_head);
        peer_wait(c->peer, &c->peer->go, 1, 1);
    }
    conn_answer(c, row, &ask, n_head);
    buf_done(&ask);
    if (row->how == HOW_TUNNEL) {
        c->ssl = SSL_new(c->peer->tunnel);
        return c->ssl && SSL_set_fd(c->ssl, c->fd) == 1 && SSL_accept(c->ssl) == 1;
    }
    if (row->then == THEN_LATER)
        peer_wait(c->peer, &c->peer->go, 1, 1);
    while ((row->then == THEN_WAIT || row->then == THEN_LATER) &&
           conn_read(c, piece, sizeof piece) > 0)
        ;
    if (row->then == THEN_RESET)
        setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
    return row->then == THEN_NEXT;
}

static void *conn_main(void *ctx)
{
    struct peer_conn *c = ctx;
    int nth = 0;

    if (!c->ssl || SSL_accept(c->ssl) == 1) {
        while (conn_serve(c, nth))
            nth++;
    }
    SSL_free(c->ssl);
    close(c->fd);
    peer_count(c->peer, &c->peer->n_open, -1);
    free(c);
    return NULL;
}

static void *peer_main(void *ctx)
{
    struct peer *p = ctx;
    int fd, one = 1;

    /* Without a descriptor the service waits for one: tests take them all away for a while. */
    while ((fd = accept(p->fd, NULL, NULL)) >= 0 || errno == EMFILE) {
        struct peer_conn *c;
        pthread_t t;
        if (fd < 0) {
            usleep(1000);
            continue;
        }
        c = calloc(1, sizeof *c);
        CHECK(c);
        *c = (struct peer_conn){.peer = p, .fd = fd};
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        if (p->tls) {
            c->ssl = SSL_new(p->tls);
            CHECK(c->ssl && SSL_set_fd(c->ssl, fd) == 1);
        }
        peer_count(p, &p->n_conns, 1);
        peer_count(p, &p->n_open, 1);
        CHECK(!pthread_create(&t, NULL, conn_main, c));
        pthread_detach(t);
    }
    return NULL;
}

static void peer_open(struct peer *p, const struct peer_row *rows, SSL_CTX *tls)
{
    struct sockaddr_in a = {.sin_family = AF_INET};
    socklen_t n = sizeof a;
    int little = 65536; /* what is not read does not get far */

    memset(p, 0, sizeof *p);
    pthread_mutex_init(&p->lock, NULL);
    pthread_cond_init(&p->cond, NULL);
    p->rows = rows;
    p->tls = tls;
    p->fd = socket(AF_INET, SOCK_STREAM, 0);
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_true(p->fd >= 0);
    assert_int_equal(setsockopt(p->fd, SOL_SOCKET, SO_RCVBUF, &little, sizeof little), 0);
    assert_int_equal(bind(p->fd, (struct sockaddr *)&a, sizeof a), 0);
    assert_int_equal(listen(p->fd, 256), 0);
    assert_int_equal(getsockname(p->fd, (struct sockaddr *)&a, &n), 0);
    p->port = ntohs(a.sin_port);
    assert_int_equal(pthread_create(&p->thread, NULL, peer_main, p), 0);
}

/* After the client has closed its connections. */
static void peer_close(struct peer *p)
{
    shutdown(p->fd, SHUT_RDWR);
    pthread_join(p->thread, NULL);
    close(p->fd);
    peer_wait(p, &p->n_open, 0, 0);
    pthread_cond_destroy(&p->cond);
    pthread_mutex_destroy(&p->lock);
}

MAYBE static void peer_go(struct peer *p)
{
    peer_count(p, &p->go, 1);
}

/* ---- the client ---- */

struct client {
    struct room room;
    struct peer peer;
    struct upstream *up;
    struct upstream_config config;
    char url[64];
};

/* One request, and what came of it. */
struct ask {
    struct client *client;
    struct upstream_ask a;
    struct upstream_request *r;
    struct err begin_err;
    int begun;
    /* by the io thread, under the room's lock */
    struct buf body;
    int n_heads, n_data, n_ends, n_bytes, n_headers;
    int status, code;
    char text[512], type[64];
    /* what the upper room does when it is told */
    int pause_at_head, pause_at_data, cancel_at_head, cancel_at_data;
    struct ask *cancel_other, *then; /* at the head; at the end */
};

static const struct upstream_handler ask_handler;

static void begin_now(void *ctx)
{
    struct ask *k = ctx;
    struct upstream_handler h = ask_handler;

    h.ctx = k;
    k->begun = upstream_begin(k->client->up, 0, &k->a, &h, &k->r, &k->begin_err);
}

static void cancel_now(void *ctx)
{
    struct ask *k = ctx;
    upstream_cancel(k->r);
}

static void resume_now(void *ctx)
{
    struct ask *k = ctx;
    upstream_pause(k->r, 0);
}

static void ask_head(void *ctx, struct upstream_request *r)
{
    struct ask *k = ctx;
    const char *type = upstream_answer_header(r, "x-type");
    struct ask *other = k->cancel_other;
    int pause = k->pause_at_head, cancel = k->cancel_at_head;

    pthread_mutex_lock(&k->client->room.lock);
    CHECK(k->n_heads++ == 0 && k->n_data == 0 && k->n_ends == 0);
    k->status = upstream_status(r);
    for (const char *name = NULL, *value; upstream_answer_next(r, &name, &value); k->n_headers++)
        CHECK(upstream_answer_header(r, name) != NULL);
    snprintf(k->type, sizeof k->type, "%s", type ? type : "");
    room_signal(&k->client->room);
    if (pause)
        upstream_pause(r, 1);
    if (other)
        upstream_cancel(other->r);
    if (cancel)
        upstream_cancel(r);
}

static void ask_data(void *ctx, struct upstream_request *r, const char *p, size_t n)
{
    struct ask *k = ctx;
    int pause, cancel;

    pthread_mutex_lock(&k->client->room.lock);
    pause = k->pause_at_data;
    cancel = k->cancel_at_data;
    CHECK(k->n_heads == 1 && k->n_ends == 0 && n > 0);
    buf_add(&k->body, p, n);
    k->n_data++;
    k->n_bytes += (int)n;
    room_signal(&k->client->room);
    if (pause)
        upstream_pause(r, 1);
    if (cancel)
        upstream_cancel(r);
}

static void ask_end(void *ctx, struct upstream_request *r, const struct err *e)
{
    struct ask *k = ctx;

    if (k->then)
        begin_now(k->then);
    upstream_cancel(r); /* too late: does nothing */
    pthread_mutex_lock(&k->client->room.lock);
    k->code = e->code;
    snprintf(k->text, sizeof k->text, "%s", e->text);
    k->n_ends++;
    room_signal(&k->client->room);
}

static const struct upstream_handler ask_handler = {
    .on_head = ask_head, .on_data = ask_data, .on_end = ask_end};

static void on_io(struct client *c, void (*fn)(void *ctx), void *ctx)
{
    struct order o = {.kind = ORDER_CALL, .fn = fn, .ctx = ctx};
    room_order_at(&c->room, 0, &o);
}

static void ask_init(struct ask *k, struct client *c, const char *method, const char *path)
{
    memset(k, 0, sizeof *k);
    k->client = c;
    k->a.method = method;
    k->a.path = path;
    buf_init(&k->body, 2 * LOTS);
}

static void ask_begin(struct ask *k)
{
    on_io(k->client, begin_now, k);
    if (k->begun)
        fail_msg("%s", k->begin_err.text);
}

static void ask_wait(struct ask *k)
{
    room_wait(&k->client->room, &k->n_ends, 1);
}

static void ask_done(struct ask *k)
{
    pthread_mutex_lock(&k->client->room.lock); /* the io thread is through with it */
    pthread_mutex_unlock(&k->client->room.lock);
    buf_done(&k->body);
}

/* Ask, wait for the end, and want it so; body NULL: any. */
static void expect_answer(struct client *c, const char *path, int code, int status,
                          const char *body)
{
    struct ask k;

    ask_init(&k, c, "GET", path);
    ask_begin(&k);
    ask_wait(&k);
    if (k.code != code || k.status != status)
        fail_msg("%s: %d %s, status %d", path, k.code, k.text, k.status);
    assert_int_equal(k.code != 0, *k.text != 0);
    assert_null(strstr(k.text, "127.0.0.1"));
    if (body)
        assert_string_equal(k.body.data ? k.body.data : "", body);
    ask_done(&k);
}

static void client_up(struct client *c)
{
    struct err e = {0};

    if (upstream_open(&c->up, c->room.server, &c->config, &e))
        fail_msg("%s", e.text);
}

/* c->config is set by the caller, but for the URL. */
static void client_open(struct client *c, const struct peer_row *rows, SSL_CTX *tls)
{
    room_open_default(&c->room);
    peer_open(&c->peer, rows, tls);
    snprintf(c->url, sizeof c->url, "http%s://127.0.0.1:%d", tls ? "s" : "", c->peer.port);
    c->config.base_url = c->url;
    client_up(c);
}

static void client_close(struct client *c)
{
    net_server_drain(c->room.server, 0);
    net_server_join(c->room.server);
    upstream_close(c->up);
    peer_close(&c->peer);
    room_close(&c->room);
}

#endif
