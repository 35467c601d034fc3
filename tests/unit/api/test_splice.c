/* A request on its way to a supplier: what is replaced is replaced however it is written, and all
 * else keeps its bytes. Random bodies against a parser that makes trees. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "api/api.h"
#include "base/check.h"
#include "base/rand.h"

enum { N_BODIES = 3000 };

static int splice(const char *body, struct api_splice s, struct buf *out)
{
    buf_clear(out);
    s.model = s.model ? s.model : "up/m";
    s.kind = s.kind ? s.kind : 1;
    return api_splice(body, strlen(body), &s, out);
}

static void bytes(void **state)
{
    static const struct api_splice plain, ask = {.ask_usage = 1}, cut = {.max_tokens = 9},
                                          both = {.max_tokens = 9, .ask_usage = 1},
                                          held = {.max_held = 5}, tier = {.tier = "flex"};
    static const struct {
        const struct api_splice *s;
        const char *body, *want;
    } t[] = {
        {&plain, "{\"model\":\"m\"}", "{\"model\":\"up/m\"}"},
        {&plain, " { \"a\" : 1.50e+3 , \"model\" :\"m\" } \n",
         "{\"a\":1.50e+3,\"model\":\"up/m\"}"},
        {&plain, "{\"x\":[1, 2 ,{\"model\":\"m\"}],\"model\":\"m\"}",
         "{\"x\":[1, 2 ,{\"model\":\"m\"}],\"model\":\"up/m\"}"},
        {&plain, "{\"seed\":12345678901234567890123,\"t\":\"\\u00e9\\/\"}",
         "{\"seed\":12345678901234567890123,\"t\":\"\\u00e9\\/\"}"},
        {&plain, "{\"model\":\"m\",\"stream_options\":{\"include_usage\":false}}",
         "{\"model\":\"up/m\",\"stream_options\":{\"include_usage\":false}}"},
        {&plain, "\xef\xbb\xbf{\"model\":\"m\"}", "{\"model\":\"up/m\"}"},
        {&plain, "{}", "{}"},
        {&ask, "{}", "{\"stream_options\":{\"include_usage\":true}}"},
        {&ask, "{\"model\":\"m\"}",
         "{\"model\":\"up/m\",\"stream_options\":{\"include_usage\":true}}"},
        {&ask, "{\"stream_options\":null,\"a\":1}",
         "{\"stream_options\":{\"include_usage\":true},\"a\":1}"},
        {&ask, "{\"stream_options\":{ \"include_usage\" : false , \"x\" : [ 1 ] }}",
         "{\"stream_options\":{\"include_usage\":true,\"x\":[ 1 ]}}"},
        {&ask, "{\"stream_options\":{\"include_obfuscation\":false}}",
         "{\"stream_options\":{\"include_usage\":true,\"include_obfuscation\":false}}"},
        {&cut, "{}", "{\"max_tokens\":9}"},
        {&cut, "{\"max_tokens\":null,\"a\":1,\"max_completion_tokens\":-1}",
         "{\"a\":1,\"max_tokens\":9}"},
        {&held, "{\"max_completion_tokens\":5,\"a\":1,\"max_tokens\":999}",
         "{\"max_completion_tokens\":5,\"a\":1,\"max_tokens\":5}"},
        {&held, "{\"max_t\\u006fkens\":-1, \"max_completion_tokens\":5}",
         "{\"max_t\\u006fkens\":5,\"max_completion_tokens\":5}"},
        {&held, "{\"max_completion_tokens\":null,\"max_tokens\":5,\"b\":{\"max_tokens\":9}}",
         "{\"max_completion_tokens\":null,\"max_tokens\":5,\"b\":{\"max_tokens\":9}}"},
        {&tier, "{\"service_tier\":\"priority\",\"a\":{\"service_tier\":\"auto\"}}",
         "{\"service_tier\":\"flex\",\"a\":{\"service_tier\":\"auto\"}}"},
        {&tier, "{\"service_t\\u0069er\":\"batch\"}", "{\"service_t\\u0069er\":\"flex\"}"},
        {&tier, "{\"service_tier\":null}", "{\"service_tier\":null}"},
        {&plain, "{\"service_tier\":\"auto\"}", "{\"service_tier\":\"auto\"}"},
        {&both, "{\"a\":{\"max_tokens\":1}}",
         "{\"a\":{\"max_tokens\":1},\"max_tokens\":9,\"stream_options\":{\"include_usage\":true}}"},
    };
    struct buf out;

    buf_init(&out, 4096);
    for (size_t i = 0; i < ARRAY_LEN(t); i++) {
        assert_int_equal(splice(t[i].body, *t[i].s, &out), 0);
        assert_string_equal(out.data, t[i].want);
    }
    buf_done(&out);
}

/* A model's name that is written with escapes would reach the supplier as the client wrote it: a
 * model at the price of another. The same for usage that is asked not to be told. */
