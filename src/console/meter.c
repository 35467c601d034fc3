#include "console/meter.h"
#include "console/meter_contracts.h"
#include "console/meter_sites.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/put.h"
#include "console/console_int.h"
#include "job/tier.h"

#define SERIES_MAX    4096
#define TENANTS_SHOWN 200 /* more are counted as "other" */

/* Microseconds. */
static const int64_t fast[] = {1000,    2500,    5000,    10000,   20000,  40000,
                               60000,   80000,   100000,  250000,  500000, 1000000,
                               2500000, 5000000, 7500000, 10000000};
static const int64_t slow[] = {10000,    50000,    100000,    250000,    500000,
                               1000000,  2000000,  5000000,   10000000,  20000000,
                               40000000, 60000000, 120000000, 300000000, 600000000};
static const int64_t sizes[] = {1,   2,    5,    10,   20,    50,    100,   200,
                                500, 1000, 2000, 5000, 10000, 20000, 50000, 100000};

#define TIMES(b) b, (int)ARRAY_LEN(b)
#define MODEL                                                                                      \
    {                                                                                              \
        "model_name"                                                                               \
    }

enum {
    M_RUNNING,
    M_WAITING,
    M_KV_USE,
    M_PROMPT,
    M_GENERATED,
    M_CACHED,
    M_PREEMPTIONS,
    M_DRAFTED,
    M_ACCEPTED,
    M_SUCCESS,
    M_TTFT,
    M_INTER_TOKEN,
    M_E2E,
    M_QUEUE,
    M_PREFILL,
    M_DECODE,
    M_SIZE_IN,
    M_SIZE_OUT,
    M_REQUESTS,
    M_REFUSED,
    M_EXCEEDED,
    M_RETRIES,
    M_HEDGES,
    M_HEDGED,
    M_WEBHOOKS,
    M_LOST,
    M_REPLAYS,
    M_REPLAY_BYTES,
    M_STORED,
    M_STORED_NOW,
    M_STORED_BYTES,
    M_BREAKER,
    M_TENANT_REQUESTS,
    M_TENANT_FAILED,
    M_TENANT_PROMPT,
    M_TENANT_GENERATED,
    M_TIER_UNDER_WAY,
    M_TIER_REQUESTS,
    M_TIER_TTFT,
    M_TIER_QUEUE,
    M_SUPPLIER_REQUESTS,
    M_SUPPLIER_ERRORS,
    M_SUPPLIER_TTFT,
    M_SUPPLIER_RUNNING,
    M_SUPPLIER_WAITING,
    M_SUPPLIER_CAPACITY,
    M_SPANS,
    M_RESERVED,
    M_BUDGETS,
    M_BUDGETS_MONEY,
    M_BUDGETS_ENERGY,
    M_READY,
    M_STEPS,
    M_BYTES_READ,
    M_CONNS,
    M_EXCHANGES,
    M_BODY_BYTES,
    M_ANSWER_BYTES,
    M_MALFORMED,
    M_EVICTED,
    M_SHAKES,
    M_H2_CONNS,
    M_H2_RESETS,
    M_H2_ABUSE,
    M_TLS_EXPIRY,
    M_GONE,
    M_SLOW,
    M_GENERATION,
    M_ROWS,
    M_ROWS_PENDING,
    M_ROWS_IN_JOURNAL,
    M_ROWS_FAILED,
    M_REQUESTS_DROPPED,
    M_LEDGER_LAG,
    M_ENERGY,
    M_ENERGY_METER,
    M_ENERGY_IDLE,
    M_POWER,
    M_METER_AGE,
    M_METER_FAILED,
    M_BUILD,
};

