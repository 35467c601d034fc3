/* A service elsewhere and the requests to it: what the upper room sees. */
#include "net/upstream.h"

#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "base/check.h"
#include "net/http.h"
#include "net/net_int.h"
#include "net/upstream_int.h"

#define URL_MAX 2048

static const struct upstream_config defaults = {
    .connect_ms = 3000,
    .first_byte_ms = 60000,
    .silence_ms = 30000,
    .total_ms = 600000,
    .conns_max = 256,
    .body_max = 64 << 20,
    .head_max = 64 << 10,
    .user_agent = "gaufre/" GAUFRE_VERSION,
};

/* ---- the service ---- */

static void set_defaults(struct upstream_config *c)
{
#define X(member)                                                                                  \
    if (!c->member)                                                                                \
        c->member = defaults.member;
    X(connect_ms)
    X(first_byte_ms)
    X(silence_ms)
    X(total_ms)
    X(conns_max)
    X(body_max)
    X(head_max)
    X(user_agent)
#undef X
}

/* A URL with a scheme of those, and nothing that does not belong in an address. */
static int check_url(const struct curl_lib *lib, const char *url, const char *const schemes[],
                     int parts_allowed)
{
    CURLU *u = lib->url();
    char *scheme = NULL, *part = NULL;
    int ok = u && strlen(url) <= URL_MAX && !lib->url_set(u, CURLUPART_URL, url, 0) &&
             !lib->url_get(u, CURLUPART_SCHEME, &scheme, 0);
    int known = 0;

    for (int i = 0; ok && schemes[i]; i++)
        known |= !strcasecmp(scheme, schemes[i]);
    for (CURLUPart p = CURLUPART_USER; known && !parts_allowed && p <= CURLUPART_OPTIONS; p++) {
        known = lib->url_get(u, p, &part, 0) != CURLUE_OK;
        lib->free(part);
        part = NULL;
    }
    if (known && (strchr(url, '?') || strchr(url, '#')))
        known = 0;
    lib->free(scheme);
    lib->url_cleanup(u);
    return known ? 0 : ERR_ARG;
}

static int check_config(const struct curl_lib *lib, const struct upstream_config *c, struct err *e)
{
    static const char *const web[] = {"http", "https", NULL};
    static const char *const proxies[] = {"http", "https", "socks5", "socks5h", NULL};

    if (!c->base_url || check_url(lib, c->base_url, web, 0))
        return err_set(e, ERR_ARG,
                       "Not the address of a service: it must be an http or https URL without "
                       "user, password, '?' and '#'");
    if (c->proxy && check_url(lib, c->proxy, proxies, 1))
        return err_set(e, ERR_ARG, "Not a proxy: it must be an http, https or socks5 URL");
    if (c->ca_file && access(c->ca_file, R_OK))
        return err_set(e, ERR_ARG, "Cannot read the certificates in %.200s", c->ca_file);
    if (c->connect_ms < 1 || c->first_byte_ms < 1 || c->silence_ms < 1 || c->total_ms < 1 ||
        c->conns_max < 1)
        return err_set(e, ERR_ARG, "A limit of a service must be positive");
    if (!http_value_ok(c->user_agent))
        return err_set(e, ERR_ARG, "The user agent has bytes that do not belong in a header");
    return 0;
}

/* Whether OpenSSL finds certificates in it by their names' hashes ("5ad8a5d6.0"). */
static int is_hashed(const char *path)
{
    DIR *dir = opendir(path);
    const struct dirent *d;
    int found = 0;

    while (dir && !found && (d = readdir(dir)) != NULL)
        found = strspn(d->d_name, "0123456789abcdef") == 8 && !strcmp(d->d_name + 8, ".0");
    if (dir)
        closedir(dir);
    return found;
}

/* The system's certificates are looked up one by one where it has them so. Reading them all takes
 * 35 ms, and libcurl would do it for every connection as long as it has a folder too. */
static int find_ca_dir(struct upstream *u)
{
    CURL *x = u->ca_file ? NULL : u->lib->easy_init();
    const char *path = NULL;
    int r = 0;

    if (!x)
        return u->ca_file ? 0 : ERR_NOMEM;
    u->lib->easy_getinfo(x, CURLINFO_CAPATH, &path);
    if (path && is_hashed(path)) {
        u->ca_dir = strdup(path);
        r = u->ca_dir ? 0 : ERR_NOMEM;
    }
    u->lib->easy_cleanup(x);
    return r;
}

static int copy(char **ret, const char **text)
{
    if (!*text)
        return 0;
    *ret = strdup(*text);
    *text = *ret;
    return *ret ? 0 : ERR_NOMEM;
}

static int copy_texts(struct upstream *u)
{
    struct upstream_config *c = &u->config;

    if (copy(&u->url, &c->base_url) || copy(&u->ca_file, &c->ca_file) ||
        copy(&u->proxy, &c->proxy) || copy(&u->user_agent, &c->user_agent))
        return ERR_NOMEM;
    for (size_t n = strlen(u->url); n && u->url[n - 1] == '/';)
        u->url[--n] = 0;
    return 0;
}

int upstream_open(struct upstream **ret, struct net_server *s, const struct upstream_config *c,
                  struct err *e)
{
    struct upstream_config config = *c;
    const struct curl_lib *lib;
    struct upstream *u;
    int n = net_n_io(s), r = curl_lib_get(&lib, e);

