/* The states of a site by its dates. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "policy/derate.h"
#include "policy/lifecycle.h"

#define NONE LIFECYCLE_NO_DATE

/* Built when planned, accepted ten days late, derated over a summer, and closed when its lease
 * ends, whether or not somebody writes that down. */
static const struct lifecycle_step life[] = {
    {LIFECYCLE_COMMISSIONING, 100, 100, 0}, {LIFECYCLE_ACCEPTANCE, 200, 210, 0},
    {LIFECYCLE_ACTIVE, 300, 330, 0},        {LIFECYCLE_DERATED, 400, NONE, 700000},
    {LIFECYCLE_ACTIVE, 500, NONE, 0},       {LIFECYCLE_DRAINING, 800, NONE, 0},
    {LIFECYCLE_CLOSED, 900, 880, 0},
};
#define N ((int)(sizeof life / sizeof *life))

static enum lifecycle_state state_at(int64_t t)
{
    return lifecycle_look(life, N, t).state;
}

static void by_date(void **state)
{
    (void)state;
    assert_int_equal(state_at(99), LIFECYCLE_PLANNED);
    assert_int_equal(state_at(100), LIFECYCLE_COMMISSIONING);
    assert_int_equal(state_at(209), LIFECYCLE_COMMISSIONING);
    assert_int_equal(state_at(210), LIFECYCLE_ACCEPTANCE);
    assert_int_equal(state_at(329), LIFECYCLE_ACCEPTANCE);
    assert_int_equal(state_at(330), LIFECYCLE_ACTIVE);
    assert_int_equal(state_at(400), LIFECYCLE_DERATED);
    assert_int_equal(state_at(799), LIFECYCLE_DERATED); /* that it is well again is no fact yet */
    assert_int_equal(state_at(800), LIFECYCLE_DRAINING);
    assert_int_equal(state_at(880), LIFECYCLE_CLOSED);
    assert_int_equal(state_at(INT64_MAX), LIFECYCLE_CLOSED);
    /* A clock that steps back shows what was. */
    assert_int_equal(state_at(350), LIFECYCLE_ACTIVE);
    assert_int_equal(state_at(INT64_MIN), LIFECYCLE_PLANNED);
}

static void late(void **state)
{
    struct lifecycle_now n = lifecycle_look(life, N, 205);

    (void)state;
    assert_int_equal(n.i_step, 0);
    assert_int_equal(n.i_next, 1);
    assert_true(n.is_late);
    assert_false(lifecycle_look(life, N, 199).is_late);
    assert_false(lifecycle_look(life, N, 210).is_late);
    n = lifecycle_look(life, N, 600); /* it should be active again */
    assert_true(n.is_late && n.i_next == 4);
    assert_int_equal(n.factor_ppm, 700000);
    assert_int_equal(lifecycle_look(life, N, 350).factor_ppm, DERATE_ALL);
    assert_int_equal(lifecycle_look(life, N, 890).i_next, -1);
    n = lifecycle_look(NULL, 0, 5);
    assert_true(n.state == LIFECYCLE_PLANNED && n.i_step == -1 && n.i_next == -1 && !n.is_late);
}

static void faults(void **state)
{
    const struct lifecycle_step undated = {LIFECYCLE_ACTIVE, NONE, NONE, 0};
    struct lifecycle_step s[2] = {{LIFECYCLE_ACCEPTANCE, 100, NONE, 0},
                                  {LIFECYCLE_ACTIVE, 100, NONE, 0}};
    int at = -1;

    (void)state;
    assert_null(lifecycle_fault(life, N, &at));
    assert_non_null(lifecycle_fault(&undated, 1, &at));
    assert_non_null(lifecycle_fault(s, 2, &at)); /* the same day */
    assert_int_equal(at, 1);
    s[1].planned_s = 101;
    assert_null(lifecycle_fault(s, 2, &at));
    s[0].actual_s = 150;
    s[1].actual_s = 149;
    assert_non_null(lifecycle_fault(s, 2, &at));
    s[1].actual_s = 151;
    assert_null(lifecycle_fault(s, 2, &at));
    s[1] = (struct lifecycle_step){LIFECYCLE_CLOSED, 120, NONE, 0}; /* before it was accepted */
    assert_non_null(lifecycle_fault(s, 2, &at));
    s[1] = (struct lifecycle_step){LIFECYCLE_DERATED, 160, NONE, 0};
    assert_non_null(lifecycle_fault(s, 2, &at));
    s[1].factor_ppm = DERATE_ALL;
    assert_non_null(lifecycle_fault(s, 2, &at));
    s[1].factor_ppm = 1;
    assert_null(lifecycle_fault(s, 2, &at));
}

static void words(void **state)
{
    const char *at = LIFECYCLE_STATE_WORDS;

    (void)state;
    for (int i = 0; i < LIFECYCLE_STATES; i++) { /* they are in order, and all */
        const char *name = lifecycle_name((enum lifecycle_state)i);
        size_t n = strcspn(at, "|");
        assert_int_equal(lifecycle_find(name), i);
        assert_int_equal(n, strlen(name));
        assert_memory_equal(at, name, n);
        at += n + (at[n] == '|');
    }
    assert_int_equal(*at, 0);
    assert_int_equal(lifecycle_find("gone"), -1);
    assert_int_equal(lifecycle_admits(LIFECYCLE_ACTIVE), LIFECYCLE_ALL);
    assert_int_equal(lifecycle_admits(LIFECYCLE_ACCEPTANCE), LIFECYCLE_TESTERS);
    assert_int_equal(lifecycle_admits(LIFECYCLE_CLOSED), LIFECYCLE_NOBODY);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(by_date), cmocka_unit_test(late),
                                       cmocka_unit_test(faults), cmocka_unit_test(words)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
