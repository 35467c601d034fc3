/* Schedules and calls of the grid: which holds at a time, by the clock of the site's zone. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "base/day.h"
#include "cloud/curtailment.h"
#include "policy/derate.h"

#define MW 1000000

static const struct power_row power[] = {{POWER_ALWAYS, 100 * MW, 40 * MW, 0}};
static struct zone *berlin;

static int64_t us(const char *moment)
{
    int64_t s;

    assert_int_equal(day_read_moment(moment, NULL, &s), 0);
    return s * 1000000;
}

/* A site with that schedule alone. */
static struct site_terms site(const struct site_schedule *s, const struct zone *z)
{
    return (struct site_terms){.name = "a",
                               .zone = z,
                               .power = power,
                               .n_power = 1,
                               .curtail = {.schedule = s, .n_schedules = 1}};
}

static int ppm(const struct site_terms *t, const char *moment)
{
    return curtailment_now(t, NULL, 0, us(moment)).now.factor_ppm;
}

static void hours_of_days(void **state)
{
    /* 17:00 to 19:00 from Monday to Friday, to 10 of 40 MW, within a minute. */
    const struct site_schedule s = {.from_minute = 17 * 60,
                                    .n_minutes = 120,
                                    .days = 0x1f,
                                    .ramp_us = 60000000,
                                    .target = {10 * MW, 0}};
    const struct site_terms t = site(&s, berlin);

    (void)state;
    assert_int_equal(ppm(&t, "2026-12-01T15:59:59Z"), DERATE_ALL); /* a Tuesday, winter */
    assert_int_equal(ppm(&t, "2026-12-01T16:00:30Z"), 625000);
    assert_int_equal(ppm(&t, "2026-12-01T16:01:00Z"), 250000);
    assert_int_equal(ppm(&t, "2026-12-01T17:59:59Z"), 250000);
    assert_int_equal(ppm(&t, "2026-12-01T18:00:30Z"), 625000);
    assert_int_equal(ppm(&t, "2026-12-01T18:01:00Z"), DERATE_ALL);
    assert_int_equal(ppm(&t, "2026-12-05T17:00:00Z"), DERATE_ALL); /* a Saturday */
    assert_int_equal(ppm(&t, "2026-07-01T15:30:00Z"), 250000);     /* summer */
    assert_int_equal(curtailment_now(&t, NULL, 0, us("2026-12-01T17:00:00Z")).until_s,
                     us("2026-12-01T18:00:00Z") / 1000000);
}

static void over_midnight(void **state)
{
    /* 22:00 to 06:00 of Sundays: Monday morning is still Sunday's. */
    const struct site_schedule s = {
        .from_minute = 22 * 60, .n_minutes = 480, .days = 0x40, .target = {-1, 500000}};
    const struct site_terms t = site(&s, NULL);

    (void)state;
    assert_int_equal(ppm(&t, "2026-12-06T21:59:59Z"), DERATE_ALL);
    assert_int_equal(ppm(&t, "2026-12-06T22:00:00Z"), 500000);
    assert_int_equal(ppm(&t, "2026-12-07T05:59:59Z"), 500000);
    assert_int_equal(ppm(&t, "2026-12-07T06:00:00Z"), DERATE_ALL);
    assert_int_equal(ppm(&t, "2026-12-07T22:00:00Z"), DERATE_ALL);
}

