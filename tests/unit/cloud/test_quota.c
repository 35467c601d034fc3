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
    struct quota_bucket b = {.period_s = 60, .limit = 60};
    struct quota_held held;
    int64_t retry, left, full;

    for (int i = 0; i < 60; i++) {
        assert_int_equal(quota_hold(&b, 1, 100 * S, &held, &retry), 0);
        assert_int_equal(held.ns, 1000 * S);
    }
    assert_int_equal(quota_hold(&b, 1, 100 * S, &held, &retry), -1);
    assert_int_equal(held.ns, 0);
    assert_in_range(retry, S, S + 10); /* one a second comes back */
    quota_look(&b, 100 * S, &left, &full);
    assert_int_equal(left, 0);
    assert_int_equal(full, 60 * S);
    assert_int_equal(quota_hold(&b, 1, 101 * S + 10, &held, &retry), 0);
    quota_settle(&b, (struct quota_held){40000 * S, 60}, 10, 101 * S + 10); /* 40 held, 10 used */
    quota_look(&b, 101 * S + 10, &left, &full);
    assert_int_equal(left, 30);
    /* Idle time does not pile up beyond one minute's worth. */
    quota_look(&b, 100000 * S, &left, &full);
    assert_int_equal(left, 60);
    assert_int_equal(full, 0);
    quota_settle(&b, (struct quota_held){0, 60}, 20, 100000 * S);
    quota_look(&b, 100000 * S, &left, &full);
    assert_int_equal(left, 40);
}

static void bigger_than_the_bucket(void **state)
{
    struct quota_bucket b = {.period_s = 60, .limit = 1000};
    struct quota_held held;
    int64_t retry;

    assert_int_equal(quota_hold(&b, 1001, S, &held, &retry), QUOTA_NEVER);
    assert_int_equal(held.ns + retry, 0);
    assert_int_equal(quota_hold(&b, 1000, S, &held, &retry), 0); /* all that there is */
    assert_int_equal(held.ns, 60000 * S);
    assert_int_equal(quota_hold(&b, 1, S, &held, &retry), -1);
}

/* What was used beyond the hold is owed, and nothing is to be had until it is paid. */
/* A full bucket gives any number, and what it had not is owed; one that is not full as it does
 * otherwise. */
static void taken(void **state)
{
    struct quota_bucket b = {.period_s = 60, .limit = 60};
    struct quota_held held, none;
    int64_t retry;

    assert_true(quota_may_take(&b, 180, 100 * S, &retry));
    assert_int_equal(quota_take(&b, 180, 100 * S, &held, &retry), 0);
    assert_false(quota_may_take(&b, 1, 100 * S, &retry));
    assert_in_range(retry, 121 * S, 121 * S + 10); /* one more is there then */
    assert_int_equal(quota_take(&b, 1, 100 * S, &none, &retry), -1);
    assert_int_equal(none.ns, 0);
    assert_false(quota_may_take(&b, 500, 279 * S, &retry));
    assert_in_range(retry, S, S + 10); /* when it is full */
    assert_true(quota_may_take(&b, 500, 280 * S, &retry));
    assert_int_equal(quota_take(&b, 5, 280 * S, &none, &retry), 0);
    b.limit = 0;
    assert_int_equal(quota_take(&b, 1000, 280 * S, &none, &retry), 0); /* no limit */
    assert_int_equal(none.limit, 0);
}

/* Held at a low limit and settled at a high one: by the high one. */
static void risen(void **state)
{
    struct quota_bucket b = {.period_s = 60, .limit = 60};
    struct quota_held held;
    int64_t retry, left, full;

    assert_int_equal(quota_take(&b, 60, 100 * S, &held, &retry), 0);
    quota_limit(&b, 600, 100 * S);
    quota_settle_risen(&b, held, 60, 660, 100 * S); /* 600 more: a minute's worth now */
    quota_look(&b, 100 * S, &left, &full);
    assert_int_equal(left, 0);
    assert_int_equal(full, 66 * S);
    b = (struct quota_bucket){.period_s = 60, .limit = 600};
    assert_int_equal(quota_take(&b, 60, 100 * S, &held, &retry), 0);
    quota_limit(&b, 60, 100 * S);
    quota_settle_risen(&b, held, 60, 0, 100 * S); /* what was held is given back, and no more */
    quota_look(&b, 100 * S, &left, &full);
    assert_int_equal(full, 0);
}

