/* A stream of HTTP/2 as the carrier of an exchange. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <event2/buffer.h>

#include "base/check.h"
#include "base/put.h"
#include "net/net_h2.h"

#define HEAD_FREE 4096 /* bytes of a head that the budget does not count */
#define N_OURS    3    /* headers that are net's own */

static struct h2 *h2_of(const struct h2_stream *st)
{
    return st->conn->h2;
}

static struct net_server *server_of(const struct h2_stream *st)
{
    return st->conn->io->server;
}

/* ---- lifecycle ---- */

struct h2_stream *h2_stream_new(struct net_conn *c, int32_t id)
{
    struct h2_stream *st = calloc(1, sizeof *st);

    if (!st)
        return NULL;
    st->conn = c;
    st->id = id;
    st->x = exchange_new(c);
    if (!st->x) {
        free(st);
        return NULL;
    }
    st->x->stream = st;
    st->out_claim =
        (struct net_claim){.server = server_of(st), .owner = c->peer, .kind = NET_CLAIM_ANSWER};
    net_claim_init(&st->ahead_claim, st->x, NET_CLAIM_BODY);
    buf_init(&st->ahead, NET_AHEAD_MAX);
    st->next = c->h2->streams;
    if (st->next)
        st->next->prev = st;
    c->h2->streams = st;
    return st;
}

void h2_stream_free(struct h2_stream *st)
{
    exchange_free(st->x);
    buf_done(&st->ahead);
    net_claim_set(&st->ahead_claim, 0);
    budget_note(&st->out_claim, 0);
    if (st->out)
        evbuffer_free(st->out);
    free(st);
}

void h2_stream_wake(struct h2_stream *st)
{
    if (st->is_ready)
        return;
    st->is_ready = 1;
    st->ready_next = h2_of(st)->ready;
    h2_of(st)->ready = st;
    conn_defer(st->conn);
}

size_t h2_stream_pending(const struct h2_stream *st)
{
    return st->out ? evbuffer_get_length(st->out) : 0;
}

/* nghttp2 has no memory: the connection cannot go on. */
static void check(struct h2_stream *st, int r)
{
    if (r)
        h2_of(st)->is_broken = 1;
    conn_defer(st->conn);
}

static void reset(struct h2_stream *st, uint32_t error_code)
{
    check(st, nghttp2_submit_rst_stream(h2_of(st)->session, NGHTTP2_FLAG_NONE, st->id, error_code));
}

static void took(struct h2_stream *st, size_t n)
{
    check(st, nghttp2_session_consume_stream(h2_of(st)->session, st->id, n));
}

/* The upper room has ended it. What came of a body that it never asked for makes room for the rest,
 * which its client may want to be rid of before it looks at the answer. */
static void ended(struct h2_stream *st)
{
    struct net_exchange *x = st->x;

    if (x->close_after ||
        (net_server_is_draining(server_of(st)) && !atomic_load(&server_of(st)->is_leaving)))
        h2_close_after(st->conn);
    st->x = NULL;
    exchange_free(x);
    took(st, st->ahead.len);
    buf_done(&st->ahead);
    net_claim_set(&st->ahead_claim, 0);
}

/* on_gone where the upper room knows of it, and the end of its answer. */
static void cut(struct h2_stream *st, int code, uint32_t error_code)
{
    if (st->x) {
        exchange_gone(st->x, code);
        ended(st);
    }
    reset(st, error_code);
}

/* ---- the request ---- */

/* All streams are alike, whatever the client says of their priority. */
static const nghttp2_extpri alike = {.urgency = NGHTTP2_EXTPRI_DEFAULT_URGENCY, .inc = 1};

void h2_stream_head(struct h2_stream *st)
{
    struct net_exchange *x = st->x;
    struct http_parser *p;

    if (!x || x->state != EXCHANGE_HEAD)
        return;
    p = &x->parser;
    nghttp2_session_change_extpri_stream_priority(h2_of(st)->session, st->id, &alike, 1);
    http_parser_fields_end(p, !st->is_in_ended);
    if (!p->status && p->text.len > HEAD_FREE && net_claim_set(&st->ahead_claim, p->text.len)) {
        p->status = 503;
        p->why = "There is not enough memory.";
    }
    if (p->status)
        exchange_refuse(x, p->status, p->why);
    else
        exchange_ask(x);
}

static void body_failed(struct h2_stream *st, int code)
{
    exchange_body(st->x, code);
}

static void keep_ahead(struct h2_stream *st, const char *p, size_t n)
{
    if (st->is_short)
        return;
    if (net_claim_set(&st->ahead_claim, st->ahead_claim.bytes + n) || buf_add(&st->ahead, p, n))
        st->is_short = 1;
}