static void escaped_names_are_found(void **state)
{
    struct buf out;

    buf_init(&out, 4096);
    assert_int_equal(splice("{\"mod\\u0065\\u006C\":\"m\"}", (struct api_splice){0}, &out), 0);
    assert_string_equal(out.data, "{\"mod\\u0065\\u006C\":\"up/m\"}");
    assert_int_equal(splice("{\"stream_option\\u0073\":{\"includ\\u0065_usage\":false}}",
                            (struct api_splice){.ask_usage = 1}, &out),
                     0);
    assert_string_equal(out.data, "{\"stream_option\\u0073\":{\"include_usage\":true}}");
    assert_int_equal(
        splice("{\"t\\u006fp_k\":1,\"top_\\u0070\":1}", (struct api_splice){.known_only = 1}, &out),
        0);
    assert_string_equal(out.data, "{\"top_\\u0070\":1}");
    buf_done(&out);
}

static void names_are_written_as_JSON(void **state)
{
    struct buf out;

    buf_init(&out, 4096);
    assert_int_equal(
        splice("{\"model\":\"m\"}", (struct api_splice){.model = "a\"b\\\xc3\xa9"}, &out), 0);
    assert_string_equal(out.data, "{\"model\":\"a\\\"b\\\\\xc3\xa9\"}");
    buf_done(&out);
}

/* Every field of the contract goes on, extensions of this server and unknown names do not. */
static void known_only(void **state)
{
    struct api_field_doc d;
    struct buf out, body;

    buf_init(&out, 4096);
    buf_init(&body, 4096);
    for (int k = 0; api_field_row(k, &d); k++) {
        for (unsigned kind = 1; kind <= 2; kind++) {
            if (!(d.kinds & kind) || !strcmp(d.name, "model"))
                continue;
            buf_clear(&body);
            buf_addf(&body, "{\"unknown\":{},\"%s\":[1, 2],\"x\":0}", d.name);
            assert_int_equal(
                splice(body.data, (struct api_splice){.known_only = 1, .kind = kind}, &out), 0);
            buf_clear(&body);
            buf_addf(&body, d.extension ? "{}" : "{\"%s\":[1, 2]}", d.name);
            assert_string_equal(out.data, body.data);
        }
    }
    assert_int_equal(
        splice("{\"prompt\":\"\",\"n\":1}", (struct api_splice){.known_only = 1}, &out), 0);
    assert_string_equal(out.data, "{\"n\":1}"); /* of the other kind */
    buf_done(&out);
    buf_done(&body);
}

static void malformed(void **state)
{
    static const char *const t[] = {"",       "[]",        "1",           "{",
                                    "{\"a\"", "{\"a\":1,", "{\"a\":tru}", "{1:2}"};
    struct buf out;

    buf_init(&out, 4096);
    for (size_t i = 0; i < ARRAY_LEN(t); i++)
        assert_int_equal(splice(t[i], (struct api_splice){.ask_usage = 1}, &out), ERR_FORMAT);
    buf_done(&out);
    buf_init(&out, 8);
    assert_int_equal(splice("{\"prompt\":\"hello\"}", (struct api_splice){0}, &out), ERR_LIMIT);
    buf_done(&out);
}

/* ---- random bodies --------------------------------------------------------------------------- */

static uint64_t drawn;

static uint32_t draw(uint32_t below)
{
    uint32_t x[4];

    rand_philox(13, drawn++, 0, x);
    return x[0] % below;
}

static void put_blank(struct buf *b)
{
    static const char *const blanks[] = {"", "", "", " ", "\n", "\t ", "\r\n"};

    buf_add_str(b, blanks[draw(ARRAY_LEN(blanks))]);
}

static void put_value(struct buf *b, int depth)
{
    static const char *const scalars[] = {
        "0",    "-1.5e-3",       "9007199254740993",          "true",         "false", "null",
        "\"\"", "\"a\\\"}{,:\"", "\"\\ud83d\\ude00\\u0041\"", "\"\xc3\xa9]\""};
    uint32_t k = draw(depth ? 12 : 10), n = draw(4);

    if (k < 10) {
        buf_add_str(b, scalars[k]);
        return;
    }
    buf_add_char(b, k == 10 ? '[' : '{');
    put_blank(b);
    for (uint32_t i = 0; i < n; i++) {
        buf_add_str(b, i ? "," : "");
        put_blank(b);
        if (k == 11)
            buf_addf(b, "\"%s%u\" :", draw(2) ? "model" : "k", i);
        put_value(b, depth - 1);
        put_blank(b);
    }
    buf_add_char(b, k == 10 ? ']' : '}');
}

