/* gaufre serve: configuration from defaults, file and flags, in this order; then the server until a
 * signal. */
#include "serve/serve.h"

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "base/sql.h"
#include "cloud/accounts.h"
#include "cmd/cmd.h"
#include "cmd/configured.h"
#include "cmd/ledger_path.h"
#include "engine/engine.h"
#include "hub/hub.h"

/* One member a setting: text as typed, or 1 for a switch. */
struct serve_opts {
#define FIELD_STR                                              const char *
#define FIELD_INT                                              const char *
#define FIELD_SIZE                                             const char *
#define FIELD_TIME                                             const char *
#define FIELD_CHOICE                                           const char *
#define FIELD_STRS                                             const char *
#define FIELD_BOOL                                             int
#define ROW(key, flag, kind, field, dflt, min, max, arg, help) FIELD_##kind field;
    SERVE_SETTINGS(ROW)
    SERVE_MODEL_SETTINGS(ROW)
#undef ROW
    const char *config;
    int check, settings;
};

/* Settings are texts here; serve's table has their types and bounds. A default is only shown in the
 * help and not set, because an option that was not typed must not win over the file. */
#define TEXT_ROW(flag, field, a, h)               OPT_STR(0, flag, a, NULL, serve_opts, field, h)
#define OPT_ROW_STR(flag, field, dflt, arg, help) TEXT_ROW(flag, field, arg, help)
#define OPT_ROW_STRS                              OPT_ROW_STR
#define OPT_ROW_INT(flag, field, dflt, arg, help)                                                  \
    TEXT_ROW(flag, field, arg, help " (default " dflt ")")
#define OPT_ROW_SIZE                               OPT_ROW_INT
#define OPT_ROW_TIME                               OPT_ROW_INT
#define OPT_ROW_CHOICE                             OPT_ROW_INT
#define OPT_ROW_BOOL(flag, field, dflt, arg, help) OPT_FLAG(0, flag, serve_opts, field, help)

/* clang-format off */
static const struct opt opts[] = {
    OPT_FILE('c', "config", NULL, serve_opts, config, "YAML file with settings; flags win over it"),
    OPT_FLAG(0, "check", serve_opts, check, "check the settings, say what would be done, and stop"),
    OPT_FLAG(0, "settings", serve_opts, settings, "print every setting as a table, and stop"),
#define ROW(key, flag, kind, field, dflt, min, max, arg, help) \
    OPT_ROW_##kind(flag, field, dflt, arg, help),
    SERVE_SETTINGS(ROW)
    SERVE_MODEL_SETTINGS(ROW)
#undef ROW
    OPT_END,
};
/* clang-format on */

/* ---- configuration --------------------------------------------------------------------------- */

static int flag_text(struct serve_config *c, const char *key, const char *text, struct err *e)
{
    return text ? serve_config_flag(c, key, text, e) : 0;
}

static int flag_bool(struct serve_config *c, const char *key, int on, struct err *e)
{
    return on ? serve_config_flag(c, key, "true", e) : 0;
}

#define SET_STR    flag_text
#define SET_STRS   flag_text
#define SET_INT    flag_text
#define SET_SIZE   flag_text
#define SET_TIME   flag_text
#define SET_CHOICE flag_text
#define SET_BOOL   flag_bool

static int apply_flags(struct serve_config *c, const struct serve_opts *o, struct err *e)
{
    int r = 0;

#define ROW(key, flag, kind, field, dflt, min, max, arg, help)                                     \
    if (!r)                                                                                        \
        r = SET_##kind(c, key, o->field, e);
    SERVE_SETTINGS(ROW)
    SERVE_MODEL_SETTINGS(ROW)
#undef ROW
    return r;
}

/* NULL: out of memory. */
static const char *in_home(struct serve_config *c, const struct hub *h, const char *name)
{
    const char *path = NULL;
    struct buf b;

    buf_init(&b, 8192);
    if (!buf_addf(&b, "%s/%s", hub_home(h), name))
        path = arena_strdup(&c->arena, b.data);
    buf_done(&b);
    return path;
}

