/* Suppliers' streams and chunks: the same in pieces of any size, and read just as far as needed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "api/api.h"
#include "base/check.h"

/* ---- events of a stream ---------------------------------------------------------------------- */

/* One piece of it, in memory of its exact size: the data of its events into out, each in <>. */
static int feed(struct api_sse_reader *r, const char *s, size_t n, struct buf *out)
{
    char *copy = malloc(n ? n : 1);
    const char *p = copy;
    int code;

    memcpy(copy, s, n);
    while ((code = api_sse_read(r, &p, copy + n)) > 0) {
        buf_add_char(out, '<');
        buf_add(out, r->data.data ? r->data.data : "", r->data.len);
        buf_add_char(out, '>');
    }
    if (!code)
        assert_ptr_equal(p, copy + n);
    free(copy);
    return code;
}

/* All of it: cut once at `cut`, or (0) into single bytes. */
static void read_cut(const char *s, size_t n, size_t cut, struct buf *out)
{
    struct api_sse_reader r;

    buf_clear(out);
    api_sse_reader_init(&r);
    for (size_t at = 0; at < n;) {
        size_t len = cut ? (at ? n - at : cut) : 1;
        assert_int_equal(feed(&r, s + at, len, out), 0);
        at += len;
    }
    api_sse_reader_done(&r);
}

static const struct {
    const char *in, *want;
} streams[] = {
    {"data: a\n\ndata: b\n\n", "<a><b>"},
    {"data: a\r\rdata: b\r\r", "<a><b>"},
    {"data: a\r\n\r\ndata: b\r\n\r\n", "<a><b>"},
    {"data: a\r\n\ndata: b\n\r\ndata: c\r\r\n", "<a><b><c>"}, /* each kind beside each other */
    {"data: a\ndata: b\n\n", "<a\nb>"},
    {"data: a\r\ndata:\r\ndata: c\r\n\r\n", "<a\n\nc>"},
    {"data:a\n\n", "<a>"},
    {"data:  a \n\n", "< a >"}, /* one blank goes, no more */
    {"data:\ta\n\n", "<\ta>"},
    {"data: a:b: c\n\n", "<a:b: c>"},
    {"data\n\n", "<>"},
    {"data:\n\n", "<>"},
    {"data\ndata\n\n", "<\n>"},
    {": ping\n\n: pong\ndata: a\n: in the middle\ndata: b\n\n", "<a\nb>"},
    {"event: message_start\ndata: a\nid: 7\nretry: 10\n\n", "<a>"},
    {"event: only\n\n\n\ndata: a\n\n", "<a>"},
    {"datax: a\ndat: b\nDATA: c\n data: d\n\ndata: e\n\n", "<e>"},
    {"\xef\xbb\xbf"
     "data: a\n\n\xef\xbb\xbf"
     "data: b\n\ndata: c\n\n",
     "<a><c>"}, /* a mark of byte order is one at the very beginning only */
    {"\xef\xbb\xbf\ndata: a\n\n", "<a>"},
    {"data: a", ""}, /* not ended */
    {"data: a\n", ""},
    {"data: {\"a\":\"\xc3\xa9\"}\n\ndata: [DONE]\n\n", "<{\"a\":\"\xc3\xa9\"}><[DONE]>"},
    {"\n\n\r\r\n", ""},
};

static void stream_in_any_pieces(void **state)
{
    struct buf out;

    buf_init(&out, 4096);
    for (size_t i = 0; i < ARRAY_LEN(streams); i++) {
        size_t n = strlen(streams[i].in);
        for (size_t cut = 0; cut <= n; cut++) {
            read_cut(streams[i].in, n, cut, &out);
            if (strcmp(out.data ? out.data : "", streams[i].want) != 0)
                fail_msg("stream %zu cut at %zu: %s, not %s", i, cut, out.data, streams[i].want);
        }
    }
    buf_done(&out);
}

/* A line of n bytes in all, whole or with its last byte in a second piece. */
static int read_line(size_t n, const char *begin, int is_cut, size_t *ret_data)
{
    struct api_sse_reader r;
    char *s = malloc(n + 2);
    const char *p = s;
    int code = 0;

    memset(s, 'x', n);
    memcpy(s, begin, strlen(begin));
    memcpy(s + n, "\n\n", 2);
    api_sse_reader_init(&r);
    if (is_cut)
        code = api_sse_read(&r, &p, s + n - 1);
    if (!code)
        code = api_sse_read(&r, &p, s + n + 2);
    *ret_data = r.data.len;
    api_sse_reader_done(&r);
    free(s);
    return code;
}

