/* Door of the serve room: joins wire (net), dialect (api), money (cloud) and suppliers (engine)
 * into one server. One noun: struct server.
 *
 * Threads. serve_open, serve_run, serve_close: one thread, which serve_run keeps until the drain is
 * over. serve_drain and serve_reload: any thread, also a signal handler. The server makes its own:
 * io threads (net), prep threads (parse, template, tokenise), one loader, the books (cloud), and
 * the engines' with their team.
 *
 * Limits are settings; each has an answer: 413 (body), 429 with retry-after (queue, rates), 503
 * (body budget, loading, prep backlog, draining), or the connection is cut (a stalled reader). */
#ifndef SERVE_SERVE_H
#define SERVE_SERVE_H

#include <stdint.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/config.h"
#include "base/err.h"
#include "cloud/cloud.h"
#include "cloud/hooks.h"
#include "job/preset.h"
#include "policy/envelope.h"
#include "policy/price.h"

#define SERVE_MODELS_MAX    32
#define SERVE_SUPPLIERS_MAX 32
#define SERVE_PRICES_MAX    512
#define SERVE_RATES_MAX     1024
#define SERVE_SENSORS_MAX   128 /* of all sites */

#define SERVE_RESIDENCIES_MAX 32

/* ---- settings: rows of X(key, flag, KIND, field, default, min, max, argument, help) ------------
 * One table is the file's keys, the flags, --help and the documentation. */

/* Of a model. At the top of the file, or as flags, they hold for every model that says nothing. */
#define SERVE_MODEL_SETTINGS(X)                                                                    \
    X("class", "class", CHOICE, cls, "auto", 0, 0, engine_class_words,                             \
      "numeric class (auto: bf16 for prompts where the CPU has AMX, else q8)")                     \
    X("kv", "kv", CHOICE, kv, "auto", 0, 0, engine_kv_words,                                       \
      "type of the KV cache (auto: f16, in class f32: f32; q8_0: 0.56 of the memory of f16)")      \
    X("kv_memory", "kv-memory", SIZE, kv_memory, "0", 0, 0, "BYTES",                               \
      "memory for the KV cache, 0: by what is free")                                               \
    X("context", "context", INT, context, "0", 0, 1 << 24, "N",                                    \
      "context length, 0: as trained where memory allows")                                         \
    X("chunk", "chunk", INT, chunk, "512", 1, 8192, "N", "prompt tokens computed in one step")     \
    X("batch", "batch", INT, batch, "64", 1, 1024, "N", "sequences generated together")            \
    X("prefix_cache", "prefix-cache", CHOICE, prefix_cache, "on", 0, 0, "off|on",                  \
      "keep and share the KV of equal beginnings")                                                 \
    X("speculation", "speculation", CHOICE, speculation, "on", 0, 0, "off|on",                     \
      "draft tokens from the text so far and verify them together; never changes an answer")       \
    X("output_cap", "output-cap", INT, output_cap, "0", 0, 1 << 24, "N",                           \
      "tokens generated where the client sets no maximum, 0: no cap")                              \
    X("default_sampling", "default-sampling", CHOICE, default_sampling, "api", 0, 0, "api|model",  \
      "how to draw where a request says nothing: by the API's defaults, or as recommended")        \
    X("chat_template", "chat-template", STR, chat_template, NULL, 0, 0, "FILE",                    \
      "chat template to use instead of the file's own")

