/* Room net: sockets and the bytes of HTTP/1.1 and HTTP/2, not their meaning.
 *
 * Owns: listeners, connections, io threads, request bytes on their way in and answer bytes on
 * their way out. What a path, a key or a body means is the upper room's.
 *
 * Threads: `n_io` io threads, each with its own loop; a connection belongs to one for life. Every
 * function that takes a `struct net_exchange` must be called on that exchange's io thread
 * (checked). Work done elsewhere comes home through the io thread's mailbox (net_io_mbox), which
 * wakes the loop and calls on_mail. Functions marked [any] may be called on any thread.
 *
 * One request, one exchange:
 *
 *   on_request   the head is parsed and checked; NOTHING of the body has been read. Decide, now
 *                or later on the same thread, by exactly one of
 *                  net_reply / net_stream_begin   answer without the body
 *                  net_read_body                  have it read, up to a limit
 *                (until then the client waits: reading is paused)
 *   on_body      after net_read_body: the whole body is there, or could not be had (`code`): then
 *                answer with an error, the connection is closed after it
 *   on_gone      the client left, or was cut, before the answer was ended
 *
 * The exchange lives from on_request until the upper room ends it (net_reply, net_stream_end,
 * net_abort) or on_gone returns; exactly one of the two happens, and the pointer must not be used
 * after it. No callback is ever made from inside a call made by the upper room.
 *
 * HTTP/2 is spoken where TLS agrees on it, and on plain connections whose client begins with it.
 * The upper room does not see which protocol carries an exchange. With HTTP/2 one connection
 * carries many at once, each on a stream of its own, and what is said here of a connection holds
 * for the stream wherever only one exchange is meant: a client leaves by a reset of its stream, and
 * is cut by one; a body that nobody asked for waits under the stream's flow control; a client that
 * does not read one answer is behind in that answer alone. net_close_after closes the connection
 * once all that runs on it has ended. A connection has its place, its owner's address and its time
 * limits of idleness as with HTTP/1, and it is idle while it has no stream. Its trailers,
 * priorities and unknown frames are dropped.
 *
 * A client's end-of-file counts as leaving, also when it only shut down its writing side
 * (half-close): the two cannot be told apart, and computing an answer that nobody reads would be
 * the worse mistake. An answer that was ended before is still delivered. The end is noticed at once
 * while nothing is being written; within a second where the client sent over 64 KiB of further
 * requests ahead; and only by a failing write where these requests fill the kernel's buffers.
 *
 * Requests of one connection of HTTP/1 are served one after the other, answers in the order of
 * requests.
 *
 * Limits (struct net_config): connections (those that wait are closed for new ones, then reserve
 * places are used, then accepting pauses), head size and fields, body bytes of one request, of one
 * owner and of the process, the time of a head, the rate of a body and of reading an answer, bytes
 * waiting in a stream; with HTTP/2 also its streams at once, and floods: resets of requests that
 * are not answered yet, and of those that are too many at once (32 a second, 256 at once), frames
 * that bring nothing (64 a second, 2,048 at once, and two for each frame of an answer), heads over
 * four times their limit. Each has an answer: 400, 408, 413, 414, 417, 431, 501, 503, 505, or the
 * connection is closed; a flood is told ENHANCE_YOUR_CALM.
 *
 * With TLS (struct net_config) the handshake has the time of a head; a client that speaks plain
 * HTTP gets a 400. */
#ifndef NET_NET_H
#define NET_NET_H

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/mbox.h"
#include "net/http.h"

struct net_server;
struct net_exchange;
struct net_timer;
struct tls_context;

#define NET_STREAMS_MAX 1000 /* of one connection of HTTP/2 */