/* In Berlin the clock goes from 2 to 3 on 2026-03-29, and from 3 to 2 on 2026-10-25. */
static void where_the_clock_changes(void **state)
{
    struct site_schedule s = {
        .from_minute = 60, .n_minutes = 180, .days = 0x7f, .target = {-1, 500000}};
    const struct site_terms t = site(&s, berlin);

    (void)state;
    /* 01:00 to 04:00 is two hours long, and then four. */
    assert_int_equal(ppm(&t, "2026-03-28T23:59:59Z"), DERATE_ALL);
    assert_int_equal(ppm(&t, "2026-03-29T00:00:00Z"), 500000);
    assert_int_equal(ppm(&t, "2026-03-29T01:59:59Z"), 500000);
    assert_int_equal(ppm(&t, "2026-03-29T02:00:00Z"), DERATE_ALL);
    assert_int_equal(ppm(&t, "2026-10-24T22:59:59Z"), DERATE_ALL);
    assert_int_equal(ppm(&t, "2026-10-24T23:00:00Z"), 500000);
    assert_int_equal(ppm(&t, "2026-10-25T02:59:59Z"), 500000);
    assert_int_equal(ppm(&t, "2026-10-25T03:00:00Z"), DERATE_ALL);
    /* 02:30 comes never, so it is 03:30; and twice: the first counts. */
    s.from_minute = 150;
    s.n_minutes = 90;
    assert_int_equal(ppm(&t, "2026-03-29T01:29:59Z"), DERATE_ALL);
    assert_int_equal(ppm(&t, "2026-03-29T01:30:00Z"), 500000);
    assert_int_equal(ppm(&t, "2026-10-25T00:29:59Z"), DERATE_ALL);
    assert_int_equal(ppm(&t, "2026-10-25T00:30:00Z"), 500000);
}

static void the_lowest_holds(void **state)
{
    const struct site_schedule s = {.from_s = 1000, .until_s = 2000, .target = {-1, 500000}};
    const struct site_terms t = site(&s, NULL);
    struct site_call calls[] = {
        {.id = 1, .site = "a", .from_s = 1200, .until_s = 1500, .target = {10 * MW, 0}},
        {.id = 2, .site = "b", .from_s = 0, .until_s = 5000, .target = {-1, 0}},
        {.id = 3, .site = "a", .from_s = 1400, .until_s = 1600, .target = {30 * MW, 0}},
    };
    struct site_curtailed c;

    (void)state;
    c = curtailment_now(&t, calls, 3, 1100 * INT64_C(1000000));
    assert_true(c.id == 0 && c.now.factor_ppm == 500000 && c.until_s == 2000);
    c = curtailment_now(&t, calls, 3, 1450 * INT64_C(1000000));
    assert_true(c.id == 1 && c.now.factor_ppm == 250000 && c.until_s == 1500);
    c = curtailment_now(&t, calls, 3, 1550 * INT64_C(1000000)); /* the call leaves more */
    assert_true(c.id == 0 && c.now.factor_ppm == 500000);
    calls[0].cancelled_s = 1300;
    c = curtailment_now(&t, calls, 3, 1299 * INT64_C(1000000));
    assert_true(c.id == 1 && c.until_s == 1300);
    c = curtailment_now(&t, calls, 3, 1300 * INT64_C(1000000));
    assert_true(c.id == 0 && c.now.factor_ppm == 500000);
    calls[0].cancelled_s = 900; /* it never was */
    assert_int_equal(curtailment_now(&t, calls, 1, 1250 * INT64_C(1000000)).id, 0);
    c = curtailment_now(&t, calls, 3, 2000 * INT64_C(1000000));
    assert_true(c.now.phase == CURTAIL_NONE && c.now.factor_ppm == DERATE_ALL);
}

/* Megawatts of a site whose power is not known yet leave nothing: not knowing is no reason to use
 * more. */
static void unknown_power(void **state)
{
    const struct site_schedule s = {.from_s = 1000, .until_s = 2000, .target = {MW, 0}};
    struct site_terms t = site(&s, NULL);

    (void)state;
    t.n_power = 0;
    assert_int_equal(curtailment_now(&t, NULL, 0, 1500 * INT64_C(1000000)).now.factor_ppm, 0);
}

static int load(void **state)
{
    struct err e = {0};

    (void)state;
    return zone_load(&berlin, ZONE_DIR, "Europe/Berlin", &e);
}

static int unload(void **state)
{
    (void)state;
    zone_free(berlin);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hours_of_days),           cmocka_unit_test(over_midnight),
        cmocka_unit_test(where_the_clock_changes), cmocka_unit_test(the_lowest_holds),
        cmocka_unit_test(unknown_power),
    };
    return cmocka_run_group_tests(tests, load, unload);
}