static void owed(void **state)
{
    struct quota_bucket b = {.period_s = 60, .limit = 60};
    struct quota_held held;
    int64_t retry, left, full;

    assert_int_equal(quota_hold(&b, 60, 100 * S, &held, &retry), 0);
    quota_settle(&b, held, 600, 100 * S);
    quota_look(&b, 100 * S, &left, &full);
    assert_int_equal(left, 0);
    assert_int_equal(full, 600 * S);
    assert_int_equal(quota_hold(&b, 1, 100 * S, &held, &retry), -1);
    assert_in_range(retry, 541 * S, 541 * S + 10);
    assert_int_equal(quota_hold(&b, 1, 641 * S + 10, &held, &retry), 0);
    /* No debt is too large to be a number. */
    atomic_store(&b.limit, 1);
    for (int i = 0; i < 20; i++)
        quota_settle(&b, (struct quota_held){0, 1}, INT64_MAX, 700 * S);
    assert_int_equal(quota_hold(&b, 1, 700 * S, &held, &retry), -1);
    assert_true(retry > 0);
}

static void no_limit(void **state)
{
    struct quota_bucket b = {.period_s = 60};
    struct quota_held held;
    int64_t retry, left, full;

    assert_int_equal(quota_hold(&b, INT64_MAX, S, &held, &retry), 0);
    assert_int_equal(held.ns, 0);
    quota_settle(&b, held, 5, S);
    quota_look(&b, S, &left, &full);
    assert_int_equal(full, 0);
    /* A limit that goes while something is held leaves nothing behind. */
    quota_limit(&b, 10, S);
    assert_int_equal(quota_hold(&b, 10, S, &held, &retry), 0);
    quota_limit(&b, 0, S);
    quota_settle(&b, held, 1000, S);
    quota_limit(&b, 10, S);
    quota_look(&b, S, &left, &full);
    assert_int_equal(left, 10);
}

/* A lower limit makes nothing dearer that was begun before; a higher one pays debts sooner. */
static void another_limit(void **state)
{
    struct quota_bucket b = {.period_s = 60, .limit = 100000};
    struct quota_held held;
    int64_t retry, left, full;

    assert_int_equal(quota_hold(&b, 1000, S, &held, &retry), 0);
    quota_limit(&b, 10, S);
    quota_settle(&b, held, 2000, S);
    quota_look(&b, S, &left, &full);
    assert_in_range(full, 1200000, 1200010); /* not 200 minutes */
    quota_limit(&b, 20, 10 * S);
    quota_look(&b, 10 * S, &left, &full);
    assert_int_equal(left, 20);
    assert_int_equal(quota_hold(&b, 20, 10 * S, &held, &retry), 0);
    quota_settle(&b, held, 200, 10 * S);
    quota_limit(&b, 200, 10 * S);
    quota_look(&b, 10 * S, &left, &full);
    assert_in_range(full, 59 * S, 60 * S); /* of ten minutes */
    quota_limit(&b, 0, 10 * S);
    quota_limit(&b, 1, 10 * S);
    assert_int_equal(quota_hold(&b, 1, 10 * S, &held, &retry), 0);
    /* What began without a limit owes nothing by the one that came. */
    b = (struct quota_bucket){0};
    assert_int_equal(quota_hold(&b, 5, S, &held, &retry), 0);
    quota_limit(&b, 10, S);
    quota_settle(&b, held, 5000, S);
    assert_int_equal(quota_hold(&b, 10, S, &held, &retry), 0);
}

struct race {
    struct quota_bucket b;
    _Atomic int64_t n_ok;
};

static void *racer(void *arg)
{
    struct race *r = arg;
    struct quota_held held;
    int64_t retry;

    for (int i = 0; i < 1000; i++) {
        if (!quota_hold(&r->b, 1, S, &held, &retry))
            r->n_ok++;
    }
    return NULL;
}

static void race(void **state)
{
    struct race r = {.b = {.period_s = 60, .limit = 1000}};
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
    quota_leave(&n, 1);
    assert_int_equal(quota_enter(&n, 2), 0);
    assert_int_equal(quota_enter(&n, 0), 0); /* none */
    assert_int_equal(n, 3);
}

static void widen(void **state)
{
    _Atomic int64_t n = 0;

    assert_int_equal(quota_enter(&n, 10), 0);
    assert_int_equal(quota_widen(&n, 10, 1, 16, 4),
                     2); /* as many whole ones as there is room for */
    assert_int_equal(n, 8);
    assert_int_equal(quota_enter(&n, 10), 0);
    assert_int_equal(quota_widen(&n, 10, 1, 1, 3), 0);
    assert_int_equal(n, 9); /* what it had stays */
    assert_int_equal(quota_widen(&n, 10, 1, 1, 2), 1);
    assert_int_equal(n, 10);
    quota_leave(&n, 8);
    quota_leave(&n, 2);
    assert_int_equal(n, 0);
    assert_int_equal(quota_enter(&n, 0), 0);
    assert_int_equal(quota_widen(&n, 0, 1, 16, 16), 16);
    assert_int_equal(n, 256);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bucket),        cmocka_unit_test(bigger_than_the_bucket),
        cmocka_unit_test(owed),          cmocka_unit_test(no_limit),
        cmocka_unit_test(another_limit), cmocka_unit_test(race),
        cmocka_unit_test(ceiling),       cmocka_unit_test(widen),
        cmocka_unit_test(taken),         cmocka_unit_test(risen),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
