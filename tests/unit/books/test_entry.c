/* Double entry, the chain of rows, the audit, and a file of the first version. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/rand.h"
#include "books/entry.h"
#include "books/upkeep.h"
#include "ledger_place.h"

static void sums_to_zero(void **state)
{
    struct posting p[ENTRY_POSTINGS_MAX];
    struct books_row r = {.prompt_tokens = 100,
                          .completion_tokens = 20,
                          .charge_nano = 5000,
                          .cost_nano = 3000,
                          .tenant = "acme",
                          .supplier = "far/m",
                          .currency = "EUR",
                          .carbon_location_ug = -1,
                          .carbon_market_ug = -1};
    int n = entry_of(&r, p);

    assert_int_equal(n, 6);
    assert_string_equal(p[0].account, "supplier:far/m");
    assert_string_equal(p[1].account, "tenant:acme");
    assert_int_equal(p[1].amount, 120);
    assert_string_equal(p[3].account, "tenant:acme");
    assert_string_equal(p[3].unit, "EUR");
    assert_int_equal(p[3].amount, 5000);
    assert_string_equal(p[4].account, "supplier:far/m");
    assert_int_equal(p[4].amount, -3000);
    for (int i = 0; i < n; i += 2)
        assert_int_equal(p[i].amount + p[i + 1].amount, 0);
    r.charge_nano = r.cost_nano = -1; /* without a price nothing is owed yet */
    assert_int_equal(entry_of(&r, p), 2);
    r.prompt_tokens = r.completion_tokens = 0;
    assert_int_equal(entry_of(&r, p), 0);
    r.lost_prompt_tokens = 70; /* owed, and delivered to nobody */
    r.lost_completion_tokens = 9;
    r.cost_nano = 3000;
    assert_int_equal(entry_of(&r, p), 4);
    assert_string_equal(p[0].account, "supplier:far/m");
    assert_int_equal(p[0].amount, -79);
    assert_string_equal(p[1].account, "platform:lost");
    assert_int_equal(p[1].amount, 79);
    assert_string_equal(p[3].account, "platform:cost");
}

static int is_old; /* rows are as they were before there was a log of answers: without a salt */

static struct books_row *take(struct books *b)
{
    struct books_row *r = books_take(b);

    if (is_old)
        r->salt[0] = 0;
    return r;
}

static void post(struct books *b, int i)
{
    struct books_row *r = take(b);
    uint32_t x[4];

    rand_philox(4, (uint64_t)i, 0, x);
    snprintf(r->request_id, sizeof r->request_id, "req_%d", i);
    snprintf(r->tenant, sizeof r->tenant, "t%u", x[0] % 3);
    snprintf(r->supplier, sizeof r->supplier, "s%u/m", x[1] % 2);
    snprintf(r->team, sizeof r->team, "%s", i % 2 ? "t0/blue" : "");
    snprintf(r->labels, sizeof r->labels, "%s",
             i % 3 == 1   ? "cost=7,env=prod"
             : i % 3 == 2 ? "env=test"
                          : "");
    strcpy(r->model, "m");
    strcpy(r->currency, "EUR");
    r->prompt_tokens = x[2] % 1000;
    r->completion_tokens = x[3] % 100;
    r->charge_nano = i == 9 ? -1 : (int64_t)(x[0] % 5000) - 1;
    r->cost_nano = (int64_t)(x[1] % 3000) - 1;
    r->at_us = INT64_C(1800000000000000) + i;
    books_post(b, r);
}

/* Rows of several commits, and of two lives. */
static void fill(int from, int n)
{
    struct books *b = NULL;
    struct err e = {0};

    assert_int_equal(books_open(&b, path, 0, &e), 0);
    for (int i = from; i < from + n; i++) {
        post(b, i);
        if (i % 7 == 0)
            books_step(b, (int64_t)i * 1000000);
    }
    assert_int_equal(books_close(b), 0);
}

static void audit(int64_t rows)
{
    struct err e = {0};
    int64_t n = 0;

    if (books_audit(path, &n, &e))
        fail_msg("%s", e.text);
    assert_int_equal(n, rows);
}

static void differs(const char *how, const char *found)
{
    struct err e = {0};
    int64_t n;

    change(how);
    assert_int_equal(books_audit(path, &n, &e), ERR_FORMAT);
    if (!strstr(e.text, found))
        fail_msg("%s is found as: %s", how, e.text);
}