static void line_over_the_limit(void **state)
{
    size_t max = API_SSE_EVENT_MAX, got;

    for (int is_cut = 0; is_cut < 2; is_cut++) {
        assert_int_equal(read_line(max, "data: ", is_cut, &got), 1);
        assert_int_equal(got, max - 6);
        assert_int_equal(read_line(max + 1, "data: ", is_cut, &got), ERR_TOO_LARGE);
        assert_int_equal(read_line(max, ": ", is_cut, &got), 0);
        assert_int_equal(read_line(max + 1, ": ", is_cut, &got), ERR_TOO_LARGE);
    }
}

static void event_over_the_limit(void **state)
{
    static const char line[] = "data: 0123456789012345678901234567890123456789012345678901234\n";
    struct api_sse_reader r;
    size_t n = 0;
    int code = 0;

    api_sse_reader_init(&r);
    while (!code && n <= 2 * API_SSE_EVENT_MAX) {
        const char *p = line;
        code = api_sse_read(&r, &p, line + sizeof line - 1);
        n += sizeof line - 1;
    }
    assert_int_equal(code, ERR_TOO_LARGE);
    assert_in_range(n, API_SSE_EVENT_MAX, API_SSE_EVENT_MAX + API_SSE_EVENT_MAX / 4);
    api_sse_reader_done(&r);
}

/* ---- chunks and bodies ----------------------------------------------------------------------- */

#define DELTA(d) "{\"choices\":[{\"index\":0,\"delta\":" d ",\"finish_reason\":null}]}"
#define ENDS(f)  "{\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":" f "}]}"

