/* How many places a capacity factor leaves. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "policy/derate.h"

static void places(void **state)
{
    (void)state;
    assert_int_equal(derate_places(64, DERATE_ALL), 64);
    assert_int_equal(derate_places(64, 0), 0);
    assert_int_equal(derate_places(64, 1), 1); /* at least one */
    assert_int_equal(derate_places(64, 499999), 31);
    assert_int_equal(derate_places(64, 500000), 32);
    assert_int_equal(derate_places(1, 999999), 1);
    assert_int_equal(derate_places(0, DERATE_ALL), 0);
    assert_int_equal(derate_places(INT32_MAX, 999999), 2147481499);
    for (int32_t n = 1; n < 100; n++) { /* more is never fewer */
        for (int32_t f = 0; f < DERATE_ALL; f += 9973)
            assert_true(derate_places(n, f) <=
                        derate_places(n, f + 9973 > DERATE_ALL ? DERATE_ALL : f + 9973));
    }
}

static void lowest(void **state)
{
    const int32_t said[] = {700000, -1, 300000}, none[] = {-1, -1};

    (void)state;
    assert_int_equal(derate_lowest(said, 3), 300000);
    assert_int_equal(derate_lowest(said, 2), 700000);
    assert_int_equal(derate_lowest(none, 2), DERATE_ALL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(places), cmocka_unit_test(lowest)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
