#include "serve/suppliers.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cloud/cloud.h"
#include "cloud/relay.h"
#include "net/upstream.h"
#include "serve/server.h"
#include "serve/swap.h"

#define RELAYS_MAX CLOUD_OFFERS_MAX
#define NAME_IS_OK "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_."

#define AT(f) offsetof(struct serve_supplier, f)
const struct config_setting serve_supplier_settings[] = {
    {"name", CONFIG_STR, AT(name), NULL, 0, 0, "NAME", "how it is called in bills and logs"},
    {"base_url", CONFIG_STR, AT(base_url), NULL, 0, 0, "URL",
     "where its API is, with /v1: https://api.cerebras.ai/v1"},
    {"models", CONFIG_STRS, AT(models), NULL, 0, 0, "IDS",
     "models it serves: id as clients name it, or id=its name there"},
    {"key_env", CONFIG_STR, AT(key_env), NULL, 0, 0, "NAME", "environment variable with its key"},
    {"key_file", CONFIG_STR, AT(key_file), NULL, 0, 0, "FILE", "file with its key"},
    {"account", CONFIG_STR, AT(account), NULL, 0, 0, "NAME",
     "keys with one account are left alone together, also those of other suppliers"},
    {"context", CONFIG_INT, AT(context), "0", 0, 1 << 24, "N", "context length, 0: unknown"},
    {"concurrency", CONFIG_INT, AT(concurrency), "64", 1, 100000, "N",
     "sequences under way there together; more wait here, as 'queue' allows"},
    {"connections", CONFIG_INT, AT(connections), "1024", 1, 100000, "N",
     "connections to it of one io thread"},
    {"connect_timeout", CONFIG_TIME, AT(connect_timeout), "3s", 10, 600000, "TIME",
     "time to connect, TLS included"},
    {"first_byte_timeout", CONFIG_TIME, AT(first_byte_timeout), "60s", 10, 3600000, "TIME",
     "time until its answer begins"},
    {"first_token_timeout", CONFIG_TIME, AT(first_token_timeout), "0", 0, 3600000, "TIME",
     "time until the first content, where another supplier can take over; 0: any"},
    {"silence_timeout", CONFIG_TIME, AT(silence_timeout), "30s", 10, 3600000, "TIME",
     "silence within an answer"},
    {"total_timeout", CONFIG_TIME, AT(total_timeout), "600s", 100, 86400000, "TIME",
     "time of a whole answer"},
    {"unknown_fields", CONFIG_CHOICE, AT(unknown_fields), "pass", 0, 0, "pass|drop",
     "fields of requests that the contract does not name"},
    {"on_client_gone", CONFIG_CHOICE, AT(on_client_gone), "cancel", 0, 0, "cancel|drain",
     "what becomes of a request there: drain reads its answer to the end, to know what is owed"},
    {"weight", CONFIG_INT, AT(weight), "1", 0, 1000000, "N",
     "its share of the requests where 'route' is weighted; 0: only where there is no other"},
    {"tiers", CONFIG_STRS, AT(tiers), NULL, 0, 0, "TIERS",
     "tiers it serves: batch, flex, default, priority; without it: all"},
    {"lacks", CONFIG_STRS, AT(lacks), NULL, 0, 0, "FEATURES",
     "what it cannot do: tools, response_format, reasoning, images, suffix, other"},
    {"max_share", CONFIG_INT, AT(max_share), "0", 0, 100, "N",
     "percent of what all suppliers are owed in a day; beyond it others go first; 0: any"},
    {"owner_max_share", CONFIG_INT, AT(owner_max_share), "0", 0, 100, "N",
     "the same of all suppliers of its owner together"},
    {"price_cap", CONFIG_STR, AT(price_cap), NULL, 0, 0, "AMOUNT",
     "most that a million tokens of a request may cost there; else it is not asked"},
    {"input_joules", CONFIG_STR, AT(input_joules), NULL, 0, 0, "AMOUNT",
     "energy of a token of prompts, as contracted, where its answers do not state it"},
    {"output_joules", CONFIG_STR, AT(output_joules), NULL, 0, 0, "AMOUNT",
     "the same of a token of answers"},
    {"energy_boundary", CONFIG_CHOICE, AT(energy_boundary), "facility", 0, 0,
     "accelerator|it|facility", "what these joules are measured at"},
    {"energy_uncertainty", CONFIG_INT, AT(energy_uncertainty), "1000", 0, 1000, "N",
     "by so many in a thousand they may be off; 1000: nobody says"},
    {"region", CONFIG_STR, AT(region), NULL, 0, 0, "NAME",
     "where it is, where its site does not say it"},
    {"residency", CONFIG_STR, AT(residency), NULL, 0, 0, "NAME",
     "where what it is sent stays, as 'residency' of routes asks for it"},
    {"site", CONFIG_STR, AT(site), NULL, 0, 0, "NAME", "the site that it belongs to"},
    {"owner", CONFIG_STR, AT(owner), NULL, 0, 0, "NAME", "who owns it, for reports"},
    {"ca_file", CONFIG_STR, AT(ca_file), NULL, 0, 0, "FILE",
     "certificates to trust in place of the system's"},
    {"proxy", CONFIG_STR, AT(proxy), NULL, 0, 0, "URL", "http proxy on the way to it"},
    {0},
};

