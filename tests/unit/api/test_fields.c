/* What the tables of fields and headers say is so: what is served changes the request that the
 * server acts on, what is without effect changes nothing, and what is not built is refused where it
 * would have an effect. Every row needs a probe (field_probes.h). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "api/api.h"
#include "base/check.h"
#include "base/json_write.h"
#include "field_probes.h"

static const struct header_probe {
    const char *name;
    struct api_request_headers h;
} header_probes[] = {
    {"X-Cerebras-Version-Patch", {.version_patch = "1"}},
    {"queue_threshold", {.queue_threshold = "100"}},
};

static void put_text(struct buf *b, const char *s, size_t n)
{
    buf_addf(b, " %zu:", s ? n : 0);
    buf_add(b, s ? s : "", s ? n : 0);
}

/* All that is in a request, as text. */
static void put_request(struct buf *b, const struct api_request *r)
{
    buf_addf(b, "%s given %x", r->model, r->given);
    if (r->messages)
        json_put_tree(b, r->messages);
    buf_addf(b, " continue %d ", r->continue_final);
    if (r->template_kwargs)
        json_put_tree(b, r->template_kwargs);
    put_text(b, r->prediction.s, r->prediction.n);
    for (int32_t i = 0; i < r->n_prompts; i++) {
        put_text(b, r->prompt[i].text, r->prompt[i].n_text);
        for (int32_t k = 0; k < r->prompt[i].n_id; k++)
            buf_addf(b, " %d", r->prompt[i].id[k]);
    }
    buf_addf(b, " special %d n %d %d draw %g %g %g %d %g %g %g", r->parse_special, r->n, r->n_run,
             (double)r->sampling.temperature, (double)r->sampling.top_p, (double)r->sampling.min_p,
             r->sampling.top_k, (double)r->sampling.frequency_penalty,
             (double)r->sampling.presence_penalty, (double)r->sampling.repetition_penalty);
    buf_addf(b, " seed %lld max %d min %d eos %d", (long long)r->sampling.seed,
             r->sampling.max_tokens, r->sampling.min_tokens, r->sampling.ignore_eos);
    for (int32_t i = 0; i < r->sampling.n_stop; i++)
        put_text(b, r->sampling.stop[i].s, r->sampling.stop[i].n);
    for (int32_t i = 0; i < r->sampling.n_stop_token; i++)
        buf_addf(b, " stop %d", r->sampling.stop_token[i]);
    for (int32_t i = 0; i < r->sampling.n_bias; i++)
        buf_addf(b, " bias %d %g", r->sampling.bias[i].token, (double)r->sampling.bias[i].bias);
    buf_addf(b,
             " logprobs %d %d %d echo %d stream %d %d ids %d raw %d store %d tier %d queue %d salt "
             "%s key %s",
             r->logprobs, r->sampling.n_top, r->sampling.logprobs, r->echo, r->stream,
             r->include_usage, r->return_token_ids, r->raw_tokens, r->store, r->tier,
             r->queue_threshold_ms, r->cache_salt ? r->cache_salt : "",
             r->cache_key ? r->cache_key : "");
}

/* The request that a body becomes, into `out`; or the code of its refusal. */
static int read_request(struct buf *out, unsigned kind, const char *name, const char *value,
                        const char *with, const struct api_request_headers *h)
{
    struct api_request r = {0};
    struct arena a;
    struct buf body;
    struct err e;
    int x;

    buf_init(&body, 4096);
    put_probe_body(&body, kind, name, value, with);
    arena_init(&a, 4096, 1 << 20);
    buf_clear(out);
    x = api_parse(api_dialects[kind == CHAT ? API_CHAT : API_COMPLETION], &r, &a, body.data,
                  body.len, h, NULL, &e);
    if (!x)
        put_request(out, &r);
    assert_int_equal(out->failed, 0);
    api_request_done(&r);
    arena_done(&a);
    buf_done(&body);
    return x;
}

static void check_field(const struct api_field_doc *d, unsigned kind, struct buf *without,
                        struct buf *with)
{
    const struct probe *p = find_probe(d->name, kind);
    int r, is_same;

    assert_int_equal(read_request(without, kind, NULL, NULL, p->with, NULL), 0);
    r = read_request(with, kind, p->name, p->value, p->with, NULL);
    if (d->state == API_FIELD_UNBUILT) {
        if (r != ERR_UNSUPPORTED && strcmp(d->name, "tool_choice") != 0) /* it needs tools */
            fail_msg("%s: not built, but %s gives %d", d->name, p->value, r);
        r = read_request(with, kind, p->name, p->plain, p->with, NULL);
    }
    if (r)
        fail_msg("%s: %d", d->name, r);
    is_same = !strcmp(without->data, with->data);
    if (is_same == (d->state == API_FIELD_SERVED))
        fail_msg("%s: %s", d->name,
                 is_same ? "said to be served, but it changes nothing"
                         : "said to be without effect, but it changes the request");
}