static const struct metric_def defs[] = {
    [M_RUNNING] = {"vllm:num_requests_running", METRIC_GAUGE, "Sequences being computed.", MODEL,
                   NULL, 0},
    [M_WAITING] = {"vllm:num_requests_waiting", METRIC_GAUGE, "Jobs that have not begun.", MODEL,
                   NULL, 0},
    [M_KV_USE] = {"vllm:kv_cache_usage_perc", METRIC_SHARE,
                  "Share of the KV cache's pages in use by sequences (0 to 1).", MODEL, NULL, 0},
    [M_PROMPT] = {"vllm:prompt_tokens_total", METRIC_COUNTER, "Prompt tokens of answered requests.",
                  MODEL, NULL, 0},
    [M_GENERATED] = {"vllm:generation_tokens_total", METRIC_COUNTER,
                     "Generated tokens of answered requests.", MODEL, NULL, 0},
    [M_CACHED] = {"vllm:prefix_cache_hits_total", METRIC_COUNTER,
                  "Prompt tokens that came from the prefix cache.", MODEL, NULL, 0},
    [M_PREEMPTIONS] = {"vllm:num_preemptions_total", METRIC_COUNTER,
                       "Sequences put back: for want of KV pages, or while their reader paused.",
                       MODEL, NULL, 0},
    [M_DRAFTED] = {"vllm:spec_decode_num_draft_tokens_total", METRIC_COUNTER,
                   "Tokens drafted and verified together with a step's own.", MODEL, NULL, 0},
    [M_ACCEPTED] = {"vllm:spec_decode_num_accepted_tokens_total", METRIC_COUNTER,
                    "Of these: right.", MODEL, NULL, 0},
    [M_SUCCESS] = {"vllm:request_success_total",
                   METRIC_COUNTER,
                   "Requests by how they finished.",
                   {"model_name", "finished_reason"},
                   NULL,
                   0},
    [M_TTFT] = {"vllm:time_to_first_token_seconds", METRIC_TIMES,
                "From the request's first byte to its first token.", MODEL, TIMES(slow)},
    [M_INTER_TOKEN] = {"vllm:inter_token_latency_seconds", METRIC_TIMES,
                       "Between two tokens of a request, as handed to the wire.", MODEL,
                       TIMES(fast)},
    [M_E2E] = {"vllm:e2e_request_latency_seconds", METRIC_TIMES,
               "From the request's first byte to the end of its answer.", MODEL, TIMES(slow)},
    [M_QUEUE] = {"vllm:request_queue_time_seconds", METRIC_TIMES, "Waiting to be scheduled.", MODEL,
                 TIMES(slow)},
    [M_PREFILL] = {"vllm:request_prefill_time_seconds", METRIC_TIMES, "Computing the prompt.",
                   MODEL, TIMES(slow)},
    [M_DECODE] = {"vllm:request_decode_time_seconds", METRIC_TIMES, "First to last token.", MODEL,
                  TIMES(slow)},
    [M_SIZE_IN] = {"vllm:request_prompt_tokens", METRIC_SIZES, "Prompt tokens of a request.", MODEL,
                   TIMES(sizes)},
    [M_SIZE_OUT] = {"vllm:request_generation_tokens", METRIC_SIZES,
                    "Generated tokens of a request.", MODEL, TIMES(sizes)},
    [M_REQUESTS] = {"gaufre_requests_total",
                    METRIC_COUNTER,
                    "Answered API requests by HTTP status; model '-' where none was found.",
                    {"model_name", "status"},
                    NULL,
                    0},
    [M_REFUSED] = {"gaufre_refused_total",
                   METRIC_COUNTER,
                   "Requests refused, by reason.",
                   {"reason"},
                   NULL,
                   0},
    [M_EXCEEDED] = {"gaufre_exceeded_total",
                    METRIC_COUNTER,
                    "Of those refused for tokens or budgets: served all the same, by on_exceed.",
                    {"how"},
                    NULL,
                    0},
    [M_RETRIES] = {"gaufre_retries_total",
                   METRIC_COUNTER,
                   "Requests whose offer failed: tried at another, or refused that by the budget.",
                   {"result"},
                   NULL,
                   0},
    [M_HEDGES] = {"gaufre_hedges_total",
                  METRIC_COUNTER,
                  "Requests that were sent to a second supplier because the first was late.",
                  {NULL},
                  NULL,
                  0},
    [M_HEDGED] = {"gaufre_hedged_tokens_total",
                  METRIC_COUNTER,
                  "Tokens of those that lost, which the platform pays.",
                  {NULL},
                  NULL,
                  0},
    [M_WEBHOOKS] = {"gaufre_webhook_events_total",
                    METRIC_COUNTER,
                    "Events for webhooks: delivered, tries that failed, dropped.",
                    {"result"},
                    NULL,
                    0},
    [M_LOST] = {"gaufre_lost_tokens_total",
                METRIC_COUNTER,
                "Tokens that suppliers are owed for and nobody got, as a client left.",
                {NULL},
                NULL,
                0},
    [M_REPLAYS] = {"gaufre_replays_total",
                   METRIC_COUNTER,
                   "Requests whose Idempotency-Key was known: replayed, in_use, reused, too_long.",
                   {"result"},
                   NULL,
                   0},
    [M_REPLAY_BYTES] = {"gaufre_replay_bytes",
                        METRIC_GAUGE,
                        "Memory of answers that are kept for retries.",
                        {NULL},
                        NULL,
                        0},
    [M_STORED] = {"gaufre_stored_answers_total",
                  METRIC_COUNTER,
                  "Stored answers: stored, resumed after a restart, read again, lost before their "
                  "end, moved to another server, taken from one.",
                  {"result"},
                  NULL,
                  0},
    [M_STORED_NOW] = {"gaufre_stored_answers",
                      METRIC_GAUGE,
                      "Answers that are stored now: all, and of these pending: to be gone on with.",
                      {"state"},
                      NULL,
                      0},
    [M_STORED_BYTES] = {"gaufre_stored_bytes",
                        METRIC_GAUGE,
                        "Memory of stored answers; about as much is on the disk.",
                        {NULL},
                        NULL,
                        0},
    [M_BREAKER] = {"gaufre_supplier_breaker",
                   METRIC_GAUGE,
                   "1 for the state in which the breaker of a supplier's offer is: closed, "
                   "half_open, open.",
                   {"supplier", "state"},
                   NULL,
                   0},
    [M_TENANT_REQUESTS] =
        {"gaufre_tenant_requests_total",
         METRIC_COUNTER,
         "Answered API requests of a tenant; the first 200 tenants, then 'other'.",
         {"tenant"},
         NULL,
         0},
    [M_TENANT_FAILED] = {"gaufre_tenant_failed_total",
                         METRIC_COUNTER,
                         "Of these: answered with an error or not to the end.",
                         {"tenant"},
                         NULL,
                         0},
    [M_TENANT_PROMPT] = {"gaufre_tenant_prompt_tokens_total",
                         METRIC_COUNTER,
                         "Prompt tokens of a tenant's requests.",
                         {"tenant"},
                         NULL,
                         0},
    [M_TENANT_GENERATED] = {"gaufre_tenant_generation_tokens_total",
                            METRIC_COUNTER,
                            "Generated tokens of a tenant's requests.",
                            {"tenant"},
                            NULL,
                            0},
    [M_TIER_UNDER_WAY] = {"gaufre_tier_under_way",
                          METRIC_GAUGE,
                          "Requests that were handed to a supplier and have not ended, by the tier "
                          "that serves them.",
                          {"tier"},
                          NULL,
                          0},
    [M_TIER_REQUESTS] =
        {"gaufre_tier_requests_total",
         METRIC_COUNTER,
         "Requests that were handed to a supplier and have ended, by the tier that served them.",
         {"tier"},
         NULL,
         0},
    [M_TIER_TTFT] = {"gaufre_tier_time_to_first_token_seconds",
                     METRIC_TIMES,
                     "From a request's first byte to its first token, by tier.",
                     {"tier"},
                     TIMES(slow)},
    [M_TIER_QUEUE] = {"gaufre_tier_queue_time_seconds",
                      METRIC_TIMES,
                      "Waiting to be scheduled, by tier.",
                      {"tier"},
                      TIMES(slow)},
    [M_SUPPLIER_REQUESTS] = {"gaufre_supplier_requests_total",
                             METRIC_COUNTER,
                             "Requests that were handed to a supplier's offer.",
                             {"supplier"},
                             NULL,
                             0},
    [M_SUPPLIER_ERRORS] = {"gaufre_supplier_errors_total",
                           METRIC_COUNTER,
                           "Of these: failed there, by the error's name.",
                           {"supplier", "error"},
                           NULL,
                           0},
    [M_SUPPLIER_TTFT] = {"gaufre_supplier_time_to_first_token_seconds",
                         METRIC_TIMES,
                         "From a stream's start at a supplier's offer to its first content.",
                         {"supplier"},
                         TIMES(slow)},
    [M_SUPPLIER_RUNNING] = {"gaufre_supplier_running",
                            METRIC_GAUGE,
                            "Sequences under way at a supplier elsewhere.",
                            {"supplier"},
                            NULL,
                            0},
    [M_SUPPLIER_WAITING] = {"gaufre_supplier_waiting",
                            METRIC_GAUGE,
                            "Sequences that wait here for a place there.",
                            {"supplier"},
                            NULL,
                            0},
    [M_SUPPLIER_CAPACITY] =
        {"gaufre_supplier_capacity", METRIC_GAUGE, "Places there.", {"supplier"}, NULL, 0},
    [M_SPANS] = {"gaufre_trace_spans_total",
                 METRIC_COUNTER,
                 "Spans of traces: sent, dropped.",
                 {"result"},
                 NULL,
                 0},
    [M_RESERVED] = {"gaufre_reserved_tokens",
                    METRIC_GAUGE,
                    "Tokens that requests under way hold.",
                    {NULL},
                    NULL,
                    0},
    [M_BUDGETS] =
        {"gaufre_budget_tokens",
         METRIC_GAUGE,
         "Tokens that budgets count in their windows, settled or held; all budgets together.",
         {"state"},
         NULL,
         0},
    [M_BUDGETS_MONEY] = {"gaufre_budget_nano",
                         METRIC_GAUGE,
                         "The same of budgets of money, in nano-units of the currency of prices.",
                         {"state"},
                         NULL,
                         0},
    [M_BUDGETS_ENERGY] = {"gaufre_budget_joules",
                          METRIC_GAUGE,
                          "The same of budgets of energy, in joules.",
                          {"state"},
                          NULL,
                          0},
    [M_READY] = {"gaufre_model_ready", METRIC_GAUGE, "1: loaded and alive.", MODEL, NULL, 0},
    [M_STEPS] = {"gaufre_steps_total", METRIC_COUNTER, "Forward passes.", MODEL, NULL, 0},
    [M_BYTES_READ] = {"gaufre_weight_bytes_read_total", METRIC_COUNTER,
                      "Bytes of weights read by forward passes.", MODEL, NULL, 0},
    [M_CONNS] = {"gaufre_connections", METRIC_GAUGE, "Open connections.", {NULL}, NULL, 0},
    [M_EXCHANGES] =
        {"gaufre_requests_under_way", METRIC_GAUGE, "Requests not yet answered.", {NULL}, NULL, 0},
    [M_BODY_BYTES] = {"gaufre_body_bytes",
                      METRIC_GAUGE,
                      "Memory of requests: bodies, reading them, what stays.",
                      {NULL},
                      NULL,
                      0},
    [M_ANSWER_BYTES] = {"gaufre_answer_bytes",
                        METRIC_GAUGE,
                        "Memory of answers: gathered, or waiting to be read.",
                        {NULL},
                        NULL,
                        0},
    [M_MALFORMED] = {"gaufre_malformed_total",
                     METRIC_COUNTER,
                     "Connections refused for malformed, oversized or slow heads.",
                     {NULL},
                     NULL,
                     0},
    [M_EVICTED] = {"gaufre_connections_evicted_total",
                   METRIC_COUNTER,
                   "Idle connections closed for new ones.",
                   {NULL},
                   NULL,
                   0},
    [M_SHAKES] = {"gaufre_tls_handshakes_total",
                  METRIC_COUNTER,
                  "TLS handshakes, by how they ended: done, failed.",
                  {"result"},
                  NULL,
                  0},
    [M_H2_CONNS] = {"gaufre_http2_connections_total",
                    METRIC_COUNTER,
                    "Connections that spoke HTTP/2.",
                    {NULL},
                    NULL,
                    0},
    [M_H2_RESETS] = {"gaufre_http2_resets_total",
                     METRIC_COUNTER,
                     "Requests of HTTP/2 that were reset before their answer had ended.",
                     {NULL},
                     NULL,
                     0},
    [M_H2_ABUSE] = {"gaufre_http2_abuse_total",
                    METRIC_COUNTER,
                    "Connections of HTTP/2 closed for floods of resets or of idle frames.",
                    {NULL},
                    NULL,
                    0},
    [M_TLS_EXPIRY] = {"gaufre_tls_certificate_expiry_seconds",
                      METRIC_GAUGE,
                      "When the certificate in use expires, Unix time; absent without TLS.",
                      {NULL},
                      NULL,
                      0},
    [M_GONE] = {"gaufre_clients_gone_total",
                METRIC_COUNTER,
                "Clients that left before the end.",
                {NULL},
                NULL,
                0},
    [M_SLOW] = {"gaufre_clients_stalled_total",
                METRIC_COUNTER,
                "Of these: cut for not reading.",
                {NULL},
                NULL,
                0},
    [M_GENERATION] = {"gaufre_config_generation",
                      METRIC_GAUGE,
                      "Configuration in force: 1 at the start, one more with each swap.",
                      {NULL},
                      NULL,
                      0},
    [M_ROWS] = {"gaufre_ledger_rows_total", METRIC_COUNTER, "Rows booked.", {NULL}, NULL, 0},
    [M_ROWS_PENDING] =
        {"gaufre_ledger_rows_pending", METRIC_GAUGE, "Rows not yet on disk.", {NULL}, NULL, 0},
    [M_ROWS_IN_JOURNAL] = {"gaufre_ledger_rows_in_journal",
                           METRIC_GAUGE,
                           "Rows on disk, not yet in the ledger's database.",
                           {NULL},
                           NULL,
                           0},
    [M_ROWS_FAILED] = {"gaufre_ledger_failures_total",
                       METRIC_COUNTER,
                       "Writes that failed and were tried again.",
                       {NULL},
                       NULL,
                       0},
    [M_REQUESTS_DROPPED] = {"gaufre_request_log_dropped_total",
                            METRIC_COUNTER,
                            "Requests that are not in the request log, which could not keep up.",
                            {NULL},
                            NULL,
                            0},
    [M_LEDGER_LAG] = {"gaufre_ledger_lag_seconds",
                      METRIC_SHARE,
                      "Age of the oldest row that is not in the ledger's database.",
                      {NULL},
                      NULL,
                      0},
    [M_ENERGY] = {"gaufre_energy_joules_total",
                  METRIC_SUM,
                  "Energy that requests used.",
                  {"model_name", "boundary", "method"},
                  NULL,
                  0},
    [M_ENERGY_METER] = {"gaufre_energy_metered_joules_total",
                        METRIC_SUM,
                        "What the meter counted.",
                        {"boundary", "method"},
                        NULL,
                        0},
    [M_ENERGY_IDLE] = {"gaufre_energy_unattributed_joules_total",
                       METRIC_SUM,
                       "Of that: while no request was computed, or nobody can say for which.",
                       {"boundary", "method"},
                       NULL,
                       0},
    [M_POWER] = {"gaufre_power_watts",
                 METRIC_SHARE,
                 "Power as the meter says.",
                 {"boundary", "method"},
                 NULL,
                 0},
    [M_METER_AGE] = {"gaufre_energy_meter_age_seconds",
                     METRIC_SHARE,
                     "Age of the meter's last reading.",
                     {NULL},
                     NULL,
                     0},
    [M_METER_FAILED] = {"gaufre_energy_meter_failures_total",
                        METRIC_COUNTER,
                        "Readings that failed or could not be believed.",
                        {NULL},
                        NULL,
                        0},
    [M_BUILD] = {"gaufre_build_info", METRIC_GAUGE, "Always 1.", {"version"}, NULL, 0},
    {0},
};

