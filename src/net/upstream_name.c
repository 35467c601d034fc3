/* The addresses of a service, or of the proxy on the way to it.
 *
 * An IP address is its own. A name is looked up by a thread that ends with its answer, as the
 * system's resolver blocks; its answer is believed for DNS_US, and longer where the next look-up
 * fails. A lookup belongs to its thread and to the io thread that waits for it: whoever is through
 * with it last frees it. A service that is closed does not wait for it. */
#include <netdb.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <event2/event.h>

#include "net/net_int.h"
#include "net/upstream_int.h"

#define DNS_US   INT64_C(60000000) /* how long an address is believed */
#define AGAIN_US INT64_C(5000000)  /* after a look-up that failed, while old ones are known */

struct upstream_lookup {
    struct mbox_item item; /* first */
    pthread_mutex_t lock;
    struct mbox *home; /* NULL: nobody waits any more */
    int n_owners;
    char host[URL_HOST_MAX];
    int port;
    int code;
    struct upstream_addresses found;
};

/* Of name or IP address; flags as getaddrinfo's. */
static int find(const char *host, int port, int flags, struct upstream_addresses *ret)
{
    const struct addrinfo hints = {
        .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV | flags, .ai_family = AF_UNSPEC};
    struct addrinfo *list;
    char text[8];

    snprintf(text, sizeof text, "%d", port);
    ret->n = 0;
    if (getaddrinfo(host, text, &hints, &list))
        return ERR_CONNECT;
    for (const struct addrinfo *a = list; a && ret->n < UPSTREAM_ADDRESSES_MAX; a = a->ai_next) {
        if (a->ai_addrlen > sizeof ret->a[0])
            continue;
        memcpy(&ret->a[ret->n], a->ai_addr, a->ai_addrlen);
        ret->len[ret->n++] = a->ai_addrlen;
    }
    freeaddrinfo(list);
    return ret->n ? 0 : ERR_CONNECT;
}

/* One of its owners is through with it. */
static void lookup_leave(struct upstream_lookup *l)
{
    int left;

    pthread_mutex_lock(&l->lock);
    left = --l->n_owners;
    pthread_mutex_unlock(&l->lock);
    if (left)
        return;
    pthread_mutex_destroy(&l->lock);
    free(l);
}

static void *lookup_main(void *ctx)
{
    struct upstream_lookup *l = ctx;

    l->code = find(l->host, l->port, 0, &l->found);
    pthread_mutex_lock(&l->lock);
    if (l->home && mbox_post(l->home, &l->item))
        mbox_wake(l->home);
    pthread_mutex_unlock(&l->lock);
    lookup_leave(l);
    return NULL;
}

static int lookup_begin(struct upstream_io *io, const struct url *url)
{
    struct upstream_lookup *l = calloc(1, sizeof *l);
    pthread_attr_t attr;
    pthread_t thread;
    int r;

    if (!l)
        return ERR_NOMEM;
    pthread_mutex_init(&l->lock, NULL);
    l->home = &io->lookup_box;
    l->n_owners = 2;
    memcpy(l->host, url->host, sizeof l->host);
    l->port = url->port;
    pthread_attr_init(&attr);
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    r = pthread_create(&thread, &attr, lookup_main, l);
    pthread_attr_destroy(&attr);
    if (r) {
        l->n_owners = 1;
        lookup_leave(l);
        return ERR_NOMEM;
    }
    io->lookup = l;
    return 0;
}

static void lookup_cb(evutil_socket_t fd, short what, void *ctx)
{
    struct upstream_io *io = ctx;
    struct mbox_item *list;
    struct upstream_lookup *l;
    int code;

    mbox_clear(&io->lookup_box);
    list = mbox_take(&io->lookup_box);
    l = (struct upstream_lookup *)mbox_next(&list);
    if (!l)
        return;
    upstream_now(io);
    code = l->code;
    if (!code) {
        io->addresses = l->found;
        io->addresses_us = io->now_us + DNS_US;
    } else if (io->addresses.n) {
        io->addresses_us = io->now_us + AGAIN_US;
        code = 0;
    }
    io->lookup = NULL;
    lookup_leave(l);
    upstream_named(io, code);
}

static const struct url *url_of(const struct upstream *u)
{
    return u->has_proxy ? &u->proxy : &u->url;
}

/* On the io thread: nobody else may add to its loop. */
static int open_box(struct upstream_io *io)
{
    if (io->lookup_ev)
        return 0;
    if (io->lookup_box.fd < 0 && mbox_open(&io->lookup_box))
        return ERR_NOMEM;
    io->lookup_ev =
        event_new(io->net->base, io->lookup_box.fd, EV_READ | EV_PERSIST, lookup_cb, io);
    return !io->lookup_ev || event_add(io->lookup_ev, NULL) ? ERR_NOMEM : 0;
}

int upstream_name_get(struct upstream_io *io)
{
    if (io->addresses.n && io->addresses_us > io->now_us)
        return 1;
    if (io->lookup)
        return 0;
    return open_box(io) ? ERR_NOMEM : lookup_begin(io, url_of(io->up));
}

int upstream_name_open(struct upstream_io *io)
{
    const struct url *url = url_of(io->up);

    io->lookup_box.fd = -1;
    if (!url->is_address)
        return 0;
    io->addresses_us = INT64_MAX;
    return find(url->host, url->port, AI_NUMERICHOST, &io->addresses) ? ERR_NOMEM : 0;
}

void upstream_name_close(struct upstream_io *io)
{
    struct upstream_lookup *l = io->lookup;

    if (l) {
        pthread_mutex_lock(&l->lock);
        l->home = NULL;
        pthread_mutex_unlock(&l->lock);
        lookup_leave(l);
    }
    if (io->lookup_ev)
        event_free(io->lookup_ev);
    if (io->lookup_box.fd >= 0)
        mbox_close(&io->lookup_box);
}
