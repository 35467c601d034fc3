/* Door of the serve room: joins wire (net), dialect (api), money (cloud) and suppliers (engine)
 * into one server. One noun: struct server.
 *
 * Threads. serve_open, serve_run, serve_close: one thread, which serve_run keeps until the drain is
 * over. serve_drain and serve_reload: any thread, also a signal handler. The server makes its own:
 * io threads (net), prep threads (parse, template, tokenise), one loader, the books (cloud), and
 * the engines' with their team. */
#ifndef SERVE_SERVE_H
#define SERVE_SERVE_H

#include <stdint.h>
#include <stdio.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/config.h"
#include "base/err.h"

#define SERVE_MODELS_MAX 32

/* One model to serve. Zero means "default" unless the table of settings says otherwise. */
struct serve_model {
    const char *model; /* name or path as configured */
    const char *path;  /* the file: filled by the caller (names are resolved above this room) */
    const char *id;    /* as served; default: the name, or the file's base name */
    struct config_strs aliases;
    int cls; /* 0 q8, 1 f32 */
    int kv;  /* 0 default, 1 f16, 2 f32 */
    uint64_t kv_memory;
    int64_t context, chunk, batch;
    int prefix_cache; /* 1: on */
    int64_t output_cap;
    const char *chat_template;
};

struct serve_config {
    const char *host;
    int64_t port;
    int insecure_no_keys;      /* bind wider than loopback without keys */
    const char *keys, *ledger; /* paths; "off" for no ledger */
    int ledger_sync;           /* 0 full, 1 normal */
    int64_t threads;           /* compute threads, 0: all CPUs */
    int cpu;                   /* 0 auto, else 1 + enum kern_isa */
    int64_t io_threads, prep_threads;
    int64_t queue; /* jobs waiting at one model before 429 */
    int64_t connections;
    uint64_t body_limit, body_budget;
    int64_t header_timeout, body_timeout, idle_timeout, stall_timeout, drain_timeout; /* ms */
    int64_t heartbeat;                                           /* ms of silence before a ping */
    int64_t requests_per_minute, tokens_per_minute, concurrency; /* per tenant, 0: none */
    int log_level, log_format;
    int log_prompts;
    int metrics; /* 0 loopback, 1 key, 2 open */
    int strict_compat;
    const char *cors_origin;
    struct serve_model model_default; /* what models that say nothing get */
    struct serve_model models[SERVE_MODELS_MAX];
    int n_models;
    struct arena arena; /* owns the strings */
};

/* The two tables of settings: of the server, and of a model (also allowed at the top of the file,
 * as default for every model). */
extern const struct config_setting serve_settings[];
extern const struct config_setting serve_model_settings[];

void serve_config_init(struct serve_config *c); /* defaults */
void serve_config_done(struct serve_config *c);
/* Read a YAML file over what is there. */
int serve_config_read(struct serve_config *c, const char *path, struct err *e);
/* A flag: `name` in snake_case. A model's setting applies to every model, named in the file or not.
 */
int serve_config_flag(struct serve_config *c, const char *name, const char *text, struct err *e);
/* Add a model by name or path. */
int serve_config_add_model(struct serve_config *c, const char *model, struct err *e);
/* Cross-checks that no single setting can see (wide bind without keys, ids twice ...). */
int serve_config_check(const struct serve_config *c, struct err *e);
/* What it would do, for people. Files are looked at, nothing is loaded. */
int serve_config_describe(const struct serve_config *c, struct buf *out, struct err *e);

struct server;
/* Binds, opens keys and ledger, begins to load models in the background; answers from now on
 * (503 while loading). The config must outlive the server. */
int serve_open(struct server **ret, struct serve_config *c, struct err *e);
int serve_port(const struct server *s);
/* Until drained. 0, or the error that ended it (a model that could not be loaded). */
int serve_run(struct server *s, struct err *e);
/* Stop accepting, finish what runs, then serve_run returns. */
void serve_drain(struct server *s);
/* Read the keys file again. */
void serve_reload(struct server *s);
/* 1 when every model is loaded; blocks until then or until one failed (negative, e filled). */
int serve_wait_ready(struct server *s, struct err *e);
void serve_close(struct server *s); /* accepts NULL */

#endif
