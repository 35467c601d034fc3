/* Bytes from and to a connection's socket, through TLS where the server has it.
 *
 * TLS writes records of at most 16 KiB. All that waits is put into as few of them as it takes, so
 * that many small pieces of one turn cost one record and one system call. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include <event2/buffer.h>
#include <event2/event.h>

#include "net/net_int.h"

int wire_open(struct net_conn *c)
{
    struct net_server *s = c->io->server;
    int has_tls;

    pthread_mutex_lock(&s->tls_lock);
    has_tls = s->tls != NULL;
    if (has_tls)
        c->tls = tls_accept(s->tls, c->fd);
    pthread_mutex_unlock(&s->tls_lock);
    return has_tls && !c->tls ? ERR_NOMEM : 0;
}

void wire_close(struct net_conn *c)
{
    tls_free(c->tls);
    c->tls = NULL;
}

/* ---- the handshake --------------------------------------------------------------------------- */

/* The first byte of TLS is 22; a method of HTTP begins with a letter. */
static int is_plain(const struct net_conn *c)
{
    char first;
    return recv(c->fd, &first, 1, MSG_PEEK) == 1 && first >= 'A' && first <= 'Z';
}

int wire_shake(struct net_conn *c)
{
    struct net_server *s = c->io->server;
    int plain = is_plain(c), r = plain ? TLS_BROKEN : tls_handshake(c->tls);

    switch (r) {
    case 0:
        atomic_fetch_add(&s->shakes_total, 1);
        return 0;
    case TLS_AGAIN:
        return WIRE_AGAIN;
    case TLS_AGAIN_OUT:
        return WIRE_AGAIN_OUT;
    default:
        atomic_fetch_add(&s->shake_fails_total, 1);
        wire_close(c);
        return plain ? WIRE_PLAIN : WIRE_BROKEN;
    }
}

/* ---- input ----------------------------------------------------------------------------------- */

static ssize_t read_plain(struct net_conn *c, char *p, size_t n)
{
    ssize_t got = recv(c->fd, p, n, 0);

    if (got >= 0)
        return got;
    return errno == EAGAIN || errno == EINTR ? WIRE_AGAIN : WIRE_BROKEN;
}

/* As many whole records as fit. What the socket does not announce again, because TLS has it, is
 * announced here. */
static ssize_t read_tls(struct net_conn *c, char *p, size_t n)
{
    size_t at = 0;
    ssize_t r = 1;

    while (n - at >= TLS_RECORD_MAX && (r = tls_read(c->tls, p + at, n - at)) > 0)
        at += (size_t)r;
    if (at) {
        if (r == TLS_END || (r > 0 && tls_has_more(c->tls)))
            event_active(c->in_ev, EV_READ, 0);
        return (ssize_t)at;
    }
    return r == TLS_END ? 0 : r == TLS_AGAIN || r == TLS_AGAIN_OUT ? WIRE_AGAIN : WIRE_BROKEN;
}

ssize_t wire_read(struct net_conn *c, char *p, size_t n)
{
    return c->tls ? read_tls(c, p, n) : read_plain(c, p, n);
}

/* ---- output ---------------------------------------------------------------------------------- */

/* The first bytes of the output, in one piece: at most a record. A write that is repeated sees the
 * same bytes, or more. */
static const char *first_bytes(struct net_conn *c, size_t *ret_n)
{
    size_t n = conn_pending(c);
    struct evbuffer_iovec v;

    if (n > TLS_RECORD_MAX)
        n = TLS_RECORD_MAX;
    *ret_n = n;
    if (evbuffer_peek(c->out_bytes, (ssize_t)n, NULL, &v, 1) >= 1 && v.iov_len >= n)
        return v.iov_base;
    evbuffer_copyout(c->out_bytes, c->io->record, n);
    return c->io->record;
}

static int write_tls(struct net_conn *c)
{
    ssize_t r = 1;

    while (conn_pending(c) > 0) {
        size_t n;
        const char *p = first_bytes(c, &n);
        r = tls_write(c->tls, p, n);
        if (r <= 0)
            return r == TLS_AGAIN_OUT ? 0 : -1;
        evbuffer_drain(c->out_bytes, (size_t)r);
    }
    return 0;
}

int wire_write(struct net_conn *c)
{
    if (c->tls)
        return write_tls(c);
    if (evbuffer_write(c->out_bytes, c->fd) < 0 && errno != EAGAIN && errno != EINTR)
        return -1;
    return 0;
}

static size_t send_tls(struct net_conn *c, const struct buf *head, const char *body, size_t n_body)
{
    char *record = c->io->record;
    size_t n = head->len + n_body;
    ssize_t r;

    if (n > TLS_RECORD_MAX)
        return 0;
    memcpy(record, head->data, head->len);
    if (n_body)
        memcpy(record + head->len, body, n_body);
    r = tls_write(c->tls, record, n);
    return r > 0 ? (size_t)r : 0;
}

size_t wire_send(struct net_conn *c, const struct buf *head, const char *body, size_t n_body)
{
    struct iovec v[2] = {{head->data, head->len}, {(char *)(uintptr_t)body, n_body}};
    struct msghdr m = {.msg_iov = v, .msg_iovlen = n_body ? 2 : 1};
    ssize_t n;

    if (c->is_writing || conn_pending(c))
        return 0;
    n = c->tls ? (ssize_t)send_tls(c, head, body, n_body) : sendmsg(c->fd, &m, MSG_NOSIGNAL);
    if (n < 0)
        return 0;
    c->out_total += (size_t)n;
    return (size_t)n;
}

int wire_end(struct net_conn *c)
{
    if (!c->tls || c->is_ended)
        return 0;
    if (tls_end(c->tls) == TLS_AGAIN_OUT)
        return WIRE_AGAIN_OUT;
    c->is_ended = 1;
    return 0;
}
