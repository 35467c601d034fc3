/* Hours of carbon: what is read, what an hour is, and that nothing unknown is 0. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "cloud/carbon.h"

#define T INT64_C(1796130000) /* 2026-12-01T13:00Z */

static struct carbon_hours *parse(const char *text)
{
    struct carbon_hours *h = NULL;
    struct err e = {0};

    if (carbon_parse(&h, "f", text, strlen(text), &e))
        fail_msg("%s", e.text);
    return h;
}

static int64_t at(const struct carbon_hours *h, enum carbon_basis b, int64_t t)
{
    return carbon_mg_per_kwh(h, b, NULL, t);
}

static void calendar(void **state)
{
    struct carbon_hours *h =
        parse("time,location,market,note\n2026-12-01T15:00+01:00,,0,\n"
              "2026-12-01T13:00Z,312.5,20,windy\n2026-12-01T17:00:00.000+01:00,290,\n");

    (void)state;
    assert_int_equal(carbon_n_hours(h), 3);
    assert_int_equal(at(h, CARBON_LOCATION, T - 1), CARBON_UNKNOWN);
    assert_int_equal(at(h, CARBON_LOCATION, T), 312500);
    assert_int_equal(at(h, CARBON_LOCATION, T + 3599), 312500);
    assert_int_equal(at(h, CARBON_MARKET, T), 20000);
    assert_int_equal(at(h, CARBON_LOCATION, T + 3600), CARBON_UNKNOWN); /* an empty field */
    assert_int_equal(at(h, CARBON_MARKET, T + 3600), 0);                /* that is known */
    assert_int_equal(at(h, CARBON_LOCATION, T + 7200), CARBON_UNKNOWN); /* no such row */
    assert_int_equal(at(h, CARBON_LOCATION, T + 3 * 3600), 290000);
    assert_int_equal(at(h, CARBON_LOCATION, T + 4 * 3600), CARBON_UNKNOWN);
    assert_int_equal(carbon_mg_per_kwh(NULL, CARBON_LOCATION, NULL, T), CARBON_UNKNOWN);
    carbon_free(h);
}

/* By the clock of the site, summer time too. */
static void a_day(void **state)
{
    struct carbon_hours *h = parse("hour,location\n14,100\n15,200\n");
    struct zone *berlin = NULL;
    struct err e;

    (void)state;
    assert_int_equal(zone_load(&berlin, ZONE_DIR, "Europe/Berlin", &e), 0);
    assert_int_equal(carbon_mg_per_kwh(h, CARBON_LOCATION, berlin, T), 100000);
    assert_int_equal(at(h, CARBON_LOCATION, T), CARBON_UNKNOWN); /* 13 o'clock in UTC */
    assert_int_equal(carbon_mg_per_kwh(h, CARBON_LOCATION, berlin, 1783429200), 200000); /* July */
    zone_free(berlin);
    carbon_free(h);
}

static void json(void **state)
{
    struct carbon_hours *h = parse(
        "{\"zone\":\"DE\",\"history\":[{\"datetime\":\"2026-12-01T13:00:00.000Z\","
        "\"carbonIntensity\":319},{\"datetime\":\"2026-12-01T14:00:00.000Z\",\"carbonIntensity\":"
        "null}]}");

    (void)state;
    assert_int_equal(at(h, CARBON_LOCATION, T), 319000);
    assert_int_equal(at(h, CARBON_LOCATION, T + 3600), CARBON_UNKNOWN);
    assert_int_equal(at(h, CARBON_MARKET, T), CARBON_UNKNOWN);
    carbon_free(h);
}

static void refused(void **state)
{
    static const char *const bad[] = {
        "",
        "time,location\n",
        "when,location\n2026-12-01T13:00Z,1\n",
        "time\n2026-12-01T13:00Z\n",
        "time,time,location\n",
        "time,location\n2026-12-01T13:00,1\n",
        "time,location\n2026-12-01T13:30Z,1\n",
        "time,location\n2026-02-30T13:00Z,1\n",
        "time,location\n2026-12-01T24:00Z,1\n",
        "time,location\n2026-12-01T13:00+15:00,1\n",
        "time,location\n2026-12-01T13:00Z,-1\n",
        "time,location\n2026-12-01T13:00Z,10001\n",
        "time,location\n2026-12-01T13:00Z,nan\n",
        "time,location\n2026-12-01T13:00Z,1\n2026-12-01T14:00+01:00,2\n",
        "time,location\n2026-12-01T13:00Z,1\n2026-12-01T18:00+05:30,2\n", /* half past twelve */
        "hour,location\n24,1\n",
        "hour,location\n1,1\n1,1\n",
        "{}",
        "{\"a\":[],\"b\":[]}",
        "[]",
        "[1]",
        "[{\"time\":\"2026-12-01T13:00Z\",\"location\":\"1\"}]",
        "[{\"time\":\"2026-12-01T13:00Z\",\"location\":1e300}]",
        "[{\"hour\":1.5,\"location\":1}]",
    };

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct carbon_hours *h = NULL;
        struct err e = {0};
        if (carbon_parse(&h, "f", bad[i], strlen(bad[i]), &e) != ERR_FORMAT)
            fail_msg("taken: %s", bad[i]);
        assert_null(h);
        assert_true(!strncmp(e.text, "f: ", 3));
    }
}

static void amounts(void **state)
{
    (void)state;
    assert_int_equal(carbon_ug(INT64_C(3600000000000), 300000), 300000000); /* 1 kWh: 300 g */
    assert_int_equal(carbon_ug(1000000, 380000), 106); /* 1 J: 105.6 micrograms */
    assert_int_equal(carbon_ug(0, 380000), 0);
    assert_int_equal(carbon_ug(1000000, 0), 0);
    assert_int_equal(carbon_ug(1000000, CARBON_UNKNOWN), CARBON_UNKNOWN);
    assert_int_equal(carbon_ug(INT64_MAX, CARBON_MG_MAX), INT64_C(25620477880152155));
    assert_int_equal(carbon_facility_uj(1000, 1250), 1250);
    assert_int_equal(carbon_facility_uj(INT64_MAX, 1001), -1);
    assert_int_equal(carbon_ug(-1, 1), CARBON_UNKNOWN);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(calendar), cmocka_unit_test(a_day),   cmocka_unit_test(json),
        cmocka_unit_test(refused),  cmocka_unit_test(amounts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
