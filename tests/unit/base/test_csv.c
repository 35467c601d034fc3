/* CSV: fields are quoted and never a formula; what is not well formed is named. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "base/csv.h"

static void fields(void **state)
{
    static const char *const all[][2] = {
        {"", "\"\""},          {"acme", "\"acme\""}, {"a \"b\", c\nd", "\"a \"\"b\"\", c\nd\""},
        {"=1+1", "\"'=1+1\""}, {"@x", "\"'@x\""},    {"a=b", "\"a=b\""},
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

/* The fields of all rows, with | between fields and / behind rows; or the error. */
static void read_all(const char *text, size_t n, char *out, size_t cap)
{
    static struct csv c;
    struct err e = {0};
    struct buf all;
    int r;

    buf_init(&all, cap - 1);
    csv_init(&c, text, n);
    while ((r = csv_next(&c, &e)) == 1) {
        for (int i = 0; i < c.n_fields; i++) {
            if (i)
                buf_add_char(&all, '|');
            buf_add_str(&all, c.field[i]);
        }
        buf_add_char(&all, '/');
    }
    snprintf(out, cap, "%s", r ? e.text : all.data ? all.data : "");
    buf_done(&all);
}

static void what_is_read(void **state)
{
    static const struct {
        const char *text, *rows;
        size_t n;
    } all[] = {
        {"", "", 0},
        {"a,b\n1,2\n", "a|b/1|2/", 0},
        {"a,b\r\n1,2", "a|b/1|2/", 0},
        {"\xef\xbb\xbfx,\n", "x|/", 0},
        {"\"a,\"\"b\"\"\nc\",d\n", "a,\"b\"\nc|d/", 0},
        {"\"\",\"\"", "|/", 0},
        {"\xc3\xa9\n", "\xc3\xa9/", 0},
        {"a\n\nb\n", "line 2: it is empty", 0},
        {"\n", "line 1: it is empty", 0},
        {"a\"b\n", "line 1: a quote in the middle of a field", 0},
        {"x\n\"a\nb\"c\n", "line 2: text behind a quote", 0},
        {"\"a\nb", "line 1: a quote has no end", 0},
        {"\"a\n\"\n\xff\n", "line 3: bytes that are not UTF-8", 0},
        {"a\rb\n", "line 1: CR without LF", 0},
        {"a\0b", "line 1: a NUL byte", 3},
        {"\"\0\"", "line 1: a NUL byte", 3},
    };
    char out[512];

    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        read_all(all[i].text, all[i].n ? all[i].n : strlen(all[i].text), out, sizeof out);
        assert_string_equal(out, all[i].rows);
    }
}

static void limits(void **state)
{
    static char text[CSV_ROW_BYTES_MAX + 2], out[512], fields[CSV_FIELDS_MAX + 1];

    memset(text, 'a', sizeof text);
    read_all(text, CSV_ROW_BYTES_MAX, out, sizeof out); /* a NUL goes behind it */
    assert_string_equal(out, "line 1: more than 64 fields, or 16384 bytes");
    memset(fields, ',', sizeof fields);
    read_all(fields, CSV_FIELDS_MAX - 1, out, sizeof out);
    assert_int_equal(strlen(out), CSV_FIELDS_MAX);
    read_all(fields, CSV_FIELDS_MAX, out, sizeof out);
    assert_string_equal(out, "line 1: more than 64 fields, or 16384 bytes");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fields),
        cmocka_unit_test(what_is_read),
        cmocka_unit_test(limits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