#define SERVE_SETTINGS(X)                                                                          \
    X("host", "host", STR, host, "127.0.0.1", 0, 0, "HOST", "name or address to listen on")        \
    X("port", "port", INT, port, "8080", 0, 65535, "N", "port to listen on, 0: any free one")      \
    X("keys", "keys", STR, keys, "", 0, 0, "FILE", "API keys (see 'gaufre key --help')")           \
    X("accounts", "accounts", STR, accounts, "", 0, 0, "FILE|URL",                                 \
      "tenants, teams, keys, or 'off' (default: accounts.db in gaufre's home, once it has a key)") \
    X("insecure_no_keys", "insecure-no-keys", BOOL, insecure_no_keys, "false", 0, 0, NULL,         \
      "serve beyond this machine without keys")                                                    \
    X("ledger", "ledger", STR, ledger, "", 0, 0, "FILE|URL",                                       \
      "where usage is booked, or 'off' (default: ledger.db in gaufre's home)")                     \
    X("receipt_key", "receipt-key", STR, receipt_key, "", 0, 0, "FILE",                            \
      "the key that signs receipts, made where missing, or 'off' (default: receipts.key in "       \
      "gaufre's home)")                                                                            \
    X("request_log", "request-log", STR, request_log, "off", 0, 0, "FILE|URL",                     \
      "where a row of each request is kept for 'gaufre log': 'on' is requests.db in gaufre's "     \
      "home")                                                                                      \
    X("request_log_days", "request-log-days", INT, request_log_days, "30", 0, 36500, "N",          \
      "days that they are kept, 0: for ever")                                                      \
    X("redact", "redact", STRS, redact, NULL, 0, 0, "RULES",                                       \
      "what texts lose before they are kept: email, card, iban, phone, secret (all), or PCRE2")    \
    X("ledger_sync", "ledger-sync", CHOICE, ledger_sync, "full", 0, 0, "full|normal",              \
      "flush each group of rows, or leave that to the database once a second")                     \
    X("currency", "currency", STR, currency, "", 0, 0, "CODE",                                     \
      "of prices, bills and budgets: three letters, as EUR")                                       \
    X("region", "region", STR, region, "", 0, 0, "NAME", "where this machine is, for people")      \
    X("residency", "residency", STR, residency, "", 0, 0, "NAME",                                  \
      "where what this machine is sent stays; routes may ask for it")                              \
    X("site", "site", STR, site, "", 0, 0, "NAME", "the site of this machine, one of 'sites'")     \
    X("threads", "threads", INT, threads, "0", 0, 256, "N", "compute threads, 0: all CPUs")        \
    X("part_time", "part-time", CHOICE, part_time, "on", 0, 0, "off|on",                           \
      "beside a busy process one thread less, which helps when it can; off: all in every step")    \
    X("cpu", "cpu", CHOICE, cpu, "auto", 0, 0, engine_cpu_words, "best instruction set to use")    \
    X("io_threads", "io-threads", INT, io_threads, "1", 1, 64, "N", "threads for connections")     \
    X("prep_threads", "prep-threads", INT, prep_threads, "2", 1, 64, "N",                          \
      "threads that read big requests")                                                            \
    X("queue", "queue", INT, queue, "256", 0, 100000, "N",                                         \
      "sequences that may wait at one model; more get 429")                                        \
    X("retry_percent", "retry-percent", INT, retry_percent, "20", 0, 100, "N",                     \
      "of ten seconds' requests for a model, as many in a hundred may be tried at another offer")  \
    X("retry_min", "retry-min", INT, retry_min, "30", 0, 1000000, "N",                             \
      "and so many more in these ten seconds")                                                     \
    X("borrow", "borrow", STRS, borrow, NULL, 0, 0, "TIER=SHARE",                                  \
      "of what contracts lend at a supplier a tier has that share at most: flex=0.5")              \
    X("hedge_tiers", "hedge-tiers", STRS, hedge_tiers, NULL, 0, 0, "TIERS",                        \
      "tiers whose streams are sent to a second supplier where the first is late; default: none")  \
    X("hedge_after", "hedge-after", TIME, hedge_after, "0", 0, 3600000, "TIME",                    \
      "late, in steps of 100ms; 0: later than 19 of 20 at that supplier")                          \
    X("hedge_percent", "hedge-percent", INT, hedge_percent, "5", 0, 100, "N",                      \
      "of these tiers' tokens, as many in a hundred may be lost by that")                          \
    X("queue_age", "queue-age", TIME, queue_age, "0", 0, 3600000, "TIME",                          \
      "time that a request may wait for this machine's engine; then 429, 0: any")                  \
    X("requests_per_minute", "requests-per-minute", INT, requests_per_minute, "0", 0, 1e12, "N",   \
      "requests a minute of one tenant, 0: no limit")                                              \
    X("tokens_per_minute", "tokens-per-minute", INT, tokens_per_minute, "0", 0, 1e12, "N",         \
      "tokens a minute of one tenant, 0: no limit")                                                \
    X("concurrency", "concurrency", INT, concurrency, "0", 0, 1e9, "N",                            \
      "sequences under way of one tenant, 0: no limit")                                            \
    X("idempotency_memory", "idempotency-memory", SIZE, idempotency_memory, "64M", 0, 1e12,        \
      "BYTES", "memory for answers kept for retries with the header Idempotency-Key, 0: none")     \
    X("idempotency_window", "idempotency-window", TIME, idempotency_window, "24h", 1000,           \
      604800000, "TIME", "time that they are kept")                                                \
    X("stored_answers", "stored-answers", STR, stored_answers, "", 0, 0, "FOLDER",                 \
      "answers that requests ask to store, or 'off' (default: LEDGER-answers beside the ledger)")  \
    X("stored_memory", "stored-memory", SIZE, stored_memory, "64M", 0, 1e12, "BYTES",              \
      "memory for them, and as much on the disk, of one tenant a quarter, 0: none")                \
    X("stored_window", "stored-window", TIME, stored_window, "24h", 1000, 2592000000, "TIME",      \
      "time that they are kept")                                                                   \
    X("stored_alone", "stored-alone", TIME, stored_alone, "10m", 1000, 86400000, "TIME",           \
      "time that one is computed on while nobody reads it")                                        \
    X("connections", "connections", INT, connections, "4096", 1, 1000000, "N",                     \
      "open connections; for more, idle ones are closed")                                          \
    X("connections_per_address", "connections-per-address", INT, connections_per_address, "0", 0,  \
      1000000, "N", "of one address, 0: half of them, and loopback as many as there are")          \
    X("body_limit", "body-limit", SIZE, body_limit, "32M", 1024, 1 << 30, "BYTES",                 \
      "largest request body")                                                                      \
    X("body_budget", "body-budget", SIZE, body_budget, "512M", 1024, 1e13, "BYTES",                \
      "memory for all requests and answers; half of it for one tenant")                            \
    X("header_timeout", "header-timeout", TIME, header_timeout, "10s", 100, 3600000, "TIME",       \
      "time for a request's head to arrive")                                                       \
    X("body_timeout", "body-timeout", TIME, body_timeout, "20s", 100, 3600000, "TIME",             \
      "time for a body to arrive, and a second more for each 16 KiB of it")                        \
    X("idle_timeout", "idle-timeout", TIME, idle_timeout, "75s", 100, 86400000, "TIME",            \
      "time a connection may be idle between requests")                                            \
    X("stall_timeout", "stall-timeout", TIME, stall_timeout, "30s", 100, 3600000, "TIME",          \
      "time a client may be behind its answer, and a second more for each 16 KiB it reads")        \
    X("drain_timeout", "drain-timeout", TIME, drain_timeout, "60s", 0, 3600000, "TIME",            \
      "time to finish what runs when the server is stopped")                                       \
    X("upgrade_timeout", "upgrade-timeout", TIME, upgrade_timeout, "1h", 0, 86400000, "TIME",      \
      "the same when a new process has taken its place (gaufre upgrade)")                          \
    X("heartbeat", "heartbeat", TIME, heartbeat, "10s", 100, 3600000, "TIME",                      \
      "silence of a stream before a comment is sent")                                              \
    X("progress", "progress", TIME, progress, "1s", 0, 3600000, "TIME",                            \
      "time between comments in a stream that say how far its request is while it waits; 0: none") \
    X("log_level", "log-level", CHOICE, log_level, "info", 0, 0, "debug|info|warn|error|off",      \
      "what is logged")                                                                            \
    X("log_format", "log-format", CHOICE, log_format, "text", 0, 0, "text|json",                   \
      "form of the log")                                                                           \
    X("log_file", "log-file", STR, log_file, "", 0, 0, "FILE",                                     \
      "where the log goes, opened anew at SIGHUP (default: stderr)")                               \
    X("log_prompts", "log-prompts", BOOL, log_prompts, "false", 0, 0, NULL,                        \
      "put prompts into the log")                                                                  \
    X("traces", "traces", STR, traces, "", 0, 0, "URL",                                            \
      "OTLP/HTTP service for traces, or 'off' (default: $OTEL_EXPORTER_OTLP_ENDPOINT)")            \
    X("traces_headers_env", "traces-headers-env", STR, traces_headers_env,                         \
      "OTEL_EXPORTER_OTLP_HEADERS", 0, 0, "NAME",                                                  \
      "environment variable with headers for it: name=value,name=value")                           \
    X("traces_ca_file", "traces-ca-file", STR, traces_ca_file, "", 0, 0, "FILE",                   \
      "certificates to trust there in place of the system's")                                      \
    X("trace_ratio", "trace-ratio", STR, trace_ratio, "1", 0, 0, "0..1",                           \
      "part of the requests that is traced, where their traceparent does not say")                 \
    X("trace_parent", "trace-parent", CHOICE, trace_parent, "follow", 0, 0, "follow|ratio",        \
      "a client's traceparent says whether its request is traced, or trace_ratio does")            \
    X("metrics", "metrics", CHOICE, metrics, "local", 0, 0, "local|key|open",                      \
      "who may read /metrics: this machine and keys, keys only, everybody")                        \
    X("console_session", "console-session", TIME, console_session, "12h", 1000, 2592000000,        \
      "TIME", "time after which who is in the console shows a key again")                          \
    X("strict_compat", "strict-compat", BOOL, strict_compat, "false", 0, 0, NULL,                  \
      "refuse unknown fields, as Cerebras does")                                                   \
    X("usage_extras", "usage-extras", CHOICE, usage_extras, "auto", 0, 0, "auto|on|off",           \
      "tell energy and cost in each answer's usage and headers; auto: not where strict_compat is") \
    X("cors_origin", "cors-origin", STRS, cors_origin, NULL, 0, 0, "ORIGINS",                      \
      "web pages that may call, by scheme://host:port; '*': all (as with keys), 'none': its own")  \
    X("allowed_hosts", "allowed-hosts", STRS, allowed_hosts, NULL, 0, 0, "NAMES",                  \
      "further names that a server without keys answers to; '*': any")                             \
    X("http2", "http2", CHOICE, http2, "on", 0, 0, "off|on",                                       \
      "HTTP/2: where TLS agrees on it, or a client begins with it")                                \
    X("http2_streams", "http2-streams", INT, http2_streams, "128", 1, 1000, "N",                   \
      "requests under way on one of its connections")                                              \
    X("tls_cert", "tls-cert", STR, tls_cert, "", 0, 0, "FILE",                                     \
      "certificate and its chain (PEM): the server speaks https; read again when it changes")      \
    X("tls_key", "tls-key", STR, tls_key, "", 0, 0, "FILE", "its key (PEM, without a passphrase)") \
    X("tls_client_ca", "tls-client-ca", STR, tls_client_ca, "", 0, 0, "FILE",                      \
      "who signs clients' certificates (PEM); default: clients need none")                         \
    X("tls_client_auth", "tls-client-auth", CHOICE, tls_client_auth, "required", 0, 0,             \
      "required|optional", "with tls_client_ca: is a client without a certificate turned away?")

