/* Fuzz target: the parser of services' answers, as fuzz_http.c is the one of requests.
 *
 * Beyond memory errors, it wants that a byte string means the same however it is cut, that no
 * control byte comes out of a head, that a body is as long as was said, and that no interim answer
 * is told. The first input byte chooses the cut, the limits and what was asked. */
#include "fuzz_story.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static enum http_kind kind_of(const struct story *s)
{
    return s->how & 2 ? HTTP_CONNECT : HTTP_ANSWER;
}

static void init(const struct story *s, struct http_parser *p, const struct http_limits *l)
{
    http_parser_init_answer(p, l, kind_of(s));
}

static void tell_head(struct story *s, const struct http_parser *p)
{
    const struct http_head *h = &p->head;

    CHECK(h->status >= 200 && h->status <= 999);
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

static void check_end(const struct story *s, const struct http_parser *p)
{
    const struct http_head *h = &p->head;
    int is_empty = h->status == 204 || h->status == 304 ||
                   (kind_of(s) == HTTP_CONNECT && h->status >= 200 && h->status < 300);

    CHECK(!h->until_close);
    CHECK(is_empty ? s->n_body == 0
                   : h->content_length < 0 || (size_t)h->content_length == s->n_body);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct story_teller teller = {
        .init = init,
        .head = tell_head,
        .end = check_end,
        .small = {.line_max = 24, .head_max = 256, .fields_max = 3, .chunk_extra_max = 8},
        .n_how_bits = 2,
    };

    return story_compare(&teller, data, size);
}
