/* Curtailment: ramps, what is missing, and what it is worth. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "policy/curtail.h"
#include "policy/derate.h"

#define S  INT64_C(1000000)
#define MW INT64_C(1000000)

/* From 100 s on to 40% within 30 s, until 1000 s. */
static const struct curtail_event event = {100 * S, 1000 * S, 30 * S, 400000};

static void is(const struct curtail_event *v, int64_t at_us, enum curtail_phase phase, int ppm)
{
    struct curtail_now n = curtail_look(v, at_us);

    assert_int_equal(n.phase, phase);
    assert_int_equal(n.factor_ppm, ppm);
}

static void ramps(void **state)
{
    struct curtail_event at_once = event;

    (void)state;
    is(&event, 0, CURTAIL_NONE, DERATE_ALL);
    is(&event, 100 * S - 1, CURTAIL_NONE, DERATE_ALL);
    is(&event, 100 * S, CURTAIL_DOWN, DERATE_ALL);
    is(&event, 100 * S + 1, CURTAIL_DOWN, DERATE_ALL - 1); /* never above the line */
    is(&event, 115 * S, CURTAIL_DOWN, 700000);
    is(&event, 130 * S, CURTAIL_HOLD, 400000);
    is(&event, 1000 * S - 1, CURTAIL_HOLD, 400000);
    is(&event, 1000 * S, CURTAIL_UP, 400000);
    is(&event, 1010 * S, CURTAIL_UP, 600000);
    is(&event, 1030 * S - 1, CURTAIL_UP, 999999);
    is(&event, 1030 * S, CURTAIL_NONE, DERATE_ALL);
    is(&event, INT64_MAX, CURTAIL_NONE, DERATE_ALL);
    is(&event, 115 * S, CURTAIL_DOWN, 700000); /* a clock that steps back finds the same line */
    at_once.ramp_us = 0;
    is(&at_once, 100 * S, CURTAIL_HOLD, 400000);
    is(&at_once, 1000 * S, CURTAIL_NONE, DERATE_ALL);
}

static void falls_then_rises(void **state)
{
    int32_t was = DERATE_ALL;

    (void)state;
    for (int64_t t = 0; t < 1100 * S; t += 12345) {
        struct curtail_now n = curtail_look(&event, t);
        if (t < 1000 * S)
            assert_true(n.factor_ppm <= was);
        else
            assert_true(n.factor_ppm >= was);
        was = n.factor_ppm;
    }
    assert_int_equal(was, DERATE_ALL);
}

static void cancelled(void **state)
{
    struct curtail_event v = event;

    (void)state;
    v.until_us = 110 * S; /* a third of the way down: 80% */
    is(&v, 110 * S, CURTAIL_UP, 800000);
    is(&v, 115 * S, CURTAIL_UP, 900000);
    is(&v, 120 * S, CURTAIL_NONE, DERATE_ALL);
    v.until_us = 100 * S; /* before it began */
    is(&v, 100 * S, CURTAIL_NONE, DERATE_ALL);
    is(&v, 110 * S, CURTAIL_NONE, DERATE_ALL);
    assert_int_equal(curtail_missing_j(&v, 40 * MW, 40 * MW), 0);
}