static void test_fields(void **state)
{
    struct buf without, with;
    struct api_field_doc d;

    buf_init(&without, 65536);
    buf_init(&with, 65536);
    for (int i = 0; api_field_row(i, &d); i++) {
        for (unsigned kind = CHAT; kind <= COMP; kind++) {
            if (d.kinds & kind)
                check_field(&d, kind, &without, &with);
        }
    }
    buf_done(&without);
    buf_done(&with);
}

static void test_headers(void **state)
{
    struct buf without, with;
    struct api_field_doc d;
    int n = 0;

    buf_init(&without, 65536);
    buf_init(&with, 65536);
    for (; api_header_row(n, &d); n++) {
        const struct header_probe *p = &header_probes[n];
        assert_true((size_t)n < ARRAY_LEN(header_probes));
        assert_string_equal(p->name, d.name);
        assert_int_equal(read_request(&without, CHAT, NULL, NULL, "", NULL), 0);
        assert_int_equal(read_request(&with, CHAT, NULL, NULL, "", &p->h), 0);
        if (!strcmp(without.data, with.data) == (d.state == API_FIELD_SERVED))
            fail_msg("%s: not what the table says", d.name);
    }
    assert_int_equal(n, ARRAY_LEN(header_probes));
    buf_done(&without);
    buf_done(&with);
}

/* ---- what another supplier may take ---------------------------------------------------------- */

static int read_body(const char *body, struct api_unbuilt *unbuilt, struct err *e)
{
    struct api_options o = {.unbuilt = unbuilt};
    struct api_request r = {0};
    struct arena a;
    int x;

    arena_init(&a, 4096, 1 << 20);
    x = api_parse(api_dialects[strstr(body, "\"messages\"") ? API_CHAT : API_COMPLETION], &r, &a,
                  body, strlen(body), NULL, &o, e);
    api_request_done(&r);
    arena_done(&a);
    return x;
}

/* Refused without a place to note it, it is noted with one: the same code, field and sentence. */
static void check_deferred(const char *body)
{
    struct err refused = {0}, e = {0};
    struct api_unbuilt noted = {0};

    if (!read_body(body, NULL, &refused))
        fail_msg("taken: %s", body);
    if (read_body(body, &noted, &e))
        fail_msg("%s: %s", body, e.text);
    assert_int_equal(noted.err.code, refused.code);
    assert_string_equal(noted.err.param, refused.param);
    assert_string_equal(noted.err.text, refused.text);
}

static void test_unbuilt_is_deferred(void **state)
{
    struct api_field_doc d;
    struct buf body;
    int n = 0;

    buf_init(&body, 4096);
    for (int i = 0; api_field_row(i, &d); i++) {
        for (unsigned kind = CHAT; kind <= COMP; kind++) {
            const struct probe *p;
            if (!(d.kinds & kind) || d.state != API_FIELD_UNBUILT ||
                !strcmp(d.name, "tool_choice")) /* it needs tools, which come first */
                continue;
            p = find_probe(d.name, kind);
            buf_clear(&body);
            put_probe_body(&body, kind, p->name, p->value, p->with);
            check_deferred(body.data);
            n++;
        }
    }
    assert_true(n > 8);
    buf_done(&body);
}

#define CONTENT(c) "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":[" c "]}]"

static void test_unbuilt_parts_are_deferred(void **state)
{
    check_deferred(CONTENT("{\"type\":\"image_url\",\"image_url\":{\"url\":\"u\"}}") "}");
    check_deferred(CONTENT("{\"type\":\"text\",\"text\":\"a\"},{\"type\":\"input_audio\"}") "}");
}

/* The first of two is noted; what is wrong for every supplier is refused all the same; and what
 * this server can do leaves no note. */
static void test_deferral_is_of_the_unbuilt_only(void **state)
{
    struct api_unbuilt noted = {0};
    struct err e;

    assert_int_equal(
        read_body(CONTENT("{\"type\":\"image_url\"}") ",\"grammar\":\"root ::= x\"}", &noted, &e),
        0);
    assert_true(!strcmp(noted.err.param, "messages.0.content.0.type") ||
                !strcmp(noted.err.param, "grammar"));
    assert_int_equal(noted.needs, 1u << FEATURE_IMAGES | 1u << FEATURE_FORMAT); /* of both */
    noted = (struct api_unbuilt){0};
    assert_int_equal(
        read_body(CONTENT("{\"type\":\"image_url\"}") ",\"temperature\":3}", &noted, &e),
        ERR_SCHEMA);
    assert_string_equal(e.param, "temperature");
    noted = (struct api_unbuilt){0};
    assert_int_equal(read_body(CONTENT("{\"type\":\"text\",\"text\":\"a\"}") "}", &noted, &e), 0);
    assert_int_equal(noted.err.code, 0);
    assert_int_equal(noted.needs, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fields),
        cmocka_unit_test(test_headers),
        cmocka_unit_test(test_unbuilt_is_deferred),
        cmocka_unit_test(test_unbuilt_parts_are_deferred),
        cmocka_unit_test(test_deferral_is_of_the_unbuilt_only),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
