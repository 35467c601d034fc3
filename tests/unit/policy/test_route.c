/* Which offer gets a request: who can take it, with a reason for each other one, and of those who
 * can the best by the strategy of the model. */
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
                                .key = id * 2654435761u,
                                .tiers = 1u << TIER,
                                .context = 1000,
                                .n_waiting = waiting,
                                .n_running = running,
                                .capacity = capacity,
                                .weight = 1,
                                .price = -1,
                                .price_max = -1};
}

static struct route_request by(enum route_strategy s)
{
    struct route_request r = plain;

    r.strategy = s;
    r.draw = 1; /* not one that explores */
    return r;
}

/* ---- filters --------------------------------------------------------------------------------- */

static void least_busy(void **state)
{
    struct route_offer o[] = {ready(1, 0, 4, 8), ready(2, 1, 0, 8), ready(3, 2, 6, 100)};
    struct route_verdict v[3];

    assert_int_equal(route_pick(&plain, o, 3, v), 2); /* a share, not a number */
    assert_int_equal(v[0].why, ROUTE_OUTDONE);
    assert_int_equal(v[1].why, ROUTE_OUTDONE);
    assert_int_equal(v[2].why, ROUTE_CHOSEN);
    assert_int_equal(v[0].score, 500);
    assert_int_equal(v[2].score, 80);
    assert_int_equal(route_pick(&plain, o, 2, NULL), 1);
    o[0] = ready(7, 0, 1, 8);
    assert_int_equal(route_pick(&plain, o, 2, NULL), 1); /* equals: the lowest id, not row */
    o[1].id = 8;
    assert_int_equal(route_pick(&plain, o, 2, NULL), 0);
    assert_int_equal(route_pick(&plain, o, 0, NULL), -1);
    o[0].capacity = 0; /* not known */
    assert_int_equal(route_pick(&plain, o, 1, NULL), 0);
}

/* One that fails before its first byte is not asked again, and the next best is. */
static void tried(void **state)
{
    struct route_offer o[] = {ready(1, 0, 2, 8), ready(2, 0, 1, 8), ready(3, 0, 3, 8)};
    struct route_verdict v[3];
    const int expected[] = {1, 0, 2, -1};

    for (int k = 0; k < 4; k++) {
        int i = route_pick(&plain, o, 3, v);
        assert_int_equal(i, expected[k]);
        for (int j = 0; j < 3; j++)
            assert_int_equal(v[j].why == ROUTE_TRIED, o[j].is_tried);
        if (i >= 0)
            o[i].is_tried = 1;
    }
}

static void reasons(void **state)
{
    static const enum route_reason expected[] = {
        ROUTE_IS_LOADING, ROUTE_IS_FROZEN, ROUTE_HAS_FAILED, ROUTE_TOO_EARLY, ROUTE_NOT_THE_TIER,
        ROUTE_LACKS,      ROUTE_ELSEWHERE, ROUTE_ELSEWHERE,  ROUTE_TOO_DEAR,  ROUTE_UNPRICED,
        ROUTE_TOO_LONG,   ROUTE_SLOW,      ROUTE_OUTDONE,    ROUTE_CHOSEN,    ROUTE_OVER_SHARE};
    enum { ALL = sizeof expected / sizeof *expected };
    struct route_offer o[ALL];
    struct route_verdict v[ALL];
    struct route_request r = plain;

    r.needs = 2;
    r.residency = 4 | 8;
    for (uint32_t i = 0; i < ALL; i++) {
        o[i] = ready(i, 0, 0, 1);
        o[i].residency = 8;
    }
    o[0].health = ROUTE_LOADING;
    o[1].health = ROUTE_FROZEN;
    o[2].health = ROUTE_FAILED;
    o[3].wait_us = 1;
    o[4].tiers = 1u << (TIER + 1) | 1u << (TIER - 1);
    o[5].lacks = 2 | 1;
    o[6].residency = 1;
    o[7].residency = 0; /* unknown is not allowed */
    o[8].price = 11;
    o[8].price_max = 10;
    o[9].price_max = 10;
    o[10].context = 99;
    o[11].is_slow = 1;
    o[12].n_running = 1;
    o[14].is_over = 1;
    o[13].lacks = 1; /* which is not needed */
    o[13].price = o[13].price_max = 10;
    assert_int_equal(route_pick(&r, o, ALL, v), 13);
    for (int i = 0; i < ALL; i++) {
        assert_int_equal(v[i].why, expected[i]);
        assert_int_equal(v[i].score >= 0, v[i].why >= ROUTE_TOO_LONG || v[i].why == ROUTE_CHOSEN);
        assert_int_equal(route_may(&r, &o[i]), v[i].score >= 0);
        assert_non_null(route_reason_name(v[i].why));
        assert_non_null(route_reason_text(v[i].why));
    }
}

/* Too short a context is a guess, and slowness better than nothing: such offers are asked when
 * there is no other, the slow one first. */