#undef AT
#define AT(f) offsetof(struct serve_key, f)
const struct config_setting serve_key_settings[] = {
    {"env", CONFIG_STR, AT(env), NULL, 0, 0, "NAME", "environment variable with the key"},
    {"file", CONFIG_STR, AT(file), NULL, 0, 0, "FILE", "file with the key"},
    {"weight", CONFIG_INT, AT(weight), "1", 1, 1000000, "N", "its share of the requests"},
    {"account", CONFIG_STR, AT(account), NULL, 0, 0, "NAME", "as the supplier's, of this key"},
    {0},
};

/* ---- the file -------------------------------------------------------------------------------- */

struct keys_reading {
    struct serve_config *c;
    struct config_doc *d;
    struct serve_supplier *p;
};

/* `keys`: a list of maps. */
static int read_keys(void *arg, const char *name, struct config_node *value, struct err *e)
{
    struct keys_reading *r = arg;
    struct serve_key *k = r->p->keys;
    int code;

    if (strcmp(name, "keys"))
        return 0;
    if (!config_is_seq(value))
        return config_err(r->d, value, e, "keys: wants a list");
    for (struct config_node *n = config_first(value); n; n = config_next(n), k++) {
        if (!config_is_map(n))
            return config_err(r->d, n, e, "a key is a map with 'env' or 'file'");
        if (r->p->n_keys >= CREDENTIALS_MAX)
            return config_err(r->d, n, e, "more than %d keys", CREDENTIALS_MAX);
        config_defaults(serve_key_settings, k, &r->c->arena);
        code = config_read(r->d, n, serve_key_settings, k, &r->c->arena, NULL, NULL, e);
        if (code)
            return code;
        if (!k->env == !k->file)
            return config_err(r->d, n, e, "a key has 'env' or 'file', one of them");
        r->p->n_keys++;
    }
    return 1;
}

int supplier_read(struct serve_config *c, struct config_doc *d, struct config_node *map,
                  struct err *e)
{
    struct keys_reading reading = {.c = c, .d = d};
    struct serve_supplier *p;
    int r;

    if (!config_is_map(map))
        return config_err(d, map, e, "a supplier is a map with 'name', 'base_url' and 'models'");
    if (c->n_suppliers >= SERVE_SUPPLIERS_MAX)
        return config_err(d, map, e, "more than %d suppliers", SERVE_SUPPLIERS_MAX);
    p = &c->suppliers[c->n_suppliers];
    *p = (struct serve_supplier){0};
    config_defaults(serve_supplier_settings, p, &c->arena);
    reading.p = p;
    r = config_read(d, map, serve_supplier_settings, p, &c->arena, read_keys, &reading, e);
    if (r)
        return r;
    if (!p->name || !*p->name || strspn(p->name, NAME_IS_OK) != strlen(p->name))
        return config_err(d, map, e, "a supplier needs a 'name' of letters, digits, - _ .");
    if (!p->base_url || !*p->base_url)
        return config_err(d, map, e, "supplier %s: 'base_url' is missing", p->name);
    if (!p->models.n)
        return config_err(d, map, e, "supplier %s: 'models' is missing", p->name);
    if (!!p->key_env + !!p->key_file + !!p->n_keys > 1)
        return config_err(d, map, e, "supplier %s: key_env, key_file or keys, one of them",
                          p->name);
    if (p->key_env || p->key_file)
        p->keys[p->n_keys++] =
            (struct serve_key){.env = p->key_env, .file = p->key_file, .weight = 1};
    c->n_suppliers++;
    return 0;
}

