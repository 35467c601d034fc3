#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "books/books.h"
#include "ledger_place.h"

static int keep(void *arg, const struct books_balance *b)
{
    struct books_balance **at = arg;
    *(*at)++ = *b;
    return 0;
}

static int balances(struct books_balance out[8])
{
    struct books_balance *at = out;
    struct err e = {0};

    assert_int_equal(books_balances(path, keep, &at, &e), 0);
    return (int)(at - out);
}

static void rows_are_a_pool(void **state)
{
    struct books_row *r, *first = NULL;
    struct books *l = NULL;
    struct err e = {0};
    int n = 0;

    assert_int_equal(books_open(&l, path, 0, &e), 0);
    while ((r = books_take(l))) {
        first = first ? first : r;
        n++;
    }
    assert_int_equal(n, BOOKS_ROWS_MAX);
    books_give(l, first);
    assert_ptr_equal(books_take(l), first);
    books_close(l);
}

/* ---- a disk that fails ---- */

/* Nothing may be written into files of this process, as on a full disk; SQLite reports it. */
static void disk_full(int on)
{
    struct rlimit l;

    assert_int_equal(getrlimit(RLIMIT_FSIZE, &l), 0);
    l.rlim_cur = on ? 0 : l.rlim_max;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &l), 0);
}

static void post(struct books *l, const char *id)
{
    struct books_row *r = books_take(l);

    snprintf(r->request_id, sizeof r->request_id, "%s", id);
    strcpy(r->tenant, "t");
    books_post(l, r);
}

/* Standard error into a pipe: what is logged meanwhile. */
static int caught[2], saved_stderr;

static void catch_log(void)
{
    assert_int_equal(pipe2(caught, O_NONBLOCK | O_CLOEXEC), 0);
    saved_stderr = dup(2);
    dup2(caught[1], 2);
}

static void release_log(char *out, size_t cap)
{
    ssize_t n;

    dup2(saved_stderr, 2);
    close(saved_stderr);
    close(caught[1]);
    n = read(caught[0], out, cap - 1);
    out[n > 0 ? n : 0] = 0;
    close(caught[0]);
}

static int lines_with(const char *text, const char *what)
{
    int n = 0;

    while ((text = strstr(text, what))) {
        n++;
        text += strlen(what);
    }
    return n;
}

static void a_row_is_booked_once(void **state)
{
    struct books_balance b[8];
    struct books *l = NULL;
    struct books_row *r;
    struct err e = {0};
    char log[8192];

    assert_int_equal(books_open(&l, path, 0, &e), 0);
    catch_log();
    for (int i = 0; i < 3; i++) { /* told twice, and then another of the same id */
        r = books_take(l);
        strcpy(r->request_id, "same");
        strcpy(r->tenant, "t");
        r->prompt_tokens = i < 2 ? 5 : 6;
        books_post(l, r);
    }
    assert_int_equal(books_close(l), 0);
    release_log(log, sizeof log);
    assert_int_equal(balances(b), 1);
    assert_int_equal(b[0].prompt_tokens, 5);
    assert_int_equal(lines_with(log, "another request has the id same; not booked: 6 tokens"), 1);
}

static void full_disk_and_back(void **state)
{
    struct books_balance b[8];
    int64_t now = 1000000, written, pending, failures;
    struct books *l = NULL;
    struct err e = {0};
    char log[8192];

    if (!place_is_file())
        skip();
    assert_int_equal(books_open(&l, path, 0, &e), 0);
    catch_log();
    for (int round = 1; round <= 2; round++) { /* the second failure is told as the first was */
        disk_full(1);
        post(l, round == 1 ? "one" : "two");
        assert_int_equal(books_step(l, now), 100000); /* more may come for the same commit */
        assert_int_equal(books_step(l, now += 99999), 1);
        for (int i = 0; i < 2; i++)
            assert_int_equal(books_step(l, now += 1000000), 1000000);
        disk_full(0);
        assert_int_equal(books_step(l, now += 999999), 1);
        assert_int_equal(books_step(l, now += 1), -1);
        books_stats(l, &written, &pending, &failures);
        assert_int_equal(written, round);
        assert_int_equal(pending, 0);
        assert_int_equal(failures, 2 * round);
    }
    assert_int_equal(books_close(l), 0);
    release_log(log, sizeof log);
    assert_int_equal(lines_with(log, "1 row cannot be written"), 2);
    assert_int_equal(lines_with(log, "written again, 1 row, after 2 failed tries in 2 s"), 2);
    assert_int_equal(balances(b), 1);
    assert_int_equal(b[0].n_requests, 2);
}

static void full_disk_to_the_end(void **state)
{
    struct books_balance b[8];
    struct books *l = NULL;
    struct err e = {0};
    char log[8192];

    if (!place_is_file())
        skip();
    assert_int_equal(books_open(&l, path, 0, &e), 0);
    assert_int_equal(books_start(l, &e), 0);
    catch_log();
    disk_full(1);
    post(l, "one");
    post(l, "two");
    assert_int_equal(books_close(l), 2);
    disk_full(0);
    release_log(log, sizeof log);
    assert_int_equal(lines_with(log, "2 rows were lost"), 1);
    assert_int_equal(balances(b), 0);
}

static int mode_of(const char *suffix)
{
    char name[sizeof path + 8];
    struct stat st;

    snprintf(name, sizeof name, "%s%s", path, suffix);
    return stat(name, &st) ? -1 : (int)(st.st_mode & 0777);
}

static void files_are_private(void **state)
{
    mode_t mask = umask(0);
    struct books *l = NULL;
    struct err e = {0};

    if (!place_is_file())
        skip();
    for (int i = 0; i < 2; i++) {
        assert_int_equal(books_open(&l, path, 0, &e), 0);
        assert_int_equal(mode_of(""), 0600);
        assert_int_equal(mode_of("-wal"), 0600);
        assert_int_equal(mode_of("-shm"), 0600);
        assert_int_equal(mode_of("-rows"), 0600);
        books_close(l);
        assert_int_equal(chmod(path, 0644), 0); /* as another version left it */
    }
    umask(mask);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_row_is_booked_once, place_make, place_clear),
        cmocka_unit_test_setup_teardown(rows_are_a_pool, place_make, place_clear),
        cmocka_unit_test_setup_teardown(full_disk_and_back, place_make, place_clear),
        cmocka_unit_test_setup_teardown(full_disk_to_the_end, place_make, place_clear),
        cmocka_unit_test_setup_teardown(files_are_private, place_make, place_clear),
    };
    signal(SIGXFSZ, SIG_IGN); /* as the program does */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
