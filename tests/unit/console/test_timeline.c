/* The bounded timeline, and the times of the last minutes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "console/timeline.h"

static void token(struct timeline *t, int64_t at_us, int n)
{
    timeline_note(t, n == 1 ? TIMELINE_FIRST_TOKEN : TIMELINE_DECODE, at_us, n);
}

static void timeline_is_thinned(void **state)
{
    struct timeline *t = calloc(1, sizeof *t);
    int n_decode = 0;

    timeline_note(t, TIMELINE_ACCEPTED, 0, 0);
    timeline_note(t, TIMELINE_QUEUED, 1, 0);
    timeline_note(t, TIMELINE_STARTED, 2, 0);
    for (int i = 0; i < 300; i++)
        timeline_note(t, TIMELINE_PREFILL, 10 + i, i);
    for (int i = 0; i < 100000; i++)
        token(t, 1000 + i, 1 + i);
    timeline_note(t, TIMELINE_FINISHED, 200000, 100000);
    assert_true(t->n_marks > TIMELINE_MARKS / 3 && t->n_marks <= TIMELINE_MARKS);
    assert_int_equal(t->mark[0].what, TIMELINE_ACCEPTED);
    assert_int_equal(t->mark[2].what, TIMELINE_STARTED);
    assert_int_equal(t->mark[t->n_marks - 1].what, TIMELINE_FINISHED);
    for (int i = 1; i < t->n_marks; i++) {
        assert_true(t->mark[i].at_us > t->mark[i - 1].at_us);
        n_decode += t->mark[i].what == TIMELINE_DECODE;
    }
    assert_true(n_decode > 16); /* and of all of it, not of its end alone */
    for (int i = 1, last = 1; i < t->n_marks; i++) {
        if (t->mark[i].what != TIMELINE_DECODE)
            continue;
        assert_true(t->mark[i].n - last < 100000 / 8);
        last = t->mark[i].n;
    }
    free(t);
}

static void short_timeline_is_whole(void **state)
{
    struct timeline *t = calloc(1, sizeof *t);

    for (int i = 0; i < 20; i++)
        token(t, 1 + i, 1 + i);
    assert_int_equal(t->n_marks, 20);
    assert_int_equal(t->mark[0].what, TIMELINE_FIRST_TOKEN);
    for (int i = 0; i < 20; i++)
        assert_int_equal(t->mark[i].n, i + 1);
    free(t);
}

static void quantiles(void **state)
{
    struct timeline_samples *s = calloc(1, sizeof *s);
    float v[4 * TIMELINE_SAMPLES] = {0};
    int n;

    assert_true(timeline_quantile(v, 0, .5) == 0);
    for (int i = 0; i < TIMELINE_SAMPLES; i++) /* these will be pushed out */
        timeline_sample(s, 0, 9000000);
    for (int i = 1; i <= 100; i++)
        timeline_sample(s, TIMELINE_SPAN_US, i * 1000000);
    n = timeline_recent(s, TIMELINE_SPAN_US, v, 0, 4 * TIMELINE_SAMPLES);
    assert_int_equal(n, TIMELINE_SAMPLES);
    n = timeline_recent(s, TIMELINE_SPAN_US + 1, v, 0,
                        4 * TIMELINE_SAMPLES); /* the old ones are too old */
    assert_int_equal(n, 100);
    timeline_sort(v, n);
    assert_true(timeline_quantile(v, n, 0) == 1 && timeline_quantile(v, n, .5) == 50);
    assert_true(timeline_quantile(v, n, .95) == 95 && timeline_quantile(v, n, 1) == 100);
    assert_int_equal(timeline_recent(s, TIMELINE_SPAN_US, v, 0, 7), 7);
    assert_int_equal(timeline_recent(s, 3 * TIMELINE_SPAN_US, v, 0, 7), 0);
    free(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(timeline_is_thinned),
        cmocka_unit_test(short_timeline_is_whole),
        cmocka_unit_test(quantiles),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
