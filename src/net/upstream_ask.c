/* A request's bytes. Its head is the service's lines, which are made once, and the caller's. */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/check.h"
#include "base/put.h"
#include "net/upstream_int.h"

#define TEXT_MAX 8192

/* ---- the service's part ---- */

static void add_base64(struct buf *b, const char *text)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const unsigned char *p = (const unsigned char *)text;
    size_t n = strlen(text);

    for (size_t i = 0; i < n; i += 3) {
        uint32_t v = (uint32_t)p[i] << 16;
        v |= i + 1 < n ? (uint32_t)p[i + 1] << 8 : 0;
        v |= i + 2 < n ? p[i + 2] : 0;
        buf_add_char(b, digits[v >> 18]);
        buf_add_char(b, digits[v >> 12 & 63]);
        buf_add_char(b, i + 1 < n ? digits[v >> 6 & 63] : '=');
        buf_add_char(b, i + 2 < n ? digits[v & 63] : '=');
    }
}

static void add_proxy_key(struct buf *b, const struct upstream *u)
{
    char key[URL_USER_MAX + 1];

    if (!*u->proxy.user)
        return;
    stpcpy(stpcpy(key, u->proxy.user), strchr(u->proxy.user, ':') ? "" : ":");
    buf_add_str(b, "Proxy-Authorization: Basic ");
    add_base64(b, key);
    buf_add_str(b, "\r\n");
    explicit_bzero(key, sizeof key);
}

static int make_texts(struct upstream *u, struct buf *b)
{
    char host[URL_AUTHORITY_MAX];

    url_authority(&u->url, 0, host);
    if (u->has_proxy && !u->url.is_tls) /* it is asked for the whole URL */
        buf_addf(b, "http://%s", host);
    buf_add_str(b, u->url.path);
    u->target = strdup(b->data ? b->data : "");
    buf_clear(b);
    buf_addf(b, "Host: %s\r\n", host);
    if (u->has_proxy && !u->url.is_tls)
        add_proxy_key(b, u);
    u->lines = b->failed ? NULL : strdup(b->data);
    buf_clear(b);
    if (u->has_proxy && u->url.is_tls) {
        url_authority(&u->url, 1, host);
        buf_addf(b, "CONNECT %s HTTP/1.1\r\nHost: %s\r\n", host, host);
        add_proxy_key(b, u);
        buf_addf(b, "User-Agent: %s\r\n\r\n", u->user_agent);
        u->tunnel = b->failed ? NULL : strdup(b->data);
        if (!u->tunnel)
            return ERR_NOMEM;
    }
    return u->target && u->lines ? 0 : ERR_NOMEM;
}

int upstream_ask_prepare(struct upstream *u)
{
    struct buf b;
    int r;

    buf_init(&b, TEXT_MAX);
    r = make_texts(u, &b);
    if (b.data)
        explicit_bzero(b.data, b.cap);
    buf_done(&b);
    return r;
}

/* ---- the caller's part ---- */

/* Bytes that a path of a request may have. */
static int path_is_ok(const char *path)
{
    if (*path != '/')
        return 0;
    for (const char *p = path; *p; p++) {
        if ((unsigned char)*p <= 0x20 || (unsigned char)*p >= 0x7f || *p == '#')
            return 0;
    }
    return 1;
}

/* What only this client may say: how long the body is, and what becomes of the connection. */
static int is_ours(const char *name)
{
    static const char *const ours[] = {
        "Connection",        "Content-Length",     "Host", "Keep-Alive", "TE", "Trailer", "Upgrade",
        "Transfer-Encoding", "Proxy-Authorization"};

    for (size_t i = 0; i < ARRAY_LEN(ours); i++) {
        if (!strcasecmp(name, ours[i]))
            return 1;
    }
    return 0;
}

static int check_ask(const struct upstream_ask *a, struct err *e)
{
    if (strcmp(a->method, "POST") && strcmp(a->method, "PATCH") &&
        (strcmp(a->method, "GET") || a->n_body))
        return err_set(e, ERR_ARG, "A service is asked by GET, POST or PATCH");
    if (!path_is_ok(a->path))
        return err_set(e, ERR_ARG, "The path of a request has bytes that do not belong in one");
    if (a->n_header > UPSTREAM_HEADERS_MAX)
        return err_set(e, ERR_ARG, "A request has too many headers");
    for (int i = 0; i < a->n_header; i++) {
        const struct upstream_header *h = &a->header[i];
        if (!http_name_ok(h->name) || !http_value_ok(h->value) || is_ours(h->name))
            return err_set(e, ERR_ARG, "A header has bytes that do not belong in one");
    }
    return 0;
}

static int has(const struct upstream_ask *a, const char *name)
{
    for (int i = 0; i < a->n_header; i++) {
        if (!strcasecmp(a->header[i].name, name))
            return 1;
    }
    return 0;
}

static void add_line(struct buf *b, const char *name, const char *value)
{
    buf_add_str(b, name);
    buf_add_str(b, *value ? ": " : ":");
    buf_add_str(b, value);
    buf_add_str(b, "\r\n");
}

static void write_head(struct buf *b, const struct upstream *u, const struct upstream_ask *a)
{
    buf_reserve(b, 500);
    buf_add_str(b, a->method);
    buf_add_char(b, ' ');
    buf_add_str(b, u->target);
    buf_add_str(b, a->path);
    buf_add_str(b, " HTTP/1.1\r\n");
    buf_add_str(b, u->lines);
    if (!has(a, "User-Agent"))
        add_line(b, "User-Agent", u->user_agent);
    if (!has(a, "Accept"))
        add_line(b, "Accept", "*/*");
    for (int i = 0; i < a->n_header; i++)
        add_line(b, a->header[i].name, a->header[i].value);
    if (!has(a, "Accept-Encoding"))
        add_line(b, "Accept-Encoding", "identity");
    if (*a->method == 'P') {
        buf_add_str(b, "Content-Length: ");
        put_number(b, (int64_t)a->n_body);
        buf_add_str(b, "\r\n");
    }
    buf_add_str(b, "\r\n");
}

int upstream_ask_make(struct upstream_request *r, const struct upstream_ask *a, struct err *e)
{
    int code = check_ask(a, e);

    if (code)
        return code;
    write_head(&r->ask, r->io->up, a);
    if (r->ask.failed)
        return err_set(e, r->ask.failed == ERR_NOMEM ? ERR_NOMEM : ERR_ARG,
                       "The head of a request does not fit");
    r->body = a->body;
    r->n_body = a->n_body;
    r->n_all = r->ask.len + a->n_body;
    return 0;
}
