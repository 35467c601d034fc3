/* A service elsewhere and the requests to it: what the upper room sees. */
#include "net/upstream.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/check.h"
#include "net/net_int.h"
#include "net/upstream_int.h"

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

static int check_config(const struct upstream_config *c, struct url *ret, struct url *ret_proxy,
                        struct err *e)
{
    if (!c->base_url || url_parse(c->base_url, ret) || *ret->user)
        return err_set(e, ERR_ARG,
                       "Not the address of a service: it must be an http or https URL without "
                       "user, password, '?' and '#'");
    if (c->proxy && (url_parse(c->proxy, ret_proxy) || ret_proxy->is_tls))
        return err_set(e, ERR_ARG, "Not a proxy: it must be an http URL");
    if (c->ca_file && access(c->ca_file, R_OK))
        return err_set(e, ERR_ARG, "Cannot read the certificates in %.200s", c->ca_file);
    if (c->connect_ms < 1 || c->first_byte_ms < 1 || c->silence_ms < 1 || c->total_ms < 1 ||
        c->conns_max < 1)
        return err_set(e, ERR_ARG, "A limit of a service must be positive");
    if (c->head_max > INT32_MAX)
        return err_set(e, ERR_ARG, "The head of an answer may not be as large as that");
    if (!http_value_ok(c->user_agent) || strlen(c->user_agent) > 1024)
        return err_set(e, ERR_ARG, "The user agent has bytes that do not belong in a header");
    return 0;
}

int upstream_check(const struct upstream_config *c, struct err *e)
{
    struct upstream_config all = *c;
    struct url url, proxy;

    set_defaults(&all);
    return check_config(&all, &url, &proxy, e);
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

    if (copy(&u->base_url, &c->base_url) || copy(&u->ca_file, &c->ca_file) ||
        copy(&u->proxy_url, &c->proxy) || copy(&u->user_agent, &c->user_agent))
        return ERR_NOMEM;
    for (size_t n = u->base_url ? strlen(u->base_url) : 0; n && u->base_url[n - 1] == '/';)
        u->base_url[--n] = 0;
    return 0;
}

static int set_up(struct upstream *u, struct err *e)
{
    int r = copy_texts(u) ? err_set(e, ERR_NOMEM, "Out of memory for a service") : 0;

    if (!r)
        r = check_config(&u->config, &u->url, &u->proxy, e);
    u->has_proxy = u->config.proxy != NULL;
    if (!r && u->url.is_tls)
        r = tls_context_new(&u->tls, u->ca_file, e);
    if (!r && upstream_ask_prepare(u))
        r = err_set(e, ERR_NOMEM, "Out of memory for a service");
    for (int i = 0; !r && i < u->n_io; i++) {
        if (upstream_name_open(&u->io[i]) || upstream_work_open(&u->io[i]))
            r = err_set(e, ERR_NOMEM, "Out of memory or descriptors for a service");
    }
    return r;
}

static void wipe(char *text)
{
    if (text)
        explicit_bzero(text, strlen(text));
    free(text);
}

static void upstream_free(struct upstream *u)
{
    for (int i = 0; i < u->n_io; i++) {
        upstream_work_close(&u->io[i]);
        upstream_name_close(&u->io[i]);
    }
    tls_context_free(u->tls);
    free(u->base_url);
    free(u->ca_file);
    wipe(u->proxy_url);
    free(u->user_agent);
    free(u->target);
    wipe(u->lines);
    wipe(u->tunnel);
    free(u);
}

int upstream_open(struct upstream **ret, struct net_server *s, const struct upstream_config *c,
                  struct err *e)
{
    int n = net_n_io(s), r;
    struct upstream *u = calloc(1, sizeof *u + (size_t)n * sizeof u->io[0]);

