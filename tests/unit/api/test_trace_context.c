/* traceparent and tracestate, as W3C Trace Context has them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "api/api.h"

#define TRACE "0af7651916cd43dd8448eb211c80319c"
#define SPAN  "b7ad6b7169203331"

static void parents(void **state)
{
    static const struct {
        const char *text;
        int flags; /* < 0: it is none */
    } rows[] = {
        {"00-" TRACE "-" SPAN "-01", 1},
        {"00-" TRACE "-" SPAN "-00", 0},
        {"00-" TRACE "-" SPAN "-03", 3},
        {"00-" TRACE "-" SPAN "-ff", 3},
        {"01-" TRACE "-" SPAN "-01", 1},
        {"cc-" TRACE "-" SPAN "-01-what-the-future-brings", 1},
        {"cc-" TRACE "-" SPAN "-01-", 1},
        {"cc-" TRACE "-" SPAN "-01.x", -1},
        {"00-" TRACE "-" SPAN "-01-x", -1},
        {"00-" TRACE "-" SPAN "-01 ", -1},
        {"ff-" TRACE "-" SPAN "-01", -1},
        {"0-" TRACE "-" SPAN "-01", -1},
        {"00-0AF7651916cd43dd8448eb211c80319c-" SPAN "-01", -1},
        {"00-00000000000000000000000000000000-" SPAN "-01", -1},
        {"00-" TRACE "-0000000000000000-01", -1},
        {"00-" TRACE "-" SPAN "-0g", -1},
        {"00-" TRACE "-" SPAN "-0", -1},
        {"00_" TRACE "-" SPAN "-01", -1},
        {"00-" TRACE "_" SPAN "-01", -1},
        {"00-" TRACE "-" SPAN "_01", -1},
        {"", -1},
        {NULL, -1},
    };
    char text[TRACE_TEXT_MAX];

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct trace_context t;
        memset(&t, 0xaa, sizeof t);
        assert_int_equal(api_trace_read(rows[i].text, &t), rows[i].flags >= 0);
        if (rows[i].flags < 0) {
            assert_int_equal(t.trace[0], 0xaa); /* as it was */
            continue;
        }
        assert_int_equal(t.flags, rows[i].flags);
        assert_int_equal(t.trace[0], 0x0a);
        assert_int_equal(t.trace[15], 0x9c);
        assert_int_equal(t.span[7], 0x31);
        api_trace_write(&t, text);
        assert_memory_equal(text, "00-" TRACE "-" SPAN "-0", 54);
        assert_int_equal(strlen(text), 55);
    }
}

static void states(void **state)
{
    static const struct {
        const char *text;
        int ok;
    } rows[] = {
        {"rojo=00f067aa0ba902b7,congo=t61rcWkgMzE", 1},
        {"a=1 , \t b=2", 1},
        {"a=1,,b=2,", 1},
        {"tenant@system=x", 1},
        {"0tenant@system=a b", 1},
        {"a_-*/9=!~", 1},
        {"", 0},
        {" , ,", 0},
        {"a", 0},
        {"a=", 0},
        {"=1", 0},
        {"A=1", 0},
        {"_a=1", 0},
        {"@a=1", 0},
        {"a@b@c=1", 0},
        {"a b=1", 0},
        {"a=1=2", 0},
        {"a=\x01", 0},
        {"a=\xc3\xa4", 0},
        {"a=1,b=2,a=3", 0},
    };
    char many[4096] = "", one[600];

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        assert_int_equal(api_trace_state_ok(rows[i].text), rows[i].ok);
    for (int i = 0; i < 33; i++) {
        char member[8] = {(char)('a' + i % 26), (char)('0' + i / 26), '=', '1', ',', 0};
        strcat(many, member);
        assert_int_equal(api_trace_state_ok(many), i < 32);
    }
    for (int n = 256; n <= 257; n++) {
        memset(one, 'k', sizeof one);
        memcpy(one + n, "=1", 3);
        assert_int_equal(api_trace_state_ok(one), n == 256);
        memset(one, 'v', sizeof one);
        memcpy(one, "k=", 2);
        one[2 + n] = 0;
        assert_int_equal(api_trace_state_ok(one), n == 256);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(parents), cmocka_unit_test(states)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
