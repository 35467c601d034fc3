#include "net/net_h2.h"

#include <stdlib.h>
#include <string.h>

#include <event2/buffer.h>

#include "base/check.h"
#include "base/clock.h"

#define COPY_MAX      4096           /* smaller pieces of an answer are copied, not moved */
#define HEAD_FACTOR   4              /* a head may be so many times too large and be answered */
#define PAUSE_US      INT64_C(20000) /* see is_refused */
#define REFUSE_US     INT64_C(1000000)
#define NOTICE_US     INT64_C(10000000)
#define FIELD_EXTRA   32 /* what a field counts beside its bytes (RFC 9113, 6.5.2) */
#define PREFACE_LINE  "PRI * HTTP/2.0\r\n"
#define FRAME_HD_SIZE 9

static const struct carrier h2_carrier;

/* ---- what is too much ------------------------------------------------------------------------ */

/* 1 when it is. */
static int take(struct h2_allowance *a, int64_t now_us, int at_once, int per_s)
{
    int64_t more = (now_us - a->since_us) * per_s / 1000000;

    if (more > 0) {
        a->left = a->left + more > at_once ? at_once : a->left + more;
        a->since_us = now_us;
    }
    return --a->left < 0;
}

static int is_useless(struct net_conn *c)
{
    if (take(&c->h2->frames, c->io->now_us, H2_FRAMES_AT_ONCE, H2_FRAMES))
        c->h2->is_abuse = 1;
    return c->h2->is_abuse ? NGHTTP2_ERR_CALLBACK_FAILURE : 0;
}

static void is_useful(struct h2 *h)
{
    h->frames.left += h->frames.left < H2_FRAMES_AT_ONCE ? 2 : 0;
}

/* A request ended before its answer, by its client, or by what its client sent; or it was one too
 * many at once. */
static void is_reset(struct net_conn *c)
{
    struct h2 *h = c->h2;

    atomic_fetch_add(&c->io->server->h2_resets_total, 1);
    if (take(&h->resets, c->io->now_us, H2_RESETS_AT_ONCE, H2_RESETS))
        h->is_abuse = 1;
}

/* ---- frames in ------------------------------------------------------------------------------- */

static struct h2_stream *stream_of(nghttp2_session *session, int32_t id)
{
    return nghttp2_session_get_stream_user_data(session, id);
}

static int on_begin_frame(nghttp2_session *session, const nghttp2_frame_hd *hd, void *user)
{
    if (hd->type == NGHTTP2_DATA || hd->type == NGHTTP2_HEADERS)
        return 0;
    return is_useless(user);
}

void h2_close_after(struct net_conn *c)
{
    c->close_after = 1;
    if (!c->h2->close_us)
        c->h2->close_us = c->io->now_us;
}

/* Another request has come to a connection that is to be closed. GOAWAY in the middle of answers is
 * not understood by all clients (some take it for their end), nor with the last bytes of one. So it
 * is sent when the connection has been quiet for a moment (late, below). To who asks on, it is sent
 * after a short pause, with the request left to be asked elsewhere, as every client may; at last,
 * where there is no pause, as a notice beside what runs. 1: do not begin it. */
static int is_refused(struct net_conn *c)
{
    struct h2 *h = c->h2;
    int64_t now_us = c->io->now_us, since_us;

    if (net_server_is_draining(c->io->server))
        h2_close_after(c);
    since_us = h->close_us ? now_us - h->close_us : 0;
    if (!h->is_going && !h->n_streams && since_us > REFUSE_US &&
        (now_us - h->idle_us > PAUSE_US || since_us > NOTICE_US)) {
        h->is_going = 1;
        h->is_broken |= nghttp2_submit_goaway(h->session, NGHTTP2_FLAG_NONE, h->last_id,
                                              NGHTTP2_NO_ERROR, NULL, 0) != 0;
    } else if (!h->is_noticed && h->n_streams && since_us > NOTICE_US) {
        h->is_noticed = 1;
        h->is_broken |= nghttp2_submit_shutdown_notice(h->session) != 0;
    }
    return h->is_going;
}