static const struct {
    const char *json;
    struct api_relayed_piece want; /* without its pointers */
} chunks[] = {
    {DELTA("{\"role\":\"assistant\"}"), {.is_json = 1, .n_choices = 1}},
    {DELTA("{\"role\":\"assistant\",\"content\":\"\"}"), {.is_json = 1, .n_choices = 1}},
    {DELTA("{\"role\":\"assistant\",\"content\":null,\"tool_calls\":[]}"),
     {.is_json = 1, .n_choices = 1}},
    {DELTA("{\"content\":\"Hi\"}"), {.is_json = 1, .n_choices = 1, .has_content = 1, .n_text = 2}},
    {DELTA("{\"content\" : \"\\u0048\"}"),
     {.is_json = 1, .n_choices = 1, .has_content = 1, .n_text = 6}},
    {DELTA("{\"c\\u006fntent\":\"Hi\"}"),
     {.is_json = 1, .n_choices = 1, .has_content = 1, .n_text = 2}},
    {DELTA("{\"content\":\"\",\"reasoning\":\"So\"}"),
     {.is_json = 1, .n_choices = 1, .has_content = 1, .n_text = 2}},
    {DELTA("{\"content\":null,\"reasoning_content\":\"So\"}"),
     {.is_json = 1, .n_choices = 1, .has_content = 1, .n_text = 2}},
    {DELTA("{\"refusal\":\"No.\"}"), {.is_json = 1, .n_choices = 1, .has_content = 1, .n_text = 3}},
    {DELTA("{\"tool_calls\":[{\"index\":0}]}"),
     {.is_json = 1, .n_choices = 1, .has_content = 1, .n_text = 13}},
    {DELTA("{\"function_call\":{\"name\":\"f\"}}"),
     {.is_json = 1, .n_choices = 1, .has_content = 1, .n_text = 12}},
    {DELTA("{\"content\":[ ]}"), {.is_json = 1, .n_choices = 1}},
    {DELTA("{\"audio\":{\"data\":\"x\"}}"), {.is_json = 1, .n_choices = 1}},
    {DELTA("null"), {.is_json = 1, .n_choices = 1}},
    {ENDS("\"stop\""), {.is_json = 1, .n_choices = 1, .n_finished = 1, .finish = FINISH_STOP}},
    {ENDS("\"length\""), {.is_json = 1, .n_choices = 1, .n_finished = 1, .finish = FINISH_LENGTH}},
    {ENDS("\"tool_calls\""),
     {.is_json = 1, .n_choices = 1, .n_finished = 1, .finish = FINISH_TOOL_CALLS}},
    {ENDS("\"function_call\""),
     {.is_json = 1, .n_choices = 1, .n_finished = 1, .finish = FINISH_TOOL_CALLS}},
    {ENDS("\"content_filter\""),
     {.is_json = 1, .n_choices = 1, .n_finished = 1, .finish = FINISH_CONTENT_FILTER}},
    {ENDS("\"eos\""), {.is_json = 1, .n_choices = 1, .n_finished = 1, .finish = FINISH_STOP}},
    {ENDS("\"\""), {.is_json = 1, .n_choices = 1}}, /* some say so until the end */
    {"{\"choices\":[{\"index\":0,\"delta\":{\"content\":\"a\"},\"finish_reason\":\"length\"},"
     "{\"index\":1,\"delta\":{\"content\":\"bc\"},\"finish_reason\":\"length\"}]}",
     {.is_json = 1,
      .n_choices = 2,
      .has_content = 1,
      .n_text = 3,
      .n_finished = 2,
      .finish = FINISH_LENGTH}},
    {"{\"object\":\"chat.completion\",\"choices\":[{\"index\":0,\"message\":{\"role\":"
     "\"assistant\",\"content\":\"Hi\"},\"finish_reason\":\"stop\"}],\"usage\":null}",
     {.is_json = 1, .n_choices = 1, .has_content = 1, .n_text = 2, .n_finished = 1}},
    {"{\"object\":\"text_completion\",\"choices\":[{\"text\":\"Hi\",\"finish_reason\":null}]}",
     {.is_json = 1, .n_choices = 1, .has_content = 1, .n_text = 2}},
    {"{\"choices\":[{\"text\":\"\",\"finish_reason\":\"length\"}]}",
     {.is_json = 1, .n_choices = 1, .n_finished = 1, .finish = FINISH_LENGTH}},
    {"{\"choices\":[]}", {.is_json = 1}},
    {"{\"choices\":null}", {.is_json = 1}},
    {"{\"choices\":[3,\"x\",null]}", {.is_json = 1, .n_choices = 3}},
    {" { } ", {.is_json = 1}},
    {"{\"error\":{\"message\":\"no\"}}", {.is_json = 1, .is_error = 1}},
    {"{\"error\":\"no\"}", {.is_json = 1, .is_error = 1}},
    {"{\"error\":null,\"choices\":[]}", {.is_json = 1}},
    {"{\"id\":\"x\",\"error\":{}}", {.is_json = 1, .is_error = 1}},
    {"", {0}},
    {"[DONE]", {0}},
    {"[]", {0}},
    {"\"error\"", {0}},
    {"{\"choices\":[]}}", {0}},
    {"{\"choices\":[]} {}", {0}},
    {"{\"choices\":[{\"delta\":{\"content\":\"a\nb\"}}]}", {0}},
    {"{\"error\":{\"message\":\"no\"},}", {0}},
};

static void look_at(const char *json, size_t n, struct api_relayed_piece *ret)
{
    char *copy = malloc(n ? n : 1);

    memcpy(copy, json, n);
    api_relayed_look(copy, n, ret);
    if (ret->end)
        assert_true(*ret->end == '}' && ret->end < copy + n);
    free(copy);
    ret->end = ret->usage = NULL;
}

static void looks(void **state)
{
    for (size_t i = 0; i < ARRAY_LEN(chunks); i++) {
        const struct api_relayed_piece *w = &chunks[i].want;
        struct api_relayed_piece p;
        look_at(chunks[i].json, strlen(chunks[i].json), &p);
        if (p.is_json != w->is_json || p.is_error != w->is_error ||
            p.has_content != w->has_content || p.n_finished != w->n_finished ||
            p.n_choices != w->n_choices || p.n_text != w->n_text || p.finish != w->finish)
            fail_msg("%s: json %d error %d content %d finished %d choices %d text %zu finish %d",
                     chunks[i].json, p.is_json, p.is_error, p.has_content, p.n_finished,
                     p.n_choices, p.n_text, (int)p.finish);
    }
}

/* A cut chunk is no chunk, and says nothing. */
static void looks_at_cut_chunks(void **state)
{
    static const struct api_relayed_piece nothing;

    for (size_t i = 0; i < ARRAY_LEN(chunks); i++) {
        const char *last = strrchr(chunks[i].json, '}');
        if (!chunks[i].want.is_json)
            continue;
        for (size_t n = 0; n < (size_t)(last - chunks[i].json); n++) {
            struct api_relayed_piece p;
            look_at(chunks[i].json, n, &p);
            assert_memory_equal(&p, &nothing, sizeof p);
        }
    }
}

