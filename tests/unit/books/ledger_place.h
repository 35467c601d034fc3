/* Where the tests' ledger is: a new SQLite file for each test, or the PostgreSQL of
 * $GAUFRE_TEST_POSTGRES, whose ledger is dropped before each (tests/e2e/test_fleet.py starts one
 * and runs these tests again). */
#ifndef TESTS_LEDGER_PLACE_H
#define TESTS_LEDGER_PLACE_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/sql.h"

static char dir[64], path[512];

static inline int place_is_file(void)
{
    return !sql_is_url(path);
}

static inline struct sql *place_open(void)
{
    const struct sql_how how = {.schema = "gaufre_ledger"};
    struct sql *db = NULL;
    struct err e = {0};

    if (sql_open_how(&db, path, &how, &e))
        fail_msg("%s", e.text);
    return db;
}

/* Change it behind its back. */
static inline void change(const char *sql)
{
    struct sql *db = place_open();
    struct err e = {0};

    if (sql_exec(db, sql, &e))
        fail_msg("%s: %s", sql, e.text);
    sql_close(db);
}

static inline int place_take(void *arg, const struct sql_row *r)
{
    *(int64_t *)arg = sql_number(r, 0);
    return 0;
}

static inline int64_t number(const char *sql)
{
    struct sql *db = place_open();
    struct err e = {0};
    int64_t n = 0;

    if (sql_each(db, sql, NULL, 0, place_take, &n, &e))
        fail_msg("%s: %s", sql, e.text);
    sql_close(db);
    return n;
}

static inline int place_make(void **state)
{
    const char *url = getenv("GAUFRE_TEST_POSTGRES");

    strcpy(dir, "/tmp/gaufre-books-XXXXXX");
    if (!mkdtemp(dir))
        return -1;
    if (url)
        snprintf(path, sizeof path, "%s", url);
    else
        snprintf(path, sizeof path, "%s/ledger.db", dir);
    if (url)
        change("DROP SCHEMA IF EXISTS gaufre_ledger CASCADE");
    return 0;
}

static inline int place_clear(void **state)
{
    char cmd[128];

    snprintf(cmd, sizeof cmd, "rm -r %s", dir);
    return system(cmd);
}

#endif