static int on_begin_headers(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
    struct net_conn *c = user;
    struct h2_stream *st;

    c->h2->head_us = c->io->now_us;
    c->h2->head_size = 0;
    if (frame->hd.type != NGHTTP2_HEADERS || frame->headers.cat != NGHTTP2_HCAT_REQUEST)
        return 0; /* trailers */
    if (is_refused(c))
        return 0;
    c->h2->last_id = frame->hd.stream_id;
    st = h2_stream_new(c, frame->hd.stream_id);
    if (!st)
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    nghttp2_session_set_stream_user_data(session, st->id, st);
    if (!c->h2->n_streams++) {
        conn_set(c, CONN_BUSY);
        c->deadline_us = 0;
    }
    return 0;
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
                     size_t n_name, const uint8_t *value, size_t n, uint8_t flags, void *user)
{
    struct net_conn *c = user;
    struct h2_stream *st = stream_of(session, frame->hd.stream_id);

    c->h2->head_size += n_name + n + FIELD_EXTRA;
    if (c->h2->head_size > HEAD_FACTOR * (size_t)conn_config(c)->http.head_max) {
        c->h2->is_abuse = 1;
        return NGHTTP2_ERR_CALLBACK_FAILURE;
    }
    if (st && st->x && st->x->state == EXCHANGE_HEAD)
        http_parser_field(&st->x->parser, (const char *)name, n_name, (const char *)value, n);
    return 0;
}

/* nghttp2 would leave it out. What our own rules say of it is answered. */
static int on_invalid_header(nghttp2_session *session, const nghttp2_frame *frame,
                             const uint8_t *name, size_t n_name, const uint8_t *value, size_t n,
                             uint8_t flags, void *user)
{
    struct h2_stream *st = stream_of(session, frame->hd.stream_id);
    int r = on_header(session, frame, name, n_name, value, n, flags, user);

    if (r || (st && st->x && st->x->state == EXCHANGE_HEAD && st->x->parser.status))
        return r;
    return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
}

static int on_data(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *p, size_t n,
                   void *user)
{
    struct h2_stream *st = stream_of(session, id);

    /* One stream that waits must not hold up the others. */
    if (nghttp2_session_consume_connection(session, n))
        return NGHTTP2_ERR_CALLBACK_FAILURE;
    if (st)
        h2_stream_data(st, (const char *)p, n);
    else
        nghttp2_session_consume_stream(session, id, n);
    return 0;
}

static int on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
    struct net_conn *c = user;
    struct h2_stream *st = frame->hd.stream_id ? stream_of(session, frame->hd.stream_id) : NULL;
    int ends = frame->hd.flags & NGHTTP2_FLAG_END_STREAM, r = 0;

    switch (frame->hd.type) {
    case NGHTTP2_HEADERS:
        c->h2->head_us = 0;
        if (st && ends)
            st->is_in_ended = 1;
        if (st && frame->headers.cat == NGHTTP2_HCAT_REQUEST)
            h2_stream_head(st);
        else if (st && ends)
            h2_stream_in_end(st);
        break;
    case NGHTTP2_DATA:
        if (frame->hd.length == frame->data.padlen && !ends)
            r = is_useless(c);
        if (st && ends)
            h2_stream_in_end(st);
        break;
    case NGHTTP2_SETTINGS:
        if (!c->h2->is_settled && c->state == CONN_IDLE)
            c->deadline_us = conn_idle_deadline(c);
        c->h2->is_settled = 1;
        break;
    case NGHTTP2_GOAWAY:
        h2_close_after(c);
        break;
    default:
        break;
    }
    return c->h2->is_abuse ? NGHTTP2_ERR_CALLBACK_FAILURE : r;
}

/* nghttp2 refuses a stream by itself where too many are open. */
static int on_invalid_frame(nghttp2_session *session, const nghttp2_frame *frame, int error_code,
                            void *user)
{
    struct net_conn *c = user;

    if (error_code == NGHTTP2_ERR_REFUSED_STREAM)
        is_reset(c);
    return c->h2->is_abuse ? NGHTTP2_ERR_CALLBACK_FAILURE : 0;
}

