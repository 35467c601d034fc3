/* A buyer of last resort: its years, its caps, and what of an hour it takes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "policy/backstop.h"

#define HOUR 3600
#define DAY  86400
#define MWH  CONTRACT_MWH_J
#define NANO INT64_C(1000000000)

/* From 2028-01-01, through a leap year, to 2030-01-01. */
#define Y2028 INT64_C(1830297600)
#define Y2029 (Y2028 + 366 * DAY)
#define Y2030 (Y2029 + 365 * DAY)

static struct contract make(void)
{
    return (struct contract){.from_s = Y2028,
                             .until_s = Y2030,
                             .signed_s = 1,
                             .year_s = {Y2029},
                             .n_years = 1,
                             .backstop = {.is_there = 1, .yearly_mwh = 1000},
                             .n_tranches = 1,
                             .tranche = {{.name = "a",
                                          .site = "fra",
                                          .watts = 2000000,
                                          .target_s = Y2028,
                                          .delivered_s = Y2028,
                                          .price = 200 * NANO}}};
}

static void years(void **state)
{
    const struct contract c = make();
    struct backstop_year y;

    (void)state;
    backstop_year(&c, Y2028, &y);
    assert_int_equal(y.from_s, Y2028);
    assert_int_equal(y.until_s - y.from_s, 366 * DAY); /* a leap year has a day more */
    backstop_year(&c, Y2029 - 1, &y);
    assert_int_equal(y.until_s, Y2029);
    backstop_year(&c, Y2029, &y);
    assert_int_equal(y.from_s, Y2029);
    assert_int_equal(y.until_s, Y2030);
}

/* The horizon, or a year, within an hour: as in a zone that is half an hour beside UTC. */
static void cuts(void **state)
{
    struct contract c = make();

    (void)state;
    assert_int_equal(backstop_cuts(&c, Y2030, Y2029 - HOUR), 0);
    assert_int_equal(backstop_cuts(&c, Y2030, Y2029), 0); /* a full hour is no cut */
    assert_int_equal(backstop_cuts(&c, Y2030, Y2029 - HOUR / 2), UINT64_C(1) << 30);
    c.tranche[0].until_s = Y2028 + 10 * HOUR + 15 * 60;
    assert_int_equal(backstop_cuts(&c, Y2030, Y2028 + 10 * HOUR), UINT64_C(1) << 15);
    assert_true(backstop_is_open(&c, &c.tranche[0], Y2030, Y2028 + 10 * HOUR));
    assert_false(backstop_is_open(&c, &c.tranche[0], Y2030, Y2028 + 10 * HOUR + 15 * 60));
    assert_false(backstop_is_open(&c, &c.tranche[0], Y2030, Y2028 - 1));
    c.tranche[0].delivered_s = 0; /* it is not there yet */
    assert_false(backstop_is_open(&c, &c.tranche[0], Y2030, Y2029));
    c = make();
    c.backstop.is_there = 0;
    assert_false(backstop_is_open(&c, &c.tranche[0], Y2030, Y2029));
}

/* 2 MW for an hour, of which 1.5 MWh are idle; the cap leaves 0.5 of them. */
static void a_cap_in_an_hour(void **state)
{
    const struct contract c = make();
    struct backstop_sum sum = {0};
    power_uj idle = (power_uj)3 * MWH / 2 * 1000000;
    int64_t room;

    (void)state;
    assert_int_equal(backstop_room(&c.backstop, &sum, 200 * NANO), 1000 * MWH);
    assert_int_equal(backstop_take(idle, 2 * MWH, 1000 * MWH), 3 * MWH / 2);
    assert_int_equal(backstop_take(idle, MWH, 1000 * MWH), MWH); /* its watts are fewer */
    backstop_add(&sum, (power_uj)1999 * MWH / 2, 200 * NANO);
    room = backstop_room(&c.backstop, &sum, 200 * NANO);
    assert_int_equal(room, MWH / 2);
    assert_int_equal(backstop_take(idle, 2 * MWH, room), MWH / 2);
    backstop_add(&sum, room, 200 * NANO);
    assert_int_equal(backstop_room(&c.backstop, &sum, 200 * NANO), 0);
    assert_int_equal(backstop_take(idle, 2 * MWH, 0), 0);
    assert_int_equal(backstop_take(999999, 5, 5), 0); /* whole joules */
    assert_int_equal(backstop_take(-5, 5, 5), 0);
}

