#include "net/fetch.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "base/check.h"
#include "net/curl_lib.h"

#define CONNECT_MS    30000
#define STALL_MS      60000
#define REDIRECTS_MAX 5

struct fetch {
    const struct fetch_options *o;
    struct fetch_result *ret;
    struct err *e;
    const struct curl_lib *lib;
    CURL *curl;
    char host[256];
    int64_t asked_from;  /* what the Range header says */
    int64_t range_start; /* Content-Range of this answer; -1: none */
    int64_t total;       /* size of the whole file; -1: unknown */
    char coding[32];     /* Content-Encoding of this answer, "" for none */
    int is_begun;        /* the answer's status was looked at */
    int is_dropped;      /* its body is not the file */
    int from_start;      /* the server cannot continue: ask again without Range */
    int code;            /* set with *e by a callback that stopped the transfer */
};

void fetch_options_init(struct fetch_options *o, const char *url)
{
    *o = (struct fetch_options){.url = url, .fd = -1, .size_before = -1, .size_expected = -1};
}

/* ---- the answer's head ---- */

/* "bytes 5-9/10" or "bytes * /10" (without the blank). */
static void parse_range(struct fetch *f, const char *v)
{
    long long start, end, total;

    if (strncasecmp(v, "bytes ", 6))
        return;
    if (sscanf(v + 6, "%lld-%lld/%lld", &start, &end, &total) == 3 && start >= 0 && end >= start &&
        total > end) {
        f->range_start = start;
        f->total = total;
    } else if (sscanf(v + 6, "*/%lld", &total) == 1 && total >= 0) {
        f->range_start = -1; /* of a second header: the last one counts, as a whole */
        f->total = total;
    }
}

/* A strong ETag is a text in quotes: W/"..." promises the same meaning, not the same bytes, and
 * what has no quotes promises nothing. */
static int is_strong(const char *v, size_t n)
{
    return n >= 2 && v[0] == '"' && memchr(v + 1, '"', n - 1) == v + n - 1;
}

static void parse_header(struct fetch *f, char *line)
{
    char *v = strchr(line, ':');
    size_t n;

    if (!v)
        return;
    *v++ = 0;
    v += strspn(v, " \t");
    n = strlen(v);
    while (n && (v[n - 1] == ' ' || v[n - 1] == '\t' || v[n - 1] == '\r' || v[n - 1] == '\n'))
        v[--n] = 0;
    if (!strcasecmp(line, "content-range"))
        parse_range(f, v);
    else if (!strcasecmp(line, "etag") && is_strong(v, n) && n < sizeof f->ret->etag)
        memcpy(f->ret->etag, v, n + 1);
    else if (!strcasecmp(line, "content-encoding") && strcasecmp(v, "identity"))
        snprintf(f->coding, sizeof f->coding, "%s", v);
}

static size_t header_cb(char *p, size_t size, size_t n, void *ctx)
{
    struct fetch *f = ctx;
    char line[1024];
    size_t len = n < sizeof line ? n : sizeof line - 1; /* size is always 1 */

    if (n >= 5 && !memcmp(p, "HTTP/", 5)) { /* a new answer, perhaps after a redirect */
        f->range_start = f->total = -1;
        f->ret->etag[0] = f->coding[0] = 0;
        return n;
    }
    memcpy(line, p, len);
    line[len] = 0;
    parse_header(f, line);
    return n;
}

static int stop(struct fetch *f, int code)
{
    f->code = code;
    return code;
}

static int check_size(struct fetch *f)
{
    const struct fetch_options *o = f->o;

    if (f->total >= 0 && o->size_expected >= 0 && f->total != o->size_expected)
        return stop(f, err_set(f->e, ERR_FORMAT, "%s offers %lld byte%s where %lld were expected",
                               f->host, (long long)f->total, plural(f->total),
                               (long long)o->size_expected));
    if (o->size_max > 0 && f->total > o->size_max)
        return stop(f, err_set(f->e, ERR_TOO_LARGE, "%s offers %lld bytes; the limit is %lld",
                               f->host, (long long)f->total, (long long)o->size_max));
    return 0;
}