/* Series of one tenant. */
struct meter_tenant {
    struct metric *requests, *failed, *prompt, *generated;
};

struct meter {
    struct metric_set *set, *sites, *contracts;
    struct {
        struct metric *under_way, *requests, *ttft, *queue;
    } tier[TIER_AUTO];
    _Atomic(struct meter_tenant *) tenant[CLOUD_TENANTS_MAX]; /* by number; NULL: not yet */
    _Atomic int n_tenants;
};

int console_metric_row(int i, const struct metric_def **ret)
{
    int n = (int)ARRAY_LEN(defs) - 1;

    if (i < 0 || i >= n)
        return meter_sites_row(i - n, ret) || meter_contracts_row(i - n - METER_SITES_ROWS, ret);
    *ret = &defs[i];
    return 1;
}

static struct metric *get(struct meter *m, int i_def, const char *label)
{
    return metric_get(m->set, i_def, label, NULL, NULL);
}

static void tenant_series(struct meter *m, const char *name, struct meter_tenant *ret)
{
    *ret = (struct meter_tenant){.requests = get(m, M_TENANT_REQUESTS, name),
                                 .failed = get(m, M_TENANT_FAILED, name),
                                 .prompt = get(m, M_TENANT_PROMPT, name),
                                 .generated = get(m, M_TENANT_GENERATED, name)};
}

