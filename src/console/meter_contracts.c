#include "console/meter_contracts.h"

#include "cloud/cloud.h"

enum { M_RATE, M_INSIDE, M_REQUESTS, M_TOKENS, M_LOG_ENTRIES, M_LOG_HEADS, M_LOG_HEAD_AT, N_ROWS };

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
    [M_LOG_ENTRIES] = {"gaufre_receipts_entries",
                       METRIC_GAUGE,
                       "Entries of the log of answers under a signed head.",
                       {NULL},
                       NULL,
                       0},
    [M_LOG_HEADS] = {"gaufre_receipts_heads_total",
                     METRIC_COUNTER,
                     "Heads of the log that this server signed.",
                     {NULL},
                     NULL,
                     0},
    [M_LOG_HEAD_AT] = {"gaufre_receipts_head_timestamp_seconds",
                       METRIC_GAUGE,
                       "When the newest answer under a signed head ended, Unix time.",
                       {NULL},
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
    return metric_set_new(defs, METER_CONTRACTS_MAX * 8 + 3);
}

static void put(struct metric_set *s, int i_def, const struct cloud_contract_view *v,
                const char *label, int64_t n)
{
    metric_put(metric_get(s, i_def, v->name, label, NULL), n);
}

/* The log of answers, where it has heads. */
static void put_log(struct metric_set *s, struct cloud *cloud)
{
    struct cloud_stats now;

    cloud_stats(cloud, &now);
    if (!now.log.entries)
        return;
    metric_put(metric_get(s, M_LOG_ENTRIES, NULL, NULL, NULL), now.log.entries);
    metric_put(metric_get(s, M_LOG_HEADS, NULL, NULL, NULL), now.log.heads);
    metric_put(metric_get(s, M_LOG_HEAD_AT, NULL, NULL, NULL), now.log.head_s);
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
    put_log(s, cloud);
    return metric_write(s, out);
}