static int tell_begun(struct fetch *f)
{
    int code = f->o->begun ? f->o->begun(f->o->ctx, f->ret, f->total) : 0;

    return code ? stop(f, code) : 0;
}

/* The answer has the file from its first byte: store it from there, even if a later byte was asked
 * for.
 */
static int begin_whole(struct fetch *f)
{
    curl_off_t n = -1;

    f->lib->easy_getinfo(f->curl, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &n);
    f->total = n;
    if (check_size(f))
        return f->code;
    if (f->o->fd >= 0 && f->o->resume_from > 0 && ftruncate(f->o->fd, 0))
        return stop(f, err_set(f->e, ERR_IO, "Cannot truncate the file: %s", strerror(errno)));
    f->ret->bytes = f->ret->resumed_from = 0;
    return tell_begun(f);
}

/* Is what this answer continues the version of the file whose beginning is here? */
static int is_same_version(const struct fetch *f)
{
    const struct fetch_options *o = f->o;

    return (!o->etag || !strcmp(o->etag, f->ret->etag)) &&
           (o->size_before < 0 || f->total == o->size_before);
}

/* The file goes on where the earlier part ends, or all of it must be asked for again. */
static int begin_rest(struct fetch *f)
{
    if (f->asked_from == 0 || f->range_start != f->asked_from)
        err_set(f->e, ERR_FORMAT, "%s sent another part of the file", f->host);
    else if (!is_same_version(f))
        err_set(f->e, ERR_FORMAT, "%s has another version of the file by now", f->host);
    else if (!check_size(f))
        return tell_begun(f);
    else if (f->code != ERR_FORMAT)
        return f->code; /* too large, from the start as well */
    f->from_start = 1;
    return stop(f, ERR_FORMAT);
}

/* Look at the status before the first byte of the body is used. */
static int begin(struct fetch *f)
{
    long status = 0;

    if (f->is_begun)
        return f->code;
    f->is_begun = 1;
    f->lib->easy_getinfo(f->curl, CURLINFO_RESPONSE_CODE, &status);
    f->ret->status = (int)status;
    f->is_dropped = status != 200 && status != 206;
    if (f->is_dropped)
        return 0;
    if (f->coding[0])
        return stop(f, err_set(f->e, ERR_UNSUPPORTED,
                               "%s sends the file compressed (Content-Encoding: %s)", f->host,
                               f->coding));
    return status == 200 ? begin_whole(f) : begin_rest(f);
}

/* ---- the body ---- */

static int write_all(struct fetch *f, const char *p, size_t n)
{
    while (n) {
        ssize_t w = pwrite(f->o->fd, p, n, (off_t)f->ret->bytes);
        if (w < 0 && errno == EINTR)
            continue;
        if (w <= 0) {
            if (w == 0 || errno == ENOSPC || errno == EDQUOT)
                return stop(f, err_set(f->e, ERR_LIMIT, "No room: the disk is full"));
            return stop(f, err_set(f->e, errno == EFBIG ? ERR_LIMIT : ERR_IO,
                                   "Cannot write the file: %s", strerror(errno)));
        }
        p += w;
        n -= (size_t)w;
        f->ret->bytes += w;
    }
    return 0;
}

/* What the whole file may have, as far as we know; -1: anything. */
static int64_t bytes_allowed(const struct fetch *f)
{
    const struct fetch_options *o = f->o;
    int64_t max = o->size_max > 0 ? o->size_max : -1;

    if (o->size_expected >= 0)
        return max < 0 || o->size_expected < max ? o->size_expected : max;
    if (f->total < 0 && o->unsized_max > 0 && (max < 0 || o->unsized_max < max))
        return o->unsized_max;
    return max;
}

