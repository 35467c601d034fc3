/* Inside the client of room net: what its files share. All of it belongs to one io thread, except
 * struct upstream, of which nobody changes more than rtt_us once it is open, and what is marked in
 * upstream_name.c.
 *
 *   upstream.c       the service, and the door: begin, cancel, pause
 *   upstream_ask.c   a request's bytes
 *   upstream_name.c  the service's addresses, looked up by a thread
 *   upstream_link.c  a connection: address, proxy, TLS, bytes out; those that are kept
 *   upstream_work.c  the walk of a request: deadlines, the answer, telling the upper room
 *
 * The upper room is told of an answer's bytes where they are read, and of ends by a list that the
 * loop works off (upstream_todo): never from inside a call that it made. Whatever it does when it
 * is told, also to other requests, is done at once. */
#ifndef NET_UPSTREAM_INT_H
#define NET_UPSTREAM_INT_H

#include <stdatomic.h>
#include <sys/socket.h>

#include "base/buf.h"
#include "base/mbox.h"
#include "net/http.h"
#include "net/tls.h"
#include "net/upstream.h"
#include "net/url.h"

struct event;
struct net_io;
struct upstream_lookup;

#define UPSTREAM_HEADERS_MAX   40    /* of a request */
#define UPSTREAM_ASK_MAX       32768 /* bytes of a request's head */
#define UPSTREAM_IN_MAX        32768 /* bytes of an answer, read at once */
#define UPSTREAM_ADDRESSES_MAX 8

enum upstream_phase {
    PHASE_CONNECT, /* until the request may be sent: address, connection, proxy, TLS */
    PHASE_WAIT,    /* until the head is complete */
    PHASE_BODY,
    PHASE_DONE, /* its connection is no longer its own; on_end is to be called */
};

struct upstream_request {
    struct upstream_io *io;
    struct upstream_handler handler;
    struct upstream_request *next, *prev; /* of those under way */
    struct upstream_request *todo_next;
    struct upstream_link *link; /* NULL: none yet, or no more */
    uint8_t phase;
    uint8_t is_todo;
    uint8_t is_ended;   /* cancelled, or on_end was called */
    uint8_t is_busy;    /* the upper room is being told */
    uint8_t is_paused;  /* by the upper room */
    uint8_t is_again;   /* its kept connection had ended: it goes out on a new one */
    uint8_t has_answer; /* a byte of it came */
    int code;           /* of the end, with why */
    const char *why;
    /* times, by CLOCK_MONOTONIC */
    int64_t begun_us, mark_us; /* mark: when the phase began, or its last byte came */
    int64_t sent_us;           /* first; 0: not yet */
    int64_t due_us;
    int first_byte_ms;
    struct buf ask; /* its head; empty once nobody needs it */
    const char *body;
    size_t n_body, n_all, n_out; /* all: head and body; out: bytes of that which were taken */
    struct http_parser parser;
    size_t n_answer;
    int status;
    struct buf held; /* bytes that came before a pause, unread */
};

enum link_step {
    LINK_CONNECT, /* TCP */
    LINK_PROXY,   /* the proxy is asked for a tunnel */
    LINK_TLS,
    LINK_READY,
};

/* A connection: a request's, or kept for the next one. */
struct upstream_link {
    struct upstream_io *io;
    struct upstream_request *r;        /* NULL: it is kept */
    struct upstream_link *next, *prev; /* of those kept */
    struct event *in_ev, *out_ev;
    struct tls *tls; /* NULL: plain */
    int fd;
    uint8_t step;
    uint8_t is_used; /* an exchange ended well on it */
    uint8_t is_deaf; /* not read, during a pause */
    int i_address;
    int64_t opened_us, kept_us;
    int64_t due_us; /* of the attempt at this address */
    size_t n_out;   /* bytes of the tunnel's request that were taken */
};

