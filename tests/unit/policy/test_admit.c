#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "policy/admit.h"

static struct admit_decision decide(int waiting, int running, int n, int64_t threshold)
{
    struct admit_state s = {.n_inside = waiting + running,
                            .n_own = waiting + running,
                            .is_alone = 1,
                            .capacity = 4,
                            .waiting_max = 10,
                            .job_us = 4000000};
    struct admit_decision d;

    admit_decide(&s, n, threshold, &d);
    return d;
}

static void admits(void **state)
{
    assert_true(decide(0, 0, 1, 0).admit);
    assert_true(decide(0, 0, 100, 0).admit); /* idle: whatever it is */
    assert_int_equal(decide(0, 3, 1, 0).wait_us, 0);
    assert_true(decide(0, 4, 10, 0).admit); /* exactly full */
    assert_true(decide(9, 4, 1, 0).admit);
    assert_true(decide(0, 2, 12, 0).admit); /* two begin at once, ten wait */
    assert_int_equal(decide(0, 4, 1, 0).wait_us, 1000000);
    assert_true(decide(13, 0, 1, 0).admit); /* a burst: none has begun yet */
    assert_false(decide(14, 0, 1, 0).admit);
}

static void refuses(void **state)
{
    struct admit_decision d = decide(10, 4, 1, 0);

    assert_false(d.admit);
    assert_int_equal(d.retry_us, 1000000); /* one job of four a 4 s */
    assert_false(decide(0, 4, 11, 0).admit);
    assert_false(decide(0, 2, 13, 0).admit);
    assert_int_equal(decide(1000, 4, 1, 0).retry_us, 60000000); /* what SDKs still obey */
}

static int admits_of_several(int n_inside, int n_own, int n)
{
    struct admit_state s = {.n_inside = n_inside, .n_own = n_own, .capacity = 4, .waiting_max = 10};
    struct admit_decision d;

    admit_decide(&s, n, 0, &d);
    return d.admit;
}

static void tenants(void **state)
{
    /* One that is busy alone: what runs, and half of what may wait. */
    assert_true(admits_of_several(0, 0, 100));
    assert_true(admits_of_several(3, 3, 6));
    assert_true(admits_of_several(8, 8, 1));
    assert_false(admits_of_several(9, 9, 1));
    assert_false(admits_of_several(3, 3, 7));
    /* For the next there is room, half of what is left at a time, and never none. */
    assert_true(admits_of_several(9, 0, 1));
    assert_true(admits_of_several(9, 0, 16));
    assert_true(admits_of_several(10, 1, 2));
    assert_false(admits_of_several(12, 3, 1));
    assert_true(admits_of_several(14, 0, 1));
    assert_true(admits_of_several(1000, 0, 16));
    assert_false(admits_of_several(1000, 1, 1));
    /* Its own, however many, are nobody's trouble while none waits. */
    assert_true(admits_of_several(2, 2, 2));
}

/* However long the queue of those that fill is, others have half of the places. */
static void room_above_those_that_fill(void **state)
{
    for (int fills = 0; fills < 2; fills++) {
        struct admit_state s = {.n_inside = 4 + 5,
                                .n_own = 4 + 5,
                                .is_alone = 1,
                                .fills = fills,
                                .capacity = 4,
                                .waiting_max = 10,
                                .job_us = 4000000};
        struct admit_decision d;
        admit_decide(&s, 1, 0, &d);
        assert_int_equal(d.admit, !fills);
        assert_int_equal(d.retry_us, fills ? 1000000 : 0);
        s.n_inside = s.n_own = 4 + 4;
        admit_decide(&s, 1, 0, &d);
        assert_true(d.admit);
        s.n_own = 0; /* who has nothing there comes in */
        s.n_inside = 1000;
        admit_decide(&s, 1, 0, &d);
        assert_true(d.admit);
    }
}

static void at_once(void **state)
{
    assert_int_equal(admit_at_once(16, 4, 9), 2);
    assert_int_equal(admit_at_once(16, 4, 3), 0);
    assert_int_equal(admit_at_once(3, 1, 100), 3);
    assert_int_equal(admit_at_once(1, 16, 16), 1);
    assert_int_equal(admit_at_once(1, 1, -5), 0);
}

static void threshold(void **state)
{
    assert_true(decide(3, 4, 1, 4000000).admit);
    assert_false(decide(4, 4, 1, 4000000).admit);
    assert_int_equal(decide(4, 4, 1, 4000000).retry_us, 1000000);
    assert_int_equal(decide(4, 4, 1, 4999999).retry_us, 250000);
}

static void unknown_duration(void **state)
{
    struct admit_state s = {.n_inside = 2, .n_own = 2, .capacity = 0, .waiting_max = 1};
    struct admit_decision d;

    admit_decide(&s, 1, 0, &d);
    assert_false(d.admit);
    assert_int_equal(d.retry_us, 2000000);
}

static void mean(void **state)
{
    int64_t m = admit_mean(0, 800);

    assert_int_equal(m, 800);
    assert_int_equal(admit_mean(m, 1600), 900);
    assert_int_equal(admit_mean(0, -5), 1);
}

static void waits(void **state)
{
    assert_int_equal(admit_wait_us(4, 4, 1000000), 250000); /* the next place */
    assert_int_equal(admit_wait_us(14, 4, 1000000), 2500000);
    assert_int_equal(admit_wait_us(14, 0, 0), 26000000); /* neither is known */
    assert_int_equal(admit_wait_us(100000, 1, 1000000), 60000000);
    assert_int_equal(admit_wait_us(0, 100, 1), 250000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(waits),   cmocka_unit_test(admits),
        cmocka_unit_test(refuses), cmocka_unit_test(room_above_those_that_fill),
        cmocka_unit_test(at_once), cmocka_unit_test(threshold),
        cmocka_unit_test(tenants), cmocka_unit_test(unknown_duration),
        cmocka_unit_test(mean),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
