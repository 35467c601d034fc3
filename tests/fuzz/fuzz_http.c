/* Fuzz target: the request parser, then the helpers that read a target.
 *
 * Beyond memory errors, it wants that a byte string means the same however it is cut, that no
 * control byte comes out, and that a message is never longer than what was fed. The first input
 * byte chooses the cut and the limits. */
#include "fuzz_story.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_text(const char *s)
{
    for (; *s; s++)
        CHECK(((unsigned char)*s >= 0x20 && *s != 0x7f) || *s == '\t');
}

static void init(const struct story *s, struct http_parser *p, const struct http_limits *l)
{
    (void)s;
    http_parser_init(p, l);
}

static void tell_head(struct story *s, const struct http_parser *p)
{
    const struct http_head *h = &p->head;

    buf_addf(&s->text, "%s %s %d %s %lld %d %d %d\n", http_method_name(h->method), h->target,
             h->minor, h->host, (long long)h->content_length, h->chunked, h->expect_continue,
             h->keep_alive);
    CHECK(h->target[0] == '/' || !strcmp(h->target, "*"));
    check_text(h->target);
    check_text(h->host);
    for (int i = 0; i < h->n_fields; i++) {
        const char *name = http_field_name(h, i), *value = http_field_value(h, i);
        CHECK(http_name_ok(name) && http_value_ok(value));
        CHECK(http_field(h, name) != NULL);
        http_field_has(h, name, "close");
        buf_addf(&s->text, "%s=%s\n", name, value);
    }
}

static void check_end(const struct story *s, const struct http_parser *p)
{
    CHECK(p->head.content_length < 0 || (size_t)p->head.content_length == s->n_body);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct story_teller teller = {
        .init = init,
        .head = tell_head,
        .end = check_end,
        .small = {.line_max = 16, .head_max = 256, .fields_max = 3, .chunk_extra_max = 8},
        .n_how_bits = 1,
    };

    return story_compare(&teller, data, size);
}
