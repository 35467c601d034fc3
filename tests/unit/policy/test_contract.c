/* Contracts: states and sums by a worked example, by an independent computation over random
 * contracts, and that what happened later is not known earlier. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/check.h"
#include "base/rand.h"
#include "policy/contract.h"

#define HOUR 3600
#define DAY  86400
#define NANO INT64_C(1000000000)

static struct contract example(void)
{
    struct contract c = {.name = "c",
                         .supplier = {.name = "s"},
                         .customer = {.name = "k"},
                         .signed_s = 5 * DAY,
                         .from_s = 10 * DAY,
                         .until_s = 110 * DAY,
                         .currency = "USD",
                         .late_credit_ppm = CONTRACT_PPM / 2,
                         .n_tranches = 2};

    c.tranche[0] = (struct tranche){.name = "a",
                                    .site = "x",
                                    .watts = 10 * 1000000,
                                    .target_s = 20 * DAY,
                                    .longstop_s = 40 * DAY,
                                    .price = 100 * NANO};
    c.tranche[1] = (struct tranche){.name = "b",
                                    .region = "r",
                                    .watts = 5 * 1000000,
                                    .is_option = 1,
                                    .exercise_from_s = 20 * DAY,
                                    .exercise_until_s = 50 * DAY,
                                    .target_s = 60 * DAY,
                                    .until_s = 80 * DAY,
                                    .price = 90 * NANO};
    return c;
}

static void states(void **state)
{
    static const struct {
        int day;
        enum tranche_state a, b;
    } t[] = {
        {5, TRANCHE_PLANNED, TRANCHE_OPTION},    {19, TRANCHE_PLANNED, TRANCHE_OPTION},
        {20, TRANCHE_LATE, TRANCHE_OPTION},      {39, TRANCHE_LATE, TRANCHE_OPTION},
        {40, TRANCHE_OVERDUE, TRANCHE_PLANNED},  {45, TRANCHE_ACTIVE, TRANCHE_PLANNED},
        {60, TRANCHE_ACTIVE, TRANCHE_ACTIVE},    {80, TRANCHE_ACTIVE, TRANCHE_ENDED},
        {100, TRANCHE_CANCELLED, TRANCHE_ENDED}, {200, TRANCHE_CANCELLED, TRANCHE_ENDED},
    };
    struct contract c = example();
    struct contract_place at;

    c.tranche[0].delivered_s = 45 * DAY;
    c.tranche[0].cancelled_s = 100 * DAY;
    c.tranche[1].exercised_s = 40 * DAY;
    c.tranche[1].delivered_s = 55 * DAY;
    assert_null(contract_fault(&c, &at));
    for (size_t i = 0; i < ARRAY_LEN(t); i++) {
        int64_t now = t[i].day * DAY;
        enum tranche_state a = tranche_state(&c, &c.tranche[0], now);
        enum tranche_state b = tranche_state(&c, &c.tranche[1], now);
        if (t[i].day == 60)
            b = TRANCHE_ACTIVE; /* it was delivered before its target date */
        if (a != t[i].a || b != t[i].b)
            fail_msg("day %d: %s, %s", t[i].day, tranche_state_name(a), tranche_state_name(b));
    }
    c.tranche[1].exercised_s = c.tranche[1].delivered_s = 0;
    assert_int_equal(tranche_state(&c, &c.tranche[1], 50 * DAY), TRANCHE_LAPSED);
}