static void what_was_changed_is_found(void **state)
{
    fill(0, 40);
    fill(40, 20);
    audit(60);
    differs("UPDATE usage SET prompt_tokens = prompt_tokens + 1 WHERE request_id = 'req_31'",
            "req_31");
    change("UPDATE usage SET prompt_tokens = prompt_tokens - 1 WHERE request_id = 'req_31'");
    audit(60);
    differs("UPDATE usage SET tenant = 't9' WHERE request_id = 'req_3'", "req_3 ");
}

static void what_is_gone_is_found(void **state)
{
    fill(0, 30);
    differs("DELETE FROM usage WHERE request_id = 'req_11'", "req_12");
}

static void a_balance_that_lies_is_found(void **state)
{
    fill(0, 30);
    differs("UPDATE account SET amount = amount + 1 WHERE account = 'tenant:t1' AND unit = 'EUR'",
            "tenant:t1");
    change("UPDATE account SET amount = amount - 1 WHERE account = 'tenant:t1' AND unit = 'EUR'");
    audit(30);
    differs("INSERT INTO account VALUES ('tenant:nobody', 'EUR', 5)", "tenant:nobody");
    change("DELETE FROM account WHERE account = 'tenant:nobody'");
    differs("UPDATE balance SET completion_tokens = completion_tokens + 1 WHERE tenant = 't2'",
            "t2");
}

static void accounts_sum_to_zero(void **state)
{
    fill(0, 200);
    assert_int_equal(number("SELECT count(*) FROM (SELECT sum(amount) AS s FROM account GROUP BY "
                            "unit) AS sums WHERE s <> 0"),
                     0);
    assert_int_equal(
        number("SELECT amount FROM account WHERE account = 'platform:revenue' AND unit = 'EUR'"),
        -number("SELECT sum(CASE WHEN charge_nano > 0 THEN charge_nano END) FROM usage"));
    assert_int_equal(number("SELECT amount FROM account WHERE account = 'platform:cost'"),
                     number("SELECT sum(CASE WHEN cost_nano > 0 THEN cost_nano END) FROM usage"));
}

static int add_requests(void *arg, const struct books_sum *s)
{
    *(int64_t *)arg += s->n_requests;
    return 0;
}

static int64_t billed(enum books_by by, const struct books_where *w)
{
    struct err e = {0};
    int64_t n = 0;

    assert_int_equal(books_bill(path, BOOKS_PART(by), w, add_requests, &n, &e), 0);
    return n;
}

static int what_used(enum books_by by, const char *name, int64_t from_us, int64_t until_us,
                     int64_t *ret_tokens, int64_t *ret_nano, struct err *e)
{
    struct books_reader *reader = NULL;
    struct books_used used = {0};
    int r = books_reader_open(&reader, path, e);

    if (!r)
        r = books_used(reader, by, name, from_us, until_us, &used, e);
    *ret_tokens = used.tokens;
    *ret_nano = used.nano;
    books_reader_close(reader);
    return r;
}

static void teams_and_labels_are_booked(void **state)
{
    struct err e = {0};
    int64_t tokens = 0, nano = 0;

    fill(0, 60);
    assert_int_equal(billed(BOOKS_BY_TEAM, &(struct books_where){.team = "t0/blue"}), 30);
    assert_int_equal(billed(BOOKS_BY_LABELS, &(struct books_where){.label = "env=prod"}), 20);
    assert_int_equal(billed(BOOKS_BY_LABELS, &(struct books_where){.label = "cost=7"}), 20);
    assert_int_equal(billed(BOOKS_BY_LABELS, &(struct books_where){.label = "env=pro"}), 0);
    assert_int_equal(what_used(BOOKS_BY_TEAM, "t0/blue", 0, INT64_MAX, &tokens, &nano, &e), 0);
    assert_int_equal(
        tokens,
        number("SELECT sum(prompt_tokens + completion_tokens) FROM usage WHERE team = 't0/blue'"));
    differs("UPDATE usage SET labels = 'env=test' WHERE request_id = 'req_10'", "req_10 ");
}

/* Of three requests one was measured with carbon, one without, and one not at all. */
static void fill_measured(void)
{
    struct books *b = NULL;
    struct err e = {0};

    assert_int_equal(books_open(&b, path, 0, &e), 0);
    for (int i = 0; i < 3; i++) {
        struct books_row *r = take(b);
        snprintf(r->request_id, sizeof r->request_id, "req_%d", i);
        strcpy(r->tenant, "acme");
        strcpy(r->supplier, "far/m");
        r->prompt_tokens = 10;
        r->at_us = INT64_C(1800000000000000) + i;
        r->energy_uj = i < 2 ? 1500 + i : 0;
        r->energy_method = i < 2 ? 4 : 0;
        r->energy_uncertainty = 300;
        if (!i) {
            strcpy(r->site, "oslo");
            r->carbon_location_ug = 70;
            r->carbon_market_ug = 0;
        }
        books_post(b, r);
    }
    assert_int_equal(books_close(b), 0);
}

