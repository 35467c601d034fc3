/* Request bodies in memory, under the limit of one request and the budget of the process. */
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "net/net_int.h"

#define FIRST_BYTES 16384 /* of a body of unknown length */

static int budget_take(struct net_server *s, size_t n)
{
    int64_t before = atomic_fetch_add(&s->body_bytes, (int64_t)n);

    if (before + (int64_t)n > (int64_t)s->config.body_budget_bytes) {
        atomic_fetch_sub(&s->body_bytes, (int64_t)n);
        return ERR_NOMEM;
    }
    return 0;
}

/* Room for `reserved` bytes and a NUL. */
static int body_grow(struct net_body *b, size_t reserved)
{
    char *p;

    if (budget_take(b->server, reserved - b->reserved))
        return ERR_NOMEM;
    p = realloc(b->data, reserved + 1);
    if (!p) {
        atomic_fetch_sub(&b->server->body_bytes, (int64_t)(reserved - b->reserved));
        return ERR_NOMEM;
    }
    b->data = p;
    b->reserved = reserved;
    return 0;
}

int body_begin(struct net_exchange *x, size_t limit)
{
    const struct http_head *h = &x->parser.head;
    size_t n = FIRST_BYTES < limit ? FIRST_BYTES : limit;

    if (h->content_length >= 0) {
        if ((uint64_t)h->content_length > limit)
            return ERR_TOO_LARGE;
        n = (size_t)h->content_length;
    } else if (!h->chunked) {
        n = 0;
    }
    x->body = (struct net_body){.server = x->conn->io->server};
    x->body_limit = limit;
    return body_grow(&x->body, n);
}

int body_add(struct net_exchange *x, const char *p, size_t n)
{
    struct net_body *b = &x->body;

    if (n > x->body_limit - b->len)
        return ERR_TOO_LARGE;
    if (n > b->reserved - b->len) {
        size_t want = b->reserved * 2;
        if (want < b->len + n)
            want = b->len + n;
        if (want > x->body_limit)
            want = x->body_limit;
        if (body_grow(b, want))
            return ERR_NOMEM;
    }
    memcpy(b->data + b->len, p, n);
    b->len += n;
    return 0;
}

void body_finish(struct net_exchange *x)
{
    x->body.data[x->body.len] = 0;
}

const char *net_body(const struct net_exchange *x, size_t *ret_len)
{
    net_io_check(x->conn->io);
    CHECK(x->body.data);
    *ret_len = x->body.len;
    return x->body.data;
}

void net_body_take(struct net_exchange *x, struct net_body *ret_body)
{
    net_io_check(x->conn->io);
    CHECK(x->body.data);
    *ret_body = x->body;
    x->body = (struct net_body){0};
}

void net_body_done(struct net_body *b)
{
    if (b->server)
        atomic_fetch_sub(&b->server->body_bytes, (int64_t)b->reserved);
    free(b->data);
    *b = (struct net_body){0};
}
