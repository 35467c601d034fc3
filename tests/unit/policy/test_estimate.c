/* Lengths of answers: what nearly all of them did not exceed, whatever they are, and as they are
 * now. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "policy/estimate.h"

static void add(struct estimate *e, int n, int64_t tokens)
{
    for (int i = 0; i < n; i++)
        estimate_add(e, tokens);
}

static void test_nothing_is_known_at_first(void **state)
{
    struct estimate e = {0};

    (void)state;
    add(&e, ESTIMATE_FEW - 1, 10);
    assert_int_equal(estimate_tokens(&e), -1);
    assert_int_equal(estimate_spare(&e, 1, 1000), 0);
    add(&e, 1, 10);
    assert_in_range(estimate_tokens(&e), 10, 11);
}

/* For every length: not less than it, and at most a quarter more. */
static void test_rounded_up(void **state)
{
    (void)state;
    for (int64_t tokens = 0; tokens < INT64_C(1) << 24; tokens += 1 + tokens / 50) {
        struct estimate e = {0};
        add(&e, 100, tokens);
        assert_true(estimate_tokens(&e) >= tokens);
        assert_true(estimate_tokens(&e) <= tokens + tokens / 4);
    }
}

static void test_any_number(void **state)
{
    struct estimate e = {0};

    (void)state;
    add(&e, 50, INT64_MAX);
    add(&e, 50, INT64_MIN);
    assert_int_equal(estimate_tokens(&e), (1 << 24) - 1);
}

static void test_of_nearly_all(void **state)
{
    struct estimate e = {0};

    (void)state;
    add(&e, 95, 7);
    add(&e, 5, 5000);
    assert_int_equal(estimate_tokens(&e), 7);
    add(&e, 5, 5000);
    assert_true(estimate_tokens(&e) >= 5000);
}

static void test_the_newer_weigh_more(void **state)
{
    struct estimate e = {0};

    (void)state;
    add(&e, 100000, 1000);
    add(&e, 6 * ESTIMATE_MANY, 5);
    assert_int_equal(estimate_tokens(&e), 5);
}

static void test_spare(void **state)
{
    struct estimate e = {0};

    (void)state;
    add(&e, 100, 7);
    assert_int_equal(estimate_spare(&e, 1, 100), 93);
    assert_int_equal(estimate_spare(&e, 4, 100), 72);
    assert_int_equal(estimate_spare(&e, 1, 7), 0);
    assert_int_equal(estimate_spare(&e, 1, 3), 0);
    assert_int_equal(estimate_spare(&e, 0, 0), 0);
    assert_int_equal(estimate_spare(&e, 1, INT64_MAX), INT64_MAX - 7);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nothing_is_known_at_first),
        cmocka_unit_test(test_rounded_up),
        cmocka_unit_test(test_any_number),
        cmocka_unit_test(test_of_nearly_all),
        cmocka_unit_test(test_the_newer_weigh_more),
        cmocka_unit_test(test_spare),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
