/* The ledger on a disk that fails, and that loses power: nothing that was settled is lost or booked
 * twice, and balances are those of the rows.
 *
 * test_disk_faults [all]: faults at some places, or at every one. */
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
#include "books/books.h"
#include "cloud/cloud.h"
#include "fakes.h"

#define PATH   "ledger.db"
#define GROUPS 6
#define FEW    4  /* rows of a group that is put into the database at once */
#define MANY   20 /* of one that stays in the journal for a while */

static int each = FEW;
static int stride = 7; /* of the places where the disk fails; 1: all */

static int setup(void **state)
{
    log_setup(LOG_OFF, 0);
    fake_clock_set(1000000, INT64_C(1800000000) * 1000000);
    fake_rand_seed(1);
    fake_disk_reset();
    each = FEW;
    return 0;
}

static int teardown(void **state)
{
    fake_disk_reset();
    return 0;
}

static int begin(struct books **ret, int sync_normal)
{
    struct err e = {0};
    int r = books_open(ret, PATH, sync_normal, &e);

    if (r)
        assert_non_null(strstr(e.text, "ledger"));
    return r;
}

static void post(struct books *b, int i)
{
    struct books_row *r = books_take(b);

    assert_non_null(r);
    snprintf(r->request_id, sizeof r->request_id, "req_%d", i);
    snprintf(r->tenant, sizeof r->tenant, "%c", 'a' + i % 3);
    r->prompt_tokens = i + 1;
    r->completion_tokens = 2 * i;
    r->at_us = clock_wall_us();
    books_post(b, r);
}

static int64_t n_written(const struct books *b)
{
    int64_t written, pending, failures;

    books_stats(b, &written, &pending, &failures);
    return written;
}

