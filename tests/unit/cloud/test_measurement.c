/* What was measured of a basket: read and written again, refused where it cannot be, matched with
 * a contract, and kept in the store: which one counts, and that a changed one is found. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/check.h"
#include "base/sql.h"
#include "cloud/accounts.h"

#define MW 1000000

/* Two rows at loads 1 and 4; the energy by a meter of the machines. */
static struct measurement example(void)
{
    struct measurement m = {.contract = "acme",
                            .contract_version = 2,
                            .site = "montreal",
                            .hardware = "wse-3",
                            .engine = "1.2.0",
                            .from_s = 1000,
                            .until_s = 1060,
                            .method = ENERGY_RAPL,
                            .boundary = ENERGY_IT,
                            .n_rows = 2,
                            .n_levels = 2,
                            .concurrency = {1, 4}};
    const int64_t second = 1000000;

    m.row[0] = (struct contract_load){
        .model = "a", .input = 100, .output = 20, .cached_ppm = 250000, .weight = 1};
    m.row[1] = (struct contract_load){.model = "b", .input = 10, .output = 20, .weight = 1};
    /* 10 tokens/s for 5 J each, then 40 for 2. */
    for (int k = 0; k < 2; k++) {
        m.point[0][k] = (struct measurement_point){.requests = 5,
                                                   .output_tokens = 100,
                                                   .window_us = 10 * second,
                                                   .window_tokens = 100,
                                                   .energy_uj = 500 * second,
                                                   .uncertainty_permille = 50};
        m.point[1][k] = m.point[0][k];
        m.point[1][k].window_tokens = 400;
        m.point[1][k].output_tokens = 500;
        m.point[1][k].energy_uj = 1000 * second;
        m.point[1][k].ttft_p99_us = 600000;
    }
    return m;
}

static struct contract contract_of(const struct measurement *m)
{
    struct contract c = {.name = "acme", .n_loads = 2, .n_tranches = 1};

    memcpy(c.load, m->row, sizeof c.load);
    c.tranche[0] = (struct tranche){
        .name = "first", .site = "montreal", .hardware = "wse-3", .watts = 10 * MW};
    return c;
}

static char *text_of(const struct measurement *m)
{
    json_t *j = measurement_json(m);
    char *text = json_dumps(j, JSON_COMPACT);

    json_decref(j);
    assert_non_null(text);
    return text;
}

static void comes_back(void **state)
{
    struct measurement m = example(), *again = NULL;
    struct err e = {0};
    char *text, *second;

    m.verdict = (struct measurement_verdict){.is_there = 1,
                                             .promised_mtps = 12345,
                                             .made_mtps = 12344,
                                             .held_w = -1,
                                             .n_reasons = 1,
                                             .reason = {"too \"few\" tokens"}};
    m.point[1][1].energy_uj = -1;
    m.fingerprint[0] = "fp_1";
    text = text_of(&m);
    assert_int_equal(measurement_parse(&again, text, strlen(text), &e), 0);
    second = text_of(again);
    assert_string_equal(text, second);
    assert_int_equal(again->point[1][1].energy_uj, -1);
    assert_int_equal(again->row[0].cached_ppm, 250000);
    assert_int_equal(again->verdict.held_w, -1);
    assert_null(again->region);
    measurement_free(again);
    free(text);
    free(second);
}

/* One change of a good text each, and the key that is named then. */
static void refuses(void **state)
{
    static const char *const t[][3] = {
        {"\"measurement\":1", "\"measurement\":2", "measurement"},
        {"\"contract\":\"acme\"", "\"contract\":\"a b\"", "contract"},
        {"\"contract\":\"acme\"", "\"contract\":null", "contract"},
        {"\"engine\":\"1.2.0\"", "\"engine\":\"\\u0007\"", "engine"},
        {"\"method\":\"rapl\"", "\"method\":\"guess\"", "method"},
        {"\"boundary\":\"it\"", "\"boundary\":3", "boundary"},
        {"\"pue_permille\":0", "\"pue_permille\":900", "pue_permille"},
        {"\"window_us\":10000000", "\"window_us\":0", "window_us"},
        {"\"window_tokens\":400", "\"window_tokens\":-1", "window_tokens"},
        {"\"output_tokens\":100", "\"output_tokens\":0", "energy_uj"},
        {"\"energy_uj\":1000000000", "\"energy_uj\":1.5", "energy_uj"},
        {"\"uncertainty_permille\":50", "\"uncertainty_permille\":1001", "uncertainty_permille"},
        {"\"concurrency\":4", "\"concurrency\":0", "concurrency"},
        {"\"concurrency\":4", "\"concurrency\":1025", "concurrency"},
        {"\"cached\":0.25", "\"cached\":1.25", "cached"},
        {"\"model\":\"b\"", "\"model\":7", "model"},
        {"\"input\":10,", "\"input\":10000000001,", "input"},
        {"\"levels\":[", "\"levels\":[], \"x\":[", "levels"},
        {"\"basket\":[", "\"basket\":[], \"x\":[", "basket"},
    };
    struct measurement m = example(), *none = NULL;
    char *good = text_of(&m), bad[16384];
    struct err e;

    for (size_t i = 0; i < ARRAY_LEN(t); i++) {
        char *at = strstr(good, t[i][0]);
        assert_non_null(at);
        snprintf(bad, sizeof bad, "%.*s%s%s", (int)(at - good), good, t[i][1],
                 at + strlen(t[i][0]));
        e = (struct err){0};
        assert_int_equal(measurement_parse(&none, bad, strlen(bad), &e), ERR_FORMAT);
        assert_string_equal(e.param, t[i][2]);
    }
    /* Whatever it is cut to, it is refused or read, and nothing else. */
    for (size_t n = 0; n < strlen(good); n++)
        assert_int_not_equal(measurement_parse(&none, good, n, &e), 0);
    assert_int_not_equal(measurement_parse(&none, "[]", 2, &e), 0);
    free(good);
}

