/* What hedges lose is a share of all tokens, and what is late follows the times that were seen. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "policy/hedge.h"

static void a_share(void **state)
{
    int64_t used = 0, lost = 0, any = 7;
    struct hedge h = {0};

    assert_int_equal(hedge_take(&h, 1), 0); /* nothing was earned */
    for (int i = 0; i < 10000; i++) {
        int64_t n = 100 + (any = any * 1103515245 % 2147483647) % 900, expected = n / 3;
        hedge_earn(&h, n, 5);
        used += n;
        if (hedge_take(&h, expected)) { /* every one that may be */
            int64_t real = i % 2 ? expected * 2 : expected / 2;
            hedge_settle(&h, expected, real);
            lost += real;
        }
        assert_true(lost * 100 <=
                    used * 5 + 1000 * 100); /* and one that was larger than expected */
    }
    assert_true(lost * 100 > used * 4);
}

static void saved(void **state)
{
    struct hedge h = {0};

    hedge_earn(&h, INT64_C(1000000000000), 100);
    assert_int_equal(hedge_take(&h, HEDGE_SAVED_MAX + 1), 0);
    assert_int_equal(hedge_take(&h, HEDGE_SAVED_MAX), 1);
    hedge_settle(&h, HEDGE_SAVED_MAX, HEDGE_SAVED_MAX + 10);
    hedge_earn(&h, 10, 100);
    assert_int_equal(hedge_take(&h, 1), 0);
}

static void late(void **state)
{
    struct late l = {0};
    int64_t any = 7, n_later = 0;

    for (int i = 0; i < LATE_SAMPLES; i++) {
        assert_int_equal(late_us(&l), -1);
        late_add(&l, 1000);
    }
    for (int i = 0; i < 20000; i++) {
        int64_t us = 100000 + (any = any * 1103515245 % 2147483647) % 100000;
        if (i >= 10000)
            n_later += us > late_us(&l);
        late_add(&l, us);
    }
    assert_in_range(n_later, 300, 700); /* about one of 20 */
    for (int i = 0; i < 5000; i++)
        late_add(&l, 2000);
    assert_in_range(late_us(&l), 1000, 3000); /* it follows */
    for (int i = 0; i < 100; i++)
        late_add(&l, 0);
    assert_true(late_us(&l) >= 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_share),
        cmocka_unit_test(saved),
        cmocka_unit_test(late),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