static int store(struct fetch *f, const char *p, size_t n)
{
    const struct fetch_options *o = f->o;
    int64_t max = bytes_allowed(f);
    int code;

    if (max >= 0 && (int64_t)n > max - f->ret->bytes)
        return stop(f, err_set(f->e, ERR_TOO_LARGE, "%s sends more than %lld bytes%s", f->host,
                               (long long)max,
                               f->total < 0 ? ", and does not tell how long the file is" : ""));
    if (o->fd >= 0)
        return write_all(f, p, n);
    if (o->take) {
        f->ret->bytes += (int64_t)n;
        code = o->take(o->ctx, p, n);
        return code ? stop(f, code) : 0;
    }
    if (buf_add(o->body, p, n))
        return stop(f, err_set(f->e, o->body->failed == ERR_NOMEM ? ERR_NOMEM : ERR_TOO_LARGE,
                               "The answer of %s does not fit", f->host));
    f->ret->bytes += (int64_t)n;
    return 0;
}

static size_t write_cb(char *p, size_t size, size_t n, void *ctx)
{
    struct fetch *f = ctx;

    if (begin(f))
        return CURL_WRITEFUNC_ERROR;
    if (f->is_dropped) {
        if (f->o->refusal && buf_add(f->o->refusal, p, n))
            f->o->refusal->len = 0; /* half of it would say something else */
        return n;
    }
    return store(f, p, n) ? CURL_WRITEFUNC_ERROR : n;
}

static int progress_cb(void *ctx, curl_off_t dl_total, curl_off_t dl, curl_off_t ul_total,
                       curl_off_t ul)
{
    struct fetch *f = ctx;
    int64_t total = f->total >= 0 ? f->total : f->o->size_expected;

    return f->o->progress ? f->o->progress(f->o->ctx, f->ret->bytes, total) : 0;
}

/* ---- what went wrong, for people ---- */

static int transfer_error(struct fetch *f, CURLcode r, const char *detail)
{
    const char *why = *detail ? detail : f->lib->easy_strerror(r);

    if (f->code)
        return f->code;
    switch (r) {
    case CURLE_COULDNT_RESOLVE_HOST:
        return err_set(f->e, ERR_IO, "Cannot find the address of %s (no network, or a wrong name)",
                       f->host);
    case CURLE_COULDNT_RESOLVE_PROXY:
        return err_set(f->e, ERR_IO, "Cannot find the address of the proxy: %s", why);
    case CURLE_COULDNT_CONNECT:
        return err_set(f->e, ERR_IO, "Cannot connect to %s: %s", f->host, why);
    case CURLE_OPERATION_TIMEDOUT:
        return err_set(f->e, ERR_TIMEOUT, "%s did not answer in time: %s", f->host, why);
    case CURLE_ABORTED_BY_CALLBACK:
        return err_set(f->e, ERR_CANCELLED, "The download was cancelled");
    case CURLE_URL_MALFORMAT:
    case CURLE_UNSUPPORTED_PROTOCOL:
        return err_set(f->e, ERR_ARG, "Not an http or https URL: %.200s", f->o->url);
    case CURLE_TOO_MANY_REDIRECTS:
        return err_set(f->e, ERR_IO, "%s redirects too often", f->host);
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_SSL_CONNECT_ERROR:
    case CURLE_SSL_CERTPROBLEM:
    case CURLE_SSL_ISSUER_ERROR:
        return err_set(f->e, ERR_IO, "The TLS connection to %s failed: %s", f->host, why);
    case CURLE_PARTIAL_FILE:
    case CURLE_RECV_ERROR:
    case CURLE_GOT_NOTHING:
        return err_set(f->e, ERR_IO, "The connection to %s broke after %lld byte%s: %s", f->host,
                       (long long)f->ret->bytes, plural(f->ret->bytes), why);
    default:
        return err_set(f->e, ERR_IO, "The download from %s failed: %s", f->host, why);
    }
}