struct net_config {
    const char *host; /* name or address; every address it has is bound ("::" also takes IPv4) */
    int port;         /* 0: any free one, see net_server_port */
    int n_io;         /* io threads, 1..64 */
    int conns_max;
    int conns_reserve;  /* further places in reserve; see net_is_reserve */
    int conns_per_peer; /* of one address (IPv6: its first 64 bits); 0: no limit of its own */
    int near_is_free;   /* loopback addresses have none */
    int evict_after_ms; /* a connection that waits so long for its client may be closed for others
                         */
    int backlog;
    int header_timeout_ms; /* first byte of a request to the end of its head */
    int body_timeout_ms;   /* for a body, and a second more for each rate_min that have come */
    int idle_timeout_ms;   /* between requests */
    int stall_timeout_ms;  /* for a client behind its answer, and a second more for each rate_min
                              that it has taken since: then it is cut */
    int rate_min;          /* bytes a second, 16 KiB: of a body, of an answer that is waiting */
    int linger_ms;         /* after a refusal: read and drop what still comes, so that the client
                              sees the answer and not a reset (of HTTP/2: as long as for a body, and
                       at most 64 MiB of it) */
    int drain_idle_ms;     /* how long a drain leaves idle connections open */
    size_t stream_pending_max; /* bytes waiting in one stream; beyond: cut */
    size_t body_budget_bytes;  /* all claims together; one owner's are at most half of it */
    struct http_limits http;
    int h2_streams; /* requests under way on one connection of HTTP/2; 0: it is not spoken */
    struct tls_context *tls; /* of a server (tls_server.h), or NULL: plain HTTP */
    /* Sockets that listen already, in place of host and port; the server owns them from the moment
     * it is open. */
    const int *listen_fds;
    int n_listen_fds;
    int is_held; /* accept nobody before net_server_accept */
};

/* Fills every member: 127.0.0.1:8080, 1 io thread, 4,096 connections and 32 in reserve, 10 s heads,
 * 20 s bodies, 75 s idle, 30 s stall, 16 KiB a second, 2 s linger, 250 ms idle in a drain, 1 MiB
 * per stream, 256 MiB of claims, 128 streams of HTTP/2 a connection. */
void net_config_default(struct net_config *c);
/* How long a client may take that has brought, or taken, n bytes so far. [any] */
int64_t net_patience_us(const struct net_config *c, int timeout_ms, uint64_t n);
/* 1 when every address of `host` is a loopback address; 0 otherwise or when unknown. [any] */
int net_host_is_loopback(const char *host);
int net_host_is_known(const char *host); /* 1 when it has an address [any] */

/* The way upward. All but on_refuse are called on io threads; none may block. */
struct net_handler {
    void *ctx;
    void (*on_request)(void *ctx, struct net_exchange *x);
    /* code 0: see net_body. ERR_TOO_LARGE: over the limit (413). ERR_NOMEM: the body budget is
     * spent (503). ERR_TIMEOUT: too slow (408). ERR_FORMAT: malformed chunks (400). */
    void (*on_body)(void *ctx, struct net_exchange *x, int code);
    /* ERR_CANCELLED: the client left. ERR_SLOW_READER: cut, it did not read. ERR_DRAINING: cut at
     * the deadline of a drain. ERR_NOMEM: cut, no memory for its answer. */
    void (*on_gone)(void *ctx, struct net_exchange *x, int code);
    /* After net_want_room: most of what was written to the stream is taken. May be NULL. */
    void (*on_room)(void *ctx, struct net_exchange *x);
    /* The mailbox of this io thread was woken: mbox_take(net_io_mbox(server, io)) it. May be NULL.
     * Also called once when the io thread starts. */
    void (*on_mail)(void *ctx, int io);
    /* Write a JSON body for bytes that net refused by itself, before there was an exchange
     * (malformed head, slow head). May be NULL: a plain sentence is sent. */
    void (*on_refuse)(void *ctx, int status, const char *why, struct buf *body);
};

/* Binds and listens (so that the port is known and errors come early), starts nothing.
 * `c` and `h` are copied; when it succeeds, the server owns c->tls. ERR_IO with a sentence,
 * ERR_ARG, ERR_NOMEM. */
int net_server_open(struct net_server **ret_server, const struct net_config *c,
                    const struct net_handler *h, struct err *e);
int net_server_start(struct net_server *s, struct err *e);
void net_server_accept(struct net_server *s); /* of one that is held, from now on [any] */
/* The sockets that it listens on, to be handed to another process; how many. Until a drain begins
 * they stay open. [any] */