/* 10 MW, promised from day 20, delivered on day 45. */
static void late(void **state)
{
    struct contract c = example();
    struct contract_due d;

    c.tranche[0].delivered_s = 45 * DAY;
    contract_due(&c, 50 * DAY, 0, 50 * DAY, &d);
    assert_int_equal(d.firm_j, INT64_C(10000000) * 30 * DAY);
    assert_int_equal(d.ready_j, INT64_C(10000000) * 5 * DAY);
    assert_int_equal(d.late_j, INT64_C(10000000) * 25 * DAY);
    assert_true(d.fee == 10 * 24 * 5 * 100 * NANO);         /* MWh times 100 */
    assert_true(d.late_credit == 10 * 24 * 25 * 50 * NANO); /* half of it */

    /* On day 30 nobody knew when it would come: the best that can be is now. */
    contract_due(&c, 30 * DAY, 0, 50 * DAY, &d);
    assert_int_equal(d.late_j, INT64_C(10000000) * 10 * DAY);
    assert_int_equal(d.ready_j, INT64_C(10000000) * 20 * DAY);
    assert_int_equal(contract_watts(&c, POWER_READY, NULL, NULL, 30 * DAY, 50 * DAY), 0);
    assert_int_equal(contract_watts(&c, POWER_READY, "x", NULL, 50 * DAY, 50 * DAY), 10000000);
    assert_int_equal(contract_watts(&c, POWER_READY, "y", NULL, 50 * DAY, 50 * DAY), 0);
    assert_int_equal(contract_watts(&c, POWER_FIRM, NULL, "r", 50 * DAY, 65 * DAY), 0);

    /* Who delivers early is paid from the target date on. */
    c.tranche[0].delivered_s = 15 * DAY;
    contract_due(&c, 50 * DAY, 0, 30 * DAY, &d);
    assert_int_equal(d.ready_j, INT64_C(10000000) * 10 * DAY);
    assert_int_equal(d.late_j, 0);
}

static void indexed(void **state)
{
    struct contract c = example();
    struct contract_due d;

    c.indexation_ppm = 100000;
    c.index_s[0] = 30 * DAY;
    c.index_s[1] = 60 * DAY;
    c.n_index = 2;
    c.tranche[0].delivered_s = 20 * DAY;
    assert_int_equal(contract_price(&c, &c.tranche[0], 30 * DAY - 1), 100 * NANO);
    assert_int_equal(contract_price(&c, &c.tranche[0], 30 * DAY), 110 * NANO);
    assert_int_equal(contract_price(&c, &c.tranche[0], 99 * DAY), 121 * NANO);
    contract_due(&c, 100 * DAY, 20 * DAY, 70 * DAY, &d);
    assert_true(d.fee == 240 * (10 * 100 + 30 * 110 + 10 * 121) * NANO);
}

static int64_t pick(uint64_t *at, int64_t from, int64_t to)
{
    uint32_t r[4];

    rand_philox(15, (*at)++, 0, r);
    return from + r[0] % (to - from + 1);
}

/* Every hour by itself, as one would with a table of hours. */
static void by_hours(const struct contract *c, int64_t now, struct contract_due *ret)
{
    static struct contract one; /* of one tranche, delivered as early as it can be */

    *ret = (struct contract_due){0};
    one = *c;
    one.n_tranches = 1;
    for (int i = 0; i < c->n_tranches; i++) {
        struct tranche *t = &one.tranche[0];
        *t = c->tranche[i];
        if (!t->delivered_s || t->delivered_s > now)
            t->delivered_s = now;
        for (int64_t at = c->from_s; at < c->until_s; at += HOUR) {
            int64_t firm = contract_watts(&one, POWER_FIRM, NULL, NULL, now, at);
            int64_t ready = contract_watts(&one, POWER_READY, NULL, NULL, now, at);
            ret->firm_j += firm * HOUR;
            ret->ready_j += ready * HOUR;
            ret->late_j += (firm - ready) * HOUR;
        }
    }
}