/* The cap of money is never passed, whatever prices were. */
static void money(void **state)
{
    const struct contract_backstop b = {1, 0, 100 * NANO}, both = {1, 1, 100 * NANO},
                                   none = {1, 0, 0};
    struct backstop_sum sum = {0};
    int64_t room = backstop_room(&b, &sum, 30 * NANO);

    (void)state;
    assert_int_equal(room, MWH * 10 / 3); /* 3 1/3 MWh at 30: 12,000,000,000 J */
    backstop_add(&sum, MWH, 70 * NANO);
    assert_int_equal(backstop_room(&b, &sum, 30 * NANO), MWH);
    assert_int_equal(backstop_room(&b, &sum, 60 * NANO), MWH / 2);
    assert_int_equal(backstop_room(&both, &sum, 30 * NANO), 0); /* by energy it is spent */
    assert_int_equal(backstop_room(&none, &sum, 30 * NANO), INT64_MAX);
    assert_int_equal(backstop_room(&b, &sum, 0), INT64_MAX); /* what costs nothing */
    backstop_add(&sum, backstop_room(&b, &sum, 7 * NANO), 7 * NANO);
    assert_true(sum.cost <= (contract_nano)100 * NANO * MWH);
    assert_int_equal(backstop_room(&b, &sum, 7 * NANO), 0);
    /* A year of all that can be: nothing overflows. */
    sum = (struct backstop_sum){0};
    backstop_add(&sum, (power_uj)CONTRACT_WATTS_MAX * 366 * DAY, CONTRACT_PRICE_MAX);
    assert_true(sum.cost > 0);
    assert_int_equal(backstop_room(&b, &sum, 1), 0);
}

/* Two of them at one site: who began first, and the other of what is left. */
static void two_at_one_site(void **state)
{
    power_uj idle = (power_uj)3 * MWH * 1000000;
    int64_t first = backstop_take(idle, 2 * MWH, INT64_MAX), second;

    (void)state;
    idle -= (power_uj)first * 1000000;
    second = backstop_take(idle, 2 * MWH, INT64_MAX);
    assert_int_equal(first, 2 * MWH);
    assert_int_equal(second, MWH);
    assert_int_equal((int64_t)(idle - (power_uj)second * 1000000), 0);
}

/* At most: the caps of each year, in proportion. 2 MW for a year are 17,568 and 17,520 MWh. */
static void at_most(void **state)
{
    struct contract c = make();

    (void)state;
    assert_true(backstop_most(&c, Y2028, Y2028, Y2030) == (contract_nano)2000 * 200 * NANO);
    assert_true(backstop_most(&c, Y2028, Y2028 + 183 * DAY, Y2029) ==
                (contract_nano)500 * 200 * NANO);
    c.backstop = (struct contract_backstop){1, 0, 100000 * NANO};
    assert_true(backstop_most(&c, Y2028, 0, INT64_MAX) == (contract_nano)200000 * NANO);
    c.backstop.yearly_money = 100000000 * NANO;
    assert_true(backstop_most(&c, Y2028, Y2028, Y2029) == (contract_nano)17568 * 200 * NANO);
    assert_true(backstop_most(&c, Y2028, Y2030, Y2030 + DAY) == 0);
    c.backstop.is_there = 0;
    assert_true(backstop_most(&c, Y2028, Y2028, Y2030) == 0);
}

/* What it takes is promised to nobody: it is neither ready nor owed. */
static void not_firm(void **state)
{
    struct contract c = make();
    struct contract_due due;
    struct contract_place at;

    (void)state;
    contract_due(&c, Y2029, Y2028, Y2030, &due);
    assert_int_equal(due.firm_j + due.ready_j + due.late_j, 0);
    assert_true(due.fee == 0);
    assert_int_equal(contract_watts(&c, POWER_READY, NULL, NULL, Y2029, Y2029), 0);
    c.supplier.name = "s";
    c.customer.name = "c";
    assert_null(contract_fault(&c, &at));
    c.backstop.yearly_mwh = 0;
    assert_non_null(contract_fault(&c, &at));
    assert_string_equal(at.field, "backstop");
    c.backstop.yearly_money = 5;
    assert_null(contract_fault(&c, &at));
    c.late_credit_ppm = 1;
    assert_non_null(contract_fault(&c, &at));
    c.late_credit_ppm = 0;
    c.spillover = SPILL_BORROW;
    assert_non_null(contract_fault(&c, &at));
    assert_string_equal(at.field, "spillover");
    c.spillover = SPILL_REJECT;
    c.tranche[0].tokens_per_s = 5;
    assert_non_null(contract_fault(&c, &at));
    assert_string_equal(at.field, "tokens_per_second");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(years),
        cmocka_unit_test(cuts),
        cmocka_unit_test(a_cap_in_an_hour),
        cmocka_unit_test(money),
        cmocka_unit_test(two_at_one_site),
        cmocka_unit_test(at_most),
        cmocka_unit_test(not_firm),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
