#include "serve/webhooks.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/clock.h"
#include "net/upstream.h"
#include "net/url.h"
#include "serve/server.h"

#define IO              0 /* where they work */
#define ANSWER_MAX      65536
#define SECRET_TEXT_MAX 1024
#define NAME_IS_OK      "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_."

#define AT(f) offsetof(struct serve_webhook, f)
const struct config_setting serve_webhook_settings[] = {
    {"name", CONFIG_STR, AT(name), NULL, 0, 0, "NAME", "how it is called in the log"},
    {"url", CONFIG_STR, AT(url), NULL, 0, 0, "URL", "where events are posted"},
    {"secret_env", CONFIG_STR, AT(secret_env), NULL, 0, 0, "NAME",
     "environment variable with its secret, 'whsec_...'; with two, both sign"},
    {"secret_file", CONFIG_STR, AT(secret_file), NULL, 0, 0, "FILE", "or a file with it"},
    {"events", CONFIG_STRS, AT(events), NULL, 0, 0, "TYPES",
     "budget.soft_limit, budget.exhausted, key.expiring, key.revoked; without it: all"},
    {"tenant", CONFIG_STR, AT(tenant), NULL, 0, 0, "NAME",
     "only of this tenant's accounts; without it: of all"},
    {"timeout", CONFIG_TIME, AT(timeout), "10s", 10, 600000, "TIME", "time of one try"},
    {"retry", CONFIG_TIME, AT(retry), "5s", 10, 3600000, "TIME",
     "pause after the first failure; it doubles, up to an hour"},
    {"give_up", CONFIG_TIME, AT(give_up), "24h", 0, 604800000, "TIME",
     "time after which an event is tried no more"},
    {"ca_file", CONFIG_STR, AT(ca_file), NULL, 0, 0, "FILE",
     "certificates to trust in place of the system's"},
    {"proxy", CONFIG_STR, AT(proxy), NULL, 0, 0, "URL", "http proxy on the way to it"},
    {0},
};

/* ---- the file -------------------------------------------------------------------------------- */

int webhook_read(struct serve_config *c, struct config_doc *d, struct config_node *map,
                 struct err *e)
{
    struct serve_webhook *p = &c->webhooks[c->n_webhooks];
    int r;

    if (!config_is_map(map))
        return config_err(d, map, e, "a webhook is a map with 'name', 'url' and a secret");
    if (c->n_webhooks >= HOOKS_MAX)
        return config_err(d, map, e, "more than %d webhooks", HOOKS_MAX);
    *p = (struct serve_webhook){0};
    config_defaults(serve_webhook_settings, p, &c->arena);
    r = config_read(d, map, serve_webhook_settings, p, &c->arena, NULL, NULL, e);
    if (r)
        return r;
    if (!p->name || !*p->name || strspn(p->name, NAME_IS_OK) != strlen(p->name))
        return config_err(d, map, e, "a webhook needs a 'name' of letters, digits, - _ .");
    if (!p->url || !*p->url)
        return config_err(d, map, e, "webhook %s: 'url' is missing", p->name);
    if (!p->secret_env == !p->secret_file)
        return config_err(d, map, e, "webhook %s: 'secret_env' or 'secret_file', one of them",
                          p->name);
    c->n_webhooks++;
    return 0;
}

/* The URL in two: as far as its host, and the rest, which may be secret. */
static int split_url(struct serve_config *c, struct serve_webhook *p, struct err *e)
{
    const char *at = strstr(p->url, "://"), *rest;
    struct url u;

    rest = at ? at + 3 + strcspn(at + 3, "/?#") : p->url;
    p->base = arena_strndup(&c->arena, p->url, (size_t)(rest - p->url));
    p->path = arena_alloc(&c->arena, strlen(rest) + 2);
    if (!p->base || !p->path)
        return err_set(e, ERR_NOMEM, "out of memory");
    snprintf(p->path, strlen(rest) + 2, "%s%s", *rest == '/' ? "" : "/", rest);
    if (!at || strlen(p->url) >= URL_MAX || url_parse(p->base, &u) || *u.user)
        return err_set(e, ERR_ARG, "webhook %s: its url is no http or https URL", p->name);
    for (const char *s = p->path; *s; s++) {
        if (*s <= ' ' || *s > '~' || *s == '#')
            return err_set(e, ERR_ARG, "webhook %s: its url has bytes that do not belong in one",
                           p->name);
    }
    return 0;
}