    set_defaults(&config);
    if (!r)
        r = check_config(lib, &config, e);
    if (r)
        return r;
    u = calloc(1, sizeof *u + (size_t)n * sizeof u->io[0]);
    if (!u)
        return err_set(e, ERR_NOMEM, "Out of memory for a service");
    u->config = config;
    u->server = s;
    u->lib = lib;
    u->n_io = n;
    for (int i = 0; i < n; i++) {
        u->io[i].up = u;
        u->io[i].net = &s->ios[i];
        buf_init(&u->io[i].data, UPSTREAM_TURN_MAX);
    }
    if (copy_texts(u) || find_ca_dir(u)) {
        upstream_close(u);
        return err_set(e, ERR_NOMEM, "Out of memory for a service");
    }
    *ret = u;
    return 0;
}

static void io_close(struct upstream_io *io)
{
    while (io->pools) {
        struct upstream_pool *p = io->pools;
        io->pools = p->next;
        upstream_pool_free(p);
    }
    upstream_sock_forget_all(io);
    buf_done(&io->data);
}

void upstream_close(struct upstream *u)
{
    if (!u)
        return;
    CHECK(!atomic_load(&u->server->is_running));
    for (int i = 0; i < u->n_io; i++)
        io_close(&u->io[i]);
    free(u->url);
    free(u->ca_file);
    free(u->ca_dir);
    free(u->proxy);
    free(u->user_agent);
    free(u);
}

/* ---- a request ---- */

/* The first pool with a place, so that the first ones' connections are used most. */
static struct upstream_pool *pool_get(struct upstream_io *io)
{
    struct upstream_pool **p = &io->pools;

    while (*p && (*p)->n_requests >= UPSTREAM_POOL_MAX)
        p = &(*p)->next;
    return *p || !upstream_pool_new(p, io) ? *p : NULL;
}

/* One that was used before, or a new one. */
static struct upstream_request *request_get(struct upstream_pool *pool)
{
    struct upstream_request *r = pool->unused;

    if (r) {
        pool->unused = r->next;
        pool->n_unused--;
        return r;
    }
    r = calloc(1, sizeof *r);
    if (!r)
        return NULL;
    r->pool = pool;
    buf_init(&r->ask, UPSTREAM_ASK_MAX);
    buf_init(&r->head, pool->config->head_max);
    buf_init(&r->held, pool->config->body_max);
    if (upstream_easy_open(r)) {
        free(r);
        return NULL;
    }
    return r;
}

static void request_enter(struct upstream_request *r, const struct upstream_ask *a)
{
    struct upstream_pool *pool = r->pool;

    r->next = pool->requests;
    r->prev = NULL;
    if (r->next)
        r->next->prev = r;
    pool->requests = r;
    pool->n_requests++;
    pool->io->n_requests++;
    upstream_pool_now(pool);
    r->begun_us = r->mark_us = pool->now_us;
    r->first_byte_ms = a->first_byte_ms > 0 ? a->first_byte_ms : pool->config->first_byte_ms;
    upstream_pool_expect(r);
    upstream_pool_push(r, LIST_TODO);
}

int upstream_begin(struct upstream *u, int io, const struct upstream_ask *a,
                   const struct upstream_handler *h, struct upstream_request **ret, struct err *e)
{
    struct upstream_pool *pool;
    struct upstream_request *r;
    int code;

    CHECK(io >= 0 && io < u->n_io);
    net_io_check(u->io[io].net);
    if (u->io[io].n_requests >= u->config.conns_max)
        return err_set(e, ERR_LIMIT, "All %d connections to the service are busy",
                       u->config.conns_max);
    pool = pool_get(&u->io[io]);
    r = pool ? request_get(pool) : NULL;
    if (!r)
        return err_set(e, ERR_NOMEM, "Out of memory for a request to a service");
    code = upstream_easy_ask(r, a, e);
    if (code) {
        upstream_pool_drop(r);
        return code;
    }
    r->handler = *h;
    request_enter(r, a);
    *ret = r;
    return 0;
}

void upstream_cancel(struct upstream_request *r)
{
    net_io_check(r->pool->io->net);
    if (r->is_ended) /* from inside its on_end */
        return;
    r->is_ended = 1;
    upstream_pool_stop(r);
    upstream_pool_drop(r);
}

void upstream_mail(struct upstream *u, int io)
{
    net_io_mail(u->server, io);
}

void upstream_pause(struct upstream_request *r, int paused)
{
    net_io_check(r->pool->io->net);
    if (r->is_paused == !!paused)
        return;
    r->is_paused = !!paused;
    upstream_pool_now(r->pool);
    r->mark_us = r->pool->now_us;
    upstream_pool_expect(r);
    if (!paused && (r->is_held || r->held.len || r->phase == PHASE_DONE))
        upstream_pool_push(r, LIST_TODO);
}

int upstream_status(const struct upstream_request *r)
{
    return r->status;
}

const char *upstream_answer_header(const struct upstream_request *r, const char *name)
{
    const char *p = r->head.data, *end = p ? p + r->head.len : NULL;

    while (p < end) {
        const char *value = p + strlen(p) + 1;
        if (!strcmp(p, name))
            return value;
        p = value + strlen(value) + 1;
    }
    return NULL;
}

int upstream_answer_next(const struct upstream_request *r, const char **name, const char **value)
{
    const char *p = *name ? *value + strlen(*value) + 1 : r->head.data;

    if (!p || p >= r->head.data + r->head.len)
        return 0;
    *name = p;
    *value = p + strlen(p) + 1;
    return 1;
}
