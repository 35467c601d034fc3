/* What is owed for a period: worked examples, and that nothing is lost or doubled. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/rand.h"
#include "policy/settlement.h"

#define MW     INT64_C(1000000)
#define UNIT   INT64_C(1000000000)
#define SECOND INT64_C(1000000)
#define MINUTE (60 * SECOND)
#define START  INT64_C(1800000000) /* on an hour */
#define HOUR   3600
#define MWH    CONTRACT_MWH_J

static struct contract contract;
static struct settlement settlement;
static struct settlement_line lines[1000];
static int n_lines;

static int take(void *arg, const struct settlement_line *l)
{
    settlement_add(arg, l);
    lines[n_lines++] = *l;
    return 0;
}

/* Two tranches at one site, 10 MW and 30 MW, at 100 and 200 a megawatt-hour; the second is late by
 * an hour. */
static void make(void)
{
    struct contract *c = &contract;

    *c = (struct contract){.name = "acme",
                           .signed_s = START,
                           .from_s = START - HOUR,
                           .until_s = START + 1000 * HOUR,
                           .late_credit_ppm = 500000,
                           .short_credit_ppm = CONTRACT_PPM,
                           .n_tranches = 2};
    c->tranche[0] = (struct tranche){.name = "a",
                                     .site = "fra1",
                                     .watts = 10 * MW,
                                     .target_s = START,
                                     .delivered_s = START,
                                     .price = 100 * UNIT};
    c->tranche[1] = (struct tranche){.name = "b",
                                     .site = "fra1",
                                     .watts = 30 * MW,
                                     .target_s = START,
                                     .delivered_s = START + HOUR,
                                     .price = 200 * UNIT};
    settlement_begin(&settlement, c, START + 100 * HOUR, START, START + 2 * HOUR);
}

/* Minutes in which the site was so. */
static void watch(int from_minute, int n, struct power_state s, enum power_cause note)
{
    for (int i = from_minute; i < from_minute + n; i++) {
        struct power_piece p;
        power_piece_begin(&p, START * SECOND + i * MINUTE);
        assert_int_equal(power_piece_add(&p, &s, START * SECOND + (i + 1) * MINUTE), 0);
        settlement_piece(&settlement, "fra1", NULL, &p, note, 100 + i);
        settlement_piece(&settlement, "oslo", NULL, &p, note, 900); /* another site */
        settlement_piece(&settlement, NULL, "fra1", &p, note, 900); /* a region of that name */
    }
}

static struct settlement_sum draw(const int64_t *measured)
{
    struct settlement_sum sum = {0};

    n_lines = 0;
    assert_int_equal(settlement_lines(&settlement, 0, measured, take, &sum), 0);
    return sum;
}

static const struct settlement_line *line(enum settlement_kind kind, int i_tranche, int cause)
{
    for (int i = 0; i < n_lines; i++) {
        if (lines[i].kind == kind && lines[i].i_tranche == i_tranche && lines[i].cause == cause)
            return &lines[i];
    }
    return NULL;
}

#define assert_nano(a, b) assert_true((a) == (contract_nano)(b))

static void all_was_there(void **state)
{
    struct settlement_sum sum;

    (void)state;
    make();
    watch(0, 120,
          (struct power_state){.energised_w = 50 * MW, .ready_w = 40 * MW, .factor_ppm = 1000000},
          POWER_CAUSES);
    sum = draw(NULL);
    assert_int_equal((int64_t)settlement_delivered(&settlement.tranche[0]), 20 * MWH);
    assert_int_equal((int64_t)settlement_delivered(&settlement.tranche[1]), 30 * MWH);
    assert_int_equal((int64_t)settlement_unknown(&settlement.tranche[1]), 0);
    assert_int_equal(settlement_availability(&settlement.tranche[0]), 1000000);
    assert_int_equal(n_lines, 3);
    assert_nano(line(SETTLE_CAPACITY, 0, -1)->amount, 2000 * UNIT);
    assert_nano(line(SETTLE_CAPACITY, 1, -1)->amount, 6000 * UNIT);
    assert_int_equal(line(SETTLE_CAPACITY, 1, -1)->n_rows, 60);
    assert_int_equal(line(SETTLE_CAPACITY, 1, -1)->first_seq, 160);
    assert_int_equal(line(SETTLE_CAPACITY, 1, -1)->last_seq, 219);
    assert_nano(line(SETTLE_LATE, 1, -1)->amount, -3000 * UNIT); /* 30 MWh at half of 200 */
    assert_nano(sum.total, 5000 * UNIT);
    assert_nano(sum.fee, 8000 * UNIT);
    assert_nano(sum.credits, -3000 * UNIT);
}

