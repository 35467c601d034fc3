/* Prices: which one holds, and what tokens cost, to the nano-unit. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "base/rand.h"
#include "policy/price.h"

static const struct price any = {.tier = -1, .cache_read = -1, .cache_write = -1, .reasoning = -1};

static const struct energy_rates none = {-1, -1};

static int64_t of(const struct price *list, int n, const char *model, const char *supplier,
                  int tier, int64_t now)
{
    const struct price *p = price_find(list, n, PRICE_SELL, model, supplier, tier, now);

    return p ? p->output : -1;
}

static void the_nearest_holds(void **state)
{
    struct price list[8];
    int n = 0;

    (void)state;
    list[n] = any, list[n++].output = 1;
    list[n] = any, list[n].tier = 2, list[n++].output = 2;
    list[n] = any, strcpy(list[n].supplier, "s"), list[n++].output = 3;
    list[n] = any, strcpy(list[n].model, "m"), list[n++].output = 4;
    list[n] = any, strcpy(list[n].model, "m"), list[n].from_s = 100, list[n++].output = 5;
    list[n] = any, strcpy(list[n].model, "m"), strcpy(list[n].supplier, "s"), list[n].from_s = 50,
    list[n++].output = 6;
    list[n] = any, strcpy(list[n].model, "x"), list[n].side = PRICE_BUY, list[n++].output = 7;
    assert_int_equal(of(list, n, "other", "o", 1, 0), 1);
    assert_int_equal(of(list, n, "other", "o", 2, 0), 2);
    assert_int_equal(of(list, n, "other", "s", 2, 0), 3);
    assert_int_equal(of(list, n, "m", "o", 2, 99), 4);
    assert_int_equal(of(list, n, "m", "o", 2, 100), 5);
    assert_int_equal(of(list, n, "m", "s", 2, 49), 4);
    assert_int_equal(of(list, n, "m", "s", 2, 1000), 6);
    assert_int_equal(of(list + 3, 1, "n", "s", 2, 1000), -1); /* none is not 0 */
    assert_int_equal(of(list + 6, 1, "x", "s", 2, 1000), -1); /* the other side's */
    assert_int_equal(of(list, 0, "m", "s", 2, 1000), -1);
}

static void amounts_are_exact(void **state)
{
    struct price p = any;
    struct usage_buckets u = {
        .uncached = 3, .cache_read = 5, .cache_write = 7, .output = 11, .reasoning = 13};

    (void)state;
    p.uncached = 100000000; /* 0.10 a million */
    p.output = 400000000;
    assert_int_equal(price_amount(&p, &u, 0), 100 * (3 + 5 + 7) + 400 * (11 + 13));
    p.cache_read = 0; /* free is not "as the whole" */
    p.cache_write = 125000000;
    p.reasoning = 1;
    assert_int_equal(price_amount(&p, &u, 0),
                     100 * 3 + 125 * 7 + 400 * 11 + 1); /* 13 / 10^6, rounded up */
    p.per_request = 50;
    assert_int_equal(price_amount(&p, &(struct usage_buckets){0}, -1), 50);
    p.minimum = 60;
    assert_int_equal(price_amount(&p, &(struct usage_buckets){0}, -1), 60);
    p.output = INT64_MAX;
    u.output = INT64_MAX;
    assert_int_equal(price_amount(&p, &u, 0), INT64_MAX);
}

/* Each token is in one bucket: what is cached or thought is not paid twice. */
static void buckets_share_nothing(void **state)
{
    struct usage u = {.prompt_tokens = 100,
                      .cached_tokens = 60,
                      .cache_write_tokens = 10,
                      .completion_tokens = 50,
                      .reasoning_tokens = 20};
    struct usage_buckets b = usage_buckets(&u);

    (void)state;
    assert_int_equal(b.uncached + b.cache_read + b.cache_write, u.prompt_tokens);
    assert_int_equal(b.output + b.reasoning, u.completion_tokens);
    assert_int_equal(b.uncached, 30);
}

/* What is held is never less than what is charged, wherever the tokens end up; and what an amount
 * affords costs no more than it, and one token more does. */
static void the_most_is_enough(void **state)
{
    struct price p = {.tier = -1};

    (void)state;
    for (uint64_t i = 0; i < 20000; i++) {
        uint32_t r[4], s[4], q[4];
        struct usage_buckets b;
        int64_t most, n;
        rand_philox(5, i, 0, r);
        rand_philox(5, i, 1, s);
        rand_philox(5, i, 2, q);
        p.uncached = r[0] % 3000000;
        p.cache_read = (int64_t)(r[1] % 3000000) - 1;
        p.cache_write = r[2] % 3 ? -1 : (int64_t)(r[2] % 3000000);
        p.output = r[3] % 9000000;
        p.reasoning = s[0] % 3 ? -1 : (int64_t)(s[0] % 9000000);
        p.per_request = s[1] % 100;
        p.minimum = s[2] % 500;
        b = (struct usage_buckets){q[0] % 99, q[1] % 99, q[2] % 99, q[3] % 99, s[3] % 99};
        most = price_most(&p, &none, b.uncached + b.cache_read + b.cache_write,
                          b.output + b.reasoning);
        assert_true(price_amount(&p, &b, 0) <= most);
        n = price_affords(&p, &none, b.uncached, most);
        if (n >= 0)
            assert_true(price_most(&p, &none, b.uncached, n) <= most);
        if (n < INT64_C(1) << 39)
            assert_true(price_most(&p, &none, b.uncached, n + 1) > most);
    }
    p.minimum = 1000;
    assert_int_equal(price_affords(&p, &none, 0, 999), -1);
}

static void energy_has_a_price(void **state)
{
    const struct energy_rates rates = {1000000, 8000000}; /* a thousandth of a joule a token */
    const struct usage_buckets u = {.uncached = 1000, .output = 10};
    struct price p = any;
    int64_t most;

    (void)state;
    p.energy = 400000000; /* 0.40 a kWh */
    assert_int_equal(price_amount(&p, &u, INT64_C(3600000000000)), 400000000);
    assert_int_equal(price_amount(&p, &u, 1), 1); /* rounded up */
    assert_int_equal(price_amount(&p, &u, 0), 0);
    assert_int_equal(price_amount(&p, &u, -1), -1); /* not known is not nothing */
    assert_int_equal(price_most(&p, &none, 1000, 10), -1);
    assert_int_equal(price_affords(&p, &none, 0, INT64_MAX), -1);
    most = price_most(&p, &rates, 1000, 10);
    assert_int_equal(most, price_amount(&p, &u, 1080000));
    assert_int_equal(price_most(&p, &rates, 1000, price_affords(&p, &rates, 1000, most)), most);
    assert_int_equal(price_affords(&p, &rates, 1000000, most), -1);
    p.uncached = 1000000; /* 1 nano-unit a token */
    assert_int_equal(price_amount(&p, &u, 1080000), 1000 + most);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_nearest_holds),  cmocka_unit_test(amounts_are_exact),
        cmocka_unit_test(energy_has_a_price), cmocka_unit_test(buckets_share_nothing),
        cmocka_unit_test(the_most_is_enough),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