static void second_best(void **state)
{
    struct route_offer o[] = {ready(1, 0, 0, 8), ready(2, 0, 5, 8), ready(3, 0, 7, 8)};
    struct route_verdict v[3];

    o[0].context = 99;
    o[1].is_slow = 1;
    assert_int_equal(route_pick(&plain, o, 3, v), 2);
    o[2].is_tried = 1;
    assert_int_equal(route_pick(&plain, o, 3, v), 1);
    assert_int_equal(v[0].why, ROUTE_TOO_LONG);
    o[1].is_tried = 1;
    assert_int_equal(route_pick(&plain, o, 3, v), 0);
    o[0].context = 0; /* not known: any number */
    o[1].is_tried = 0;
    assert_int_equal(route_pick(&plain, o, 3, v), 0);
    assert_int_equal(v[1].why, ROUTE_SLOW);
}

/* ---- scores ---------------------------------------------------------------------------------- */

static void in_order(void **state)
{
    struct route_offer o[] = {ready(9, 0, 0, 8), ready(4, 9, 8, 8), ready(5, 0, 0, 8)};
    struct route_request r = by(ROUTE_ORDER);

    assert_int_equal(route_pick(&r, o, 3, NULL), 1);
    o[1].is_tried = 1;
    assert_int_equal(route_pick(&r, o, 3, NULL), 2);
}

/* Shares are those of the weights, and so evenly spread that any run of requests has them. */
static void weighted(void **state)
{
    struct route_offer o[] = {ready(1, 0, 0, 8), ready(2, 0, 0, 8), ready(3, 0, 0, 8),
                              ready(4, 0, 0, 8)};
    struct route_request r = by(ROUTE_WEIGHTED);
    int n[4] = {0}, again;

    o[0].weight = 7;
    o[1].weight = 2;
    o[2].weight = 1;
    o[3].weight = 0;
    for (uint64_t i = 1; i <= 1000; i++) {
        r.draw = route_draw(i);
        again = route_pick(&r, o, 4, NULL);
        assert_int_equal(again, route_pick(&r, o, 4, NULL)); /* the draw decides, nothing else */
        n[again]++;
        assert_in_range((uint64_t)(n[0] * 10 + 30), i * 7, i * 7 + 60);
    }
    assert_in_range(n[0], 697, 703);
    assert_in_range(n[1], 197, 203);
    assert_in_range(n[2], 97, 103);
    assert_int_equal(n[3], 0);
    o[0].is_tried = o[1].is_tried = 1; /* their share goes to the others */
    assert_int_equal(route_pick(&r, o, 4, NULL), 2);
    o[2].health = ROUTE_FROZEN; /* and the one without a weight is the last resort */
    assert_int_equal(route_pick(&r, o, 4, NULL), 3);
}

static void first_token(void **state)
{
    struct route_offer o[] = {ready(1, 0, 0, 4), ready(2, 0, 0, 4), ready(3, 0, 0, 4)};
    struct route_request r = by(ROUTE_TTFT);
    struct route_verdict v[3];

    o[0].ttft_us = 300000;
    o[1].ttft_us = 200000;
    o[2].ttft_us = 250000;
    o[1].job_us = 1000000;
    assert_int_equal(route_pick(&r, o, 3, v), 1);
    assert_int_equal(v[0].score, 300000);
    o[1].n_running = 4; /* all places taken: a quarter of a second until one of them ends */
    assert_int_equal(route_pick(&r, o, 3, v), 2);
    assert_int_equal(v[1].score, 450000);
    o[1].n_running = 3;
    assert_int_equal(route_pick(&r, o, 3, v), 1);
}

/* Complaint 29: a candidate without samples divides nothing by zero, and one that fails fast, so
 * that it never has samples and is never busy, attracts no requests but one in sixteen. */
static void no_samples(void **state)
{
    struct route_offer o[] = {ready(1, 0, 0, 4), ready(2, 0, 0, 4), ready(3, 0, 0, 4)};
    struct route_request r = by(ROUTE_TTFT);
    int n[3] = {0};

    assert_int_equal(route_pick(&r, o, 3, NULL), 0); /* nobody has: the least busy */
    o[0].n_running = 1;
    assert_int_equal(route_pick(&r, o, 3, NULL), 1);
    o[0].ttft_us = 900000;
    o[0].n_running = 3;
    o[1].ttft_us = 100000;
    for (uint64_t i = 0; i < 1600; i++) {
        r.draw = route_draw(i);
        n[route_pick(&r, o, 3, NULL)]++;
    }
    assert_int_equal(n[0], 0);
    assert_int_equal(n[1], 1500);
    assert_int_equal(n[2], 100); /* the one that nobody knows */
    o[2].ttft_us = 50000;        /* now it is known, and the fastest ... */
    r.draw = 0;
    assert_int_equal(route_pick(&r, o, 3, NULL), 2);
    o[0].ttft_age_us = 31000000; /* ... and what is known of the slow one is old */
    assert_int_equal(route_pick(&r, o, 3, NULL), 0);
    r.draw = 1;
    assert_int_equal(route_pick(&r, o, 3, NULL), 2);
}