struct meter *meter_new(void)
{
    struct meter *m = calloc(1, sizeof *m);

    if (m && (!(m->set = metric_set_new(defs, SERIES_MAX)) || !(m->sites = meter_sites_new()) ||
              !(m->contracts = meter_contracts_new()))) {
        metric_set_free(m->sites);
        metric_set_free(m->set);
        free(m);
        return NULL;
    }
    for (int i = 0; m && i < TIER_AUTO; i++) {
        const char *name = tier_name((enum tier)i);
        m->tier[i].under_way = get(m, M_TIER_UNDER_WAY, name);
        m->tier[i].requests = get(m, M_TIER_REQUESTS, name);
        m->tier[i].ttft = get(m, M_TIER_TTFT, name);
        m->tier[i].queue = get(m, M_TIER_QUEUE, name);
    }
    return m;
}

void meter_free(struct meter *m)
{
    if (!m)
        return;
    for (int i = 0; i < CLOUD_TENANTS_MAX; i++)
        free(atomic_load(&m->tenant[i]));
    metric_set_free(m->set);
    metric_set_free(m->contracts);
    metric_set_free(m->sites);
    free(m);
}

/* Its series: found by its number, so that the cost does not grow with the number of tenants. */
static void find_tenant(struct meter *m, int i, const char *name, struct meter_tenant *ret)
{
    struct meter_tenant *t = atomic_load(&m->tenant[i]), *was = NULL;

    if (!t && (t = malloc(sizeof *t))) {
        tenant_series(m, atomic_fetch_add(&m->n_tenants, 1) < TENANTS_SHOWN ? name : "other", t);
        if (!atomic_compare_exchange_strong(&m->tenant[i], &was, t)) { /* another thread has */
            free(t);
            t = was;
        }
    }
    if (t)
        *ret = *t;
    else
        tenant_series(m, "other", ret);
}

