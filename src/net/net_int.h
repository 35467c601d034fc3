/* Inside room net: what its server files share. Everything here belongs to one io thread, except
 * what is marked [any] (atomics). */
#ifndef NET_NET_INT_H
#define NET_NET_INT_H

#include <pthread.h>
#include <stdatomic.h>

#include "net/net.h"
#include "net/tls.h"

struct evbuffer;
struct event;
struct event_base;

#define NET_AHEAD_MAX   65536 /* request bytes buffered ahead of an answer; then reading pauses */
#define NET_SKIP_MAX    65536 /* unread body that is dropped to keep a connection */
#define NET_OUT_FREE    65536 /* bytes of a stream that may wait whatever the budget */
#define NET_SHARES      4096  /* owners of memory that are told apart */
#define NET_ACCEPT_STEP 64    /* connections accepted in one turn of the loop */
#define NET_READ_MAX    65536 /* received from one connection at a time */

enum conn_state {
    CONN_SHAKE,  /* TLS's handshake is not over */
    CONN_IDLE,   /* no exchange */
    CONN_HEAD,   /* an exchange, its head unfinished */
    CONN_BUSY,   /* the upper room has an exchange, whose state says more */
    CONN_SKIP,   /* answered; dropping the rest of a small body */
    CONN_FLUSH,  /* no more requests; closing when the output is written */
    CONN_LINGER, /* written and shut down; dropping what still comes */
    CONN_DEAD,   /* to be freed by the next turn of the loop */
};

enum exchange_state {
    EXCHANGE_HEAD,   /* its head is unfinished: the upper room does not know of it */
    EXCHANGE_ASK,    /* on_request was called, the upper room has not asked for the body */
    EXCHANGE_BODY,   /* reading the body */
    EXCHANGE_WORK,   /* on_body was called, no answer yet */
    EXCHANGE_STREAM, /* net_stream_begin was called */
    EXCHANGE_OVER,   /* the upper room has ended it, or is told by on_gone */
};

struct h2;
struct h2_stream;
struct net_conn;

/* An answer whole, or its head. */
struct answer {
    const struct net_header *headers;
    int n_headers, status;
    const char *body;
    size_t n_body;
    char *given; /* the body is in malloc'd memory of this address, to be taken over; else NULL */
};

/* How a connection carries exchanges: a row for each protocol. An exchange that is given to these
 * functions is live: the upper room knows of it, or ends it with this call. */
struct carrier {
    /* Of a connection, from the loop only. */
    void (*advance)(struct net_conn *c); /* use what was received, as far as possible now */
    void (*turn)(struct net_conn *c);    /* output was taken, or the loop came round */
    void (*late)(struct net_conn *c);    /* its deadline has passed */
    void (*fill)(struct net_conn *c);    /* put what waits into the output; or NULL */
    void (*sweep)(struct net_conn *c, int64_t now_us); /* look at time limits; or NULL */
    void (*gone)(struct net_conn *c, int code);        /* it is dead: tell of its live exchanges */
    void (*drop)(struct net_conn *c);                  /* free what it has of exchanges */
    /* Of an exchange, for the upper room. 0 or ERR_NOMEM; of answers' heads also ERR_ARG. */
    void (*read_body)(struct net_exchange *x);                    /* body_begin was called */
    int (*reply)(struct net_exchange *x, const struct answer *a); /* takes a->given, ends it */
    int (*begin)(struct net_exchange *x, const struct answer *a);
    int (*write)(struct net_exchange *x, const char *p, size_t n);
    void (*end)(struct net_exchange *x);
    void (*abort)(struct net_exchange *x);
    void (*wake)(struct net_exchange *x); /* look at its `cut` and `wants_room` in the next turn */
    size_t (*pending)(const struct net_exchange *x);
    struct net_claim *(*out)(const struct net_exchange *x); /* its output that waits */
};
extern const struct carrier h1_carrier; /* net_h1.c: one exchange at a time, HTTP/1.1 */
/* HTTP/2 from now on (net_h2.c); 0 or ERR_NOMEM. The second: its client was not asked by TLS, and
 * began with the first line of its preface, which has been read. */
int h2_open(struct net_conn *c);
int h2_open_plain(struct net_conn *c);

