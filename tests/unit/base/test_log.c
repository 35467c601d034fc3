/* A line of the log, whatever the values hold. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <jansson.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/plain.h"
#include "base/utf8.h"

static int caught[2], saved;
static char line[65536];

static void catch (void)
{
    assert_int_equal(pipe(caught), 0);
    saved = dup(2);
    dup2(caught[1], 2);
}

/* What was written, in `line`. */
static void release(void)
{
    ssize_t n;

    dup2(saved, 2);
    close(saved);
    close(caught[1]);
    n = read(caught[0], line, sizeof line - 1);
    line[n > 0 ? n : 0] = 0;
    close(caught[0]);
}

static void is_one_plain_line(void)
{
    size_t n = strlen(line);
    uint32_t cp;

    assert_true(n > 1 && n <= 8192 && line[n - 1] == '\n');
    for (size_t i = 0; i + 1 < n;) {
        int len = utf8_decode(line + i, n - i, &cp);
        if (len <= 0 || plain_is_hidden(cp))
            fail_msg("%s", line);
        i += (size_t)len;
    }
}

static const char *const nasty[] = {
    "\x1b[2J\x07\b\x7f",
    "\xff\xfe\xc2",
    "\xc2\x9b[31m\xe2\x80\xae",
    "a\nlevel=error forged=1\r",
    "quote \" and \\ backslash",
    "cut \xf0\x9f\xa7",
    "",
};

static void text(void **state)
{
    log_setup(LOG_INFO, 0);
    for (size_t i = 0; i < sizeof nasty / sizeof nasty[0]; i++) {
        catch ();
        LOG_EVENT(LOG_INFO, "event", LOG_STR("a", nasty[i]), LOG_INT("b", 1));
        release();
        is_one_plain_line();
        assert_non_null(strstr(line, " b=1\n"));
        catch ();
        log_line(LOG_WARN, "a sentence with %s in it", nasty[i]);
        release();
        is_one_plain_line();
    }
    catch ();
    LOG_EVENT(LOG_INFO, "event", LOG_STR("a", "x\x1b\"\n"), LOG_STR("b", "w"));
    release();
    assert_non_null(strstr(line, " info  event a=\"x\\x1b\\\"\\n\" b=w\n"));
}

static void json(void **state)
{
    log_setup(LOG_INFO, 1);
    for (size_t i = 0; i < sizeof nasty / sizeof nasty[0]; i++) {
        for (int sentence = 0; sentence < 2; sentence++) {
            json_t *j;
            catch ();
            if (sentence)
                log_line(LOG_WARN, "a sentence with %s in it", nasty[i]);
            else
                LOG_EVENT(LOG_INFO, nasty[i], LOG_STR("a", nasty[i]), LOG_REAL("b", 0.5));
            release();
            is_one_plain_line();
            j = json_loads(line, 0, NULL);
            if (!j)
                fail_msg("%s", line);
            if (!sentence && i == 4)
                assert_string_equal(json_string_value(json_object_get(j, "a")), nasty[i]);
            if (!sentence && i == 1)
                assert_string_equal(json_string_value(json_object_get(j, "a")),
                                    "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd");
            json_decref(j);
        }
    }
}

/* Values that do not fit are cut at a whole character, and what follows is left out. */
static void long_values(void **state)
{
    static char big[20000];
    json_t *j;

    for (int form = 0; form < 4; form++) {
        size_t unit = form & 1 ? 3 : 1;
        for (size_t i = 0; i + unit < sizeof big; i += unit)
            memcpy(big + i, form & 1 ? "\xe2\x82\xac" : "\x1b", unit);
        for (size_t shift = 0; shift < 12; shift++) { /* the end falls on each byte of a unit */
            log_setup(LOG_INFO, form >= 2);
            catch ();
            LOG_EVENT(LOG_INFO, "event", LOG_STR("p", &"aaaaaaaaaaaaaaaa"[shift]),
                      LOG_STR("big", big), LOG_STR("after", big), LOG_INT("n", 12345678));
            release();
            is_one_plain_line();
            assert_true(strlen(line) > 8000);
            if (form >= 2) {
                j = json_loads(line, 0, NULL);
                if (!j)
                    fail_msg("%.40s ... %s", line, line + strlen(line) - 40);
                json_decref(j);
            } else {
                assert_int_equal(line[strlen(line) - 2], '"');
            }
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(text), cmocka_unit_test(json),
                                       cmocka_unit_test(long_values)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
