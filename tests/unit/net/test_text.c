/* Pure text helpers: server-sent event frames and request targets. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "net/sse.h"
#include "net/url.h"

static void test_sse_frames(void **state)
{
    struct buf b;

    buf_init(&b, 4096);
    assert_int_equal(sse_data_str(&b, SSE_PLAIN, "{\"a\":1}"), 0);
    assert_string_equal(b.data, "data: {\"a\":1}\n\n");
    buf_clear(&b);
    assert_int_equal(sse_data_str(&b, SSE_EXTRA, "[DONE]"), 0);
    assert_string_equal(b.data, "data: [DONE]\n\n\n");
    buf_clear(&b);
    assert_int_equal(sse_comment(&b, SSE_PLAIN, "ping"), 0);
    assert_string_equal(b.data, ": ping\n\n");
    buf_clear(&b);
    assert_int_equal(sse_event(&b, SSE_PLAIN, "delta", "7", "a\nb\r\nc\rd\n", 9), 0);
    assert_string_equal(b.data,
                        "event: delta\nid: 7\ndata: a\ndata: b\ndata: c\ndata: d\ndata: \n\n");
    buf_done(&b);
}

static void test_sse_refusals(void **state)
{
    struct buf b;

    buf_init(&b, 16);
    assert_true(sse_data(&b, SSE_PLAIN, "", 0) < 0);
    assert_true(sse_comment(&b, SSE_PLAIN, "a\ndata: x") < 0);
    assert_true(sse_event(&b, SSE_PLAIN, "a\rb", NULL, "x", 1) < 0);
    assert_true(sse_event(&b, SSE_PLAIN, NULL, "a\nb", "x", 1) < 0);
    assert_int_equal(b.len, 0);
    assert_true(sse_data_str(&b, SSE_PLAIN, "longer than the ceiling") < 0);
    buf_done(&b);
}

static void test_sse_form(void **state)
{
    assert_int_equal(sse_form_for("Cerebras/JS 1.91.0"), SSE_EXTRA);
    assert_int_equal(sse_form_for("Cerebras/Python 1.0"), SSE_PLAIN);
    assert_int_equal(sse_form_for("x Cerebras/JS"), SSE_PLAIN);
    assert_int_equal(sse_form_for(NULL), SSE_PLAIN);
}

static void test_url_split(void **state)
{
    size_t n;
    const char *q;

    url_split("/a/b?c=d?e", &n, &q);
    assert_int_equal(n, 4);
    assert_string_equal(q, "c=d?e");
    url_split("/a", &n, &q);
    assert_int_equal(n, 2);
    assert_string_equal(q, "");
    url_split("/a?", &n, &q);
    assert_int_equal(n, 2);
    assert_string_equal(q, "");
}

static void test_url_decode(void **state)
{
    char out[8];

    assert_int_equal(url_decode("a%2fb+", 6, 0, out, sizeof out), 4);
    assert_string_equal(out, "a/b+");
    assert_int_equal(url_decode("a+b", 3, 1, out, sizeof out), 3);
    assert_string_equal(out, "a b");
    assert_int_equal(url_decode("%C3%A9", 6, 0, out, sizeof out), 2);
    assert_string_equal(out, "\xc3\xa9");
    assert_int_equal(url_decode("1234567", 7, 0, out, sizeof out), 7);
    assert_int_equal(url_decode("12345678", 8, 0, out, sizeof out), -7);
    assert_int_equal(url_decode("%00", 3, 0, out, sizeof out), -4);
    assert_int_equal(url_decode("%", 1, 0, out, sizeof out), -4);
    assert_int_equal(url_decode("%4", 2, 0, out, sizeof out), -4);
    assert_int_equal(url_decode("%41", 2, 0, out, sizeof out), -4); /* cut by the length */
    assert_int_equal(url_decode("%g1", 3, 0, out, sizeof out), -4);
    assert_int_equal(url_decode("", 0, 0, out, sizeof out), 0);
    assert_int_equal(url_decode("", 0, 0, out, 0), -7);
}

static void test_url_query(void **state)
{
    static const char q[] = "a=1&bb=x%20y+z&&c&=v&%64=4&a=2&bad=%zz";
    char out[16];

    assert_int_equal(url_query(q, "a", out, sizeof out), 1);
    assert_string_equal(out, "1");
    assert_int_equal(url_query(q, "bb", out, sizeof out), 5);
    assert_string_equal(out, "x y z");
    assert_int_equal(url_query(q, "c", out, sizeof out), 0);
    assert_int_equal(url_query(q, "d", out, sizeof out), 1);
    assert_string_equal(out, "4");
    assert_int_equal(url_query(q, "b", out, sizeof out), -6);
    assert_int_equal(url_query(q, "", out, sizeof out), -6);
    assert_int_equal(url_query(q, "bad", out, sizeof out), -4);
    assert_int_equal(url_query("", "a", out, sizeof out), -6);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sse_frames), cmocka_unit_test(test_sse_refusals),
        cmocka_unit_test(test_sse_form),   cmocka_unit_test(test_url_split),
        cmocka_unit_test(test_url_decode), cmocka_unit_test(test_url_query),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
