/* A connection to a service: address, proxy, TLS, a request's bytes; and those that are kept.
 *
 * A connection is watched for reading from its standing to its closing, also while nobody uses it:
 * taking it out and putting it in again would be two system calls a request. And a kept connection
 * with something to read has ended, or brings what nobody asked for, which must not be taken for
 * the answer to the next request: it is closed. */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include <event2/event.h>

#include "base/check.h"
#include "net/net_int.h"
#include "net/upstream_int.h"

#define KEPT_US INT64_C(50000000)  /* how long a connection that nobody uses is kept */
#define LIFE_US INT64_C(600000000) /* and any */

static void step(struct upstream_link *l);

/* ---- events ---- */

/* Kept: that nobody has asked for anything. With TLS there may be messages that are no answer. */
static int is_quiet(struct upstream_link *l)
{
    char byte;

    if (l->tls)
        return tls_read(l->tls, &byte, 1) == TLS_AGAIN;
    return recv(l->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) < 0 &&
           (errno == EAGAIN || errno == EWOULDBLOCK);
}

static void in_cb(evutil_socket_t fd, short what, void *ctx)
{
    struct upstream_link *l = ctx;

    upstream_now(l->io);
    if (!l->r) {
        if (!is_quiet(l))
            upstream_link_close(l);
    } else if (l->step != LINK_READY)
        step(l);
    else
        upstream_readable(l->r);
}

static void out_cb(evutil_socket_t fd, short what, void *ctx)
{
    struct upstream_link *l = ctx;

    upstream_now(l->io);
    if (!l->r)
        return;
    if (l->step != LINK_READY) {
        step(l);
        return;
    }
    upstream_link_send(l);
    if (l->tls) /* reading waited for this, maybe */
        upstream_readable(l->r);
}

void upstream_link_listen(struct upstream_link *l, int on)
{
    if (l->is_deaf == !on)
        return;
    l->is_deaf = !on;
    if (on)
        event_add(l->in_ev, NULL);
    else
        event_del(l->in_ev);
}

/* ---- the end ---- */

static void unkeep(struct upstream_link *l)
{
    struct upstream_io *io = l->io;

    *(l->prev ? &l->prev->next : &io->kept) = l->next;
    *(l->next ? &l->next->prev : &io->kept_last) = l->prev;
    l->next = l->prev = NULL;
}

/* What belongs to one address. */
static void hang_up(struct upstream_link *l)
{
    if (l->in_ev)
        event_free(l->in_ev);
    if (l->out_ev)
        event_free(l->out_ev);
    tls_free(l->tls);
    if (l->fd >= 0)
        close(l->fd);
    l->in_ev = l->out_ev = NULL;
    l->tls = NULL;
    l->fd = -1;
}

void upstream_link_close(struct upstream_link *l)
{
    if (l->r)
        l->r->link = NULL;
    else
        unkeep(l);
    hang_up(l);
    free(l);
}

/* ---- kept ---- */

void upstream_link_leave(struct upstream_link *l, int well)
{
    struct upstream_io *io = l->io;

    if (!well || net_server_is_draining(io->up->server) || io->now_us - l->opened_us > LIFE_US) {
        upstream_link_close(l);
        return;
    }
    l->r->link = NULL;
    l->r = NULL;
    l->is_used = 1;
    l->kept_us = io->now_us;
    l->prev = NULL;
    l->next = io->kept;
    *(l->next ? &l->next->prev : &io->kept_last) = l;
    io->kept = l;
    upstream_sweep_by(io, io->kept_last->kept_us + KEPT_US);
}

struct upstream_link *upstream_link_take(struct upstream_io *io)
{
    struct upstream_link *l;

    while ((l = io->kept) != NULL) {
        if (io->now_us - l->opened_us <= LIFE_US && is_quiet(l)) {
            unkeep(l);
            return l;
        }
        upstream_link_close(l);
    }
    return NULL;
}

void upstream_link_expire(struct upstream_io *io)
{
    while (io->kept_last && io->kept_last->kept_us + KEPT_US <= io->now_us)
        upstream_link_close(io->kept_last);
    if (io->kept_last)
        upstream_sweep_by(io, io->kept_last->kept_us + KEPT_US);
}

/* ---- an address ---- */

