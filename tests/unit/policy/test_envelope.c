/* Readings, ranges and the factor of a site: examples worked by hand, and what holds on any walk.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/rand.h"
#include "policy/envelope.h"

#define S      INT64_C(1000000)
#define WINDOW (300 * S)

static struct envelope_range inlet(void)
{
    struct envelope_range r = ENVELOPE_FREE;

    r.low_allowed = 15000;
    r.low = 18000;
    r.high = 27000;
    r.high_allowed = 32000;
    return r;
}

static void a_value_in_its_range(void **state)
{
    struct envelope_range r = inlet();

    (void)state;
    assert_int_equal(envelope_value_ppm(&r, 22000), DERATE_ALL);
    assert_int_equal(envelope_value_ppm(&r, 18000), DERATE_ALL);
    assert_int_equal(envelope_value_ppm(&r, 27000), DERATE_ALL);
    assert_int_equal(envelope_value_ppm(&r, 28000), 800000); /* a fifth of five degrees */
    assert_int_equal(envelope_value_ppm(&r, 31500), 100000);
    assert_int_equal(envelope_value_ppm(&r, 32000), 0);
    assert_int_equal(envelope_value_ppm(&r, 60000), 0);
    assert_int_equal(envelope_value_ppm(&r, 16500), 500000);
    assert_int_equal(envelope_value_ppm(&r, 15000), 0);
    assert_int_equal(envelope_value_ppm(&r, -40000), 0);
    r.beyond_ppm = 200000;
    assert_int_equal(envelope_value_ppm(&r, 28000), 840000);
    assert_int_equal(envelope_value_ppm(&r, 60000), 200000);
}

static void limits_that_stand_alone(void **state)
{
    struct envelope_range r = ENVELOPE_FREE;

    (void)state;
    assert_false(envelope_range_limits(&r));
    assert_int_equal(envelope_value_ppm(&r, 1000000), DERATE_ALL);
    r.high_allowed = 90000;
    envelope_range_fill(ENVELOPE_FEEDER_LOAD, &r);
    assert_int_equal(r.high, 90000);
    assert_int_equal(envelope_value_ppm(&r, 89999), DERATE_ALL);
    assert_int_equal(envelope_value_ppm(&r, 90000), 0);
    r = ENVELOPE_FREE;
    r.beyond_ppm = 300000;
    envelope_range_fill(ENVELOPE_ON_BATTERY, &r); /* 1 is beyond */
    assert_int_equal(envelope_value_ppm(&r, 0), DERATE_ALL);
    assert_int_equal(envelope_value_ppm(&r, 1000), 300000);
}

static void ranges_that_cannot_be(void **state)
{
    struct envelope_range r = inlet();

    (void)state;
    assert_null(envelope_range_fault(ENVELOPE_DRY_BULB, &r));
    r.high = 33000;
    assert_non_null(envelope_range_fault(ENVELOPE_DRY_BULB, &r));
    r = inlet();
    r.low_allowed = -61000;
    assert_non_null(envelope_range_fault(ENVELOPE_DRY_BULB, &r));
    r = inlet();
    r.low = r.high = 20000;
    assert_non_null(envelope_range_fault(ENVELOPE_DRY_BULB, &r));
    r = inlet();
    r.rate = 0;
    assert_non_null(envelope_range_fault(ENVELOPE_DRY_BULB, &r));
    r.rate = 20000;
    assert_null(envelope_range_fault(ENVELOPE_DRY_BULB, &r));
}

static void height_lowers_the_upper_limits(void **state)
{
    struct envelope_range r = inlet();

    (void)state;
    envelope_range_lower(&r, 900, 1000, 300);
    assert_int_equal(r.high, 27000);
    envelope_range_lower(&r, 1600, 1000, 300);
    assert_int_equal(r.high, 25000);
    assert_int_equal(r.high_allowed, 30000);
    assert_int_equal(r.low, 18000);
    envelope_range_lower(&r, 1600, 1000, 0);
    assert_int_equal(r.high, 25000);
}

