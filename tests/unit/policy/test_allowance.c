/* What a service says of its limits is kept by all, is corrected for what was sent meanwhile, and
 * never keeps anybody out for ever. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "policy/allowance.h"

#define S INT64_C(1000000)

static struct limits_told says(int kind, int64_t limit, int64_t left, int64_t reset_us)
{
    struct limits_told t = {.any = 1};

    for (int k = 0; k < LIMITS_KINDS; k++) {
        for (int s = 0; s < LIMITS_SPANS; s++)
            t.window[k][s] = (struct limit_told){-1, -1, -1};
    }
    t.window[kind][LIMITS_ANY] = (struct limit_told){limit, left, reset_us};
    return t;
}

/* So many requests, until it says no. */
static int fill(struct allowance *a, int64_t n_tokens, int64_t now_us)
{
    int n = 0;

    while (n < 1000 && !allowance_look(a, now_us)) {
        allowance_begin(a, n_tokens, now_us);
        n++;
    }
    return n;
}

static void requests(void **state)
{
    struct limits_told t = says(LIMITS_REQUESTS, 60, 5, 30 * S);
    struct allowance a = {0};
    struct allowance_mark m;

    assert_int_equal(fill(&a, 10, S), 1000); /* nothing is known */
    m = allowance_begin(&a, 10, S);
    allowance_learn(&a, &m, &t, S);
    assert_int_equal(fill(&a, 10, 2 * S), 5);
    assert_int_equal(allowance_look(&a, 2 * S), 31 * S);
    assert_int_equal(allowance_look(&a, 31 * S), 0);
    assert_int_equal(fill(&a, 10, 31 * S), 60); /* a window that nobody has told of yet */
    assert_true(allowance_look(&a, 31 * S) > 31 * S);
    assert_int_equal(allowance_look(&a, 34 * S), 0); /* no answer has told more: not for ever */
}

/* An answer is as old as its request: what began since is not in it, what it says is not newer than
 * what a later one has said. */
static void in_flight(void **state)
{
    struct limits_told t = says(LIMITS_REQUESTS, 100, 10, 30 * S), u = t;
    struct allowance a = {0};
    struct allowance_mark first = allowance_begin(&a, 1, 0), last;

    for (int i = 0; i < 4; i++)
        last = allowance_begin(&a, 1, 0);
    allowance_learn(&a, &first, &t, S);
    assert_int_equal(fill(&a, 1, S), 6);
    u.window[LIMITS_REQUESTS][LIMITS_ANY].left = 50;
    allowance_learn(&a, &last, &u, S);
    assert_int_equal(fill(&a, 1, S), 44);
    allowance_learn(&a, &first, &u, S); /* late, and of earlier */
    assert_int_equal(fill(&a, 1, S), 0);
}

static void tokens(void **state)
{
    struct limits_told t = says(LIMITS_TOKENS, 10000, 2500, 10 * S);
    struct allowance a = {0};
    struct allowance_mark m = allowance_begin(&a, 1000, 0);

    allowance_learn(&a, &m, &t, 0);
    assert_int_equal(fill(&a, 1000, 0), 2); /* the 500 that are left are too few for a usual one */
    assert_int_equal(allowance_look(&a, 0), 10 * S);
}

/* A request larger than the whole limit is not held back here. */
static void a_large_one(void **state)
{
    struct limits_told t = says(LIMITS_TOKENS, 100, 100, 10 * S);
    struct allowance a = {0};
    struct allowance_mark m = allowance_begin(&a, 1000, 0);

    allowance_learn(&a, &m, &t, 0);
    assert_int_equal(allowance_look(&a, 0), 0);
}

static void ends(void **state)
{
    struct limits_told t = says(LIMITS_REQUESTS, -1, 0, INT64_C(86400) * S);
    struct allowance a = {0};
    struct allowance_mark m = allowance_begin(&a, 1, 0);

    allowance_learn(&a, &m, &t, 0);
    assert_int_equal(allowance_look(&a, 0), ALLOWANCE_US_MAX); /* at most an hour */
    assert_int_equal(fill(&a, 1, ALLOWANCE_US_MAX), 1);        /* nobody said how many: one asks */
    t = says(LIMITS_REQUESTS, -1, 0, -1);                      /* no end: 429 will tell */
    m = allowance_begin(&a, 1, 2 * ALLOWANCE_US_MAX);
    allowance_learn(&a, &m, &t, 2 * ALLOWANCE_US_MAX);
    assert_int_equal(allowance_look(&a, 2 * ALLOWANCE_US_MAX), 0);
    t = says(LIMITS_REQUESTS, -1, -1, 5 * S); /* an end of what? */
    allowance_learn(&a, &m, &t, 2 * ALLOWANCE_US_MAX);
    assert_int_equal(allowance_look(&a, 2 * ALLOWANCE_US_MAX), 0);
    t = says(LIMITS_REQUESTS, -1, -1, -1);
    t.window[LIMITS_TOKENS][LIMITS_MINUTE].left = 0; /* the name says how long it is */
    allowance_learn(&a, &m, &t, 0);
    assert_int_equal(allowance_look(&a, 0), 60 * S);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(requests),    cmocka_unit_test(in_flight), cmocka_unit_test(tokens),
        cmocka_unit_test(a_large_one), cmocka_unit_test(ends),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