static void energy_and_carbon_are_booked(void **state)
{
    fill_measured();
    audit(3);
    assert_int_equal(number("SELECT sum(energy_uj) FROM balance"), 3001);
    assert_int_equal(
        number("SELECT amount FROM account WHERE account = 'tenant:acme' AND unit = 'energy'"),
        3001);
    assert_int_equal(
        number("SELECT amount FROM account WHERE account = 'supplier:far/m' AND unit = 'energy'"),
        -3001);
    assert_int_equal(
        number("SELECT amount FROM account WHERE account = 'tenant:acme' AND unit = 'co2loc'"), 70);
    assert_int_equal(/* nothing, and that is known */
                     number("SELECT count(*) FROM account WHERE unit = 'co2mkt' AND amount = 0"),
                     2);
    assert_int_equal(number("SELECT count(*) FROM usage WHERE carbon_market_ug = 0"), 1);
    assert_int_equal(number("SELECT count(*) FROM usage WHERE carbon_market_ug = -1"), 2);
    differs("UPDATE usage SET site = 'rome' WHERE request_id = 'req_0'", "req_0 ");
    change("UPDATE usage SET site = 'oslo' WHERE request_id = 'req_0'");
    audit(3);
    differs("UPDATE usage SET energy_uncertainty = 1 WHERE request_id = 'req_1'", "req_1 ");
    change("UPDATE usage SET energy_uncertainty = 300 WHERE request_id = 'req_1'");
    differs("UPDATE usage SET carbon_market_ug = -1 WHERE request_id = 'req_0'", "req_0 ");
    change("UPDATE usage SET carbon_market_ug = 0 WHERE request_id = 'req_0'");
    differs("UPDATE account SET amount = 3000 WHERE account = 'tenant:acme' AND unit = 'energy'",
            "tenant:acme");
}

/* ---- corrections ---- */

static int count_pending(void *arg, const struct books_row *r)
{
    ++*(int *)arg;
    return 0;
}

static int n_pending(void)
{
    struct err e = {0};
    int n = 0;

    assert_int_equal(books_pending(path, &(struct books_where){0}, count_pending, &n, &e), 0);
    return n;
}

static int correct(const char *id, int64_t charge, int64_t cost, struct books_row *row)
{
    struct err e = {0};

    return books_correct(path, id,
                         &(struct books_wish){.charge_nano = charge < 0 ? NULL : &charge,
                                              .cost_nano = cost < 0 ? NULL : &cost,
                                              .at_us = INT64_C(1800000100000000)},
                         row, &e);
}

static int keep_balance(void *arg, const struct books_balance *b)
{
    struct books_balance **at = arg;
    *(*at)++ = *b;
    return 0;
}