void meter_model(struct meter *m, const char *name, struct meter_model *ret)
{
    struct metric_set *s = m->set;

    *ret = (struct meter_model){
        .running = metric_get(s, M_RUNNING, name, NULL, NULL),
        .waiting = metric_get(s, M_WAITING, name, NULL, NULL),
        .kv_use = metric_get(s, M_KV_USE, name, NULL, NULL),
        .prompt = metric_get(s, M_PROMPT, name, NULL, NULL),
        .generated = metric_get(s, M_GENERATED, name, NULL, NULL),
        .cached = metric_get(s, M_CACHED, name, NULL, NULL),
        .preemptions = metric_get(s, M_PREEMPTIONS, name, NULL, NULL),
        .drafted = metric_get(s, M_DRAFTED, name, NULL, NULL),
        .accepted = metric_get(s, M_ACCEPTED, name, NULL, NULL),
        .ttft = metric_get(s, M_TTFT, name, NULL, NULL),
        .inter_token = metric_get(s, M_INTER_TOKEN, name, NULL, NULL),
        .e2e = metric_get(s, M_E2E, name, NULL, NULL),
        .queue = metric_get(s, M_QUEUE, name, NULL, NULL),
        .prefill = metric_get(s, M_PREFILL, name, NULL, NULL),
        .decode = metric_get(s, M_DECODE, name, NULL, NULL),
        .size_in = metric_get(s, M_SIZE_IN, name, NULL, NULL),
        .size_out = metric_get(s, M_SIZE_OUT, name, NULL, NULL),
        .steps = metric_get(s, M_STEPS, name, NULL, NULL),
        .bytes_read = metric_get(s, M_BYTES_READ, name, NULL, NULL),
        .ready = metric_get(s, M_READY, name, NULL, NULL),
        .stop = metric_get(s, M_SUCCESS, name, "stop", NULL),
        .length = metric_get(s, M_SUCCESS, name, "length", NULL),
        .error = metric_get(s, M_SUCCESS, name, "abort", NULL),
    };
}