/* Within a tenth of a degree of tables of moist air. */
static void dew_points(void **state)
{
    static const struct {
        int64_t t, h, dew;
    } known[] = {{20000, 100000, 20000}, {20000, 50000, 9270}, {25000, 60000, 16700},
                 {30000, 30000, 10530},  {10000, 80000, 6710}, {0, 100000, 0},
                 {-10000, 50000, -18460}};

    (void)state;
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        assert_in_range(envelope_dew_point(known[i].t, known[i].h) + 100000, known[i].dew + 99900,
                        known[i].dew + 100100);
    assert_int_equal(envelope_dew_point(20000, 0), envelope_dew_point(20000, 1000));
    for (int64_t t = -60000; t <= 100000; t += 5000) { /* all that may come stays a number */
        for (int64_t h = 0; h <= 100000; h += 5000)
            assert_true(envelope_dew_point(t, h) <= t + 1 && envelope_dew_point(t, h) > -120000);
    }
}

static void what_cannot_be_is_refused(void **state)
{
    struct envelope_sensor s = {0};

    (void)state;
    assert_int_equal(envelope_take(&s, ENVELOPE_DRY_BULB, 100001, 1 * S, WINDOW),
                     ENVELOPE_IMPOSSIBLE);
    assert_true(s.is_refused && !s.is_heard);
    assert_int_equal(envelope_take(&s, ENVELOPE_DRY_BULB, 22000, 2 * S, WINDOW), ENVELOPE_TAKEN);
    assert_int_equal(envelope_take(&s, ENVELOPE_DRY_BULB, 45000, 3 * S, WINDOW), ENVELOPE_JUMPED);
    assert_true(s.is_refused && s.value == 22000);
    /* What stays so is taken in the end: 10 degrees, and one for each second. */
    assert_int_equal(envelope_take(&s, ENVELOPE_DRY_BULB, 45000, 14 * S, WINDOW), ENVELOPE_JUMPED);
    assert_int_equal(envelope_take(&s, ENVELOPE_DRY_BULB, 45000, 15 * S, WINDOW), ENVELOPE_TAKEN);
    assert_int_equal(envelope_take(&s, ENVELOPE_DRY_BULB, 44000, 14 * S, WINDOW), ENVELOPE_PAST);
    assert_true(!s.is_refused && s.value == 45000);
    s = (struct envelope_sensor){0};
    assert_int_equal(envelope_take(&s, ENVELOPE_ON_BATTERY, 500, 1 * S, WINDOW),
                     ENVELOPE_IMPOSSIBLE);
    assert_int_equal(envelope_take(&s, ENVELOPE_FEEDER_LOAD, 0, 1 * S, WINDOW), ENVELOPE_TAKEN);
    assert_int_equal(envelope_take(&s, ENVELOPE_FEEDER_LOAD, 120000, 2 * S, WINDOW),
                     ENVELOPE_TAKEN); /* a load may do so */
}

static void changes_over_the_window(void **state)
{
    struct envelope_sensor s = {0};
    struct envelope_range r = ENVELOPE_FREE;

    (void)state;
    r.rate = 12000;
    envelope_take(&s, ENVELOPE_DRY_BULB, 20000, 1000 * S, WINDOW);
    assert_int_equal(envelope_change(&s, WINDOW), 0);
    envelope_take(&s, ENVELOPE_DRY_BULB, 21000, 1060 * S, WINDOW); /* one degree in 5 minutes */
    assert_int_equal(envelope_change(&s, WINDOW), 12000);
    assert_int_equal(envelope_rate_ppm(&r, 12000), DERATE_ALL);
    envelope_take(&s, ENVELOPE_DRY_BULB, 21500, 1120 * S, WINDOW);
    assert_int_equal(envelope_rate_ppm(&r, envelope_change(&s, WINDOW)), 500000);
    envelope_take(&s, ENVELOPE_DRY_BULB, 20000, 1180 * S,
                  WINDOW); /* back: it was so all the same */
    assert_int_equal(envelope_change(&s, WINDOW), 18000);
    assert_int_equal(envelope_rate_ppm(&r, 24000), 0);
    envelope_take(&s, ENVELOPE_DRY_BULB, 20000, 1400 * S, WINDOW);
    assert_int_equal(envelope_change(&s, WINDOW), 18000);
    envelope_take(&s, ENVELOPE_DRY_BULB, 20000, 1430 * S, WINDOW); /* that is over */
    assert_int_equal(envelope_change(&s, WINDOW), 0);
}