/* Find the paths of the models, the ledger, the request log and the bench store. */
static int resolve(struct serve_config *c, struct err *e)
{
    struct hub *h = NULL;
    char *path;
    int r = hub_open(&h, e);

    for (int i = 0; !r && i < c->n_models; i++) {
        path = NULL;
        r = hub_resolve(h, c->models[i].model, &path, e);
        if (!r && !(c->models[i].path = arena_strdup(&c->arena, path)))
            r = err_set(e, ERR_NOMEM, "out of memory");
        if (!r)
            c->models[i].has_sampling = hub_sampling(h, path, &c->models[i].sampling);
        if (!r)
            hub_digest(h, path, c->models[i].sha256);
        free(path);
    }
    if (!r && !*c->receipt_key) {
        c->receipt_key = in_home(c, h, RECEIPT_KEY_FILE);
        r = c->receipt_key ? 0 : err_set(e, ERR_NOMEM, "out of memory");
    }
    if (!r && strcmp(c->receipt_key, "off") != 0 && strcmp(c->ledger, "off") != 0)
        r = hub_make_home(h, e);
    if (!r && (!(c->rates_path = in_home(c, h, "bench.json")) ||
               !(c->energy.store_path = in_home(c, h, "energy.json"))))
        r = err_set(e, ERR_NOMEM, "out of memory");
    if (!r && !*c->ledger) {
        c->ledger = in_home(c, h, "ledger.db");
        r = c->ledger ? hub_make_home(h, e) : err_set(e, ERR_NOMEM, "out of memory");
    }
    if (!r && !strcmp(c->request_log, "on")) {
        c->request_log = in_home(c, h, REQUEST_LOG_FILE);
        r = c->request_log ? hub_make_home(h, e) : err_set(e, ERR_NOMEM, "out of memory");
    }
    hub_close(h);
    return r;
}

/* The store of accounts in gaufre's home is used once it has had a key: from then on nobody comes
 * in without one. */
static int find_accounts(struct serve_config *c, struct err *e)
{
    struct accounts *a = NULL;
    struct hub *h = NULL;
    const char *path = NULL;
    int is_closed = 0, r = hub_open(&h, e);

    if (!r && !(path = in_home(c, h, ACCOUNTS_FILE)))
        r = err_set(e, ERR_NOMEM, "out of memory");
    hub_close(h);
    if (r || access(path, F_OK))
        return r;
    r = accounts_open(&a, path, e);
    if (!r)
        r = accounts_is_closed(a, &is_closed, e);
    accounts_close(a);
    if (!r && is_closed)
        c->accounts = path;
    return r;
}

/* Fill the configuration from arguments, file and flags, and from
 * what lies in gaufre's home. */
static int configure(struct serve_config *c, const struct serve_opts *o, int argc, char **argv,
                     struct err *e)
{
    int r = o->config ? serve_config_read(c, o->config, e) : 0;

    if (!r && argc)
        c->n_models = 0; /* named on the command line: these, and not the file's */
    for (int i = 0; !r && i < argc; i++)
        r = serve_config_add_model(c, argv[i], e);
    if (!r)
        r = apply_flags(c, o, e);
    if (!r && !*c->accounts)
        r = find_accounts(c, e);
    return r ? r : serve_config_check(c, e);
}

/* ---- signals --------------------------------------------------------------------------------- */

static _Atomic(struct server *) running; /* for the handlers only; NULL: it is being opened */
static _Atomic int n_stops;

static void on_stop(int sig)
{
    struct server *s;

    if (atomic_fetch_add(&n_stops, 1))
        _exit(128 + sig); /* asked twice: at once */
    s = atomic_load(&running);
    if (s)
        serve_drain(s);
}

static void on_hup(int sig)
{
    struct server *s = atomic_load(&running);

    if (s)
        serve_reload(s);
}

static void on_upgrade(int sig)
{
    struct server *s = atomic_load(&running);

    if (s)
        serve_upgrade(s);
}

/* Before the server answers anybody: who was answered may ask it to stop. */
static void catch_signals(void)
{
    struct sigaction a = {.sa_handler = on_stop, .sa_flags = SA_RESTART};

    sigaction(SIGTERM, &a, NULL);
    sigaction(SIGINT, &a, NULL);
    a.sa_handler = on_hup;
    sigaction(SIGHUP, &a, NULL);
    a.sa_handler = on_upgrade;
    sigaction(SIGUSR2, &a, NULL);
    a.sa_handler = SIG_IGN;
    sigaction(SIGPIPE, &a, NULL);
}

/* The handlers know it from now on, and what was asked meanwhile is done. */
static void tell_handlers(struct server *s)
{
    atomic_store(&running, s);
    if (atomic_load(&n_stops))
        serve_drain(s);
}

/* ---- the command ----------------------------------------------------------------------------- */

/* What the server was started with, so that its configuration can be read again. Earlier ones are
 * kept: requests and rows may still point into them. */
struct start {
    const struct cmd *cmd;
    const struct serve_opts *opts;
    int argc;
    char **argv;
    struct later *later;
    struct handover handover;
};

struct later {
    struct serve_config config;
    struct later *before;
};

static int read_config(const struct start *st, struct serve_config *c, int *ret_is_usage,
                       struct err *e)
{
    int r;

    serve_config_init(c);
    c->handover = &st->handover;
    r = configure(c, st->opts, st->argc, st->argv, e);
    *ret_is_usage = r && r != ERR_NOMEM;
    return r ? r : resolve(c, e);
}

int configured(struct serve_config *c, const char *path, struct err *e)
{
    const struct serve_opts o = {.config = path};
    int r = configure(c, &o, 0, NULL, e);

    return r ? r : resolve(c, e);
}