/* Of three requests, one without a price and one that was estimated. */
static void an_amount_is_corrected_by_a_row(void **state)
{
    struct books_balance before[8], after[8], *at = before;
    struct books_row row;
    struct err e = {0};
    int64_t tokens, nano, nano_after;

    {
        struct books *b = NULL;
        struct books_row *r;
        assert_int_equal(books_open(&b, path, 0, &e), 0);
        for (int i = 0; i < 3; i++) {
            r = books_take(b);
            snprintf(r->request_id, sizeof r->request_id, "req_%d", i);
            strcpy(r->tenant, "acme");
            strcpy(r->supplier, "far/m");
            strcpy(r->currency, "EUR");
            r->prompt_tokens = 10;
            r->completion_tokens = 5;
            r->charge_nano = i == 1 ? -1 : 700;
            r->cost_nano = i == 1 ? -1 : 400;
            r->usage_state = i == 2;
            r->at_us = INT64_C(1800000000000000) + i;
            books_post(b, r);
        }
        assert_int_equal(books_close(b), 0);
    }
    assert_int_equal(n_pending(), 2);
    assert_int_equal(books_balances(path, keep_balance, &at, &e), 0);
    assert_int_equal(what_used(BOOKS_BY_TENANT, "acme", 0, INT64_MAX, &tokens, &nano, &e), 0);
    assert_int_equal(correct("req_9", 1, 1, &row), ERR_NOTFOUND);
    assert_int_equal(correct("req_1", 1, -1, &row), ERR_ARG); /* what is owed has no price yet */
    audit(3);
    assert_int_equal(correct("req_1", 900, 500, &row), 0);
    assert_string_equal(row.request_id, "req_1~1");
    assert_int_equal(row.charge_nano, 900);
    assert_int_equal(n_pending(), 1);
    assert_int_equal(correct("req_1", 300, -1, &row), 0); /* and again: less, the cost stays */
    assert_string_equal(row.request_id, "req_1~2");
    assert_int_equal(row.charge_nano, -600);
    assert_int_equal(row.cost_nano, 0);
    assert_int_equal(correct("req_2", 650, 400, &row), 0);
    assert_int_equal(row.charge_nano, -50);
    assert_int_equal(n_pending(), 0);
    assert_int_equal(correct("req_1~1", 1, 1, &row), ERR_NOTFOUND); /* no request */
    audit(6);
    assert_int_equal(
        number("SELECT amount FROM account WHERE account = 'tenant:acme' AND unit = 'EUR'"),
        700 + 300 + 650);
    assert_int_equal(
        number("SELECT amount FROM account WHERE account = 'supplier:far/m' AND unit = 'EUR'"),
        -(400 + 500 + 400));
    assert_int_equal(number("SELECT sum(amount) FROM account"), 0);
    /* The rows of requests are as they were, and so are counts and what budgets were used. */
    assert_int_equal(number("SELECT charge_nano FROM usage WHERE request_id = 'req_1'"), -1);
    at = after;
    assert_int_equal(books_balances(path, keep_balance, &at, &e), 0);
    assert_int_equal(at - after, 1);
    assert_int_equal(after[0].n_requests, 3);
    assert_int_equal(after[0].n_requests, before[0].n_requests);
    assert_int_equal(after[0].prompt_tokens, before[0].prompt_tokens);
    assert_int_equal(after[0].completion_tokens, before[0].completion_tokens);
    assert_int_equal(what_used(BOOKS_BY_TENANT, "acme", 0, INT64_MAX, &tokens, &nano_after, &e), 0);
    assert_int_equal(nano_after, nano);
    assert_int_equal(billed(BOOKS_BY_ALL, &(struct books_where){0}), 3);
    differs("UPDATE usage SET charge_nano = -599 WHERE request_id = 'req_1~2'", "req_1~2");
    change("UPDATE usage SET charge_nano = -600 WHERE request_id = 'req_1~2'");
    differs("UPDATE usage SET corrects = 'req_2' WHERE request_id = 'req_1~2'", "req_1~2");
}

#define FIRST_US INT64_C(1800000000000000) /* of fill: a microsecond a row */

static int64_t prune(int64_t before_us, int with_pending)
{
    struct err e = {0};
    int64_t n = 0;

    if (books_prune(path, before_us, with_pending, &n, &e))
        fail_msg("%s", e.text);
    return n;
}

/* A supplier with a price in another currency: i 0 with a rate, 1 without. */
static void post_foreign(struct books *b, int i)
{
    struct books_row *r = books_take(b);

    snprintf(r->request_id, sizeof r->request_id, "usd_%d", i);
    strcpy(r->tenant, "acme");
    strcpy(r->supplier, "far/m");
    strcpy(r->currency, "EUR");
    strcpy(r->cost_currency, "USD");
    r->prompt_tokens = 10;
    r->charge_nano = 700;
    r->cost_own_nano = 500;
    r->cost_nano = i ? -1 : 460;
    r->at_us = FIRST_US + i;
    books_post(b, r);
}

static int64_t balance(const char *account, const char *unit)
{
    char sql[200];

    snprintf(sql, sizeof sql,
             "SELECT coalesce(sum(amount), 0) FROM account WHERE account = '%s' AND unit = '%s'",
             account, unit);
    return number(sql);
}

