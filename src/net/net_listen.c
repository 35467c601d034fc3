/* Listening sockets: binding at open, accepting on io thread 0. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <event2/event.h>

#include "base/clock.h"
#include "base/map.h"
#include "net/net_int.h"

#define ACCEPT_REST_US 200000 /* after running out of descriptors or memory */

/* ---- addresses ---- */

static int resolve(const char *host, int port, struct addrinfo **ret)
{
    struct addrinfo hints = {.ai_family = AF_UNSPEC,
                             .ai_socktype = SOCK_STREAM,
                             .ai_flags = AI_PASSIVE | AI_NUMERICSERV};
    char text[16];

    snprintf(text, sizeof text, "%d", port);
    return getaddrinfo(host, text, &hints, ret);
}

/* A hash of the client's address. Of an IPv6 address only the first 64 bits count, because a host
 * can choose the others. */
static uint64_t peer_hash(const struct net_server *s, const struct sockaddr *a)
{
    const struct in6_addr *in6 = &((const struct sockaddr_in6 *)a)->sin6_addr;

    if (a->sa_family == AF_INET)
        return map_hash(&((const struct sockaddr_in *)a)->sin_addr, 4, s->seed);
    if (a->sa_family != AF_INET6)
        return s->seed;
    return IN6_IS_ADDR_V4MAPPED(in6) ? map_hash(in6->s6_addr + 12, 4, s->seed)
                                     : map_hash(in6->s6_addr, 8, s->seed);
}

static int is_loopback(const struct sockaddr *a)
{
    if (a->sa_family == AF_INET) {
        const struct sockaddr_in *in = (const struct sockaddr_in *)a;
        return ntohl(in->sin_addr.s_addr) >> 24 == 127;
    }
    if (a->sa_family == AF_INET6) {
        const struct in6_addr *in = &((const struct sockaddr_in6 *)a)->sin6_addr;
        return IN6_IS_ADDR_LOOPBACK(in) || (IN6_IS_ADDR_V4MAPPED(in) && in->s6_addr[12] == 127);
    }
    return 0;
}

int net_host_is_known(const char *host)
{
    struct addrinfo *list;

    if (resolve(host, 0, &list))
        return 0;
    freeaddrinfo(list);
    return 1;
}

int net_host_is_loopback(const char *host)
{
    struct addrinfo *list, *a;

    if (resolve(host, 0, &list))
        return 0;
    for (a = list; a && is_loopback(a->ai_addr); a = a->ai_next)
        ;
    freeaddrinfo(list);
    return a == NULL;
}

static void set_port(struct sockaddr *a, int port)
{
    if (a->sa_family == AF_INET)
        ((struct sockaddr_in *)a)->sin_port = htons((uint16_t)port);
    else
        ((struct sockaddr_in6 *)a)->sin6_port = htons((uint16_t)port);
}

static int bound_port(int fd)
{
    struct sockaddr_storage a;
    socklen_t n = sizeof a;

    if (getsockname(fd, (struct sockaddr *)&a, &n))
        return 0;
    return ntohs(a.ss_family == AF_INET ? ((struct sockaddr_in *)&a)->sin_port
                                        : ((struct sockaddr_in6 *)&a)->sin6_port);
}

/* ---- binding ---- */

static void set_int(int fd, int level, int option, int value)
{
    (void)setsockopt(fd, level, option, &value, sizeof value); /* tuning: may fail */
}