static void count_tenant(struct meter *m, const struct row_end *e)
{
    struct meter_tenant t;

    find_tenant(m, e->i_tenant, e->tenant, &t);
    metric_add(t.requests, 1);
    metric_add(t.failed, e->code || e->status >= 400);
    metric_add(t.prompt, e->usage.prompt_tokens);
    metric_add(t.generated, e->usage.completion_tokens);
}

void meter_under_way(struct meter *m, enum tier tier, int add)
{
    metric_add(m->tier[tier].under_way, add);
}

void meter_first_token(struct meter *m, const struct meter_model *mm, enum tier tier, int64_t us)
{
    metric_observe(mm->ttft, us);
    metric_observe(m->tier[tier].ttft, us);
}

void meter_end(struct meter *m, const char *model, const struct meter_model *mm,
               const struct row_live *l, const struct row_end *e)
{
    char status[PUT_MAX];

    put_dec(e->status, status);
    metric_add(metric_get(m->set, M_REQUESTS, model, status, NULL), 1);
    if (e->i_tenant >= 0)
        count_tenant(m, e);
    if (!mm || !e->n_jobs)
        return;
    metric_add(m->tier[l->row.tier].requests, 1);
    metric_observe(m->tier[l->row.tier].queue, e->times.queue_us);
    metric_add(mm->prompt, e->usage.prompt_tokens);
    metric_add(mm->cached, e->usage.cached_tokens);
    metric_add(mm->generated, e->usage.completion_tokens);
    metric_observe(mm->e2e, clock_now_us() - l->row.started_us);
    metric_observe(mm->queue, e->times.queue_us);
    metric_observe(mm->prefill, e->times.prompt_us);
    metric_observe(mm->decode, e->times.completion_us);
    metric_observe(mm->size_in, e->usage.prompt_tokens);
    metric_observe(mm->size_out, e->usage.completion_tokens);
    metric_add(e->code                                     ? mm->error
               : e->finish && !strcmp(e->finish, "length") ? mm->length
                                                           : mm->stop,
               1);
}

