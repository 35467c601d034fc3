/* Inside room net: HTTP/2 on a connection (RFC 9113), by nghttp2. net_h2.c has the session: frames
 * in and out, streams as they come and go, time limits and what is too much; net_h2_stream.c the
 * upper room's functions, of which a stream is the carrier.
 *
 * On the connection's io thread. nghttp2 calls back from two functions only,
 * nghttp2_session_mem_recv and nghttp2_session_send; both are called from the loop, never from a
 * call of the upper room. */
#ifndef NET_NET_H2_H
#define NET_NET_H2_H

#include <nghttp2/nghttp2.h>

#include "net/net_int.h"

#define H2_WINDOW                                                                                  \
    65535 /* body bytes of a stream that may come before they are asked for:                       \
             the protocol's own, as some clients cannot do with less */
#define H2_DROP_MAX    (64 << 20) /* bytes of a refused body that are read and dropped */
#define H2_WINDOW_BODY 262144     /* and that may be on their way once they are */
#define H2_WINDOW_CONN 1048576    /* of all streams of a connection */
#define H2_OUT_MAX     65536      /* bytes of frames that wait for the socket; then streams wait */
#define H2_QUEUE_MAX   4096       /* frames that wait for them: beyond, the connection is closed */

/* What a client may do before it is told to be calm: so often at once, so often a second. */
#define H2_RESETS_AT_ONCE 256 /* requests that end before their answer */
#define H2_RESETS         32
#define H2_FRAMES_AT_ONCE                                                                          \
    2048 /* frames that bring neither a request nor bytes of one; each frame of                    \
            an answer allows for two more */
#define H2_FRAMES 64

struct h2_allowance {
    int64_t left, since_us;
};

struct h2_stream {
    struct net_conn *conn;
    struct net_exchange *x; /* NULL: ended; what is left of the answer is sent */
    struct h2_stream *next, *prev, *ready_next;
    struct evbuffer *out; /* of the answer's body what is in no frame yet; NULL: none so far */
    struct net_claim out_claim;
    uint64_t out_total, out_seen; /* bytes ever put into it; of them taken when it fell behind */
    int64_t stall_us;             /* since when its client is behind; 0: it is not */
    struct buf ahead;             /* body bytes that nobody has asked for */
    struct net_claim ahead_claim; /* and of a large head */
    int64_t drop_us;              /* since when a body comes on after the answer; 0: it does not */
    uint64_t dropped;             /* bytes of it */
    int32_t id;
    uint8_t is_ready, is_in_ended, is_out_ended, is_asleep, /* nghttp2 waits for more output */
        is_short;                                           /* no memory for `ahead` */
};

struct h2 {
    nghttp2_session *session;
    struct h2_stream *streams, *ready; /* ready: to be looked at by the next turn */
    int n_streams;
    int32_t last_id;  /* of the last request that was begun */
    int64_t head_us;  /* since when a head is unfinished; 0: none is */
    size_t head_size; /* of it, as it was before it was compressed */
    int64_t idle_us;  /* since when there is no stream */
    int64_t close_us; /* since when the connection is to be closed after what runs; 0: it is not */
    struct h2_allowance resets, frames;
    uint8_t is_settled, /* the client's settings have come */
        is_noticed,     /* the client was told to ask no more here */
        is_going,       /* and that nothing after last_id was begun */
        is_abuse, is_broken;
};

/* net_h2_stream.c */
struct h2_stream *h2_stream_new(struct net_conn *c, int32_t id); /* with an exchange, or NULL */
void h2_stream_free(struct h2_stream *st);
void h2_stream_wake(struct h2_stream *st); /* h2_stream_turn is called by the next turn */
void h2_stream_turn(struct h2_stream *st);
size_t h2_stream_pending(const struct h2_stream *st);
void h2_stream_head(struct h2_stream *st); /* its head is there */
void h2_stream_data(struct h2_stream *st, const char *p, size_t n);
void h2_stream_in_end(struct h2_stream *st); /* its client sends no more */
void h2_stream_sweep(struct h2_stream *st, int64_t now_us);
/* No more on this connection once what runs has ended. */
void h2_close_after(struct net_conn *c);

/* The upper room's functions, in h2_carrier. */
void h2_read_body(struct net_exchange *x);
int h2_reply(struct net_exchange *x, const struct answer *a);
int h2_begin(struct net_exchange *x, const struct answer *a);
int h2_write(struct net_exchange *x, const char *p, size_t n);
void h2_end(struct net_exchange *x);
void h2_abort(struct net_exchange *x);
void h2_wake(struct net_exchange *x);
size_t h2_pending(const struct net_exchange *x);
struct net_claim *h2_out(const struct net_exchange *x);

#endif