static void entitles(void **state)
{
    struct measurement m = example();
    struct contract c = contract_of(&m);
    struct basket_measured points;
    struct basket_entitlement n;

    measurement_entitlement(&m, &c, MW, &points, &n);
    assert_null(n.why);
    assert_int_equal(n.i_level, 1);
    assert_int_equal(n.rate_mtps, 500000000); /* by 2 J, of all tokens of all requests */
    assert_int_equal(n.low_mtps, 476190476);
    /* Weights and limits are the contract's of today, rows are found wherever they stand. */
    c.load[0] = m.row[1];
    c.load[1] = m.row[0];
    c.load[1].ttft_ms = 599;
    c.load[0].weight = 9;
    measurement_entitlement(&m, &c, MW, &points, &n);
    assert_int_equal(n.i_level, 0);
    assert_int_equal(n.rate_mtps, 200000000);
    /* Work that was not measured. */
    c.load[0].cached_ppm = 1;
    measurement_entitlement(&m, &c, MW, &points, &n);
    assert_non_null(strstr(n.why, "not measured"));
    c.n_loads = 0;
    measurement_entitlement(&m, &c, MW, &points, &n);
    assert_non_null(strstr(n.why, "no basket"));
}

static void boundaries(void **state)
{
    struct measurement m = example();
    struct contract c = contract_of(&m);
    struct basket_measured points;
    struct basket_entitlement n;

    c.basis = CONTRACT_FACILITY;
    measurement_entitlement(&m, &c, MW, &points, &n);
    assert_non_null(strstr(n.why, "PUE"));
    m.pue_permille = 1250;
    measurement_entitlement(&m, &c, MW, &points, &n);
    assert_int_equal(n.rate_mtps, 400000000); /* of a megawatt 0.8 are the machines' */
    m.boundary = ENERGY_FACILITY;
    measurement_entitlement(&m, &c, MW, &points, &n);
    assert_int_equal(n.rate_mtps, 500000000);
    c.basis = CONTRACT_IT;
    measurement_entitlement(&m, &c, MW, &points, &n);
    assert_int_equal(n.rate_mtps, 625000000);
    m.boundary = ENERGY_ACCELERATOR;
    measurement_entitlement(&m, &c, MW, &points, &n);
    assert_non_null(strstr(n.why, "accelerators"));
    /* Power that was stated: 80 W make 40 tokens/s. */
    m.boundary = ENERGY_IT;
    m.method = ENERGY_STATED;
    m.stated_w = 80;
    for (int k = 0; k < 2; k++)
        m.point[0][k].energy_uj = m.point[1][k].energy_uj = -1;
    measurement_entitlement(&m, &c, MW, &points, &n);
    assert_int_equal(n.rate_mtps, 500000000);
    m.stated_w = 0;
    m.method = ENERGY_UNKNOWN;
    measurement_entitlement(&m, &c, MW, &points, &n);
    assert_non_null(strstr(n.why, "not known"));
}

static void places(void **state)
{
    struct measurement m = example();
    struct tranche t = {.name = "t", .site = "montreal"};

    assert_true(measurement_is_of(&m, &t)); /* of any hardware */
    t.hardware = "gpu-1";
    assert_false(measurement_is_of(&m, &t));
    t.hardware = "wse-3";
    assert_true(measurement_is_of(&m, &t));
    t.site = "oslo";
    assert_false(measurement_is_of(&m, &t));
    t.site = NULL;
    t.region = "ca-east";
    assert_false(measurement_is_of(&m, &t));
    m.region = "ca-east";
    assert_true(measurement_is_of(&m, &t));
}