static void energy(void **state)
{
    struct curtail_event v = event;

    (void)state;
    /* All of 40 MW: 24 MW are missing for 870 s, and two triangles of 30 s. */
    assert_int_equal(curtail_missing_j(&v, 40 * MW, 40 * MW), 24 * MW * 870 + 24 * MW * 30);
    assert_int_equal(curtail_missing_j(&v, 40 * MW, 90 * MW), 24 * MW * 900); /* there is no more */
    /* Of 28 MW 12 are missing, on each ramp for half of it: 12 * 870 + 2 * (12 * 15 / 2). */
    assert_int_equal(curtail_missing_j(&v, 40 * MW, 28 * MW), 12 * MW * 870 + 12 * MW * 15);
    assert_int_equal(curtail_missing_j(&v, 40 * MW, 16 * MW), 0); /* the target is enough */
    assert_int_equal(curtail_missing_j(&v, 0, 0), 0);
    v.until_us = 110 * S; /* a triangle of 8 MW and 20 s */
    assert_int_equal(curtail_missing_j(&v, 40 * MW, 40 * MW), 8 * MW * 10);
    v.ramp_us = 0;
    assert_int_equal(curtail_missing_j(&v, 40 * MW, 40 * MW), 24 * MW * 10);
    v.target_ppm = DERATE_ALL;
    assert_int_equal(curtail_missing_j(&v, 40 * MW, 40 * MW), 0);
    /* The most that there can be: a century of 100 GW does not overflow. */
    v = (struct curtail_event){0, INT64_C(3155760000) * S, CURTAIL_RAMP_MAX_US, 0};
    assert_int_equal(curtail_missing_j(&v, INT64_C(100000000000), INT64_C(100000000000)),
                     INT64_MAX);
}

/* The integral is the sum over small steps. */
static void energy_by_steps(void **state)
{
    static const struct curtail_event some[] = {
        {0, 100 * S, 30 * S, 250000}, {0, 20 * S, 30 * S, 250000}, {0, 40 * S, 0, 0}};

    (void)state;
    for (int i = 0; i < 3; i++) {
        for (int64_t need = 0; need <= 1000; need += 125) {
            double sum = 0;
            int64_t got = curtail_missing_j(&some[i], 1000, need);
            for (int64_t t = 500; t < 200 * S; t += 1000) {
                double there = curtail_look(&some[i], t).factor_ppm / 1e3;
                sum += (double)need > there ? ((double)need - there) / 1e3 : 0;
            }
            assert_true((double)got <= sum + 1 && (double)got >= sum - 2);
        }
    }
}

static void targets(void **state)
{
    (void)state;
    assert_int_equal(curtail_target_ppm(20 * MW, 40 * MW), 500000);
    assert_int_equal(curtail_target_ppm(1, 3), 333333);
    assert_int_equal(curtail_target_ppm(50 * MW, 40 * MW), DERATE_ALL);
    assert_int_equal(curtail_target_ppm(0, 40 * MW), 0);
    assert_int_equal(curtail_target_ppm(5, 0), 0);
}

static void worth(void **state)
{
    const int64_t days[] = {3600 * 10, -1, 3600 * 20};

    (void)state;
    assert_int_equal(curtail_money(CURTAIL_MWH_J, 80), 80);
    assert_int_equal(curtail_money(CURTAIL_MWH_J / 2, 1), 1); /* half up */
    assert_int_equal(curtail_money(INT64_MAX, INT64_MAX), INT64_MAX);
    assert_int_equal(curtail_mean_w(days, 3, 3600), 15);
    assert_int_equal(curtail_mean_w(days + 1, 1, 3600), -1);
    assert_int_equal(curtail_mean_w(days, 0, 3600), -1);
    assert_true(curtail_like_days(0, 1));   /* a Thursday and a Friday */
    assert_false(curtail_like_days(0, 2));  /* a Saturday */
    assert_true(curtail_like_days(2, 3));   /* a weekend */
    assert_true(curtail_like_days(4, -1));  /* a Monday, and the Wednesday before 1970 */
    assert_false(curtail_like_days(-5, 4)); /* a Saturday */
    assert_string_equal(curtail_phase_name(CURTAIL_DOWN), "ramp_down");
    assert_string_equal(curtail_baseline_name(CURTAIL_LIKE_DAYS), "like_days");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ramps),  cmocka_unit_test(falls_then_rises), cmocka_unit_test(cancelled),
        cmocka_unit_test(energy), cmocka_unit_test(energy_by_steps),  cmocka_unit_test(targets),
        cmocka_unit_test(worth),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
