/* The gateway bench's own arithmetic: percentiles, HTTP framing, stamps. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "bench_net.h"
#include "loghist.h"
#include "wire.h"

static int less(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

    return (x > y) - (x < y);
}

/* Against the sorted values themselves, over nine decades. */
static void test_percentiles(void **state)
{
    enum { N = 10000 };
    static const double percents[] = {1, 10, 50, 90, 99, 99.9};
    static struct loghist h;
    static int64_t v[N];
    uint64_t x = 1;
    double sum = 0;

    assert_true(loghist_percentile(&h, 50) == 0 && loghist_mean(&h) == 0);
    for (int i = 0; i < N; i++) {
        x = x * UINT64_C(6364136223846793005) + 1442695040888963407;
        v[i] = (int64_t)(x >> 33 >> (x >> 28 & 31));
        sum += (double)v[i];
        loghist_add(&h, v[i]);
    }
    qsort(v, N, sizeof v[0], less);
    for (size_t i = 0; i < sizeof percents / sizeof percents[0]; i++) {
        double want = (double)v[(int)(percents[i] / 100 * N + 0.5) - 1];
        double got = loghist_percentile(&h, percents[i]);
        assert_true(got >= want - want / 64 - 0.5 && got <= want + want / 64 + 0.5);
    }
    assert_true(loghist_percentile(&h, 100) == (double)v[N - 1]);
    assert_true(loghist_mean(&h) == sum / N);
}

static void test_extremes(void **state)
{
    static struct loghist h;

    loghist_add(&h, -5);
    assert_true(loghist_percentile(&h, 50) == 0);
    loghist_add(&h, INT64_MAX);
    loghist_add(&h, INT64_MAX);
    assert_true(loghist_percentile(&h, 99) == (double)INT64_MAX);
    assert_int_equal(h.n, 3);
}

/* The body of a message that comes `step` bytes at a time; NULL where it is not whole. */
static const char *read_message(const char *text, size_t step, int is_answer, struct wire *w)
{
    static char body[256];
    size_t n = strlen(text), n_body = 0, at, come = 0;

    wire_begin(w);
    for (at = 0; w->state == WIRE_HEAD && come < n;) {
        come = come + step < n ? come + step : n;
        at = wire_head(w, text, come, is_answer);
    }
    while (w->state == WIRE_BODY && at < n) {
        const char *p;
        size_t n_p, end = come > at ? come : at + step < n ? at + step : n;
        at += wire_body(w, text + at, end - at, &p, &n_p);
        memcpy(body + n_body, p, n_p);
        n_body += n_p;
    }
    body[n_body] = 0;
    return w->state == WIRE_DONE && at == n ? body : NULL;
}

static const char chunked[] = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
                              "5\r\nhello\r\n00B;x=1\r\n, you there\r\n0\r\nTrailer: x\r\n\r\n";

static void test_framing(void **state)
{
    struct wire w;

    for (size_t step = 1; step < 120; step++) {
        assert_string_equal(read_message(chunked, step, 1, &w), "hello, you there");
        assert_int_equal(w.status, 200);
        assert_string_equal(
            read_message("POST /v1 HTTP/1.1\r\nHost: a\r\ncontent-length:3\r\n\r\nabc", step, 0,
                         &w),
            "abc");
        assert_string_equal(
            read_message("GET / HTTP/1.1\r\nConnection: Close\r\n\r\n", step, 0, &w), "");
        assert_true(w.is_closed);
    }
    assert_string_equal(read_message("HTTP/1.1 204 No\r\n\r\n", 9, 1, &w), "");
    assert_null(read_message("HTTP/1.1 200 OK\r\n\r\nto the end", 99, 1, &w));
    assert_int_equal(w.left, -1);
}

static void test_what_is_not_whole(void **state)
{
    static const char *const bad[] = {
        "HTTP/1.0 200 OK\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
        "HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffff\r\n",
    };
    struct wire w;

    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_null(read_message(bad[i], 7, 1, &w));
        assert_int_equal(w.state, WIRE_BAD);
    }
    for (size_t n = 1; n < sizeof chunked - 1; n++) {
        char cut[sizeof chunked];
        memcpy(cut, chunked, n);
        cut[n] = 0;
        assert_null(read_message(cut, 7, 1, &w));
    }
    assert_null(read_message("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabcd", 99, 1, &w));
}

static void test_stamps(void **state)
{
    char text[64] = "{\"content\":\"a@b @12@ ";
    size_t n = strlen(text);

    assert_int_equal(bench_stamp_find(text, n), -1);
    bench_stamp(text + n, 12345678901234567);
    assert_int_equal(bench_stamp_find(text, n + STAMP_LEN - 1), -1);
    assert_int_equal(bench_stamp_find(text, n + STAMP_LEN), 12345678901234560);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_percentiles), cmocka_unit_test(test_extremes),
        cmocka_unit_test(test_framing),     cmocka_unit_test(test_what_is_not_whole),
        cmocka_unit_test(test_stamps),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
