/* The three ledgers of a site's megawatts. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "policy/power.h"

#define MW 1000000

/* 40 of 100 MW are energised, 10 of them held; two years later all, and nothing is held. */
static const struct power_row rows[] = {{1000, 100 * MW, 40 * MW, 10 * MW},
                                        {2000, 100 * MW, 100 * MW, 0}};

static void by_date(void **state)
{
    (void)state;
    assert_null(power_at(rows, 2, 999));
    assert_ptr_equal(power_at(rows, 2, 1000), &rows[0]);
    assert_ptr_equal(power_at(rows, 2, 1999), &rows[0]);
    assert_ptr_equal(power_at(rows, 2, 2000), &rows[1]);
    assert_ptr_equal(power_at(rows, 2, INT64_MAX), &rows[1]);
    assert_null(power_at(NULL, 0, 0));
    assert_int_equal(power_free_w(&rows[0]), 30 * MW);
    assert_int_equal(power_free_w(NULL), POWER_UNKNOWN);
    assert_int_equal(power_free_w(&(struct power_row){POWER_ALWAYS, MW, POWER_UNKNOWN, 0}),
                     POWER_UNKNOWN);
}

static void faults(void **state)
{
    static const struct power_row bad[] = {
        {1, 10, 11, 0},                 /* energised above contracted */
        {1, 10, 5, 6},                  /* encumbered above energised */
        {1, 10, POWER_UNKNOWN, 1},      /* of what is not said */
        {1, 10, 5, -1},                 /* negative */
        {1, -2, 5, 0},                  /* the same */
        {1, POWER_WATTS_MAX + 1, 5, 0}, /* too much */
    };
    struct power_row same[] = {{1, 10, 5, 1}, {1, 10, 5, 1}};
    int at = -1;

    (void)state;
    assert_null(power_fault(rows, 2, &at));
    assert_null(power_fault(rows, 0, &at));
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_non_null(power_fault(&bad[i], 1, &at));
        assert_int_equal(at, 0);
    }
    assert_string_equal(power_fault(same, 2, &at), "from: is not after that of the row before");
    assert_int_equal(at, 1);
    assert_null(power_fault(
        &(struct power_row){POWER_ALWAYS, POWER_UNKNOWN, POWER_WATTS_MAX, POWER_WATTS_MAX}, 1,
        &at));
}

static void bases(void **state)
{
    (void)state;
    assert_int_equal(power_convert(100, POWER_IT, POWER_IT, 0), 100);
    assert_int_equal(power_convert(100 * MW, POWER_IT, POWER_FACILITY, 1250), 125 * MW);
    assert_int_equal(power_convert(125 * MW, POWER_FACILITY, POWER_IT, 1250), 100 * MW);
    assert_int_equal(power_convert(100, POWER_FACILITY, POWER_IT, 1300), 77); /* 76.92 */
    assert_int_equal(power_convert(POWER_WATTS_MAX, POWER_IT, POWER_FACILITY, 10000),
                     10 * POWER_WATTS_MAX);
    assert_int_equal(power_convert(100, POWER_IT, POWER_FACILITY, 0), POWER_UNKNOWN);
    assert_int_equal(power_convert(POWER_UNKNOWN, POWER_IT, POWER_FACILITY, 1250), POWER_UNKNOWN);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(by_date), cmocka_unit_test(faults),
                                       cmocka_unit_test(bases)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
