/* A month of cloud and books under a clock, random numbers and a disk of the test's own: the same
 * code as in the server, in milliseconds and always the same. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <sqlite3.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/disk.h"
#include "base/log.h"
#include "base/rand.h"
#include "cloud/cloud.h"
#include "fakes.h"

#define S INT64_C(1000000)
static const struct cloud_ask no_price;

#define START (INT64_C(1800000000) * S) /* 15 January 2027, 8:00 UTC */
#define DAYS  30
#define EVERY (10 * 60 * S) /* between two rounds */

static const char keys[] = "salt 000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f\n"
                           "tenant acme requests_per_minute=3 tokens_per_minute=1000\n";

static void make_id(char id[40])
{
    unsigned char r[12];

    assert_int_equal(rand_system(r, sizeof r), 0);
    strcpy(id, "req_");
    for (size_t i = 0; i < sizeof r; i++)
        snprintf(id + 4 + 2 * i, 3, "%02x", r[i]);
}

static int64_t number(sqlite3 *db, const char *sql)
{
    sqlite3_stmt *st = NULL;
    int64_t n;

    if (sqlite3_prepare_v2(db, sql, -1, &st, NULL) || sqlite3_step(st) != SQLITE_ROW)
        fail_msg("%s: %s", sql, sqlite3_errmsg(db));
    n = sqlite3_column_int64(st, 0);
    sqlite3_finalize(st);
    return n;
}

/* Four requests at once where three are allowed; the third does not get its tokens. */
static void round_of_requests(struct cloud *c, const char *key)
{
    struct cloud_ticket t;
    struct api_rate rate;
    struct err e = {0};
    char id[40];

    for (int i = 0; i < 3; i++) {
        assert_int_equal(cloud_enter(c, clock_now_us(),
                                     &(struct cloud_caller){.key = key, .n_key = strlen(key)}, &t,
                                     &e),
                         0);
        assert_string_equal(t.tenant, "acme");
        cloud_rate(c, clock_now_us(), &t, -1, &rate);
        assert_int_equal(rate.requests_minute.remaining,
                         2 - i); /* full again since the last round */
        assert_int_equal(rate.tokens_minute.remaining, 1000 - 400 * i);
        if (i == 2) {
            assert_int_equal(cloud_reserve(c, clock_now_us(), &t, &no_price, 400, &e),
                             ERR_RATE_TOKENS);
            assert_in_range(t.retry_us, 11 * S, 13 * S); /* 200 more at 1,000 a minute: 12 s */
            cloud_leave(c, clock_now_us(), &t, 0);
            continue;
        }
        assert_int_equal(cloud_reserve(c, clock_now_us(), &t, &no_price, 500, &e), 0);
        make_id(id);
        cloud_settle(c, clock_now_us(), &t,
                     &(struct cloud_use){.request_id = id,
                                         .model = "m",
                                         .supplier = "site-1",
                                         .prompt_tokens = 300,
                                         .completion_tokens = 100,
                                         .status = 200,
                                         .at_us = clock_wall_us()});
    }
    assert_int_equal(cloud_enter(c, clock_now_us(),
                                 &(struct cloud_caller){.key = key, .n_key = strlen(key)}, &t, &e),
                     ERR_RATE_REQUESTS);
    assert_in_range(t.retry_us, 19 * S, 21 * S); /* one in 20 s */
}

/* Returns a number of all ids and times. */
static int64_t live_a_month(void)
{
    struct cloud_config config = {.keys_path = "keys", .ledger_path = "ledger.db"};
    static const char key[] = "a key of my own";
    struct cloud *c = NULL;
    struct err e = {0};
    struct buf text;
    sqlite3 *db = NULL;
    int64_t end, n, sum;

    fake_disk_reset();
    fake_rand_seed(7);
    fake_clock_set(5 * S, START);
    fake_disk_put("keys", keys);
    buf_init(&text, 1 << 16);
    buf_add_str(&text, keys);
    assert_int_equal(cloud_key_line("keys", "k", "acme", key, &text, &e), 0);
    fake_disk_put("keys", text.data);
    buf_done(&text);
    assert_int_equal(cloud_open(&c, &config, &e), 0);
    end = clock_now_us() + DAYS * 24 * 3600 * S;
    while (clock_now_us() < end) {
        round_of_requests(c, key);
        for (int64_t wait; (wait = cloud_step(c, clock_now_us())) >= 0;)
            fake_clock_pass(wait);
        fake_clock_pass(EVERY - (clock_wall_us() - START) % EVERY);
    }
    assert_int_equal(cloud_close(c), 0);

    n = DAYS * 24 * 6;
    assert_int_equal(sqlite3_open_v2("ledger.db", &db, SQLITE_OPEN_READWRITE, disk_vfs()), 0);
    assert_int_equal(number(db, "SELECT count(*) FROM usage WHERE key_id = 'k' AND"
                                " supplier = 'site-1' AND status = 200"),
                     2 * n);
    assert_int_equal(number(db, "SELECT prompt_tokens FROM balance WHERE tenant = 'acme'"),
                     2 * n * 300);
    assert_int_equal(number(db, "SELECT min(at_us) FROM usage"), START);
    assert_int_equal(number(db, "SELECT max(at_us) FROM usage"), START + (n - 1) * EVERY);
    assert_int_equal(number(db, "SELECT count(DISTINCT at_us) FROM usage"), n);
    sum = number(db, "SELECT sum(at_us % 1000003 * unicode(substr(request_id, 5 + at_us / 600000000"
                     " % 24))) FROM usage");
    sqlite3_close(db);
    return sum;
}

static void a_month_in_milliseconds(void **state)
{
    int64_t first = live_a_month();

    assert_true(first > 0);
    assert_int_equal(live_a_month(), first);
    fake_disk_reset();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_month_in_milliseconds),
    };
    log_setup(LOG_OFF, 0);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