static const struct envelope_rules rules = {500000, 50000, 60 * S};

static void a_sensor_that_dies(void **state)
{
    struct envelope_range r = inlet();
    const struct envelope_look l = {&r, WINDOW, 10 * S};
    struct envelope_sensor s = {0};
    enum envelope_cause why;

    (void)state;
    assert_int_equal(envelope_judge(&s, &l, &rules, 1 * S, &why), 500000);
    assert_int_equal(why, ENVELOPE_SILENT);
    envelope_take(&s, ENVELOPE_DRY_BULB, 22000, 2 * S, WINDOW);
    assert_int_equal(envelope_judge(&s, &l, &rules, 12 * S, &why), DERATE_ALL);
    assert_int_equal(why, ENVELOPE_WELL);
    assert_int_equal(envelope_judge(&s, &l, &rules, 12 * S + 1, &why), 500000);
    assert_int_equal(why, ENVELOPE_STALE);
    envelope_take(&s, ENVELOPE_DRY_BULB, 31000, 20 * S, WINDOW);
    assert_int_equal(envelope_judge(&s, &l, &rules, 20 * S, &why), 200000);
    assert_int_equal(why, ENVELOPE_HIGH);
    assert_int_equal(envelope_judge(&s, &l, &rules, 40 * S, &why), 200000); /* never up */
    assert_int_equal(why, ENVELOPE_STALE);
    envelope_take(&s, ENVELOPE_DRY_BULB, 16500, 60 * S, WINDOW);
    assert_int_equal(envelope_judge(&s, &l, &rules, 60 * S, &why), 500000);
    assert_int_equal(why, ENVELOPE_LOW);
    envelope_take(&s, ENVELOPE_DRY_BULB, 22000, 61 * S, WINDOW);
    envelope_refuse(&s);
    assert_int_equal(envelope_judge(&s, &l, &rules, 61 * S, &why), 500000);
    assert_int_equal(why, ENVELOPE_REFUSED);
}

static void falls_at_once_and_rises_late(void **state)
{
    struct envelope_gate g = {0};

    (void)state;
    assert_int_equal(envelope_gate_step(&g, &rules, 1 * S, DERATE_ALL, 0), 500000); /* blind */
    assert_int_equal(envelope_gate_step(&g, &rules, 2 * S, 300000, 0), 300000);
    assert_int_equal(envelope_gate_step(&g, &rules, 3 * S, 900000, 1), 900000); /* all is known */
    assert_int_equal(envelope_gate_step(&g, &rules, 4 * S, 409999, 1), 400000);
    assert_int_equal(envelope_gate_step(&g, &rules, 5 * S, 440000, 1), 400000); /* no step */
    assert_int_equal(envelope_gate_step(&g, &rules, 100 * S, 440000, 1), 400000);
    assert_int_equal(envelope_gate_step(&g, &rules, 101 * S, 800000, 1), 400000);
    assert_int_equal(envelope_gate_step(&g, &rules, 130 * S, 600000, 1), 400000);
    assert_int_equal(envelope_gate_step(&g, &rules, 160 * S, 900000, 1), 400000);
    assert_int_equal(envelope_gate_step(&g, &rules, 161 * S, 900000, 1), 600000); /* the least */
    assert_int_equal(envelope_gate_step(&g, &rules, 162 * S, DERATE_ALL, 1), 600000);
    assert_int_equal(envelope_gate_step(&g, &rules, 200 * S, 590000, 1), 590000); /* a break */
    assert_int_equal(envelope_gate_step(&g, &rules, 230 * S, DERATE_ALL, 1), 590000);
    assert_int_equal(envelope_gate_step(&g, &rules, 289 * S, DERATE_ALL, 1), 590000);
    assert_int_equal(envelope_gate_step(&g, &rules, 290 * S, DERATE_ALL, 1), DERATE_ALL);
    assert_int_equal(envelope_gate_step(&g, &rules, 291 * S, 970000, 1), 970000);
    assert_int_equal(envelope_gate_step(&g, &rules, 292 * S, DERATE_ALL, 1), 970000);
    assert_int_equal(envelope_gate_step(&g, &rules, 352 * S, DERATE_ALL, 1), DERATE_ALL);
    assert_int_equal(envelope_gate_step(&g, &rules, 353 * S, 9999, 1), 0);
}