#define NET_LISTEN_MAX 16
int net_server_listeners(const struct net_server *s, int ret_fd[NET_LISTEN_MAX]);
/* 0 when each is a socket of TCP that listens. ERR_ARG. [any] */
int net_listeners_check(const int *fd, int n, struct err *e);
int net_listeners_are_loopback(const int *fd, int n); /* 1: all of them [any] */
int net_listeners_port(const int *fd, int n);         /* of the last [any] */
/* The TLS of connections that come from now on; the server had one and owns this one. [any] */
void net_server_set_tls(struct net_server *s, struct tls_context *tls);
int net_server_port(const struct net_server *s); /* [any] */

/* Stop accepting, answer what is under way and what still comes on open connections with
 * `Connection: close`, close those that stay idle (drain_idle_ms), and let the io threads
 * end when the last exchange has; after deadline_ms cut what is left. A later
 * call can only shorten the deadline. [any], also a signal handler. */
void net_server_drain(struct net_server *s, int deadline_ms);
/* The same where another process goes on accepting from the same sockets: what waits there is left
 * to it, and idle connections stay open until their client asks once more or closes, so that no
 * request is lost on its way. A drain may follow, which closes them. [any] */
void net_server_leave(struct net_server *s, int deadline_ms);
int net_server_accepts(const struct net_server *s);     /* [any] 0: its sockets are closed */
int net_server_has_ended(const struct net_server *s);   /* [any] all io threads of a drain */
int net_server_is_draining(const struct net_server *s); /* [any] */
int net_server_is_over(const struct net_server *s);     /* [any] the drain's deadline has passed */
/* Work without a connection keeps an io thread in a drain: +1 when it begins, -1 when it has ended.
 * Its owner ends it when the drain's deadline has passed. On that io thread. */
void net_io_keep(struct net_server *s, int io, int add);
void net_server_join(struct net_server *s); /* until the io threads have ended */
/* Drains at once and joins if still running. Mailboxes live until here. Accepts NULL. */
void net_server_close(struct net_server *s);

struct net_stats {
    int64_t n_conns;            /* open now */
    int64_t n_exchanges;        /* under way now */
    int64_t body_bytes;         /* claimed of the budget for requests */
    int64_t answer_bytes;       /* and for answers */
    int64_t accepted_total;     /* connections */
    int64_t requests_total;     /* heads handed up */
    int64_t refused_total;      /* malformed, too large or too slow, refused by net itself */
    int64_t gone_total;         /* on_gone: all reasons */
    int64_t slow_total;         /* of these: cut for not reading */
    int64_t evicted_total;      /* connections closed for others while they waited */
    int64_t accept_fails_total; /* out of file descriptors or memory while accepting */
    int64_t shakes_total;       /* TLS: handshakes that were completed */
    int64_t shake_fails_total;  /* and those that were not, for a reason of TLS */
    int64_t h2_conns_total;     /* connections that spoke HTTP/2 */
    int64_t h2_resets_total;    /* its requests that were reset before their answer had ended */
    int64_t h2_abuse_total;     /* its connections that were closed for asking too much of net */
    int64_t tls_expiry_s;       /* when the certificate in use expires, Unix time; 0: no TLS */
};
void net_server_stats(struct net_server *s, struct net_stats *ret); /* [any] */

/* ---- io threads: mailboxes and timers ---- */

int net_n_io(const struct net_server *s);               /* [any] */
struct mbox *net_io_mbox(struct net_server *s, int io); /* [any] to post; io thread to take */
/* On that io thread: on_mail is called when its loop comes round, as after a wake, without a system
 * call. */
void net_io_mail(struct net_server *s, int io);
/* A timer of one io thread; create, arm, stop and free there (or before net_server_start). */
struct net_timer *net_timer_new(struct net_server *s, int io, void (*fn)(void *ctx), void *ctx);
void net_timer_arm(struct net_timer *t, int ms); /* once; replaces what was armed */
void net_timer_free(struct net_timer *t);        /* also inside its own fn; accepts NULL */

/* ---- the request ---- */

const struct http_head *net_head(const struct net_exchange *x); /* until the exchange ends */
int net_io(const struct net_exchange *x);                       /* index of its io thread */
int64_t net_started_us(const struct net_exchange *x);           /* clock_now_us at the first byte */
void net_set_user(struct net_exchange *x, void *user);
void *net_user(const struct net_exchange *x); /* NULL until set */
/* 1 when its connection is on a reserve place: all places, or all of its address, were taken, and
 * no other connection could be closed. The upper room should say so in its answer, after which the
 * connection is closed. */
