/* Messages: what is taken and what becomes of it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "api/api.h"
#include "base/check.h"

static const struct api_options strict = {.strict = 1}, keep = {.keep_developer = 1};

static int check(const char *text, const struct api_options *o, struct buf *out, struct err *e)
{
    json_t *in = NULL, *msgs = NULL;
    int r;

    assert_int_equal(json_parse(&in, text, strlen(text), 0, e), 0);
    r = api_messages_check(&msgs, in, o, e);
    json_decref(in);
    buf_clear(out);
    if (!r)
        json_put_tree(out, msgs);
    else
        assert_null(msgs);
    json_decref(msgs);
    return r;
}

#define U "{\"role\":\"user\",\"content\":\"q\"}"
#define CALL(id)                                                                                   \
    "{\"id\":\"" id "\",\"type\":\"function\",\"function\":{\"name\":\"f\",\"arguments\":\"\"}}"

static void test_good(void **state)
{
    static const struct {
        const char *in, *out;
        const struct api_options *o;
    } rows[] = {
        {"[" U "]", "[" U "]", NULL},
        {"[{\"content\":\"\",\"role\":\"system\",\"name\":\"n\",\"x\":1}]",
         "[{\"role\":\"system\",\"content\":\"\",\"name\":\"n\"}]", NULL},
        {"[{\"role\":\"developer\",\"content\":\"d\"}]",
         "[{\"role\":\"system\",\"content\":\"d\"}]", NULL},
        {"[{\"role\":\"developer\",\"content\":\"d\"}]",
         "[{\"role\":\"developer\",\"content\":\"d\"}]", &keep},
        {"[{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"a\"},{\"type\":\"text\","
         "\"text\":\"b\\n\"}],\"name\":null}]",
         "[{\"role\":\"user\",\"content\":\"ab\\n\"}]", NULL},
        {"[{\"role\":\"user\",\"content\":[]}]", "[{\"role\":\"user\",\"content\":\"\"}]", NULL},
        {"[" U ",{\"role\":\"assistant\"}]", "[" U ",{\"role\":\"assistant\",\"content\":\"\"}]",
         NULL},
        {"[{\"role\":\"assistant\",\"content\":null,\"tool_calls\":null}]",
         "[{\"role\":\"assistant\",\"content\":\"\"}]", NULL},
        {"[{\"role\":\"assistant\",\"content\":\"a\",\"reasoning_content\":\"r\",\"refusal\":null}"
         "]",
         "[{\"role\":\"assistant\",\"content\":\"a\",\"reasoning_content\":\"r\"}]", NULL},
        {"[{\"role\":\"assistant\",\"content\":\"a\",\"reasoning\":[{\"type\":\"text\",\"text\":"
         "\"r\"}]}]",
         "[{\"role\":\"assistant\",\"content\":\"a\",\"reasoning_content\":\"r\"}]", NULL},
        {"[{\"role\":\"assistant\",\"content\":[{\"type\":\"refusal\",\"refusal\":\"no\"},{"
         "\"type\":"
         "\"text\",\"text\":\"t\"}]}]",
         "[{\"role\":\"assistant\",\"content\":\"t\"}]", NULL},
        /* arguments: an object where they parse to one, text otherwise */
        {"[{\"role\":\"assistant\",\"tool_calls\":[{\"id\":\"1\",\"function\":{\"name\":\"f\","
         "\"arguments\":\"{\\\"a\\\": [1, 2.5]}\"}}]},{\"role\":\"tool\",\"tool_call_id\":\"1\","
         "\"content\":\"r\"}]",
         "[{\"role\":\"assistant\",\"content\":\"\",\"tool_calls\":[{\"id\":\"1\",\"type\":"
         "\"function\",\"function\":{\"name\":\"f\",\"arguments\":{\"a\":[1,2.5]}}}]},{\"role\":"
         "\"tool\",\"content\":\"r\",\"tool_call_id\":\"1\"}]",
         NULL},
        {"[{\"role\":\"assistant\",\"content\":\"t\",\"tool_calls\":[{\"id\":\"1\",\"type\":"
         "\"function\",\"function\":{\"name\":\"f\",\"arguments\":\"{\\\"a\\\": \"}}]},{\"role\":"
         "\"tool\",\"tool_call_id\":\"1\"}]",
         "[{\"role\":\"assistant\",\"content\":\"t\",\"tool_calls\":[{\"id\":\"1\",\"type\":"
         "\"function\",\"function\":{\"name\":\"f\",\"arguments\":\"{\\\"a\\\": \"}}]},{\"role\":"
         "\"tool\",\"content\":\"\",\"tool_call_id\":\"1\"}]",
         NULL},
        /* a missing answer is made up, after those that came */
        {"[{\"role\":\"assistant\",\"tool_calls\":[" CALL("1") "," CALL(
             "2") "]},"
                  "{\"role\":\"tool\",\"tool_call_id\":\"2\",\"content\":\"r\"}," U "]",
         "[{\"role\":\"assistant\",\"content\":\"\",\"tool_calls\":[" CALL("1") "," CALL(
             "2") "]},"
                  "{\"role\":\"tool\",\"content\":\"r\",\"tool_call_id\":\"2\"},"
                  "{\"role\":\"tool\",\"content\":\"\",\"tool_call_id\":\"1\"}," U "]",
         NULL},
        {"[{\"role\":\"function\",\"name\":\"f\",\"content\":\"r\"}]",
         "[{\"role\":\"tool\",\"content\":\"r\",\"name\":\"f\"}]", NULL},
        {"[{\"role\":\"assistant\",\"tool_calls\":[" CALL(
             "1") "]},{\"role\":\"tool\","
                  "\"tool_call_id\":\"1\",\"content\":\"r\"}]",
         "[{\"role\":\"assistant\",\"content\":\"\",\"tool_calls\":[" CALL(
             "1") "]},{\"role\":"
                  "\"tool\",\"content\":\"r\",\"tool_call_id\":\"1\"}]",
         &strict},
    };
    struct buf b;
    struct err e;

    buf_init(&b, 10000);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        if (check(rows[i].in, rows[i].o, &b, &e))
            fail_msg("%s: %s", rows[i].in, e.text);
        assert_string_equal(b.data, rows[i].out);
    }
    buf_done(&b);
}

