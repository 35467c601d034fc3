/* What is held of energy follows what was seen, and wears off. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "policy/energy_rate.h"

static int64_t most(const struct energy_rate *r, int64_t prompt, int64_t output)
{
    struct energy_rates k = energy_rate_look(r);

    return energy_rates_uj(&k, prompt, output);
}

static void the_greatest_counts_and_wears_off(void **state)
{
    struct energy_rate r = {0};
    int64_t was;

    assert_int_equal(most(&r, 100, 100), -1);
    energy_rate_add(&r, 100, 0, 5000); /* 50 microjoules a token of prompts, 400 of answers */
    assert_int_equal(most(&r, 100, 0), 5000);
    assert_int_equal(most(&r, 100, 10), 5000 + 4000);
    energy_rate_add(&r, 0, 10, 8000); /* twice as much */
    assert_int_equal(most(&r, 100, 10), 18000);
    was = most(&r, 1000, 0);
    for (int i = 0; i < 1000; i++) {
        energy_rate_add(&r, 100, 0, 5000);
        assert_true(most(&r, 1000, 0) <= was);
        was = most(&r, 1000, 0);
    }
    assert_in_range(was, 50000, 51000);
}

static void nothing_is_no_measure(void **state)
{
    struct energy_rate r = {0};

    energy_rate_add(&r, 0, 0, 5000);
    energy_rate_add(&r, 10, 10, -1);
    assert_int_equal(most(&r, 1, 1), -1);
    energy_rate_add(&r, 10, 10, 0); /* but this is one */
    assert_in_range(most(&r, 10, 10), 0, 1);
    energy_rate_add(&r, 1, 0, INT64_MAX);
    assert_true(most(&r, INT32_MAX, INT32_MAX) == INT64_MAX);
}

static void by_rates_that_are_known(void **state)
{
    assert_int_equal(energy_rates_uj(&(struct energy_rates){20000000, 100000000}, 11, 4), 620000);
    assert_int_equal(energy_rates_uj(&(struct energy_rates){1, 0}, 1, 0), 1); /* rounded up */
    assert_int_equal(energy_rates_uj(&(struct energy_rates){0, 0}, 1000, 1000), 0);
    assert_int_equal(energy_rates_afford(&(struct energy_rates){1000, 5000}, 10, 60), 10);
    assert_int_equal(energy_rates_afford(&(struct energy_rates){1000, 5000}, 10, 9), -1);
    assert_int_equal(energy_rates_afford(&(struct energy_rates){1000, 5000}, 10, 10), 0);
    assert_true(energy_rates_afford(&(struct energy_rates){0, 0}, 10, 0) == ENERGY_TOKENS_MAX);
    assert_int_equal(energy_rates_afford(&(struct energy_rates){-1, -1}, 1, 1000), -1);
    assert_true(energy_rates_uj(&(struct energy_rates){INT64_MAX, INT64_MAX}, INT32_MAX,
                                INT32_MAX) == INT64_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_greatest_counts_and_wears_off),
        cmocka_unit_test(nothing_is_no_measure),
        cmocka_unit_test(by_rates_that_are_known),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