/* Listening sockets from the process that started this one: a service manager ($LISTEN_FDS), or a
 * server that is upgraded. */
#define SERVE_SOCKETS_MAX 16
struct handover {
    int fd[SERVE_SOCKETS_MAX];
    int n;        /* 0: nothing was handed over */
    int ready_fd; /* of an upgrade, to be written when this process serves; else -1 */
    int tally_fd; /* of an upgrade: what limits count (cloud/tally.h); 0: none */
};
/* What was handed over to this process; its words leave the environment. Before there are other
 * threads. ERR_ARG. */
int handover_take(struct handover *h, struct err *e);
void handover_ready(struct handover *h); /* this process serves now: the one before is told */

/* One model to serve. */
struct serve_model {
    const char *model; /* name or path as configured */
    const char *path;  /* the file: filled by the caller, names are resolved above this room */
    char sha256[65];   /* of it, in hex digits: likewise; "": not known */
    const char *id;    /* as served; default: the name, or the file's base name */
    struct config_strs aliases;
    int cls, kv, prefix_cache, speculation, default_sampling;
    int has_sampling; /* `sampling` is recommended for it by the catalogue: filled as `path` is */
    struct preset sampling;
    uint64_t kv_memory;
    int64_t context, chunk, batch, output_cap;
    const char *chat_template;
};

