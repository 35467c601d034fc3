/* Days, weeks and months over both changes of the clock in five zones of the system's files,
 * against the C library, and files that are broken. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "base/zone.h"

static const char *const names[] = {"America/New_York", "Europe/Berlin", "Australia/Lord_Howe",
                                    "Asia/Kathmandu", "America/Santiago"};
enum { N_ZONES = 5 };

static struct zone *load(const char *name)
{
    struct zone *z = NULL;
    struct err e = {0};

    if (zone_load(&z, ZONE_DIR, name, &e))
        fail_msg("%s", e.text);
    return z;
}

static struct tm local(const char *name, int64_t t)
{
    static char was[ZONE_NAME_MAX];
    struct tm tm;
    time_t at = t;

    if (strcmp(was, name)) {
        snprintf(was, sizeof was, "%s", name);
        setenv("TZ", name, 1);
        tzset();
    }
    localtime_r(&at, &tm);
    return tm;
}

/* Offsets as the C library has them, in the table's years and by the rule beyond. */
static void offsets(void **state)
{
    for (int i = 0; i < N_ZONES; i++) {
        struct zone *z = load(names[i]);
        for (int64_t t = -2000000000; t < 6000000000; t += 777777)
            assert_int_equal(zone_offset(z, t), local(names[i], t).tm_gmtoff);
        zone_free(z);
    }
    assert_int_equal(zone_offset(NULL, 1234567890), 0);
}

/* Each day of thirty years: one follows the other, each begins with its date, and has the hours
 * that people there count. */
static void local_days(void **state)
{
    static const int odd[N_ZONES][2] = {{23 * 60, 25 * 60},
                                        {23 * 60, 25 * 60}, /* minutes */
                                        {23 * 60 + 30, 24 * 60 + 30},
                                        {0, 0},
                                        {23 * 60, 25 * 60}};

    for (int i = 0; i < N_ZONES; i++) {
        struct zone *z = load(names[i]);
        int64_t t = 1577880000, from, until, last = 0; /* 2020-01-01 12:00 UTC */
        int n_short = 0, n_long = 0;
        while (t < 1577880000 + 30 * INT64_C(31556952)) {
            struct tm at;
            zone_window(z, ZONE_DAY, t, &from, &until);
            assert_true(from <= t && t < until);
            assert_true(!last || from == last);
            at = local(names[i], from);
            if (at.tm_hour || at.tm_min || at.tm_sec) /* there is no midnight that day */
                assert_int_not_equal(at.tm_mday, local(names[i], from - 1).tm_mday);
            assert_int_equal(at.tm_mday, local(names[i], until - 1).tm_mday);
            assert_int_not_equal(at.tm_mday, local(names[i], until).tm_mday);
            n_short += until - from == odd[i][0] * 60;
            n_long += until - from == odd[i][1] * 60;
            assert_true(until - from == 86400 || until - from == odd[i][0] * 60 ||
                        until - from == odd[i][1] * 60);
            last = t = until;
        }
        if (odd[i][0])
            assert_true(n_short >= 30 && n_long >= 30);
        zone_free(z);
    }
}

static void weeks_and_months(void **state)
{
    for (int i = 0; i < N_ZONES; i++) {
        struct zone *z = load(names[i]);
        int64_t from, until, t = 1577880000;
        for (int k = 0; k < 600; k++, t = until) {
            zone_window(z, ZONE_WEEK, t, &from, &until);
            assert_true(from <= t && t < until);
            assert_int_equal(local(names[i], from).tm_wday, 1);
            assert_int_equal(local(names[i], until - 1).tm_wday, 0);
        }
        for (int k = 0; k < 200; k++, t = until) {
            zone_window(z, ZONE_MONTH, t, &from, &until);
            assert_true(from <= t && t < until);
            assert_int_equal(local(names[i], from).tm_mday, 1);
            assert_int_not_equal(local(names[i], from).tm_mon, local(names[i], from - 1).tm_mon);
            assert_true(until - from > 27 * 86400 && until - from < 32 * 86400);
        }
        zone_free(z);
    }
}

/* The clock goes back over midnight (St. John's, 2000), and a day that never was (Apia, 2011). */
static void odd_midnights(void **state)
{
    struct zone *z = load("America/St_Johns");
    int64_t from, until, last = 0;

    for (int64_t t = 972000000; t < 973500000; t += 60) {
        zone_window(z, ZONE_DAY, t, &from, &until);
        assert_true(from <= t && t < until && until - from < 26 * 3600);
        assert_true(from >= last);
        last = from;
    }
    zone_free(z);
    z = load("Pacific/Apia");
    zone_window(z, ZONE_DAY, 1325239200 - 1, &from, &until); /* the 29th's last second */
    assert_int_equal(until, 1325239200);
    zone_window(z, ZONE_DAY, 1325239200, &from, &until); /* the 31st */
    assert_int_equal(from, 1325239200);
    assert_int_equal(until - from, 86400);
    zone_free(z);
    zone_window(NULL, ZONE_DAY, -1, &from, &until);
    assert_true(from == -86400 && until == 0);
}

static void bad_names(void **state)
{
    static const char *const bad[] = {"",        "/etc/passwd", "../x", "Europe/../x", "a//b",
                                      "Europe/", ".hidden",     "a b",  "x\n"};
    struct zone *z = NULL;
    struct err e;

    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(zone_load(&z, ZONE_DIR, bad[i], &e), ERR_ARG);
    assert_int_equal(zone_load(&z, ZONE_DIR, "Europe/Atlantis", &e), ERR_NOTFOUND);
    assert_non_null(strstr(e.text, "Europe/Atlantis"));
    assert_int_equal(zone_load(&z, ZONE_DIR, "Europe", &e), ERR_IO);
    assert_null(z);
}

/* A file that is cut anywhere is refused, or complete without what was cut. */
static void cut_files(void **state)
{
    FILE *f = fopen(ZONE_DIR "/Europe/Berlin", "rb");
    static char data[65536];
    struct zone *z = NULL;
    struct err e;
    size_t n;

    assert_non_null(f);
    n = fread(data, 1, sizeof data, f);
    fclose(f);
    for (size_t k = 0; k < n; k++) {
        char *own = malloc(k + 1);
        memcpy(own, data, k);
        assert_int_equal(zone_parse(&z, "x", own, k, &e), ERR_FORMAT);
        free(own);
    }
    assert_int_equal(zone_parse(&z, "x", data, n, &e), 0);
    zone_free(z);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(offsets),          cmocka_unit_test(local_days),
        cmocka_unit_test(weeks_and_months), cmocka_unit_test(odd_midnights),
        cmocka_unit_test(bad_names),        cmocka_unit_test(cut_files),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