/* SIGHUP: all of the new configuration, or nothing. */
static void reload(struct start *st, struct server *s)
{
    struct later *l = calloc(1, sizeof *l);
    struct err e = {0};
    int is_usage;

    if (l) {
        l->before = st->later;
        st->later = l;
    }
    if (!l)
        err_set(&e, ERR_NOMEM, "out of memory");
    else if (!read_config(st, &l->config, &is_usage, &e))
        serve_swap(s, &l->config, &e);
    if (e.code)
        LOG_EVENT(LOG_ERROR, "configuration not reloaded", LOG_STR("why", e.text));
    serve_reloaded(s, e.code ? &e : NULL);
}

static void drop_later(struct start *st)
{
    while (st->later) {
        struct later *l = st->later;
        st->later = l->before;
        serve_config_done(&l->config);
        free(l);
    }
}

static int serve_until_stopped(struct start *st, struct serve_config *c)
{
    struct server *s = NULL;
    struct err e = {0};
    char url[SERVE_URL_MAX];
    int64_t n_lost;
    int r;

    catch_signals();
    r = serve_open(&s, c, &e);
    if (r)
        return cmd_fail(st->cmd, &e);
    tell_handlers(s);
    r = serve_wait_ready(s, &e);
    if (r && r != ERR_DRAINING) {
        cmd_fail(st->cmd, &e);
        atomic_store(&running, NULL);
        serve_close(s);
        return CMD_FAILED;
    }
    if (!r)
        handover_ready(&st->handover);
    if (!r)
        cmd_note("gaufre serves on %s (stop with ctrl-C)",
                 serve_config_url(c, serve_port(s), url, sizeof url));
    while ((r = serve_run(s, &e)) == SERVE_RELOAD)
        reload(st, s);
    if (r) {
        cmd_fail(st->cmd, &e);
        _exit(CMD_FAILED); /* the engine does not answer: nothing can be freed in order */
    }
    atomic_store(&running, NULL);
    n_lost = serve_close(s);
    drop_later(st);
    if (!n_lost)
        return CMD_OK;
    err_set(&e, ERR_IO, "%lld answered request%s could not be booked: ledger %s", (long long)n_lost,
            plural(n_lost), sql_name(c->ledger));
    return cmd_fail(st->cmd, &e);
}

static int check(const struct cmd *cmd, struct serve_config *c)
{
    struct err e = {0};
    struct buf out;
    int r;

    buf_init(&out, 1 << 20);
    r = serve_config_describe(c, &out, &e);
    if (out.data)
        cmd_text(out.data, out.len);
    buf_done(&out);
    return r ? cmd_fail(cmd, &e) : CMD_OK;
}

static int print_settings(void)
{
    struct buf out;

    buf_init(&out, 1 << 20);
    serve_config_doc(&out);
    if (out.data)
        fputs(out.data, stdout);
    buf_done(&out);
    return CMD_OK;
}

static int run(const struct cmd *cmd, void *opts_, int argc, char **argv)
{
    const struct serve_opts *o = opts_;
    struct start st = {cmd, o, argc, argv, NULL, {.ready_fd = -1}};
    struct serve_config c;
    struct err e = {0};
    int is_usage, code;

    if (o->settings)
        return print_settings();
    if (handover_take(&st.handover, &e))
        return cmd_fail(cmd, &e);
    if (read_config(&st, &c, &is_usage, &e)) {
        code = is_usage ? cmd_usage(cmd, "%s", e.text) : cmd_fail(cmd, &e);
        serve_config_done(&c);
        return code;
    }
    log_setup((enum log_level)c.log_level, c.log_format);
    if (o->check)
        code = check(cmd, &c);
    else
        code = log_open(c.log_file, &e) ? cmd_fail(cmd, &e) : serve_until_stopped(&st, &c);
    serve_config_done(&c);
    return code;
}

const struct cmd cmd_serve = {
    .name = "serve",
    .help = "Serve models over HTTP, OpenAI- and Cerebras-compatible",
    .args = "[MODEL...]",
    .about =
        "Models are names ('gaufre list') or files. SIGTERM or ctrl-C finishes what runs and\n"
        "stops, a second one stops at once; SIGUSR2 starts the program anew, which takes over\n"
        "('gaufre upgrade'); SIGHUP reads the keys and the configuration again: suppliers and\n"
        "prices change while it serves, all or nothing; and it opens log_file anew.\n"
        "Every flag is also a key of the configuration file, with '_' for '-':\n\n"
        "  host: 0.0.0.0\n  keys: /etc/gaufre/keys\n  models:\n    - smollm2-135m\n"
        "    - model: /models/big.gguf\n      id: big\n      aliases: [gpt-4o-mini]\n"
        "      context: 8192",
    .opts = opts,
    .opts_size = sizeof(struct serve_opts),
    .n_args_min = 0,
    .n_args_max = -1,
    .complete = CMD_COMPLETE_MODEL,
    .run = run,
};