void h2_stream_data(struct h2_stream *st, const char *p, size_t n)
{
    struct net_exchange *x = st->x;
    int code;

    if (x && (x->state == EXCHANGE_ASK || (x->state == EXCHANGE_BODY && st->is_ready))) {
        keep_ahead(st, p, n);
        return;
    }
    took(st, n);
    if (!x || x->state != EXCHANGE_BODY) {
        st->dropped += n; /* nobody wants it */
        return;
    }
    code = body_add(x, p, n);
    if (code)
        body_failed(st, code);
}

void h2_stream_in_end(struct h2_stream *st)
{
    st->is_in_ended = 1;
    st->drop_us = 0;
    if (st->x && st->x->state == EXCHANGE_BODY && !st->is_ready)
        exchange_body(st->x, 0);
}

void h2_read_body(struct net_exchange *x)
{
    struct h2_stream *st = x->stream;
    const struct http_head *h = &x->parser.head;
    const nghttp2_nv proceed = {(uint8_t *)":status", (uint8_t *)"100", 7, 3, NGHTTP2_NV_FLAG_NONE};
    nghttp2_session *s = h2_of(st)->session;

    if (h->expect_continue && !st->ahead.len && !st->is_in_ended)
        check(st, nghttp2_submit_headers(s, NGHTTP2_FLAG_NONE, st->id, NULL, &proceed, 1, NULL));
    if (!st->is_in_ended && (h->content_length < 0 || h->content_length > H2_WINDOW))
        check(st,
              nghttp2_session_set_local_window_size(s, NGHTTP2_FLAG_NONE, st->id, H2_WINDOW_BODY));
    if (st->ahead.len || st->is_in_ended || st->is_short)
        h2_stream_wake(st); /* until then what comes is put behind what is ahead */
}

/* The body that came before it was asked for. */
static void read_ahead(struct h2_stream *st)
{
    struct net_exchange *x = st->x;
    size_t n = st->ahead.len;
    int code = st->is_short ? ERR_NOMEM : n ? body_add(x, st->ahead.data, n) : 0;

    buf_done(&st->ahead);
    net_claim_set(&st->ahead_claim, 0);
    took(st, n);
    if (code)
        body_failed(st, code);
    else if (st->is_in_ended)
        exchange_body(x, 0);
}

void h2_stream_turn(struct h2_stream *st)
{
    if (!st->x)
        return;
    if (st->x->cut)
        cut(st, st->x->cut, NGHTTP2_CANCEL);
    else if (st->x->state == EXCHANGE_BODY)
        read_ahead(st);
    else
        exchange_tell_room(st->x);
}

/* ---- time limits ---- */

/* As a connection of HTTP/1 is (net_conn.c). */
static int is_stalled(struct h2_stream *st, int64_t now_us)
{
    const struct net_config *config = conn_config(st->conn);
    size_t pending = h2_stream_pending(st);
    uint64_t done = st->out_total - pending;

    if (pending == 0) {
        st->stall_us = 0;
    } else if (st->stall_us == 0) {
        st->stall_us = now_us;
        st->out_seen = done;
    }
    return st->stall_us && now_us - st->stall_us > net_patience_us(config, config->stall_timeout_ms,
                                                                   done - st->out_seen);
}

/* Of a body that nobody wants. */
static int is_enough(const struct h2_stream *st, int64_t now_us)
{
    const struct net_config *config = conn_config(st->conn);

    return st->dropped > H2_DROP_MAX ||
           now_us - st->drop_us >= net_patience_us(config, config->body_timeout_ms, st->dropped);
}

void h2_stream_sweep(struct h2_stream *st, int64_t now_us)
{
    struct net_exchange *x = st->x;

    if (is_stalled(st, now_us))
        cut(st, ERR_SLOW_READER, NGHTTP2_CANCEL);
    else if (x && x->state == EXCHANGE_BODY && body_due_us(x) <= now_us)
        body_failed(st, ERR_TIMEOUT);
    else if (st->drop_us && is_enough(st, now_us)) {
        st->drop_us = 0;
        reset(st, NGHTTP2_NO_ERROR);
    }
}

/* ---- answers ---- */

static ssize_t next_bytes(nghttp2_session *session, int32_t id, uint8_t *to, size_t max,
                          uint32_t *flags, nghttp2_data_source *source, void *user)
{
    struct h2_stream *st = source->ptr;
    size_t n = h2_stream_pending(st);

    if (!n && !st->is_out_ended) {
        st->is_asleep = 1;
        return NGHTTP2_ERR_DEFERRED;
    }
    *flags |= NGHTTP2_DATA_FLAG_NO_COPY; /* on_send_data of net_h2.c moves them */
    if (n <= max && st->is_out_ended)
        *flags |= NGHTTP2_DATA_FLAG_EOF;
    return (ssize_t)(n < max ? n : max);
}

