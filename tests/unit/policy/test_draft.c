/* How long a draft should be: what is sure and cheap is drafted long, what fails is not drafted. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "policy/draft.h"

static int32_t length(const struct draft_cost *c, const struct draft_trust *t, int32_t match,
                      int32_t tokens)
{
    double gain = tokens, before = gain;
    int32_t d = draft_length(c, t, match, 15, tokens, &gain);

    assert_true(d >= 0 && d <= 15);
    assert_true(d ? gain > before && gain < before + d : gain == before);
    return d;
}

static void cost_is_measured(void **state)
{
    struct draft_cost c = {0};

    (void)state;
    assert_true(draft_cost_us(&c, 4) == 0); /* nothing seen */
    for (int i = 0; i < 100; i++) {
        draft_cost_see(&c, 1, 1000);
        draft_cost_see(&c, 4, 1200);
        draft_cost_see(&c, 16, 4000);
    }
    assert_true(draft_cost_us(&c, 1) > 990 && draft_cost_us(&c, 1) < 1010);
    assert_true(draft_cost_us(&c, 4) > 1190 && draft_cost_us(&c, 4) < 1210);
    assert_true(draft_cost_us(&c, 10) > 2500 && draft_cost_us(&c, 10) < 2700); /* between */
    assert_true(draft_cost_us(&c, 32) > 7500);                                 /* and beyond */
    for (double x = 1; x < 200; x++)
        assert_true(draft_cost_us(&c, x + 1) >= draft_cost_us(&c, x));
    assert_true(draft_cost_us(&c, 1) > 990);
    draft_cost_see(&c, 1, 1e9); /* an interruption is not a cost */
    assert_true(draft_cost_us(&c, 1) < 1400);
}

/* The first step of 16 tokens was interrupted: drafts of that length are tried again some day. */
static void cost_is_forgotten(void **state)
{
    struct draft_cost c = {0};
    struct draft_trust t;
    int n = 0;

    (void)state;
    draft_trust_init(&t);
    for (int i = 0; i < 200; i++)
        draft_trust_see(&t, 20, 15, 15);
    draft_cost_see(&c, 1, 1000);
    draft_cost_see(&c, 2, 1050);
    draft_cost_see(&c, 16, 100000);
    assert_true(length(&c, &t, 20, 1) < 8);
    while (length(&c, &t, 20, 1) < 8 && n++ < 10000) {
        draft_cost_see(&c, 1, 1000);
        draft_cost_see(&c, 2, 1050);
    }
    assert_true(n < 10000);
}

/* Only big batches were seen: what less costs is guessed, and is less. */
static void cost_is_guessed(void **state)
{
    struct draft_cost c = {0};

    (void)state;
    draft_cost_see(&c, 64, 10000);
    assert_true(draft_cost_us(&c, 1) > 0 && draft_cost_us(&c, 1) < 10000);
    for (double x = 1; x < 200; x++)
        assert_true(draft_cost_us(&c, x + 1) >= draft_cost_us(&c, x));
}

static void trust_is_earned(void **state)
{
    struct draft_trust t, next;

    (void)state;
    draft_trust_init(&t);
    assert_true(draft_trust_p(&t, 20) > draft_trust_p(&t, 3));
    for (int i = 0; i < 50; i++)
        draft_trust_see(&t, 3, 5, 5);
    assert_true(draft_trust_p(&t, 3) > 0.9 && draft_trust_p(&t, 3) < 1);
    for (int i = 0; i < 200; i++)
        draft_trust_see(&t, 20, 5, 0);
    assert_true(draft_trust_p(&t, 20) < 0.05);
    draft_trust_inherit(&next, &t);
    assert_true(draft_trust_p(&next, 3) > 0.9 && draft_trust_p(&next, 20) < 0.5);
    for (int i = 0; i < 5; i++)
        draft_trust_see(&next, 20, 5, 5);
    assert_true(draft_trust_p(&next, 20) > 0.7); /* a first guess only */
}

static void length_follows(void **state)
{
    struct draft_cost flat = {0}, steep = {0}, none = {0};
    struct draft_trust good, bad;

    (void)state;
    draft_trust_init(&good);
    draft_trust_init(&bad);
    for (int i = 0; i < 200; i++) {
        draft_trust_see(&good, 20, 8, 8);
        draft_trust_see(&bad, 20, 8, 0);
    }
    for (int i = 0; i < 5; i++) {
        int32_t x = 1 << i;
        draft_cost_see(&flat, x, 1000 + 5 * x);
        draft_cost_see(&steep, x, 1000 * x);
    }
    assert_int_equal(length(&flat, &good, 20, 1), 15);
    assert_int_equal(length(&steep, &good, 20, 1), 0); /* each token costs a whole step */
    assert_int_equal(length(&flat, &bad, 20, 1), 0);
    assert_int_equal(length(&none, &good, 20, 1), 0);
    assert_true(length(&flat, &good, 20, 64) > 0); /* in a batch too, where it is free */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cost_is_measured), cmocka_unit_test(cost_is_forgotten),
        cmocka_unit_test(cost_is_guessed),  cmocka_unit_test(trust_is_earned),
        cmocka_unit_test(length_follows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
