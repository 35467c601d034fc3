/* Energy as text: what is read is shown as the same. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/watthour.h"

static void what_is_read_is_shown(void **state)
{
    static const struct {
        const char *text;
        int64_t uj;
        const char *shown;
    } all[] = {{"0Wh", 0, "0.0"},
               {"1Wh", 3600000000, "1.0"},
               {"500Wh", 500 * WATTHOUR_UJ, "500.0"},
               {"1.5kWh", 1500 * WATTHOUR_UJ, "1500.0"},
               {"0.000001Wh", 3600, "0.000001"},
               {"0.000000001kWh", 3600, "0.000001"},
               {"100000kWh", WATTHOUR_UJ_MAX, "100000000.0"}};
    char out[WATTHOUR_TEXT_MAX];
    struct err e;
    int64_t uj;

    (void)state;
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        assert_int_equal(watthour_parse(all[i].text, &uj, &e), 0);
        assert_true(uj == all[i].uj);
        assert_string_equal(watthour_show(uj, out), all[i].shown);
    }
    assert_string_equal(watthour_show(1800, out), "0.000001"); /* the nearest */
    assert_string_equal(watthour_show(1799, out), "0.0");
    assert_string_equal(watthour_show(-1800, out), "-0.000001");
    assert_string_equal(watthour_show(INT64_MAX, out), "2562047788.015216");
}

static void what_is_none_is_refused(void **state)
{
    static const char *const bad[] = {"",
                                      "Wh",
                                      "kWh",
                                      "5",
                                      "5 Wh",
                                      "-1Wh",
                                      "1MWh",
                                      "1wh",
                                      "1kwh",
                                      "0.0000001Wh",
                                      "100000.000000001kWh",
                                      "9999999999kWh",
                                      "1e3Wh",
                                      "1WhWh",
                                      "11111111111111111111111111111111111111Wh"};
    struct err e;
    int64_t uj;

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        if (watthour_parse(bad[i], &uj, &e) != ERR_ARG)
            fail_msg("'%s' is read", bad[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_read_is_shown),
        cmocka_unit_test(what_is_none_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