/* One of this server's keys at a supplier. */
struct serve_key {
    const char *env, *file; /* where it is: one of them */
    int64_t weight;
    const char *account; /* NULL: as the supplier's, or one of its own */
    const char *key;     /* filled by serve_config_check */
};

/* A service elsewhere that serves models too. */
struct serve_supplier {
    const char *name, *base_url;
    const char *key_env, *key_file; /* where its key is, if it is only one */
    const char *account;
    struct serve_key keys[CREDENTIALS_MAX];
    int n_keys; /* 0: it wants none */
    const char *ca_file, *proxy;
    struct config_strs models; /* "id", or "id=its name there" */
    int64_t context, connections, concurrency;
    int64_t connect_timeout, first_byte_timeout, first_token_timeout, silence_timeout,
        total_timeout;                      /* ms */
    int unknown_fields;                     /* SERVE_FIELDS_* */
    int on_client_gone;                     /* SERVE_GONE_* */
    const char *region, *residency, *owner; /* NULL: not said */
    const char *site;                       /* NULL: none */
    int64_t weight;
    int64_t max_share, owner_max_share;
    const char *price_cap;                    /* an amount; NULL: none */
    const char *input_joules, *output_joules; /* of a token; NULL: not contracted */
    int energy_boundary;                      /* enum energy_boundary */
    int64_t energy_uncertainty;
    struct config_strs tiers, lacks;
    struct supplier_terms terms; /* of these: filled by serve_config_check */
};
enum { SERVE_FIELDS_PASS, SERVE_FIELDS_DROP };
enum { SERVE_GONE_CANCEL, SERVE_GONE_DRAIN };