static int read_secrets(struct serve_webhook *p, struct err *e)
{
    char text[SECRET_TEXT_MAX] = "", *at = text, *word;
    const char *from = p->secret_env ? getenv(p->secret_env) : NULL;
    FILE *f = p->secret_file ? fopen(p->secret_file, "re") : NULL;
    int r = 0;

    if (p->secret_file && !f)
        return err_set(e, ERR_ARG, "webhook %s: secret_file: %.200s: %s", p->name, p->secret_file,
                       strerror(errno));
    if (p->secret_env && !from)
        return err_set(e, ERR_ARG, "webhook %s: the environment has no variable %.200s", p->name,
                       p->secret_env);
    if (f)
        text[fread(text, 1, sizeof text - 1, f)] = 0;
    if (from)
        snprintf(text, sizeof text, "%s", from);
    if (f)
        fclose(f);
    p->n_secrets = 0;
    while (!r && (word = strsep(&at, " \t\r\n"))) {
        if (!*word)
            continue;
        r = p->n_secrets == HOOKS_SECRETS_MAX
                ? err_set(e, ERR_ARG, "more than %d secrets", HOOKS_SECRETS_MAX)
                : hook_secret_read(word, &p->secret[p->n_secrets++], e);
    }
    explicit_bzero(text, sizeof text);
    if (!r && !p->n_secrets)
        r = err_set(e, ERR_ARG, "%s %s holds no secret",
                    p->secret_env ? "the variable" : "the file",
                    p->secret_env ? p->secret_env : p->secret_file);
    return r ? err_prefix(e, "webhook %s", p->name) : 0;
}

static int read_events(struct serve_webhook *p, struct err *e)
{
    p->types = p->events.n ? 0 : (1u << N_NOTICE_TYPES) - 1;
    for (int i = 0; i < p->events.n; i++) {
        int type = notice_type_find(p->events.v[i]);
        if (type < 0)
            return err_set(e, ERR_ARG, "webhook %s: events: '%.60s' is none that is known", p->name,
                           p->events.v[i]);
        p->types |= 1u << type;
    }
    return 0;
}

static struct upstream_config upstream_of(const struct serve_webhook *p)
{
    return (struct upstream_config){.base_url = p->base,
                                    .ca_file = p->ca_file,
                                    .proxy = p->proxy,
                                    .connect_ms = (int)p->timeout,
                                    .first_byte_ms = (int)p->timeout,
                                    .silence_ms = (int)p->timeout,
                                    .total_ms = (int)p->timeout,
                                    .body_max = ANSWER_MAX};
}

static int check_upstream(const struct serve_webhook *p, struct err *e)
{
    struct upstream_config u = upstream_of(p);

    return upstream_check(&u, e) ? err_prefix(e, "webhook %s", p->name) : 0;
}

int webhooks_check(struct serve_config *c, struct err *e)
{
    int r = 0;

    for (int i = 0; !r && i < c->n_webhooks; i++) {
        struct serve_webhook *p = &c->webhooks[i];
        for (int k = 0; k < i; k++) {
            if (!strcmp(c->webhooks[k].name, p->name))
                return err_set(e, ERR_ARG, "two webhooks are called '%s'", p->name);
        }
        r = split_url(c, p, e);
        if (!r)
            r = check_upstream(p, e);
        if (!r)
            r = read_events(p, e);
        if (!r)
            r = read_secrets(p, e);
    }
    return r;
}

