/* Numbers as text: what printf writes. */
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/err.h"
#include "base/put.h"

static const int64_t numbers[] = {
    0,   1,    9,     10,       99,        100,       999,  1000,  1001,      123456789, -1,
    -10, -999, -1000, -1234567, INT32_MAX, INT32_MIN, 4096, 65535, INT64_MAX, INT64_MIN};

static void test_like_printf(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        int64_t v = numbers[i];
        uint64_t size = v < 0 ? -(uint64_t)v : (uint64_t)v;
        char out[PUT_MAX], want[64];

        snprintf(want, sizeof want, "%" PRId64, v);
        assert_int_equal(put_dec(v, out), strlen(want));
        assert_string_equal(out, want);
        snprintf(want, sizeof want, "%" PRIx64, (uint64_t)v);
        assert_int_equal(put_hex((uint64_t)v, out), strlen(want));
        assert_string_equal(out, want);
        snprintf(want, sizeof want, "%s%" PRIu64 ".%03d", v < 0 ? "-" : "", size / 1000,
                 (int)(size % 1000));
        assert_int_equal(put_milli(v, out), strlen(want));
        assert_string_equal(out, want);
    }
}

static void test_decimals(void **state)
{
    static const struct {
        int64_t v;
        int n;
        const char *want;
    } all[] = {{0, 6, "0.0"},
               {1, 6, "0.000001"},
               {1250000, 6, "1.25"},
               {-1250000, 6, "-1.25"},
               {1000, 3, "1.0"},
               {30, 3, "0.03"},
               {1, 1, "0.1"},
               {INT64_MAX, 9, "9223372036.854775807"},
               {INT64_MIN, 9, "-9223372036.854775808"},
               {INT64_MIN, 1, "-922337203685477580.8"}};
    char out[PUT_MAX];

    (void)state;
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        assert_int_equal(put_decimal(all[i].v, all[i].n, out), strlen(all[i].want));
        assert_string_equal(out, all[i].want);
    }
}

static void test_bytes(void **state)
{
    static const unsigned char bytes[] = {0, 1, 0x0f, 0x10, 0xab, 0xff};
    char out[2 * sizeof bytes + 1];

    (void)state;
    put_bytes(bytes, sizeof bytes, out);
    assert_string_equal(out, "00010f10abff");
    put_bytes(bytes, 0, out);
    assert_string_equal(out, "");
}

static void test_add(void **state)
{
    struct buf b;

    (void)state;
    buf_init(&b, 8);
    assert_int_equal(put_number(&b, 200), 0);
    assert_int_equal(put_number(&b, -7), 0);
    assert_string_equal(b.data, "200-7");
    assert_int_equal(put_number(&b, 123456), ERR_LIMIT);
    buf_done(&b);
}

static void test_text(void **state)
{
    char to[5] = "xxxx";

    (void)state;
    put_text(to, sizeof to, "abc");
    assert_string_equal(to, "abc");
    put_text(to, sizeof to, "abcdefgh");
    assert_string_equal(to, "abcd");
    put_text(to, 1, "abc");
    assert_string_equal(to, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_like_printf), cmocka_unit_test(test_decimals),
        cmocka_unit_test(test_bytes),       cmocka_unit_test(test_add),
        cmocka_unit_test(test_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
