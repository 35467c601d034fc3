/* Energy of tokens by rates that are known. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "policy/energy_rate.h"

static void by_rates_that_are_known(void **state)
{
    assert_int_equal(energy_rate_uj(20000000, 100000000, 11, 4), 620000);
    assert_int_equal(energy_rate_uj(1, 0, 1, 0), 1); /* rounded up */
    assert_int_equal(energy_rate_uj(0, 0, 1000, 1000), 0);
    assert_true(energy_rate_uj(INT64_MAX, INT64_MAX, INT32_MAX, INT32_MAX) == INT64_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(by_rates_that_are_known),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