static void forget(struct h2 *h, struct h2_stream *st)
{
    struct h2_stream **at = &h->ready;

    *(st->prev ? &st->prev->next : &h->streams) = st->next;
    if (st->next)
        st->next->prev = st->prev;
    if (!st->is_ready)
        return;
    while (*at != st)
        at = &(*at)->ready_next;
    *at = st->ready_next;
}

static int on_stream_close(nghttp2_session *session, int32_t id, uint32_t error_code, void *user)
{
    struct net_conn *c = user;
    struct h2_stream *st = stream_of(session, id);

    if (!st)
        return 0;
    if (st->x) {
        is_reset(c);
        if (st->x->state == EXCHANGE_HEAD)
            atomic_fetch_add(&c->io->server->refused_total, 1);
        exchange_gone(st->x, ERR_CANCELLED);
    }
    forget(c->h2, st);
    h2_stream_free(st);
    if (!--c->h2->n_streams && c->state == CONN_BUSY) {
        conn_set(c, CONN_IDLE);
        c->is_served = 1;
        c->h2->idle_us = c->io->now_us;
        c->deadline_us = c->close_after || c->io->idle_drained
                             ? conn_deadline(c, conn_config(c)->drain_idle_ms)
                             : conn_idle_deadline(c);
    }
    return 0;
}

/* ---- frames out ------------------------------------------------------------------------------ */

static int put(struct net_conn *c, const void *p, size_t n)
{
    if (evbuffer_add(c->out_bytes, p, n))
        return NGHTTP2_ERR_NOMEM;
    c->out_total += n;
    return 0;
}

static ssize_t on_send(nghttp2_session *session, const uint8_t *p, size_t n, int flags, void *user)
{
    struct net_conn *c = user;

    if (conn_pending(c) >= H2_OUT_MAX)
        return NGHTTP2_ERR_WOULDBLOCK;
    return put(c, p, n) ? NGHTTP2_ERR_CALLBACK_FAILURE : (ssize_t)n;
}

static int move(struct net_conn *c, struct h2_stream *st, size_t n)
{
    char piece[COPY_MAX];

    if (n <= COPY_MAX)
        return evbuffer_remove(st->out, piece, n) != (int)n || put(c, piece, n);
    c->out_total += n;
    return evbuffer_remove_buffer(st->out, c->out_bytes, n) != (int)n;
}

static int on_send_data(nghttp2_session *session, nghttp2_frame *frame, const uint8_t *head,
                        size_t n, nghttp2_data_source *source, void *user)
{
    struct net_conn *c = user;
    struct h2_stream *st = source->ptr;

    if (conn_pending(c) >= H2_OUT_MAX)
        return NGHTTP2_ERR_WOULDBLOCK;
    if (put(c, head, FRAME_HD_SIZE) || (n && move(c, st, n)))
        return NGHTTP2_ERR_CALLBACK_FAILURE;
    budget_note(&st->out_claim, h2_stream_pending(st));
    if (st->x && st->x->wants_room)
        h2_stream_wake(st);
    return 0;
}

static int on_frame_sent(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
    struct net_conn *c = user;
    struct h2_stream *st = frame->hd.stream_id ? stream_of(session, frame->hd.stream_id) : NULL;

    if (frame->hd.type == NGHTTP2_RST_STREAM)
        is_useless(c);
    if (frame->hd.type != NGHTTP2_DATA && frame->hd.type != NGHTTP2_HEADERS)
        return 0;
    is_useful(c->h2);
    /* The rest of its body is read and dropped: clients may look at the answer after it only. */
    if (st && !st->is_in_ended && frame->hd.flags & NGHTTP2_FLAG_END_STREAM)
        st->drop_us = clock_now_us();
    return 0;
}

/* ---- the session ----------------------------------------------------------------------------- */

