/* The fields of accounts, lists of names and networks, and the store on SQLite. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "cloud/accounts.h"

static void names(void **state)
{
    assert_true(account_names_have("a,b*", "a"));
    assert_true(account_names_have("a,b*", "b"));
    assert_true(account_names_have("a,b*", "bcd"));
    assert_true(account_names_have("*", "x/y"));
    assert_false(account_names_have("a,b*", "ab"));
    assert_false(account_names_have("a,b*", ""));
    assert_false(account_names_have("", "a"));
    assert_true(account_name_ok("a-b_c.d:1"));
    assert_false(account_name_ok("a/b"));
    assert_false(account_name_ok(""));
}

static void networks(void **state)
{
    static const struct {
        const char *list, *address;
        int has;
    } cases[] = {
        {"10.0.0.0/8", "10.255.0.1", 1},
        {"10.0.0.0/8", "11.0.0.1", 0},
        {"10.0.0.0/9", "10.127.1.1", 1},
        {"10.0.0.0/9", "10.128.1.1", 0},
        {"192.168.1.7", "192.168.1.7", 1},
        {"192.168.1.7", "192.168.1.6", 0},
        {"0.0.0.0/0", "1.2.3.4", 1},
        {"0.0.0.0/0", "2001:db8::1", 0},
        {"::/0", "2001:db8::1", 1},
        {"2001:db8::/33", "2001:db8:7fff::1", 1},
        {"2001:db8::/33", "2001:db8:8000::", 0},
        {"10.0.0.0/8", "::ffff:10.1.1.1", 1},
        {"::1,10.0.0.0/8", "10.1.1.1", 1},
        {"10.0.0.0/8", "not an address", 0},
        {"10.0.0.0/8", "", 0},
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        if (account_networks_have(cases[i].list, cases[i].address) != cases[i].has)
            fail_msg("%s in %s", cases[i].address, cases[i].list);
    }
}

static void lists_are_in_order(void **state)
{
    const struct account_field *f = account_field_find("labels");
    struct account_settings s = account_unsaid();
    char text[ACCOUNT_TEXT_MAX];
    struct err e;

    assert_false(account_field_show(&s, f, text));
    assert_int_equal(account_field_set(&s, f, "env=prod,a=1,env=prod", &e), 0);
    assert_true(account_field_show(&s, f, text));
    assert_string_equal(text, "a=1,env=prod");
    assert_int_equal(account_field_set(&s, f, "a=1,a=2", &e), ERR_ARG);
    assert_true(account_field_show(&s, f, text)); /* nothing has changed */
    assert_string_equal(text, "a=1,env=prod");
    f = account_field_find("expires");
    assert_int_equal(account_field_set(&s, f, "2027-01-31T18:00:00Z", &e), 0);
    assert_true(account_field_show(&s, f, text));
    assert_string_equal(text, "2027-01-31T18:00:00Z");
    assert_int_equal(account_field_set(&s, f, "2027-01-31 18:00", &e), ERR_ARG);
    assert_int_equal(account_field_set(&s, f, "2027-02-29", &e), ERR_ARG);
    assert_int_equal(account_field_set(&s, f, "2027-01-31T24:00:00Z", &e), ERR_ARG);
    assert_null(account_field_find("expire"));
    account_done(&s);
}

/* ---- the store ------------------------------------------------------------------------------- */

static char dir[64], path[128];

static int setup(void **state)
{
    log_setup(LOG_OFF, 0);
    strcpy(dir, "/tmp/gaufre-accounts-XXXXXX");
    if (!mkdtemp(dir))
        return -1;
    snprintf(path, sizeof path, "%s/accounts.db", dir);
    return 0;
}

static int teardown(void **state)
{
    char cmd[128];

    snprintf(cmd, sizeof cmd, "rm -r %s", dir);
    return system(cmd);
}

static const struct account_who who = {"test", 1000};

static int count(void *arg, struct account_row *r)
{
    ++*(int *)arg;
    return 0;
}

static int n_changed(struct accounts *a, int64_t after)
{
    struct err e;
    int n = 0;

    assert_int_equal(accounts_each(a, -1, after, count, &n, &e), 0);
    return n;
}

static void what_changed_is_read(void **state)
{
    const struct account_change set = {"tokens_per_day", "5"}, bad = {"expires", "2027-01-01"};
    char key[ACCOUNTS_KEY_MAX];
    struct accounts *a = NULL;
    struct account_row row;
    struct err e = {0};
    int64_t before, now, lines;
    int closed = 1;

    assert_int_equal(accounts_open(&a, path, &e), 0);
    assert_int_equal(accounts_is_closed(a, &closed, &e), 0);
    assert_false(closed);
    assert_int_equal(accounts_new(a, &who, ACCOUNT_TENANT, "acme", &set, 1, &e), 0);
    assert_int_equal(accounts_new(a, &who, ACCOUNT_TENANT, "acme", NULL, 0, &e), ERR_EXISTS);
    assert_int_equal(accounts_new(a, &who, ACCOUNT_TEAM, "acme/x", NULL, 0, &e), 0);
    assert_int_equal(accounts_new(a, &who, ACCOUNT_TEAM, "none/x", NULL, 0, &e), ERR_NOTFOUND);
    assert_int_equal(accounts_generation(a, &before, &e), 0);
    assert_int_equal(accounts_set(a, &who, ACCOUNT_TENANT, "acme", &bad, 1, &e), ERR_ARG);
    assert_int_equal(accounts_generation(a, &now, &e), 0);
    assert_int_equal(now, before); /* what is refused leaves nothing */
    assert_int_equal(accounts_new_key(a, &who, "k", "acme", "x", NULL, 0, key, &e), 0);
    assert_int_equal(n_changed(a, before), 1);
    assert_int_equal(n_changed(a, -1), 3);
    assert_int_equal(accounts_get(a, ACCOUNT_TENANT, "acme", &row, &e), 0);
    assert_int_equal(row.settings.tokens_per_day, 5);
    account_done(&row.settings);
    assert_int_equal(accounts_get(a, ACCOUNT_KEY, "k", &row, &e), 0);
    assert_string_equal(row.team, "acme/x");
    assert_int_equal(row.n_secrets, 1);
    account_done(&row.settings);
    assert_int_equal(accounts_is_closed(a, &closed, &e), 0);
    assert_true(closed);
    assert_int_equal(accounts_remove(a, &who, ACCOUNT_TENANT, "acme", &e), ERR_EXISTS);
    assert_int_equal(accounts_revoke(a, &who, "k", &e), 0);
    assert_int_equal(accounts_remove(a, &who, ACCOUNT_KEY, "k", &e), 0);
    assert_int_equal(accounts_get(a, ACCOUNT_KEY, "k", &row, &e), ERR_NOTFOUND);
    assert_int_equal(accounts_remove(a, &who, ACCOUNT_TEAM, "acme/x", &e), 0);
    assert_int_equal(accounts_remove(a, &who, ACCOUNT_TENANT, "acme", &e), 0);
    assert_int_equal(accounts_audit_check(a, &lines, &e), 0);
    assert_int_equal(lines, 7);
    accounts_close(a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names),
        cmocka_unit_test(networks),
        cmocka_unit_test(lists_are_in_order),
        cmocka_unit_test_setup_teardown(what_changed_is_read, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
