/* Contracts as files: what is written is what is read, and each fault is told with its place. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/check.h"
#include "base/money.h"
#include "cloud/contract_file.h"

#define HEAD                                                                                       \
    "contract: c\n"                                                                                \
    "from: 2027-01-01\n"                                                                           \
    "until: 2030-01-01\n"                                                                          \
    "currency: USD\n"                                                                              \
    "supplier: {name: s}\n"                                                                        \
    "customer: {name: k, tenants: [acme]}\n"
#define TRANCHES "tranches:\n"
#define FIRST    "- {name: a, mw: 10, site: x, target: 2027-01-01, price: 95}\n"
#define WHOLE    HEAD TRANCHES FIRST

static void whole(void **state)
{
    static const char text[] =
        "time_zone: Europe/Berlin\n" HEAD
        "signed: 2026-12-24\nindexation_percent: 2.5\nindexation_from: 2028-02-29\n"
        "take_or_pay: 0.8\nspillover: pay\nspillover_output: 0.80\nbasket:\n"
        "- {model: m, input: 2000, output: 400, cached: 0.25}\n" TRANCHES FIRST
        "- {name: o, kind: option, mw: 0.5, region: r, target: 2028-01-01, price: 90.125,\n"
        "   exercise_until: 2027-07-01}\n";
    struct contract_file *f, *again;
    const struct contract *c;
    struct err e = {0};
    json_t *j, *k;
    char *out;

    if (contract_file_parse(&f, "f", text, sizeof text - 1, &e))
        fail_msg("%s", e.text);
    c = contract_file_contract(f);
    assert_string_equal(c->name, "c");
    assert_int_equal(c->from_s, INT64_C(1798758000)); /* midnight in Berlin */
    assert_int_equal(c->indexation_ppm, 25000);
    assert_int_equal(c->n_index, 1); /* 2029-02-28 */
    assert_int_equal(c->index_s[0], INT64_C(1866927600));
    assert_int_equal(c->take_or_pay_ppm, 800000);
    assert_int_equal(c->spillover, SPILL_PAY);
    assert_int_equal(c->load[0].cached_ppm, 250000);
    assert_int_equal(c->load[0].weight, 1);
    assert_int_equal(c->n_tranches, 2);
    assert_int_equal(c->tranche[1].watts, 500000);
    assert_int_equal(c->tranche[1].price, INT64_C(90125000000));
    assert_int_equal(c->tranche[1].is_option, 1);
    assert_string_equal(c->customer.tenants.v[0], "acme");

    j = contract_json(f);
    out = json_dumps(j, CONTRACT_JSON_FLAGS);
    if (contract_file_parse(&again, "again", out, strlen(out), &e))
        fail_msg("%s in %s", e.text, out);
    k = contract_json(again);
    assert_true(json_equal(j, k));
    free(out);
    json_decref(j);
    json_decref(k);
    contract_file_close(f);
    contract_file_close(again);
}