static int make_session(struct net_conn *c)
{
    nghttp2_session_callbacks *k;
    nghttp2_option *o;
    int r;

    if (nghttp2_session_callbacks_new(&k))
        return ERR_NOMEM;
    if (nghttp2_option_new(&o)) {
        nghttp2_session_callbacks_del(k);
        return ERR_NOMEM;
    }
    nghttp2_session_callbacks_set_on_begin_frame_callback(k, on_begin_frame);
    nghttp2_session_callbacks_set_on_begin_headers_callback(k, on_begin_headers);
    nghttp2_session_callbacks_set_on_header_callback(k, on_header);
    nghttp2_session_callbacks_set_on_invalid_header_callback(k, on_invalid_header);
    nghttp2_session_callbacks_set_on_invalid_frame_recv_callback(k, on_invalid_frame);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(k, on_data);
    nghttp2_session_callbacks_set_on_frame_recv_callback(k, on_frame);
    nghttp2_session_callbacks_set_on_stream_close_callback(k, on_stream_close);
    nghttp2_session_callbacks_set_send_callback(k, on_send);
    nghttp2_session_callbacks_set_send_data_callback(k, on_send_data);
    nghttp2_session_callbacks_set_on_frame_send_callback(k, on_frame_sent);
    nghttp2_option_set_no_auto_window_update(o, 1);
    nghttp2_option_set_no_closed_streams(o, 1);
    r = nghttp2_session_server_new2(&c->h2->session, k, c, o);
    nghttp2_option_del(o);
    nghttp2_session_callbacks_del(k);
    return r ? ERR_NOMEM : 0;
}

static int greet(struct net_conn *c)
{
    const struct net_config *config = conn_config(c);
    const nghttp2_settings_entry settings[] = {
        {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, (uint32_t)config->h2_streams},
        {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, config->http.head_max},
        {NGHTTP2_SETTINGS_NO_RFC7540_PRIORITIES, 1},
    };
    nghttp2_session *s = c->h2->session;

    return nghttp2_submit_settings(s, NGHTTP2_FLAG_NONE, settings, ARRAY_LEN(settings)) ||
                   nghttp2_session_set_local_window_size(s, NGHTTP2_FLAG_NONE, 0, H2_WINDOW_CONN)
               ? ERR_NOMEM
               : 0;
}

static void drop(struct net_conn *c)
{
    struct h2 *h = c->h2;

    c->h2 = NULL;
    if (!h)
        return;
    while (h->streams) {
        struct h2_stream *st = h->streams;
        h->streams = st->next;
        h2_stream_free(st);
    }
    nghttp2_session_del(h->session);
    free(h);
}

int h2_open(struct net_conn *c)
{
    struct h2 *h = calloc(1, sizeof *h);

    if (!h)
        return ERR_NOMEM;
    h->resets = (struct h2_allowance){H2_RESETS_AT_ONCE, c->io->now_us};
    h->frames = (struct h2_allowance){H2_FRAMES_AT_ONCE, c->io->now_us};
    c->h2 = h;
    if (make_session(c) || greet(c)) {
        drop(c);
        return ERR_NOMEM;
    }
    c->carrier = &h2_carrier;
    atomic_fetch_add(&c->io->server->h2_conns_total, 1);
    conn_set(c, CONN_IDLE);
    c->deadline_us = c->io->idle_drained ? conn_idle_deadline(c)
                                         : conn_deadline(c, conn_config(c)->header_timeout_ms);
    conn_defer(c);
    return 0;
}

int h2_open_plain(struct net_conn *c)
{
    int r = h2_open(c);

    if (r)
        return r;
    nghttp2_session_mem_recv(c->h2->session, (const uint8_t *)PREFACE_LINE,
                             sizeof PREFACE_LINE - 1);
    return 0;
}

/* ---- the end --------------------------------------------------------------------------------- */

static void fill(struct net_conn *c)
{
    struct h2 *h = c->h2;

    if (!h || c->state == CONN_FLUSH || c->state == CONN_DEAD)
        return;
    if (nghttp2_session_send(h->session))
        h->is_broken = 1;
}

