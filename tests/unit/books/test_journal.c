/* The journal: what is read is what was written, whatever happened to the file in between. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <signal.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "books/ledger_sql.h"
#include "books/settle.h"

#define GROUPS   4
#define EACH     3 /* rows of a group */
#define ROWS     (GROUPS * EACH)
#define FILE_MAX 16384

static char dir[64], ledger[96], path[112];
static unsigned char whole[FILE_MAX];        /* a journal of GROUPS groups */
static size_t n_whole, at_group[GROUPS + 1]; /* where each begins, and the last ends */

static int setup(void **state)
{
    log_setup(LOG_OFF, 0);
    strcpy(dir, "/tmp/gaufre-journal-XXXXXX");
    if (!mkdtemp(dir))
        return -1;
    snprintf(ledger, sizeof ledger, "%s/ledger.db", dir);
    snprintf(path, sizeof path, "%s-rows", ledger);
    return 0;
}

static int teardown(void **state)
{
    char cmd[128];

    snprintf(cmd, sizeof cmd, "rm -r %s", dir);
    return system(cmd);
}

/* ---- files ----------------------------------------------------------------------------------- */

static void put_file(const void *p, size_t n)
{
    FILE *f = fopen(path, "wb");

    assert_non_null(f);
    assert_int_equal(fwrite(p, 1, n, f), n);
    fclose(f);
}

static size_t get_file(void *p)
{
    FILE *f = fopen(path, "rb");
    size_t n;

    assert_non_null(f);
    n = fread(p, 1, FILE_MAX, f);
    fclose(f);
    return n;
}

static struct journal *open_journal(enum journal_how how, int is_loose)
{
    struct journal *j = NULL;
    struct err e = {0};

    if (journal_open(&j, ledger, 0, how, is_loose, &e))
        fail_msg("%s", e.text);
    return j;
}

static void make_row(struct books_row *r, int i)
{
    *r = (struct books_row){.at_us = 1000 + i, .prompt_tokens = i + 1, .status = 200};
    snprintf(r->request_id, sizeof r->request_id, "req_%d", i);
    snprintf(r->tenant, sizeof r->tenant, "t");
    snprintf(r->model, sizeof r->model, "%.*s", i % 7, "abcdefg"); /* records of many sizes */
}

static void append(struct journal *j, int first, int n)
{
    struct books_row row[ROWS], *list[ROWS];

    for (int i = 0; i < n; i++) {
        make_row(&row[i], first + i);
        list[i] = &row[i];
    }
    assert_int_equal(journal_append(j, list, n), 0);
}

static void make_whole(int is_loose)
{
    struct journal *j = open_journal(JOURNAL_MAKE, is_loose);

    for (int g = 0; g < GROUPS; g++) {
        at_group[g] = (size_t)journal_bytes(j);
        append(j, g * EACH, EACH);
    }
    at_group[GROUPS] = (size_t)journal_bytes(j);
    journal_close(j);
    n_whole = get_file(whole);
    assert_int_equal(n_whole, at_group[GROUPS]);
}

/* All rows of the file, a few at a time: has[i] where row i is there. Returns 0 or the error. */
static int read_all(int has[ROWS], int *ret_n, struct err *e)
{
    struct journal *j = open_journal(JOURNAL_HAVE, 0);
    struct books_row row[5], want;
    int n, i;

    memset(has, 0, ROWS * sizeof *has);
    *ret_n = 0;
    while ((n = journal_read(j, row, 5, e)) > 0) {
        for (int k = 0; k < n; k++) {
            assert_int_equal(sscanf(row[k].request_id, "req_%d", &i), 1);
            assert_in_range(i, 0, ROWS - 1);
            make_row(&want, i);
            assert_memory_equal(&row[k], &want, sizeof want);
            assert_false(has[i]);
            has[i] = 1;
            ++*ret_n;
        }
        assert_int_equal(journal_read(j, row, 5, e) < 0 ? 0 : n, n); /* again until kept */
        journal_keep(j);
    }
    journal_close(j);
    return n;
}

static void expect_first(int n_rows)
{
    struct err e = {0};
    int has[ROWS], n;

    if (read_all(has, &n, &e))
        fail_msg("%s", e.text);
    assert_int_equal(n, n_rows);
    for (int i = 0; i < n; i++)
        assert_true(has[i]);
}

/* Where record i begins. */
static size_t at_record(int i)
{
    uint16_t size;
    size_t at = 0;

    for (int k = 0; k < i; k++) {
        memcpy(&size, whole + at + 12, sizeof size);
        at += size;
    }
    return at;
}