static void looks_for_usage_and_end(void **state)
{
    static const char json[] = " {\"usage\": {\"prompt_tokens\":1} , \"choices\":[] }\t\n";
    static const char none[] = "{\"usage\":null,\"choices\":[{\"usage\":{\"prompt_tokens\":1}}]}";
    struct api_relayed_piece p;

    api_relayed_look(json, strlen(json), &p);
    assert_int_equal(p.n_usage, strlen("{\"prompt_tokens\":1}"));
    assert_memory_equal(p.usage, "{\"prompt_tokens\":1}", p.n_usage);
    assert_string_equal(p.end, "}\t\n");
    api_relayed_look(none, strlen(none), &p);
    assert_true(p.is_json && !p.usage && !p.n_usage);
}

static const struct {
    const char *last, *usage, *want;
} joins[] = {
    {"{}", "{\"usage\":{}}", "{\"usage\":{}}"},
    {"{\"id\":\"a\", \"choices\": [{}]}", "{\"id\":\"a\",\"choices\":[],\"usage\": {\"a\": 1}}",
     "{\"id\":\"a\",\"choices\": [{}],\"usage\": {\"a\": 1}}"},
    {"{\"usage\":null,\"choices\":[{}]}", "{\"choices\":[],\"usage\":{\"a\":1}}",
     "{\"choices\":[{}],\"usage\":{\"a\":1}}"},
    {"{\"choices\":[{}],\"time_info\":null,\"x\":null}",
     "{\"x\":null,\"y\":null,\"time_info\":{\"t\":2},\"usage\":{},\"z\":[1,\"é\"]}",
     "{\"choices\":[{}],\"x\":null,\"usage\":{},\"time_info\":{\"t\":2},\"z\":[1,\"é\"]}"},
    {"{\"usage\":{\"a\":1}}", "{\"usage\":{\"a\":2}}", "{\"usage\":{\"a\":1}}"},
    {"{\"created\":1}", "{\"created\":2,\"usage\":{}}", "{\"created\":1,\"usage\":{}}"},
    {"{\"created\":1}", "{\"created\":2}", "{\"created\":1}"}, /* it has no usage */
};

static void joins_usage_to_the_last_chunk(void **state)
{
    struct buf many, out;

    buf_init(&out, 1 << 16);
    for (size_t i = 0; i < ARRAY_LEN(joins); i++) {
        buf_clear(&out);
        assert_int_equal(api_relayed_join(joins[i].last, strlen(joins[i].last), joins[i].usage,
                                          strlen(joins[i].usage), &out),
                         0);
        assert_string_equal(out.data, joins[i].want);
    }
    buf_clear(&out);
    assert_int_equal(api_relayed_join("[]", 2, "{\"usage\":{}}", 12, &out), ERR_FORMAT);
    buf_init(&many, 1 << 16); /* usage is taken, however much stands before it */
    for (int i = 0; i < 100; i++)
        buf_addf(&many, "%c\"x%d\":1", i ? ',' : '{', i);
    buf_add_str(&many, ",\"usage\":{}}");
    assert_int_equal(api_relayed_join("{}", 2, many.data, many.len, &out), 0);
    assert_int_equal(strncmp(out.data, "{\"usage\":{},\"x0\":1,", 19), 0);
    assert_true(strstr(out.data, "\"x14\":1}") && !strstr(out.data, "\"x15\""));
    buf_done(&many);
    buf_done(&out);
}

static void estimates(void **state)
{
    assert_int_equal(api_relayed_estimate(0), 0);
    assert_int_equal(api_relayed_estimate(1), 1); /* what was told was not for nothing */
    assert_int_equal(api_relayed_estimate(4000), 1000);
}

/* ---- on to the client ------------------------------------------------------------------------ */

struct run {
    struct arena a;
    struct api_request q;
    struct api_reply *r;
    struct buf out;
};