static void look_at_models(struct console *c)
{
    struct cloud_look look;

    for (int i = 0; i < c->n_models; i++) {
        const struct meter_model *m = &c->model[i].meters;
        const struct load *load = &look.load;
        cloud_look(c->setup.cloud, i, &look);
        cloud_look_done(c->setup.cloud, &look);
        metric_put(m->running, load->n_running);
        metric_put(m->waiting, load->n_waiting);
        metric_put(m->kv_use,
                   load->n_pages ? (int64_t)load->pages_used * 1000000 / load->n_pages : 0);
        metric_put(m->preemptions, (int64_t)load->preemptions);
        metric_put(m->drafted, (int64_t)load->draft_tokens);
        metric_put(m->accepted, (int64_t)load->draft_accepted);
        metric_put(m->steps, (int64_t)load->n_steps);
        metric_put(m->bytes_read, (int64_t)load->bytes_read);
        metric_put(m->ready, load->state == SUPPLIER_READY && !load->frozen);
    }
}

static void put(struct console *c, int i_def, const char *label, int64_t v)
{
    metric_put(metric_get(c->meter->set, i_def, label, NULL, NULL), v);
}

void console_spans(struct console *c, int n_sent, int n_dropped)
{
    metric_add(get(c->meter, M_SPANS, "sent"), n_sent);
    metric_add(get(c->meter, M_SPANS, "dropped"), n_dropped);
}

void console_supplier_begin(struct console *c, const char *supplier)
{
    metric_add(get(c->meter, M_SUPPLIER_REQUESTS, supplier), 1);
}

void console_supplier_result(struct console *c, const char *supplier, int code, int64_t first_us)
{
    if (code)
        metric_add(metric_get(c->meter->set, M_SUPPLIER_ERRORS, supplier, err_name(code), NULL), 1);
    else if (first_us >= 0)
        metric_observe(get(c->meter, M_SUPPLIER_TTFT, supplier), first_us);
}

/* The series of offers that have gone stay, at 0. */
static void look_at_suppliers(struct console *c)
{
    static const enum breaker_state states[] = {BREAKER_CLOSED, BREAKER_HALF_OPEN, BREAKER_OPEN};
    struct cloud_offer_view v[CLOUD_OFFERS_MAX];
    int n = cloud_view_offers(c->setup.cloud, clock_now_us(), v);

    metric_clear(c->meter->set, M_BREAKER);
    metric_clear(c->meter->set, M_SUPPLIER_RUNNING);
    metric_clear(c->meter->set, M_SUPPLIER_WAITING);
    metric_clear(c->meter->set, M_SUPPLIER_CAPACITY);
    for (int i = 0; i < n; i++) {
        put(c, M_SUPPLIER_RUNNING, v[i].supplier, v[i].n_running);
        put(c, M_SUPPLIER_WAITING, v[i].supplier, v[i].n_waiting);
        put(c, M_SUPPLIER_CAPACITY, v[i].supplier, v[i].capacity);
        for (size_t k = 0; k < ARRAY_LEN(states); k++)
            metric_put(metric_get(c->meter->set, M_BREAKER, v[i].supplier,
                                  breaker_state_name(states[k]), NULL),
                       v[i].state == states[k]);
    }
}

/* Energy by model, and the meter; NULL: there is none. */
static void look_at_energy(struct console *c, const struct energy_look *l)
{
    struct metric_set *s = c->meter->set;
    const char *boundary, *method;

    if (!l)
        return;
    boundary = energy_boundary_name(l->label.boundary);
    method = energy_method_name(l->label.method);
    for (int i = 0; i < c->n_models; i++) {
        struct cloud_look look;
        cloud_look(c->setup.cloud, i, &look);
        cloud_look_done(c->setup.cloud, &look);
        if (look.load.energy_uj)
            metric_put(metric_get(s, M_ENERGY, c->model[i].id, boundary, method),
                       (int64_t)look.load.energy_uj);
    }
    metric_put(metric_get(s, M_ENERGY_METER, boundary, method, NULL), l->metered_uj);
    metric_put(metric_get(s, M_ENERGY_IDLE, boundary, method, NULL), l->unattributed_uj);
    metric_put(metric_get(s, M_POWER, boundary, method, NULL), l->power_uw);
    put(c, M_METER_AGE, NULL, clock_now_us() - l->read_us);
    put(c, M_METER_FAILED, NULL, (int64_t)l->n_failures);
}