/* ---- as it was written ----------------------------------------------------------------------- */

/* Each field of a row is another one. */
static void every_field_comes_back(void **state)
{
    struct books_row r = {0}, back[2], *list[] = {&r};
    struct journal *j = open_journal(JOURNAL_MAKE, 0);
    struct err e = {0};
    int64_t n = INT64_MIN;

#define FILL_LONG(name) r.name = n++;
#define FILL_INT(name)  r.name = (int)(n++ & 0x7fffffff) - 7;
#define FILL_TEXT(name)                                                                            \
    memset(r.name, 'a' + (int)(n++ & 15), sizeof r.name - 1); /* as long as it can be */
#define FILL(kind, name) FILL_##kind(name)
    LEDGER_FIELDS(FILL)
    assert_int_equal(journal_append(j, list, 1), 0);
    assert_true(journal_bytes(j) <= JOURNAL_RECORD_MAX);
    assert_int_equal(journal_read(j, back, 2, &e), 1);
    assert_memory_equal(&back[0], &r, sizeof r);
    journal_keep(j);
    assert_int_equal(journal_read(j, back, 2, &e), 0);
    assert_int_equal(journal_restart(j), 0);
    assert_int_equal(journal_bytes(j), 0);
    assert_int_equal(journal_salt(j), 0);
    journal_close(j);
}

static void an_empty_file(void **state)
{
    struct journal *j = NULL;
    struct err e = {0};

    assert_int_equal(journal_open(&j, ledger, 0, JOURNAL_HAVE, 0, &e), ERR_NOTFOUND);
    put_file("", 0);
    expect_first(0);
}

static void one_has_it(void **state)
{
    struct journal *j = open_journal(JOURNAL_MAKE, 0), *other = NULL;
    struct err e = {0};

    assert_int_equal(journal_open(&other, ledger, 0, JOURNAL_HAVE, 0, &e), ERR_AGAIN);
    assert_int_equal(journal_open(&other, ledger, 1, JOURNAL_MAKE, 0, &e), 0);
    journal_close(other);
    other = NULL;
    append(j, 0, 2);
    assert_int_equal(journal_open(&other, ledger, 0, JOURNAL_LOOK, 0, &e), 0);
    assert_true(journal_salt(other) != 0);
    journal_close(other);
    journal_close(j);
    expect_first(2);
}

/* ---- torn ------------------------------------------------------------------------------------ */

/* The last group is cut at any byte, and what came of it before is taken. */
static void torn_at_every_byte(void **state)
{
    int n = ROWS - EACH;

    make_whole(0);
    for (size_t cut = at_group[GROUPS - 1]; cut < n_whole; cut++) {
        put_file(whole, cut);
        while (n < ROWS - 1 && at_record(n + 1) <= cut)
            n++;
        expect_first(n);
    }
    put_file(whole, n_whole);
    expect_first(ROWS);
}

/* A flipped bit anywhere in the last group, and any part of it that never came. */
static void the_last_group_is_not_whole(void **state)
{
    unsigned char file[FILE_MAX];

    make_whole(0);
    for (size_t at = at_group[GROUPS - 1]; at < n_whole; at++) {
        int n = ROWS - EACH;
        while (at_record(n + 1) <= at)
            n++;
        memcpy(file, whole, n_whole);
        file[at] ^= (unsigned char)(1 << at % 8);
        put_file(file, n_whole);
        expect_first(n);
        memcpy(file, whole, n_whole);
        memset(file + at, 0, n_whole - at > 64 ? 64 : n_whole - at);
        put_file(file, n_whole);
        for (size_t first = at; n < ROWS && file[first] == whole[first]; first++) {
            if (first + 1 == at_record(n + 1)) /* zeros behind its texts, which were there before */
                n++;
        }
        expect_first(n);
    }
}

/* Without flushes any part may be missing, and nothing is said about it. */
static void loose_ones_have_holes(void **state)
{
    unsigned char file[FILE_MAX];

    make_whole(1);
    memcpy(file, whole, n_whole);
    memset(file + at_group[1], 0, 64);
    put_file(file, n_whole);
    expect_first(EACH);
}

/* ---- damaged --------------------------------------------------------------------------------- */