/* A key from a file's first line, or a variable. */
static int read_key(struct serve_config *c, const struct serve_supplier *p, struct serve_key *k,
                    struct err *e)
{
    const char *s = NULL;
    char line[CREDENTIAL_KEY_MAX + 2] = "";
    FILE *f;

    if (k->env) {
        s = getenv(k->env);
        if (!s || !*s)
            return err_set(e, ERR_ARG, "supplier %s: the environment has no variable %s", p->name,
                           k->env);
    } else {
        f = fopen(k->file, "re");
        s = f ? fgets(line, sizeof line, f) : NULL;
        if (f)
            fclose(f);
        if (!s)
            return err_set(e, ERR_ARG, "supplier %s: %s cannot be read", p->name, k->file);
        line[strcspn(line, "\r\n")] = 0;
    }
    for (const char *at = s; *at; at++) {
        if (*at <= ' ' || *at > '~' || at - s >= CREDENTIAL_KEY_MAX)
            return err_set(e, ERR_ARG,
                           "supplier %s: its key is no key: it has bytes that a header "
                           "cannot hold, or more than %d",
                           p->name, CREDENTIAL_KEY_MAX);
    }
    k->key = arena_strdup(&c->arena, s);
    explicit_bzero(line, sizeof line);
    return k->key ? 0 : err_set(e, ERR_NOMEM, "out of memory");
}

static struct upstream_config upstream_of(const struct serve_supplier *p)
{
    return (struct upstream_config){.base_url = p->base_url,
                                    .ca_file = p->ca_file,
                                    .proxy = p->proxy,
                                    .connect_ms = (int)p->connect_timeout,
                                    .first_byte_ms = (int)p->first_byte_timeout,
                                    .silence_ms = (int)p->silence_timeout,
                                    .total_ms = (int)p->total_timeout,
                                    .conns_max = (int)p->connections};
}

int suppliers_check(struct serve_config *c, struct err *e)
{
    for (int i = 0; i < c->n_suppliers; i++) {
        struct serve_supplier *p = &c->suppliers[i];
        struct upstream_config u = upstream_of(p);
        for (int k = 0; k < i; k++) {
            if (!strcmp(c->suppliers[k].name, p->name))
                return err_set(e, ERR_ARG, "two suppliers are called '%s'", p->name);
        }
        if (upstream_check(&u, e))
            return err_prefix(e, "supplier %s", p->name);
        for (int k = 0; k < p->n_keys; k++) {
            if (!p->keys[k].key && read_key(c, p, &p->keys[k], e))
                return e->code;
        }
    }
    return 0;
}

void suppliers_describe(const struct serve_config *c, struct buf *out)
{
    for (int i = 0; i < c->n_suppliers; i++) {
        const struct serve_supplier *p = &c->suppliers[i];
        buf_addf(out, "supplier   %s: %s, ", p->name, p->base_url);
        if (p->n_keys > 1)
            buf_addf(out, "with %d keys", p->n_keys);
        else
            buf_add_str(out, p->n_keys ? "with a key" : "without a key");
        for (int k = 0; k < p->models.n; k++)
            buf_addf(out, "%s%s", k ? ", " : "\n           serves ", p->models.v[k]);
        buf_add_char(out, '\n');
    }
}

/* ---- on offer -------------------------------------------------------------------------------- */

struct suppliers {
    struct upstream *upstream[SERVE_SUPPLIERS_MAX];
    struct line *line[SERVE_SUPPLIERS_MAX]; /* each one's */
    int n_upstreams;
    struct cooldowns *cooldowns;
    struct supplier *relay[RELAYS_MAX];
    struct credentials *keys[RELAYS_MAX];
    struct {
        char id[CLOUD_SUPPLIER_ID_MAX], model[CLOUD_SUPPLIER_ID_MAX];
    } names[RELAYS_MAX];
    const char *ids[RELAYS_MAX];
    int i_model[RELAYS_MAX];
    int n_relays; /* its own */
    /* What is on offer, in the order of the configuration: its own, and such as were kept. */
    struct {
        struct supplier *relay;
        int i_model, is_kept;
    } offered[RELAYS_MAX];
    int n_offered;
    struct suppliers *before; /* whose requests may still be under way */
};

static int put_on_list(struct suppliers *s, struct supplier *relay, int i_model, int is_kept,
                       struct err *e)
{
    if (s->n_offered >= RELAYS_MAX)
        return err_set(e, ERR_ARG, "more than %d models of suppliers", RELAYS_MAX);
    s->offered[s->n_offered].relay = relay;
    s->offered[s->n_offered].i_model = i_model;
    s->offered[s->n_offered++].is_kept = is_kept;
    return 0;
}

