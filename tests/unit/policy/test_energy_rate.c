/* What is held of energy is the most that was seen of late. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/rand.h"
#include "policy/energy_rate.h"

static int64_t most(const struct energy_rate *r, int64_t prompt, int64_t output)
{
    struct energy_rates k = energy_rate_look(r);

    return energy_rates_uj(&k, prompt, output);
}

static void the_greatest_counts_and_is_forgotten(void **state)
{
    struct energy_rate r = {0};

    assert_int_equal(most(&r, 100, 100), -1);
    energy_rate_add(&r, 100, 0, 5000); /* 50 microjoules a token of prompts, 400 of answers */
    assert_int_equal(most(&r, 100, 0), 5000);
    assert_int_equal(most(&r, 100, 10), 5000 + 4000);
    energy_rate_add(&r, 0, 10, 8000); /* twice as much */
    assert_int_equal(most(&r, 100, 10), 18000);
    for (int i = 0; i < ENERGY_RATE_NEWEST; i++) {
        energy_rate_add(&r, 100, 0, 5000);
        assert_int_equal(most(&r, 1000, 0), 100000); /* among as many it is not forgotten */
    }
    for (int i = 0; i < ENERGY_RATE_NEWEST; i++)
        energy_rate_add(&r, 100, 0, 5000);
    assert_int_equal(most(&r, 1000, 0), 50000);
}

/* Whatever comes: what took no more for its work than one of the newest was held whole. */
static void nobody_exceeds_the_newest(void **state)
{
    int64_t newest[ENERGY_RATE_NEWEST] = {0};
    struct energy_rate r = {0};

    for (uint64_t i = 0; i < 20000; i++) {
        int64_t greatest = 0, uj;
        uint32_t x[4];
        rand_philox(7, i, 0, x);
        uj = x[0] % 50 ? x[1] % 1000 : x[1] % 100000; /* some are far above */
        for (int k = 0; k < ENERGY_RATE_NEWEST; k++)
            greatest = newest[k] > greatest ? newest[k] : greatest;
        assert_true(!i || uj > greatest || uj <= most(&r, 1, 0));
        energy_rate_add(&r, 1, 0, uj);
        newest[i % ENERGY_RATE_NEWEST] = uj;
    }
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
        cmocka_unit_test(the_greatest_counts_and_is_forgotten),
        cmocka_unit_test(nobody_exceeds_the_newest),
        cmocka_unit_test(nothing_is_no_measure),
        cmocka_unit_test(by_rates_that_are_known),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