/* ---- the store ------------------------------------------------------------------------------- */

static void record(struct accounts *a, struct measurement *m, const char *engine, int64_t tokens)
{
    const struct account_who w = {"test", 5000};
    struct measured_row row = {.signature = "", .public_key = ""};
    struct err e = {0};

    m->engine = engine;
    m->point[0][0].window_tokens = tokens;
    assert_int_equal(accounts_measure(a, &w, m, &row, &e), 0);
    assert_true(row.id > 0);
}

static int64_t counts(struct accounts *a, const struct tranche *t, const char *engine, int *stale)
{
    struct measurement *m = NULL;
    struct err e = {0};
    int64_t n;

    if (accounts_measured(a, "acme", t, engine, &m, stale, &e)) {
        assert_int_equal(e.code, ERR_NOTFOUND);
        return -1;
    }
    n = m->point[0][0].window_tokens;
    measurement_free(m);
    return n;
}

static void change(const char *path, const char *statement)
{
    struct sql *s = NULL;
    struct err e = {0};

    assert_int_equal(sql_open(&s, path, &e), 0);
    assert_int_equal(sql_exec(s, statement, &e), 0);
    sql_close(s);
}

static int audits(struct accounts *a, struct err *e)
{
    int64_t lines = 0;

    *e = (struct err){0};
    return accounts_audit_check(a, &lines, e);
}

static void at_rest(void **state)
{
    struct measurement m = example();
    struct contract c = contract_of(&m);
    const struct tranche *t = &c.tranche[0];
    char dir[] = "/tmp/gaufre-measured-XXXXXX", path[64], files[100];
    struct measurement *found = NULL;
    struct accounts *a = NULL;
    struct err e = {0};
    int stale = 0;

    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/accounts.db", dir);
    assert_int_equal(accounts_open(&a, path, &e), 0);
    assert_int_equal(counts(a, t, NULL, &stale), -1);
    record(a, &m, "1.0", 1);
    record(a, &m, "2.0", 2);
    record(a, &m, "1.0", 3);
    assert_int_equal(counts(a, t, NULL, &stale), 3);
    assert_int_equal(counts(a, t, "2.0", &stale), 2);
    assert_false(stale);
    assert_int_equal(counts(a, t, "3.0", &stale), 3); /* shown, and stale */
    assert_true(stale);
    m.site = "oslo";
    record(a, &m, "3.0", 4);
    assert_int_equal(counts(a, t, "3.0", &stale), 3);
    m.site = "montreal";
    m.verdict.is_there = 1; /* an acceptance is no measurement of all loads */
    record(a, &m, "3.0", 5);
    assert_int_equal(counts(a, t, "3.0", &stale), 3);

    /* What was measured or recorded later does not count: this was at 1060, and 5000. */
    assert_int_equal(accounts_measured_on(a, "acme", t, NULL, 1060, 5000, &found, &stale, &e), 0);
    measurement_free(found);
    found = NULL;
    assert_int_equal(accounts_measured_on(a, "acme", t, NULL, 1059, 5000, &found, &stale, &e),
                     ERR_NOTFOUND);
    assert_int_equal(accounts_measured_on(a, "acme", t, NULL, 1060, 4999, &found, &stale, &e),
                     ERR_NOTFOUND);
    assert_null(found);

    assert_int_equal(audits(a, &e), 0);
    change(path, "UPDATE measurement SET text = replace(text, '\"window_tokens\":2', "
                 "'\"window_tokens\":9') WHERE id = 2");
    assert_int_equal(audits(a, &e), ERR_FORMAT);
    assert_non_null(strstr(e.text, "measurement 2"));
    change(path, "UPDATE measurement SET text = replace(text, '\"window_tokens\":9', "
                 "'\"window_tokens\":2') WHERE id = 2");
    assert_int_equal(audits(a, &e), 0);
    change(path, "UPDATE measurement SET contract = 'other' WHERE id = 3");
    assert_int_equal(audits(a, &e), ERR_FORMAT);
    change(path, "UPDATE measurement SET contract = 'acme' WHERE id = 3");
    change(path, "UPDATE measurement SET signature = 'ab' WHERE id = 3");
    assert_int_equal(audits(a, &e), ERR_FORMAT);
    change(path, "DELETE FROM measurement WHERE id = 3");
    assert_int_equal(audits(a, &e), ERR_FORMAT);
    accounts_close(a);
    for (int i = 0; i < 3; i++) {
        static const char *const ends[] = {"", "-wal", "-shm"};
        snprintf(files, sizeof files, "%s%s", path, ends[i]);
        unlink(files);
    }
    rmdir(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(comes_back), cmocka_unit_test(refuses), cmocka_unit_test(entitles),
        cmocka_unit_test(boundaries), cmocka_unit_test(places),  cmocka_unit_test(at_rest),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
