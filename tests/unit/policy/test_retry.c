/* The budget of retries: never more than a share of the first tries, and never none at all. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "policy/retry.h"

#define S INT64_C(1000000)

static int taken(struct retry *r, const struct retry_limits *l, int n, int64_t now_us)
{
    int got = 0;

    for (int i = 0; i < n; i++)
        got += retry_take(r, l, now_us);
    return got;
}

static void a_share(void **state)
{
    const struct retry_limits l = {.percent = 20, .min = 3}, none = {0};
    struct retry r = {0};

    assert_int_equal(taken(&r, &none, 5, 0), 0);
    assert_int_equal(taken(&r, &l, 100, 0), 3);
    for (int i = 0; i < 1000; i++)
        retry_first(&r, 5 * S);
    assert_int_equal(taken(&r, &l, 1000, 5 * S), 200); /* the three count, too */
    assert_int_equal(taken(&r, &l, 1000, 9 * S), 0);
    assert_int_equal(taken(&r, &l, 1000, 10 * S), 3); /* the first three are forgotten */
    assert_int_equal(taken(&r, &l, 1000, 15 * S), 0); /* all but these */
    assert_int_equal(taken(&r, &l, 1000, 20 * S), 3);
}

/* In a time of any length: so many first tries there, so many again. */
static void never_a_storm(void **state)
{
    const struct retry_limits l = {.percent = 20, .min = 10};
    static int first[120], again[120]; /* by seconds */
    struct retry r = {0};
    uint32_t any = 7;

    for (int64_t now = 0; now < 120 * S; now += any >> 18) {
        any = any * 1664525u + 1013904223u;
        int n = now / S % 30 < 5 ? 40 : 1; /* bursts */
        for (int i = 0; i < n; i++) {
            retry_first(&r, now);
            first[now / S]++;
            again[now / S] += retry_take(&r, &l, now); /* everything fails */
        }
    }
    for (int s = 9; s < 120; s++) {
        int n_first = 0, n_again = 0;
        for (int i = s - 9; i <= s; i++) {
            n_first += first[i];
            n_again += again[i];
        }
        assert_true(n_again >= l.min);
        /* A burst that the window has left behind may have earned what was spent beside it. */
        for (int i = s - 18 < 0 ? 0 : s - 18; i < s - 9; i++)
            n_first += first[i];
        assert_true(n_again <= l.min + n_first / 5);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_share),
        cmocka_unit_test(never_a_storm),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
