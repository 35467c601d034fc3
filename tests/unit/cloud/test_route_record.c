/* A decision as text: made again from it, it is the same; what is no record is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/err.h"
#include "base/rand.h"
#include "cloud/route_record.h"

enum { N = 7 };

static struct route_record read_back; /* large */

static void make(uint64_t round, struct route_request *r, struct route_offer *o, int n)
{
    uint32_t x[4], y[4];

    rand_philox(3, round, 99, x);
    *r = (struct route_request){.strategy = (enum route_strategy)(x[0] % ROUTE_STRATEGIES),
                                .tier = (int)(x[1] % 4),
                                .needs = x[1] >> 8 & 1,
                                .residency = x[2] % 4,
                                .n_tokens = x[2] >> 16,
                                .draw = x[3],
                                .affinity = x[3] * 7};
    for (int i = 0; i < n; i++) {
        rand_philox(4, round, (uint64_t)i, x);
        rand_philox(5, round, (uint64_t)i, y);
        o[i] = (struct route_offer){.id = (uint32_t)i + 1,
                                    .key = x[0],
                                    .health = (enum route_health)(x[1] % 8 ? 0 : x[1] / 8 % 4),
                                    .is_tried = x[1] % 5 == 1,
                                    .is_slow = x[1] % 3 == 1,
                                    .is_over = x[1] % 7 == 1,
                                    .is_capped = x[1] % 2 == 1,
                                    .is_closed = x[1] % 11 == 1,
                                    .is_away = x[1] % 2 == 1,
                                    .rtt_us = y[1] & 0xfffff,
                                    .wait_us = x[2] % 4 ? 0 : 77,
                                    .tiers = x[2] >> 4 | 2,
                                    .lacks = x[3] & 1,
                                    .residency = x[3] >> 1 & 3,
                                    .context = (int32_t)(x[3] >> 16),
                                    .n_waiting = (int32_t)(y[0] % 9),
                                    .n_running = (int32_t)(y[0] >> 8 & 7),
                                    .capacity = 8,
                                    .weight = (int32_t)(y[1] % 5),
                                    .ttft_us = y[1] >> 8,
                                    .ttft_age_us = y[2],
                                    .job_us = y[2] >> 3,
                                    .price = y[3] % 3 ? (int64_t)y[3] << 20 : -1,
                                    .price_max = y[3] % 7 ? -1 : (int64_t)y[3] << 19};
    }
}

static void round_trip(void **state)
{
    static const char *const names[N] = {"local/a", "b/has blank", "c/\"quoted\"", "d/e,f|g;h",
                                         "",        "x/\xc3\xa9",  "y/z"};
    struct route_verdict v[N], again[N];
    struct route_offer o[N];
    struct route_request r;
    struct buf b;

    for (uint64_t round = 0; round < 2000; round++) {
        const char *at;
        int picks[3];
        buf_init(&b, ROUTE_RECORD_BYTES_MAX);
        for (int k = 0; k < 3; k++) { /* several, as of a request that was turned back */
            make(round * 3 + (uint64_t)k, &r, o, N);
            picks[k] = route_pick(&r, o, N, v);
            assert_int_equal(route_record_put(&b, &r, o, names, N), 0);
        }
        assert_null(strpbrk(b.data, "\"\\\n"));
        at = b.data;
        for (int k = 0; k < 3; k++) {
            assert_int_equal(route_record_read(&at, &read_back), 1);
            assert_int_equal(read_back.n, N);
            assert_int_equal(route_pick(&read_back.request, read_back.offer, N, again), picks[k]);
        }
        for (int i = 0; i < N; i++) {
            assert_int_equal(v[i].why, again[i].why);
            assert_int_equal(v[i].score, again[i].score);
        }
        assert_string_equal(read_back.name[0], "local/a");
        assert_string_equal(read_back.name[1], "b/has_blank");
        assert_int_equal(route_record_read(&at, &read_back), 0);
        buf_done(&b);
    }
}

static void refused(void **state)
{
    static const char *const names[] = {"a/b", "c/d"};
    struct route_request r;
    struct route_offer o[2];
    const char *at = "";
    struct buf b;

    assert_int_equal(route_record_read(&at, &read_back), 0);
    at = "  ";
    assert_int_equal(route_record_read(&at, &read_back), 0);
    at = "r1 0 1 0 0 0 0 0 0"; /* of no offers, written before there were round trips */
    assert_int_equal(route_record_read(&at, &read_back), 1);
    at = "r1 0 1 0 0 0 0 0 1 a/m 1 0 0 5 0 15 0 0 0 0 0 8 1 0 0 0 -1 -1";
    assert_int_equal(route_record_read(&at, &read_back), 1);
    assert_int_equal(read_back.offer[0].capacity, 8);
    assert_int_equal(*at, 0);
    for (const char *const *bad =
             (const char *const[]){
                 "r3 0 1 0 0 0 0 0 0", "r1", "r1 0 1 0 0 0 0 0 x", "r1 7 1 0 0 0 0 0 0",
                 "r1 0 32 0 0 0 0 0 0", "r1 0 1 0 0 -1 0 0 0", "r1 0 1 0 0 0 0 0 65",
                 "r1 0 1 0 0 0 0 99999999999 0", "r1 0 1 0 0 0 0 0 1", "r1 0 1 0 0 0 0 0 +0", NULL};
         *bad; bad++) {
        at = *bad;
        assert_int_equal(route_record_read(&at, &read_back), ERR_FORMAT);
    }
    make(1, &r, o, 2);
    buf_init(&b, ROUTE_RECORD_BYTES_MAX);
    assert_int_equal(route_record_put(&b, &r, o, names, 2), 0);
    for (size_t n = b.len - 1; n > 0; n--) { /* cut anywhere */
        char *cut = strndup(b.data, n);
        int code;
        at = cut;
        code = route_record_read(&at, &read_back);
        /* a number that lost digits is one; what lost a word is none */
        assert_true(code == ERR_FORMAT || (code == 1 && !strchr(b.data + n, ' ')));
        free(cut);
    }
    o[1].id = o[0].id; /* two of one id */
    buf_clear(&b);
    route_record_put(&b, &r, o, names, 2);
    at = b.data;
    assert_int_equal(route_record_read(&at, &read_back), ERR_FORMAT);
    buf_done(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(round_trip),
        cmocka_unit_test(refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
