/* Request bodies in memory, under the limit of one request and the budget of the process. */
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/clock.h"
#include "net/net_int.h"

#define FIRST_BYTES 16384 /* of a body of unknown length */

/* Room for `reserved` bytes and a NUL. */
static int body_grow(struct net_body *b, size_t reserved)
{
    size_t before = b->claim.bytes;
    char *p;

    if (net_claim_set(&b->claim, reserved))
        return ERR_NOMEM;
    p = realloc(b->data, reserved + 1);
    if (!p) {
        net_claim_set(&b->claim, before);
        return ERR_NOMEM;
    }
    b->data = p;
    return 0;
}

/* Memory is reserved as bytes arrive. The announced length is only compared with the limits. */
int body_begin(struct net_exchange *x, size_t limit)
{
    const struct http_head *h = &x->parser.head;
    size_t n = FIRST_BYTES;

    if (h->content_length > 0 && (uint64_t)h->content_length > limit)
        return ERR_TOO_LARGE;
    if (h->content_length >= 0)
        limit = (size_t)h->content_length;
    else if (!h->chunked)
        limit = 0;
    x->body = (struct net_body){0};
    net_claim_init(&x->body.claim, x, NET_CLAIM_BODY);
    x->body_limit = limit;
    x->body_began_us = clock_now_us();
    if (h->content_length >= 0 && net_claim_set(&x->body.claim, limit))
        return ERR_NOMEM;
    return body_grow(&x->body, n < limit ? n : limit);
}

int body_add(struct net_exchange *x, const char *p, size_t n)
{
    struct net_body *b = &x->body;

    if (n > x->body_limit - b->len)
        return ERR_TOO_LARGE;
    if (n > b->claim.bytes - b->len) {
        size_t want = b->claim.bytes * 2;
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

int64_t body_due_us(const struct net_exchange *x)
{
    const struct net_config *c = &x->conn->io->server->config;
    return x->body_began_us + net_patience_us(c, c->body_timeout_ms, x->body.len);
}

void body_finish(struct net_exchange *x)
{
    struct net_body *b = &x->body;

    if (b->claim.bytes > b->len)
        body_grow(b, b->len); /* chunks: what was reserved ahead */
    b->data[b->len] = 0;
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
    net_claim_set(&b->claim, 0);
    free(b->data);
    *b = (struct net_body){0};
}
