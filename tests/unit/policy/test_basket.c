/* Megawatts to tokens: worked examples, the best load that keeps its limits, what is not known, and
 * an independent computation over random baskets. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/rand.h"
#include "policy/basket.h"

#define MW 1000000

/* Two rows, of which the first is three quarters of the tokens. */
static struct contract example(void)
{
    struct contract c = {.n_loads = 2};

    c.load[0] = (struct contract_load){.model = "a", .input = 100, .output = 10, .weight = 3};
    c.load[1] = (struct contract_load){
        .model = "b", .input = 100, .output = 10, .weight = 1, .ttft_ms = 500, .tpot_ms = 20};
    return c;
}

/* At one request at a time the rows make 60 and 20 tokens/s for 8 and 16 J each; at eight 300 and
 * 100 for 2 and 4; at 32 more, but the second row is too slow. */
static struct basket_measured points(void)
{
    struct basket_measured m = {.n_levels = 3, .n_rows = 2, .concurrency = {1, 8, 32}};

    m.point[0][0] = (struct basket_point){60000, 8000000, 50, 90000, 9000};
    m.point[0][1] = (struct basket_point){20000, 16000000, 50, 100000, 10000};
    m.point[1][0] = (struct basket_point){300000, 2000000, 50, 200000, 15000};
    m.point[1][1] = (struct basket_point){100000, 4000000, 100, 500000, 20000};
    m.point[2][0] = (struct basket_point){600000, 1000000, 50, 900000, 30000};
    m.point[2][1] = (struct basket_point){200000, 2000000, 50, 900000, 20001};
    return m;
}

static void levels(void **state)
{
    struct contract c = example();
    struct basket_measured m = points();
    struct basket_level l;

    basket_level(&c, &m, 0, &l);
    assert_int_equal(l.concurrency, 1);
    assert_int_equal(l.rate_mtps, 40000);   /* 4 / (3/60 + 1/20) */
    assert_int_equal(l.token_uj, 10000000); /* (3*8 + 16) / 4 */
    assert_int_equal(l.uncertainty_permille, 50);
    assert_int_equal(l.i_broken, -1);
    basket_level(&c, &m, 1, &l);
    assert_int_equal(l.rate_mtps, 200000);
    assert_int_equal(l.token_uj, 2500000);
    assert_int_equal(l.uncertainty_permille, 70); /* (6*5 + 4*10) % of 10 */
    assert_int_equal(l.i_broken, -1);
    basket_level(&c, &m, 2, &l);
    assert_int_equal(l.rate_mtps, 400000);
    assert_int_equal(l.i_broken, 1);
}

static void entitles(void **state)
{
    struct contract c = example();
    struct basket_measured m = points();
    struct basket_entitlement n;

    basket_entitlement(&c, &m, MW, &n);
    assert_int_equal(n.i_level, 1);           /* not the fullest: that one is too slow */
    assert_int_equal(n.rate_mtps, 400000000); /* a megawatt by 2.5 J */
    assert_int_equal(n.low_mtps, 373831775);  /* by 2.675 J, rounded down */
    /* 500 W are a machine that has eight requests: 2000 machines. */
    assert_int_equal(n.concurrency, 16000);
    assert_null(n.why);
    basket_entitlement(&c, &m, 0, &n);
    assert_int_equal(n.rate_mtps, 0);
    assert_int_equal(n.concurrency, 0);
    basket_entitlement(&c, &m, CONTRACT_WATTS_MAX, &n);
    assert_int_equal(n.rate_mtps, INT64_C(40000000000000));
    c.load[1].tpot_ms = 0; /* without limits the fullest load counts */
    c.load[1].ttft_ms = 0;
    basket_entitlement(&c, &m, MW, &n);
    assert_int_equal(n.i_level, 2);
    assert_int_equal(n.rate_mtps, 800000000);
}

