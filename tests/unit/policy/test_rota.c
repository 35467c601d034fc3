/* Turns: round the tenants, tiers first, resumed before new; and the places of all who wait. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/rand.h"
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
        {1, 0, 0, 5, 0, 0}, {1, 0, 0, 5, 1, 0}, {1, 0, 0, 5, 2, 0}, {1, 0, 0, 5, 3, 0},
        {1, 0, 0, 2, 4, 0}, {1, 0, 0, 2, 5, 0}, {1, 0, 0, 9, 6, 0},
    };
    char got[16];

    go(&r, s, 7, got);
    assert_string_equal(got, "eagfbcd"); /* 2, 5, 9, 2, 5, and 5 alone */
}

/* The turn goes on where it was, also when its tenant is not there any more. */
static void turns_go_on(void **state)
{
    struct rota r = {.last = {0, 5}};
    struct rota_one s[] = {{1, 0, 0, 3, 0, 0}, {1, 0, 0, 7, 1, 0}, {1, 0, 0, 7, 2, 0}};
    char got[16];

    go(&r, s, 3, got);
    assert_string_equal(got, "bac");
}

static void tiers_and_resumed(void **state)
{
    struct rota r = {{0}};
    struct rota_one s[] = {
        {0, 0, 0, 1, 0, 0}, {1, 0, 0, 1, 1, 0}, {1, 0, 1, 1, 7, 0},
        {2, 0, 0, 9, 3, 0}, {1, 0, 1, 4, 6, 0}, {ROTA_OWED, 0, 0, 9, 9, 0},
    };
    char got[16];

    go(&r, s, 6, got);
    assert_string_equal(got, "jdhgba"); /* h was put back, b is new */
}

/* With nth, sorting all gives the order in which they go. */
static void order_of_all(void **state)
{
    enum { N = 40 };
    for (uint64_t round = 0; round < 500; round++) {
        struct rota r = {.last = {(int32_t)(round % 5), (int32_t)(round % 3), 1}}, turns = r;
        struct rota_one s[N], left[N];
        uint64_t place[N];
        int n = N;
        for (int i = 0; i < N; i++) {
            uint32_t x[4];
            rand_philox(3, round, (uint64_t)i, x);
            s[i] = (struct rota_one){.tier = (int)(x[0] % 4),
                                     .tenant = (int32_t)(x[1] % 5),
                                     .resumed = x[2] % 4 == 0,
                                     .order = (uint64_t)i};
            left[i] = s[i];
        }
        for (uint64_t k = 0; n; k++, n--) { /* one after the other */
            int i = best(&turns, left, n);
            place[left[i].order] = k;
            rota_took(&turns, &left[i]);
            left[i] = left[n - 1];
        }
        for (int i = 0; i < N; i++) {
            for (int k = 0; k < N; k++)
                s[i].nth +=
                    s[k].tier == s[i].tier && s[k].tenant == s[i].tenant && place[k] < place[i];
        }
        for (int i = 0; i < N; i++) {
            uint64_t before = 0;
            for (int k = 0; k < N; k++)
                before += rota_before(&r, &s[k], &s[i]) != 0;
            assert_int_equal(before, place[i]);
        }
    }
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
        cmocka_unit_test(order_of_all),
        cmocka_unit_test(places),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
