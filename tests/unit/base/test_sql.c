/* A database behind one door: SQLite in memory and in a file, and PostgreSQL that does not answer.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/check.h"
#include "base/sql.h"

static int show_row(void *arg, const struct sql_row *r)
{
    char *to = arg;

    snprintf(to + strlen(to), 200 - strlen(to), "%s=%lld%s;", sql_text(r, 0),
             (long long)sql_number(r, 1), sql_is_null(r, 2) ? " null" : "");
    return 0;
}

static int refuse(void *arg, const struct sql_row *r)
{
    struct err *e = arg;

    return err_set(e, ERR_LIMIT, "enough");
}

static void statements_and_values(void **state)
{
    struct sql *s = NULL;
    struct err e = {0};
    char seen[200] = "";
    int64_t changed = 0;

    assert_int_equal(sql_open_memory(&s, &e), 0);
    assert_int_equal(sql_make(s, "CREATE TABLE t (k TEXT PRIMARY KEY, n BIGINT, m BIGINT)", &e), 0);
    for (int i = 0; i < 3; i++) { /* parameters in another order than they are written, and twice */
        char name[2] = {(char)('a' + i), 0};
        const struct sql_value v[] = {SQL_NUMBER(i), SQL_TEXT(name), i ? SQL_NUMBER(1) : SQL_NULL};
        assert_int_equal(sql_run(s, "INSERT INTO t VALUES ($2, $1 + $1, $3)", v, 3, &changed, &e),
                         0);
        assert_int_equal(changed, 1);
    }
    assert_int_equal(sql_run(s, "INSERT INTO t VALUES ('a', 1, 1)", NULL, 0, NULL, &e), ERR_EXISTS);
    assert_int_not_equal(sql_code(s), 0);
    assert_int_equal(sql_each(s, "SELECT k, n, m FROM t ORDER BY k", NULL, 0, show_row, seen, &e),
                     0);
    assert_string_equal(seen, "a=0 null;b=2;c=4;");
    assert_int_equal(sql_each(s, "SELECT k, n, m FROM t", NULL, 0, refuse, &e, &e), ERR_LIMIT);
    assert_string_equal(e.text, "enough");
    assert_int_equal(sql_run(s, "no such thing", NULL, 0, NULL, &e), ERR_IO);
    sql_close(s);
}

/* More different statements than are kept prepared. */
static void many_statements(void **state)
{
    struct sql *s = NULL;
    struct err e = {0};

    assert_int_equal(sql_open_memory(&s, &e), 0);
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < 100; i++) {
            char text[64], seen[200] = "", want[64];
            snprintf(text, sizeof text, "SELECT 'x', $1 + %d, 0", i);
            assert_int_equal(
                sql_each(s, text, (struct sql_value[]){SQL_NUMBER(round)}, 1, show_row, seen, &e),
                0);
            snprintf(want, sizeof want, "x=%d;", i + round);
            assert_string_equal(seen, want);
        }
    }
    sql_close(s);
}