/* A site's nodes that Slurm may use while they are idle. */
struct serve_slurm {
    const char *partition, *node_mw, *scontrol, *squeue, *conf;
    struct config_strs nodes;
    int64_t keep;
    int64_t idle_for, back_within, every, timeout; /* ms */
};

/* A place with machines and power, to which suppliers belong. */
struct serve_site {
    const char *name, *region, *residency, *time_zone;
    struct config_strs dedicated_to, testers;
    int is_general; /* -1: not said */
    int state;      /* an enum lifecycle_state; -1: not said */
    const char *capacity_factor, *capacity_file;
    const char *contracted_mw, *energised_mw, *encumbered_mw, *pue;
    int power_basis; /* an enum power_basis */
    const char *carbon, *carbon_market, *carbon_file, *carbon_url, *carbon_key_env, *carbon_ca_file;
    int64_t carbon_refresh;       /* ms */
    const char *carbon_key;       /* filled by serve_config_check */
    struct zone *zone;            /* its own; NULL: UTC */
    struct serve_sensor *sensors; /* in the arena */
    int n_sensors;
    const char *environment_blind, *environment_step; /* factors */
    int64_t environment_dwell;                        /* ms */
    int64_t altitude_m, altitude_from_m, altitude_m_per_degree;
    int64_t pue_window;                           /* ms */
    int64_t curtailment_ramp, curtailment_notice; /* ms */
    int64_t curtailment_calls_a_year;             /* -1: any number */
    int64_t curtailment_baseline_days;
    int curtailment_baseline; /* an enum curtail_baseline */
    const char *curtailment_credit, *curtailment_clawback;
    struct envelope_rules rules; /* of these */
    struct serve_slurm *slurm;   /* in the arena; NULL: it lends no nodes */
    struct site_terms terms;
};

