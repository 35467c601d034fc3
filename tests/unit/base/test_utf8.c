/* UTF-8: what is not well formed is found where it begins, at any place of a text. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"

#define LONGEST 40

/* In memory of exactly its size, so that a byte too far is seen. */
static int valid(const char *text, size_t n, size_t *ret_bad)
{
    char *own = malloc(n ? n : 1);
    int r;

    assert_non_null(own);
    memcpy(own, text, n);
    r = utf8_valid(own, n, ret_bad);
    free(own);
    return r;
}

/* The piece stands at every place of texts of every length. */
static void put_everywhere(const char *piece, int is_good)
{
    char text[LONGEST];
    size_t n_piece = strlen(piece), bad;

    for (size_t n = n_piece; n <= LONGEST; n++) {
        for (size_t at = 0; at + n_piece <= n; at++) {
            memset(text, 'a', n);
            memcpy(text + at, piece, n_piece);
            assert_int_equal(valid(text, n, &bad), is_good);
            assert_int_equal(bad, is_good ? n : at);
        }
    }
}

static void well_formed(void **state)
{
    static const char *const good[] = {"\x7f",
                                       "\xc2\x80",
                                       "\xe0\xa0\x80",
                                       "\xed\x9f\xbf",
                                       "\xf0\x90\x80\x80",
                                       "\xf4\x8f\xbf\xbf",
                                       "\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80"};
    size_t bad = 1;

    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        put_everywhere(good[i], 1);
    assert_int_equal(utf8_valid("", 0, &bad), 1);
    assert_int_equal(bad, 0);
    assert_int_equal(utf8_valid("a\0b", 3, NULL), 1); /* zero bytes are characters */
}

static void not_well_formed(void **state)
{
    /* a byte that begins nothing, overlong forms, surrogates, beyond the last, cut by another */
    static const char *const wrong[] = {"\x80",
                                        "\xff",
                                        "\xc0\x80",
                                        "\xe0\x9f\xbf",
                                        "\xed\xa0\x80",
                                        "\xf0\x8f\xbf\xbf",
                                        "\xf4\x90\x80\x80",
                                        "\xf5\x80\x80\x80",
                                        "\xc3"
                                        "a",
                                        "\xe2\x82"
                                        "a"};

    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        put_everywhere(wrong[i], 0);
}

/* A character of which the end is missing. */
static void cut_off(void **state)
{
    static const char text[] = "aaaaaaaaaaaaaaaa\xf0\x9f\x98\x80";
    size_t bad;

    for (size_t n = 17; n < 20; n++) {
        assert_int_equal(valid(text, n, &bad), 0);
        assert_int_equal(bad, 16);
    }
    assert_int_equal(valid(text, 20, NULL), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(well_formed),
        cmocka_unit_test(not_well_formed),
        cmocka_unit_test(cut_off),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
