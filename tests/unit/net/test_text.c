/* Server-sent event frames. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "net/sse.h"

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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sse_frames),
        cmocka_unit_test(test_sse_refusals),
        cmocka_unit_test(test_sse_form),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
