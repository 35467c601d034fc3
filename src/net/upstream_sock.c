/* libcurl's sockets on the loop of an io thread.
 *
 * A connection is watched from its opening to its closing, also while nobody uses it: taking it out
 * and putting it in again would be two system calls a request. And a kept connection with something
 * to read has ended, or brings what nobody asked for, which must not be taken for the answer to the
 * next request: it is shut down, and libcurl leaves it. */
#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <event2/event.h>

#include "net/net_int.h"
#include "net/upstream_int.h"

#define FD_MAX (1 << 20)

struct upstream_sock {
    struct upstream_pool *pool;
    struct upstream_request *r; /* that uses it */
    struct event *ev;
    curl_socket_t fd;
    short events;    /* that ev is added for; 0: it is not */
    uint8_t what;    /* libcurl waits for: CURL_POLL_ */
    uint8_t is_conn; /* a request was sent on it: libcurl will tell of its closing */
    uint8_t is_idle;
};

static struct upstream_sock *sock_find(const struct upstream_io *io, curl_socket_t fd)
{
    return fd < io->n_socks ? io->socks[fd] : NULL;
}

static int make_place(struct upstream_io *io, curl_socket_t fd)
{
    int n = io->n_socks ? io->n_socks : 64;
    struct upstream_sock **more;

    if (fd < io->n_socks)
        return 0;
    if (fd < 0 || fd >= FD_MAX)
        return ERR_NOMEM;
    while (n <= fd)
        n *= 2;
    more = realloc(io->socks, (size_t)n * sizeof *more);
    if (!more)
        return ERR_NOMEM;
    for (int i = io->n_socks; i < n; i++)
        more[i] = NULL;
    io->socks = more;
    io->n_socks = n;
    return 0;
}

static void sock_forget(struct upstream_io *io, curl_socket_t fd)
{
    struct upstream_sock *s = sock_find(io, fd);

    if (!s)
        return;
    io->socks[fd] = NULL;
    event_free(s->ev);
    free(s);
}

/* Whatever comes still is dropped, so that all that libcurl sees is the end. */
static void shut_idle(struct upstream_sock *s)
{
    char bin[4096];

    shutdown(s->fd, SHUT_RDWR);
    while (recv(s->fd, bin, sizeof bin, MSG_DONTWAIT) > 0)
        ;
    event_del(s->ev);
    s->events = 0;
}

static void sock_cb(evutil_socket_t fd, short what, void *ctx)
{
    struct upstream_sock *s = ctx;

    if (s->is_idle) {
        shut_idle(s);
        return;
    }
    upstream_pool_now(s->pool);
    if ((what & EV_WRITE) && s->r && s->r->phase == PHASE_WAIT)
        s->r->mark_us = s->pool->now_us; /* the request is being taken */
    upstream_pool_act(s->pool, fd,
                      (what & EV_READ ? CURL_CSELECT_IN : 0) |
                          (what & EV_WRITE ? CURL_CSELECT_OUT : 0));
}

static struct upstream_sock *sock_new(struct upstream_pool *pool, curl_socket_t fd)
{
    struct upstream_sock *s = make_place(pool->io, fd) ? NULL : calloc(1, sizeof *s);

    if (!s)
        return NULL;
    s->pool = pool;
    s->fd = fd;
    s->ev = event_new(pool->io->net->base, fd, EV_READ, sock_cb, s);
    if (!s->ev) {
        free(s);
        return NULL;
    }
    pool->io->socks[fd] = s;
    return s;
}

static void sock_watch(struct upstream_sock *s, int what)
{
    short events =
        (short)((what & CURL_POLL_IN ? EV_READ : 0) | (what & CURL_POLL_OUT ? EV_WRITE : 0));

    if (events == s->events)
        return;
    event_del(s->ev);
    s->events = events;
    if (!events)
        return;
    event_assign(s->ev, s->pool->io->net->base, s->fd, (short)(events | EV_PERSIST), sock_cb, s);
    event_add(s->ev, NULL);
}

/* libcurl leaves a socket: after an answer, or because of a pause. */
static int is_over(const struct upstream_request *r)
{
    return !r || (r->phase >= PHASE_BODY && !r->is_held);
}

int upstream_sock_set(CURL *easy, curl_socket_t fd, int what, void *ctx, void *sock_ctx)
{
    struct upstream_pool *pool = ctx;
    struct upstream_sock *s = sock_find(pool->io, fd);
    int was;

    if (!s && what != CURL_POLL_REMOVE)
        s = sock_new(pool, fd);
    if (!s)
        return 0;
    if (what == CURL_POLL_REMOVE && !s->is_conn) {
        sock_forget(pool->io, fd);
        return 0;
    }
    was = s->what;
    if (what == CURL_POLL_REMOVE) {
        s->is_idle = is_over(s->r);
        s->r = NULL;
        s->what = 0;
        sock_watch(s, s->is_idle ? CURL_POLL_IN : CURL_POLL_NONE);
        return 0;
    }
    pool->lib->easy_getinfo(easy, CURLINFO_PRIVATE, &s->r);
    s->is_conn |= s->r && s->r->phase >= PHASE_WAIT;
    s->is_idle = 0;
    s->what = (uint8_t)what;
    if ((was & CURL_POLL_OUT) && !(what & CURL_POLL_OUT) && s->r && s->r->phase == PHASE_WAIT)
        s->r->mark_us = pool->now_us; /* all of the request was taken */
    sock_watch(s, what);
    return 0;
}

/* libcurl closes a socket that never was connected without a word: what is left of one with the
 * same number goes. */
curl_socket_t upstream_sock_open(void *ctx, curlsocktype purpose, struct curl_sockaddr *a)
{
    struct upstream_request *r = ctx;
    int fd = socket(a->family, a->socktype | SOCK_CLOEXEC, a->protocol);

    if (fd < 0) { /* of this process, not the service's fault */
        if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS)
            upstream_fail(r, ERR_NOMEM, "There are no descriptors for one more connection");
        return CURL_SOCKET_BAD;
    }
    sock_forget(r->pool->io, fd);
    return fd;
}

int upstream_sock_close(void *ctx, curl_socket_t fd)
{
    sock_forget(ctx, fd);
    return close(fd);
}

void upstream_sock_forget_all(struct upstream_io *io)
{
    for (int fd = 0; fd < io->n_socks; fd++)
        sock_forget(io, fd);
    free(io->socks);
}
