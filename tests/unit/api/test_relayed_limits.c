/* What suppliers tell of their limits, in all the forms in which they do. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "api/relayed.h"
#include "base/check.h"

#define NOW_S 1764000000

static struct limits_told one(const char *name, const char *value)
{
    struct limits_told t;

    api_relayed_limits_none(&t);
    api_relayed_limit(name, value, NOW_S, &t);
    return t;
}

static void names(void **state)
{
    static const struct {
        const char *name;
        int kind, span, field; /* kind -1: none */
    } t[] = {
        {"x-ratelimit-limit-requests", LIMITS_REQUESTS, LIMITS_ANY, 0},
        {"x-ratelimit-remaining-requests", LIMITS_REQUESTS, LIMITS_ANY, 1},
        {"x-ratelimit-reset-requests", LIMITS_REQUESTS, LIMITS_ANY, 2},
        {"x-ratelimit-remaining-tokens", LIMITS_TOKENS, LIMITS_ANY, 1},
        {"x-ratelimit-remaining-tokens-minute", LIMITS_TOKENS, LIMITS_MINUTE, 1},
        {"x-ratelimit-limit-requests-day", LIMITS_REQUESTS, LIMITS_DAY, 0},
        {"x-ratelimit-reset-tokens-hour", LIMITS_TOKENS, LIMITS_HOUR, 2},
        {"x-ratelimit-remaining", LIMITS_REQUESTS, LIMITS_ANY, 1},
        {"x-ratelimit-remaining-day", -1, 0, 0},
        {"x-ratelimit-remaining-tokens-week", -1, 0, 0},
        {"x-ratelimit-remaining-tokens-minute-x", -1, 0, 0},
        {"x-ratelimit-used-tokens", -1, 0, 0},
        {"x-ratelimit-", -1, 0, 0},
        {"retry-after", -1, 0, 0},
        {"", -1, 0, 0},
    };

    for (size_t i = 0; i < ARRAY_LEN(t); i++) {
        struct limits_told got = one(t[i].name, "7");
        for (int k = 0; k < LIMITS_KINDS; k++) {
            for (int s = 0; s < LIMITS_SPANS; s++) {
                int here = k == t[i].kind && s == t[i].span;
                const struct limit_told *w = &got.window[k][s];
                if (w->limit != (here && t[i].field == 0 ? 7 : -1) ||
                    w->left != (here && t[i].field == 1 ? 7 : -1) ||
                    w->reset_us != (here && t[i].field == 2 ? 7000000 : -1))
                    fail_msg("%s", t[i].name);
            }
        }
        assert_int_equal(got.any, t[i].kind >= 0);
    }
}

static void resets(void **state)
{
    static const struct {
        const char *value;
        int64_t us;
    } t[] = {
        {"0", 0},
        {"1s", 1000000},
        {"17ms", 17000},
        {"6m0s", 360000000},
        {"2m59.56s", 179560000},
        {"1h2m3s", 3723000000},
        {"59.5", 59500000},
        {"86400", 86400000000},
        {"99999999", 86400000000},   /* seconds: no more than a day */
        {"1764000060", 60000000},    /* a time */
        {"1764000060500", 60500000}, /* in milliseconds */
        {"1763999999", 0},           /* gone by */
        {"", -1},
        {"-5", -1},
        {"soon", -1},
        {"5x", -1},
        {"5m6", -1},
        {"0x10", -1},
        {"inf", -1},
        {"nan", -1},
        {"1e999", 86400000000},
    };

    for (size_t i = 0; i < ARRAY_LEN(t); i++) {
        struct limits_told got = one("x-ratelimit-reset-tokens", t[i].value);
        int64_t us = got.window[LIMITS_TOKENS][LIMITS_ANY].reset_us;
        if (us != t[i].us)
            fail_msg("'%s': %lld", t[i].value, (long long)us);
    }
}

static void counts(void **state)
{
    static const struct {
        const char *value;
        int64_t n;
    } t[] = {{"0", 0},    {"150000", 150000}, {"12.0", 12}, {"7 ", 7},
             {"", -1},    {"-1", -1},         {"many", -1}, {"7 x", -1},
             {"0x7", -1}, {"1e99", -1},       {"nan", -1},  {"inf", -1}};

    for (size_t i = 0; i < ARRAY_LEN(t); i++) {
        struct limits_told got = one("x-ratelimit-remaining-tokens", t[i].value);
        if (got.window[LIMITS_TOKENS][LIMITS_ANY].left != t[i].n)
            fail_msg("'%s'", t[i].value);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names),
        cmocka_unit_test(resets),
        cmocka_unit_test(counts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
