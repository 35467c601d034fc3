#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "policy/concentration.h"

#define HOUR SHARE_BUCKET_US

static void index_of(void **state)
{
    const int64_t one[] = {7, 0, 0}, four[] = {5, 5, 5, 5}, mixed[] = {50, 30, 20},
                  debts[] = {10, -10}, large[] = {INT64_MAX, INT64_MAX};

    assert_int_equal(concentration_hhi(NULL, 0), 0);
    assert_int_equal(concentration_hhi(one + 1, 2), 0); /* nobody has anything */
    assert_int_equal(concentration_hhi(one, 3), 10000);
    assert_int_equal(concentration_hhi(four, 4), 2500);
    assert_int_equal(concentration_hhi(mixed, 3), 3800);
    assert_int_equal(concentration_hhi(debts, 2), 10000);
    assert_int_equal(concentration_hhi(large, 2), 5000);
}

static void of_a_day(void **state)
{
    struct share a = {0}, all = {0};

    assert_int_equal(share_is_over(&a, &all, 50, 0), 0); /* nothing of nothing */
    share_add(&a, 60, HOUR);
    share_add(&all, 60, HOUR);
    assert_int_equal(share_is_over(&a, &all, 99, HOUR), 1);
    assert_int_equal(share_is_over(&a, &all, 0, HOUR), 0);
    assert_int_equal(share_is_over(&a, &all, 100, HOUR), 0);
    share_add(&all, 40, 5 * HOUR);
    assert_int_equal(share_is_over(&a, &all, 60, 5 * HOUR), 0);
    assert_int_equal(share_is_over(&a, &all, 59, 5 * HOUR), 1);
    assert_int_equal(share_sum(&all, 24 * HOUR), 100);
    assert_int_equal(share_sum(&all, 25 * HOUR), 40); /* a day later */
    assert_int_equal(share_is_over(&a, &all, 59, 25 * HOUR), 0);
    share_add(&a, 5, 25 * HOUR); /* in the place of the old one */
    share_add(&a, -5, 25 * HOUR);
    assert_int_equal(share_sum(&a, 25 * HOUR), 5);
    share_add(&a, INT64_MAX, 25 * HOUR); /* no sum overflows */
    assert_int_equal(share_sum(&a, 25 * HOUR), 5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(index_of),
        cmocka_unit_test(of_a_day),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
