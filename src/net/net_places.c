/* Places for connections: who gets one, and who must leave when they are short.
 *
 * A connection that waits for its client (idle, in the middle of a head, after its last answer) has
 * no right to stay: when all places are taken, or all of one address, those that have waited
 * longest are closed for new ones. When none can be closed, a new connection gets one of a few
 * reserve places beyond the limit, so that the upper room can still answer health checks. When
 * these are taken, too, clients wait in the kernel's backlog. */
#include <sys/ioctl.h>
#include <sys/resource.h>

#include <event2/buffer.h>

#include "base/clock.h"
#include "net/net_int.h"

#define LOOK_MAX    256 /* connections looked at for one that can go */
#define AT_ONCE     16  /* closed in one go while accepting pauses */
#define OTHER_FILES 256 /* descriptors for all else */

static int waits(const struct net_conn *c)
{
    return c->state == CONN_SHAKE || c->state == CONN_IDLE || c->state == CONN_HEAD ||
           c->state == CONN_SKIP || c->state == CONN_LINGER;
}

void places_note(struct net_conn *c)
{
    struct net_io *io = c->io;

    if (c->wait_us) {
        *(c->wait_prev ? &c->wait_prev->wait_next : &io->wait_first) = c->wait_next;
        *(c->wait_next ? &c->wait_next->wait_prev : &io->wait_last) = c->wait_prev;
    }
    c->wait_us = 0;
    if (waits(c)) {
        c->wait_us = io->now_us;
        c->wait_next = NULL;
        c->wait_prev = io->wait_last;
        *(io->wait_last ? &io->wait_last->wait_next : &io->wait_first) = c;
        io->wait_last = c;
    }
    atomic_store_explicit(&io->longest_us, io->wait_first ? io->wait_first->wait_us : INT64_MAX,
                          memory_order_relaxed);
}

/* 1 when no byte is on its way, in either direction. */
static int is_quiet(const struct net_conn *c)
{
    int unread = 0;

    return conn_pending(c) == 0 && !ioctl(c->fd, FIONREAD, &unread) && unread == 0;
}

/* Close the connection that has waited longest, among those of *peer if it is given; 0 when none
 * can be closed. */
static int evict(struct net_io *io, const uint64_t *peer)
{
    int64_t latest = clock_now_us() - (int64_t)io->server->config.evict_after_ms * 1000;
    struct net_conn *c = io->wait_first;

    for (int n = 0; c && c->wait_us <= latest && n < LOOK_MAX; n++, c = c->wait_next) {
        if ((!peer || c->peer == *peer) && is_quiet(c)) {
            atomic_fetch_add(&io->server->evicted_total, 1);
            conn_cut(c);
            return 1;
        }
    }
    return 0;
}

static _Atomic int *peers_of(const struct net_conn *c)
{
    return &c->io->server->peers[c->peer % NET_SHARES];
}

static int is_peers_full(const struct net_conn *c)
{
    const struct net_config *config = &c->io->server->config;

    if (!config->conns_per_peer || (c->is_near && config->near_is_free))
        return 0;
    return atomic_load(peers_of(c)) > config->conns_per_peer;
}

static int is_full(const struct net_server *s, int more)
{
    return atomic_load(&s->n_conns) > s->config.conns_max + more;
}

void places_enter(struct net_conn *c)
{
    c->is_reserve = is_peers_full(c)            ? !evict(c->io, &c->peer)
                    : is_full(c->io->server, 0) ? !evict(c->io, NULL)
                                                : 0;
}

int places_is_reserve(struct net_conn *c)
{
    if (c->is_reserve && !is_peers_full(c) && !is_full(c->io->server, 0))
        c->is_reserve = 0; /* one became free meanwhile */
    return c->is_reserve;
}

/* The thread for a new connection: the one with the fewest; when one must be closed for it, the
 * thread whose connection has waited longest. */
struct net_io *places_pick(struct net_server *s)
{
    int by_wait = is_full(s, -1);
    struct net_io *best = &s->ios[0];

    for (int i = 1; i < s->config.n_io; i++) {
        struct net_io *io = &s->ios[i];
        if (by_wait ? atomic_load(&io->longest_us) < atomic_load(&best->longest_us)
                    : atomic_load(&io->n_assigned) < atomic_load(&best->n_assigned))
            best = io;
    }
    return best;
}

void places_count(struct net_conn *c, int n)
{
    atomic_fetch_add(&c->io->server->n_conns, n);
    atomic_fetch_add(&c->io->n_assigned, n);
    atomic_fetch_add(peers_of(c), n);
}

int places_are_out(const struct net_server *s)
{
    return is_full(s, s->config.conns_reserve - 1);
}

void places_want(struct net_server *s)
{
    for (int i = 0; i < s->n_io_open; i++) {
        atomic_store(&s->ios[i].want_places, 1);
        mbox_wake(&s->ios[i].inbox);
    }
}

void places_make(struct net_io *io)
{
    if (atomic_exchange(&io->want_places, 0)) {
        for (int i = 0; i < AT_ONCE && evict(io, NULL); i++)
            ;
    }
}

void places_allow_files(const struct net_config *c)
{
    rlim_t want = (rlim_t)(c->conns_max + c->conns_reserve + OTHER_FILES);
    struct rlimit l;

    if (getrlimit(RLIMIT_NOFILE, &l) || l.rlim_cur >= want)
        return;
    l.rlim_cur = l.rlim_max < want ? l.rlim_max : want;
    (void)setrlimit(RLIMIT_NOFILE, &l); /* else accepting rests when they run out */
}
