/* The acceptance of a tranche: what passes, what does not and why, and the signature under it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "cloud/acceptance.h"

#define SECOND INT64_C(1000000)

/* One row, 40 tokens/s for 10 s, with 800 J: 80 W. */
static struct measurement example(void)
{
    struct measurement m = {.contract = "acme",
                            .engine = "1",
                            .method = ENERGY_REDFISH,
                            .boundary = ENERGY_IT,
                            .n_rows = 1,
                            .n_levels = 1,
                            .concurrency = {4}};

    m.row[0] = (struct contract_load){.model = "a", .input = 10, .output = 20, .weight = 1};
    m.point[0][0] = (struct measurement_point){.requests = 20,
                                               .output_tokens = 400,
                                               .window_us = 10 * SECOND,
                                               .window_tokens = 400,
                                               .energy_uj = 800 * SECOND,
                                               .ttft_p99_us = 500000};
    return m;
}

static struct contract contract_of(const struct measurement *m)
{
    struct contract c = {.name = "acme", .n_loads = 1, .n_tranches = 1};

    c.load[0] = m->row[0];
    c.load[0].ttft_ms = 500;
    c.tranche[0] = (struct tranche){.name = "first", .site = "x", .watts = 80};
    return c;
}

static int has_reason(const struct measurement *m, const char *text)
{
    for (int i = 0; i < m->verdict.n_reasons; i++) {
        if (strstr(m->verdict.reason[i], text))
            return 1;
    }
    return 0;
}

static void passes(void **state)
{
    struct measurement m = example();
    struct contract c = contract_of(&m);

    acceptance_judge(&m, &c, &c.tranche[0], 40000, 10 * SECOND);
    assert_true(m.verdict.is_there);
    assert_true(m.verdict.has_passed);
    assert_int_equal(m.verdict.n_reasons, 0);
    assert_int_equal(m.verdict.made_mtps, 40000);
    assert_int_equal(m.verdict.held_w, 80);
    /* 95 % of its power are all of it. */
    c.tranche[0].watts = 84;
    acceptance_judge(&m, &c, &c.tranche[0], 40000, 10 * SECOND);
    assert_true(m.verdict.has_passed);
}

static void fails(void **state)
{
    struct measurement m = example();
    struct contract c = contract_of(&m);

    acceptance_judge(&m, &c, &c.tranche[0], 40001, 10 * SECOND);
    assert_false(m.verdict.has_passed);
    assert_true(has_reason(&m, "fewer tokens/s"));
    c.tranche[0].watts = 85;
    acceptance_judge(&m, &c, &c.tranche[0], 1, 10 * SECOND);
    assert_false(m.verdict.has_passed);
    assert_true(has_reason(&m, "tranche's power"));
    c.tranche[0].watts = 80;
    c.load[0].ttft_ms = 499;
    acceptance_judge(&m, &c, &c.tranche[0], 1, 10 * SECOND);
    assert_false(m.verdict.has_passed);
    assert_true(has_reason(&m, "limits"));
    assert_int_equal(m.verdict.n_reasons, 1);
    c.load[0].input = 11; /* another basket */
    acceptance_judge(&m, &c, &c.tranche[0], 1, 10 * SECOND);
    assert_false(m.verdict.has_passed);
    assert_true(has_reason(&m, "not measured"));
}

/* Power that is not known does not fail it, and is told; it is brought to where the contract counts
 * its watts. */
static void power(void **state)
{
    struct measurement m = example();
    struct contract c = contract_of(&m);

    m.method = ENERGY_UNKNOWN;
    m.point[0][0].energy_uj = -1;
    acceptance_judge(&m, &c, &c.tranche[0], 1, 10 * SECOND);
    assert_true(m.verdict.has_passed);
    assert_int_equal(m.verdict.held_w, -1);
    assert_true(has_reason(&m, "not known"));
    m.method = ENERGY_STATED;
    m.stated_w = 70;
    acceptance_judge(&m, &c, &c.tranche[0], 1, 10 * SECOND);
    assert_false(m.verdict.has_passed);
    assert_int_equal(m.verdict.held_w, 70);
    m = example();
    m.boundary = ENERGY_ACCELERATOR;
    acceptance_judge(&m, &c, &c.tranche[0], 1, 10 * SECOND);
    assert_true(m.verdict.has_passed);
    assert_true(has_reason(&m, "accelerators"));
    m.boundary = ENERGY_IT;
    c.basis = CONTRACT_FACILITY;
    acceptance_judge(&m, &c, &c.tranche[0], 1, 10 * SECOND);
    assert_int_equal(m.verdict.held_w, -1);
    assert_true(has_reason(&m, "PUE"));
    m.pue_permille = 1250;
    acceptance_judge(&m, &c, &c.tranche[0], 1, 10 * SECOND);
    assert_int_equal(m.verdict.held_w, 100);
    m.boundary = ENERGY_FACILITY;
    c.basis = CONTRACT_IT;
    acceptance_judge(&m, &c, &c.tranche[0], 1, 10 * SECOND);
    assert_int_equal(m.verdict.held_w, 64);
}

static void is_signed(void **state)
{
    char dir[] = "/tmp/gaufre-acceptance-XXXXXX", path[64];
    char a[ACCEPTANCE_SIGNATURE_TEXT], b[ACCEPTANCE_SIGNATURE_TEXT], key[ACCEPTANCE_PUBLIC_TEXT];
    char other[ACCEPTANCE_PUBLIC_TEXT];
    struct err e = {0};
    struct stat st;
    FILE *f;

    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/acceptance.key", dir);
    assert_int_equal(acceptance_sign(path, "text", a, key, &e), 0);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_int_equal(acceptance_sign(path, "text", b, other, &e), 0); /* with the same key */
    assert_string_equal(a, b);
    assert_string_equal(key, other);
    assert_true(acceptance_is_signed("text", a, key));
    assert_false(acceptance_is_signed("texT", a, key));
    assert_false(acceptance_is_signed("text", "", key));
    assert_false(acceptance_is_signed("text", a, "00"));
    a[5] = a[5] == '0' ? '1' : '0';
    assert_false(acceptance_is_signed("text", a, key));
    unlink(path);
    assert_int_equal(acceptance_sign(path, "text", a, other, &e), 0); /* a new key */
    assert_string_not_equal(key, other);
    assert_false(acceptance_is_signed("text", a, key));
    f = fopen(path, "w");
    assert_non_null(f);
    fputs("0123\n", f);
    fclose(f);
    assert_int_equal(acceptance_sign(path, "text", a, key, &e), ERR_FORMAT);
    unlink(path);
    rmdir(dir);
    assert_int_equal(acceptance_sign(path, "text", a, key, &e), ERR_IO);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(passes),
        cmocka_unit_test(fails),
        cmocka_unit_test(power),
        cmocka_unit_test(is_signed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