/* Options of the listener pass on to what it accepts (Linux). */
static void set_options(int fd, const struct sockaddr *a)
{
    set_int(fd, SOL_SOCKET, SO_REUSEADDR, 1);
    set_int(fd, IPPROTO_TCP, TCP_NODELAY, 1);
    /* With keep-alive a client whose machine is gone is noticed after a minute, even while nothing
     * is sent. */
    set_int(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
    set_int(fd, IPPROTO_TCP, TCP_KEEPIDLE, 30);
    set_int(fd, IPPROTO_TCP, TCP_KEEPINTVL, 10);
    set_int(fd, IPPROTO_TCP, TCP_KEEPCNT, 3);
    /* Keep unsent bytes here, where they are counted, and not in the kernel. */
    set_int(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, 131072);
    if (a->sa_family == AF_INET6) {
        const struct in6_addr *in = &((const struct sockaddr_in6 *)a)->sin6_addr;
        set_int(fd, IPPROTO_IPV6, IPV6_V6ONLY,
                !IN6_IS_ADDR_UNSPECIFIED(in) && !IN6_IS_ADDR_V4MAPPED(in));
    }
}

/* 0; 1 when the machine does not have this kind of address; else ERR_IO. */
static int bind_one(struct net_server *s, const struct addrinfo *a, struct err *e)
{
    int fd = socket(a->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    if (fd < 0)
        return errno == EAFNOSUPPORT
                   ? 1
                   : err_set(e, ERR_IO, "Cannot make a socket: %s", strerror(errno));
    set_options(fd, a->ai_addr);
    set_port(a->ai_addr, s->port);
    if (bind(fd, a->ai_addr, a->ai_addrlen) || listen(fd, s->config.backlog)) {
        int why = errno;
        close(fd);
        if (why == EADDRNOTAVAIL)
            return 1;
        return err_set(e, ERR_IO, "Cannot listen on %s port %d: %s", s->config.host, s->port,
                       strerror(why));
    }
    s->port = bound_port(fd);
    s->listen_fd[s->n_listen++] = fd;
    return 0;
}

/* ---- sockets that listen already ---- */

int net_listeners_check(const int *fd, int n, struct err *e)
{
    struct sockaddr_storage a;
    socklen_t n_a;

    if (n < 1 || n > NET_LISTEN_MAX)
        return err_set(e, ERR_ARG, "%d sockets were handed over: 1 to %d can be", n,
                       NET_LISTEN_MAX);
    for (int i = 0; i < n; i++) {
        int listens = 0;
        socklen_t n_int = sizeof listens;
        n_a = sizeof a;
        if (getsockopt(fd[i], SOL_SOCKET, SO_ACCEPTCONN, &listens, &n_int) || !listens ||
            getsockname(fd[i], (struct sockaddr *)&a, &n_a) ||
            (a.ss_family != AF_INET && a.ss_family != AF_INET6))
            return err_set(e, ERR_ARG,
                           "Descriptor %d, which was handed over, is no TCP socket "
                           "that listens",
                           fd[i]);
    }
    return 0;
}

int net_listeners_are_loopback(const int *fd, int n)
{
    for (int i = 0; i < n; i++) {
        struct sockaddr_storage a;
        socklen_t n_a = sizeof a;
        if (getsockname(fd[i], (struct sockaddr *)&a, &n_a) || !is_loopback((struct sockaddr *)&a))
            return 0;
    }
    return 1;
}

int net_listeners_port(const int *fd, int n)
{
    return n ? bound_port(fd[n - 1]) : 0;
}

static int take_over(struct net_server *s, struct err *e)
{
    const int *fd = s->config.listen_fds;
    int n = s->config.n_listen_fds, r = net_listeners_check(fd, n, e);

    for (int i = 0; !r && i < n; i++) {
        struct sockaddr_storage a;
        socklen_t n_a = sizeof a;
        if (getsockname(fd[i], (struct sockaddr *)&a, &n_a) ||
            fcntl(fd[i], F_SETFL, fcntl(fd[i], F_GETFL) | O_NONBLOCK) ||
            fcntl(fd[i], F_SETFD, FD_CLOEXEC))
            return err_set(e, ERR_IO, "Descriptor %d: %s", fd[i], strerror(errno));
        set_options(fd[i], (struct sockaddr *)&a);
    }
    if (r)
        return r;
    memcpy(s->listen_fd, fd, (size_t)n * sizeof *fd);
    s->n_listen = n;
    s->port = net_listeners_port(fd, n);
    return 0;
}

int net_server_listeners(const struct net_server *s, int ret_fd[NET_LISTEN_MAX])
{
    memcpy(ret_fd, s->listen_fd, sizeof s->listen_fd);
    return s->n_listen;
}

int listen_open(struct net_server *s, struct err *e)
{
    struct addrinfo *list;
    int r;

    if (s->config.n_listen_fds)
        return take_over(s, e);
    r = resolve(s->config.host, s->config.port, &list);
    if (r)
        return err_set(e, ERR_IO, "Cannot find the address of %s: %s", s->config.host,
                       r == EAI_SYSTEM ? strerror(errno) : gai_strerror(r));
    s->port = s->config.port;
    r = 0;
    for (struct addrinfo *a = list; a && r >= 0 && s->n_listen < NET_LISTEN_MAX; a = a->ai_next)
        r = bind_one(s, a, e);
    freeaddrinfo(list);
    if (r >= 0 && s->n_listen == 0)
        r = err_set(e, ERR_IO, "This machine does not have the address %s", s->config.host);
    return r < 0 ? r : 0;
}

/* ---- accepting ---- */

static void name_peer(const struct sockaddr *a, socklen_t n, char out[NET_PEER_MAX])
{
    char host[INET6_ADDRSTRLEN], port[8];

    if (!getnameinfo(a, n, host, sizeof host, port, sizeof port, NI_NUMERICHOST | NI_NUMERICSERV))
        snprintf(out, NET_PEER_MAX, a->sa_family == AF_INET6 ? "[%s]:%s" : "%s:%s", host, port);
}

static void hand_over(struct net_server *s, int fd, const struct sockaddr *a, socklen_t n)
{
    struct net_io *io = places_pick(s);
    struct net_conn *c = calloc(1, sizeof *c);

    if (!c) {
        close(fd);
        return;
    }
    c->fd = fd;
    c->peer = peer_hash(s, a);
    name_peer(a, n, c->name);
    c->is_near = (uint8_t)is_loopback(a);
    c->io = io;
    places_count(c, 1);
    atomic_fetch_add(&s->accepted_total, 1);
    if (io->index == 0)
        conn_open(c);
    else if (mbox_post(&io->inbox, &c->item))
        mbox_wake(&io->inbox);
}

/* Accept nothing until a connection has closed, and ask the threads to close some that only wait.
 */
static void pause_accept(struct net_server *s)
{
    for (int i = 0; i < s->n_listen; i++)
        event_del(s->listen_ev[i]);
    atomic_store(&s->accept_paused, 1);
    places_want(s);
}

/* 1 when there may be more. */
static int accept_one(struct net_server *s, int listen_fd)
{
    struct sockaddr_storage a = {0};
    socklen_t n = sizeof a;
    int fd = accept4(listen_fd, (struct sockaddr *)&a, &n, SOCK_NONBLOCK | SOCK_CLOEXEC);

    if (fd >= 0) {
        hand_over(s, fd, (struct sockaddr *)&a, n);
        return 1;
    }
    if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
        /* The connection stays in the backlog and the listener readable: rest, don't spin. */
        atomic_fetch_add(&s->accept_fails_total, 1);
        s->accept_again_us = clock_now_us() + ACCEPT_REST_US;
        pause_accept(s);
        return 0;
    }
    return errno == EINTR || errno == ECONNABORTED;
}

static void accept_cb(evutil_socket_t fd, short what, void *ctx)
{
    struct net_server *s = ctx;
    int n = 0;

    while (n++ < NET_ACCEPT_STEP && !places_are_out(s) && accept_one(s, fd))
        ;
    if (places_are_out(s) && !atomic_load(&s->accept_paused)) {
        pause_accept(s);
        listen_resume(s); /* one may have closed just before the flag was up */
    }
}

int listen_start(struct net_server *s)
{
    for (int i = 0; i < s->n_listen; i++) {
        s->listen_ev[i] =
            event_new(s->ios[0].base, s->listen_fd[i], EV_READ | EV_PERSIST, accept_cb, s);
        if (!s->listen_ev[i] || (!atomic_load(&s->is_held) && event_add(s->listen_ev[i], NULL)))
            return ERR_NOMEM;
    }
    if (atomic_load(&s->is_held))
        atomic_store(&s->accept_paused, 1);
    return 0;
}

void listen_resume(struct net_server *s)
{
    if (!atomic_load(&s->accept_paused) || places_are_out(s) || atomic_load(&s->accept_closed) ||
        atomic_load(&s->is_held))
        return;
    if (s->accept_again_us && clock_now_us() < s->accept_again_us)
        return;
    s->accept_again_us = 0;
    atomic_store(&s->accept_paused, 0);
    for (int i = 0; i < s->n_listen; i++)
        event_add(s->listen_ev[i], NULL);
}

void listen_close(struct net_server *s)
{
    for (int i = 0; i < s->n_listen; i++) {
        /* clients in the kernel's backlog are connected as they see it: serve them, too, unless
         * another process does */
        while (atomic_load(&s->is_running) && !atomic_load(&s->is_leaving) && !places_are_out(s) &&
               accept_one(s, s->listen_fd[i]))
            ;
    }
    for (int i = 0; i < s->n_listen; i++) {
        if (s->listen_ev[i])
            event_free(s->listen_ev[i]);
        close(s->listen_fd[i]);
    }
    s->n_listen = 0;
    atomic_store(&s->accept_closed, 1);
}