/* In the second hour the site has 40 MW of which half is taken: each has half of its need. */
static void half_was_missing(void **state)
{
    struct power_state s = {.energised_w = 40 * MW,
                            .ready_w = 40 * MW,
                            .factor_ppm = 500000,
                            .cause = POWER_ENVIRONMENT};

    (void)state;
    make();
    watch(60, 30, s, POWER_CAUSES);
    s.cause = POWER_CURTAILMENT;
    watch(90, 20, s, POWER_CAUSES);
    watch(110, 5, s, POWER_FORCE_MAJEURE); /* notes */
    watch(115, 5, s, POWER_MAINTENANCE);
    draw(NULL);
    assert_nano(line(SETTLE_SHORT, 0, POWER_ENVIRONMENT)->amount, -250 * UNIT);
    assert_int_equal((int64_t)line(SETTLE_SHORT, 0, POWER_ENVIRONMENT)->joules, 10 * MWH / 4);
    assert_int_equal((int64_t)line(SETTLE_SHORT, 1, POWER_CURTAILMENT)->joules, 30 * MWH / 6);
    assert_nano(line(SETTLE_SHORT, 1, POWER_CURTAILMENT)->amount, -1000 * UNIT);
    assert_int_equal((int64_t)line(SETTLE_SHORT, 1, POWER_FORCE_MAJEURE)->joules, 30 * MWH / 24);
    assert_nano(line(SETTLE_SHORT, 1, POWER_FORCE_MAJEURE)->amount, 0);
    assert_nano(line(SETTLE_SHORT, 1, POWER_MAINTENANCE)->amount, -250 * UNIT);
    assert_int_equal(settlement_availability(&settlement.tranche[1]), 500000);
    /* Of the first hour nobody knows: it is paid, and gives no credit. */
    assert_int_equal((int64_t)settlement_unknown(&settlement.tranche[0]), 10 * MWH);
    assert_nano(line(SETTLE_CAPACITY, 0, -1)->amount, 2000 * UNIT);
}

/* 40 MW are ready, 30 energised, of which 6 are held and a third of the rest is taken: 16 are left.
 * The 24 that are missing are by 16 the supplier's, by 8 the operator's. */
static void what_was_never_there(void **state)
{
    (void)state;
    make();
    watch(60, 60,
          (struct power_state){.energised_w = 30 * MW,
                               .encumbered_w = 6 * MW,
                               .ready_w = 40 * MW,
                               .factor_ppm = 666667,
                               .cause = POWER_OPERATOR},
          POWER_CAUSES);
    draw(NULL);
    assert_true(line(SETTLE_SHORT, 1, POWER_SUPPLIER)->joules - 12 * MWH < MWH / 100000);
    assert_true(line(SETTLE_SHORT, 1, POWER_OPERATOR)->joules - 6 * MWH < MWH / 100000);
    assert_true(settlement_delivered(&settlement.tranche[1]) - 12 * MWH < MWH / 100000);
}

static void a_delivery_that_was_recorded_later(void **state)
{
    (void)state;
    make();
    watch(60, 60, (struct power_state){.energised_w = 20 * MW, .factor_ppm = 1000000},
          POWER_CAUSES);
    /* The server knew of no tranche: what this contract needs is taken for all. */
    assert_int_equal((int64_t)settlement_delivered(&settlement.tranche[1]), 15 * MWH);
    assert_int_equal((int64_t)settlement_short(&settlement.tranche[1], POWER_SUPPLIER), 15 * MWH);
}

static int keep(void *arg, const struct settlement_line *l)
{
    lines[n_lines++] = *l;
    (void)arg;
    return 0;
}

/* A version begins 40 seconds into a minute, with more watts than the server knew of: 10 and 30 MW
 * where 10 can be used. Of the last 20 seconds a quarter is delivered, and the 40 before do not
 * count. */
static void a_part_within_a_minute(void **state)
{
    struct power_state s = {.energised_w = 10 * MW, .ready_w = 5 * MW, .factor_ppm = 1000000};

    (void)state;
    make();
    contract.tranche[1].delivered_s = START;
    settlement_begin(&settlement, &contract, START + 100 * HOUR, START + 40, START + HOUR);
    watch(0, 1, s, POWER_CAUSES);
    assert_true(settlement.tranche[0].watched == 10 * MW * 20 * SECOND);
    assert_true(settlement.tranche[1].watched == 30 * MW * 20 * SECOND);
    assert_true(settlement_short(&settlement.tranche[0], POWER_SUPPLIER) == 150 * MW);
    assert_true(settlement_short(&settlement.tranche[1], POWER_SUPPLIER) == 450 * MW);
    assert_int_equal(settlement_availability(&settlement.tranche[0]), 250000);
}