int console_metrics(struct console *c, const struct energy_look *energy, struct buf *out)
{
    struct net_stats n;
    struct cloud_stats s;
    int64_t settled, held;

    look_at_models(c);
    look_at_suppliers(c);
    look_at_energy(c, energy);
    net_server_stats(c->setup.net, &n);
    cloud_stats(c->setup.cloud, &s);
    put(c, M_CONNS, NULL, n.n_conns);
    put(c, M_EXCHANGES, NULL, n.n_exchanges);
    put(c, M_BODY_BYTES, NULL, n.body_bytes);
    put(c, M_ANSWER_BYTES, NULL, n.answer_bytes);
    put(c, M_MALFORMED, NULL, n.refused_total);
    put(c, M_EVICTED, NULL, n.evicted_total);
    put(c, M_SHAKES, "done", n.shakes_total);
    put(c, M_SHAKES, "failed", n.shake_fails_total);
    put(c, M_H2_CONNS, NULL, n.h2_conns_total);
    put(c, M_H2_RESETS, NULL, n.h2_resets_total);
    put(c, M_H2_ABUSE, NULL, n.h2_abuse_total);
    if (n.tls_expiry_s)
        put(c, M_TLS_EXPIRY, NULL, n.tls_expiry_s);
    put(c, M_GONE, NULL, n.gone_total);
    put(c, M_SLOW, NULL, n.slow_total);
    put(c, M_REFUSED, "key", s.refused_auth);
    put(c, M_REFUSED, "request_rate", s.refused_requests);
    put(c, M_REFUSED, "token_rate", s.refused_tokens);
    put(c, M_REFUSED, "concurrency", s.refused_concurrency);
    put(c, M_REFUSED, "queue", s.refused_queue);
    put(c, M_REFUSED, "budget", s.refused_budget);
    put(c, M_REFUSED, "borrow", s.refused_borrow);
    put(c, M_HEDGES, NULL, s.hedges);
    put(c, M_HEDGED, NULL, s.tokens_hedged);
    put(c, M_WEBHOOKS, "delivered", s.notices[TOLD_DELIVERED]);
    put(c, M_WEBHOOKS, "failed", s.notices[TOLD_FAILED]);
    put(c, M_WEBHOOKS, "dropped", s.notices[TOLD_DROPPED]);
    put(c, M_LOST, NULL, s.tokens_lost);
    for (int i = EXCEED_REJECT + 1; i < EXCEEDS; i++)
        put(c, M_EXCEEDED, exceed_name((enum exceed)i), s.exceeded[i]);
    put(c, M_REPLAYS, "replayed", s.replayed);
    put(c, M_REPLAYS, "in_use", s.replays_in_use);
    put(c, M_REPLAYS, "reused", s.replays_reused);
    put(c, M_REPLAYS, "too_long", s.replays_too_long);
    put(c, M_REPLAY_BYTES, NULL, s.replay_bytes);
    put(c, M_STORED, "stored", s.stored);
    put(c, M_STORED, "resumed", s.stored_resumed);
    put(c, M_STORED, "read", s.stored_followed);
    put(c, M_STORED, "lost", s.stored_lost);
    put(c, M_STORED, "moved", s.stored_moved);
    put(c, M_STORED, "taken", s.stored_taken);
    put(c, M_STORED_NOW, "all", s.stored_now);
    put(c, M_STORED_NOW, "pending", s.stored_pending);
    put(c, M_STORED_BYTES, NULL, s.stored_bytes);
    put(c, M_RETRIES, "tried", s.retries);
    put(c, M_RETRIES, "refused", s.retries_refused);
    put(c, M_RESERVED, NULL, s.tokens_held);
    cloud_enforced(c->setup.cloud, OF_TOKENS, clock_now_us(), &settled, &held);
    put(c, M_BUDGETS, "settled", settled);
    put(c, M_BUDGETS, "held", held);
    cloud_enforced(c->setup.cloud, OF_MONEY, clock_now_us(), &settled, &held);
    put(c, M_BUDGETS_MONEY, "settled", settled);
    put(c, M_BUDGETS_MONEY, "held", held);
    cloud_enforced(c->setup.cloud, OF_ENERGY, clock_now_us(), &settled, &held);
    put(c, M_BUDGETS_ENERGY, "settled", settled / 1000000);
    put(c, M_BUDGETS_ENERGY, "held", held / 1000000);
    put(c, M_GENERATION, NULL, atomic_load(&c->generation));
    put(c, M_ROWS, NULL, s.rows_written);
    put(c, M_ROWS_PENDING, NULL, s.rows_pending);
    put(c, M_ROWS_IN_JOURNAL, NULL, s.rows_in_journal);
    put(c, M_ROWS_FAILED, NULL, s.write_failures);
    if (c->setup.requests)
        put(c, M_REQUESTS_DROPPED, NULL, request_store_dropped(c->setup.requests));
    put(c, M_LEDGER_LAG, NULL, s.oldest_row_us ? clock_now_us() - s.oldest_row_us : 0);
    put(c, M_BUILD, GAUFRE_VERSION, 1);
    return metric_write(c->meter->set, out) ||
           meter_sites_write(c->meter->sites, c->setup.cloud, out) ||
           meter_contracts_write(c->meter->contracts, c->setup.cloud, out);
}