/* No content is one thing, however it is written and whoever says it. */
static void test_nothing(void **state)
{
    static const char *const forms[] = {"", ",\"content\":null", ",\"content\":\"\"",
                                        ",\"content\":[]"};
    static const char *const messages[] = {
        "{\"role\":\"system\"%s}",
        "{\"role\":\"user\"%s}",
        "{\"role\":\"assistant\"%s}",
        "{\"role\":\"function\",\"name\":\"f\"%s}",
        "{\"role\":\"assistant\",\"tool_calls\":[" CALL(
            "1") "]%s},{\"role\":\"tool\","
                 "\"tool_call_id\":\"1\",\"content\":\"r\"}",
        "{\"role\":\"assistant\",\"tool_calls\":[" CALL("1") "]},{\"role\":\"tool\","
                                                             "\"tool_call_id\":\"1\"%s}"};
    static const struct api_options plain;
    const struct api_options *const dialects[] = {&plain, &strict};
    struct buf b, first;
    struct err e;

    buf_init(&b, 10000);
    buf_init(&first, 10000);
    for (size_t i = 0; i < ARRAY_LEN(messages); i++) {
        for (size_t k = 0; k < ARRAY_LEN(dialects) * ARRAY_LEN(forms); k++) {
            char text[500] = "[";
            size_t n = 1 + (size_t)snprintf(text + 1, sizeof text - 2, messages[i],
                                            forms[k % ARRAY_LEN(forms)]);
            text[n] = ']';
            if (check(text, dialects[k / ARRAY_LEN(forms)], k ? &b : &first, &e))
                fail_msg("%s: %s", text, e.text);
            if (!k)
                assert_non_null(strstr(first.data, "\"content\":\"\""));
            else
                assert_string_equal(b.data, first.data);
        }
    }
    buf_done(&b);
    buf_done(&first);
}