/* A socket on its way to it. 0, or a code: ERR_NOMEM is this process' fault. */
static int call_up(struct upstream_link *l, const struct sockaddr *a, socklen_t len)
{
    struct event_base *base = l->io->net->base;
    int one = 1;

    l->fd = socket(a->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (l->fd < 0)
        return errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS
                   ? ERR_NOMEM
                   : ERR_CONNECT;
    setsockopt(l->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    setsockopt(l->fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof one);
    l->in_ev = event_new(base, l->fd, EV_READ | EV_PERSIST, in_cb, l);
    l->out_ev = event_new(base, l->fd, EV_WRITE, out_cb, l);
    if (!l->in_ev || !l->out_ev)
        return ERR_NOMEM;
    if (connect(l->fd, a, len) && errno != EINPROGRESS)
        return ERR_CONNECT;
    return event_add(l->out_ev, NULL) ? ERR_NOMEM : 0;
}

/* An equal part of the time for each address that is left. */
static int64_t attempt_due(const struct upstream_link *l)
{
    const struct upstream_io *io = l->io;
    int64_t end_us = l->r->mark_us + io->up->config.connect_ms * INT64_C(1000);
    int left = io->addresses.n - l->i_address;

    return left > 1 ? io->now_us + (end_us - io->now_us) / left : end_us;
}

/* Begin with the address at i_address, or one behind it. The link may be gone after this. */
static void dial(struct upstream_link *l)
{
    const struct upstream_addresses *all = &l->io->addresses;
    struct upstream_request *r = l->r;
    int code = ERR_CONNECT;

    l->step = LINK_CONNECT;
    l->is_deaf = 1;
    l->n_out = 0;
    for (; l->i_address < all->n; l->i_address++) {
        int i = l->i_address;
        code = call_up(l, (const struct sockaddr *)&all->a[i], all->len[i]);
        if (!code) {
            l->due_us = attempt_due(l);
            upstream_expect(r);
            return;
        }
        hang_up(l);
        if (code == ERR_NOMEM)
            break;
    }
    upstream_fail(r, code,
                  code == ERR_NOMEM ? "There are no descriptors for one more connection"
                                    : "The service cannot be connected to");
}

int upstream_link_dial(struct upstream_request *r)
{
    struct upstream_link *l = calloc(1, sizeof *l);

    if (!l) {
        upstream_fail(r, ERR_NOMEM, "Out of memory for a connection to a service");
        return ERR_NOMEM;
    }
    l->io = r->io;
    l->r = r;
    r->link = l;
    l->fd = -1;
    l->opened_us = r->io->now_us;
    dial(l);
    return r->code;
}

void upstream_link_next(struct upstream_link *l)
{
    hang_up(l);
    l->i_address++;
    dial(l);
}

/* ---- from the connection to the request ---- */

/* How long a round trip takes: the connection has just made one. */
static void note_rtt(const struct upstream_link *l)
{
    _Atomic int64_t *mean_us = &l->io->up->rtt_us;
    int64_t mean = atomic_load(mean_us);
    struct tcp_info info = {0};
    socklen_t n = sizeof info;

    if (!getsockopt(l->fd, IPPROTO_TCP, TCP_INFO, &info, &n) && info.tcpi_rtt > 0)
        atomic_store(mean_us, mean ? mean + ((int64_t)info.tcpi_rtt - mean) / 8 : info.tcpi_rtt);
}

static int connected(struct upstream_link *l)
{
    int why = 0;
    socklen_t n = sizeof why;

    if (getsockopt(l->fd, SOL_SOCKET, SO_ERROR, &why, &n) || why) {
        upstream_link_next(l);
        return 0;
    }
    note_rtt(l);
    upstream_link_listen(l, 1);
    l->due_us = INT64_MAX; /* what follows has all the time that is left */
    upstream_expect(l->r);
    l->step = l->io->up->tunnel ? LINK_PROXY : LINK_TLS;
    return 1;
}

static int no_tunnel(struct upstream_link *l)
{
    upstream_fail(l->r, ERR_CONNECT, "The proxy does not connect");
    return 0;
}

/* The request for a tunnel, and the answer to it, read by the parser of the request that waits. */
static int tunnelled(struct upstream_link *l)
{
    const char *ask = l->io->up->tunnel, *data;
    struct http_parser *p = &l->r->parser;
    struct http_limits limits = p->limits;
    size_t n = strlen(ask), used, n_data;
    char *in = l->io->in;
    enum http_event ev;
    ssize_t got;

    while (l->n_out < n) {
        got = send(l->fd, ask + l->n_out, n - l->n_out, MSG_NOSIGNAL);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
            event_add(l->out_ev, NULL);
            return 0;
        }
        if (got < 0)
            return no_tunnel(l);
        l->n_out += (size_t)got;
    }
    if (p->kind != HTTP_CONNECT) {
        http_parser_done(p);
        http_parser_init_answer(p, &limits, HTTP_CONNECT);
    }
    got = recv(l->fd, in, UPSTREAM_IN_MAX, 0);
    if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR))
        return 0;
    if (got <= 0)
        return no_tunnel(l);
    ev = http_parser_feed(p, in, (size_t)got, &used, &data, &n_data);
    if (ev == HTTP_MORE)
        return 0;
    if (ev != HTTP_GOT_HEAD || p->head.status / 100 != 2 || used != (size_t)got)
        return no_tunnel(l);
    http_parser_done(p);
    http_parser_init_answer(p, &limits, HTTP_ANSWER);
    l->step = LINK_TLS;
    return 1;
}

