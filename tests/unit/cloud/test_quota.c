#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>

#include "cloud/quota.h"

#define S INT64_C(1000000)

static void bucket(void **state)
{
    struct quota_bucket b = {.limit = 60};
    int64_t taken, retry, left, full;

    for (int i = 0; i < 60; i++) {
        assert_int_equal(quota_take(&b, 1, 100 * S, &taken, &retry), 0);
        assert_int_equal(taken, 1);
    }
    assert_int_equal(quota_take(&b, 1, 100 * S, &taken, &retry), -1);
    assert_int_equal(taken, 0);
    assert_in_range(retry, S, S + 10); /* one a second comes back */
    quota_look(&b, 100 * S, &left, &full);
    assert_int_equal(left, 0);
    assert_int_equal(full, 60 * S);
    assert_int_equal(quota_take(&b, 1, 101 * S + 10, &taken, &retry), 0);
    quota_give(&b, 30);
    quota_look(&b, 101 * S + 10, &left, &full);
    assert_int_equal(left, 30);
    /* Idle time does not pile up beyond one minute's worth. */
    quota_look(&b, 100000 * S, &left, &full);
    assert_int_equal(left, 60);
    assert_int_equal(full, 0);
}

static void bigger_than_the_bucket(void **state)
{
    struct quota_bucket b = {.limit = 1000};
    int64_t taken, retry;

    assert_int_equal(quota_take(&b, 5000, S, &taken, &retry), 0);
    assert_int_equal(taken, 1000);
    assert_int_equal(quota_take(&b, 1, S, &taken, &retry), -1);
}

static void no_limit(void **state)
{
    struct quota_bucket b = {0};
    int64_t taken, retry;

    assert_int_equal(quota_take(&b, INT64_MAX, S, &taken, &retry), 0);
    assert_int_equal(taken, 0);
    quota_give(&b, 5);
}

struct race {
    struct quota_bucket b;
    _Atomic int64_t n_ok;
};

static void *racer(void *arg)
{
    struct race *r = arg;
    int64_t taken, retry;

    for (int i = 0; i < 1000; i++) {
        if (!quota_take(&r->b, 1, S, &taken, &retry))
            r->n_ok++;
    }
    return NULL;
}

static void race(void **state)
{
    struct race r = {.b = {.limit = 1000}};
    pthread_t t[4];

    for (int i = 0; i < 4; i++)
        pthread_create(&t[i], NULL, racer, &r);
    for (int i = 0; i < 4; i++)
        pthread_join(t[i], NULL);
    assert_int_equal(r.n_ok, 1000); /* never one too many, never one too few */
}

static void ceiling(void **state)
{
    _Atomic int64_t n = 0;

    assert_int_equal(quota_enter(&n, 2), 0);
    assert_int_equal(quota_enter(&n, 2), 0);
    assert_int_equal(quota_enter(&n, 2), -1);
    quota_leave(&n);
    assert_int_equal(quota_enter(&n, 2), 0);
    assert_int_equal(quota_enter(&n, 0), 0); /* none */
    assert_int_equal(n, 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bucket),   cmocka_unit_test(bigger_than_the_bucket),
        cmocka_unit_test(no_limit), cmocka_unit_test(race),
        cmocka_unit_test(ceiling),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