struct net_conn {
    struct mbox_item item; /* first: on the way from the accepting thread */
    struct net_io *io;
    struct event *in_ev, *out_ev;
    const char *in; /* received and not used: in the thread's buffer while it is read, else ahead */
    size_t n_in;
    struct buf ahead;
    struct evbuffer *out_bytes;
    struct tls *tls; /* NULL: plain */
    const struct carrier *carrier;
    struct net_exchange *x; /* of HTTP/1, in HEAD..SKIP */
    struct h2 *h2;          /* of HTTP/2; NULL: HTTP/1 */
    struct net_conn *next, *prev;
    struct net_conn *defer_next;
    struct net_conn *wait_next,
        *wait_prev;          /* of those that wait for their clients, by since when */
    int64_t wait_us;         /* since when; 0: it is not in that list */
    int64_t deadline_us;     /* of IDLE, HEAD, SKIP, LINGER, and while a body is read; 0: none */
    int64_t stall_us;        /* since when the client is behind its output; 0: it is not */
    uint64_t out_total;      /* bytes ever put into the output */
    uint64_t out_seen;       /* of them written when it fell behind */
    struct net_claim out;    /* output that waits */
    uint64_t peer;           /* hash of its address */
    char name[NET_PEER_MAX]; /* its address and port */
    int fd;
    uint8_t state, is_deferred, is_busy, is_eof, is_served, close_after, read_paused, is_reserve,
        is_near, is_ended, /* TLS was told that nothing more is written */
        is_writing;        /* the socket took not all: out_ev waits */
};

struct net_exchange {
    struct net_conn *conn;
    struct h2_stream *stream; /* of HTTP/2; NULL: HTTP/1 */
    struct http_parser parser;
    void *user;
    int64_t started_us;
    struct net_body body;
    size_t body_limit;
    int64_t body_began_us;
    uint64_t owner; /* whose memory its body is */
    int cut;        /* code for on_gone, to be delivered by the next turn */
    uint8_t state, continued, is_chunked, close_after, wants_room;
};

struct net_io {
    struct net_server *server;
    int index;
    pthread_t thread;
    struct event_base *base;
    struct mbox mail;  /* the upper room's */
    struct mbox inbox; /* our own: new connections, wake-ups */
    struct event *mail_ev, *inbox_ev, *defer_ev, *sweep_ev;
    struct net_conn *conns, *deferred, *wait_first, *wait_last;
    int64_t now_us;             /* when conn_open, conn_advance or conn_answered began last */
    _Atomic int want_places;    /* [any] */
    _Atomic int64_t longest_us; /* [any] since when the first of those waits */
    struct buf scratch;         /* heads under construction */
    char *in;                   /* NET_READ_MAX bytes: what was received last */
    char *record;               /* TLS_RECORD_MAX bytes: what is encrypted next */
    int64_t date_s;
    char date[32];
    int drain_seen, idle_drained; /* the second: idle connections have their deadline */
    int n_kept;                   /* net_io_keep */
    _Atomic int n_assigned;       /* connections given to this thread [any] */
};

struct net_server {
    struct net_config config;
    struct net_handler handler;
    struct net_io *ios;
    int n_io_open, n_io_started;
    int port;
    /* listening: io thread 0 */
    int listen_fd[NET_LISTEN_MAX];
    struct event *listen_ev[NET_LISTEN_MAX];
    int n_listen;
    int64_t accept_again_us;  /* not before, after running out of descriptors */
    pthread_mutex_t tls_lock; /* of the next; rank: a leaf */
    struct tls_context *tls;  /* of new connections; NULL: plain */
    uint64_t seed;            /* of hashes of addresses and owners */
    /* [any] */
    _Atomic int is_running, accept_paused, accept_closed, is_draining, is_held, is_leaving,
        n_io_ended;
    _Atomic int64_t drain_deadline_us;
    _Atomic int64_t n_conns, n_exchanges;
    _Atomic int peers[NET_SHARES];                                /* connections by address */
    _Atomic int64_t claimed[NET_CLAIM_KINDS], shares[NET_SHARES]; /* bytes: by kind, by owner */
    _Atomic int64_t accepted_total, requests_total, refused_total, gone_total, slow_total,
        evicted_total, accept_fails_total, shakes_total, shake_fails_total, h2_conns_total,
        h2_resets_total, h2_abuse_total;
};

/* net_server.c */
void net_io_check(const struct net_io *io); /* asserts that this is its thread */

/* net_listen.c */
int listen_open(struct net_server *s, struct err *e);
int listen_start(struct net_server *s);
void listen_resume(struct net_server *s); /* io 0: accept again where that is possible */
void listen_close(struct net_server *s);  /* io 0 or before start: takes what waits first */

/* net_exchange.c */
struct net_exchange *exchange_new(struct net_conn *c); /* NULL without memory */
void exchange_free(struct net_exchange *x);            /* accepts NULL */
int exchange_is_live(const struct net_exchange *x);
void exchange_ask(struct net_exchange *x);            /* its head is there: on_request */
void exchange_body(struct net_exchange *x, int code); /* its body is there, or is not: on_body */
/* on_gone, when it is live. */
void exchange_gone(struct net_exchange *x, int code);
/* on_room, where it was wanted and little waits. */
void exchange_tell_room(struct net_exchange *x);
/* Refuse by net itself, before the upper room knows of it. */
void exchange_refuse(struct net_exchange *x, int status, const char *why);
int answer_has_body(int status);
/* 1 when net lets it through: a name that is not net's own, and text. */
int answer_header_ok(const struct net_header *h, size_t n_value);
const char *answer_date(struct net_io *io);