static void a_supplier_is_owed_in_its_currency(void **state)
{
    int64_t cost = 455, owed = 490, none = 0;
    struct books *b = NULL;
    struct books_row row;
    struct err e = {0};

    assert_int_equal(books_open(&b, path, 0, &e), 0);
    post_foreign(b, 0);
    post_foreign(b, 1);
    assert_int_equal(books_close(b), 0);
    audit(2);
    assert_int_equal(balance("supplier:far/m", "USD"), -1000);
    assert_int_equal(balance("platform:exchange", "USD"), 1000);
    assert_int_equal(balance("platform:exchange", "EUR"), -460);
    assert_int_equal(balance("platform:cost", "EUR"), 460);
    assert_int_equal(balance("supplier:far/m", "EUR"), 0);
    assert_int_equal(number("SELECT count(*) FROM (SELECT sum(amount) AS s FROM account GROUP BY "
                            "unit) AS sums WHERE s <> 0"),
                     0);
    assert_int_equal(n_pending(), 1); /* what it costs us is not known */
    /* Their invoice says less, and the rate is known now. */
    assert_int_equal(books_correct(path, "usd_1",
                                   &(struct books_wish){.cost_nano = &cost, .cost_own_nano = &owed},
                                   &row, &e),
                     0);
    assert_int_equal(row.cost_own_nano, -10);
    assert_string_equal(row.cost_currency, "USD");
    assert_int_equal(n_pending(), 0);
    audit(3);
    assert_int_equal(balance("supplier:far/m", "USD"), -990);
    assert_int_equal(balance("platform:exchange", "USD"), 990);
    assert_int_equal(balance("platform:cost", "EUR"), 915);
    differs("UPDATE usage SET cost_own_nano = 499 WHERE request_id = 'usd_0'", "usd_0");
    change("UPDATE usage SET cost_own_nano = 500 WHERE request_id = 'usd_0'");
    differs("UPDATE usage SET cost_currency = 'CHF' WHERE request_id = 'usd_0'", "usd_0");
    change("UPDATE usage SET cost_currency = 'USD' WHERE request_id = 'usd_0'");
    assert_int_equal(prune(INT64_MAX, 0), 3);
    audit(0);
    fill(0, 1); /* a supplier that has no other currency */
    assert_int_equal(
        books_correct(path, "req_0", &(struct books_wish){.cost_own_nano = &none}, &row, &e),
        ERR_ARG);
}

/* ---- pruning and copies ---- */

static int64_t used(int64_t from_us, int64_t *ret_nano)
{
    struct err e = {0};
    int64_t tokens = 0;

    assert_int_equal(what_used(BOOKS_BY_TEAM, "t0/blue", from_us, INT64_MAX, &tokens, ret_nano, &e),
                     0);
    return tokens;
}

static void rows_go_and_balances_stay(void **state)
{
    static const char sums[] = "SELECT sum(amount * length(account || unit)) FROM account";
    static const char tokens_of[] =
        "SELECT sum((prompt_tokens + 3 * completion_tokens + 7 * n_requests) * length(tenant))"
        " FROM balance";
    struct books_row row;
    struct err e = {0};
    int64_t n, before, tokens, nano = 0, nano_after = 0, n_used;

    fill(0, 60);
    assert_int_equal(correct("req_7", 70, 70, &row), 0);
    before = number(sums);
    tokens = number(tokens_of);
    n_used = used(0, &nano);
    assert_int_equal(n_pending(), 1);
    assert_int_equal(books_prune(path, FIRST_US + 40, 0, &n, &e), ERR_AGAIN);
    audit(61);
    assert_int_equal(prune(FIRST_US + 40, 1), 40);
    audit(21);
    assert_int_equal(number(sums), before);
    assert_int_equal(number(tokens_of), tokens);
    assert_int_equal(used(0, &nano_after), n_used);
    assert_int_equal(nano_after, nano);
    /* A budget that began on a quarter of an hour behind the pruned rows does not know them. */
    assert_true(used(FIRST_US + 900000000, &nano_after) == 0);
    assert_int_equal(prune(FIRST_US + 40, 1), 0);
    fill(60, 10);
    audit(31);
    /* All of them, but for the correction, which is of later; then the chain goes on. */
    assert_int_equal(prune(FIRST_US + 1000, 1), 20);
    audit(11);
    assert_int_equal(prune(INT64_MAX, 1), 11);
    audit(0);
    assert_int_equal(number("SELECT n_rows FROM opening"), 71);
    fill(70, 10);
    audit(10);
    assert_int_equal(number("SELECT min(seq) FROM usage"), 72);
    assert_int_equal(number("SELECT sum(amount) FROM account WHERE unit = 'EUR'"), 0);
    differs("UPDATE opening_account SET amount = amount + 1 WHERE account = 'tenant:t1'"
            " AND unit = 'EUR'",
            "tenant:t1");
    change("UPDATE opening_account SET amount = amount - 1 WHERE account = 'tenant:t1'"
           " AND unit = 'EUR'");
    audit(10);
    differs("DELETE FROM usage WHERE request_id = 'req_70'", "req_71");
}

static void what_was_changed_is_not_pruned_away(void **state)
{
    struct err e = {0};
    int64_t n = 0;

    fill(0, 30);
    change("UPDATE usage SET charge_nano = 1 WHERE request_id = 'req_11'");
    assert_int_equal(books_prune(path, FIRST_US + 20, 1, &n, &e), ERR_FORMAT);
    assert_non_null(strstr(e.text, "req_11"));
    assert_int_equal(number("SELECT count(*) FROM usage"), 30);
    assert_int_equal(number("SELECT count(*) FROM opening_account"), 0);
}