/* What tells something about a site's surroundings (serve/environment.h). */
struct serve_sensor {
    const char *name;
    int quantity; /* an enum envelope_quantity */
    int kind;     /* SERVE_SENSOR_x */
    const char *url, *file, *path, *time_path, *key_env, *key_file, *ca_file;
    struct config_strs command, when, from;
    int unit; /* an enum sensor_unit */
    const char *low_allowed, *low, *high, *high_allowed, *rate, *factor_beyond;
    int64_t every, max_age, timeout, rate_window; /* ms */
    /* filled by what reads it */
    struct envelope_range range; /* of these */
    const char *key;             /* NULL: none */
    int i_from[2];               /* computed of these sensors; -1: it is read */
};
enum { SERVE_SENSOR_JSON, SERVE_SENSOR_REDFISH, SERVE_SENSOR_LINES };

/* How the suppliers of a model are chosen. */
struct serve_route {
    const char *model; /* NULL: any that has no route of its own */
    int strategy;
    struct config_strs residency; /* allowed; none: any */
};

/* Who is told about accounts. */
struct serve_webhook {
    const char *name, *url, *secret_env, *secret_file, *tenant, *ca_file, *proxy;
    struct config_strs events;
    int64_t timeout, retry, give_up; /* ms */
    /* filled by serve_config_check */
    const char *base; /* the URL as far as its host */
    char *path;       /* and the rest */
    unsigned types;
    struct hook_secret secret[HOOKS_SECRETS_MAX];
    int n_secrets;
};

/* Where the energy that requests use is read (serve/energy_source.h). */
struct serve_energy {
    int kind, unit, boundary; /* boundary 0: the kind's own */
    const char *root, *url, *path, *key_env, *key_file, *ca_file, *idle_watts;
    struct config_strs curve;
    int64_t interval, timeout; /* ms */
    int64_t uncertainty;       /* permille; 0: the kind's own */
    const char *key;           /* filled by serve_config_check; NULL: none */
    const char *store_path;    /* what was calibrated, or NULL: filled by the caller */
};

/* Where traces go: filled by serve_config_check. */
#define SERVE_TRACE_HEADERS_MAX 8
struct serve_traces {
    const char *base; /* the URL without its /v1/traces; NULL: there are no traces */
    const char *name[SERVE_TRACE_HEADERS_MAX], *value[SERVE_TRACE_HEADERS_MAX];
    int n_headers;
    uint64_t part;        /* of the requests, as policy/trace_keep.h counts */
    const char *resource; /* attributes of this process, as OTLP's JSON */
};

#define SERVE_ACCOUNTS_MAX         1024 /* of the configuration: tenants, teams and keys */
#define SERVE_ACCOUNT_SETTINGS_MAX 64
/* A tenant, a team or a key of the configuration. */
struct serve_account {
    enum account_kind kind;
    const char *id, *tenant, *team; /* as in account.h; team "tenant/team", NULL: none */
    const char *env, *file;         /* where a key is ... */
    const char *key;                /* ... filled by serve_config_check */
    struct account_change settings[SERVE_ACCOUNT_SETTINGS_MAX];
    int n_settings;
};

