/* One request as libcurl sees it: its options, and what its callbacks note. */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/check.h"
#include "base/clock.h"
#include "net/http.h"
#include "net/http_int.h"
#include "net/upstream_int.h"

#define PIECE  2048 /* of an answer, read at once */
#define DNS_S  60   /* how long an address is believed */
#define IDLE_S 50   /* how long a connection that nobody uses is kept */
#define LIFE_S 600  /* and any */
#define AGAIN_US                                                                                   \
    1000000 /* a kept connection that ends so soon after it was used again had                     \
               ended before */

void upstream_fail(struct upstream_request *r, int code, const char *why)
{
    if (r->code)
        return;
    r->code = code;
    r->why = why;
}

/* ---- the answer's head ---- */

static int head_fail(struct upstream_request *r, int code, const char *why)
{
    upstream_fail(r, code, why);
    return code;
}

/* "Name: value" without the line's end. */
static int head_line(struct upstream_request *r, const char *p, size_t n)
{
    const char *colon = memchr(p, ':', n);
    const char *v, *end = p + n;

    for (size_t i = 0; i < n; i++) {
        if (!is_text((unsigned char)p[i]))
            return head_fail(r, ERR_FORMAT, "A header of the answer has control bytes");
    }
    if (!colon || colon == p || *p == ' ' || *p == '\t')
        return 0; /* a line that went on: folding is of the past */
    for (v = colon + 1; v < end && (*v == ' ' || *v == '\t');)
        v++;
    while (end > v && (end[-1] == ' ' || end[-1] == '\t'))
        end--;
    for (const char *c = p; c < colon; c++)
        buf_add_char(&r->head, *c >= 'A' && *c <= 'Z' ? (char)(*c | 0x20) : *c);
    buf_add_char(&r->head, 0);
    buf_add(&r->head, v, (size_t)(end - v));
    if (buf_add_char(&r->head, 0))
        return head_fail(r, r->head.failed == ERR_NOMEM ? ERR_NOMEM : ERR_TOO_LARGE,
                         "The head of the answer does not fit");
    return 0;
}

static int head_end(struct upstream_request *r)
{
    long status = 0;

    r->pool->lib->easy_getinfo(r->easy, CURLINFO_RESPONSE_CODE, &status);
    if (status < 200) /* interim: the answer is still to come */
        return 0;
    r->status = (int)status;
    r->phase = PHASE_BODY;
    r->mark_us = r->pool->now_us;
    r->has_head = 1;
    upstream_pool_expect(r);
    upstream_pool_push(r, LIST_NEWS);
    return 0;
}

static size_t header_cb(char *p, size_t size, size_t n, void *ctx)
{
    struct upstream_request *r = ctx;
    size_t len = n; /* size is always 1 */

    r->n_head += n;
    if (r->n_head > r->pool->config->head_max) {
        upstream_fail(r, ERR_TOO_LARGE, "The head of the answer is too large");
        return 0;
    }
    if (r->phase == PHASE_BODY) /* behind the last chunk */
        return n;
    while (len && (p[len - 1] == '\n' || p[len - 1] == '\r'))
        len--;
    if (len >= 5 && !memcmp(p, "HTTP/", 5)) {
        buf_clear(&r->head);
        return n;
    }
    return (len ? head_line(r, p, len) : head_end(r)) ? 0 : n;
}

/* ---- the answer's body ---- */

static size_t write_cb(char *p, size_t size, size_t n, void *ctx)
{
    struct upstream_request *r = ctx;
    struct buf *data = &r->pool->io->data;

    if (r->phase != PHASE_BODY) {
        upstream_fail(r, ERR_FORMAT, "The answer has no head");
        return CURL_WRITEFUNC_ERROR;
    }
    /* what lies in the thread's buffer is one piece a request */
    if (r->is_paused || r->held.len || data->len + n > UPSTREAM_TURN_MAX ||
        (r->data_n && r->data_at + r->data_n != data->len)) {
        r->is_held = 1;
        if (!r->is_paused)
            upstream_pool_push(r, LIST_TODO);
        return CURL_WRITEFUNC_PAUSE;
    }
    r->n_answer += n;
    if (r->n_answer > r->pool->config->body_max) {
        upstream_fail(r, ERR_TOO_LARGE, "The answer is too large");
        return CURL_WRITEFUNC_ERROR;
    }
    if (!r->data_n)
        r->data_at = data->len;
    if (buf_add(data, p, n)) {
        upstream_fail(r, ERR_NOMEM, "Out of memory for an answer");
        return CURL_WRITEFUNC_ERROR;
    }
    r->data_n += n;
    r->mark_us = r->pool->now_us;
    upstream_pool_expect(r);
    upstream_pool_push(r, LIST_NEWS);
    return n;
}

/* ---- the connection ---- */

/* The connection stands, and libcurl is about to send the request on it: the first time, or once
 * more where a kept connection ended without a byte of an answer. When that took a while, the
 * service may have been at work on it, and has it done twice only by the upper room's will. */
