#include "console/meter_contracts.h"

#include "cloud/cloud.h"

enum { M_RATE, M_INSIDE, M_REQUESTS, M_TOKENS, N_ROWS };

static const struct metric_def defs[N_ROWS + 1] = {
    [M_RATE] =
        {"gaufre_contract_entitlement_tokens_per_second",
         METRIC_SHARE,
         "Tokens of output a second to which a contract entitles now, by its sites' factors.",
         {"contract", "basis"},
         NULL,
         0},
    [M_INSIDE] = {"gaufre_contract_running",
                  METRIC_GAUGE,
                  "Sequences under way within a contract.",
                  {"contract"},
                  NULL,
                  0},
    [M_REQUESTS] = {"gaufre_contract_requests_total",
                    METRIC_COUNTER,
                    "Requests of a contract's tenants: within it, or above it and refused.",
                    {"contract", "result"},
                    NULL,
                    0},
    [M_TOKENS] =
        {"gaufre_contract_tokens_total",
         METRIC_COUNTER,
         "Tokens of prompts and answers: within a contract, above it and paid or borrowed, "
         "and lent to others while it was idle.",
         {"contract", "use"},
         NULL,
         0},
};

int meter_contracts_row(int i, const struct metric_def **ret)
{
    if (i < 0 || i >= N_ROWS)
        return 0;
    *ret = &defs[i];
    return 1;
}

struct metric_set *meter_contracts_new(void)
{
    return metric_set_new(defs, METER_CONTRACTS_MAX * 8);
}

static void put(struct metric_set *s, int i_def, const struct cloud_contract_view *v,
                const char *label, int64_t n)
{
    metric_put(metric_get(s, i_def, v->name, label, NULL), n);
}

int meter_contracts_write(struct metric_set *s, struct cloud *cloud, struct buf *out)
{
    struct cloud_contract_view v;

    metric_fill(s, M_RATE, METRIC_NONE);
    metric_fill(s, M_INSIDE, METRIC_NONE);
    for (int i = 0; i < METER_CONTRACTS_MAX && !cloud_view_nth_contract(cloud, i, &v); i++) {
        put(s, M_RATE, &v, v.basis, v.rate * 1000);
        put(s, M_INSIDE, &v, NULL, v.n_inside);
        put(s, M_REQUESTS, &v, "within", v.n_requests);
        put(s, M_REQUESTS, &v, "refused", v.n_refused);
        put(s, M_TOKENS, &v, "within", v.tokens);
        put(s, M_TOKENS, &v, "paid", v.tokens_paid);
        put(s, M_TOKENS, &v, "borrowed", v.tokens_borrowed);
        put(s, M_TOKENS, &v, "lent", v.tokens_lent);
    }
    return metric_write(s, out);
}
