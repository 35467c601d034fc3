/* Several keys at one supplier: turns by weight, and who is refused is left alone by itself. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "cloud/credential.h"

#define S INT64_C(1000000)

static struct cooldowns *cooldowns;

static struct credentials *with(const char *a, const char *b)
{
    struct credentials *c = credentials_new(cooldowns, "m");
    struct err e;

    assert_int_equal(credentials_add(c, "sk-a", 3, a, &e), 0);
    assert_int_equal(credentials_add(c, "", 1, b, &e), 0);
    return c;
}

static int setup(void **state)
{
    cooldowns = cooldowns_new();
    return !cooldowns;
}

static int teardown(void **state)
{
    cooldowns_free(cooldowns);
    return 0;
}

/* One request that ends so; the key it had. */
static int one(struct credentials *c, enum breaker_end end, int64_t retry_us, int64_t now_us)
{
    struct credential_use u;

    if (!credentials_take(c, now_us, &u))
        credentials_note(c, &u, end, retry_us, now_us);
    return u.i;
}

static void by_weight(void **state)
{
    struct credentials *c = with(NULL, NULL);
    int n[2] = {0};
    struct err e;

    assert_string_equal(credentials_header(c, 0), "Bearer sk-a");
    assert_string_equal(credentials_header(c, 1), "");
    for (int i = 0; i < 40; i++)
        n[one(c, BREAKER_PASSED, 0, S)]++;
    assert_int_equal(n[0], 30);
    for (int i = 2; i < CREDENTIALS_MAX; i++)
        assert_int_equal(credentials_add(c, "k", 1, NULL, &e), 0);
    assert_int_equal(credentials_add(c, "k", 1, NULL, &e), ERR_LIMIT);
    credentials_free(c);
}

/* It alone, for as long as it said; then once, and when that passes as before. */
static void alone(void **state)
{
    struct credentials *c = with(NULL, NULL);
    enum breaker_why why;

    assert_int_equal(one(c, BREAKER_BUSY, 30 * S, S), 0);
    for (int i = 0; i < 20; i++)
        assert_int_equal(one(c, BREAKER_PASSED, 0, 30 * S), 1);
    assert_int_equal(credentials_look(c, 30 * S, &why), 0);
    assert_int_equal(one(c, BREAKER_KEYLESS, 0, 30 * S), 1); /* and the other is no key any more */
    assert_true(credentials_look(c, 30 * S, &why) > 30 * S);
    assert_int_equal(one(c, BREAKER_PASSED, 0, 30 * S), -1);
    assert_int_equal(one(c, BREAKER_PASSED, 0, 60 * S), 0);
    credentials_free(c);
}

/* Its failures are the supplier's, not the key's. */
static void failures(void **state)
{
    struct credentials *c = with(NULL, NULL);
    enum breaker_why why;

    for (int i = 0; i < 100; i++)
        one(c, BREAKER_FAILED, 0, S);
    assert_int_equal(credentials_look(c, S, &why), 0);
    credentials_free(c);
}

/* Keys of one account are left alone together, also at another supplier. */
static void one_account(void **state)
{
    struct credentials *c = with("acme", NULL), *d = with("acme", "acme"), *x = with("other", NULL);
    enum breaker_why why = BREAKER_NEVER;

    assert_int_equal(one(c, BREAKER_BUSY, 30 * S, S), 0);
    assert_in_range(credentials_look(d, 2 * S, &why), 31 * S, 40 * S);
    assert_int_equal(why, BREAKER_ASKED);
    assert_int_equal(one(d, BREAKER_PASSED, 0, 2 * S), -1);
    assert_int_equal(one(c, BREAKER_PASSED, 0, 2 * S), 1);
    assert_int_equal(one(x, BREAKER_PASSED, 0, 2 * S), 0);
    credentials_free(c);
    credentials_free(d);
    credentials_free(x);
}

/* When its time has come, one request of all that share the account tries it. */
static void one_probe(void **state)
{
    struct credentials *c = with("acme", "acme"), *d = with("acme", "acme");
    struct credential_use u, none;

    one(c, BREAKER_BUSY, 10 * S, S);
    assert_int_equal(credentials_take(d, 60 * S, &u), 0);
    assert_int_equal(credentials_take(c, 60 * S, &none), -1);
    assert_int_equal(credentials_take(d, 60 * S, &none), -1);
    assert_int_equal(none.i, -1);
    credentials_note(d, &u, BREAKER_NOTHING, 0, 60 * S); /* it was not sent after all */
    assert_int_equal(credentials_take(c, 60 * S, &u), 0);
    credentials_note(c, &u, BREAKER_PASSED, 0, 60 * S);
    credentials_free(c);
    credentials_free(d);
}

/* What one tenant's answer tells holds for all requests of that key at that model. */
static void limits(void **state)
{
    struct credentials *c = with("acme", NULL), *other = credentials_new(cooldowns, "n");
    struct limits_told t = {.any = 1};
    struct allowance_mark m;
    enum breaker_why why;
    struct err e;

    memset(t.window, -1, sizeof t.window);
    t.window[LIMITS_REQUESTS][LIMITS_ANY] = (struct limit_told){60, 0, 30 * S};
    assert_int_equal(credentials_add(other, "sk-a", 1, "acme", &e), 0);
    m = credentials_begin(c, 0, 10, S);
    credentials_learn(c, 0, &m, &t, S);
    for (int i = 0; i < 10; i++)
        assert_int_equal(one(c, BREAKER_PASSED, 0, S), 1);
    assert_int_equal(credentials_look(other, S, &why), 0); /* limits are a model's */
    m = credentials_begin(c, 1, 10, S);
    credentials_learn(c, 1, &m, &t, S);
    assert_int_equal(credentials_look(c, S, &why), 31 * S);
    assert_int_equal(why, BREAKER_ASKED);
    assert_int_equal(credentials_look(c, 31 * S, &why), 0);
    credentials_free(c);
    credentials_free(other);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(by_weight), T(alone), T(failures), T(one_account), T(one_probe), T(limits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
