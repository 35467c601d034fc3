/* Days of the command line: what is none is refused, and not read as another. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/check.h"
#include "cmd/day.h"

static void days(void **state)
{
    static const struct {
        const char *text;
        int64_t s; /* < 0: no day */
    } t[] = {
        {"1970-01-02", 86400},
        {"2026-12-01", INT64_C(1796083200)},
        {"2028-02-29", INT64_C(1835395200)},
        {"2026-02-29", -1},
        {"2026-02-30", -1},
        {"2026-13-01", -1},
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
        if (day_read(t[i].text, &s) != (t[i].s < 0 ? -1 : 0) || s != t[i].s)
            fail_msg("%s: %lld", t[i].text, (long long)s);
    }
}

static void spans(void **state)
{
    int64_t from, to;

    assert_null(day_read_span(NULL, NULL, &from, &to));
    assert_true(!from && !to);
    assert_null(day_read_span("1970-01-02", "1970-01-03", &from, &to));
    assert_true(from == 86400 && to == 2 * 86400);
    assert_null(day_read_span(NULL, "1970-01-03", &from, &to));
    assert_non_null(day_read_span("1970-01-02", "1970-01-02", &from, &to));
    assert_non_null(day_read_span("2026-12-01", "2026-01-01", &from, &to));
    assert_non_null(day_read_span("soon", NULL, &from, &to));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(days),
        cmocka_unit_test(spans),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