static nghttp2_nv line(const char *name, const char *value, size_t n)
{
    return (nghttp2_nv){(uint8_t *)(uintptr_t)name, (uint8_t *)(uintptr_t)value, strlen(name), n,
                        NGHTTP2_NV_FLAG_NONE};
}

/* The head, after which bytes follow or nothing; `length`: of the body, -1: not told. 0, ERR_ARG
 * when a header was left out, or ERR_NOMEM. */
static int send_head(struct h2_stream *st, const struct answer *a, int64_t length, int has_bytes)
{
    char status[PUT_MAX], digits[PUT_MAX];
    const nghttp2_data_provider bytes = {.source = {.ptr = st}, .read_callback = next_bytes};
    struct buf *b = &st->conn->io->scratch;
    const char *date = answer_date(st->conn->io);
    int without_type = !has_bytes && length <= 0, r = 0;
    size_t n = 0;
    nghttp2_nv *nv;

    buf_clear(b);
    if (buf_reserve(b, ((size_t)a->n_headers + N_OURS) * sizeof *nv))
        return ERR_NOMEM;
    nv = (nghttp2_nv *)(void *)b->data;
    nv[n++] = line(":status", status, (size_t)snprintf(status, sizeof status, "%d", a->status));
    nv[n++] = line("date", date, strlen(date));
    for (int i = 0; i < a->n_headers; i++) {
        const struct net_header *h = &a->headers[i];
        size_t n_value = strlen(h->value);
        if (!answer_header_ok(h, n_value))
            r = ERR_ARG;
        else if (!without_type || strcasecmp(h->name, "content-type"))
            nv[n++] = line(h->name, h->value, n_value);
    }
    if (length >= 0)
        nv[n++] = line("content-length", digits,
                       (size_t)snprintf(digits, sizeof digits, "%lld", (long long)length));
    if (nghttp2_submit_response(h2_of(st)->session, st->id, nv, n, has_bytes ? &bytes : NULL))
        return ERR_NOMEM;
    conn_defer(st->conn);
    return r;
}

static void free_given(const void *p, size_t n, void *given)
{
    free(given);
}

/* Bytes of the body; `given` as in struct answer. */
static int put(struct h2_stream *st, const char *p, size_t n, char *given)
{
    if (!st->out)
        st->out = evbuffer_new();
    if (!st->out || (given ? evbuffer_add_reference(st->out, p, n, free_given, given)
                           : evbuffer_add(st->out, p, n))) {
        free(given);
        return ERR_NOMEM;
    }
    st->out_total += n;
    budget_note(&st->out_claim, h2_stream_pending(st));
    return 0;
}

static void go_on(struct h2_stream *st)
{
    if (st->is_asleep)
        check(st, nghttp2_session_resume_data(h2_of(st)->session, st->id) == NGHTTP2_ERR_NOMEM);
    st->is_asleep = 0;
}

int h2_reply(struct net_exchange *x, const struct answer *a)
{
    struct h2_stream *st = x->stream;
    int has_body = answer_has_body(a->status), r = 0;
    int has_bytes = has_body && a->n_body && x->parser.head.method != HTTP_HEAD;

    if (has_bytes)
        r = put(st, a->body, a->n_body, a->given);
    else
        free(a->given);
    st->is_out_ended = 1;
    if (!r)
        r = send_head(st, a, has_body ? (int64_t)a->n_body : -1, has_bytes);
    if (r == ERR_NOMEM)
        reset(st, NGHTTP2_INTERNAL_ERROR);
    ended(st);
    return r;
}

int h2_begin(struct net_exchange *x, const struct answer *a)
{
    return send_head(x->stream, a, -1, 1);
}

int h2_write(struct net_exchange *x, const char *p, size_t n)
{
    struct h2_stream *st = x->stream;
    int r = put(st, p, n, NULL);

    if (!r)
        go_on(st);
    conn_defer(st->conn);
    return r;
}

void h2_end(struct net_exchange *x)
{
    struct h2_stream *st = x->stream;

    st->is_out_ended = 1;
    go_on(st);
    conn_defer(st->conn);
    ended(st);
}

void h2_abort(struct net_exchange *x)
{
    struct h2_stream *st = x->stream;

    reset(st, NGHTTP2_INTERNAL_ERROR);
    ended(st);
}

void h2_wake(struct net_exchange *x)
{
    h2_stream_wake(x->stream);
}

size_t h2_pending(const struct net_exchange *x)
{
    return h2_stream_pending(x->stream);
}

struct net_claim *h2_out(const struct net_exchange *x)
{
    return &x->stream->out_claim;
}
