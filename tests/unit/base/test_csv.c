/* Fields of CSV: quoted, and never a formula. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/csv.h"

static void fields(void **state)
{
    static const char *const all[][2] = {
        {"", "\"\""},
        {"acme", "\"acme\""},
        {"a \"b\", c\nd", "\"a \"\"b\"\", c\nd\""},
        {"=1+1", "\"'=1+1\""},
        {"@x", "\"'@x\""},
        {"a=b", "\"a=b\""},
    };
    struct buf out;

    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        buf_init(&out, 100);
        csv_put(&out, all[i][0]);
        assert_int_equal(out.failed, 0);
        assert_string_equal(out.data, all[i][1]);
        buf_done(&out);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fields),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