/* A flipped bit in a group before the last: all other rows are read, and the error says where. */
static void damage_is_an_error(void **state)
{
    unsigned char file[FILE_MAX], after[FILE_MAX];
    char from[32];

    make_whole(0);
    for (size_t at = 0; at < at_group[GROUPS - 1]; at++) {
        struct err e = {0};
        int has[ROWS], n, bad = 0;
        if (at == 11) /* which would be another version */
            continue;
        while (at_record(bad + 1) <= at)
            bad++;
        memcpy(file, whole, n_whole);
        file[at] ^= (unsigned char)(1 << at % 8);
        put_file(file, n_whole);
        if (at >= 14 && at < 16 && (file[at] > whole[at])) /* more fields: another version too */
            continue;
        assert_int_equal(read_all(has, &n, &e), ERR_FORMAT);
        assert_int_equal(n, ROWS - 1);
        assert_false(has[bad]);
        snprintf(from, sizeof from, "bytes %zu to %zu ", at_record(bad), at_record(bad + 1));
        assert_non_null(strstr(e.text, from));
        assert_int_equal(get_file(after), n_whole); /* it stays as it is */
        assert_memory_equal(after, file, n_whole);
    }
}

/* Two holes, and a whole group that is gone. */
static void much_damage(void **state)
{
    unsigned char file[FILE_MAX];
    struct err e = {0};
    int has[ROWS], n;

    make_whole(0);
    memcpy(file, whole, n_whole);
    memset(file, 0, at_group[1]);
    file[at_record(2 * EACH + 1) + 40] ^= 1;
    put_file(file, n_whole);
    assert_int_equal(read_all(has, &n, &e), ERR_FORMAT);
    assert_int_equal(n, ROWS - EACH - 1);
    memcpy(file, whole, at_group[1]);
    memcpy(file + at_group[1], whole + at_group[2], n_whole - at_group[2]);
    put_file(file, n_whole - (at_group[2] - at_group[1]));
    assert_int_equal(read_all(has, &n, &e), ERR_FORMAT);
    assert_int_equal(n, ROWS - EACH);
    for (size_t i = 0; i < n_whole; i++)
        file[i] = (unsigned char)(i * 37);
    put_file(file, n_whole); /* nothing of it is a journal, and nothing shows that it was one */
    expect_first(0);
}

/* ---- versions -------------------------------------------------------------------------------- */

static void sign(unsigned char *record)
{
    static const unsigned char key[crypto_shorthash_KEYBYTES];
    uint16_t size;

    memcpy(&size, record + 12, sizeof size);
    crypto_shorthash(record, record + 8, size - 8u, key);
}

static void a_later_version(void **state)
{
    struct journal *j = NULL;
    struct err e = {0};

    for (int i = 0; i < 2; i++) {
        make_whole(0);
        whole[i ? 14 : 11]++; /* the version; one field more */
        sign(whole);
        put_file(whole, n_whole);
        assert_int_equal(journal_open(&j, ledger, 0, JOURNAL_MAKE, 0, &e), ERR_UNSUPPORTED);
        assert_non_null(strstr(e.text, "later version"));
        assert_int_equal(get_file(whole), n_whole);
        assert_int_equal(unlink(path), 0);
    }
}

/* A record that has not yet the last eleven fields, as it was before those were made. */
static void an_earlier_version(void **state)
{
    struct books_row row[2];
    struct err e = {0};
    struct journal *j;
    uint16_t n;

    make_whole(0);
    memcpy(&n, whole + 14, sizeof n);
    assert_int_equal(n, LEDGER_SEQ);
    n -= 11;
    memcpy(whole + 14, &n, sizeof n);
    memcpy(&n, whole + 12, sizeof n);
    n -= 32; /* two numbers and nine empty texts of two bytes each, less what fills up */
    memcpy(whole + 12, &n, sizeof n);
    whole[20] = 1; /* the first of its group and the last */
    memset(whole + 28, 0, 4);
    sign(whole);
    put_file(whole, n);
    j = open_journal(JOURNAL_HAVE, 0);
    assert_int_equal(journal_read(j, row, 2, &e), 1);
    assert_string_equal(row[0].request_id, "req_0");
    assert_int_equal(row[0].prompt_tokens, 1);
    assert_int_equal(row[0].carbon_market_ug, -1); /* unknown: it was not asked */
    assert_string_equal(row[0].contract, "");
    journal_close(j);
}

/* ---- a disk that is full --------------------------------------------------------------------- */

static void full_at(rlim_t size)
{
    struct rlimit l;

    assert_int_equal(getrlimit(RLIMIT_FSIZE, &l), 0);
    l.rlim_cur = size < l.rlim_max ? size : l.rlim_max;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &l), 0);
}