static void many_batches(void **state)
{
    fill(0, 12001);
    assert_int_equal(prune(FIRST_US + 11990, 1), 11990);
    audit(11);
}

static void a_copy_is_of_one_moment(void **state)
{
    char copy[160], command[400];
    struct books *b = NULL;
    struct err e = {0};
    int64_t n = 0;

    snprintf(copy, sizeof copy, "%s/copy.db", dir);
    fill(0, 30);
    if (!place_is_file()) {
        assert_int_equal(books_backup(path, copy, &n, &e), ERR_UNSUPPORTED);
        return;
    }
    assert_int_equal(books_open(&b, path, 0, &e), 0); /* who writes on */
    post(b, 30);
    assert_int_equal(books_backup(path, copy, &n, &e), 0);
    assert_int_equal(n, 30);
    assert_int_equal(books_close(b), 0);
    audit(31);
    assert_int_equal(books_backup(path, copy, &n, &e), ERR_EXISTS);
    snprintf(command, sizeof command,
             "cd %s && test ! -e copy.db-wal -a ! -e copy.db.part && "
             "test $(stat -c %%a copy.db) = 600 && rm ledger.db* && mv copy.db ledger.db",
             dir);
    assert_int_equal(system(command), 0);
    audit(30);
    fill(40, 5);
    audit(35);
    change("UPDATE usage SET tenant = 'x' WHERE request_id = 'req_3'"); /* is not copied as well */
    assert_int_equal(books_backup(path, copy, &n, &e), ERR_FORMAT);
    assert_int_equal(access(copy, F_OK), -1);
}

#define WITHOUT_POWER_LOG                                                                          \
    "DROP TABLE power_tree; DROP TABLE power_tree_node; DROP TABLE power_tree_head;"               \
    "ALTER TABLE power DROP COLUMN salt;"
#define WITHOUT_LOG                                                                                \
    "DROP TABLE taken; DROP TABLE tree; DROP TABLE tree_node; DROP TABLE tree_head;"               \
    "ALTER TABLE usage DROP COLUMN salt; ALTER TABLE usage DROP COLUMN weights;"                   \
    "ALTER TABLE usage DROP COLUMN engine; ALTER TABLE usage DROP COLUMN sampling;"                \
    "ALTER TABLE usage DROP COLUMN prompt_hash; ALTER TABLE usage DROP COLUMN output_hash;"        \
    "ALTER TABLE usage DROP COLUMN price_book;" WITHOUT_POWER_LOG
#define WITHOUT_CONTRACT                                                                           \
    WITHOUT_LOG                                                                                    \
    "DROP TABLE power; DROP INDEX usage_contract_at;"                                              \
    "ALTER TABLE usage DROP COLUMN contract;"                                                      \
    "ALTER TABLE usage DROP COLUMN tranche;"                                                       \
    "ALTER TABLE usage DROP COLUMN lent;"
#define WITHOUT_ENERGY                                                                             \
    "ALTER TABLE usage DROP COLUMN energy_boundary;"                                               \
    "ALTER TABLE usage DROP COLUMN energy_method;"                                                 \
    "ALTER TABLE usage DROP COLUMN energy_uncertainty;"                                            \
    "ALTER TABLE usage DROP COLUMN site;"                                                          \
    "ALTER TABLE usage DROP COLUMN carbon_location_ug;"                                            \
    "ALTER TABLE usage DROP COLUMN carbon_market_ug;" WITHOUT_CONTRACT
#define WITHOUT_LOST                                                                               \
    "ALTER TABLE usage DROP COLUMN lost_prompt_tokens;"                                            \
    "ALTER TABLE usage DROP COLUMN lost_cached_tokens;"                                            \
    "ALTER TABLE usage DROP COLUMN lost_completion_tokens;" WITHOUT_ENERGY

static void set_version(int version)
{
    struct sql *db = place_open();
    struct err e = {0};

    assert_int_equal(sql_begin(db, &e), 0);
    assert_int_equal(sql_set_version(db, version, &e), 0);
    assert_int_equal(sql_commit(db, &e), 0);
    sql_close(db);
}

static void version_6_is_brought_up(void **state)
{
    is_old = 1;
    fill(0, 10);
    change(WITHOUT_LOST "ALTER TABLE opening_use DROP COLUMN energy_uj;");
    set_version(6);
    is_old = 0;
    audit(10);
    fill(10, 10);
    audit(20);
}

/* Its rows keep their links; those of contracts have them in theirs. */
static void version_8_is_brought_up(void **state)
{
    is_old = 1;
    fill_measured();
    change(WITHOUT_CONTRACT);
    set_version(8);
    is_old = 0;
    audit(3);
    fill(10, 10);
    audit(13);
    assert_int_equal(number("SELECT count(*) FROM usage WHERE contract = '' AND lent = 0"), 13);
}

