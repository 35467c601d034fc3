/* Days: what is none is refused, and not read as another. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/check.h"
#include "base/day.h"

static void days(void **state)
{
    static const struct {
        const char *text;
        int64_t s; /* -1: no day */
    } t[] = {
        {"1970-01-02", 86400},
        {"0000-03-01", -INT64_C(62162035200)},
        {"2026-12-01", INT64_C(1796083200)},
        {"2028-02-29", INT64_C(1835395200)},
        {"2026-02-29", -1},
        {"2026-02-30", -1},
        {"2026-13-01", -1},
        {"2026-00-01", -1},
        {"2026-01-00", -1},
        {"2026-1a-01", -1},
        {"2026/01/01", -1},
        {"2026-12-1", -1},
        {"26-12-01", -1},
        {"2026-12-01 ", -1},
        {" 2026-12-01", -1},
        {"2026-12-01T00:00:00Z", -1},
        {"", -1},
        {"yesterday", -1},
        {"-1", -1},
        {"99999999999-01-01", -1},
    };

    for (size_t i = 0; i < ARRAY_LEN(t); i++) {
        int64_t s = -1;
        if (day_read(t[i].text, NULL, &s) != (t[i].s == -1 ? -1 : 0) || s != t[i].s)
            fail_msg("%s: %lld", t[i].text, (long long)s);
    }
}

static void in_a_zone(void **state)
{
    struct zone *berlin = NULL;
    char text[DAY_TEXT_MAX];
    struct err e;
    int64_t s;

    if (zone_load(&berlin, ZONE_DIR, "Europe/Berlin", &e))
        skip();
    assert_int_equal(day_read("2026-12-01", berlin, &s), 0);
    assert_int_equal(s, INT64_C(1796083200) - 3600);
    assert_string_equal(day_show(s, berlin, text), "2026-12-01");
    assert_string_equal(day_show(s - 1, berlin, text), "2026-11-30");
    assert_string_equal(day_show_moment(s, berlin, text), "2026-12-01");
    assert_string_equal(day_show_moment(s, NULL, text), "2026-11-30T23:00:00Z");
    assert_string_equal(day_show_moment(-1, NULL, text), "1969-12-31T23:59:59Z");
    assert_string_equal(day_show_moment(-86400, NULL, text), "1969-12-31");
    assert_string_equal(day_show(s, NULL, text), "2026-11-30");
    zone_free(berlin);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(days),
        cmocka_unit_test(in_a_zone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