/* Time enough for what is due, and for one more try. */
static void go_on(struct books *b)
{
    books_step(b, clock_now_us());
    fake_clock_pass(150000);
    books_step(b, clock_now_us());
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

/* The file is sound, has the first n_least rows and no other than the first n_most, and its
 * balances are those of its rows. Returns how many there are. */
static int64_t judge(int64_t n_least, int64_t n_most)
{
    sqlite3 *db = NULL;
    char sql[200];
    struct err e = {0};
    int64_t n;

    if (books_audit(PATH, &n, &e)) /* which settles what is in the journal */
        fail_msg("%s", e.text);
    assert_int_equal(sqlite3_open_v2(PATH, &db, SQLITE_OPEN_READWRITE, disk_vfs()), 0);
    assert_int_equal(number(db, "SELECT count(*) FROM pragma_integrity_check"
                                " WHERE integrity_check <> 'ok'"),
                     0);
    n = number(db, "SELECT count(*) FROM usage");
    assert_in_range(n, n_least, n_most);
    /* Groups are written whole and in order, so n rows are the first n. */
    snprintf(sql, sizeof sql,
             "SELECT count(*) FROM usage WHERE CAST(substr(request_id, 5) AS INTEGER) < %d",
             (int)n);
    assert_int_equal(number(db, sql), n);
    assert_int_equal(number(db, "SELECT count(*) FROM (SELECT tenant, count(*) AS n,"
                                " sum(prompt_tokens) AS p, sum(completion_tokens) AS c FROM usage"
                                " GROUP BY tenant) AS u FULL JOIN balance AS b USING (tenant)"
                                " WHERE u.n IS NOT b.n_requests OR u.p IS NOT b.prompt_tokens"
                                " OR u.c IS NOT b.completion_tokens"),
                     0);
    sqlite3_close(db);
    return n;
}

/* ---- a disk that fails, and is well again ---------------------------------------------------- */

static void rows_wait_for_the_disk(void **state)
{
    static const enum fake_fault faults[] = {FAKE_FULL, FAKE_READONLY, FAKE_WRITE, FAKE_SHORT_WRITE,
                                             FAKE_SYNC};
    static const int64_t n_times[] = {1, 2, -1};

    for (int f = 0; f < (int)(sizeof faults / sizeof *faults); f++) {
        for (int at = 0; at < 90; at += stride) {
            struct books *b = NULL;
            fake_disk_reset();
            assert_int_equal(begin(&b, 0), 0);
            fake_disk_fail(faults[f], at / 3, n_times[at % 3]);
            for (int i = 0; i < GROUPS * each; i++) {
                post(b, i); /* serving goes on */
                if (i % each == each - 1) {
                    go_on(b);
                    fake_clock_pass(400000);
                }
            }
            fake_disk_heal();
            fake_clock_pass(1000000); /* the next try is a second after the last */
            go_on(b);
            assert_int_equal(n_written(b), GROUPS * each);
            fake_clock_pass(1000000); /* from the journal into the database */
            go_on(b);
            judge(GROUPS * each, GROUPS * each);
            fake_disk_crash((uint64_t)at); /* and they are on the disk */
            books_close(b);
            assert_int_equal(begin(&b, 0), 0);
            assert_int_equal(books_close(b), 0);
            judge(GROUPS * each, GROUPS * each);
        }
    }
}

/* ---- power ----------------------------------------------------------------------------------- */

/* Two lives of a server, the first closed in order. Returns how many rows it was told are there. */
static int64_t live(int sync_normal)
{
    int64_t n = 0;

    for (int life = 0; life < 2; life++) {
        struct books *b = NULL;
        if (begin(&b, sync_normal))
            return n;
        for (int g = life * GROUPS / 2; g < (life + 1) * GROUPS / 2; g++) {
            for (int i = 0; i < each; i++)
                post(b, g * each + i);
            go_on(b);
        }
        n += n_written(b);
        if (books_close(b))
            return n;
    }
    return n;
}

static void lose_power(int sync_normal)
{
    struct books *b = NULL;
    int64_t n_ops, n, has;

    fake_disk_reset();
    assert_int_equal(live(sync_normal), GROUPS * each);
    n_ops = fake_disk_ops();
    assert_true(n_ops > 40);
    for (int64_t at = 0; at < n_ops; at += stride) {
        for (uint64_t seed = 0; seed < 2; seed++) {
            fake_disk_reset();
            fake_disk_fail(FAKE_DEAD, at, -1);
            n = live(sync_normal);
            fake_disk_crash(seed * 1000 + (uint64_t)at);
            assert_int_equal(begin(&b, sync_normal), 0);
            has = judge(sync_normal ? 0 : n, GROUPS * each);
            for (int i = 0; i < GROUPS * each; i++)
                post(b, i); /* told again: those that are there are not booked twice */
            assert_int_equal(books_close(b), 0);
            judge(GROUPS * each, GROUPS * each);
            assert_true(has <= GROUPS * each);
        }
    }
}

static void power_is_lost_anywhere(void **state)
{
    lose_power(0);
}

/* Several groups are in the journal when it happens. */
static void power_is_lost_with_a_full_journal(void **state)
{
    each = MANY;
    lose_power(0);
}

/* With ledger_sync normal the last rows may go; what stays is whole. */
static void power_is_lost_with_sync_normal(void **state)
{
    lose_power(1);
}

/* ---- a disk that fails at the start ---------------------------------------------------------- */

static void no_start_on_a_bad_disk(void **state)
{
    struct books *b = NULL;
    int n_refused = 0;

    for (int f = 0; f < FAKE_FAULTS; f++) {
        for (int at = 0; at < 20; at++) {
            int had = at % 2; /* a ledger of an earlier life */
            fake_disk_reset();
            if (had) {
                assert_int_equal(begin(&b, 0), 0);
                post(b, 0);
                assert_int_equal(books_close(b), 0);
            }
            fake_disk_fail((enum fake_fault)f, at / 2, -1);
            if (begin(&b, 0)) {
                n_refused++;
            } else {
                post(b, had);
                books_close(b); /* may lose it, and says so */
            }
            fake_disk_crash((uint64_t)at);
            assert_int_equal(begin(&b, 0), 0);
            assert_int_equal(books_close(b), 0);
            judge(had, had + 1);
        }
    }
    assert_true(n_refused > 20);
}

/* ---- the rule: an answer that cannot be booked is not begun ---------------------------------- */

static void what_cannot_be_booked_is_not_begun(void **state)
{
    struct cloud_config config = {.ledger_path = PATH};
    struct cloud_ticket t;
    struct cloud *c = NULL;
    struct cloud_stats st;
    struct err e = {0};
    char id[32];
    int n = 0, r;

    assert_int_equal(cloud_open(&c, &config, &e), 0);
    fake_disk_fail(FAKE_FULL, 0, -1);
    while (!(r = cloud_enter(c, clock_now_us(), &(struct cloud_caller){.key = NULL}, &t, &e))) {
        snprintf(id, sizeof id, "req_%d", n++);
        cloud_settle(c, clock_now_us(), &t,
                     &(struct cloud_use){.request_id = id, .model = "m", .prompt_tokens = 1});
        if (n % 1000 == 0) {
            fake_clock_pass(2000000);
            cloud_step(c, clock_now_us());
        }
    }
    assert_int_equal(r, ERR_AGAIN);
    assert_true(t.retry_us > 0);
    assert_int_equal(n, BOOKS_ROWS_MAX);
    cloud_stats(c, &st);
    assert_int_equal(st.rows_pending, n);
    assert_true(st.write_failures > 10);
    fake_disk_heal();
    fake_clock_pass(2000000);
    assert_int_equal(cloud_step(c, clock_now_us()), -1);
    assert_int_equal(cloud_enter(c, clock_now_us(), &(struct cloud_caller){.key = NULL}, &t, &e),
                     0);
    cloud_leave(c, clock_now_us(), &t, 0);
    assert_int_equal(cloud_close(c), 0);
    judge(n, n);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(rows_wait_for_the_disk, setup, teardown),
        cmocka_unit_test_setup_teardown(power_is_lost_anywhere, setup, teardown),
        cmocka_unit_test_setup_teardown(power_is_lost_with_a_full_journal, setup, teardown),
        cmocka_unit_test_setup_teardown(power_is_lost_with_sync_normal, setup, teardown),
        cmocka_unit_test_setup_teardown(no_start_on_a_bad_disk, setup, teardown),
        cmocka_unit_test_setup_teardown(what_cannot_be_booked_is_not_begun, setup, teardown),
    };
    if (argc > 1 && !strcmp(argv[1], "all"))
        stride = 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