/* The log of answers begins behind the rows that were there. */
static void version_9_is_brought_up(void **state)
{
    is_old = 1;
    fill(0, 10);
    change(WITHOUT_LOG);
    set_version(9);
    is_old = 0;
    audit(10);
    fill(10, 300);
    audit(310);
    assert_int_equal(number("SELECT base FROM tree"), 10);
    assert_int_equal(number("SELECT size FROM tree"), 300);
    differs("UPDATE tree SET size = 299", "tree");
}

static void version_11_is_brought_up(void **state)
{
    fill(0, 10);
    change(WITHOUT_POWER_LOG);
    set_version(11);
    audit(10);
    fill(10, 20);
    audit(30);
    assert_int_equal(number("SELECT base + size FROM power_tree"), 0);
}

static int take_bill(void *arg, const struct books_sum *s)
{
    char *to = arg;

    sprintf(to + strlen(to), "%s %d; ", s->key[BOOKS_BY_CONTRACT], (int)s->prompt_tokens);
    return 0;
}

static void a_contract_is_in_the_chain(void **state)
{
    static const char *const contracts[] = {"", "acme-2027", "acme-2027", "lab-2028"};
    const struct books_where w = {.contract = "acme-2027"};
    struct books *b = NULL;
    struct err e = {0};
    char text[200] = "";

    assert_int_equal(books_open(&b, path, 0, &e), 0);
    for (int i = 0; i < 4; i++) {
        struct books_row *r = books_take(b);
        snprintf(r->request_id, sizeof r->request_id, "req_%d", i);
        strcpy(r->tenant, "acme");
        r->prompt_tokens = 10 << i;
        r->at_us = INT64_C(1800000000000000) + i;
        strcpy(r->contract, contracts[i]);
        strcpy(r->tranche, i ? "t1" : "");
        r->lent = i == 2 ? BOOKS_LENT_BORROWED : BOOKS_LENT_OWN;
        books_post(b, r);
    }
    assert_int_equal(books_close(b), 0);
    audit(4);
    assert_int_equal(books_bill(path, BOOKS_PART(BOOKS_BY_CONTRACT), &(struct books_where){0},
                                take_bill, text, &e),
                     0);
    assert_string_equal(text, " 10; acme-2027 60; lab-2028 80; ");
    *text = 0;
    assert_int_equal(books_bill(path, BOOKS_PART(BOOKS_BY_CONTRACT), &w, take_bill, text, &e), 0);
    assert_string_equal(text, "acme-2027 60; ");
    differs("UPDATE usage SET lent = 0 WHERE request_id = 'req_2'", "req_2 ");
    change("UPDATE usage SET lent = 1 WHERE request_id = 'req_2'");
    differs("UPDATE usage SET contract = 'lab-2028' WHERE request_id = 'req_1'", "req_1 ");
    change("UPDATE usage SET contract = 'acme-2027' WHERE request_id = 'req_1'");
    differs("UPDATE usage SET tranche = 't2' WHERE request_id = 'req_3'", "req_3 ");
    change("UPDATE usage SET tranche = 't1' WHERE request_id = 'req_3'");
    audit(4);
}

/* Delivered to nobody and owed: in the balances, the chain and what is compared with a bill. */
static void what_is_lost_is_owed(void **state)
{
    struct books *b = NULL;
    struct books_row *r;
    struct err e = {0};

    assert_int_equal(books_open(&b, path, 0, &e), 0);
    r = books_take(b);
    strcpy(r->request_id, "left");
    strcpy(r->tenant, "acme");
    strcpy(r->supplier, "far/m");
    r->usage_state = 1;
    r->lost_prompt_tokens = 70;
    r->lost_cached_tokens = 50;
    r->lost_completion_tokens = 9;
    r->at_us = INT64_C(1800000000000000);
    books_post(b, r);
    assert_int_equal(books_close(b), 0);
    audit(1);
    assert_int_equal(number("SELECT amount FROM account WHERE account = 'platform:lost'"), 79);
    assert_int_equal(number("SELECT amount FROM account WHERE account = 'supplier:far/m'"), -79);
    assert_int_equal(number("SELECT count(*) FROM account WHERE account = 'tenant:acme'"), 0);
    assert_int_equal(number("SELECT prompt_tokens FROM balance WHERE tenant = 'acme'"), 0);
    assert_int_equal(n_pending(), 1);
    differs("UPDATE usage SET lost_cached_tokens = 0", "left ");
}