/* 10 MW of the building, of machines 8 MW at a PUE of 1.25: with 8 of these nothing is missing,
 * with 6 a quarter is. A watt more than the server knew of is rounding. */
static void another_basis(void **state)
{
    struct power_state s = {.energised_w = 8 * MW, .ready_w = 8 * MW - 1, .factor_ppm = 1000000};

    (void)state;
    make();
    settlement.site_watts = 1000;
    settlement.own_watts = 1250;
    watch(0, 1, s, POWER_CAUSES);
    assert_int_equal(settlement_availability(&settlement.tranche[0]), 1000000);
    s.factor_ppm = 750000;
    s.ready_w = 0; /* recorded later */
    watch(1, 1, s, POWER_CAUSES);
    assert_true(settlement.tranche[0].watched == 10 * MW * 2 * MINUTE);
    assert_int_equal((int64_t)settlement_short(&settlement.tranche[0], POWER_ENVIRONMENT),
                     150 * MW);
}

static void credits_are_capped(void **state)
{
    struct settlement_sum sum;

    (void)state;
    make();
    contract.credit_cap_ppm = 250000;
    watch(60, 60, (struct power_state){.ready_w = 40 * MW, .factor_ppm = 1000000}, POWER_CAUSES);
    sum = draw(NULL);
    assert_nano(sum.credits, -(3000 + 1000 + 6000) * UNIT);
    assert_int_equal(settlement_close(&contract, 0, 500 * UNIT, &sum, keep, NULL), 0);
    assert_int_equal(n_lines, 7); /* of both a fee and a shortfall, what is late, cap, prepayment */
    assert_nano(sum.total, 5500 * UNIT);
}

static void a_period_is_closed(void **state)
{
    struct settlement_sum sum = {8000 * UNIT, -10000 * UNIT, -2000 * UNIT};

    (void)state;
    make();
    contract.credit_cap_ppm = 250000;
    n_lines = 0;
    assert_int_equal(settlement_close(&contract, 3, 500 * UNIT, &sum, keep, NULL), 0);
    assert_int_equal(n_lines, 2);
    assert_nano(lines[0].amount, 8000 * UNIT); /* credits are 2000 */
    assert_nano(lines[1].amount, -500 * UNIT);
    assert_int_equal(lines[1].i_part, 3);
    assert_nano(sum.total, 5500 * UNIT);
    contract.credit_cap_ppm = 0; /* there is none */
    sum = (struct settlement_sum){8000 * UNIT, -10000 * UNIT, -2000 * UNIT};
    n_lines = 0;
    assert_int_equal(settlement_close(&contract, 0, 500 * UNIT, &sum, keep, NULL), 0);
    assert_int_equal(n_lines, 0);
}

static void take_or_pay(void **state)
{
    struct settlement_sum sum;

    (void)state;
    make();
    contract.take_or_pay_ppm = 750000;
    watch(0, 120,
          (struct power_state){.energised_w = 50 * MW, .ready_w = 40 * MW, .factor_ppm = 1000000},
          POWER_CAUSES);
    settlement.tranche[0].used = (power_uj)18 * MWH * SETTLEMENT_UJ;
    sum = draw(NULL);
    assert_nano(line(SETTLE_NOT_TAKEN, 0, -1)->amount, -200 * UNIT);  /* 2 of 20 */
    assert_nano(line(SETTLE_NOT_TAKEN, 1, -1)->amount, -1500 * UNIT); /* 7.5 of 30 */
    assert_nano(sum.total, (5000 - 1700) * UNIT);
    settlement.own.n_unmetered = 1; /* who knows what it used? */
    draw(NULL);
    assert_null(line(SETTLE_NOT_TAKEN, 0, -1));
}

static void true_up(void **state)
{
    const int64_t measured[] = {900000, 2000000};

    (void)state;
    make();
    contract.tranche[0].tokens_per_s = contract.tranche[1].tokens_per_s = 1000;
    watch(0, 120,
          (struct power_state){.energised_w = 50 * MW, .ready_w = 40 * MW, .factor_ppm = 1000000},
          POWER_CAUSES);
    draw(NULL);
    assert_true(line(SETTLE_TRUE_UP, 0, -1)->is_told); /* not measured */
    draw(measured);
    assert_nano(line(SETTLE_TRUE_UP, 0, -1)->amount, -200 * UNIT); /* a tenth of 2000 */
    assert_null(line(SETTLE_TRUE_UP, 1, -1));                      /* the gain is the customer's */
    contract.gain = GAIN_SHARED;
    draw(measured);
    assert_nano(line(SETTLE_TRUE_UP, 1, -1)->amount, 3000 * UNIT); /* half of 6000 */
}