static int ready_cb(void *ctx, char *ip, char *local_ip, int port, int local_port)
{
    struct upstream_request *r = ctx;
    int64_t now_us = clock_now_us();

    if (r->sent_us && now_us - r->sent_us > AGAIN_US) {
        upstream_fail(r, ERR_RESET, "The connection ended before the answer");
        return CURL_PREREQFUNC_ABORT;
    }
    if (!r->sent_us)
        r->sent_us = now_us;
    r->phase = PHASE_WAIT;
    r->mark_us = now_us;
    upstream_pool_expect(r);
    return CURL_PREREQFUNC_OK;
}

/* ---- options ---- */

int upstream_easy_open(struct upstream_request *r)
{
    const struct upstream_config *c = r->pool->config;
    const struct curl_lib *lib = r->pool->lib;
    const char *ca_dir = r->pool->io->up->ca_dir;
    CURL *x = lib->easy_init();

    if (!x)
        return ERR_NOMEM;
    r->easy = x;
    lib->easy_setopt(x, CURLOPT_PRIVATE, r);
    lib->easy_setopt(x, CURLOPT_NOSIGNAL, 1L);
    lib->easy_setopt(x, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    lib->easy_setopt(x, CURLOPT_PROTOCOLS_STR, "http,https");
    lib->easy_setopt(x, CURLOPT_PATH_AS_IS, 1L);
    lib->easy_setopt(x, CURLOPT_BUFFERSIZE, (long)PIECE);
    lib->easy_setopt(x, CURLOPT_USERAGENT, c->user_agent);
    lib->easy_setopt(x, CURLOPT_CONNECTTIMEOUT_MS, (long)c->connect_ms);
    lib->easy_setopt(x, CURLOPT_DNS_CACHE_TIMEOUT, (long)DNS_S);
    lib->easy_setopt(x, CURLOPT_MAXAGE_CONN, (long)IDLE_S);
    lib->easy_setopt(x, CURLOPT_MAXLIFETIME_CONN, (long)LIFE_S);
    lib->easy_setopt(x, CURLOPT_TCP_KEEPALIVE, 1L);
    lib->easy_setopt(x, CURLOPT_QUICK_EXIT, 1L); /* a cancel does not wait for a name's address */
    /* the environment chooses no proxy */
    lib->easy_setopt(x, CURLOPT_PROXY, c->proxy ? c->proxy : "");
    lib->easy_setopt(x, CURLOPT_NOPROXY, "");
    lib->easy_setopt(x, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
    lib->easy_setopt(x, CURLOPT_CAPATH, ca_dir);
    if (c->ca_file || ca_dir)
        lib->easy_setopt(x, CURLOPT_CAINFO, c->ca_file);
    lib->easy_setopt(x, CURLOPT_HEADERFUNCTION, header_cb);
    lib->easy_setopt(x, CURLOPT_HEADERDATA, r);
    lib->easy_setopt(x, CURLOPT_WRITEFUNCTION, write_cb);
    lib->easy_setopt(x, CURLOPT_WRITEDATA, r);
    lib->easy_setopt(x, CURLOPT_OPENSOCKETFUNCTION, upstream_sock_open);
    lib->easy_setopt(x, CURLOPT_OPENSOCKETDATA, r);
    lib->easy_setopt(x, CURLOPT_CLOSESOCKETFUNCTION, upstream_sock_close);
    lib->easy_setopt(x, CURLOPT_CLOSESOCKETDATA, r->pool->io);
    lib->easy_setopt(x, CURLOPT_PREREQFUNCTION, ready_cb);
    lib->easy_setopt(x, CURLOPT_PREREQDATA, r);
    return 0;
}

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

static const char *const own_lines[] = {"Expect:", "Content-Type:", "Accept-Encoding: identity"};

/* The lines of the head, one after the other in r->ask: the caller's, and those that keep libcurl
 * from adding its own where the caller has none. An empty value ends in ';' there. */
static int write_lines(struct upstream_request *r, const struct upstream_ask *a, struct err *e)
{
    for (int i = 0; i < a->n_header; i++) {
        const struct upstream_header *h = &a->header[i];
        if (!http_name_ok(h->name) || !http_value_ok(h->value))
            return err_set(e, ERR_ARG, "A header has bytes that do not belong in one");
        buf_addf(&r->ask, "%s%s%s", h->name, *h->value ? ": " : ";", h->value);
        buf_add_char(&r->ask, 0);
    }
    for (size_t i = 0; i < ARRAY_LEN(own_lines); i++) {
        size_t n = strcspn(own_lines[i], ":");
        int k = 0;
        while (k < a->n_header &&
               (strncasecmp(a->header[k].name, own_lines[i], n) || a->header[k].name[n]))
            k++;
        if (k == a->n_header)
            buf_add(&r->ask, own_lines[i], strlen(own_lines[i]) + 1);
    }
    return r->ask.failed ? err_set(e, r->ask.failed == ERR_NOMEM ? ERR_NOMEM : ERR_ARG,
                                   "The head of a request does not fit")
                         : 0;
}

static void chain_lines(struct upstream_request *r, size_t at)
{
    int n = 0;

    for (; at < r->ask.len; at += strlen(r->ask.data + at) + 1, n++) {
        r->lines[n].data = r->ask.data + at;
        r->lines[n].next = NULL;
        if (n)
            r->lines[n - 1].next = &r->lines[n];
    }
}

static int set_ask(struct upstream_request *r, const struct upstream_ask *a)
{
    const struct curl_lib *lib = r->pool->lib;
    CURL *x = r->easy;

    if (!strcmp(a->method, "POST")) {
        lib->easy_setopt(x, CURLOPT_POST, 1L);
        lib->easy_setopt(x, CURLOPT_POSTFIELDS, a->n_body ? a->body : "");
        lib->easy_setopt(x, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)a->n_body);
    } else
        lib->easy_setopt(x, CURLOPT_HTTPGET, 1L);
    lib->easy_setopt(x, CURLOPT_HTTPHEADER, r->lines);
    return lib->easy_setopt(x, CURLOPT_URL, r->ask.data) ? ERR_NOMEM : 0; /* copied */
}

int upstream_easy_ask(struct upstream_request *r, const struct upstream_ask *a, struct err *e)
{
    size_t at;
    int code;

    if (strcmp(a->method, "POST") && (strcmp(a->method, "GET") || a->n_body))
        return err_set(e, ERR_ARG, "A service is asked by GET or POST");
    if (!path_is_ok(a->path))
        return err_set(e, ERR_ARG, "The path of a request has bytes that do not belong in one");
    if (a->n_header > UPSTREAM_HEADERS_MAX - (int)ARRAY_LEN(own_lines))
        return err_set(e, ERR_ARG, "A request has too many headers");
    buf_addf(&r->ask, "%s%s", r->pool->config->base_url, a->path);
    buf_add_char(&r->ask, 0);
    at = r->ask.len;
    code = write_lines(r, a, e);
    if (code)
        return code;
    chain_lines(r, at);
    return set_ask(r, a) ? err_set(e, ERR_NOMEM, "Out of memory for a request to a service") : 0;
}

/* ---- the end ---- */

/* What libcurl says, in our words: libcurl's own name addresses. */
static const struct {
    CURLcode result;
    int code;
    const char *why;
} ends[] = {
    {CURLE_COULDNT_RESOLVE_HOST, ERR_CONNECT, "The address of the service cannot be found"},
    {CURLE_COULDNT_RESOLVE_PROXY, ERR_CONNECT, "The address of the proxy cannot be found"},
    {CURLE_COULDNT_CONNECT, ERR_CONNECT, "The service cannot be connected to"},
    {CURLE_PROXY, ERR_CONNECT, "The proxy does not connect"},
    {CURLE_PEER_FAILED_VERIFICATION, ERR_CONNECT, "The service's certificate is not trusted"},
    {CURLE_SSL_CACERT_BADFILE, ERR_CONNECT, "The file of certificates cannot be used"},
    {CURLE_SSL_CONNECT_ERROR, ERR_CONNECT, "TLS could not be agreed on"},
    {CURLE_OUT_OF_MEMORY, ERR_NOMEM, "Out of memory for a request to a service"},
    {CURLE_PARTIAL_FILE, ERR_RESET, "The answer ended in the middle"},
    {CURLE_GOT_NOTHING, ERR_RESET, "The connection ended before the answer"},
    {CURLE_RECV_ERROR, ERR_RESET, "The connection broke, or its bytes are not HTTP"},
    {CURLE_SEND_ERROR, ERR_RESET, "The connection broke while the request was sent"},
    {CURLE_UNSUPPORTED_PROTOCOL, ERR_FORMAT, "The answer is not HTTP/1.1"},
    {CURLE_WEIRD_SERVER_REPLY, ERR_FORMAT, "The answer is not HTTP/1.1"},
    {CURLE_BAD_CONTENT_ENCODING, ERR_FORMAT, "The answer's encoding is broken"},
};

void upstream_easy_judge(struct upstream_request *r, CURLcode result)
{
    int was_sent = r->phase != PHASE_CONNECT;

    if (result == CURLE_OK) {
        if (!r->status)
            upstream_fail(r, ERR_RESET, "The answer ended in the middle of its head");
        return;
    }
    if (result == CURLE_OUT_OF_MEMORY &&
        r->phase == PHASE_WAIT) /* the line of a head is too long */
        upstream_fail(r, ERR_TOO_LARGE, "The head of the answer does not fit");
    for (size_t i = 0; i < ARRAY_LEN(ends); i++) {
        /* what was not sent cannot be answered wrongly: it is as good as not connected */
        if (ends[i].result == result &&
            (was_sent || ends[i].code == ERR_CONNECT || ends[i].code == ERR_NOMEM))
            upstream_fail(r, ends[i].code, ends[i].why);
    }
    if (!was_sent)
        upstream_fail(r, ERR_CONNECT,
                      result == CURLE_OPERATION_TIMEDOUT
                          ? "The service was not connected to in time"
                          : "The connection to the service failed");
    upstream_fail(r, ERR_RESET, "The request to the service failed");
}