static int open_upstream(struct suppliers *s, struct server *server, const struct serve_supplier *p,
                         struct err *e)
{
    struct upstream_config c = upstream_of(p);

    s->line[s->n_upstreams] = line_new((int32_t)p->concurrency);
    if (!s->line[s->n_upstreams])
        return err_set(e, ERR_NOMEM, "out of memory");
    if (upstream_open(&s->upstream[s->n_upstreams], server->net, &c, e)) {
        line_free(s->line[s->n_upstreams]);
        return err_prefix(e, "supplier %s", p->name);
    }
    s->n_upstreams++;
    return 0;
}

/* The model's number; it is new where nobody serves it yet. */
static int model_of(struct server *server, const char *const *name, int *ret, struct err *e)
{
    struct err none;

    if (!cloud_find_model(server->cloud, *name, ret, &none))
        return 0;
    if (server->is_started)
        return err_set(e, ERR_ARG,
                       "model %.100s: a new model takes effect with a restart only; nothing was "
                       "changed",
                       *name);
    *ret = server->n_served;
    return server_add_model(server, name, 1, e);
}

/* Its keys, as they are used for one model. */
static int add_keys(struct credentials *c, const struct serve_supplier *p, struct err *e)
{
    int r = p->n_keys ? 0 : credentials_add(c, "", 1, p->account, e);

    for (int i = 0; !r && i < p->n_keys; i++) {
        const struct serve_key *k = &p->keys[i];
        r = credentials_add(c, k->key, (int32_t)k->weight, k->account ? k->account : p->account, e);
    }
    return r;
}

/* "id" or "id=name there". */
static int add_relay(struct suppliers *s, struct server *server, const struct serve_supplier *p,
                     const char *text, struct err *e)
{
    const char *equals = strchr(text, '=');
    int n_id = equals ? (int)(equals - text) : (int)strlen(text), i = s->n_relays;
    struct relay_config c = {.upstream_model = equals ? equals + 1 : text,
                             .upstream = s->upstream[s->n_upstreams - 1],
                             .known_only = p->unknown_fields == SERVE_FIELDS_DROP,
                             .drains = p->on_client_gone == SERVE_GONE_DRAIN,
                             .line = s->line[s->n_upstreams - 1],
                             .context = (int32_t)p->context,
                             .first_token_us = p->first_token_timeout * 1000,
                             .terms = p->terms};

    if (i >= RELAYS_MAX)
        return err_set(e, ERR_ARG, "more than %d models of suppliers", RELAYS_MAX);
    if (!n_id || !*c.upstream_model ||
        snprintf(s->names[i].id, sizeof s->names[i].id, "%s/%.*s", p->name, n_id, text) >=
            (int)sizeof s->names[i].id)
        return err_set(e, ERR_ARG, "supplier %s: '%.100s' is no model, or its name is too long",
                       p->name, text);
    snprintf(s->names[i].model, sizeof s->names[i].model, "%.*s", n_id, text);
    s->ids[i] = c.model = s->names[i].model;
    c.id = s->names[i].id;
    s->keys[i] = c.keys = credentials_new(s->cooldowns, c.upstream_model);
    if (!c.keys)
        return err_set(e, ERR_NOMEM, "out of memory");
    if (add_keys(c.keys, p, e) || model_of(server, &s->ids[i], &s->i_model[i], e) ||
        relay_new(&s->relay[i], &c, e)) {
        credentials_free(c.keys);
        return e->code;
    }
    s->n_relays++;
    return put_on_list(s, s->relay[i], s->i_model[i], 0, e);
}

/* ---- what stays as it is --------------------------------------------------------------------- */

static int has_account(const struct serve_supplier *p, const char *account)
{
    int has = p->account && !strcmp(p->account, account);

    for (int k = 0; k < p->n_keys; k++)
        has |= p->keys[k].account && !strcmp(p->keys[k].account, account);
    return has;
}

static int shares_account(const struct serve_supplier *a, const struct serve_supplier *b)
{
    int shares = a->account && has_account(b, a->account);

    for (int k = 0; k < a->n_keys; k++)
        shares |= a->keys[k].account && has_account(b, a->keys[k].account);
    return shares;
}

static int is_as_before(const struct serve_config *old, const struct serve_supplier *p)
{
    for (int i = 0; i < old->n_suppliers; i++) {
        if (!strcmp(old->suppliers[i].name, p->name))
            return swap_is_same_supplier(&old->suppliers[i], p);
    }
    return 0;
}

