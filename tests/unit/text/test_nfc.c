/* Normal form C: the library's, in linear time. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

#include "base/utf8.h"
#include "text/nfc.h"

static uint64_t state = 7;

static uint32_t below(uint32_t n)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (uint32_t)(state >> 33) % n;
}

/* Letters that compose, marks of many classes, jamo and syllables, characters that only decompose,
 * that stand alone, or that compose with what is no mark. */
static uint32_t any_character(void)
{
    static const uint32_t some[] = {
        'a',    'e',     ' ',     'K',     0xc5,    0x1e69, 0x212b, 0x1f82,  0x1ebf, 0x3d4,
        0x9c7,  0x9be,   0x1025,  0x102e,  0x304b,  0x3099, 0x4e2d, 0xac00,  0x11a8, 0x1100,
        0x1161, 0x1163,  0xfb1f,  0x2adc,  0x915,   0x93c,  0x958,  0x340,   0x344,  0x387,
        0x2000, 0x1d15e, 0x1d165, 0x1d16e, 0x1f600, 0xf900, 0x200d, 0x11099, 0x110ba};

    switch (below(4)) {
    case 0:
        return 0x300 + below(0x70);
    case 1:
        return 0x590 + below(0x100);
    case 2:
        return some[below(sizeof some / sizeof *some)];
    default:
        return "aeiouAEcSs"[below(10)];
    }
}

static size_t random_text(char *text, size_t n, unsigned marks)
{
    size_t len = 0;
    while (len + 4 < n) {
        uint32_t c = any_character();
        if (below(100) < marks)
            c = 0x300 + below(0x4f);
        len += (size_t)utf8_encode(c, text + len);
    }
    return len;
}

static void check(const char *text, size_t n)
{
    utf8proc_uint8_t *want = NULL;
    utf8proc_ssize_t len = utf8proc_map((const utf8proc_uint8_t *)text, (utf8proc_ssize_t)n, &want,
                                        UTF8PROC_STABLE | UTF8PROC_COMPOSE);
    struct buf b;

    assert_true(len >= 0);
    buf_init(&b, NFC_GROWTH * n + 1);
    assert_int_equal(nfc_add(&b, text, n, NULL), 0);
    if (b.len != (size_t)len || memcmp(b.data ? b.data : "", want, b.len) != 0)
        fail_msg("%zu bytes: another text than the library's", n);
    if (nfc_is_sure(text, n))
        assert_true(b.len == n && (!n || !memcmp(b.data, text, n)));
    buf_done(&b);
    free(want);
}

static void test_as_the_library(void **unused)
{
    static char text[200000];

    check("", 0);
    for (int i = 0; i < 3000; i++)
        check(text, random_text(text, 4 + below(60), 0));
    for (int i = 0; i < 60; i++)
        check(text, random_text(text, 2000, 97));
    for (int i = 0; i < 20; i++) /* of several pieces */
        check(text, random_text(text, sizeof text, 0));
}

/* Every character alone, and between others. */
static void test_every_character(void **unused)
{
    for (uint32_t c = 1; c < 0x30000; c++) {
        char text[16] = "a";
        size_t n = 1;
        if (c >= 0xd800 && c < 0xe000)
            continue;
        n += (size_t)utf8_encode(c, text + n);
        check(text + 1, n - 1);
        n += (size_t)utf8_encode(0x301, text + n);
        check(text, n);
    }
}

/* A run of 4 million marks: the library would exchange neighbours for days. */
static void test_long_runs(void **unused)
{
    enum { N = 1000000 };
    char *text = malloc(2 * N + 1);
    struct buf b;

    assert_non_null(text);
    for (int kind = 0; kind < 3; kind++) {
        size_t n = 0;
        text[n++] = 'q';
        for (size_t i = 0; i < N; i++) {
            uint32_t c = kind == 0   ? 0x301
                         : kind == 1 ? (i & 1 ? 0x323 : 0x301)
                                     : 0x300 + below(0x34); /* all stay as they are */
            n += (size_t)utf8_encode(c, text + n);
        }
        buf_init(&b, NFC_GROWTH * n);
        assert_int_equal(nfc_add(&b, text, n, NULL), 0);
        assert_int_equal(b.len, n);
        for (size_t i = 1; i + 4 <= n; i += 2) {
            utf8proc_int32_t a, c;
            utf8proc_iterate((utf8proc_uint8_t *)b.data + i, 2, &a);
            utf8proc_iterate((utf8proc_uint8_t *)b.data + i + 2, 2, &c);
            assert_true(utf8proc_get_property(a)->combining_class <=
                        utf8proc_get_property(c)->combining_class);
        }
        buf_done(&b);
    }
    free(text);
}

static void test_patience(void **unused)
{
    static char text[100000];
    _Atomic int gone = 1;
    struct patience left = {.gone = &gone}, late = {.until_us = 1};
    size_t n = random_text(text, sizeof text, 100);
    struct buf b;

    buf_init(&b, NFC_GROWTH * n);
    assert_int_equal(nfc_add(&b, text, n, &left), ERR_CANCELLED);
    assert_int_equal(nfc_add(&b, text, n, &late), ERR_TIMEOUT);
    gone = 0;
    assert_int_equal(nfc_add(&b, text, n, &left), 0);
    buf_done(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_as_the_library),
        cmocka_unit_test(test_every_character),
        cmocka_unit_test(test_long_runs),
        cmocka_unit_test(test_patience),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