static void work_above_and_lent(void **state)
{
    (void)state;
    make();
    contract.lend_share_ppm = 333333;
    settlement.paid = (struct settlement_use){.n_requests = 3, .charge = 5};
    settlement.lent = (struct settlement_use){.n_requests = 2, .charge = 5, .first_seq = 7};
    draw(NULL);
    assert_nano(line(SETTLE_SPILLOVER, -1, -1)->amount, 5);
    assert_nano(line(SETTLE_LENT, -1, -1)->amount, -2); /* 1.67 */
    assert_int_equal(line(SETTLE_LENT, -1, -1)->first_seq, 7);
    contract.lend_share_ppm = 0;
    draw(NULL);
    assert_null(line(SETTLE_LENT, -1, -1));
}

static void amounts(void **state)
{
    (void)state;
    assert_nano(settlement_amount(MWH, 100 * UNIT, CONTRACT_PPM), 100 * UNIT);
    assert_nano(settlement_amount(MWH / 2, 1, CONTRACT_PPM), 1); /* a half goes away from 0 */
    assert_nano(settlement_amount(MWH / 2 - 1, 1, CONTRACT_PPM), 0);
    assert_nano(settlement_amount(MWH * 3, 1, 500000), 2);
    assert_nano(
        settlement_amount((power_uj)MWH * 44000000000, CONTRACT_PRICE_MAX, 100 * CONTRACT_PPM),
        (contract_nano)44000000000 * CONTRACT_PRICE_MAX * 100);
}

/* Of random sites and contracts: what is ready is delivered, short or unknown, and the parts of a
 * period come to the whole. */
static void nothing_is_lost(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 300; seed++) {
        power_uj missing[2][2] = {{0}};
        int64_t cut;
        uint32_t x[4], y[4];
        make();
        rand_philox(21, seed, 0, x);
        contract.tranche[0].watts = 1 + x[0] % (20 * MW);
        contract.tranche[1].watts = 1 + x[1];
        contract.tranche[1].delivered_s = START + x[2] % (3 * HOUR);
        cut = START + x[3] % (2 * HOUR);
        for (int part = 0; part < 3; part++) { /* before, behind, and both */
            settlement_begin(&settlement, &contract, START + 100 * HOUR, part == 1 ? cut : START,
                             part == 0 ? cut : START + 2 * HOUR);
            for (int i = 0; i < 120; i++) {
                struct power_piece p;
                rand_philox(22, seed * 1000 + (uint64_t)i, 0, x);
                rand_philox(23, seed * 1000 + (uint64_t)i, 0, y);
                power_piece_begin(&p, START * SECOND + i * MINUTE + y[0] % MINUTE);
                power_piece_add(&p,
                                &(struct power_state){.energised_w = x[0],
                                                      .encumbered_w = x[1] / 8,
                                                      .ready_w = x[2],
                                                      .factor_ppm = (int32_t)(x[3] % 1000001),
                                                      .cause = (enum power_cause)(y[1] % 4)},
                                START * SECOND + (i + 1) * MINUTE);
                settlement_piece(&settlement, "fra1", NULL, &p,
                                 y[2] % 5 ? POWER_CAUSES : (enum power_cause)(y[3] % POWER_CAUSES),
                                 i);
            }
            for (int i = 0; i < 2; i++) {
                const struct settlement_tranche *t = &settlement.tranche[i];
                power_uj sum = settlement_delivered(t) + settlement_unknown(t), uj = 0;
                for (int c = 0; c < POWER_CAUSES; c++) {
                    assert_true(t->short_of[c] >= 0);
                    sum += settlement_short(t, (enum power_cause)c);
                    uj += t->short_of[c];
                }
                assert_true(sum * SETTLEMENT_UJ == t->ready);
                assert_true(t->watched >= uj && t->ready >= t->watched);
                assert_true(settlement_delivered(t) >= 0);
                if (part < 2)
                    missing[0][i] += t->watched;
                else
                    missing[1][i] = t->watched;
            }
        }
        assert_true(missing[0][0] == missing[1][0] && missing[0][1] == missing[1][1]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_was_there),
        cmocka_unit_test(half_was_missing),
        cmocka_unit_test(what_was_never_there),
        cmocka_unit_test(a_delivery_that_was_recorded_later),
        cmocka_unit_test(a_part_within_a_minute),
        cmocka_unit_test(another_basis),
        cmocka_unit_test(credits_are_capped),
        cmocka_unit_test(a_period_is_closed),
        cmocka_unit_test(take_or_pay),
        cmocka_unit_test(true_up),
        cmocka_unit_test(work_above_and_lent),
        cmocka_unit_test(amounts),
        cmocka_unit_test(nothing_is_lost),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