struct member {
    const char *name;
    struct buf value;
};

static struct member members[] = {
    {"model", {0}},       {"m\\u006fdel_", {0}}, {"stream_options", {0}},
    {"temperature", {0}}, {"top_k", {0}},        {"x", {0}},
    {"messages", {0}},    {"\\\"", {0}},         {"include_usage", {0}}};

/* A body of some of the members, in any order from a random first one. */
static void put_body(struct buf *b)
{
    uint32_t first = draw(ARRAY_LEN(members)), n = 0;

    buf_clear(b);
    put_blank(b);
    buf_add_char(b, '{');
    for (size_t i = 0; i < ARRAY_LEN(members); i++) {
        struct member *m = &members[(first + i) % ARRAY_LEN(members)];
        buf_clear(&m->value);
        if (!draw(2))
            continue;
        put_value(&m->value, 4);
        buf_add_str(b, n++ ? "," : "");
        put_blank(b);
        buf_addf(b, "\"%s\"", m->name);
        put_blank(b);
        buf_add_char(b, ':');
        put_blank(b);
        buf_add(b, m->value.data, m->value.len);
        put_blank(b);
    }
    buf_add_char(b, '}');
    put_blank(b);
}

static json_t *parse(const struct buf *b)
{
    json_t *j = NULL;
    struct err e;

    if (json_parse(&j, b->data, b->len, 0, &e))
        fail_msg("%s: %s", e.text, b->data);
    return j;
}

static int is_known(const char *name)
{
    return !strcmp(name, "model") || !strcmp(name, "stream_options") ||
           !strcmp(name, "temperature") || !strcmp(name, "messages");
}

/* What the tree has to become, by the tree. */
static void change(json_t *j, const struct api_splice *s)
{
    const char *name;
    json_t *v, *o;
    void *next;

    json_object_foreach_safe(j, next, name, v)
    {
        if (s->known_only && !is_known(name))
            json_object_del(j, name);
    }
    if (json_object_get(j, "model"))
        json_object_set_new(j, "model", json_string(s->model));
    if (!s->ask_usage)
        return;
    o = json_object_get(j, "stream_options");
    if (!json_is_object(o)) {
        o = json_object();
        json_object_set_new(j, "stream_options", o);
    }
    json_object_set_new(o, "include_usage", json_true());
}

static void check_body(const struct buf *body, const struct api_splice *s, struct buf *out)
{
    json_t *was = parse(body), *is;

    buf_clear(out);
    assert_int_equal(api_splice(body->data, body->len, s, out), 0);
    is = parse(out);
    change(was, s);
    if (!json_equal(was, is))
        fail_msg("%s became %s", body->data, out->data);
    for (size_t i = 0; i < ARRAY_LEN(members); i++) {
        const struct member *m = &members[i];
        if (!m->value.len || !strcmp(m->name, "model") ||
            (s->ask_usage && !strcmp(m->name, "stream_options")) ||
            (s->known_only && !is_known(m->name)))
            continue;
        if (!memmem(out->data, out->len, m->value.data, m->value.len))
            fail_msg("%s: not as it was in %s", m->value.data, out->data);
    }
    json_decref(was);
    json_decref(is);
}

static void random_bodies(void **state)
{
    struct buf body, out;

    buf_init(&body, 1 << 20);
    buf_init(&out, 1 << 20);
    for (size_t i = 0; i < ARRAY_LEN(members); i++)
        buf_init(&members[i].value, 1 << 20);
    for (unsigned i = 0; i < N_BODIES; i++) {
        struct api_splice s = {
            .model = "up/m", .ask_usage = i & 1, .known_only = i >> 1 & 1, .kind = 1};
        put_body(&body);
        check_body(&body, &s, &out);
    }
    for (size_t i = 0; i < ARRAY_LEN(members); i++)
        buf_done(&members[i].value);
    buf_done(&body);
    buf_done(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bytes),
        cmocka_unit_test(escaped_names_are_found),
        cmocka_unit_test(names_are_written_as_JSON),
        cmocka_unit_test(known_only),
        cmocka_unit_test(malformed),
        cmocka_unit_test(random_bodies),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
