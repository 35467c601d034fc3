#include "cmd/contract_accepted.h"

#include <stdio.h>
#include <string.h>

struct looking {
    const struct contract *contract;
    int64_t as_of_s, known_s;
    struct accepted *ret;
    struct err *e;
};

static void take(const struct looking *x, const struct measured_row *row,
                 const struct measurement *m)
{
    for (int i = 0; i < x->contract->n_tranches; i++) {
        struct accepted *to = &x->ret[i];
        if (strcmp(x->contract->tranche[i].name, m->tranche) != 0)
            continue;
        to->id = row->id;
        to->at_s = m->until_s;
        snprintf(to->key, sizeof to->key, "%s", row->public_key);
    }
}

static int look(void *arg, const struct measured_row *row)
{
    struct looking *x = arg;
    struct measurement *m = NULL;
    int r;

    if (row->recorded_s > x->known_s || !*row->signature)
        return 0;
    r = measurement_parse(&m, row->text, strlen(row->text), x->e);
    if (r)
        return r;
    if (m->verdict.has_passed && m->tranche && m->until_s <= x->as_of_s &&
        acceptance_is_signed(row->text, row->signature, row->public_key))
        take(x, row, m);
    measurement_free(m);
    return 0;
}

int contract_accepted(struct accounts *a, const struct contract *c, int64_t as_of_s,
                      int64_t known_s, struct accepted ret[CONTRACT_TRANCHES_MAX], struct err *e)
{
    struct looking x = {c, as_of_s, known_s, ret, e};

    memset(ret, 0, CONTRACT_TRANCHES_MAX * sizeof *ret);
    return accounts_measurements(a, c->name, look, &x, e);
}

json_t *contract_accepted_json(const struct accepted *x)
{
    return x->id ? json_pack("{s:I, s:I, s:s}", "measurement", (json_int_t)x->id, "at",
                             (json_int_t)x->at_s, "public_key", x->key)
                 : json_null();
}
