/* Rates: which one holds, and rounding to the nearest nano-unit. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/rand.h"
#include "policy/exchange.h"

static const struct exchange rates[] = {
    {"USD", 920000000, 100}, {"CHF", 1050000000, 0}, {"USD", 900000000, 200},
    {"USD", 910000000, 150}, {"JPY", 6000000, 0},
};

static int64_t of(const char *from, int64_t amount, int64_t now)
{
    return exchange_amount(rates, 5, from, amount, now);
}

static void the_newest_holds(void **state)
{
    assert_int_equal(of("USD", 1000, 99), -1); /* none yet is not nothing */
    assert_int_equal(of("USD", 1000, 100), 920);
    assert_int_equal(of("USD", 1000, 199), 910);
    assert_int_equal(of("USD", 1000, 200), 900);
    assert_int_equal(of("CHF", 1000, 0), 1050);
    assert_int_equal(of("GBP", 1000, 1000), -1);
    assert_int_equal(exchange_amount(rates, 0, "USD", 1, 1000), -1);
}

static void it_rounds_to_the_nearest(void **state)
{
    assert_int_equal(of("JPY", 0, 0), 0);
    assert_int_equal(of("JPY", 83, 0), 0);  /* 0.498 */
    assert_int_equal(of("JPY", 84, 0), 1);  /* 0.504 */
    assert_int_equal(of("JPY", 250, 0), 2); /* 1.5 */
    assert_int_equal(of("CHF", INT64_MAX, 0), INT64_MAX);
    for (int i = 0; i < 1000; i++) {
        uint32_t x[4];
        rand_philox(5, (uint64_t)i, 0, x);
        int64_t amount = (int64_t)x[0] << 8 | x[1] % 256, got = of("CHF", amount, 0);
        /* Never more than half a nano-unit off. */
        assert_true(got * 1000 * 2 - amount * 1050 * 2 <= 1000);
        assert_true(amount * 1050 * 2 - got * 1000 * 2 < 1000);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_newest_holds),
        cmocka_unit_test(it_rounds_to_the_nearest),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
