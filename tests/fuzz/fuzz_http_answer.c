/* Fuzz target: the parser of services' answers, as fuzz_http.c is the one of requests.
 *
 * Beyond memory errors, it wants that a byte string means the same however it is cut, that no
 * control byte comes out of a head, that a body is as long as was said, and that no interim answer
 * is told. The first input byte chooses the cut, the limits and what was asked. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "net/http.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Everything that was said about the input, as one string. */
struct story {
    struct buf text;
    size_t n_body;
};

static void tell_head(struct story *s, const struct http_parser *p)
{
    const struct http_head *h = &p->head;

    CHECK(h->status >= 200 && h->status <= 999);
    CHECK(!(h->chunked && h->content_length >= 0));
    CHECK(!h->until_close || (!h->chunked && h->content_length < 0 && !h->keep_alive));
    buf_addf(&s->text, "%d %d %lld %d %d %d\n", h->status, h->minor, (long long)h->content_length,
             h->chunked, h->until_close, h->keep_alive);
    for (int i = 0; i < h->n_fields; i++) {
        const char *name = http_field_name(h, i), *value = http_field_value(h, i);
        CHECK(http_name_ok(name) && http_value_ok(value));
        CHECK(http_field(h, name) != NULL);
        buf_addf(&s->text, "%s=%s\n", name, value);
    }
}

static void tell_end(struct story *s, struct http_parser *p, int kind)
{
    const struct http_head *h = &p->head;
    int is_empty = h->status == 204 || h->status == 304 ||
                   (kind == HTTP_CONNECT && h->status >= 200 && h->status < 300);
    struct http_limits l = p->limits;

    CHECK(!h->until_close);
    CHECK(is_empty ? s->n_body == 0
                   : h->content_length < 0 || (size_t)h->content_length == s->n_body);
    buf_add_str(&s->text, "\nEND\n");
    s->n_body = 0;
    http_parser_done(p);
    http_parser_init_answer(p, &l, (enum http_kind)kind); /* the next one */
}

/* 0 when the parser refused. */
static int tell_piece(struct story *s, struct http_parser *p, const uint8_t *data, size_t n,
                      int kind)
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
            tell_head(s, p);
        } else if (ev == HTTP_DATA) {
            buf_add(&s->text, body, n_body);
            s->n_body += n_body;
        } else if (ev == HTTP_END) {
            tell_end(s, p, kind);
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

static void tell(struct story *s, const uint8_t *data, size_t size, size_t step, int how)
{
    struct http_limits l = HTTP_LIMITS_DEFAULT;
    int kind = how & 2 ? HTTP_CONNECT : HTTP_ANSWER;
    struct http_parser p;
    size_t at = 0, n;

    if (how & 1)
        l = (struct http_limits){
            .line_max = 24, .head_max = 256, .fields_max = 3, .chunk_extra_max = 8};
    memset(s, 0, sizeof *s);
    buf_init(&s->text, 64 << 20);
    http_parser_init_answer(&p, &l, (enum http_kind)kind);
    do {
        n = size - at < step ? size - at : step;
        if (!tell_piece(s, &p, data + at, n, kind))
            break;
        at += n;
    } while (at < size);
    http_parser_done(&p);
    CHECK(!s->text.failed);
}

static int same(const struct story *a, const struct story *b)
{
    return a->text.len == b->text.len &&
           (a->text.len == 0 || !memcmp(a->text.data, b->text.data, a->text.len));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct story whole, cut;
    uint8_t how;

    if (size == 0)
        return 0;
    how = *data++;
    size--;
    tell(&whole, data, size, size ? size : 1, how & 3);
    tell(&cut, data, size, 1 + (how >> 2) % 64, how & 3);
    CHECK(same(&whole, &cut));
    buf_done(&cut.text);
    tell(&cut, data, size, 1, how & 3);
    CHECK(same(&whole, &cut));
    buf_done(&cut.text);
    buf_done(&whole.text);
    return 0;
}
