/* The buffer: its ceiling to the byte, and a failure that stays. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "base/buf.h"
#include "base/err.h"

static void test_ceiling(void **state)
{
    for (size_t max = 0; max < 300; max += 1 + max / 7) {
        struct buf b;
        buf_init(&b, max);
        for (size_t i = 0; i < max; i++)
            assert_int_equal(buf_add_char(&b, (char)('a' + i % 26)), 0);
        assert_int_equal(buf_add(&b, NULL, 0), 0);
        assert_int_equal(b.data[max], 0);
        assert_int_equal(buf_add_char(&b, '!'), ERR_LIMIT);
        assert_int_equal(b.len, max);
        assert_int_equal(strlen(b.data), max);
        assert_true(b.cap <= max + 1);
        buf_done(&b);
        assert_null(b.data);
        assert_int_equal(b.max, max); /* of use again */
        assert_int_equal(buf_add(&b, "", 0), 0);
        buf_done(&b);
    }
}

static void test_failure_stays(void **state)
{
    struct buf b;

    buf_init(&b, 8);
    assert_int_equal(buf_add_str(&b, "abcdef"), 0);
    assert_int_equal(buf_add_str(&b, "ghi"), ERR_LIMIT);
    assert_int_equal(buf_add_char(&b, 'g'), ERR_LIMIT); /* it would fit */
    assert_int_equal(buf_addf(&b, "%d", 1), ERR_LIMIT);
    assert_int_equal(buf_reserve(&b, 0), ERR_LIMIT);
    assert_string_equal(b.data, "abcdef");
    buf_clear(&b);
    assert_string_equal(b.data, "");
    assert_int_equal(buf_add_str(&b, "12345678"), 0);
    assert_int_equal(buf_reserve(&b, SIZE_MAX), ERR_LIMIT);
    buf_done(&b);
    buf_done(&(struct buf){0});
}

static void test_format(void **state)
{
    struct buf b;
    char long_text[1000];

    memset(long_text, 'x', sizeof long_text - 1);
    long_text[sizeof long_text - 1] = 0;
    buf_init(&b, 1100);
    for (int n = 250; n < 260; n++) { /* around the size of the first try */
        buf_clear(&b);
        assert_int_equal(buf_addf(&b, "%.*s|", n, long_text), 0);
        assert_int_equal(b.len, n + 1);
        assert_int_equal(b.data[n], '|');
    }
    buf_clear(&b);
    assert_int_equal(buf_addf(&b, "%s", long_text), 0);
    assert_int_equal(buf_addf(&b, "%s", long_text), ERR_LIMIT);
    assert_string_equal(b.data, long_text); /* nothing of what did not fit */
    buf_done(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ceiling),
        cmocka_unit_test(test_failure_stays),
        cmocka_unit_test(test_format),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