static void test_bad(void **state)
{
    static const struct {
        const char *in, *words;
        int code;
        const struct api_options *o;
    } rows[] = {
        {"{}", "messages: must be an array, not an object", ERR_SCHEMA, NULL},
        {"[]", "messages: must have at least one", ERR_SCHEMA, NULL},
        {"[1]", "messages.0: must be an object, not an integer", ERR_SCHEMA, NULL},
        {"[" U ",{}]", "messages.1.role: is required", ERR_SCHEMA, NULL},
        {"[{\"role\":\"boss\"}]", "messages.0.role: must be one of system", ERR_SCHEMA, NULL},
        {"[{\"role\":5}]", "messages.0.role: must be one of", ERR_SCHEMA, NULL},
        {"[{\"role\":\"user\",\"content\":5}]",
         "messages.0.content: must be a string or an array of parts, not an integer", ERR_SCHEMA,
         NULL},
        {"[" U ",{\"role\":\"user\",\"content\":[\"x\"]}]",
         "messages.1.content.0: must be an object", ERR_SCHEMA, NULL},
        {"[{\"role\":\"user\",\"content\":[{\"text\":\"x\"}]}]",
         "messages.0.content.0.type: is required", ERR_SCHEMA, NULL},
        {"[{\"role\":\"user\",\"content\":[{\"type\":\"text\"}]}]",
         "messages.0.content.0.text: is required", ERR_SCHEMA, NULL},
        {"[{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":7}]}]",
         "messages.0.content.0.text: must be a string, not an integer", ERR_SCHEMA, NULL},
        {"[{\"role\":\"user\",\"content\":[{\"type\":\"video\"}]}]",
         "messages.0.content.0.type: unknown part type 'video'", ERR_SCHEMA, NULL},
        {"[{\"role\":\"user\",\"content\":[{\"type\":\"image_url\",\"image_url\":\"x\"}]}]",
         "messages.0.content.0.type: 'image_url' parts are not supported yet", ERR_UNSUPPORTED,
         NULL},
        {"[{\"role\":\"user\",\"content\":\"\",\"name\":5}]", "messages.0.name: must be a string",
         ERR_SCHEMA, NULL},
        {"[{\"role\":\"tool\",\"content\":\"\"}]", "messages.0.tool_call_id: is required",
         ERR_SCHEMA, NULL},
        {"[{\"role\":\"assistant\",\"tool_calls\":{}}]",
         "messages.0.tool_calls: must be an array, not an object", ERR_SCHEMA, NULL},
        {"[{\"role\":\"assistant\",\"tool_calls\":[{\"id\":\"1\"}]}]",
         "messages.0.tool_calls.0.function: is required", ERR_SCHEMA, NULL},
        {"[{\"role\":\"assistant\",\"tool_calls\":[{\"id\":\"1\",\"type\":\"x\"}]}]",
         "messages.0.tool_calls.0.type: must be 'function'", ERR_SCHEMA, NULL},
        {"[{\"role\":\"assistant\",\"tool_calls\":[{\"function\":{\"arguments\":\"\"}}]}]",
         "messages.0.tool_calls.0.function.name: is required", ERR_SCHEMA, NULL},
        {"[{\"role\":\"assistant\",\"tool_calls\":[{\"function\":{\"name\":\"f\",\"arguments\":5}}]"
         "}]",
         "messages.0.tool_calls.0.function.arguments: must be a string", ERR_SCHEMA, NULL},
        {"[{\"role\":\"assistant\",\"reasoning\":5}]",
         "messages.0.reasoning: must be a string or an array", ERR_SCHEMA, NULL},
        /* strict */
        {"[{\"role\":\"assistant\",\"tool_calls\":[" CALL("1") "]}," U "]",
         "messages.0.tool_calls.0.id: no tool message answers '1'", ERR_SCHEMA, &strict},
        {"[{\"role\":\"tool\",\"tool_call_id\":\"9\",\"content\":\"\"}]",
         "messages.0.tool_call_id: no tool call before it has the id '9'", ERR_SCHEMA, &strict},
        {"[{\"role\":\"assistant\",\"tool_calls\":[" CALL("1") "," CALL("1") "]}]",
         "messages.0.tool_calls.1.id: '1' was used before", ERR_SCHEMA, &strict},
        {"[{\"role\":\"assistant\",\"tool_calls\":[{\"function\":{\"name\":\"f\"}}]}]",
         "messages.0.tool_calls.0.id: is required", ERR_SCHEMA, &strict},
        {"[{\"role\":\"assistant\",\"tool_calls\":[{\"id\":\"1\",\"function\":{\"name\":\"f\","
         "\"x\":1}}]}]",
         "body.messages.0.tool_calls.0.function.x: property", ERR_SCHEMA, &strict},
    };
    struct buf b;
    struct err e;

    buf_init(&b, 10000);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        int r = check(rows[i].in, rows[i].o, &b, &e);
        if (r != rows[i].code || strncmp(e.text, rows[i].words, strlen(rows[i].words)))
            fail_msg("%s: %d '%s'", rows[i].in, r, r ? e.text : b.data);
    }
    buf_done(&b);
}

/* A last message of the assistant is continued, unless it only calls tools. */
static void test_continue(void **state)
{
    static const struct {
        const char *messages;
        int want;
    } rows[] = {
        {U, 0},
        {U ",{\"role\":\"assistant\",\"content\":\"The\"}", 1},
        {"{\"role\":\"assistant\",\"tool_calls\":[" CALL("1") "]}", 0},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct api_request r;
        struct arena a;
        struct err e;
        char body[500];
        int n =
            snprintf(body, sizeof body, "{\"model\":\"m\",\"messages\":[%s]}", rows[i].messages);
        arena_init(&a, 4096, 65536);
        assert_int_equal(api_parse(api_dialects[API_CHAT], &r, &a, body, (size_t)n, NULL, NULL, &e),
                         0);
        assert_int_equal(r.continue_final, rows[i].want);
        api_request_done(&r);
        arena_done(&a);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good),
        cmocka_unit_test(test_nothing),
        cmocka_unit_test(test_bad),
        cmocka_unit_test(test_continue),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