static void does_not(void **state)
{
    struct contract c = example();
    struct basket_measured m = points();
    struct basket_entitlement n;
    struct basket_level l;

    c.load[1].ttft_ms = 99;
    basket_entitlement(&c, &m, MW, &n);
    assert_int_equal(n.i_level, -1);
    assert_non_null(strstr(n.why, "limits"));
    assert_int_equal(n.rate_mtps, 0);
    c.load[1].ttft_ms = 500;
    m.point[0][1].token_uj = m.point[1][1].token_uj = BASKET_UNKNOWN;
    basket_level(&c, &m, 1, &l);
    assert_true(l.token_uj < 0);
    assert_int_equal(l.rate_mtps, 200000); /* which is known nevertheless */
    basket_entitlement(&c, &m, MW, &n);
    assert_int_equal(n.i_level, -1);
    assert_non_null(strstr(n.why, "energy"));
    m.point[0][0].rate_mtps = 0; /* it made no token */
    basket_level(&c, &m, 0, &l);
    assert_int_equal(l.rate_mtps, 0);
    assert_int_equal(l.i_broken, 0);
}

/* Power that is known otherwise: the machines of the example hold 500 W. */
static void of_power(void **state)
{
    assert_int_equal(basket_token_uj(500, 200000), 2500000);
    assert_int_equal(basket_token_uj(1, 3), 333333334);
    assert_int_equal(basket_rate(500, 2500000), 200000);
    assert_int_equal(basket_rate(INT64_MAX, 1), INT64_MAX);
}

static void percentiles(void **state)
{
    const int64_t v[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10};

    assert_int_equal(basket_percentile(v, 10, 500), 5);
    assert_int_equal(basket_percentile(v, 10, 990), 10);
    assert_int_equal(basket_percentile(v, 10, 900), 9);
    assert_int_equal(basket_percentile(v, 10, 0), 1);
    assert_int_equal(basket_percentile(v, 1, 990), 1);
}

/* The next number below n. */
static int64_t below(uint64_t *at, int64_t n)
{
    uint32_t v[4];

    rand_philox(7, (*at)++, 0, v);
    return (int64_t)(((uint64_t)v[0] << 31 | v[1] >> 1) % (uint64_t)n);
}

/* The same in floating point, with everything that may be said at its greatest now and then. */
static void random_baskets(void **state)
{
    uint64_t r = 0;

    for (int k = 0; k < 20000; k++) {
        struct contract c = {.n_loads = 1 + (int)below(&r, CONTRACT_LOADS_MAX)};
        struct basket_measured m = {.n_levels = 1, .n_rows = c.n_loads, .concurrency = {4}};
        int64_t most_rate = below(&r, 4) ? 100000000 : BASKET_MTPS_MAX;
        int64_t most_uj = below(&r, 4) ? 10000000 : BASKET_UJ_MAX;
        double time = 0, joules = 0, weights = 0;
        struct basket_level l;
        for (int i = 0; i < c.n_loads; i++) {
            struct basket_point *p = &m.point[0][i];
            c.load[i].weight = 1 + below(&r, below(&r, 2) ? 9 : 1000000000);
            p->rate_mtps = 1 + below(&r, most_rate);
            p->token_uj = below(&r, most_uj + 1);
            p->uncertainty_permille = 50;
            weights += (double)c.load[i].weight;
            time += (double)c.load[i].weight / (double)p->rate_mtps;
            joules += (double)c.load[i].weight * (double)p->token_uj;
        }
        basket_level(&c, &m, 0, &l);
        assert_true(fabs((double)l.rate_mtps - weights / time) <= 1.5 + 1e-8 * weights / time);
        assert_true(fabs((double)l.token_uj - joules / weights) <= 1.5 + 1e-9 * joules / weights);
        assert_int_equal(l.uncertainty_permille, 50);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(levels),   cmocka_unit_test(entitles),    cmocka_unit_test(does_not),
        cmocka_unit_test(of_power), cmocka_unit_test(percentiles), cmocka_unit_test(random_baskets),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