/* net_conn.c */
void conn_set(struct net_conn *c, enum conn_state state);
void conn_open(struct net_conn *c); /* on its io thread; c->fd and c->io are set */
void conn_defer(struct net_conn *c);
void conn_defer_run(struct net_io *io);
void conn_sweep(struct net_io *io, int64_t now_us);
void conn_drain(struct net_io *io);
void conn_drop(struct net_conn *c); /* instead of conn_open */
void conn_free_all(struct net_io *io);
/* Bytes into the output, sent by the next turn; 0 or ERR_NOMEM. */
int conn_write(struct net_conn *c, const void *p, size_t n);
/* The same of a whole answer, of which the socket gets at once what it takes. a->given is not
 * copied, and freed when it is written, also on failure. */
int conn_write_whole(struct net_conn *c, const struct buf *head, const char *body, size_t n_body,
                     char *given);
size_t conn_pending(const struct net_conn *c);
void conn_cut(struct net_conn *c);            /* close, without on_gone */
void conn_kill(struct net_conn *c, int code); /* from the loop only: on_gone, then close */
/* No more requests: what is in the output goes out, then the connection closes. */
void conn_finish(struct net_conn *c);
const struct net_config *conn_config(const struct net_conn *c);
int64_t conn_deadline(const struct net_conn *c, int ms); /* from io->now_us on */
int64_t conn_idle_deadline(const struct net_conn *c);    /* the same, for its next request */

/* net_h1_answer.c: what h1_carrier answers with */
int h1_reply(struct net_exchange *x, const struct answer *a);
int h1_begin(struct net_exchange *x, const struct answer *a);
int h1_write(struct net_exchange *x, const char *p, size_t n);
void h1_end(struct net_exchange *x);
/* net_h1.c: the answer is complete in the output: go on with the connection. */
void h1_answered(struct net_conn *c);

/* net_wire.c: bytes from and to the socket, through TLS where there is one */
enum { WIRE_AGAIN = -1, WIRE_AGAIN_OUT = -2, WIRE_BROKEN = -3, WIRE_PLAIN = -4 };
int wire_open(struct net_conn *c); /* its TLS, if it has one; 0 or ERR_NOMEM */
void wire_close(struct net_conn *c);
/* 0: it is done; WIRE_AGAIN; WIRE_AGAIN_OUT: when the socket can be written; or it failed, and is
 * plain from now on: WIRE_BROKEN, WIRE_PLAIN: the client does not speak TLS, but perhaps HTTP. */
int wire_shake(struct net_conn *c);
ssize_t wire_read(struct net_conn *c, char *p, size_t n); /* bytes, 0: end, WIRE_AGAIN, BROKEN */
int wire_write(struct net_conn *c); /* of its output what the socket takes; 0, -1: broken */
/* At once, past the output, where nothing waits in it: how many bytes were taken. Where the socket
 * is broken none, and the next turn finds out. */
size_t wire_send(struct net_conn *c, const struct buf *head, const char *body, size_t n_body);
/* Nothing more is written: 0, or WIRE_AGAIN_OUT. */
int wire_end(struct net_conn *c);

/* net_places.c */
void places_note(struct net_conn *c);      /* after its state has changed */
void places_enter(struct net_conn *c);     /* new: another is closed for it, or it is in reserve */
int places_is_reserve(struct net_conn *c); /* still */
struct net_io *places_pick(struct net_server *s); /* [any]: where a new one goes */
void places_count(struct net_conn *c, int n);     /* [any]: +1 when accepted, -1 at its end */
int places_are_out(const struct net_server *s);   /* [any]: reserve ones as well */
void places_want(struct net_server *s);           /* [any]: every thread shall make some */
void places_make(struct net_io *io);              /* where they were wanted */
void places_allow_files(
    const struct net_config *c); /* raise the process' limit as far as allowed */

/* net_budget.c */
/* Memory that is there already: counted, whatever the budget. */
void budget_note(struct net_claim *c, size_t bytes);
int budget_is_over(const struct net_claim *c);

/* net_body.c */
int body_begin(struct net_exchange *x, size_t limit); /* 0, ERR_TOO_LARGE, ERR_NOMEM */
int body_add(struct net_exchange *x, const char *p, size_t n);
void body_finish(struct net_exchange *x);
int64_t body_due_us(const struct net_exchange *x); /* more must have come, or all */

#endif