static void gone(struct net_conn *c, int code)
{
    if (!c->h2)
        return;
    for (struct h2_stream *st = c->h2->streams; st; st = st->next) { /* none is freed meanwhile */
        if (st->x)
            exchange_gone(st->x, code);
    }
}

/* GOAWAY, then the end of the connection. */
static void finish(struct net_conn *c, uint32_t error_code)
{
    gone(c, ERR_CANCELLED);
    nghttp2_session_terminate_session(c->h2->session, error_code);
    fill(c);
    conn_finish(c);
    conn_defer(c);
}

/* What follows from what was received, or sent. */
static void settle(struct net_conn *c)
{
    struct h2 *h = c->h2;
    nghttp2_session *s;

    if (!h || (c->state != CONN_IDLE && c->state != CONN_BUSY))
        return;
    s = h->session;
    if (h->is_abuse || nghttp2_session_get_outbound_queue_size(s) > H2_QUEUE_MAX) {
        atomic_fetch_add(&c->io->server->h2_abuse_total, 1);
        finish(c, NGHTTP2_ENHANCE_YOUR_CALM);
    } else if (h->is_broken) {
        conn_kill(c, ERR_NOMEM);
    } else if (!nghttp2_session_want_read(s) && !nghttp2_session_want_write(s)) {
        gone(c, ERR_CANCELLED);
        conn_finish(c);
        conn_defer(c);
    } else if (!h->n_streams && h->is_going) {
        finish(c, NGHTTP2_NO_ERROR);
    } else if (!c->is_writing && conn_pending(c) < H2_OUT_MAX && nghttp2_session_want_write(s)) {
        conn_defer(c);
    }
}

/* ---- turns of the loop ----------------------------------------------------------------------- */

static void advance(struct net_conn *c)
{
    ssize_t r;

    if (!c->h2 || !c->n_in || (c->state != CONN_IDLE && c->state != CONN_BUSY))
        return;
    r = nghttp2_session_mem_recv(c->h2->session, (const uint8_t *)c->in, c->n_in);
    c->n_in = 0;
    if (c->state != CONN_DEAD && r < 0 && !c->h2->is_abuse) {
        if (r == NGHTTP2_ERR_FLOODED)
            c->h2->is_abuse = 1;
        else if (r != NGHTTP2_ERR_BAD_CLIENT_MAGIC)
            c->h2->is_broken = 1;
        else
            conn_cut(c);
    }
    settle(c);
}

static void turn(struct net_conn *c)
{
    struct h2 *h = c->h2;
    struct h2_stream *st, *next;

    if (!h)
        return;
    st = h->ready;
    h->ready = NULL;
    for (; st; st = next) { /* none is freed meanwhile */
        next = st->ready_next;
        st->is_ready = 0;
        if (c->state == CONN_BUSY)
            h2_stream_turn(st);
    }
    settle(c);
}

static void late(struct net_conn *c)
{
    if (c->h2 && c->h2->is_settled && c->state == CONN_IDLE)
        finish(c, NGHTTP2_NO_ERROR);
    else
        conn_cut(c);
}

static void sweep(struct net_conn *c, int64_t now_us)
{
    struct h2 *h = c->h2;

    if (!h)
        return;
    if (h->head_us && now_us - h->head_us > (int64_t)conn_config(c)->header_timeout_ms * 1000) {
        atomic_fetch_add(&c->io->server->refused_total, 1);
        conn_kill(c, ERR_CANCELLED);
        return;
    }
    for (struct h2_stream *st = h->streams; st; st = st->next) /* none is freed meanwhile */
        h2_stream_sweep(st, now_us);
    settle(c);
}

static const struct carrier h2_carrier = {
    .advance = advance,
    .fill = fill,
    .turn = turn,
    .late = late,
    .sweep = sweep,
    .gone = gone,
    .drop = drop,
    .read_body = h2_read_body,
    .reply = h2_reply,
    .begin = h2_begin,
    .write = h2_write,
    .end = h2_end,
    .abort = h2_abort,
    .wake = h2_wake,
    .pending = h2_pending,
    .out = h2_out,
};
