/* The bytes of an HTTP/1 answer. */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/put.h"
#include "net/net_int.h"

#define SMALL_CHUNK 4096

/* ---- the head ---- */

static void add_line(struct buf *b, const char *name, const char *value, size_t n_value)
{
    size_t n_name = strlen(name);
    char *p;

    if (buf_reserve(b, n_name + n_value + 4))
        return;
    p = mempcpy(b->data + b->len, name, n_name);
    p = mempcpy(mempcpy(p, ": ", 2), value, n_value);
    p = mempcpy(p, "\r\n", 3); /* with the NUL behind a buffer's content */
    b->len = (size_t)(p - b->data) - 1;
}

/* 0, or ERR_ARG when one was left out. */
static int add_headers(struct buf *b, const struct answer *a, int without_type)
{
    const struct net_header *h = a->headers;
    int r = 0;

    for (int i = 0; i < a->n_headers; i++) {
        size_t n = strlen(h[i].value);
        if (!answer_header_ok(&h[i], n))
            r = ERR_ARG;
        else if (!without_type || strcasecmp(h[i].name, "content-type"))
            add_line(b, h[i].name, h[i].value, n);
    }
    return r;
}

/* Can the connection carry another request after this answer? Only if the part of the request's
 * body that has not been read has a known length and is small enough to be read and dropped. */
static int can_keep(const struct net_exchange *x)
{
    int64_t left = http_parser_left(&x->parser);

    if (!x->parser.head.keep_alive || x->close_after || net_server_is_draining(x->conn->io->server))
        return 0;
    if (left != 0 && x->parser.head.expect_continue && !x->continued)
        return 0;
    return left >= 0 && left <= NET_SKIP_MAX;
}

static void begin_head(struct net_io *io, int status)
{
    buf_clear(&io->scratch);
    buf_add_str(&io->scratch, "HTTP/1.1 ");
    put_number(&io->scratch, status);
    buf_add_char(&io->scratch, ' ');
    buf_add_str(&io->scratch, http_reason(status));
    buf_add_str(&io->scratch, "\r\nDate: ");
    buf_add_str(&io->scratch, answer_date(io));
    buf_add_str(&io->scratch, "\r\n");
}

static void end_head(struct net_conn *c)
{
    struct buf *b = &c->io->scratch;
    buf_add_str(b, c->close_after ? "Connection: close\r\n\r\n" : "\r\n");
}

/* ---- answers ---- */

/* No memory for the connection's output: the answer cannot be completed, so the connection is cut.
 */
static int fail_answer(struct net_conn *c)
{
    conn_cut(c);
    return ERR_NOMEM;
}

int h1_reply(struct net_exchange *x, const struct answer *a)
{
    struct net_conn *c = x->conn;
    struct buf *b = &c->io->scratch;
    int has_body = answer_has_body(a->status), r;
    size_t n = a->n_body;

    c->close_after = !can_keep(x);
    begin_head(c->io, a->status);
    r = add_headers(b, a, n == 0 || !has_body);
    if (has_body) {
        buf_add_str(b, "Content-Length: ");
        put_number(b, (int64_t)n);
        buf_add_str(b, "\r\n");
    }
    end_head(c);
    if (!has_body || x->parser.head.method == HTTP_HEAD)
        n = 0;
    if (b->failed) {
        free(a->given);
        return fail_answer(c);
    }
    if (conn_write_whole(c, b, a->body, n, a->given))
        return fail_answer(c);
    h1_answered(c);
    return r;
}

int h1_begin(struct net_exchange *x, const struct answer *a)
{
    struct net_conn *c = x->conn;
    struct buf *b = &c->io->scratch;
    int r;

    x->is_chunked = x->parser.head.minor == 1;
    c->close_after = !can_keep(x) || !x->is_chunked;
    c->deadline_us = 0;
    begin_head(c->io, a->status);
    r = add_headers(b, a, 0);
    if (x->is_chunked)
        buf_add_str(b, "Transfer-Encoding: chunked\r\n");
    end_head(c);
    return b->failed || conn_write(c, b->data, b->len) ? ERR_NOMEM : r;
}

/* A chunk: a small one goes into the output at once, as each part on its own costs as much as its
 * bytes. */
static int write_chunk(struct net_conn *c, const char *p, size_t n)
{
    struct buf *b = &c->io->scratch;
    char size[PUT_MAX + 2];
    size_t len = put_hex(n, size);

    size[len++] = '\r';
    size[len++] = '\n';
    if (n > SMALL_CHUNK)
        return conn_write(c, size, len) || conn_write(c, p, n) || conn_write(c, "\r\n", 2);
    buf_clear(b);
    buf_add(b, size, len);
    buf_add(b, p, n);
    return buf_add(b, "\r\n", 2) || conn_write(c, b->data, b->len);
}

int h1_write(struct net_exchange *x, const char *p, size_t n)
{
    return x->is_chunked ? write_chunk(x->conn, p, n) : conn_write(x->conn, p, n);
}

void h1_end(struct net_exchange *x)
{
    struct net_conn *c = x->conn;
    struct net_server *s = c->io->server;

    if (x->close_after || (net_server_is_draining(s) && !atomic_load(&s->is_leaving)))
        c->close_after = 1;
    if (x->is_chunked && x->parser.head.method != HTTP_HEAD && conn_write(c, "0\r\n\r\n", 5))
        conn_cut(c);
    else
        h1_answered(c);
}