int net_is_reserve(const struct net_exchange *x);
int net_is_near(const struct net_exchange *x); /* from a loopback address */
/* Whose claims it makes, where the upper room knows better than by its peer's address (an IPv6 one
 * counts by its first 64 bits). Before the body is read. */
void net_set_owner(struct net_exchange *x, uint64_t owner);
#define NET_PEER_MAX 64
const char *net_peer(const struct net_exchange *x); /* "127.0.0.1:5"; until the exchange ends */

/* Memory counted against the budget, in the name of the exchange's owner; it may outlive the
 * exchange. An owner's claims are never more than what they leave free for others. Set to more: 0,
 * or ERR_NOMEM and it stays as it was; to less: 0, always. A zeroed claim counts nothing. [any],
 * one thread at a time. */
enum net_claim_kind { NET_CLAIM_BODY, NET_CLAIM_ANSWER, NET_CLAIM_KINDS };
struct net_claim {
    struct net_server *server;
    uint64_t owner;
    size_t bytes;
    enum net_claim_kind kind;
};
void net_claim_init(struct net_claim *c, const struct net_exchange *x, enum net_claim_kind kind);
int net_claim_set(struct net_claim *c, size_t bytes);
size_t net_claim_most(const struct net_server *s); /* what one owner can ever have */

/* Have the body read. Sends `100 Continue` when the client waits for it. 0: on_body follows (also
 * for no body at all). ERR_TOO_LARGE, ERR_NOMEM (body budget): nothing was begun, answer now. */
int net_read_body(struct net_exchange *x, size_t limit);
/* The body after on_body(0): NUL-terminated (not counted), valid until the exchange ends. */
const char *net_body(const struct net_exchange *x, size_t *ret_len);
/* Or take it away, for work on another thread: it then outlives the exchange and counts against
 * the budget until net_body_done. */
struct net_body {
    char *data; /* NUL-terminated */
    size_t len;
    struct net_claim claim;
};
void net_body_take(struct net_exchange *x, struct net_body *ret_body);
void net_body_done(struct net_body *b); /* [any]; accepts a zeroed one */

/* ---- the answer ---- */

struct net_header {
    const char *name; /* the program's own, never of others: it is taken as it is */
    const char *value;
};

/* net adds Date, Content-Length or Transfer-Encoding, and Connection where needed (HTTP/2: the
 * first two). A header of those names, or with bytes in its value that do not belong there, is left
 * out and ERR_ARG returned; the answer is sent all the same. HEAD: the body is left out, its length
 * told. 204 and 304 have none. With an empty body Content-Type is left out. */

/* The whole answer; ends the exchange. */
int net_reply(struct net_exchange *x, int status, const struct net_header *h, int n_h,
              const void *body, size_t n);

/* The same; the buffer's memory is taken and leaves the caller with an empty one. */
int net_reply_buf(struct net_exchange *x, int status, const struct net_header *h, int n_h,
                  struct buf *body);

/* An answer in pieces (SSE): chunked, until close for HTTP/1.0, in frames for HTTP/2. Each write is
 * sent when the loop comes round. Begin sends the head at once. */
int net_stream_begin(struct net_exchange *x, int status, const struct net_header *h, int n_h);
/* 0, or ERR_SLOW_READER (ceiling passed, or the budget and more than 64 KiB wait), ERR_CANCELLED,
 * ERR_NOMEM: cut, on_gone follows unless the exchange is ended first. n = 0 writes nothing. */
int net_stream_write(struct net_exchange *x, const void *p, size_t n);
void net_stream_end(struct net_exchange *x);      /* ends the exchange */
void net_want_room(struct net_exchange *x);       /* of a stream: on_room, once */
size_t net_pending(const struct net_exchange *x); /* answer bytes not yet taken by the kernel,
                                                   or put into a frame of HTTP/2 */

/* Close the connection after this answer, and others that run on it (before the exchange is ended).
 */
void net_close_after(struct net_exchange *x);
/* Cut the connection, or the stream, whatever was sent; ends the exchange, no on_gone. */
void net_abort(struct net_exchange *x);

#endif
