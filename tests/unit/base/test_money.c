/* Amounts of money: exact, and what is none is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/money.h"

static void there_and_back(void **state)
{
    static const struct {
        const char *text, *shown;
        int64_t nano;
    } good[] = {{"0", "0.00", 0},
                {"50", "50.00", 50 * MONEY_NANO},
                {"0.10", "0.10", 100000000},
                {"-3.5", "-3.50", -3500000000},
                {"0.000000001", "0.000000001", 1},
                {"12.300000", "12.30", 12300000000},
                {"9223372036.854775807", "9223372036.854775807", INT64_MAX}};
    static const char *const bad[] = {"",
                                      "-",
                                      ".",
                                      ".5",
                                      "1.",
                                      "1.2.3",
                                      "1e3",
                                      " 1",
                                      "1 ",
                                      "1,5",
                                      "+1",
                                      "0x1",
                                      "0.0000000001",
                                      "9223372036.854775808",
                                      "99999999999",
                                      "1.00EUR",
                                      "--1"};
    char out[MONEY_TEXT_MAX], sum[MONEY_SUM_TEXT_MAX];
    int64_t n;
    struct err e;

    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        assert_int_equal(money_parse(good[i].text, &n, &e), 0);
        assert_int_equal(n, good[i].nano);
        assert_string_equal(money_show(n, out), good[i].shown);
    }
    assert_string_equal(money_show(INT64_MIN, out), "-9223372036.854775808");
    assert_string_equal(money_show_sum(0, sum), "0.00");
    assert_string_equal(money_show_sum(-(money_sum)INT64_MAX * 1000, sum),
                        "-9223372036854.775807");
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        if (money_parse(bad[i], &n, &e) != ERR_ARG)
            fail_msg("taken for an amount: '%s'", bad[i]);
    }
    assert_true(money_is_currency("EUR") && !money_is_currency("eur") &&
                !money_is_currency("EURO") && !money_is_currency("EU"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(there_and_back)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