static void faults(void **state)
{
    static const struct {
        const char *text, *says;
    } t[] = {
        {"", "it is empty"},
        {"[1]", "f:1:1: wants a map"},
        {"contract: c\n", "f:1:1: from: is missing"},
        {WHOLE "note: x\n", "f:9:1: unknown key 'note'"},
        {HEAD TRANCHES "- {name: a, mw: 10, site: x, target: 2027-01-01}\n",
         "f:8:3: price: is missing"},
        {HEAD TRANCHES "- {name: a, mw: 10, site: x, target: 2027-02-30, price: 1}\n",
         "f:8:38: target: '2027-02-30' is no day"},
        {HEAD TRANCHES "- {name: a, mw: 10, site: x, target: 2026-12-31, price: 1}\n",
         "f:8:38: target: is not within"},
        {HEAD TRANCHES "- {name: a, mw: 10, site: x, target: 2027-01-01, price: -1}\n",
         "f:8:57: price: '-1' is out of bounds"},
        {HEAD TRANCHES "- {name: a, mw: 0, site: x, target: 2027-01-01, price: 1}\n",
         "f:8:17: mw: '0' is out of bounds"},
        {HEAD TRANCHES "- {name: a, mw: 0.0000001, site: x, target: 2027-01-01, price: 1}\n",
         "f:8:17: mw: '0.0000001' is finer"},
        {HEAD TRANCHES "- {name: a, mw: 1, target: 2027-01-01, price: 1}\n",
         "f:8:3: site: a tranche has a site or a region"},
        {HEAD TRANCHES "- {name: a, mw: 1, site: x, region: y, target: 2027-01-01, price: 1}\n",
         "region: a tranche has a site or a region"},
        {WHOLE "- {name: a, mw: 1, site: y, target: 2028-01-01, price: 1}\n",
         "f:9:10: name: overlaps"},
        {HEAD TRANCHES
         "- {name: a, mw: 1, site: x, target: 2027-01-01, until: 2028-01-01, price: 1}\n"
         "- {name: a, mw: 2, site: x, target: 2028-01-01, price: 1}\n",
         NULL},
        {HEAD TRANCHES "- {name: a, mw: 1, site: x, target: 2027-01-01, longstop: 2026-12-31, "
                       "price: 1}\n",
         "longstop: is before"},
        {HEAD TRANCHES "- {name: a, mw: 1, site: x, target: 2027-01-01, delivered: 2027-01-01, "
                       "price: 1}\n",
         "delivered: of a contract that is not signed"},
        {HEAD TRANCHES "- {name: a, kind: option, mw: 1, site: x, target: 2027-01-01, price: 1}\n",
         "f:8:19: kind: an option wants exercise_until"},
        {HEAD TRANCHES "- {name: a, kind: option, mw: 1, site: x, target: 2028-01-01, price: 1, "
                       "exercise_until: 2028-01-02}\n",
         "exercise_until: is later than the target"},
        {HEAD TRANCHES "- {name: a, kind: maybe, mw: 1, site: x, target: 2028-01-01, price: 1}\n",
         "kind: 'maybe' is none of its words: firm|option"},
        {HEAD "tranches: []\n", "f:7:11: tranches: there is none"},
        {HEAD, "tranches: there is none"},
        {HEAD "tranches: 3\n", "f:7:11: tranches: wants a list"},
        {WHOLE "time_zone: Europe/Atlantis\n", "f:9:12: time_zone: "},
        {WHOLE "spillover: pay\n", "f:9:12: spillover: wants spillover_input"},
        {WHOLE "spillover_input: 1\n", "spillover: is not 'pay'"},
        {WHOLE "take_or_pay: 1.1\n", "f:9:14: take_or_pay: is no share"},
        {WHOLE "indexation_percent: 60\n", "f:9:21: indexation_percent: is more than"},
        {WHOLE "basket: [{model: m, input: 0, output: 1}]\n", "f:9:28: input: is not one token"},
        {WHOLE "termination_fee: 1\n", "termination_fee: wants termination_notice_days"},
        {"contract: a b\n", "f:1:11: contract: 'a b' is no name"},
        {"from: 1969-12-31\n", "f:1:7: from: '1969-12-31' is not from 1970"},
        {"until: 9999-01-01\n", "is not from 1970 to 2200"},
        {"currency: dollars\n", "is no currency"},
        {"title: \"a\\tb\"\n", "wants 1 to 200 bytes of plain text"},
        {"supplier: {name: s, tenants: [a]}\n", "unknown key 'tenants'"},
        {"supplier: s\n", "f:1:11: wants a map"},
        {"customer: {name: k, tenants: a}\n", "tenants: wants a list of names"},
        {"contract: {a: b}\n", "contract: wants one value"},
    };

    for (size_t i = 0; i < ARRAY_LEN(t); i++) {
        struct contract_file *f = NULL;
        struct err e = {0};
        int r = contract_file_parse(&f, "f", t[i].text, strlen(t[i].text), &e);
        contract_file_close(f);
        if (!r != !t[i].says || (r && !strstr(e.text, t[i].says)))
            fail_msg("%s\nsays: %s\nwants: %s", t[i].text, e.text, t[i].says);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whole),
        cmocka_unit_test(faults),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