static void cheapest(void **state)
{
    struct route_offer o[] = {ready(1, 0, 0, 4), ready(2, 0, 3, 4), ready(3, 0, 2, 4)};
    struct route_request r = by(ROUTE_PRICE);

    o[1].price = o[2].price = 500;
    assert_int_equal(route_pick(&r, o, 3, NULL), 2); /* equals: the less busy; no price: last */
    o[1].price = 0;                                  /* a price of 0 is one */
    assert_int_equal(route_pick(&r, o, 3, NULL), 1);
    o[1].is_tried = o[2].is_tried = 1;
    assert_int_equal(route_pick(&r, o, 3, NULL), 0);
}

/* Requests that begin alike stay together while their offer is about as busy as the others; one
 * that leaves moves its own requests only, and all offers get about as many. */
static void affinity(void **state)
{
    struct route_offer o[N];
    struct route_request r = by(ROUTE_AFFINITY);
    int n[N] = {0};

    for (uint32_t i = 0; i < N; i++)
        o[i] = ready(i + 1, 0, 0, 8);
    for (uint32_t a = 0; a < 4000; a++) {
        int home, other;
        r.affinity = a * 40503u;
        home = route_pick(&r, o, N, NULL);
        n[home]++;
        o[home].n_running = 2; /* a quarter busier: still there */
        assert_int_equal(route_pick(&r, o, N, NULL), home);
        o[home].n_running = 3;
        other = route_pick(&r, o, N, NULL);
        assert_int_not_equal(other, home);
        o[home].n_running = 0;
        o[other].is_tried = 1; /* another leaves */
        assert_int_equal(route_pick(&r, o, N, NULL), home);
        o[other].is_tried = 0;
        o[home].is_tried = 1;
        assert_int_equal(route_pick(&r, o, N, NULL), other); /* by the same numbers */
        o[home].is_tried = 0;
    }
    for (int i = 0; i < N; i++)
        assert_in_range(n[i], 400, 600);
}

/* ---- whatever the numbers -------------------------------------------------------------------- */

static const int64_t odd[] = {0, 1, -1, 7, INT32_MAX, INT64_MAX, INT64_MIN, 1000000};

static int64_t any(uint32_t x)
{
    return odd[x % (sizeof odd / sizeof *odd)];
}

static struct route_offer any_offer(uint64_t round, uint32_t i)
{
    struct route_offer o = ready(100 + i, 0, 0, 4);
    uint32_t x[4], y[4];

    rand_philox(7, round, i, x);
    rand_philox(8, round, i, y);
    o.n_waiting = (int32_t)(x[0] % 3 ? x[0] % 5 : (uint32_t)any(x[1]));
    o.n_running = (int32_t)(x[1] % 5);
    o.capacity = (int32_t)any(x[2] >> 8);
    o.health = x[2] % 4 ? ROUTE_READY : (enum route_health)(x[2] / 4 % 4);
    o.tiers = x[3] % 8;
    o.is_tried = x[3] >> 8 & 1;
    o.is_slow = x[3] >> 9 & 1;
    o.is_over = x[3] >> 10 & 1;
    o.ttft_us = any(y[0]);
    o.ttft_age_us = any(y[0] >> 8);
    o.job_us = any(y[1]);
    o.price = any(y[1] >> 8);
    o.price_max = y[2] % 2 ? -1 : any(y[2]);
    o.weight = (int32_t)any(y[3]);
    o.context = (int32_t)any(y[3] >> 8);
    return o;
}

/* What is chosen could be; what was filtered says so; the order of the rows decides nothing. */
static void random_offers(void **state)
{
    for (uint64_t round = 0; round < 20000; round++) {
        struct route_offer o[N], turned[N];
        struct route_verdict v[N];
        struct route_request r = by((enum route_strategy)(round % ROUTE_STRATEGIES));
        int pick, n_able = 0;
        for (uint32_t i = 0; i < N; i++)
            turned[N - 1 - i] = o[i] = any_offer(round, i);
        r.draw = route_draw(round);
        r.affinity = (uint32_t)round;
        pick = route_pick(&r, o, N, v);
        for (int i = 0; i < N; i++) {
            int able = route_may(&r, &o[i]);
            n_able += able;
            assert_int_equal(able, v[i].why == ROUTE_CHOSEN || v[i].why >= ROUTE_TOO_LONG);
            assert_int_equal(v[i].why == ROUTE_CHOSEN, i == pick);
            if (able)
                assert_true(v[i].why != ROUTE_CHOSEN || !o[i].is_tried);
        }
        assert_int_equal(pick >= 0, n_able > 0);
        assert_int_equal(route_pick(&r, turned, N, NULL), pick < 0 ? -1 : N - 1 - pick);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(least_busy),  cmocka_unit_test(tried),         cmocka_unit_test(reasons),
        cmocka_unit_test(second_best), cmocka_unit_test(in_order),      cmocka_unit_test(weighted),
        cmocka_unit_test(first_token), cmocka_unit_test(no_samples),    cmocka_unit_test(cheapest),
        cmocka_unit_test(affinity),    cmocka_unit_test(random_offers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