/* The transfer itself went well. */
static int judge_status(struct fetch *f)
{
    int status = f->ret->status;

    if (status == 200 || status == 206) {
        int64_t want = f->total >= 0 ? f->total : f->o->size_expected;
        if (want >= 0 && f->ret->bytes != want) /* a server may send less than was asked for */
            return err_set(f->e, status == 206 ? ERR_IO : ERR_FORMAT,
                           "%s sent %lld byte%s where %lld were expected", f->host,
                           (long long)f->ret->bytes, plural(f->ret->bytes), (long long)want);
        return 0;
    }
    if (status == 416 && f->asked_from > 0) {
        if (f->total == f->asked_from && is_same_version(f) && check_size(f) == 0)
            return 0; /* it was whole already */
        f->from_start = 1;
        return err_set(f->e, ERR_FORMAT, "%s cannot continue the download", f->host);
    }
    if (status == 404 || status == 410)
        return err_set(f->e, ERR_NOTFOUND, "%s does not have this file (HTTP %d)", f->host, status);
    if (status == 401 || status == 403)
        return err_set(f->e, ERR_FORBIDDEN, "%s does not allow this download (HTTP %d)", f->host,
                       status);
    if (status == 429 || status >= 500)
        return err_set(f->e, ERR_AGAIN, "%s cannot serve this now (HTTP %d)", f->host, status);
    return err_set(f->e, ERR_IO, "%s answered with HTTP %d", f->host, status);
}

/* ---- the request ---- */

static int set_host(struct fetch *f)
{
    CURLU *u = f->lib->url();
    char *host = NULL, *scheme = NULL;
    int ok = u && !f->lib->url_set(u, CURLUPART_URL, f->o->url, 0) &&
             !f->lib->url_get(u, CURLUPART_HOST, &host, 0) &&
             !f->lib->url_get(u, CURLUPART_SCHEME, &scheme, 0) &&
             (!strcasecmp(scheme, "http") || !strcasecmp(scheme, "https"));

    if (ok)
        snprintf(f->host, sizeof f->host, "%s", host);
    if (ok && !strcasecmp(scheme, "https"))
        f->lib->easy_setopt(f->curl, CURLOPT_REDIR_PROTOCOLS_STR, "https");
    f->lib->free(host);
    f->lib->free(scheme);
    f->lib->url_cleanup(u);
    return ok ? 0 : err_set(f->e, ERR_ARG, "Not an http or https URL: %.200s", f->o->url);
}

static int add_line(const struct curl_lib *lib, struct curl_slist **list, const char *line)
{
    struct curl_slist *more = lib->slist_append(*list, line);
    if (!more)
        return ERR_NOMEM;
    *list = more;
    return 0;
}

static int set_headers(struct fetch *f, struct curl_slist **list)
{
    const struct fetch_options *o = f->o;
    char line[192];

    for (int i = 0; o->headers && o->headers[i]; i++) {
        if (add_line(f->lib, list, o->headers[i]))
            return ERR_NOMEM;
    }
    /* a compressed file has another length, and other bytes after a cut */
    if (add_line(f->lib, list, "Accept-Encoding: identity"))
        return ERR_NOMEM;
    if (f->asked_from > 0) {
        snprintf(line, sizeof line, "Range: bytes=%lld-", (long long)f->asked_from);
        if (add_line(f->lib, list, line))
            return ERR_NOMEM;
        if (o->etag && strlen(o->etag) < sizeof f->ret->etag) {
            snprintf(line, sizeof line, "If-Range: %s", o->etag);
            if (add_line(f->lib, list, line))
                return ERR_NOMEM;
        }
    }
    f->lib->easy_setopt(f->curl, CURLOPT_HTTPHEADER, *list);
    return 0;
}

/* The file of trusted certificates. libcurl does not look at the environment, but users behind a
 * proxy that signs its own certificates have set one of these variables. */
static const char *ca_file(const struct fetch_options *o)
{
    static const char *const names[] = {"CURL_CA_BUNDLE", "SSL_CERT_FILE"};

    if (o->ca_file)
        return o->ca_file;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        const char *path = getenv(names[i]);
        if (path && *path)
            return path;
    }
    return NULL;
}

