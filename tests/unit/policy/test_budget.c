/* Budgets: what is settled and held never exceeds the amount, and windows that end. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/rand.h"
#include "policy/budget.h"

static void the_last_one(void **state)
{
    struct budget b = {.amount = 100};
    struct budget_held one = {0}, two = {0};

    assert_int_equal(budget_hold(&b, 60, &one), 0);
    assert_int_equal(budget_left(&b), 40);
    assert_int_equal(budget_hold(&b, 41, &two), -1);
    assert_int_equal(two.is_held, 0);
    assert_int_equal(budget_hold(&b, 40, &two), 0);
    assert_int_equal(budget_percent(&b), 100);
    budget_settle(&b, &one, 10);
    assert_int_equal(budget_left(&b), 50);
    budget_settle(&b, &one, 0); /* it holds nothing any more */
    assert_int_equal(budget_left(&b), 50);
    budget_settle(&b, &two, 200); /* the truth, even if it is more */
    assert_int_equal(budget_left(&b), 0);
    assert_int_equal(budget_percent(&b), 210);
    assert_int_equal(b.held, 0);
    assert_int_equal(budget_hold(&b, 0, &one), 0);
    assert_int_equal(budget_hold(&b, 1, &one), -1);
}

/* What was held in a window that ended is settled there, not in the next one. */
static void a_window_ends(void **state)
{
    struct budget b = {.amount = 100, .until = 10};
    struct budget_held old = {0}, new = {0};

    assert_int_equal(budget_hold(&b, 90, &old), 0);
    budget_turn(&b, 10, 20, 0);
    assert_int_equal(budget_left(&b), 100);
    assert_int_equal(b.held_before, 90);
    assert_int_equal(budget_hold(&b, 100, &new), 0);
    budget_settle(&b, &old, 90);
    assert_int_equal(b.settled, 0);
    assert_int_equal(b.held_before, 0);
    budget_settle(&b, &new, 30);
    assert_int_equal(b.settled, 30);
    budget_turn(&b, 20, 30, 7); /* as the books remember it */
    assert_int_equal(budget_left(&b), 93);
}

static void no_limit_and_none(void **state)
{
    struct budget any = {.amount = -1}, none = {.amount = 0};
    struct budget_held h = {0};

    for (int i = 0; i < 20; i++) /* no sum overflows */
        assert_int_equal(budget_hold(&any, INT64_MAX, &h), 0);
    assert_int_equal(budget_left(&any), INT64_MAX);
    assert_int_equal(budget_percent(&any), 0);
    assert_int_equal(budget_hold(&none, 1, &h), -1);
    assert_int_equal(budget_percent(&none), 100);
}

/* What is used beyond a hold keeps others out at once, and is settled once. */
static void a_hold_grows(void **state)
{
    struct budget b = {.amount = 100, .until = 10}, any = {.amount = -1};
    struct budget_held one = {0}, two = {0}, none = {0};

    assert_int_equal(budget_hold(&b, 60, &one), 0);
    budget_hold_more(&b, &one, 30);
    assert_int_equal(budget_left(&b), 10);
    assert_int_equal(budget_hold(&b, 11, &two), -1);
    budget_hold_more(&b, &one, 50); /* it is used already */
    assert_int_equal(budget_left(&b), 0);
    assert_int_equal(b.held, 140);
    budget_hold_more(&b, &none, 50);
    assert_int_equal(b.held, 140);
    budget_turn(&b, 10, 20, 0);
    budget_hold_more(&b, &one, 5); /* of the window in which it began */
    assert_int_equal(b.held, 0);
    assert_int_equal(b.held_before, 145);
    budget_settle(&b, &one, 144);
    assert_int_equal(b.held + b.held_before + b.settled, 0);
    assert_int_equal(budget_hold(&any, INT64_MAX, &one), 0);
    budget_hold_more(&any, &one, INT64_MAX); /* no sum overflows */
    budget_settle(&any, &one, 1);
    assert_int_equal(any.held, 0);
}

/* Random holds, endings and windows: never above, and all comes back. */
static void random_life(void **state)
{
    enum { N = 40 };
    struct budget b = {.amount = 1000, .until = 1};
    struct budget_held h[N] = {{0}};
    int64_t settled = 0, n = 0;

    for (uint64_t i = 0; i < 200000; i++) {
        uint32_t r[4];
        struct budget_held *one;
        rand_philox(3, i, 0, r);
        one = &h[r[0] % N];
        if (one->is_held) {
            int64_t used = (int64_t)(r[1] % (uint64_t)(one->n + 1));
            settled += one->from == b.from ? used : 0;
            budget_settle(&b, one, used);
        } else if (r[2] % 500 == 0) {
            budget_turn(&b, b.until, b.until + 1, 0);
            settled = 0;
        } else {
            n += !budget_hold(&b, r[3] % 100, one);
        }
        assert_true(b.settled + b.held <= b.amount);
        assert_true(b.held >= 0 && b.held_before >= 0);
        assert_int_equal(b.settled, settled);
    }
    for (int i = 0; i < N; i++)
        budget_settle(&b, &h[i], 0);
    assert_int_equal(b.held + b.held_before, 0);
    assert_true(n > 1000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_last_one),      cmocka_unit_test(a_window_ends),
        cmocka_unit_test(no_limit_and_none), cmocka_unit_test(a_hold_grows),
        cmocka_unit_test(random_life),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