struct upstream_addresses {
    struct sockaddr_storage a[UPSTREAM_ADDRESSES_MAX];
    socklen_t len[UPSTREAM_ADDRESSES_MAX];
    int n;
};

struct upstream_io {
    struct upstream *up;
    struct net_io *net;
    struct event *todo_ev, *sweep_ev;
    struct upstream_request *requests, *todo_first, *todo_last;
    int n_requests;
    struct upstream_link *kept, *kept_last; /* the last used is the first */
    int64_t now_us, sweep_us;               /* sweep: when the next is due; 0: none is */
    char *in;                               /* UPSTREAM_IN_MAX: what was just read */
    /* addresses of the service or its proxy */
    struct upstream_addresses addresses;
    int64_t addresses_us;           /* until when they are believed */
    struct upstream_lookup *lookup; /* under way */
    struct mbox lookup_box;
    struct event *lookup_ev;
};

struct upstream {
    struct upstream_config config;
    char *base_url, *ca_file, *proxy_url, *user_agent; /* config's, copied */
    struct url url, proxy;
    int has_proxy;
    char *target; /* what stands before a request's path */
    char *lines;  /* of each request: Host and so on */
    char *tunnel; /* the request for one; NULL: none is needed */
    struct tls_context *tls;
    struct net_server *server;
    _Atomic int64_t rtt_us; /* a running mean; a lost update does not matter */
    int n_io;
    struct upstream_io io[]; /* by io thread */
};

/* upstream_ask.c */
int upstream_ask_prepare(struct upstream *u); /* target, lines, tunnel; 0 or ERR_NOMEM */
int upstream_ask_make(struct upstream_request *r, const struct upstream_ask *a, struct err *e);

/* upstream_name.c */
int upstream_name_open(struct upstream_io *io); /* 0 or ERR_NOMEM */
void upstream_name_close(struct upstream_io *io);
/* 1: the addresses are there. 0: they are being looked up, and upstream_named will be called.
 * ERR_NOMEM. */
int upstream_name_get(struct upstream_io *io);

/* upstream_link.c: each says what came of it by the functions of upstream_work.c. */
/* A kept connection in good order, or NULL. */
struct upstream_link *upstream_link_take(struct upstream_io *io);
/* A new one for r, to an address that is known. 0, or r has failed. */
int upstream_link_dial(struct upstream_request *r);
void upstream_link_next(struct upstream_link *l); /* this address takes too long: try the next */
void upstream_link_send(struct upstream_link *l); /* r's bytes, as many as are taken */
/* The exchange has ended: keep it if `well`, or close it. */
void upstream_link_leave(struct upstream_link *l, int well);
void upstream_link_close(struct upstream_link *l);
void upstream_link_listen(struct upstream_link *l, int on);
ssize_t upstream_link_read(struct upstream_link *l, void *p, size_t n); /* as tls_read */
void upstream_link_expire(struct upstream_io *io); /* close what was kept too long */

/* upstream_work.c */
int upstream_work_open(struct upstream_io *io); /* 0 or ERR_NOMEM */
void upstream_work_close(struct upstream_io *io);
void upstream_now(struct upstream_io *io); /* look at the clock */
void upstream_todo(struct upstream_request *r);
void upstream_sweep_by(struct upstream_io *io, int64_t us);
void upstream_expect(struct upstream_request *r); /* set its deadline from its phase */
/* It ends with that: its connection is closed, and on_end called when the loop comes round. */
void upstream_fail(struct upstream_request *r, int code, const char *why);
void upstream_named(struct upstream_io *io, int code); /* the addresses were looked up */
void upstream_ready(struct upstream_request *r);       /* its connection stands: send */
void upstream_readable(struct upstream_request *r);    /* there is something to read, or the end */
void upstream_request_enter(struct upstream_request *r);
void upstream_request_leave(struct upstream_request *r);
void upstream_request_free(struct upstream_request *r); /* when nobody holds it */

#endif