    if (!u)
        return err_set(e, ERR_NOMEM, "Out of memory for a service");
    u->config = *c;
    set_defaults(&u->config);
    u->server = s;
    u->n_io = n;
    for (int i = 0; i < n; i++) {
        u->io[i].up = u;
        u->io[i].net = &s->ios[i];
        u->io[i].lookup_box.fd = -1;
    }
    r = set_up(u, e);
    if (r)
        upstream_free(u);
    else
        *ret = u;
    return r;
}

int64_t upstream_rtt_us(const struct upstream *u)
{
    return atomic_load(&u->rtt_us);
}

void upstream_close(struct upstream *u)
{
    if (!u)
        return;
    CHECK(!atomic_load(&u->server->is_running));
    upstream_free(u);
}

/* ---- a request ---- */

static struct upstream_request *request_new(struct upstream_io *io)
{
    const struct upstream_config *c = &io->up->config;
    struct upstream_request *r = calloc(1, sizeof *r);
    struct http_limits limits = {.line_max = 8192,
                                 .head_max = (uint32_t)c->head_max,
                                 .fields_max = 256,
                                 .chunk_extra_max = (uint32_t)c->head_max};

    if (!r)
        return NULL;
    r->io = io;
    http_parser_init_answer(&r->parser, &limits, HTTP_ANSWER);
    buf_init(&r->ask, UPSTREAM_ASK_MAX);
    buf_init(&r->held, UPSTREAM_IN_MAX);
    return r;
}

int upstream_begin(struct upstream *u, int io, const struct upstream_ask *a,
                   const struct upstream_handler *h, struct upstream_request **ret, struct err *e)
{
    struct upstream_request *r;
    int code;

    CHECK(io >= 0 && io < u->n_io);
    net_io_check(u->io[io].net);
    if (u->io[io].n_requests >= u->config.conns_max)
        return err_set(e, ERR_LIMIT, "All %d connections to the service are busy",
                       u->config.conns_max);
    r = request_new(&u->io[io]);
    if (!r)
        return err_set(e, ERR_NOMEM, "Out of memory for a request to a service");
    code = upstream_ask_make(r, a, e);
    if (code) {
        upstream_request_free(r);
        return code;
    }
    r->handler = *h;
    r->first_byte_ms = a->first_byte_ms > 0 ? a->first_byte_ms : u->config.first_byte_ms;
    upstream_request_enter(r);
    *ret = r;
    return 0;
}

void upstream_cancel(struct upstream_request *r)
{
    net_io_check(r->io->net);
    if (r->is_ended) /* from inside its on_end */
        return;
    r->is_ended = 1;
    if (r->link)
        upstream_link_close(r->link);
    upstream_request_leave(r);
    upstream_request_free(r);
}

void upstream_mail(struct upstream *u, int io)
{
    net_io_mail(u->server, io);
}

void upstream_pause(struct upstream_request *r, int paused)
{
    net_io_check(r->io->net);
    if (r->is_paused == !!paused)
        return;
    r->is_paused = !!paused;
    upstream_now(r->io);
    r->mark_us = r->io->now_us;
    upstream_expect(r);
    if (!paused)
        upstream_todo(r);
}

int upstream_is_sent(const struct upstream_request *r)
{
    return r->n_all && r->n_out == r->n_all;
}

int upstream_status(const struct upstream_request *r)
{
    return r->status;
}

const char *upstream_answer_header(const struct upstream_request *r, const char *name)
{
    return r->status ? http_field(&r->parser.head, name) : NULL;
}

/* The field behind the one of that name, which is a pointer into the head: they lie there in their
 * order. */
static int field_behind(const struct http_head *h, const char *name)
{
    int low = 0, high = h->n_fields;

    while (low < high) {
        int mid = low + (high - low) / 2;
        if (http_field_name(h, mid) <= name)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

int upstream_answer_next(const struct upstream_request *r, const char **name, const char **value)
{
    const struct http_head *h = &r->parser.head;
    int i = *name ? field_behind(h, *name) : 0;

    if (!r->status || i >= h->n_fields)
        return 0;
    *name = http_field_name(h, i);
    *value = http_field_value(h, i);
    return 1;
}