static void open_run(struct run *s, const char *more, size_t text_max)
{
    struct api_reply_setup setup = {.id = "i", .relayed = 1, .text_max = text_max};
    struct buf body;
    struct err e;

    memset(s, 0, sizeof *s);
    arena_init(&s->a, 4096, 1 << 20);
    buf_init(&s->out, 1 << 16);
    buf_init(&body, 4096);
    buf_addf(&body, "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"\"}]%s}",
             more);
    assert_int_equal(
        api_parse(api_dialects[API_CHAT], &s->q, &s->a, body.data, body.len, NULL, NULL, &e), 0);
    buf_done(&body);
    setup.req = &s->q;
    assert_int_equal(api_reply_new(&s->r, &setup), 0);
}

static void close_run(struct run *s)
{
    api_reply_free(s->r);
    buf_done(&s->out);
    api_request_done(&s->q);
    arena_done(&s->a);
}

static int relay(struct run *s, const char *text)
{
    struct event ev = {.kind = EVENT_RELAY, .text = text, .n_text = strlen(text)};

    return api_reply_event(s->r, &ev, &s->out);
}

static void relays_stream(void **state)
{
    struct run s;

    open_run(&s, ",\"stream\":true", 0);
    assert_int_equal(api_reply_begin(s.r, &s.out), 0);
    assert_int_equal(s.out.len, 0); /* its supplier says the role */
    assert_int_equal(api_reply_event(s.r, &(struct event){.kind = EVENT_STARTED}, &s.out), 0);
    assert_int_equal(relay(&s, "{ \"x\":\"\\n\xc3\xa9\", \"n\":1.50 }"), 0);
    assert_int_equal(relay(&s, "{\n\"choices\":[],\n\n\"y\":2}"), 0); /* came on lines of its own */
    assert_false(api_reply_is_done(s.r));
    assert_int_equal(api_reply_event(s.r, &(struct event){.kind = EVENT_DONE}, &s.out), 0);
    assert_string_equal(s.out.data, "data: { \"x\":\"\\n\xc3\xa9\", \"n\":1.50 }\n\n"
                                    "data: { \"choices\":[],  \"y\":2}\n\n"
                                    "data: [DONE]\n\n");
    assert_true(api_reply_is_done(s.r));
    close_run(&s);
}

static void relays_error_within_stream(void **state)
{
    static const char want[] = "data: {\"choices\":[]}\n\ndata: {\"error\":{";
    struct event ev = {.kind = EVENT_ERROR};
    struct run s;
    struct err e;

    err_set(&e, ERR_RESET, "The supplier's answer ended in the middle.");
    ev.err = &e;
    open_run(&s, ",\"stream\":true", 0);
    assert_int_equal(relay(&s, "{\"choices\":[]}"), 0);
    assert_int_equal(api_reply_event(s.r, &ev, &s.out), 0);
    assert_memory_equal(s.out.data, want, strlen(want));
    assert_null(strstr(s.out.data, "[DONE]"));
    assert_true(api_reply_is_done(s.r));
    close_run(&s);
}

static void relays_body(void **state)
{
    struct run s;

    open_run(&s, "", 20);
    assert_int_equal(relay(&s, "{\"a\":\n"), 0);
    assert_int_equal(relay(&s, " 1 }\n"), 0);
    assert_int_equal(s.out.len, 0);
    assert_int_equal(api_reply_bytes(s.r), 11);
    assert_int_equal(api_reply_event(s.r, &(struct event){.kind = EVENT_DONE}, &s.out), 0);
    assert_int_equal(api_reply_body(s.r, &s.out), 0);
    assert_string_equal(s.out.data, "{\"a\":\n 1 }\n");
    close_run(&s);
}

static void relayed_body_has_a_limit(void **state)
{
    struct run s;

    open_run(&s, "", 20);
    assert_int_equal(relay(&s, "12345678901234567890"), 0);
    assert_int_equal(relay(&s, "1"), ERR_LIMIT);
    close_run(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(stream_in_any_pieces),
        cmocka_unit_test(line_over_the_limit),
        cmocka_unit_test(event_over_the_limit),
        cmocka_unit_test(joins_usage_to_the_last_chunk),
        cmocka_unit_test(looks),
        cmocka_unit_test(looks_at_cut_chunks),
        cmocka_unit_test(looks_for_usage_and_end),
        cmocka_unit_test(estimates),
        cmocka_unit_test(relays_stream),
        cmocka_unit_test(relays_error_within_stream),
        cmocka_unit_test(relays_body),
        cmocka_unit_test(relayed_body_has_a_limit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
