/* What contracts entitle to, and what becomes of a request. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "policy/entitlement.h"

static void rates(void **state)
{
    struct tranche t = {.tokens_per_s = 1000000000};
    int64_t full;

    (void)state;
    assert_int_equal(entitlement_full(&t, -1, &full), ENTITLES_DECLARED);
    assert_int_equal(full, INT64_C(1000000000000));
    assert_int_equal(entitlement_full(&t, 2500, &full), ENTITLES_MEASURED); /* measured wins */
    assert_int_equal(full, 2500);
    assert_int_equal(entitlement_full(&t, 0, &full), ENTITLES_MEASURED); /* it makes nothing */
    assert_int_equal(full, 0);
    assert_int_equal(entitlement_full(&t, INT64_MAX, &full), ENTITLES_MEASURED);
    assert_int_equal(full, ENTITLEMENT_MOST);
    t.tokens_per_s = 0;
    assert_int_equal(entitlement_full(&t, -1, &full), ENTITLES_TO_NOTHING);
    assert_int_equal(full, 0);
    assert_int_equal(entitlement_rate(1001, 500000), 500);
    assert_int_equal(entitlement_rate(ENTITLEMENT_MOST, 1000000), ENTITLEMENT_MOST);
    assert_int_equal(entitlement_rate(5000, 0), 0);
}

static void factors(void **state)
{
    const struct entitlement_site known[] = {{3000000, 1000000}, {1000000, 0}};
    const struct entitlement_site half[] = {{3000000, 1000000}, {-1, 0}};

    (void)state;
    assert_int_equal(entitlement_factor(known, 2), 750000);
    assert_int_equal(entitlement_factor(half, 2), 500000); /* then all count the same */
    assert_int_equal(entitlement_factor(known, 1), 1000000);
    assert_int_equal(entitlement_factor(known, 0), 0);
    assert_int_equal(entitlement_factor(&(struct entitlement_site){0, 1000000}, 1), 0);
}

static void dates(void **state)
{
    const struct contract c = {
        .until_s = 1000,
        .n_tranches = 2,
        .tranche = {{.target_s = 50, .delivered_s = 300, .until_s = 800},
                    {.target_s = 60, .cancelled_s = 400, .is_option = 1, .exercised_s = 200}}};

    (void)state;
    assert_int_equal(entitlement_next(&c, 0), 200);
    assert_int_equal(entitlement_next(&c, 200), 300);
    assert_int_equal(entitlement_next(&c, 300), 400);
    assert_int_equal(entitlement_next(&c, 400), 800);
    assert_int_equal(entitlement_next(&c, 800), 1000);
    assert_int_equal(entitlement_next(&c, 1000), INT64_MAX);
}

static void decisions(void **state)
{
    const struct entitlement_found none = {0}, full = {2, 0, 0}, taken = {2, 1, 1},
                                   dead = {2, 1, 0};

    (void)state;
    for (int r = SPILL_REJECT; r <= SPILL_BORROW; r++) {
        assert_int_equal(entitlement_decide(&none, r), ENTITLED_NOT);
        assert_int_equal(entitlement_decide(&taken, r), ENTITLED_WITHIN);
        assert_int_equal(entitlement_decide(&full, r), ENTITLED_REFUSED + r);
        assert_int_equal(entitlement_decide(&dead, r), ENTITLED_REFUSED + r);
    }
}

static void tokens(void **state)
{
    const struct contract two = {.n_loads = 2,
                                 .load = {{.input = 3000, .output = 600, .weight = 3},
                                          {.input = 24000, .output = 1500, .weight = 1}}};
    const struct contract none = {0};

    (void)state;
    assert_int_equal(entitlement_input(&two), 7750000); /* (3*5 + 1*16) / 4 */
    assert_int_equal(entitlement_input(&none), 1000000);
    assert_int_equal(entitlement_tokens(7750000, 775, 100), 100);
    assert_int_equal(entitlement_tokens(7750000, 776, 100), 101);
    assert_int_equal(entitlement_tokens(7750000, 0, 0), 0);
    assert_int_equal(entitlement_tokens(1, INT64_C(1000000000), 5), INT64_C(1000000000000000));
    assert_int_equal(entitlement_expect(500, 0), 500);
    assert_int_equal(entitlement_expect(500, 80), 80);
    assert_int_equal(entitlement_expect(50, 80), 50);
    assert_int_equal(entitlement_mean(0, 160), 160);
    assert_int_equal(entitlement_mean(160, 320), 170);
    assert_int_equal(entitlement_mean(1, 0), 1);
}

/* With three quarters sold a quarter of the places is others' own. */
static void lent(void **state)
{
    (void)state;
    assert_false(entitlement_is_lent(8, 750000, 1, 1));
    assert_true(entitlement_is_lent(8, 750000, 2, 1));
    assert_true(entitlement_is_lent(8, 1000000, 0, 1));
    assert_true(entitlement_is_lent(8, 2000000, 0, 1)); /* more was sold than there is */
    assert_false(entitlement_is_lent(8, 0, 100, 1));
}

/* Ten places, of which contracts have eight: what they lend of these, and what tiers may borrow. */
static void limits(void **state)
{
    (void)state;
    /* They lend three quarters: two of their eight are kept, six are lent. */
    assert_int_equal(entitlement_kept(10, 0, 200000), 2);
    assert_int_equal(entitlement_lendable(10, 800000, 200000), 6);
    assert_int_equal(entitlement_borrowable(6, 500000), 3);
    assert_int_equal(entitlement_borrowable(6, 100000), 1); /* rounded up ... */
    assert_int_equal(entitlement_borrowable(6, 0), 0);      /* ... but nothing is nothing */
    assert_int_equal(entitlement_borrowable(6, 1000000), 6);
    /* Promised sequences are kept, too; what is more counts. */
    assert_int_equal(entitlement_kept(10, 3, 200000), 3);
    assert_int_equal(entitlement_kept(10, 1, 200000), 2);
    assert_int_equal(entitlement_kept(10, 0, 200001), 3);
    assert_int_equal(entitlement_kept(10, 0, 0), 0);
    assert_int_equal(entitlement_kept(10, 100, 1000000), 9); /* one is everybody's */
    assert_int_equal(entitlement_kept(1, 0, 1000000), 0);
    assert_int_equal(entitlement_kept(0, 5, 1000000), 0);
    assert_int_equal(entitlement_lendable(10, 800000, 800000), 0);
    assert_int_equal(entitlement_lendable(10, 2000000, 0), 10); /* more was sold than there is */
    assert_int_equal(entitlement_lendable(10, 500000, 600000), 0);
    assert_int_equal(entitlement_borrow_rate(20000, 250000), 5000);
    assert_int_equal(entitlement_borrow_rate(20000, 0), 0); /* no limit */
    assert_int_equal(entitlement_borrow_rate(ENTITLEMENT_MOST, 100000000), ENTITLEMENT_MOST);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rates),     cmocka_unit_test(factors), cmocka_unit_test(dates),
        cmocka_unit_test(decisions), cmocka_unit_test(tokens),  cmocka_unit_test(lent),
        cmocka_unit_test(limits),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