static int encrypted(struct upstream_link *l)
{
    const struct upstream *u = l->io->up;
    int r = 0;

    if (u->url.is_tls && !l->tls) {
        l->tls = tls_new(u->tls, l->fd, u->url.host, u->url.is_address);
        if (!l->tls) {
            upstream_fail(l->r, ERR_NOMEM, "Out of memory for TLS");
            return 0;
        }
    }
    if (l->tls)
        r = tls_handshake(l->tls);
    if (r == TLS_AGAIN_OUT)
        event_add(l->out_ev, NULL);
    else if (r && r != TLS_AGAIN)
        upstream_fail(l->r, ERR_CONNECT,
                      r == TLS_UNTRUSTED ? "The service's certificate is not trusted"
                                         : "TLS could not be agreed on");
    if (r)
        return 0;
    l->step = LINK_READY;
    return 1;
}

/* As far as it goes without waiting. */
static void step(struct upstream_link *l)
{
    static int (*const steps[])(struct upstream_link * l) = {
        [LINK_CONNECT] = connected, [LINK_PROXY] = tunnelled, [LINK_TLS] = encrypted};

    while (l->step != LINK_READY) {
        if (!steps[l->step](l))
            return;
    }
    upstream_ready(l->r);
}

/* ---- bytes ---- */

static ssize_t send_plain(const struct upstream_link *l)
{
    const struct upstream_request *r = l->r;
    size_t n_head = r->ask.len, at = r->n_out;
    struct iovec v[2];
    struct msghdr m = {.msg_iov = v};

    if (at < n_head)
        v[m.msg_iovlen++] = (struct iovec){r->ask.data + at, n_head - at};
    at = at < n_head ? 0 : at - n_head;
    if (at < r->n_body)
        v[m.msg_iovlen++] = (struct iovec){(char *)(uintptr_t)r->body + at, r->n_body - at};
    return sendmsg(l->fd, &m, MSG_NOSIGNAL);
}

/* Head and body in one record, where they are small. */
static ssize_t send_tls(const struct upstream_link *l)
{
    struct upstream_request *r = l->r;
    size_t n_head = r->ask.len;

    if (r->n_out < n_head && r->n_body && n_head + r->n_body <= UPSTREAM_IN_MAX) {
        char *both = l->io->in;
        memcpy(both, r->ask.data, n_head);
        memcpy(both + n_head, r->body, r->n_body);
        return tls_write(l->tls, both + r->n_out, n_head + r->n_body - r->n_out);
    }
    if (r->n_out < n_head)
        return tls_write(l->tls, r->ask.data + r->n_out, n_head - r->n_out);
    return tls_write(l->tls, r->body + (r->n_out - n_head), r->n_body - (r->n_out - n_head));
}

static ssize_t send_some(const struct upstream_link *l)
{
    ssize_t n;

    if (l->tls)
        return send_tls(l);
    do
        n = send_plain(l);
    while (n < 0 && errno == EINTR);
    if (n >= 0)
        return n;
    return errno == EAGAIN || errno == EWOULDBLOCK ? TLS_AGAIN_OUT : TLS_BROKEN;
}

/* Where the connection is broken, what the service said before is still to be read, and the end is
 * seen there. */
void upstream_link_send(struct upstream_link *l)
{
    struct upstream_request *r = l->r;

    while (r->n_out < r->n_all) {
        ssize_t n = send_some(l);
        if (n == TLS_AGAIN_OUT)
            event_add(l->out_ev, NULL);
        else if (n == TLS_BROKEN && !l->is_deaf)
            event_active(l->in_ev, EV_READ, 0);
        if (n <= 0)
            return;
        r->n_out += (size_t)n;
        if (r->phase == PHASE_WAIT) {
            r->mark_us = l->io->now_us; /* the request is being taken */
            upstream_expect(r);
        }
    }
}

ssize_t upstream_link_read(struct upstream_link *l, void *p, size_t n)
{
    ssize_t got;

    if (l->tls) {
        got = tls_read(l->tls, p, n);
        if (got == TLS_AGAIN_OUT)
            event_add(l->out_ev, NULL);
        return got;
    }
    do
        got = recv(l->fd, p, n, 0);
    while (got < 0 && errno == EINTR);
    if (got >= 0)
        return got;
    return errno == EAGAIN || errno == EWOULDBLOCK ? TLS_AGAIN : TLS_BROKEN;
}
