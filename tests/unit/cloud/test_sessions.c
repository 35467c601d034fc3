/* Sessions of the console, and who guesses keys, under an imagined clock. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "cloud/sessions.h"

#define SECOND INT64_C(1000000)

static void begin(struct sessions *s, int64_t now_us, int64_t until_us, const char *key,
                  struct session *ret)
{
    struct err e = {0};

    assert_int_equal(sessions_begin(s, now_us, until_us, key, strlen(key), ret, &e), 0);
}

static int has(struct sessions *s, int64_t now_us, const struct session *one)
{
    struct session got;

    return sessions_find(s, now_us, one->token, strlen(one->token), &got) &&
           !strcmp(got.key, one->key) && !strcmp(got.csrf, one->csrf);
}

static void test_life(void **state)
{
    struct sessions *s = sessions_new();
    struct session a, b, got;
    char text[SESSION_TOKEN + 1];

    begin(s, 0, 100 * SECOND, "gf-a", &a);
    begin(s, 0, 200 * SECOND, "gf-b", &b);
    assert_int_equal(strlen(a.token), SESSION_TOKEN);
    assert_string_not_equal(a.token, b.token);
    assert_string_not_equal(a.csrf, b.csrf);
    assert_true(has(s, 99 * SECOND, &a) && has(s, 99 * SECOND, &b));
    assert_true(session_has_csrf(&a, a.csrf));
    assert_false(session_has_csrf(&a, b.csrf));
    assert_false(session_has_csrf(&a, ""));
    assert_false(session_has_csrf(&a, NULL));
    /* At its time it is over, and stays so. */
    assert_false(has(s, 100 * SECOND, &a));
    assert_false(has(s, 99 * SECOND, &a));
    assert_true(has(s, 100 * SECOND, &b));
    /* Nothing but the whole token. */
    memcpy(text, b.token, sizeof text);
    text[SESSION_TOKEN - 1] ^= 1;
    assert_false(sessions_find(s, 0, text, SESSION_TOKEN, &got));
    assert_false(sessions_find(s, 0, b.token, SESSION_TOKEN - 1, &got));
    assert_false(sessions_find(s, 0, "", 0, &got));
    assert_int_equal(sessions_end(s, b.token), 1);
    assert_int_equal(sessions_end(s, b.token), 0);
    assert_false(has(s, 100 * SECOND, &b));
    sessions_free(s);
}

static void test_limits(void **state)
{
    struct sessions *s = sessions_new();
    struct session first, last, one;
    struct err e = {0};
    char key[ACCOUNTS_KEY_MAX + 1];

    memset(key, 'k', sizeof key);
    assert_int_equal(sessions_begin(s, 0, SECOND, key, sizeof key, &one, &e), ERR_ARG);
    begin(s, 0, SECOND, "gf-first", &first);
    begin(s, 0, 3 * SECOND, "gf-last", &last);
    for (int i = 2; i < SESSIONS_MAX; i++)
        begin(s, 0, 2 * SECOND, "gf-x", &one);
    assert_true(has(s, 0, &first));
    begin(s, 0, 2 * SECOND, "gf-y", &one); /* the first to end goes */
    assert_false(has(s, 0, &first));
    assert_true(has(s, 0, &last) && has(s, 0, &one));
    sessions_free(s);
}

/* How many tries of that address go through now. */
static int tries(struct sessions *s, int64_t now_us, const char *address)
{
    struct quota_held held;
    int64_t retry_us = 0;
    int n = 0;

    while (n < 1000 && !sessions_try(s, now_us, address, &held, &retry_us))
        n++;
    assert_true(retry_us > 0);
    return n;
}

/* Each network may try so often. Networks share a bucket now and then, as a hash draws it (another
 * one in each table), and then tries of both count; so it must hold in one of a few tables. */
static int networks_are_apart(struct sessions *s, int64_t now)
{
    return tries(s, now, "192.0.2.1:80") == SESSIONS_TRIES &&
           tries(s, now, "[2001:db8::1]:80") == SESSIONS_TRIES &&
           tries(s, now, "[2001:db8:0:1::1]:80") == SESSIONS_TRIES;
}

static void test_guessing(void **state)
{
    struct sessions *s = sessions_new();
    int64_t now = 1000 * SECOND;
    struct quota_held held;
    int64_t retry_us;

    for (int i = 0; !networks_are_apart(s, now); i++) {
        assert_in_range(i, 0, 8);
        sessions_free(s);
        s = sessions_new();
    }
    assert_int_equal(tries(s, now, "192.0.2.1:99"), 0); /* whatever the port */
    assert_int_equal(tries(s, now, "[::ffff:192.0.2.1]:80"), 0);
    assert_int_equal(tries(s, now, "[2001:db8::2:3]:80"), 0); /* the same network */
    now += 60 * SECOND;
    /* The right key does not count. */
    for (int i = 0; i < 100; i++) {
        assert_int_equal(sessions_try(s, now, "192.0.2.1:80", &held, &retry_us), 0);
        sessions_try_ok(s, now, "192.0.2.1:80", held);
    }
    assert_int_equal(tries(s, now, "192.0.2.1:80"), SESSIONS_TRIES);
    sessions_free(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_life),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_guessing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
