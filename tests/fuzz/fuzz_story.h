/* What a parser of HTTP says about an input, as one string, so that it can be compared with what it
 * says about the same bytes when they come in other pieces. */
#ifndef FUZZ_STORY_H
#define FUZZ_STORY_H

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "net/http.h"

struct story {
    struct buf text;
    size_t n_body; /* of the message that is being read */
    int how;       /* the first byte of the input */
};

/* Of one kind of message: how its parser is made, and what is told and checked at a head, and at a
 * message's end. */
struct story_teller {
    void (*init)(const struct story *s, struct http_parser *p, const struct http_limits *l);
    void (*head)(struct story *s, const struct http_parser *p);
    void (*end)(const struct story *s, const struct http_parser *p);
    struct http_limits small; /* where bit 0 of `how` is set */
    int n_how_bits;           /* of `how` that are not the cut's */
};

/* 0 when the parser refused. */
static int story_piece(const struct story_teller *t, struct story *s, struct http_parser *p,
                       const uint8_t *data, size_t n)
{
    char *copy = malloc(n ? n : 1); /* its exact size: reads beyond it are seen */
    size_t at = 0;
    enum http_event ev;

    CHECK(copy);
    if (n)
        memcpy(copy, data, n);
    do {
        size_t used, n_body;
        const char *body;
        ev = http_parser_feed(p, copy + at, n - at, &used, &body, &n_body);
        CHECK(used <= n - at);
        CHECK(n_body == 0 || (body >= copy + at && body + n_body <= copy + at + used));
        at += used;
        if (ev == HTTP_GOT_HEAD) {
            CHECK(!(p->head.chunked && p->head.content_length >= 0));
            t->head(s, p);
        } else if (ev == HTTP_DATA) {
            buf_add(&s->text, body, n_body);
            s->n_body += n_body;
        } else if (ev == HTTP_END) {
            struct http_limits l = p->limits;
            t->end(s, p);
            buf_add_str(&s->text, "\nEND\n");
            s->n_body = 0;
            http_parser_done(p);
            t->init(s, p, &l); /* the next message */
        } else if (ev == HTTP_BAD) {
            CHECK(p->status >= 400 && p->status <= 505 && p->why);
            buf_addf(&s->text, "\nBAD %d %s\n", p->status, p->why);
        } else {
            CHECK(at == n);
        }
    } while (ev != HTTP_BAD && ev != HTTP_MORE);
    free(copy);
    return ev != HTTP_BAD;
}

static void story_tell(const struct story_teller *t, struct story *s, const uint8_t *data,
                       size_t size, size_t step, int how)
{
    struct http_limits l = HTTP_LIMITS_DEFAULT;
    struct http_parser p;
    size_t at = 0, n;

    *s = (struct story){.how = how};
    buf_init(&s->text, 64 << 20);
    t->init(s, &p, how & 1 ? &t->small : &l);
    do {
        n = size - at < step ? size - at : step;
        if (!story_piece(t, s, &p, data + at, n))
            break;
        at += n;
    } while (at < size);
    http_parser_done(&p);
    CHECK(!s->text.failed);
}

/* The input at once, cut as its first byte says, and byte by byte. */
static int story_compare(const struct story_teller *t, const uint8_t *data, size_t size)
{
    struct story whole, cut;
    int how = size ? *data : 0;
    size_t steps[] = {1 + (size_t)(how >> t->n_how_bits) % 64, 1};

    if (!size)
        return 0;
    data++;
    size--;
    story_tell(t, &whole, data, size, size ? size : 1, how);
    for (int i = 0; i < 2; i++) {
        story_tell(t, &cut, data, size, steps[i], how);
        CHECK(whole.text.len == cut.text.len);
        CHECK(!cut.text.len || !memcmp(whole.text.data, cut.text.data, cut.text.len));
        buf_done(&cut.text);
    }
    buf_done(&whole.text);
    return 0;
}

#endif