/* What is a little warmer leaves a little less, never more. */
static void continuous_and_monotonic(void **state)
{
    struct envelope_range r = inlet();
    int32_t before = DERATE_ALL;

    (void)state;
    for (int64_t v = 22000; v < 40000; v++) {
        int32_t f = envelope_value_ppm(&r, v);
        assert_true(f <= before && before - f <= 200); /* a millionth of 5 degrees' part, rounded */
        before = f;
    }
    before = DERATE_ALL;
    for (int64_t v = 22000; v > 10000; v--) {
        int32_t f = envelope_value_ppm(&r, v);
        assert_true(f <= before && before - f <= 334);
        before = f;
    }
    before = DERATE_ALL;
    r.rate = 20000;
    for (int64_t v = 0; v < 50000; v++) {
        int32_t f = envelope_rate_ppm(&r, v);
        assert_true(f <= before && before - f <= 50);
        before = f;
    }
}

/* On any walk: never more than what is said now, no rise before its dwell time, and where a sensor
 * dies instead of speaking, never more than where it speaks. */
static void random_walks(void **state)
{
    (void)state;
    for (uint64_t walk = 0; walk < 200; walk++) {
        struct envelope_range r = inlet();
        const struct envelope_look l = {&r, WINDOW, 10 * S};
        struct envelope_sensor s = {0};
        struct envelope_gate g = {0};
        int64_t now = S, value = 22000, higher_since = 0;
        int32_t before = 0;
        int is_dead = 0, was_settled = 0;
        r.rate = walk % 2 ? 60000 : ENVELOPE_NONE;
        for (uint64_t i = 0; i < 2000; i++) {
            enum envelope_cause why;
            uint32_t x[4];
            int32_t said, f, last = DERATE_ALL;
            if (s.is_heard)
                last = envelope_judge(&s, &l, &rules, s.at_us, &why);
            rand_philox(walk, i, 3, x);
            now += x[0] % (3 * S);
            value += (int64_t)(x[1] % 1001) - 500;
            is_dead = x[2] % 100 ? is_dead : !is_dead;
            if (!is_dead && x[3] % 50)
                envelope_take(&s, ENVELOPE_DRY_BULB, value, now, WINDOW);
            else if (!is_dead)
                envelope_refuse(&s);
            said = envelope_judge(&s, &l, &rules, now, &why);
            if (why == ENVELOPE_STALE || why == ENVELOPE_REFUSED)
                assert_true(said <= rules.blind_ppm && said <= last);
            f = envelope_gate_step(&g, &rules, now, said, s.is_heard);
            assert_true(f <= said && f >= 0);
            if (!was_settled || said <= before)
                higher_since = 0;
            else if (!higher_since)
                higher_since = now;
            if (was_settled && f > before) {
                assert_true(now - higher_since >= rules.dwell_us);
                higher_since = 0;
            }
            was_settled = g.is_settled;
            before = f;
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_value_in_its_range),
        cmocka_unit_test(limits_that_stand_alone),
        cmocka_unit_test(ranges_that_cannot_be),
        cmocka_unit_test(height_lowers_the_upper_limits),
        cmocka_unit_test(dew_points),
        cmocka_unit_test(what_cannot_be_is_refused),
        cmocka_unit_test(changes_over_the_window),
        cmocka_unit_test(a_sensor_that_dies),
        cmocka_unit_test(falls_at_once_and_rises_late),
        cmocka_unit_test(continuous_and_monotonic),
        cmocka_unit_test(random_walks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