/* A bit for each supplier of the configuration that is kept. What shares an account with one that
 * is made anew is made anew, too: keys of one account are left alone together. */
static uint64_t find_kept(const struct serve_config *old, const struct serve_config *c)
{
    uint64_t kept = 0, was;

    for (int i = 0; i < c->n_suppliers; i++)
        kept |= (uint64_t)is_as_before(old, &c->suppliers[i]) << i;
    do {
        was = kept;
        for (int i = 0; i < c->n_suppliers; i++) {
            for (int k = 0; k < c->n_suppliers; k++) {
                if (!(kept >> k & 1) && shares_account(&c->suppliers[i], &c->suppliers[k]))
                    kept &= ~(UINT64_C(1) << i);
            }
        }
    } while (kept != was);
    return kept;
}

static int keep(struct suppliers *s, const struct suppliers *before, const char *name,
                struct err *e)
{
    size_t n = strlen(name);
    int r = 0;

    for (int i = 0; !r && i < before->n_offered; i++) {
        const char *id = before->offered[i].relay->id;
        if (!strncmp(id, name, n) && id[n] == '/')
            r = put_on_list(s, before->offered[i].relay, before->offered[i].i_model, 1, e);
    }
    return r;
}

static int is_listed(const struct suppliers *s, const struct supplier *relay)
{
    for (int i = 0; i < s->n_offered; i++) {
        if (s->offered[i].relay == relay)
            return 1;
    }
    return 0;
}

/* ---- all of them ----------------------------------------------------------------------------- */

static int build(struct suppliers *s, struct server *server, const struct suppliers *before,
                 const struct serve_config *c, struct err *e)
{
    uint64_t kept = before ? find_kept(server->config, c) : 0;
    int r = 0;

    for (int i = 0; !r && i < c->n_suppliers; i++) {
        const struct serve_supplier *p = &c->suppliers[i];
        if (kept >> i & 1) {
            r = keep(s, before, p->name, e);
            continue;
        }
        r = open_upstream(s, server, p, e);
        for (int k = 0; !r && k < p->models.n; k++)
            r = add_relay(s, server, p, p->models.v[k], e);
    }
    return r;
}

/* But not what `next` keeps; NULL: all. */
static void withdraw(const struct suppliers *s, struct cloud *cloud, const struct suppliers *next)
{
    for (int i = 0; i < s->n_offered; i++) {
        if (!next || !is_listed(next, s->offered[i].relay))
            cloud_remove_offer(cloud, s->offered[i].relay);
    }
}

/* Those that are new, all or none. */
static int offer(const struct suppliers *s, struct cloud *cloud, struct err *e)
{
    int n = 0, r = 0;

    for (; !r && n < s->n_offered; n++)
        r = s->offered[n].is_kept
                ? 0
                : cloud_add_offer(cloud, s->offered[n].i_model, s->offered[n].relay, e);
    for (n -= r != 0; r && n-- > 0;) {
        if (!s->offered[n].is_kept)
            cloud_remove_offer(cloud, s->offered[n].relay);
    }
    return r;
}

int suppliers_add(struct server *server, const struct serve_config *c, struct err *e)
{
    struct suppliers *s = calloc(1, sizeof *s), *before = atomic_load(&server->suppliers);
    int r;

    if (!s || !(s->cooldowns = cooldowns_new())) {
        free(s);
        return err_set(e, ERR_NOMEM, "out of memory");
    }
    r = build(s, server, before, c, e);
    if (!r)
        r = offer(s, server->cloud, e);
    if (!r && before)
        withdraw(before, server->cloud, s);
    for (int i = 0; !r && i < s->n_offered; i++) /* in the order of the file */
        cloud_place_offer(server->cloud, s->offered[i].relay);
    if (r && before) { /* kept beside the others: a request may be there already */
        s->before = before->before;
        before->before = s;
        return r;
    }
    s->before = before;
    atomic_store(&server->suppliers, s);
    return r;
}

void suppliers_close(struct suppliers *s)
{
    if (!s)
        return;
    suppliers_close(s->before);
    for (int i = 0; i < s->n_relays; i++) {
        relay_free(s->relay[i]);
        credentials_free(s->keys[i]);
    }
    cooldowns_free(s->cooldowns);
    for (int i = 0; i < s->n_upstreams; i++) {
        upstream_close(s->upstream[i]);
        line_free(s->line[i]);
    }
    free(s);
}
