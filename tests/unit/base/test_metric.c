#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "base/hist.h"
#include "base/metric.h"

static const int64_t bounds[] = {1000, 1000000};
static const struct metric_def defs[] = {
    {"a_total", METRIC_COUNTER, "As.", {"model", "status"}, NULL, 0},
    {"b", METRIC_GAUGE, "Bs.", {NULL}, NULL, 0},
    {"c_seconds", METRIC_TIMES, "Cs.", {"model"}, bounds, 2},
    {"d", METRIC_SHARE, "Ds.", {NULL}, NULL, 0},
    {"e_total", METRIC_SUM, "Es.", {NULL}, NULL, 0},
    {"unused", METRIC_GAUGE, "Nobody made one.", {NULL}, NULL, 0},
    {0},
};

static void exposition(void **state)
{
    struct metric_set *s = metric_set_new(defs, 10);
    struct metric *a = metric_get(s, 0, "m\"1\n", "200", NULL);
    struct buf out;

    buf_init(&out, 1 << 16);
    metric_add(a, 2);
    metric_add(a, 3);
    assert_ptr_equal(a, metric_get(s, 0, "m\"1\n", "200", NULL));
    metric_put(metric_get(s, 1, NULL, NULL, NULL), -4);
    metric_observe(metric_get(s, 2, "m", NULL, NULL), 1000); /* a bound is inclusive */
    metric_observe(metric_get(s, 2, "m", NULL, NULL), 2000000);
    metric_put(metric_get(s, 3, NULL, NULL, NULL), 250000);
    metric_put(metric_get(s, 4, NULL, NULL, NULL), 9007199254740993000);
    assert_int_equal(metric_write(s, &out), 0);
    assert_string_equal(out.data, "# HELP a_total As.\n# TYPE a_total counter\n"
                                  "a_total{model=\"m\\\"1\\n\",status=\"200\"} 5\n"
                                  "# HELP b Bs.\n# TYPE b gauge\nb -4\n"
                                  "# HELP c_seconds Cs.\n# TYPE c_seconds histogram\n"
                                  "c_seconds_bucket{model=\"m\",le=\"0.001\"} 1\n"
                                  "c_seconds_bucket{model=\"m\",le=\"1\"} 1\n"
                                  "c_seconds_bucket{model=\"m\",le=\"+Inf\"} 2\n"
                                  "c_seconds_sum{model=\"m\"} 2.001\n"
                                  "c_seconds_count{model=\"m\"} 2\n"
                                  "# HELP d Ds.\n# TYPE d gauge\nd 0.25\n"
                                  "# HELP e_total Es.\n# TYPE e_total counter\n"
                                  "e_total 9007199254740.993000\n");
    buf_done(&out);
    metric_set_free(s);
}

static void series_are_bounded(void **state)
{
    struct metric_set *s = metric_set_new(defs, 2);
    struct buf out;

    buf_init(&out, 1 << 16);
    metric_add(metric_get(s, 0, "1", "1", NULL), 1);
    metric_add(metric_get(s, 0, "2", "1", NULL), 1);
    metric_add(metric_get(s, 0, "3", "1", NULL), 1);
    metric_add(metric_get(s, 0, "4", "1", NULL), 1);
    metric_add(metric_get(s, 0, "2", "1", NULL), 1);
    assert_int_equal(metric_write(s, &out), 0);
    assert_non_null(strstr(out.data, "a_total{model=\"other\",status=\"other\"} 2\n"));
    assert_non_null(strstr(out.data, "a_total{model=\"2\",status=\"1\"} 2\n"));
    assert_null(strstr(out.data, "\"4\""));
    buf_done(&out);
    metric_set_free(s);
}

static void histogram(void **state)
{
    static const int64_t b[] = {1, 2, 4, 8};
    struct hist h;

    hist_init(&h, b, 4);
    assert_int_equal(hist_count(&h), 0);
    for (int i = 0; i < 90; i++)
        hist_add(&h, 2);
    for (int i = 0; i < 10; i++)
        hist_add(&h, 100);
    hist_add(&h, -5);
    assert_int_equal(hist_count(&h), 101);
    assert_int_equal(h.count[0], 1);
    assert_int_equal(h.count[1], 90);
    assert_int_equal(h.count[4], 10); /* above all bounds */
    assert_int_equal(h.sum, 90 * 2 + 1000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(exposition),
        cmocka_unit_test(series_are_bounded),
        cmocka_unit_test(histogram),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
