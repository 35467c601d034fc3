#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "policy/weigh.h"

static void shares(void **state)
{
    const int32_t weight[3] = {5, 1, 2};
    unsigned char may[3] = {1, 1, 1};
    int64_t credit[3] = {0};
    int n[3] = {0}, in_a_row = 0, before = -1;

    for (int i = 0; i < 8 * 100; i++) {
        int k = weigh_turn(credit, weight, may, 3);
        n[k]++;
        in_a_row = k == before ? in_a_row + 1 : 1;
        before = k;
        assert_true(in_a_row <= 3); /* spread, not five after each other */
    }
    assert_int_equal(n[0], 500);
    assert_int_equal(n[1], 100);
    assert_int_equal(n[2], 200);
}

/* Who cannot take part is passed over, and makes nothing up for it later. */
static void without_some(void **state)
{
    const int32_t weight[3] = {5, 1, 2};
    unsigned char may[3] = {0, 1, 1}, none[3] = {0};
    int64_t credit[3] = {0};
    int n[3] = {0};

    assert_int_equal(weigh_turn(credit, weight, none, 3), -1);
    assert_int_equal(weigh_turn(credit, weight, may, 0), -1);
    for (int i = 0; i < 300; i++)
        n[weigh_turn(credit, weight, may, 3)]++;
    assert_int_equal(n[0], 0);
    assert_int_equal(n[1], 100);
    assert_int_equal(n[2], 200);
    may[0] = 1;
    for (int i = 0; i < 8; i++)
        n[weigh_turn(credit, weight, may, 3)]++;
    assert_int_equal(n[0], 5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(shares),
        cmocka_unit_test(without_some),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
