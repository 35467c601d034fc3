/* What rules find, what they leave, and the texts of requests as they are stored. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "console/request_text.h"

static void expect(struct redact *r, const char *text, const char *want)
{
    struct buf b;

    buf_init(&b, 1 << 20);
    assert_int_equal(redact_text(r, text, strlen(text), &b), 0);
    assert_string_equal(b.data, want);
    buf_done(&b);
}

static struct redact *make(const char *const *rules, int n)
{
    struct redact *r;
    struct err e;

    assert_int_equal(redact_new(&r, rules, n, &e), 0);
    return r;
}

static void test_rules(void **state)
{
    struct redact *r = make(NULL, 0);

    expect(r, "write to ann.lee+x@mail.example.org, or", "write to [email], or");
    expect(r, "card 4111 1111 1111 1111 or 4111-1111-1111-1111.", "card [card] or [card].");
    expect(r, "to DE89 3704 0044 0532 0130 00 today", "to [iban] today");
    expect(r, "call +49 (0)89 1234567 or 0049891234567", "call [phone] or [phone]");
    expect(r, "key sk-abcDEF0123456789abc and ghp_0123456789abcdefghij",
           "key [secret] and [secret]");
    expect(r, "in 2026, 12345 of 1.234.567,89 and 42@7", "in 2026, 12345 of 1.234.567,89 and 42@7");
    expect(r, "größer: 日本語 👋 é@", "größer: 日本語 👋 é@");
    expect(r, "", "");
    redact_free(r);
}

static void test_own_patterns(void **state)
{
    static const char *const rules[] = {"email", "ACME-[0-9]+", "x*"};
    struct redact *r = make(rules, 3);

    expect(r, "ACME-42 a@b.de 4111111111111111", "[redacted] [email] 4111111111111111");
    redact_free(r);
}

static void test_no_rule(void **state)
{
    static const char *const wrong[] = {"(open"};
    const char *many[REDACT_PATTERNS_MAX + 1];
    struct redact *r;
    struct err e;

    assert_true(redact_new(&r, wrong, 1, &e) < 0);
    assert_non_null(strstr(e.text, "(open"));
    for (size_t i = 0; i < REDACT_PATTERNS_MAX + 1; i++)
        many[i] = "a";
    assert_true(redact_new(&r, many, REDACT_PATTERNS_MAX + 1, &e) < 0);
}

/* A pattern that would take for ever gives up, and nothing of the text is stored. */
static void test_hostile(void **state)
{
    static const char *const rules[] = {"(a+)+$"};
    struct redact *r = make(rules, 1);
    char *text = malloc(100001);

    memset(text, 'a', 100000);
    text[100000] = 0;
    expect(r, text, "[redacted]"); /* too long */
    strcpy(text + 5000, "b");
    expect(r, text, "[redacted]"); /* too much work */
    free(text);
    redact_free(r);
}

static void expect_text(struct redact *r, int kind, const char *bytes, const char *want)
{
    size_t n = strlen(bytes);
    struct buf b;
    int code;

    buf_init(&b, 1 << 20);
    code =
        kind < 0 ? request_text_body(r, bytes, n, &b) : request_text_answer(r, bytes, n, kind, &b);
    if (!want) {
        assert_true(code < 0);
    } else {
        assert_int_equal(code, 0);
        assert_string_equal(b.data, want);
    }
    buf_done(&b);
}

static void test_texts(void **state)
{
    struct redact *r = make(NULL, 0);

    expect_text(r, -1, "{\"messages\":[{\"role\":\"user\",\"content\":\"a@b.de\"}],\"n\":2}",
                "{\"messages\":[{\"role\":\"user\",\"content\":\"[email]\"}],\"n\":2}");
    expect_text(r, -1, "{\"x\":\"a\\u0040b.de\"}", "{\"x\":\"[email]\"}"); /* not by its spelling */
    expect_text(r, -1, "[]", NULL);
    expect_text(r, -1, "{", NULL);
    expect_text(
        r, 0,
        "{\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":\"hi\"},"
        "\"finish_reason\":\"stop\"}]}",
        "[{\"role\":\"assistant\",\"content\":\"hi\",\"finish_reason\":\"stop\"}]");
    expect_text(r, 0, "{\"error\":{}}", NULL);
    redact_free(r);
}

static void test_streams(void **state)
{
    struct redact *r = make(NULL, 0);

    expect_text(r, 1,
                "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"a@\"}}]}\n\n"
                ": ping\n\n"
                "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"b.de\"}},"
                "{\"index\":1,\"delta\":{\"content\":\"other\"},\"finish_reason\":\"stop\"}]}\n\n"
                "data: {\"choices\":[{\"index\":99,\"delta\":{\"content\":\"no\"}},"
                "{\"index\":-1,\"delta\":{}}]}\n\n"
                "data: [DONE]\n\ndata: {\"choi",
                "[{\"role\":\"assistant\",\"content\":\"[email]\"},"
                "{\"role\":\"assistant\",\"content\":\"other\",\"finish_reason\":\"stop\"}]");
    expect_text(r, 1,
                "data: {\"choices\":[{\"index\":0,\"delta\":{\"tool_calls\":[{\"index\":0,\"id\":"
                "\"c1\",\"function\":{\"name\":\"f\",\"arguments\":\"{\"}}]}}]}\n\n"
                "data: {\"choices\":[{\"index\":0,\"delta\":{\"tool_calls\":[{\"index\":0,"
                "\"function\":{\"arguments\":\"}\"}}]}}]}\n\n",
                "[{\"role\":\"assistant\",\"content\":\"\",\"tool_calls\":[{\"type\":\"function\","
                "\"function\":{\"name\":\"f\",\"arguments\":\"{}\"},\"id\":\"c1\"}]}]");
    expect_text(r, 1, "data: {}\n\n", NULL);
    redact_free(r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rules),   cmocka_unit_test(test_own_patterns),
        cmocka_unit_test(test_no_rule), cmocka_unit_test(test_hostile),
        cmocka_unit_test(test_texts),   cmocka_unit_test(test_streams),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
