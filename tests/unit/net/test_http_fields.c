/* The heads of HTTP/2's requests, field by field. What the wire lets through is in
 * test_net_h2_abuse.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "net/http.h"

static enum http_event feed(struct http_parser *p, const struct http_limits *l,
                            const char *const *fields, int has_body)
{
    http_parser_init(p, l);
    for (; *fields; fields += 2)
        http_parser_field(p, fields[0], strlen(fields[0]), fields[1], strlen(fields[1]));
    return http_parser_fields_end(p, has_body);
}

#define ASK ":authority", "a.test:8", ":method", "POST", ":scheme", "https", ":path", "/p?q=1"

static void a_head_is_that_of_http_1(void **state)
{
    const char *const fields[] = {ASK, "content-length", "7", "accept", "", "x_y", "1", NULL};
    struct http_parser p;

    assert_int_equal(feed(&p, &HTTP_LIMITS_DEFAULT, fields, 1), HTTP_GOT_HEAD);
    assert_int_equal(p.head.method, HTTP_POST);
    assert_string_equal(p.head.target, "/p?q=1");
    assert_string_equal(p.head.host, "a.test:8");
    assert_int_equal(p.head.content_length, 7);
    assert_int_equal(p.head.chunked, 0);
    assert_int_equal(p.head.n_fields, 3);
    assert_string_equal(http_field(&p.head, "Accept"), "");
    assert_string_equal(http_field_name(&p.head, 2), "x_y");
    http_parser_done(&p);
}

static void a_body_of_unknown_length(void **state)
{
    const char *const fields[] = {ASK, "expect", "100-continue", NULL};
    struct http_parser p;

    for (int has_body = 0; has_body < 2; has_body++) {
        assert_int_equal(feed(&p, &HTTP_LIMITS_DEFAULT, fields, has_body), HTTP_GOT_HEAD);
        assert_int_equal(p.head.content_length, -1);
        assert_int_equal(p.head.chunked, has_body);
        assert_int_equal(p.head.expect_continue, has_body);
        http_parser_done(&p);
    }
}

static void cookies_are_joined(void **state)
{
    const char *const fields[] = {ASK,      "a",   "1", "cookie", "x=1",    "b",   "2",
                                  "cookie", "y=2", "c", "3",      "cookie", "z=3", NULL};
    struct http_parser p;

    assert_int_equal(feed(&p, &HTTP_LIMITS_DEFAULT, fields, 0), HTTP_GOT_HEAD);
    assert_int_equal(p.head.n_fields, 4);
    assert_string_equal(http_field(&p.head, "cookie"), "x=1; y=2; z=3");
    assert_string_equal(http_field_name(&p.head, 1), "cookie");
    assert_string_equal(http_field(&p.head, "c"), "3");
    http_parser_done(&p);
}

static void what_is_not_legal_is_named(void **state)
{
    static const struct {
        const char *fields[16];
        int status;
        const char *why;
    } rows[] = {
        {{ASK, ":path", "/"}, 400, "A pseudo-header field was sent twice."},
        {{ASK, "x", "1", ":method", "GET"}, 400, "A pseudo-header field follows an ordinary one."},
        {{ASK, ":protocol", "x"}, 400, "A pseudo-header field is not known here."},
        {{":method", "GET", ":scheme", "http"}, 400, "A pseudo-header field is missing."},
        {{ASK, "X", "1"}, 400, "A header's name is malformed."},
        {{ASK, "x:", "1"}, 400, "A header's name is malformed."},
        {{ASK, "x", "\x01"}, 400, "The head contains a control byte."},
        {{ASK, "x", "1 "}, 400, "A header's value begins or ends with a blank."},
        {{ASK, "connection", "x"}, 400, "A header of connections stands in a message of HTTP/2."},
        {{ASK, "te", "gzip"}, 400, "A header of connections stands in a message of HTTP/2."},
        {{ASK, "host", "b.test"}, 400, "The Host header and the authority differ."},
        {{ASK, "content-length", "1", "content-length", "1"},
         400,
         "A header that may occur once was sent twice."},
        {{ASK, "content-length", "1"}, 400, "There is no body, and Content-Length tells of one."},
        {{":method", "GET", ":scheme", "http", ":path", "/"}, 400, "The Host header is missing."},
        {{":method", "GET", ":scheme", "http", ":path", "*", "host", "t"},
         400,
         "The request target must be a path or an http URL."},
        {{":method", "GET", ":scheme", "http", ":path", "http://t/", "host", "t"},
         400,
         "The path does not begin with a slash."},
        {{":method", "get", ":scheme", "http", ":path", "/", "host", "t"},
         501,
         "The method is not known here."},
        {{":authority", "a b"}, 400, "The authority is malformed."},
    };

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct http_parser p;
        assert_int_equal(feed(&p, &HTTP_LIMITS_DEFAULT, rows[i].fields, 0), HTTP_BAD);
        assert_string_equal(p.why, rows[i].why);
        assert_int_equal(p.status, rows[i].status);
        http_parser_done(&p);
    }
}

static void limits_hold(void **state)
{
    const struct http_limits l = {.line_max = 6, .head_max = 100, .fields_max = 2};
    const char *const few[] = {ASK, "a", "1", "b", "2", NULL};
    const char *const many[] = {ASK, "a", "1", "b", "2", "c", "3", NULL};
    const char *const large[] = {ASK, "a", "12345678901234567890123456789", NULL};
    const char *const longer[] = {":path", "/234567", NULL};
    struct http_parser p;

    assert_int_equal(feed(&p, &l, few, 0), HTTP_GOT_HEAD);
    http_parser_done(&p);
    assert_int_equal(feed(&p, &l, many, 0), HTTP_BAD);
    assert_int_equal(p.status, 431);
    http_parser_done(&p);
    assert_int_equal(feed(&p, &l, large, 0), HTTP_BAD);
    assert_int_equal(p.status, 431);
    http_parser_done(&p);
    assert_int_equal(feed(&p, &l, longer, 0), HTTP_BAD);
    assert_int_equal(p.status, 414);
    http_parser_done(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_head_is_that_of_http_1),
        cmocka_unit_test(a_body_of_unknown_length),
        cmocka_unit_test(cookies_are_joined),
        cmocka_unit_test(what_is_not_legal_is_named),
        cmocka_unit_test(limits_hold),
    };
    return cmocka_run_group_tests_name("net/http fields", tests, NULL, NULL);
}