struct serve_config {
    const char *rates_path; /* the bench store (bench_store.h), or NULL: filled by the caller */
    const char *host, *keys, *accounts, *ledger, *currency, *region, *residency, *site, *log_file;
    const char *request_log, *receipt_key; /* receipt_key "": none; its default is the caller's */
    const char *traces, *traces_headers_env, *traces_ca_file, *trace_ratio;
    struct serve_traces trace;
    struct config_strs redact, cors_origin, allowed_hosts, hedge_tiers, borrow;
    unsigned hedge_tier_bits;          /* filled by serve_config_check */
    struct cloud_borrow borrow_limits; /* likewise */
    int64_t port, threads, io_threads, prep_threads, queue, connections, connections_per_address;
    int64_t request_log_days, retry_percent, retry_min, hedge_after, hedge_percent;
    int64_t requests_per_minute, tokens_per_minute, concurrency;
    int64_t header_timeout, body_timeout, idle_timeout, stall_timeout, drain_timeout,
        upgrade_timeout, console_session; /* ms */
    int64_t heartbeat, progress, queue_age;
    uint64_t body_limit, body_budget, idempotency_memory;
    const char *stored_answers;
    uint64_t stored_memory;
    int64_t idempotency_window, stored_window, stored_alone; /* ms */
    int insecure_no_keys, ledger_sync, part_time, cpu, log_level, log_format, log_prompts, metrics,
        trace_parent, strict_compat, usage_extras; /* SERVE_EXTRAS_* */
    int is_wide; /* other machines reach `host`: filled by serve_config_check */
    struct serve_model model_default; /* what models that say nothing get */
    struct serve_model models[SERVE_MODELS_MAX];
    int n_models;
    struct serve_supplier suppliers[SERVE_SUPPLIERS_MAX];
    int n_suppliers;
    struct serve_site sites[SITES_MAX];
    struct site_terms site_list[SITES_MAX]; /* of these: filled by serve_config_check */
    struct cloud_sites site_table;
    int n_sites;
    struct price prices[SERVE_PRICES_MAX];
    int n_prices;
    struct exchange rates[SERVE_RATES_MAX];
    int n_rates;
    struct serve_account *account; /* in the arena */
    int n_accounts;
    struct serve_webhook webhooks[HOOKS_MAX];
    int n_webhooks;
    struct serve_energy energy;
    const struct cloud_account *named; /* of these: filled by serve_config_check */
    struct cloud_prices book;          /* of these: filled by serve_config_check */
    struct serve_route routes[SERVE_MODELS_MAX];
    struct cloud_rule rule_list[SERVE_MODELS_MAX];
    int n_routes;
    struct cloud_rules rules; /* of these: filled by serve_config_check, as are the next */
    const char *residencies[SERVE_RESIDENCIES_MAX]; /* words; each is a bit */
    int n_residencies;
    struct supplier_terms own_terms; /* of the engines of this process */
    const char *tls_cert, *tls_key, *tls_client_ca;
    int tls_client_auth, http2;
    int64_t http2_streams;
    const struct handover *handover; /* sockets of the process before, or NULL: the caller's */
    struct arena arena;              /* owns the strings */
};
enum { SERVE_EXTRAS_AUTO, SERVE_EXTRAS_ON, SERVE_EXTRAS_OFF };
enum { SERVE_TRACE_FOLLOW, SERVE_TRACE_RATIO };
enum { SERVE_METRICS_LOCAL, SERVE_METRICS_KEY, SERVE_METRICS_OPEN };

extern const struct config_setting serve_settings[];
extern const struct config_setting serve_model_settings[];
extern const struct config_setting serve_supplier_settings[];
extern const struct config_setting serve_key_settings[]; /* of its `keys` */
extern const struct config_setting serve_price_settings[];
extern const struct config_setting serve_rate_settings[];
extern const struct config_setting serve_site_settings[];
extern const struct config_setting serve_sensor_settings[];    /* of its `environment` */
extern const struct config_setting serve_lifecycle_settings[]; /* of its `lifecycle` */
extern const struct config_setting serve_power_settings[];     /* of its `power` */
extern const struct config_setting serve_curtail_settings[];   /* of its `curtailment` */
extern const struct config_setting serve_slurm_settings[];     /* of its map `slurm` */
extern const struct config_setting serve_route_settings[];
extern const struct config_setting serve_webhook_settings[];
extern const struct config_setting serve_energy_settings[]; /* of the map `energy` */
extern const struct config_setting serve_naming[]; /* of a model in a file: "model" first */

