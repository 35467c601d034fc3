/* Fuzz target: a measurement of a basket. What is taken comes back the same through its JSON, and
 * entitles a contract of its own basket to no more than its power makes. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "cloud/acceptance.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void look(struct measurement *m)
{
    struct contract c = {.name = "c", .n_loads = m->n_rows, .n_tranches = 1};
    struct basket_measured b;
    struct basket_entitlement n;
    struct basket_level l;

    memcpy(c.load, m->row, sizeof c.load);
    c.tranche[0] = (struct tranche){.name = "t", .site = "s", .watts = CONTRACT_WATTS_MAX};
    CHECK(!measurement_match(m, &c, &b));
    for (int i = 0; i < b.n_levels; i++) {
        basket_level(&c, &b, i, &l);
        CHECK(l.rate_mtps >= 0 && l.rate_mtps <= BASKET_MTPS_MAX);
        CHECK(l.token_uj == BASKET_UNKNOWN || (l.token_uj > 0 && l.token_uj <= BASKET_UJ_MAX));
        CHECK(l.uncertainty_permille >= 0 && l.uncertainty_permille <= 1000);
    }
    for (int basis = 0; basis < 2; basis++) {
        c.basis = basis ? CONTRACT_FACILITY : CONTRACT_IT;
        measurement_entitlement(m, &c, CONTRACT_WATTS_MAX, &b, &n);
        CHECK(n.why ? !n.rate_mtps && n.i_level < 0
                    : n.i_level >= 0 && n.i_level < b.n_levels && n.low_mtps <= n.rate_mtps &&
                          n.concurrency >= 0);
    }
    acceptance_judge(m, &c, &c.tranche[0], 1000, 1000000);
    CHECK(m->verdict.has_passed || m->verdict.n_reasons > 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct measurement *m = NULL, *again = NULL;
    struct err e = {0};
    json_t *j, *k;
    char *text;

    if (measurement_parse(&m, (const char *)data, size, &e)) {
        CHECK(!m && e.code && e.text[0]);
        return 0;
    }
    j = measurement_json(m);
    text = json_dumps(j, JSON_COMPACT);
    CHECK(!measurement_parse(&again, text, strlen(text), &e));
    k = measurement_json(again);
    CHECK(json_equal(j, k));
    look(m);
    json_decref(j);
    json_decref(k);
    free(text);
    measurement_free(m);
    measurement_free(again);
    return 0;
}
