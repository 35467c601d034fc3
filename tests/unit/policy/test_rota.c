/* Turns: round the tenants, tiers first, resumed before new, and nobody passed over for ever. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "policy/rota.h"

static int best(const struct rota *r, const struct rota_one *s, int n)
{
    int k = 0;

    for (int i = 1; i < n; i++)
        k = rota_before(r, &s[i], &s[k]) ? i : k;
    return k;
}

/* Who goes, in order, when nobody new comes. */
static void go(struct rota *r, struct rota_one *s, int n, char *ret)
{
    for (; n; n--) {
        int k = best(r, s, n);
        *ret++ = (char)('a' + s[k].order);
        rota_took(r, &s[k]);
        memmove(s + k, s + k + 1, (size_t)(n - k - 1) * sizeof *s);
    }
    *ret = 0;
}

static void turns(void **state)
{
    struct rota r = {{0}};
    struct rota_one s[] = {
        {1, 0, 5, 0}, {1, 0, 5, 1}, {1, 0, 5, 2}, {1, 0, 5, 3},
        {1, 0, 2, 4}, {1, 0, 2, 5}, {1, 0, 9, 6},
    };
    char got[16];

    go(&r, s, 7, got);
    assert_string_equal(got, "eagfbcd"); /* 2, 5, 9, 2, 5, and 5 alone */
}

/* The turn goes on where it was, also when its tenant is not there any more. */
static void turns_go_on(void **state)
{
    struct rota r = {.last = {0, 5}};
    struct rota_one s[] = {{1, 0, 3, 0}, {1, 0, 7, 1}, {1, 0, 7, 2}};
    char got[16];

    go(&r, s, 3, got);
    assert_string_equal(got, "bac");
}

static void tiers_and_resumed(void **state)
{
    struct rota r = {{0}};
    struct rota_one s[] = {
        {0, 0, 1, 0}, {1, 0, 1, 1}, {1, 1, 1, 7}, {2, 0, 9, 3}, {1, 1, 4, 6}, {ROTA_OWED, 0, 9, 9},
    };
    char got[16];

    go(&r, s, 6, got);
    assert_string_equal(got, "jdhgba"); /* h was put back, b is new */
}

/* Steps counted, not time: the lowest tier gets on below one that is never empty. */
static void nobody_waits_for_ever(void **state)
{
    struct rota r = {{0}};
    uint64_t order = 1, waited = 0;

    for (;;) {
        struct rota_one s[] = {{2, 0, 1, order++},
                               {rota_is_owed(waited, 0) ? ROTA_OWED : 0, 0, 2, 0}};
        int k = best(&r, s, 2);
        if (k == 1)
            break;
        assert_true(++waited <= ROTA_STEPS);
    }
    assert_int_equal(waited, ROTA_STEPS);
    assert_false(rota_is_owed(waited, 1)); /* one at a time */
    assert_false(rota_is_owed(waited - 1, 0));
}

static void victims(void **state)
{
    struct rota_one s[] = {
        {2, 0, 1, 90}, {1, 0, 1, 1}, {1, 0, 2, 30}, {1, 0, 1, 2}, {1, 0, 2, 50}, {1, 0, 1, 20},
    };

    assert_int_equal(rota_victim(s, 6), 5); /* the tier below, who holds most, its newest */
    assert_int_equal(rota_victim(s, 5), 4); /* two and two: the newest */
    assert_int_equal(rota_victim(s, 2), 1);
    assert_int_equal(rota_victim(s, 1), 0);
    assert_int_equal(rota_victim(s, 0), -1);
}

static void gives_way(void **state)
{
    const struct rota_one held[] = {{1, 0, 1, 10}, {1, 0, 1, 11}, {1, 0, 2, 12}, {0, 0, 2, 13}};
    struct rota_one who = {1, 0, 3, 20};

    assert_int_equal(rota_gives_way(&who, held, 4), 3); /* a lower tier */
    assert_int_equal(rota_gives_way(&who, held, 3), 1); /* who has several */
    assert_int_equal(rota_gives_way(&who, held + 1, 2), -1);
    assert_int_equal(rota_gives_way(&who, held, 0), -1);
    who.tenant = 2;
    assert_int_equal(rota_gives_way(&who, held, 4), -1); /* it has one */
    who.tier = 2;
    assert_int_equal(rota_gives_way(&who, held, 3), 1); /* but none so high */
    who = (struct rota_one){0, 0, 3, 20};
    assert_int_equal(rota_gives_way(&who, held, 3), -1); /* all are above */
    who.tier = ROTA_OWED;
    assert_int_equal(rota_gives_way(&who, held + 2, 1), 0);
}

static void places(void **state)
{
    int64_t own[3] = {0}, all = 0;

    while (rota_may_take(own[0], all, 32, 0))
        own[0]++, all++;
    assert_int_equal(own[0], 16); /* never all, however many it asks for ... */
    while (rota_may_take(own[1], all, 32, 0))
        own[1]++, all++;
    assert_int_equal(own[1], 8);
    assert_true(rota_may_take(own[2], all, 32, 0)); /* ... so the third one gets in */
    assert_true(rota_may_take(31, 31, 32, 1));
    assert_false(rota_may_take(32, 32, 32, 1));
    assert_true(rota_may_take(0, 0, 1, 0));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(turns),
        cmocka_unit_test(turns_go_on),
        cmocka_unit_test(tiers_and_resumed),
        cmocka_unit_test(nobody_waits_for_ever),
        cmocka_unit_test(victims),
        cmocka_unit_test(gives_way),
        cmocka_unit_test(places),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
