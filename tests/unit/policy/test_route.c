/* Which offer gets a request: the least busy that can take it, with a reason for each other one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/rand.h"
#include "policy/route.h"

enum { N = 8, TIER = 1 };

static const struct route_request plain = {.tier = TIER, .n_tokens = 100};

static struct route_offer ready(uint32_t id, int32_t waiting, int32_t running, int32_t capacity)
{
    return (struct route_offer){.id = id,
                                .tiers = 1u << TIER,
                                .context = 1000,
                                .n_waiting = waiting,
                                .n_running = running,
                                .capacity = capacity};
}

static void least_busy(void **state)
{
    struct route_offer o[] = {ready(1, 0, 4, 8), ready(2, 1, 0, 8), ready(3, 2, 6, 100)};
    enum route_reason why[3];

    assert_int_equal(route_pick(&plain, o, 3, 0, 0, why), 2); /* a share, not a number */
    assert_int_equal(why[0], ROUTE_BUSIER);
    assert_int_equal(why[1], ROUTE_BUSIER);
    assert_int_equal(why[2], ROUTE_CHOSEN);
    assert_int_equal(route_pick(&plain, o, 2, 0, 0, NULL), 1);
    o[0] = ready(7, 0, 1, 8);
    assert_int_equal(route_pick(&plain, o, 2, 0, 0, NULL), 1); /* equals: the lowest id, not row */
    o[1].id = 8;
    assert_int_equal(route_pick(&plain, o, 2, 0, 0, NULL), 0);
    assert_int_equal(route_pick(&plain, o, 0, 0, 0, NULL), -1);
    o[0].capacity = 0; /* not known */
    assert_int_equal(route_pick(&plain, o, 1, 0, 0, NULL), 0);
}

/* One that fails before its first byte is not asked again, and the next best is. */
static void tried(void **state)
{
    struct route_offer o[] = {ready(1, 0, 2, 8), ready(2, 0, 1, 8), ready(3, 0, 3, 8)};
    enum route_reason why[3];
    uint64_t bits = 0;
    const int expected[] = {1, 0, 2, -1};

    for (int k = 0; k < 4; k++) {
        int i = route_pick(&plain, o, 3, bits, 0, why);
        assert_int_equal(i, expected[k]);
        for (int j = 0; j < 3; j++)
            assert_int_equal(why[j] == ROUTE_TRIED, (int)(bits >> j & 1));
        bits |= i < 0 ? 0 : UINT64_C(1) << i;
    }
}

static void reasons(void **state)
{
    struct route_offer o[N];
    enum route_reason why[N];
    struct route_request r = plain;

    for (int i = 0; i < N; i++)
        o[i] = ready((uint32_t)i, 0, 0, 1);
    o[0].health = ROUTE_LOADING;
    o[1].health = ROUTE_FROZEN;
    o[2].health = ROUTE_FAILED;
    o[3].not_before_us = 51;
    o[4].tiers = 1u << (TIER + 1) | 1u << (TIER - 1);
    o[5].context = 99;
    o[6].n_running = 1;
    assert_int_equal(route_pick(&r, o, N, 0, 50, why), 7);
    assert_int_equal(why[0], ROUTE_IS_LOADING);
    assert_int_equal(why[1], ROUTE_IS_FROZEN);
    assert_int_equal(why[2], ROUTE_HAS_FAILED);
    assert_int_equal(why[3], ROUTE_TOO_EARLY);
    assert_int_equal(why[4], ROUTE_NOT_THE_TIER);
    assert_int_equal(why[5], ROUTE_TOO_LONG);
    assert_int_equal(why[6], ROUTE_BUSIER);
    assert_int_equal(why[7], ROUTE_CHOSEN);
    assert_int_equal(route_pick(&r, o, N, 1u << 7, 51, NULL), 3); /* its time has come */
    r.n_tokens = 0;                                               /* not known yet */
    assert_int_equal(route_pick(&r, o, N, 0xc8, 50, NULL), 5);
    o[5].context = 0;
    r.n_tokens = INT64_C(1) << 40;
    assert_int_equal(route_pick(&r, o, N, 0, 50, NULL), 5);
}

/* What is chosen could be, what was not is busier; the order of the rows decides nothing. */
static void random_offers(void **state)
{
    for (uint64_t round = 0; round < 3000; round++) {
        struct route_offer o[N], turned[N];
        enum route_reason why[N];
        uint32_t x[4];
        int pick, n = N;
        for (int i = 0; i < N; i++) {
            rand_philox(7, round, (uint64_t)i, x);
            o[i] = ready(100 + (uint32_t)i, (int32_t)(x[0] % 3), (int32_t)(x[1] % 5), 4);
            o[i].health = x[2] % 4 ? ROUTE_READY : (enum route_health)(x[2] / 4 % 4);
            o[i].tiers = x[3] % 8;
            turned[N - 1 - i] = o[i];
        }
        rand_philox(8, round, 0, x);
        pick = route_pick(&plain, o, n, x[0] % 256, 0, why);
        for (int i = 0; i < N; i++) {
            int able =
                !(x[0] % 256 >> i & 1) && o[i].health == ROUTE_READY && o[i].tiers & 1u << TIER;
            assert_int_equal(able, why[i] == ROUTE_CHOSEN || why[i] == ROUTE_BUSIER);
            assert_int_equal(why[i] == ROUTE_CHOSEN, i == pick);
            if (able)
                assert_true(pick >= 0 && o[pick].n_waiting + o[pick].n_running <=
                                             o[i].n_waiting + o[i].n_running);
        }
        pick = route_pick(&plain, o, n, 0, 0, NULL);
        assert_int_equal(route_pick(&plain, turned, n, 0, 0, NULL), pick < 0 ? -1 : N - 1 - pick);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(least_busy),
        cmocka_unit_test(tried),
        cmocka_unit_test(reasons),
        cmocka_unit_test(random_offers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