static void set_options(struct fetch *f, char *detail)
{
    const struct fetch_options *o = f->o;
    int stall_ms = o->stall_timeout_ms > 0 ? o->stall_timeout_ms : STALL_MS;
    int connect_ms = o->connect_timeout_ms > 0 ? o->connect_timeout_ms : CONNECT_MS;
    CURL *c = f->curl;

    f->lib->easy_setopt(c, CURLOPT_URL, o->url);
    f->lib->easy_setopt(c, CURLOPT_ERRORBUFFER, detail);
    f->lib->easy_setopt(c, CURLOPT_USERAGENT, "gaufre/" GAUFRE_VERSION);
    f->lib->easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
    f->lib->easy_setopt(c, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    f->lib->easy_setopt(c, CURLOPT_PROTOCOLS_STR, "http,https");
    f->lib->easy_setopt(c, CURLOPT_REDIR_PROTOCOLS_STR, "http,https");
    f->lib->easy_setopt(c, CURLOPT_FOLLOWLOCATION, 1L);
    f->lib->easy_setopt(c, CURLOPT_MAXREDIRS, (long)REDIRECTS_MAX);
    f->lib->easy_setopt(c, CURLOPT_CONNECTTIMEOUT_MS, (long)connect_ms);
    f->lib->easy_setopt(c, CURLOPT_LOW_SPEED_LIMIT, 1L);
    f->lib->easy_setopt(c, CURLOPT_LOW_SPEED_TIME, (long)((stall_ms + 999) / 1000));
    f->lib->easy_setopt(c, CURLOPT_BUFFERSIZE, 262144L);
    f->lib->easy_setopt(c, CURLOPT_HEADERFUNCTION, header_cb);
    f->lib->easy_setopt(c, CURLOPT_HEADERDATA, f);
    f->lib->easy_setopt(c, CURLOPT_WRITEFUNCTION, write_cb);
    f->lib->easy_setopt(c, CURLOPT_WRITEDATA, f);
    f->lib->easy_setopt(c, CURLOPT_XFERINFOFUNCTION, progress_cb);
    f->lib->easy_setopt(c, CURLOPT_XFERINFODATA, f);
    f->lib->easy_setopt(c, CURLOPT_NOPROGRESS, 0L);
    if (ca_file(o))
        f->lib->easy_setopt(c, CURLOPT_CAINFO, ca_file(o));
    if (o->send)
        f->lib->easy_setopt(c, CURLOPT_POSTFIELDS, o->send);
    if (o->method) {
        f->lib->easy_setopt(c, CURLOPT_CUSTOMREQUEST, o->method);
        f->lib->easy_setopt(c, CURLOPT_FOLLOWLOCATION, 0L);
    }
}

static int fetch_once(struct fetch *f)
{
    char detail[CURL_ERROR_SIZE] = "";
    struct curl_slist *headers = NULL;
    CURLcode r;
    int code;

    f->curl = f->lib->easy_init();
    if (!f->curl)
        return err_set(f->e, ERR_NOMEM, "Out of memory for the download");
    set_options(f, detail);
    code = set_host(f);
    if (!code && set_headers(f, &headers))
        code = err_set(f->e, ERR_NOMEM, "Out of memory for the download");
    if (!code) {
        r = f->lib->easy_perform(f->curl);
        if (r == CURLE_OK && !begin(f)) /* there was no body */
            code = judge_status(f);
        else
            code = transfer_error(f, r, detail);
    }
    f->lib->slist_free_all(headers);
    f->lib->easy_cleanup(f->curl);
    return code;
}

int fetch_get(const struct fetch_options *o, struct fetch_result *ret, struct err *e)
{
    struct fetch f = {.o = o, .ret = ret, .e = e, .asked_from = o->resume_from};
    int code;

    CHECK(o->fd >= 0 || ((o->body || o->take) && o->resume_from == 0));
    *ret = (struct fetch_result){.bytes = o->resume_from, .resumed_from = o->resume_from};
    f.total = f.range_start = -1;
    code = curl_lib_get(&f.lib, e);
    if (!code)
        code = fetch_once(&f);
    if (f.from_start && f.asked_from > 0) {
        struct fetch again = {
            .o = o, .ret = ret, .e = e, .lib = f.lib, .total = -1, .range_start = -1};
        ret->bytes = ret->resumed_from = 0;
        code = fetch_once(&again);
    }
    return code;
}