void serve_config_init(struct serve_config *c); /* defaults */
void serve_config_done(struct serve_config *c);
/* Read a YAML file over what is there: the tables' keys, and `models`, a list of names or of maps
 * with `model`, `id`, `aliases` and a model's settings, and `suppliers`, a list of maps. ERR_FORMAT
 * with "file:line:column: what". */
int serve_config_read(struct serve_config *c, const char *path, struct err *e);
/* A flag, by its key. A model's setting then holds for every model, whatever the file said. */
int serve_config_flag(struct serve_config *c, const char *key, const char *text, struct err *e);
/* Add a model by name or path. */
int serve_config_add_model(struct serve_config *c, const char *model, struct err *e);
extern const struct config_setting serve_tenant_settings[], serve_team_settings[],
    serve_api_key_settings[];
/* Does nobody come in without a key? */
int serve_has_keys(const struct serve_config *c);
/* Fills ids, and checks what no single setting can see: a wide bind without keys, ids twice ... */
int serve_config_check(struct serve_config *c, struct err *e);
/* "http://host:port", or https, into out (SERVE_URL_MAX bytes hold it), IPv6 addresses in brackets;
 * returns out. */
#define SERVE_URL_MAX 300
const char *serve_config_url(const struct serve_config *c, int port, char *out, size_t cap);
/* What it would do, for people: settings, and what each model would take, from the heads of
 * their files; no weights are loaded. ERR_* where it would fail.
 */
int serve_config_describe(const struct serve_config *c, struct buf *out, struct err *e);
/* The tables as text for people: "markdown" rows of key, default, help. */
int serve_config_doc(struct buf *out);
/* The JSON Schema of the file, and a commented file to begin with, which serves `model`. */
int serve_config_schema(struct buf *out);
int serve_config_template(const char *model, struct buf *out);

/* ---- the server ------------------------------------------------------------------------------ */

struct server;
/* Binds, opens keys and ledger, begins to load models in the background; answers from now on (503
 * while loading). The config must outlive the server. */
int serve_open(struct server **ret, const struct serve_config *c, struct err *e);
int serve_port(const struct server *s);
/* Until every model is loaded (0), or one could not be (negative, e says why), or a drain began
 * (ERR_DRAINING). Logs how far it is. */
int serve_wait_ready(struct server *s, struct err *e);
/* Until a drain is over: 0 or an error; or until it was asked to reload: SERVE_RELOAD. Then the
 * caller reads the configuration again, calls serve_swap, and this again. */
#define SERVE_RELOAD 1
int serve_run(struct server *s, struct err *e);
/* Serve by this configuration from now on, all of it or nothing: suppliers and prices; the keys
 * file and the certificate are read again. Requests under way keep what they have. ERR_ARG: it
 * differs in what only a restart can change, e says in what; nothing was changed. `c` must outlive
 * the server, as the earlier ones. On the thread of serve_run. */
int serve_swap(struct server *s, const struct serve_config *c, struct err *e);
/* Stop accepting, finish what runs; then serve_run returns. [any], also a signal handler. */
void serve_drain(struct server *s);
/* Finish what runs and end, as a drain; where answers were moved to another server, streams that
 * are told from there have upgrade_timeout. */
void serve_leave(struct server *s);
/* Start the program anew with this process's arguments and sockets; when that one serves, finish
 * what runs, for upgrade_timeout at most; then serve_run returns. [any], also a signal handler. */
void serve_upgrade(struct server *s);
/* How it went is said in one datagram to an abstract socket of this name: "+" and the new process's
 * number, or "-" and why it failed. Returns the address's length. [any] */
#define SERVE_UPGRADE_TEXT_MAX 400
struct sockaddr_un;
int serve_upgrade_address(int pid, struct sockaddr_un *ret);
/* How a reload that serve_run asked for went; e NULL: well. Who asked for it is told. */
void serve_reloaded(struct server *s, const struct err *e);
/* Read the keys and the configuration again. [any], also a signal handler. */
void serve_reload(struct server *s);
/* Books what was settled, frees all. Returns how many requests could not be booked. Accepts NULL.
 */
int64_t serve_close(struct server *s);

#endif
