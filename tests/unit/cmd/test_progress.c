#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "cmd/cmd.h"
#include "cmd/progress.h"

static void test_resumed_transfer(void **state)
{
    struct progress p = {.label = "model", .total = 100 << 20, .first = 50 << 20, .done = 75 << 20};
    char text[256];

    /* 25 MiB in 5 s: what was there before does not count as speed. */
    progress_text(&p, 5000000, 100, text, sizeof text);
    assert_string_equal(text, "model  [##############################..........]   75%  75.0 MiB / "
                              "100.0 MiB  5.0 MiB/s  00:05");
}

static void test_unknown_total(void **state)
{
    struct progress p = {.label = "model", .done = 3 << 20};
    char text[256];

    progress_text(&p, 1000000, 80, text, sizeof text);
    assert_string_equal(text, "model  3.0 MiB  3.0 MiB/s");
}

static void test_fits_any_width(void **state)
{
    struct progress p = {.label = "a-model-with-quite-a-long-name",
                         .unit = PROGRESS_COUNT,
                         .total = 1000,
                         .done = 2000}; /* more than promised: never above 100 % */
    char text[256];

    for (int width = 60; width < 200; width++) {
        progress_text(&p, 100, width, text, sizeof text);
        assert_true(strlen(text) <= (size_t)width);
        assert_non_null(strstr(text, "100%"));
    }
}

static void test_bytes(void **state)
{
    char s[32];

    assert_string_equal(cmd_bytes(0, s, sizeof s), "0 B");
    assert_string_equal(cmd_bytes(1023, s, sizeof s), "1023 B");
    assert_string_equal(cmd_bytes(98362432, s, sizeof s), "93.8 MiB");
    assert_string_equal(cmd_bytes(1073741823, s, sizeof s), "1.0 GiB");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_resumed_transfer),
        cmocka_unit_test(test_unknown_total),
        cmocka_unit_test(test_fits_any_width),
        cmocka_unit_test(test_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
