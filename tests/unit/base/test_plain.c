/* What of foreign text reaches a terminal. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "base/err.h"
#include "base/plain.h"
#include "base/utf8.h"

static const struct {
    const char *in;
    size_t n;
    const char *line, *text, *json;
} rows[] = {
#define ROW(in, line, text, json)                                                                  \
    {                                                                                              \
        in, sizeof(in) - 1, line, text, json                                                       \
    }
#define SAME(in) ROW(in, in, in, in)
    ROW("", "", "", ""),
    ROW("plain words, 93 %", "plain words, 93 %", "plain words, 93 %", "plain words, 93 %"),
    SAME("caf\xc3\xa9 \xf0\x9f\xa7\x87"),
    ROW("\x1b[31m", "\\x1b[31m", "\\x1b[31m", "\\u001b[31m"),
    ROW("a\x07\x08\x7f", "a\\x07\\x08\\x7f", "a\\x07\\x08\\x7f", "a\\u0007\\u0008\\u007f"),
    ROW("a\nb\tc\rd", "a\\nb\\tc\\rd", "a\nb\tc\\rd", "a\nb\tc\\rd"),
    ROW("a\0b", "a\\x00b", "a\\x00b", "a\\u0000b"),
    ROW("\xc2\x9b"
        "31m\xc2\x85",
        "\\u009b31m\\u0085", "\\u009b31m\\u0085", "\\u009b31m\\u0085"), /* CSI, NEL */
    ROW("\x9b"
        "31m\xff",
        "\\x9b31m\\xff", "\\x9b31m\\xff", "\\ufffd31m\\ufffd"), /* not UTF-8 */
    ROW("cut \xe2\x82", "cut \\xe2\\x82", "cut \\xe2\\x82", "cut \\ufffd\\ufffd"),
    ROW("a\xe2\x80\xae"
        "b\xe2\x81\xa6",
        "a\\u202eb\\u2066", "a\\u202eb\\u2066", "a\\u202eb\\u2066"), /* directions */
    ROW("a\xe2\x80\xa8", "a\\u2028", "a\\u2028", "a\\u2028"),
    SAME("\xd7\xa9\xd7\x9c\xd7\x95\xd7\x9d \xe2\x80\x8f"), /* a mark that turns nothing */
};

static void forms(void **state)
{
    struct buf b;

    buf_init(&b, 1024);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const char *const want[] = {rows[i].line, rows[i].text, rows[i].json};
        for (int form = PLAIN_LINE; form <= PLAIN_JSON; form++) {
            buf_clear(&b);
            assert_int_equal(plain_put(&b, rows[i].in, rows[i].n, (enum plain_form)form), 0);
            if (b.len != strlen(want[form]) || memcmp(b.data ? b.data : "", want[form], b.len))
                fail_msg("row %zu, form %d: '%s'", i, form, b.data ? b.data : "");
        }
    }
    buf_done(&b);
}

/* Whatever the bytes: text, and nothing that moves a terminal. */
static void every_pair(void **state)
{
    char in[2];
    struct buf b;
    uint32_t cp;

    buf_init(&b, 1024);
    for (int i = 0; i < 65536; i++) {
        in[0] = (char)(i >> 8);
        in[1] = (char)i;
        buf_clear(&b);
        assert_int_equal(plain_put(&b, in, 2, PLAIN_LINE), 0);
        for (size_t k = 0; k < b.len;) {
            int len = utf8_decode(b.data + k, b.len - k, &cp);
            if (len <= 0 || plain_is_hidden(cp))
                fail_msg("%04x: %s", (unsigned)i, b.data);
            k += (size_t)len;
        }
    }
    buf_done(&b);
}

static void limits(void **state)
{
    struct buf b;

    buf_init(&b, 6);
    assert_int_equal(plain_put(&b, "\x1b\x1b", 2, PLAIN_LINE), ERR_LIMIT);
    buf_done(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(forms), cmocka_unit_test(every_pair),
                                       cmocka_unit_test(limits)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
