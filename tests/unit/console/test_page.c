/* The embedded page: which files there are, and what the request's fields ask for. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "console/page.h"

static void files(void **state)
{
    static const char *const wanted[] = {"/", "/lib/marked.js", "/app.js", "/lib/highlight.js"};

    for (size_t i = 0; i < sizeof wanted / sizeof wanted[0]; i++) {
        const struct page_file *f = page_find(wanted[i]);
        assert_non_null(f);
        assert_int_equal(f->gzip[0], 0x1f);
        assert_true(f->n > f->n_gzip || f->n < 1024);
        assert_string_not_equal(f->tag, f->gzip_tag);
    }
    assert_null(page_find("/lib"));
    assert_null(page_find(""));
    assert_null(page_find("/../etc/passwd"));
}

static void gzip_is_asked_for(void **state)
{
    static const char *const yes[] = {"gzip",          "GZIP",    "br, gzip",      "gzip;q=0.001",
                                      "gzip ; q=1,br", "*",       "br;q=0,*;q=.5", " gzip\t",
                                      "*;q=0,gzip",    "gzip;q=x"};
    static const char *const no[] = {
        "",      "identity",      "br",    "gzip;q=0",   "gzip;q=0.0", "x-gzip", "gzippy",
        "*;q=0", "gzip; q=0, br", ",,,;=", "*, gzip;q=0"};

    for (size_t i = 0; i < sizeof yes / sizeof yes[0]; i++)
        assert_true(page_takes_gzip(yes[i]));
    for (size_t i = 0; i < sizeof no / sizeof no[0]; i++)
        assert_false(page_takes_gzip(no[i]));
    assert_false(page_takes_gzip(NULL));
}

static void tags(void **state)
{
    static const char *const yes[] = {"\"a\"", "W/\"a\"",       "\"b\", \"a\"",
                                      "*",     "\"b\",W/\"a\"", "x, \"a\""};
    static const char *const no[] = {"",        "a",  "\"ab\"", "\"b\"",
                                     "\"b, \"", "W/", "\"",     "\"x\"\"b\""};

    for (size_t i = 0; i < sizeof yes / sizeof yes[0]; i++)
        assert_true(page_has_tag(yes[i], "\"a\""));
    for (size_t i = 0; i < sizeof no / sizeof no[0]; i++)
        assert_false(page_has_tag(no[i], "\"a\""));
    assert_false(page_has_tag(NULL, "\"a\""));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(files),
        cmocka_unit_test(gzip_is_asked_for),
        cmocka_unit_test(tags),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