/* Wherever the disk is full, the group is appended again, with another row behind it. */
static void full_at_every_byte(void **state)
{
    make_whole(0);
    for (size_t size = at_group[0]; size < at_group[1]; size += 3) {
        struct journal *j = open_journal(JOURNAL_MAKE, 0);
        struct books_row row[EACH], *list[EACH];
        const char *why;
        assert_int_equal(journal_restart(j), 0);
        for (int i = 0; i < EACH; i++) {
            make_row(&row[i], i);
            list[i] = &row[i];
        }
        full_at(size);
        assert_int_equal(journal_append(j, list, EACH), -1);
        full_at(RLIM_INFINITY);
        journal_failure(j, &why);
        assert_non_null(strstr(why, "File too large"));
        append(j, 0, EACH + 1);
        append(j, EACH + 1, 2);
        journal_close(j);
        expect_first(EACH + 3);
    }
}

/* ---- into the ledger ------------------------------------------------------------------------- */

static int count(void *arg, const struct books_balance *b)
{
    *(int64_t *)arg += b->n_requests;
    return 0;
}

static int64_t n_booked(void)
{
    struct err e = {0};
    int64_t n = 0, n_rows = 0;

    if (books_balances(ledger, count, &n, &e) || books_audit(ledger, &n_rows, &e))
        fail_msg("%s", e.text);
    assert_int_equal(n, n_rows);
    return n;
}

/* A process died; a server that starts has its rows, and so has whoever looks. Once. */
static void what_was_left_is_booked_once(void **state)
{
    struct books *b = NULL;
    struct err e = {0};

    assert_int_equal(books_open(&b, ledger, 0, &e), 0);
    assert_int_equal(books_close(b), 0);
    make_whole(0);
    assert_int_equal(books_open(&b, ledger, 0, &e), 0);
    assert_int_equal(get_file(whole + n_whole), 0);
    assert_int_equal(n_booked(), ROWS);
    assert_int_equal(books_close(b), 0);
    for (int i = 0; i < 2; i++) { /* emptied, and then the power was lost */
        put_file(whole, n_whole);
        assert_int_equal(n_booked(), ROWS);
        assert_int_equal(get_file(whole + n_whole), 0);
    }
    put_file(whole, n_whole - 5);
    assert_int_equal(books_open(&b, ledger, 0, &e), 0);
    assert_int_equal(books_close(b), 0);
    assert_int_equal(n_booked(), ROWS);
}

static void damage_holds_nothing_back(void **state)
{
    struct books *b = NULL;
    struct err e = {0};
    char away[128];
    int64_t n;

    assert_int_equal(books_open(&b, ledger, 0, &e), 0);
    assert_int_equal(books_close(b), 0);
    make_whole(0);
    whole[at_record(4) + 50] ^= 1;
    put_file(whole, n_whole);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(books_open(&b, ledger, 0, &e), ERR_FORMAT);
        assert_non_null(strstr(e.text, "move it away"));
        assert_int_equal(books_audit(ledger, &n, &e), ERR_FORMAT);
    }
    assert_int_equal(get_file(whole), n_whole);
    snprintf(away, sizeof away, "%s.away", path);
    assert_int_equal(rename(path, away), 0);
    assert_int_equal(books_open(&b, ledger, 0, &e), 0);
    assert_int_equal(books_close(b), 0);
    assert_int_equal(n_booked(), ROWS - 1);
}

/* Each has a journal of its own. */
static void two_write_one_ledger(void **state)
{
    struct books *b[2] = {NULL};
    struct err e = {0};

    for (int i = 0; i < 2; i++)
        assert_int_equal(books_open(&b[i], ledger, 0, &e), 0);
    for (int i = 0; i < 40; i++) {
        struct books_row *r = books_take(b[i % 2]);
        snprintf(r->request_id, sizeof r->request_id, "req_%d", i);
        strcpy(r->tenant, "t");
        books_post(b[i % 2], r);
    }
    for (int i = 0; i < 2; i++)
        assert_int_equal(books_close(b[i]), 0);
    assert_int_equal(n_booked(), 40);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(every_field_comes_back),
        TEST(an_empty_file),
        TEST(one_has_it),
        TEST(torn_at_every_byte),
        TEST(the_last_group_is_not_whole),
        TEST(loose_ones_have_holes),
        TEST(damage_is_an_error),
        TEST(much_damage),
        TEST(a_later_version),
        TEST(an_earlier_version),
        TEST(full_at_every_byte),
        TEST(what_was_left_is_booked_once),
        TEST(damage_holds_nothing_back),
        TEST(two_write_one_ledger),
    };
    signal(SIGXFSZ, SIG_IGN); /* as the program does */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
