/* Spans of days: what is none is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "cmd/day_span.h"

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
        cmocka_unit_test(spans),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