static void random_ones(void **state)
{
    uint64_t r = 0;

    for (int n = 0; n < 200; n++) {
        struct contract c = example();
        struct contract_due whole, hours, part, sum = {0};
        struct contract_place at;
        const char *why;
        c.n_tranches = (int)pick(&r, 1, 6);
        for (int i = 0; i < c.n_tranches; i++) {
            struct tranche *t = &c.tranche[i];
            static const char *const names[] = {"a", "b", "c", "d", "e", "f"};
            *t = (struct tranche){.name = names[i],
                                  .site = "x",
                                  .watts = pick(&r, 1, 1000000000),
                                  .target_s = pick(&r, 11, 100) * DAY,
                                  .price = pick(&r, 0, 200) * NANO};
            t->until_s = pick(&r, 0, 1) ? 0 : pick(&r, t->target_s / DAY + 1, 110) * DAY;
            t->is_option = (int)pick(&r, 0, 1);
            if (t->is_option) {
                t->exercise_from_s = 6 * DAY;
                t->exercise_until_s = pick(&r, 7, t->target_s / DAY) * DAY;
                if (pick(&r, 0, 1))
                    t->exercised_s = pick(&r, 6, t->exercise_until_s / DAY - 1) * DAY;
            }
            if (pick(&r, 0, 2) && (!t->is_option || t->exercised_s))
                t->delivered_s = pick(&r, t->is_option ? t->exercised_s / DAY : 6,
                                      tranche_until(&c, t) / DAY - 1) *
                                 DAY;
            if (!pick(&r, 0, 4))
                t->cancelled_s = pick(&r, 6, 109) * DAY;
        }
        why = contract_fault(&c, &at);
        if (why)
            fail_msg("%d, tranche %d, %s: %s", n, at.i_tranche, at.field, why);
        for (int64_t now = HOUR; now <= 120 * DAY; now += 15 * DAY + 7 * HOUR) {
            contract_due(&c, now, c.from_s, c.until_s, &whole);
            by_hours(&c, now, &hours);
            assert_int_equal(whole.firm_j, hours.firm_j);
            assert_int_equal(whole.ready_j, hours.ready_j);
            assert_int_equal(whole.late_j, hours.late_j);
            assert_int_equal(whole.firm_j, whole.ready_j + whole.late_j);
        }
        /* Periods add up to the term. */
        for (int64_t from = c.from_s; from < c.until_s; from += 7 * DAY) {
            int64_t until = from + 7 * DAY < c.until_s ? from + 7 * DAY : c.until_s;
            contract_due(&c, 60 * DAY, from, until, &part);
            sum.firm_j += part.firm_j;
            sum.ready_j += part.ready_j;
            sum.fee += part.fee;
        }
        contract_due(&c, 60 * DAY, c.from_s, c.until_s, &whole);
        assert_int_equal(sum.firm_j, whole.firm_j);
        assert_int_equal(sum.ready_j, whole.ready_j);
        assert_true(sum.fee - whole.fee <= 15 * 6 && whole.fee - sum.fee <= 15 * 6); /* rounding */
    }
}

static void largest(void **state)
{
    struct contract c = example();
    struct contract_due d;

    c.indexation_ppm = CONTRACT_PPM / 2;
    for (c.n_index = 0; c.n_index < CONTRACT_YEARS_MAX; c.n_index++)
        c.index_s[c.n_index] = (2 + INT64_C(365) * c.n_index) * DAY;
    c.late_credit_ppm = 10 * CONTRACT_PPM;
    c.from_s = DAY;
    c.until_s = DAY + INT64_C(50) * 365 * DAY;
    c.n_tranches = CONTRACT_TRANCHES_MAX;
    for (int i = 0; i < c.n_tranches; i++)
        c.tranche[i] = (struct tranche){.name = "n",
                                        .site = "x",
                                        .watts = CONTRACT_WATTS_MAX,
                                        .target_s = DAY,
                                        .delivered_s = DAY,
                                        .price = CONTRACT_PRICE_MAX};
    contract_due(&c, 2 * DAY, c.from_s, c.until_s, &d);
    assert_true(d.firm_j == INT64_MAX && d.ready_j == INT64_MAX && d.fee > INT64_MAX);
}

static void shared_tenants(void **state)
{
    const struct contract a = {
        .from_s = 10, .until_s = 20, .customer.tenants = {2, {"one", "two"}}};
    struct contract b = {.from_s = 19, .until_s = 30, .customer.tenants = {2, {"three", "two"}}};

    (void)state;
    assert_string_equal(contract_shared_tenant(&a, &b), "two");
    assert_string_equal(contract_shared_tenant(&b, &a), "two");
    b.from_s = 20; /* one follows the other */
    assert_null(contract_shared_tenant(&a, &b));
    assert_null(contract_shared_tenant(&b, &a));
    b.from_s = 5;
    b.customer.tenants.v[1] = "four";
    assert_null(contract_shared_tenant(&a, &b));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(shared_tenants), cmocka_unit_test(states),      cmocka_unit_test(late),
        cmocka_unit_test(indexed),        cmocka_unit_test(random_ones), cmocka_unit_test(largest),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