static void version_3_is_brought_up(void **state)
{
    is_old = 1;
    fill(0, 10);
    change(
        "DROP INDEX usage_corrects; ALTER TABLE usage DROP COLUMN corrects; DROP TABLE opening;"
        "ALTER TABLE usage DROP COLUMN cost_currency; ALTER TABLE usage DROP COLUMN cost_own_nano;"
        "DROP TABLE opening_account; DROP TABLE opening_balance; DROP TABLE "
        "opening_use;" WITHOUT_LOST "");
    set_version(3);
    is_old = 0;
    audit(10);
    fill(10, 10);
    audit(20);
}

/* As the first version of this program left it. */
static void the_first_version_is_brought_up(void **state)
{
    change("CREATE TABLE usage (request_id TEXT NOT NULL PRIMARY KEY, at_us BIGINT NOT NULL, "
           "tenant TEXT NOT NULL,"
           " key_id TEXT NOT NULL, model TEXT NOT NULL, supplier TEXT NOT NULL, prompt_tokens "
           "BIGINT NOT NULL,"
           " cached_tokens BIGINT NOT NULL, completion_tokens BIGINT NOT NULL, energy_uj BIGINT "
           "NOT NULL,"
           " status INTEGER NOT NULL);"
           "CREATE TABLE balance (tenant TEXT NOT NULL PRIMARY KEY, n_requests BIGINT NOT NULL, "
           "prompt_tokens BIGINT"
           " NOT NULL, cached_tokens BIGINT NOT NULL, completion_tokens BIGINT NOT NULL, energy_uj "
           "BIGINT NOT NULL);"
           "INSERT INTO usage VALUES ('old_1', 1, 'acme', 'k', 'm', 'local/m', 10, 0, 5, 0, 200),"
           " ('old_2', 2, 'acme', 'k', 'm', 'local/m', 20, 0, 5, 0, 200);"
           "INSERT INTO balance VALUES ('acme', 2, 30, 0, 10, 0); ");
    set_version(1);
    audit(2);
    assert_int_equal(
        number("SELECT amount FROM account WHERE account = 'tenant:acme' AND unit = 'tokens'"), 40);
    fill(0, 10);
    audit(12);
    differs("DELETE FROM usage WHERE request_id = 'req_9'", "balance");
    change("");
    set_version(99);
    {
        struct books *b = NULL;
        struct err e = {0};
        assert_int_equal(books_open(&b, path, 0, &e), ERR_FORMAT);
        assert_non_null(strstr(e.text, "another version"));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sums_to_zero),
        cmocka_unit_test_setup_teardown(what_was_changed_is_found, place_make, place_clear),
        cmocka_unit_test_setup_teardown(what_is_gone_is_found, place_make, place_clear),
        cmocka_unit_test_setup_teardown(a_balance_that_lies_is_found, place_make, place_clear),
        cmocka_unit_test_setup_teardown(accounts_sum_to_zero, place_make, place_clear),
        cmocka_unit_test_setup_teardown(teams_and_labels_are_booked, place_make, place_clear),
        cmocka_unit_test_setup_teardown(energy_and_carbon_are_booked, place_make, place_clear),
        cmocka_unit_test_setup_teardown(an_amount_is_corrected_by_a_row, place_make, place_clear),
        cmocka_unit_test_setup_teardown(a_supplier_is_owed_in_its_currency, place_make,
                                        place_clear),
        cmocka_unit_test_setup_teardown(rows_go_and_balances_stay, place_make, place_clear),
        cmocka_unit_test_setup_teardown(what_was_changed_is_not_pruned_away, place_make,
                                        place_clear),
        cmocka_unit_test_setup_teardown(many_batches, place_make, place_clear),
        cmocka_unit_test_setup_teardown(a_copy_is_of_one_moment, place_make, place_clear),
        cmocka_unit_test_setup_teardown(what_is_lost_is_owed, place_make, place_clear),
        cmocka_unit_test_setup_teardown(a_contract_is_in_the_chain, place_make, place_clear),
        cmocka_unit_test_setup_teardown(version_11_is_brought_up, place_make, place_clear),
        cmocka_unit_test_setup_teardown(version_9_is_brought_up, place_make, place_clear),
        cmocka_unit_test_setup_teardown(version_8_is_brought_up, place_make, place_clear),
        cmocka_unit_test_setup_teardown(version_6_is_brought_up, place_make, place_clear),
        cmocka_unit_test_setup_teardown(version_3_is_brought_up, place_make, place_clear),
        cmocka_unit_test_setup_teardown(the_first_version_is_brought_up, place_make, place_clear),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
