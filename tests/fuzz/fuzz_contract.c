/* Fuzz target: a contract's file. What is taken has no fault, comes back the same through its JSON,
 * and its sums agree at every time. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "cloud/contract_file.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void look(const struct contract *c, int64_t now_s)
{
    struct contract_due d;

    contract_due(c, now_s, c->from_s, c->until_s, &d);
    CHECK(d.firm_j >= 0 && d.ready_j >= 0 && d.late_j >= 0 && d.fee >= 0 && d.late_credit >= 0);
    CHECK(d.firm_j == INT64_MAX || d.firm_j == d.ready_j + d.late_j);
    CHECK(contract_watts(c, POWER_READY, NULL, NULL, now_s, now_s) <=
          contract_watts(c, POWER_FIRM, NULL, NULL, now_s, now_s));
    for (int i = 0; i < c->n_tranches; i++)
        CHECK(tranche_state(c, &c->tranche[i], now_s) < TRANCHE_STATES);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct contract_file *f = NULL, *again = NULL;
    const struct contract *c;
    struct contract_place at;
    struct err e = {0};
    json_t *j, *k;
    char *text;

    if (contract_file_parse(&f, "f", (const char *)data, size, &e)) {
        CHECK(!f && e.code && e.text[0]);
        return 0;
    }
    c = contract_file_contract(f);
    CHECK(!contract_fault(c, &at));
    look(c, 0);
    look(c, c->from_s);
    look(c, c->until_s - 1);
    look(c, INT64_MAX);
    j = contract_json(f);
    text = json_dumps(j, CONTRACT_JSON_FLAGS);
    CHECK(!contract_file_parse(&again, "again", text, strlen(text), &e));
    k = contract_json(again);
    CHECK(json_equal(j, k));
    json_decref(j);
    json_decref(k);
    free(text);
    contract_file_close(f);
    contract_file_close(again);
    return 0;
}