static void transactions_and_versions(void **state)
{
    char dir[] = "/tmp/gaufre-sql-XXXXXX", path[64], copy[64], text[100], seen[200] = "";
    struct sql *s = NULL, *other = NULL;
    struct err e = {0};
    int version = -1;

    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/a.db", dir);
    snprintf(copy, sizeof copy, "%s/b.db", dir);
    assert_int_equal(
        sql_open_how(&s, path, &(struct sql_how){.what = "ledger", .must_exist = 1}, &e), ERR_IO);
    assert_non_null(strstr(e.text, "ledger /tmp"));
    assert_int_equal(sql_open(&s, path, &e), 0);
    assert_int_equal(sql_version(s, &version, &e), 0);
    assert_int_equal(version, 0);
    assert_int_equal(sql_begin_alone(s, &e), 0);
    assert_int_equal(sql_make(s, "CREATE TABLE t (k TEXT, n BIGINT, m BIGINT)", &e), 0);
    assert_int_equal(sql_set_version(s, 7, &e), 0);
    assert_int_equal(sql_commit(s, &e), 0);
    assert_int_equal(sql_begin(s, &e), 0);
    assert_int_equal(sql_exec(s, "INSERT INTO t VALUES ('gone', 1, 1)", &e), 0);
    sql_rollback(s);
    sql_rollback(s); /* one too many is nothing */
    assert_int_equal(sql_open(&other, path, &e), 0);
    assert_int_equal(sql_begin_read(other, &e), 0);
    assert_int_equal(sql_version(other, &version, &e), 0);
    assert_int_equal(version, 7);
    assert_int_equal(sql_exec(s, "INSERT INTO t VALUES ('new', 1, 1)", &e), 0);
    assert_int_equal(sql_each(other, "SELECT k, n, m FROM t", NULL, 0, show_row, seen, &e), 0);
    assert_string_equal(seen, ""); /* of the moment at which it began */
    assert_int_equal(sql_commit(other, &e), 0);
    sql_close(other);
    assert_int_equal(sql_copy(s, copy, &e), 0);
    sql_close(s);
    assert_int_equal(sql_open_how(&s, copy, &(struct sql_how){.must_exist = 1}, &e), 0);
    assert_int_equal(sql_each(s, "SELECT k, n, m FROM t", NULL, 0, show_row, seen, &e), 0);
    assert_string_equal(seen, "new=1;");
    sql_close(s);
    snprintf(text, sizeof text, "rm -r %s", dir);
    assert_int_equal(system(text), 0);
}

static void urls_are_not_shown(void **state)
{
    assert_string_equal(sql_name("/var/ledger.db"), "/var/ledger.db");
    assert_string_equal(sql_name("postgres://me:secret@host/db"), "in PostgreSQL");
    assert_true(sql_is_url("postgresql:///db"));
    assert_false(sql_is_url("postgres.db"));
    assert_string_equal(sql_name("Postgresql://me:secret@host/db"), "at another URL");
}

/* Passwords with bytes that a URL wants written otherwise, and what is no URL of a database. */
static void urls_that_are_not_clear(void **state)
{
    static const char *const urls[] = {
        "postgresql://me:sec/ret@127.0.0.1:1/db",
        "postgresql://me:12/ret@127.0.0.1:1/db",
        "postgresql://me:sec@ret@127.0.0.1:1/db",
        "postgresql://me:sec%zzret@127.0.0.1:1/db",
        "postgresql://me:ret/db",
        "postgresql://127.0.0.1:1/db?password=sec&ret",
        "mysql://me:ret@127.0.0.1:1/db",
        " postgresql://me:ret@127.0.0.1:1/db",
    };

    for (size_t i = 0; i < ARRAY_LEN(urls); i++) {
        struct sql *s = NULL;
        struct err e = {0};
        int r = sql_open(&s, urls[i], &e);
        if (r == ERR_UNSUPPORTED)
            skip(); /* no libpq */
        assert_int_equal(r, ERR_ARG);
        assert_null(strstr(e.text, "sec"));
        assert_null(strstr(e.text, "ret"));
        assert_null(strstr(e.text, "12"));
    }
}

/* Somebody takes the connection and never says a word. Nothing here measures the time: without a
 * limit the test would not end. */
static void a_server_that_does_not_answer(void **state)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof a;
    struct sql *s = NULL;
    struct err e = {0};
    char url[100];
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), r;

    assert_true(fd >= 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof a), 0);
    assert_int_equal(listen(fd, 8), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&a, &len), 0);
    snprintf(url, sizeof url, "postgresql://u:secret@127.0.0.1:%d/d?sslmode=disable",
             ntohs(a.sin_port));
    r = sql_open(&s, url, &e);
    close(fd);
    if (r == ERR_UNSUPPORTED)
        skip(); /* no libpq */
    assert_int_equal(r, ERR_IO);
    assert_non_null(strstr(e.text, "in PostgreSQL"));
    assert_null(strstr(e.text, "secret"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(statements_and_values),
        cmocka_unit_test(many_statements),
        cmocka_unit_test(transactions_and_versions),
        cmocka_unit_test(urls_are_not_shown),
        cmocka_unit_test(urls_that_are_not_clear),
        cmocka_unit_test(a_server_that_does_not_answer),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
