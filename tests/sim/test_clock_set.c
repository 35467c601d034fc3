/* The wall clock is set: forward, back, to what it was before anybody set it. Nothing is booked
 * twice or lost, and no budget is given out twice. */
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
#include "books/books.h"
#include "cloud/cloud.h"
#include "fakes.h"

#define S      INT64_C(1000000)
#define DAY    (INT64_C(86400) * S)
#define START  (INT64_C(1800000000) * S) /* 15 January 2027, 8:00 UTC */
#define AMOUNT 1000                      /* tokens a day */
#define USED   100                       /* tokens of a request */

static const char keys[] = "salt 000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f\n"
                           "tenant acme token_budget_per_day=1000 requests_per_minute=100000\n";
static const char key[] = "a key of my own";
static const struct cloud_ask no_price;

static struct cloud *open_cloud(void)
{
    struct cloud_config config = {.keys_path = "keys",
                                  .ledger_path = "ledger.db",
                                  .now_us = clock_now_us(),
                                  .wall_us = clock_wall_us()};
    struct cloud *c = NULL;
    struct err e = {0};

    if (cloud_open(&c, &config, &e))
        fail_msg("%s", e.text);
    return c;
}

static void begin(int64_t wall_us)
{
    struct buf text;
    struct err e = {0};

    fake_disk_reset();
    fake_rand_seed(7);
    fake_clock_set(5 * S, wall_us);
    fake_disk_put("keys", keys); /* for its salt */
    buf_init(&text, 1 << 16);
    buf_add_str(&text, keys);
    assert_int_equal(cloud_key_line("keys", "k", "acme", key, &text, &e), 0);
    fake_disk_put("keys", text.data);
    buf_done(&text);
}

static void set_clock(struct cloud *c, int64_t wall_us)
{
    fake_clock_set(clock_now_us() + S, wall_us);
    cloud_tell_wall(c, clock_now_us(), clock_wall_us());
}

static int enter(struct cloud *c, struct cloud_ticket *t)
{
    struct err e = {0};

    assert_int_equal(cloud_enter(c, clock_now_us(),
                                 &(struct cloud_caller){.key = key, .n_key = strlen(key)}, t, &e),
                     0);
    if (cloud_reserve(c, clock_now_us(), t, &no_price, USED, &e)) {
        assert_int_equal(e.code, ERR_BUDGET);
        cloud_leave(c, clock_now_us(), t, 0);
        return -1;
    }
    return 0;
}

static void settle(struct cloud *c, struct cloud_ticket *t)
{
    static int n;
    char id[32];

    snprintf(id, sizeof id, "req_%d", n++);
    cloud_settle(c, clock_now_us(), t,
                 &(struct cloud_use){.request_id = id,
                                     .model = "m",
                                     .supplier = "s",
                                     .prompt_tokens = USED,
                                     .status = 200,
                                     .at_us = clock_wall_us()});
}

/* Requests until the budget is spent: their number. */
static int spend(struct cloud *c)
{
    struct cloud_ticket t;
    int n = 0;

    for (; !enter(c, &t); n++)
        settle(c, &t);
    return n;
}

/* The ledger has n rows, all of its sums and its chain are right. */
static void check_ledger(struct cloud *c, int64_t n)
{
    struct err e = {0};
    int64_t n_rows = 0;

    assert_int_equal(cloud_close(c), 0);
    if (books_audit("ledger.db", &n_rows, &e))
        fail_msg("%s", e.text);
    assert_int_equal(n_rows, n);
}

static void set_back_and_forward(void **state)
{
    struct cloud *c;
    struct err e;

    begin(START);
    c = open_cloud();
    assert_int_equal(spend(c), AMOUNT / USED);
    set_clock(c, START - 3 * DAY);
    assert_int_equal(spend(c), 0); /* set back: the same day still */
    set_clock(c, START + DAY);
    assert_int_equal(spend(c), AMOUNT / USED);
    set_clock(c, START);
    assert_int_equal(spend(c), 0);
    assert_int_equal(cloud_reload_keys(c, clock_now_us(), &e), 0); /* which reopens nothing */
    assert_int_equal(spend(c), 0);
    set_clock(c, START + DAY);
    assert_int_equal(spend(c), 0);
    set_clock(c, START + 2 * DAY);
    assert_int_equal(spend(c), AMOUNT / USED);
    check_ledger(c, 3 * AMOUNT / USED);
}

/* Who holds tokens while the clock is set gives them back, once. */
static void set_while_requests_run(void **state)
{
    static const int64_t by[] = {-40 * DAY, -DAY, -S, S, DAY, 40 * DAY};
    struct cloud *c;

    for (size_t i = 0; i < sizeof by / sizeof *by; i++) {
        struct cloud_ticket t[4];
        int n_more;
        begin(START);
        c = open_cloud();
        for (int k = 0; k < 4; k++)
            assert_int_equal(enter(c, &t[k]), 0);
        set_clock(c, START + by[i]);
        for (int k = 0; k < 2; k++)
            settle(c, &t[k]);
        for (int k = 2; k < 4; k++)
            cloud_leave(c, clock_now_us(), &t[k], 0);
        n_more = spend(c);
        /* Set forward by a day, the new one has nothing of theirs. */
        assert_int_equal(n_more, AMOUNT / USED - (by[i] >= DAY ? 0 : 2));
        check_ledger(c, 2 + n_more);
    }
}

/* Without a battery a clock begins in 1970, and is set once the network is there. */
static void set_for_the_first_time(void **state)
{
    struct cloud *c;
    int n;

    begin(0);
    c = open_cloud();
    n = spend(c);
    assert_int_equal(n, AMOUNT / USED);
    set_clock(c, START);
    n += spend(c);
    assert_int_equal(n, 2 * AMOUNT / USED);
    assert_int_equal(cloud_close(c), 0);
    fake_clock_set(5 * S, 0); /* and the next time again */
    c = open_cloud();
    assert_int_equal(spend(c), 0); /* of that day in 1970 */
    set_clock(c, START + 60 * S);
    n += spend(c);
    check_ledger(c, n);
}

/* Whatever it is set to: as many tokens as days have begun, and not one more. */
static void set_at_random(void **state)
{
    for (uint32_t seed = 1; seed <= 60; seed++) {
        int64_t last_day = START / DAY, n_days = 1;
        struct cloud *c;
        int n;
        begin(START);
        c = open_cloud();
        n = spend(c);
        for (uint32_t i = 0; i < 60; i++) {
            uint32_t x[4];
            struct err e;
            rand_philox(seed, i, 0, x);
            if (x[0] % 3 == 0)
                set_clock(c, START + ((int64_t)(x[1] % 20) - 8) * DAY / 2);
            if (x[0] % 7 == 0)
                assert_int_equal(cloud_reload_keys(c, clock_now_us(), &e), 0);
            if (clock_wall_us() / DAY > last_day) {
                last_day = clock_wall_us() / DAY;
                n_days++;
            }
            n += spend(c);
            if (n * USED > n_days * AMOUNT)
                fail_msg("seed %u: %d requests in %d days", seed, n, (int)n_days);
            while (cloud_step(c, clock_now_us()) >= 0)
                fake_clock_pass(S / 10);
        }
        assert_int_equal(n * USED, n_days * AMOUNT); /* nor one less */
        check_ledger(c, n);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(set_back_and_forward),
        cmocka_unit_test(set_while_requests_run),
        cmocka_unit_test(set_for_the_first_time),
        cmocka_unit_test(set_at_random),
    };
    log_setup(LOG_OFF, 0);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
