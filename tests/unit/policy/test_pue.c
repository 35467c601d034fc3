/* PUE of two meters. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "policy/pue.h"

#define S      INT64_C(1000000)
#define WINDOW (640 * S)

/* Read each second from a time on: so many units a second of the machines, and PUE times as many.
 */
static int64_t run(struct pue_meter *m, int64_t from_s, int64_t n, int64_t it, int64_t rate,
                   int64_t permille)
{
    for (int64_t i = 0; i < n; i++)
        pue_take(m, (from_s + i) * S, 0, it + i * rate, 7 + (it + i * rate) * permille / 1000,
                 WINDOW);
    return from_s + n;
}

static void steady(void **state)
{
    struct pue_meter m = {0};

    (void)state;
    assert_int_equal(pue_permille(&m, S, WINDOW), PUE_UNKNOWN);
    run(&m, 1, 300, 1000, 50, 1250);
    assert_int_equal(pue_permille(&m, 300 * S, WINDOW), PUE_UNKNOWN); /* not half of it */
    run(&m, 301, 30, 16000, 50, 1250);
    assert_int_equal(pue_permille(&m, 330 * S, WINDOW), 1250);
    assert_int_equal(pue_permille(&m, 330 * S + WINDOW / 2, WINDOW), 1250);
    assert_int_equal(pue_permille(&m, 330 * S + WINDOW / 2 + 1, WINDOW), PUE_UNKNOWN); /* old */
}

/* What was before the window does not count. */
static void changes(void **state)
{
    struct pue_meter m = {0};
    int64_t t = run(&m, 1, 5000, 0, 50, 1100), it = 250000, facility = 275007;

    (void)state;
    assert_int_equal(pue_permille(&m, (t - 1) * S, WINDOW), 1100);
    for (int i = 0; i < 1000; i++, t++) { /* it becomes warmer */
        it += 50;
        facility += 75;
        pue_take(&m, t * S, 0, it, facility, WINDOW);
        if (i > 10 && i < 600)
            assert_in_range(pue_permille(&m, t * S, WINDOW), 1100, 1500);
    }
    assert_int_equal(pue_permille(&m, (t - 1) * S, WINDOW), 1500);
}

static void what_cannot_be(void **state)
{
    struct pue_meter m = {0};
    int64_t t = run(&m, 1, 700, 100000, 50, 1250);

    (void)state;
    pue_take(&m, t * S, WINDOW / 32, 1, 1, WINDOW); /* too far apart: not taken */
    pue_take(&m, (t - 5) * S, 0, 1, 1, WINDOW);     /* past */
    assert_int_equal(pue_permille(&m, t * S, WINDOW), 1250);
    pue_take(&m, t * S, 0, 5, 500000, WINDOW); /* a new meter: all begins anew */
    assert_int_equal(pue_permille(&m, t * S, WINDOW), PUE_UNKNOWN);
    t = run(&m, t + 1, 700, 1000000, 50, 900); /* less than its machines */
    assert_int_equal(pue_permille(&m, t * S, WINDOW), PUE_UNKNOWN);
    m = (struct pue_meter){0};
    t = run(&m, 1, 700, 1000, 0, 1250); /* they stand still */
    assert_int_equal(pue_permille(&m, t * S, WINDOW), PUE_UNKNOWN);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(steady), cmocka_unit_test(changes),
                                       cmocka_unit_test(what_cannot_be)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
