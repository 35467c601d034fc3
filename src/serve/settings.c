/* Configuration of the server: the tables, the file, the flags, and what no single setting sees. */
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/check.h"
#include "base/plain.h"
#include "base/sql.h"
#include "base/sysmem.h"
#include "base/team.h"
#include "base/utf8.h"
#include "console/redact.h"
#include "engine/engine.h"
#include "net/net.h"
#include "serve/certificates.h"
#include "serve/energy_settings.h"
#include "serve/local_supplier.h"
#include "serve/named_accounts.h"
#include "serve/origin.h"
#include "serve/prices.h"
#include "serve/routes.h"
#include "serve/serve.h"
#include "serve/site_list.h"
#include "serve/suppliers.h"
#include "serve/traces.h"
#include "serve/webhooks.h"

_Static_assert(TEAM_THREADS_MAX == 256, "as the table says");

#define CONFIG_ARENA_MAX ((size_t)4 << 20)
#define ID_MAX           200 /* bytes of a model's id */

#define ROW(key, flag, kind, field, dflt, min, max, arg, help)                                     \
    {key, CONFIG_##kind, offsetof(struct serve_config, field), dflt, min, max, arg, help},
const struct config_setting serve_settings[] = {SERVE_SETTINGS(ROW){0}};
#undef ROW

#define ROW(key, flag, kind, field, dflt, min, max, arg, help)                                     \
    {key, CONFIG_##kind, offsetof(struct serve_model, field), dflt, min, max, arg, help},
const struct config_setting serve_model_settings[] = {SERVE_MODEL_SETTINGS(ROW){0}};
#undef ROW

void serve_config_init(struct serve_config *c)
{
    *c = (struct serve_config){0};
    arena_init(&c->arena, 4096, CONFIG_ARENA_MAX);
    config_defaults(serve_settings, c, &c->arena);
    config_defaults(serve_model_settings, &c->model_default, &c->arena);
    config_defaults(serve_energy_settings, &c->energy, &c->arena);
}

void serve_config_done(struct serve_config *c)
{
    for (int i = 0; i < c->n_sites; i++)
        zone_free(c->sites[i].zone);
    arena_done(&c->arena);
    *c = (struct serve_config){0};
}

/* ---- the file -------------------------------------------------------------------------------- */

static struct serve_model *new_model(struct serve_config *c, struct err *e)
{
    struct serve_model *m;

    if (c->n_models >= SERVE_MODELS_MAX) {
        err_set(e, ERR_LIMIT, "more than %d models", SERVE_MODELS_MAX);
        return NULL;
    }
    m = &c->models[c->n_models++];
    *m = c->model_default;
    return m;
}

int serve_config_add_model(struct serve_config *c, const char *model, struct err *e)
{
    struct serve_model *m;

    if (!*model)
        return err_set(e, ERR_ARG, "a model without a name");
    m = new_model(c, e);
    if (!m)
        return ERR_LIMIT;
    m->model = arena_strdup(&c->arena, model);
    return m->model ? 0 : err_set(e, ERR_NOMEM, "out of memory");
}

struct reading {
    struct serve_config *c;
    struct config_doc *d;
    struct serve_model *m;
    struct config_node *models; /* read last: top-level settings are their defaults */
    struct config_node *suppliers, *sites, *prices, *rates, *routes, *webhooks;
    struct config_node *accounts[ACCOUNT_KINDS]; /* tenants, teams, keys */
};

const struct config_setting serve_naming[] = {
    {"model", CONFIG_STR, offsetof(struct serve_model, model), NULL, 0, 0, "MODEL", "name or path"},
    {"id", CONFIG_STR, offsetof(struct serve_model, id), NULL, 0, 0, "ID", "as clients name it"},
    {"aliases", CONFIG_STRS, offsetof(struct serve_model, aliases), NULL, 0, 0, "IDS",
     "other names for it"},
    {0},
};

/* Settings of a model beside its names. */
static int model_key(void *arg, const char *key, struct config_node *value, struct err *e)
{
    struct reading *r = arg;
    const struct config_setting *s = config_find(serve_model_settings, key);
    const char *text;
    struct err why;

    if (!s)
        return 0;
    text = config_text(value, &r->c->arena);
    if (!text)
        return config_err(r->d, value, e, "%s: wants one value", key);
    if (config_set(serve_model_settings, r->m, key, text, &r->c->arena, &why))
        return config_err(r->d, value, e, "%.400s", why.text);
    return 1;
}

static int read_model(struct reading *r, struct config_node *n, struct err *e)
{
    const char *name = config_text(n, &r->c->arena);
    int code;

    if (name) {
        struct err why;
        if (serve_config_add_model(r->c, name, &why))
            return config_err(r->d, n, e, "%.400s", why.text);
        return 0;
    }
    r->m = new_model(r->c, e);
    if (!r->m)
        return ERR_LIMIT;
    code = config_read(r->d, n, serve_naming, r->m, &r->c->arena, model_key, r, e);
    if (!code && (!r->m->model || !*r->m->model))
        code = config_err(r->d, n, e, "a model needs 'model': its name or path");
    return code;
}

static const char *const account_lists[ACCOUNT_KINDS] = {"tenants", "teams", "api_keys"};

/* Keys at the top that are not the server's own: a model's, as default, and the list. */
static int top_key(void *arg, const char *key, struct config_node *value, struct err *e)
{
    struct reading *r = arg;
    int code;

    if (!strcmp(key, "models")) {
        if (!config_is_seq(value))
            return config_err(r->d, value, e, "models: wants a list");
        r->models = value;
        return 1;
    }
    if (!strcmp(key, "prices")) {
        if (!config_is_seq(value))
            return config_err(r->d, value, e, "prices: wants a list");
        r->prices = value;
        return 1;
    }
    if (!strcmp(key, "rates")) {
        if (!config_is_seq(value))
            return config_err(r->d, value, e, "rates: wants a list");
        r->rates = value;
        return 1;
    }
    if (!strcmp(key, "suppliers")) {
        if (!config_is_seq(value))
            return config_err(r->d, value, e, "suppliers: wants a list");
        r->suppliers = value;
        return 1;
    }
    if (!strcmp(key, "sites")) {
        if (!config_is_seq(value))
            return config_err(r->d, value, e, "sites: wants a list");
        r->sites = value;
        return 1;
    }
    if (!strcmp(key, "routes")) {
        if (!config_is_seq(value))
            return config_err(r->d, value, e, "routes: wants a list");
        r->routes = value;
        return 1;
    }
    if (!strcmp(key, "webhooks")) {
        if (!config_is_seq(value))
            return config_err(r->d, value, e, "webhooks: wants a list");
        r->webhooks = value;
        return 1;
    }
    if (!strcmp(key, "energy"))
        return (code = energy_read(r->c, r->d, value, e)) ? code : 1;
    for (int k = 0; k < ACCOUNT_KINDS; k++) {
        if (strcmp(key, account_lists[k]))
            continue;
        if (!config_is_seq(value))
            return config_err(r->d, value, e, "%s: wants a list", key);
        r->accounts[k] = value;
        return 1;
    }
    r->m = &r->c->model_default;
    return model_key(r, key, value, e);
}

int serve_config_read(struct serve_config *c, const char *path, struct err *e)
{
    struct reading r = {.c = c};
    struct config_node *n;
    int code = config_doc_open(&r.d, path, e);

    if (code)
        return code;
    code = config_read(r.d, config_doc_root(r.d), serve_settings, c, &c->arena, top_key, &r, e);
    for (n = config_first(r.models); !code && n; n = config_next(n))
        code = read_model(&r, n, e);
    for (n = config_first(r.sites); !code && n; n = config_next(n))
        code = site_read(c, r.d, n, e);
    for (n = config_first(r.suppliers); !code && n; n = config_next(n))
        code = supplier_read(c, r.d, n, e);
    for (n = config_first(r.prices); !code && n; n = config_next(n))
        code = price_read(c, r.d, n, e);
    for (n = config_first(r.rates); !code && n; n = config_next(n))
        code = rate_read(c, r.d, n, e);
    for (n = config_first(r.routes); !code && n; n = config_next(n))
        code = route_read(c, r.d, n, e);
    for (n = config_first(r.webhooks); !code && n; n = config_next(n))
        code = webhook_read(c, r.d, n, e);
    for (int k = 0; k < ACCOUNT_KINDS; k++) {
        for (n = config_first(r.accounts[k]); !code && n; n = config_next(n))
            code = named_account_read(c, r.d, n, (enum account_kind)k, e);
    }
    config_doc_close(r.d);
    if (code && c->arena.failed == ERR_NOMEM) /* whatever was not found then */
        return err_set(e, ERR_NOMEM, "%s: out of memory", path);
    return code;
}

int serve_config_flag(struct serve_config *c, const char *key, const char *text, struct err *e)
{
    int code;

    if (config_find(serve_settings, key))
        return config_set(serve_settings, c, key, text, &c->arena, e);
    code = config_set(serve_model_settings, &c->model_default, key, text, &c->arena, e);
    for (int i = 0; !code && i < c->n_models; i++)
        code = config_set(serve_model_settings, &c->models[i], key, text, &c->arena, e);
    return code;
}

/* ---- checks ---------------------------------------------------------------------------------- */

/* Bytes of the character at s, and whether an id may hold it. */
static size_t id_char(const char *s, size_t n, int *ret_ok)
{
    uint32_t cp = 0;
    int len = utf8_decode(s, n, &cp);

    *ret_ok = len > 0 && cp != ' ' && cp != '"' && cp != '\\' && !plain_is_hidden(cp);
    return len > 0 ? (size_t)len : 1;
}

/* "/models/my a.gguf" -> "my-a"; a name stays. Ids come from names of files, which may hold
 * anything. */
static int default_id(struct serve_config *c, struct serve_model *m)
{
    const char *slash = strrchr(m->model, '/');
    const char *base = slash ? slash + 1 : m->model;
    size_t n = strlen(base), at = 0, len;
    char id[ID_MAX + 1];
    int ok;

    if (n > 5 && !strcasecmp(base + n - 5, ".gguf"))
        n -= 5;
    for (size_t i = 0; i < n; i += len) {
        len = id_char(base + i, n - i, &ok);
        if (at + (ok ? len : 1) > ID_MAX)
            break;
        memcpy(id + at, ok ? base + i : "-", ok ? len : 1);
        at += ok ? len : 1;
    }
    m->id = arena_strndup(&c->arena, id, at);
    return m->id ? 0 : ERR_NOMEM;
}

static int id_ok(const char *s)
{
    size_t n = strlen(s), len;
    int ok = n && n <= ID_MAX;

    for (; n && ok; s += len, n -= len)
        len = id_char(s, n, &ok);
    return ok;
}

static int claims(const struct serve_model *m, const char *id)
{
    if (!strcmp(m->id, id))
        return 1;
    for (int i = 0; i < m->aliases.n; i++) {
        if (!strcmp(m->aliases.v[i], id))
            return 1;
    }
    return 0;
}

/* The id and every alias of model i: well-formed, and nobody else's. */
static int check_names(const struct serve_config *c, int i, struct err *e)
{
    const struct serve_model *m = &c->models[i];

    for (int k = -1; k < m->aliases.n; k++) {
        const char *id = k < 0 ? m->id : m->aliases.v[k];
        if (!id_ok(id))
            return err_set(e, ERR_ARG,
                           "model id '%.100s': 1 to %d bytes of text without blanks and quotes", id,
                           ID_MAX);
        for (int j = 0; j < i; j++) {
            if (claims(&c->models[j], id))
                return err_set(e, ERR_ARG, "two models are called '%.100s': give one another id",
                               id);
        }
    }
    return 0;
}

static int check_callers(const struct serve_config *c, struct err *e)
{
    for (int i = 0; i < c->cors_origin.n; i++) {
        if (!origin_is_valid(c->cors_origin.v[i]))
            return err_set(e, ERR_ARG,
                           "cors_origin: '%.100s' is no origin: write scheme://host or "
                           "scheme://host:port, without a path",
                           c->cors_origin.v[i]);
    }
    for (int i = 0; i < c->allowed_hosts.n; i++) {
        if (!origin_host_is_valid(c->allowed_hosts.v[i]))
            return err_set(e, ERR_ARG,
                           "allowed_hosts: '%.100s' is no host: write a name or an address, "
                           "without scheme and port",
                           c->allowed_hosts.v[i]);
    }
    return 0;
}

/* "[::1]", as it stands in URLs, is the address ::1. */
static int strip_brackets(struct serve_config *c)
{
    size_t n = strlen(c->host);

    if (n > 2 && c->host[0] == '[' && c->host[n - 1] == ']' && strchr(c->host, ':'))
        c->host = arena_strndup(&c->arena, c->host + 1, n - 2);
    return c->host ? 0 : ERR_NOMEM;
}

static int has_accounts(const struct serve_config *c)
{
    return *c->accounts && strcmp(c->accounts, "off");
}

int serve_has_keys(const struct serve_config *c)
{
    for (int i = 0; i < c->n_accounts; i++) {
        if (c->account[i].kind == ACCOUNT_KEY)
            return 1;
    }
    return *c->keys || has_accounts(c);
}

/* Who reaches the server? Sockets of a service manager take the place of host and port. Those of
 * the process before an upgrade were made by its settings, which must still say the same. */
static int check_handover(struct serve_config *c, struct err *e)
{
    const struct handover *h = c->handover;
    int is_wide = !net_host_is_loopback(c->host);

    c->is_wide = h && h->n ? !net_listeners_are_loopback(h->fd, h->n) : is_wide;
    if (!h || h->ready_fd < 0)
        return 0;
    if (c->is_wide != is_wide || (c->port && c->port != net_listeners_port(h->fd, h->n)))
        return err_set(e, ERR_ARG,
                       "host, port: another one takes effect with a restart only, an upgrade keeps "
                       "the sockets");
    return 0;
}

/* Are the rules of redaction such? */
static int check_redact(const struct serve_config *c, struct err *e)
{
    struct redact *r = NULL;
    int code = redact_new(&r, c->redact.v, c->redact.n, e);

    redact_free(r);
    return code ? (err_prefix(e, "redact"), code) : 0;
}

int serve_config_check(struct serve_config *c, struct err *e)
{
    int r;

    if (strip_brackets(c))
        return err_set(e, ERR_NOMEM, "out of memory");

    if (!c->n_models && !c->n_suppliers)
        return err_set(e, ERR_ARG,
                       "no model to serve: name one, or list them under 'models' or 'suppliers' in "
                       "the configuration");
    for (int i = 0; i < c->n_models; i++) {
        struct serve_model *m = &c->models[i];
        if (!m->id && default_id(c, m))
            return err_set(e, ERR_NOMEM, "out of memory");
        r = check_names(c, i, e);
        if (r)
            return r;
    }
    r = suppliers_check(c, e);
    if (!r)
        r = prices_check(c, e);
    if (!r)
        r = sites_check(c, e);
    if (!r)
        r = routes_check(c, e);
    if (!r)
        r = webhooks_check(c, e);
    if (!r)
        r = energy_check(c, e);
    if (!r)
        r = traces_check(c, e);
    if (!r)
        r = named_accounts_check(c, e);
    if (!r)
        r = check_redact(c, e);
    if (r)
        return r;
    if (c->body_budget / 10 < c->body_limit)
        return err_set(e, ERR_ARG,
                       "body_budget is smaller than ten times body_limit: one tenant may use half "
                       "of it, and reading a body takes some times its size");
    r = check_callers(c, e);
    if (!r)
        r = certificates_check(c, e);
    if (r)
        return r;
    r = check_handover(c, e);
    if (r)
        return r;
    if (!serve_has_keys(c) && !c->insecure_no_keys && c->is_wide && !net_host_is_known(c->host))
        return err_set(e, ERR_ARG, "host: '%.200s' is no name or address that can be found",
                       c->host);
    if (!serve_has_keys(c) && !c->insecure_no_keys && c->is_wide)
        return err_set(e, ERR_ARG,
                       "'%s' can be reached from other machines, and there are no API keys: set "
                       "'keys' (see 'gaufre key --help'), or insist with --insecure-no-keys",
                       c->host);
    return 0;
}

/* ---- what it would do ------------------------------------------------------------------------ */

static void mib(struct buf *out, uint64_t bytes)
{
    buf_addf(out, "%.1f MiB", (double)bytes / 1048576);
}

static int describe_model(const struct serve_config *c, const struct serve_model *m,
                          uint64_t *io_bytes, struct buf *out, struct err *e)
{
    const char *path = m->path ? m->path : m->model;
    struct stat st;

    if (stat(path, &st) || !S_ISREG(st.st_mode) || access(path, R_OK))
        return err_set(e, ERR_NOTFOUND, "model '%s': %s is not a file that can be read", m->id,
                       path);
    buf_addf(out, "model      %s: %s, ", m->id, path);
    mib(out, (uint64_t)st.st_size);
    for (const struct config_setting *s = serve_model_settings; s->name; s++) {
        if (s->kind == CONFIG_STR && !m->chat_template)
            continue;
        buf_addf(out, ", %s ", s->name);
        config_show(s, m, out);
    }
    for (int i = 0; i < m->aliases.n; i++)
        buf_addf(out, "%s%s", i ? ", " : "\n           also called ", m->aliases.v[i]);
    buf_add_char(out, '\n');
    return local_describe(m, c, io_bytes, out, e);
}

const char *serve_config_url(const struct serve_config *c, int port, char *out, size_t cap)
{
    int v6 = strchr(c->host, ':') != NULL;

    snprintf(out, cap, "http%s://%s%s%s:%d", *c->tls_cert ? "s" : "", v6 ? "[" : "", c->host,
             v6 ? "]" : "", port);
    return out;
}

int serve_config_describe(const struct serve_config *c, struct buf *out, struct err *e)
{
    char url[SERVE_URL_MAX];
    uint64_t need = 0, have = sysmem_available();
    int loopback = net_host_is_loopback(c->host), r;

    buf_addf(out, "listen     %s (%s)\n", serve_config_url(c, (int)c->port, url, sizeof url),
             loopback ? "this machine only" : "reachable from other machines");
    if (*c->keys || !serve_has_keys(c))
        buf_addf(out, "keys       %s\n",
                 *c->keys ? c->keys : "none: everybody is the default tenant");
    if (has_accounts(c))
        buf_addf(out, "accounts   %s\n", sql_name(c->accounts));
    buf_addf(out, "ledger     %s\n", *c->ledger ? sql_name(c->ledger) : "off");
    buf_addf(out, "request log %s\n", sql_name(c->request_log));
    for (int i = 0; i < c->n_models; i++) {
        r = describe_model(c, &c->models[i], &need, out, e);
        if (r)
            return r;
    }
    sites_describe(c, out);
    suppliers_describe(c, out);
    prices_describe(c, out);
    named_accounts_describe(c, out);
    routes_describe(c, out);
    webhooks_describe(c, out);
    energy_describe(c, out);
    traces_describe(c, out);
    buf_add_str(out, "memory     ");
    mib(out, need);
    buf_add_str(out, " at most for weights, KV caches and vocabularies; available ");
    mib(out, have);
    buf_add_char(out, '\n');
    for (const struct config_setting *s = serve_settings; s->name; s++) {
        if (!strcmp(s->name, "host") || !strcmp(s->name, "port") || !strcmp(s->name, "keys") ||
            !strcmp(s->name, "accounts") || !strcmp(s->name, "ledger") ||
            !strcmp(s->name, "request_log"))
            continue;
        buf_addf(out, "%-20s ", s->name);
        config_show(s, c, out);
        buf_add_char(out, '\n');
    }
    if (out->failed)
        return err_set(e, out->failed, "out of memory");
    return 0;
}

static void doc_rows(struct buf *out, const struct config_setting *t)
{
    for (; t->name; t++) {
        const char *arg = t->kind == CONFIG_BOOL ? "true, false" : t->arg ? t->arg : "";
        buf_addf(out, "| `%s` | ", t->name);
        for (; *arg; arg++) {
            if (*arg == '|')
                buf_add_str(out, ", ");
            else
                buf_add_char(out, *arg);
        }
        buf_addf(out, " | %s%s%s | %s |\n", t->dflt && *t->dflt ? "`" : "", t->dflt ? t->dflt : "",
                 t->dflt && *t->dflt ? "`" : "", t->help);
    }
}

int serve_config_doc(struct buf *out)
{
    buf_add_str(out, "| key | value | default | meaning |\n|---|---|---|---|\n");
    doc_rows(out, serve_settings);
    buf_add_str(out, "\n| key | value | default | meaning |\n|---|---|---|---|\n");
    doc_rows(out, serve_model_settings);
    return out->failed;
}
