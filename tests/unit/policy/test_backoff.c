/* Pauses double, end at a limit, and are never less than half of what they could be. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "policy/backoff.h"

static void test_doubles(void **state)
{
    (void)state;
    assert_int_equal(backoff_pause(1, 5000, 3600000, 0), 5000);
    assert_int_equal(backoff_pause(2, 5000, 3600000, 0), 10000);
    assert_int_equal(backoff_pause(5, 5000, 3600000, 0), 80000);
}

static void test_ends_at_a_limit(void **state)
{
    (void)state;
    assert_int_equal(backoff_pause(100, 5000, 3600000, 0), 3600000);
    assert_int_equal(backoff_pause(1, 5000, 1000, 0), 1000);
    assert_int_equal(backoff_pause(2000000000, 3, INT64_MAX, 0), INT64_MAX);
    assert_int_equal(backoff_pause(9, 0, 1, UINT32_MAX), 1);
}

static void test_half_is_drawn(void **state)
{
    (void)state;
    for (uint32_t r = 0; r < UINT32_MAX - 100000000; r += 100000000) {
        int64_t n = backoff_pause(3, 1000, 1000000, r);
        assert_in_range(n, 2000, 4000);
        assert_true(n >= backoff_pause(3, 1000, 1000000, r + 100000000));
    }
    assert_int_equal(backoff_pause(3, 1000, 1000000, UINT32_MAX), 2001);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_doubles),
        cmocka_unit_test(test_ends_at_a_limit),
        cmocka_unit_test(test_half_is_drawn),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