void webhooks_describe(const struct serve_config *c, struct buf *out)
{
    for (int i = 0; i < c->n_webhooks; i++) {
        const struct serve_webhook *p = &c->webhooks[i];
        buf_addf(out, "webhook    %s: %s, signed with %s, of ", p->name, p->base,
                 p->n_secrets > 1 ? "two secrets" : "a secret");
        for (int k = 0, n = 0; k < N_NOTICE_TYPES; k++) {
            if (p->types >> k & 1)
                buf_addf(out, "%s%s", n++ ? ", " : "", notice_type_name((enum notice_type)k));
        }
        buf_addf(out, "%s%s\n", p->tenant ? ", tenant " : "", p->tenant ? p->tenant : "");
    }
}

/* ---- at work --------------------------------------------------------------------------------- */

struct webhooks {
    struct hook_set set;
    struct upstream *upstream[HOOKS_MAX];
    int n_upstreams;
    struct webhooks *before;
};

static int open_one(struct server *s, struct webhooks *w, const struct serve_webhook *p,
                    struct err *e)
{
    const struct upstream_config c = upstream_of(p);
    struct hook *h = &w->set.hook[w->set.n];

    if (upstream_open(&w->upstream[w->n_upstreams], s->net, &c, e))
        return err_prefix(e, "webhook %s", p->name);
    *h = (struct hook){.name = p->name,
                       .upstream = w->upstream[w->n_upstreams++],
                       .path = p->path,
                       .n_secrets = p->n_secrets,
                       .types = p->types,
                       .tenant = p->tenant,
                       .retry_us = p->retry * 1000,
                       .give_up_us = p->give_up * 1000};
    memcpy(h->secret, p->secret, sizeof h->secret);
    w->set.n++;
    return 0;
}

int webhooks_make(struct server *s, const struct serve_config *c, struct webhooks **ret,
                  struct err *e)
{
    struct webhooks *w = calloc(1, sizeof *w);
    int r = w ? 0 : err_set(e, ERR_NOMEM, "out of memory");

    for (int i = 0; !r && i < c->n_webhooks; i++)
        r = open_one(s, w, &c->webhooks[i], e);
    if (!w)
        return r;
    w->before = s->webhooks;
    s->webhooks = w;
    *ret = w;
    return r;
}

void webhooks_use(struct server *s, struct webhooks *w)
{
    hooks_use(s->hooks, &w->set);
}

void webhooks_mail(struct server *s)
{
    int64_t us = s->hooks ? hooks_work(s->hooks, clock_now_us(), clock_wall_us()) : -1;

    if (us >= 0)
        net_timer_arm(s->hooks_timer, (int)(us / 1000) + 1);
}

static void on_timer(void *ctx)
{
    webhooks_mail(ctx);
}

int webhooks_start(struct server *s, struct err *e)
{
    struct webhooks *w;
    int r = hooks_new(&s->hooks, s->cloud, IO, e);

    if (!r)
        r = webhooks_make(s, s->config, &w, e);
    if (r)
        return r;
    webhooks_use(s, w);
    s->hooks_timer = net_timer_new(s->net, IO, on_timer, s);
    return s->hooks_timer ? 0 : err_set(e, ERR_NOMEM, "out of memory");
}

void webhooks_stop(struct server *s)
{
    if (s->hooks)
        hooks_stop(s->hooks);
    net_timer_free(s->hooks_timer);
    s->hooks_timer = NULL;
}

void webhooks_close(struct server *s)
{
    struct webhooks *w;

    while ((w = s->webhooks)) {
        s->webhooks = w->before;
        for (int i = 0; i < w->n_upstreams; i++)
            upstream_close(w->upstream[i]);
        explicit_bzero(w, sizeof *w);
        free(w);
    }
    hooks_free(s->hooks);
    s->hooks = NULL;
}
