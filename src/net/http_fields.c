/* The head of a request that comes field by field, from HTTP/2 (RFC 9113, 8.3): by the rules of
 * http_head.c, as if it had come in lines. */
#include <string.h>
#include <strings.h>

#include "net/http_int.h"

#define LINE_EXTRA                                                                                 \
    4 /* what a line of HTTP/1 has beside name and value, so that limits are alike                 \
       */

static int is_one(const char *name, size_t n, const char *what)
{
    return n == strlen(what) && !memcmp(name, what, n);
}

/* Keep a text, NUL-terminated; 0 or HTTP_BAD. */
static enum http_event keep(struct http_parser *p, const char *s, size_t n, size_t *ret_at)
{
    *ret_at = p->text.len;
    return buf_add(&p->text, s, n) || buf_add_char(&p->text, 0) ? http_head_full(p) : HTTP_MORE;
}

/* ---- pseudo-header fields ---- */

static enum http_event pseudo(struct http_parser *p, const char *name, size_t n_name,
                              const char *value, size_t n)
{
    unsigned seen;

    if (p->head.n_fields)
        return bad(p, 400, "A pseudo-header field follows an ordinary one.");
    if (is_one(name, n_name, ":method"))
        seen = HTTP_SEEN_METHOD;
    else if (is_one(name, n_name, ":scheme"))
        seen = HTTP_SEEN_SCHEME;
    else if (is_one(name, n_name, ":path"))
        seen = HTTP_SEEN_PATH;
    else if (is_one(name, n_name, ":authority"))
        seen = HTTP_SEEN_AUTHORITY;
    else
        return bad(p, 400, "A pseudo-header field is not known here.");
    if (p->seen & seen)
        return bad(p, 400, "A pseudo-header field was sent twice.");
    p->seen |= seen;
    switch (seen) {
    case HTTP_SEEN_METHOD:
        return http_method(p, value, n);
    case HTTP_SEEN_SCHEME:
        if ((n == 4 && !strncasecmp(value, "http", 4)) ||
            (n == 5 && !strncasecmp(value, "https", 5)))
            return HTTP_MORE;
        return bad(p, 400, "The scheme is not http or https.");
    case HTTP_SEEN_PATH:
        if (n > p->limits.line_max)
            return bad(p, 414, "The path is too long.");
        if (memchr(value, 0, n))
            return bad(p, 400, "The path contains a byte that is not allowed there.");
        return keep(p, value, n, &p->target_at);
    default:
        for (size_t i = 0; i < n; i++) {
            if (!http_is_host((unsigned char)value[i]))
                return bad(p, 400, "The authority is malformed.");
        }
        if (!n)
            return bad(p, 400, "The authority is empty.");
        return keep(p, value, n, &p->host_at);
    }
}

/* ---- fields ---- */

/* What speaks of a connection has no place in a message that shares one. */
static int is_of_connection(const char *name, const char *value)
{
    static const char *const names[] = {"connection", "keep-alive", "proxy-connection",
                                        "transfer-encoding", "upgrade"};

    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (!strcmp(name, names[i]))
            return 1;
    }
    return !strcmp(name, "te") && strcasecmp(value, "trailers");
}

static enum http_event field(struct http_parser *p, const char *name, size_t n_name,
                             const char *value, size_t n)
{
    struct field_at f;
    size_t at_name, at_value;

    if ((uint32_t)p->head.n_fields >= p->limits.fields_max)
        return bad(p, 431, "There are too many headers.");
    if (!n_name)
        return bad(p, 400, "A header's name is malformed.");
    for (size_t i = 0; i < n_name; i++) {
        unsigned char c = (unsigned char)name[i];
        if (!c || token_of(c) != c) /* capitals as well */
            return bad(p, 400, "A header's name is malformed.");
    }
    if (text_run(value, n) != n)
        return bad(p, 400, "The head contains a control byte.");
    if (n && (http_is_blank(*value) || http_is_blank(value[n - 1])))
        return bad(p, 400, "A header's value begins or ends with a blank.");
    if (keep(p, name, n_name, &at_name) || keep(p, value, n, &at_value))
        return HTTP_BAD;
    if (is_of_connection(p->text.data + at_name, p->text.data + at_value))
        return bad(p, 400, "A header of connections stands in a message of HTTP/2.");
    f.name = (uint32_t)at_name;
    f.value = (uint32_t)at_value;
    if (buf_add(&p->fields, &f, sizeof f))
        return http_head_full(p);
    p->head.n_fields++;
    return HTTP_MORE;
}

enum http_event http_parser_field(struct http_parser *p, const char *name, size_t n_name,
                                  const char *value, size_t n)
{
    if (p->state == S_BAD)
        return HTTP_BAD;
    if (p->state == S_START) {
        http_make_room(p);
        p->state = S_FIELDS;
        p->head.minor = 1;
        buf_add_char(&p->text, 0); /* nothing that is kept lies at 0 */
    }
    if (n_name + n + LINE_EXTRA > p->limits.head_max - p->head_bytes)
        return bad(p, 431, "The headers are too large.");
    p->head_bytes += n_name + n + LINE_EXTRA;
    return n_name && *name == ':' ? pseudo(p, name, n_name, value, n)
                                  : field(p, name, n_name, value, n);
}

/* ---- the whole ---- */

/* Clients may send a cookie in pieces, a field each; readers find one (RFC 9113, 8.2.3). */
static enum http_event join_cookies(struct http_parser *p)
{
    struct field_at *f = (struct field_at *)(void *)p->fields.data;
    size_t at = p->text.len;
    int n = 0, first = -1;

    if (http_count(&p->head, "cookie") < 2)
        return HTTP_MORE;
    for (int i = 0; i < p->head.n_fields; i++) {
        size_t value = f[i].value;
        if (strcmp(p->text.data + f[i].name, "cookie")) {
            f[n++] = f[i];
            continue;
        }
        if (buf_reserve(&p->text, strlen(p->text.data + value) + 2))
            return http_head_full(p);
        if (first >= 0)
            buf_add_str(&p->text, "; ");
        buf_add_str(&p->text, p->text.data + value);
        if (first < 0) {
            first = n;
            f[n++] = f[i];
        }
    }
    if (buf_add_char(&p->text, 0))
        return http_head_full(p);
    f[first].value = (uint32_t)at;
    p->head.n_fields = n;
    return HTTP_MORE;
}

/* What HTTP/1 would call the host must be one. */
static enum http_event check_authority(struct http_parser *p)
{
    const char *host = http_field(&p->head, "host");

    if (p->host_at && host && strcasecmp(host, p->text.data + p->host_at))
        return bad(p, 400, "The Host header and the authority differ.");
    if (!p->host_at)
        return http_host(p);
    p->head.host = p->text.data + p->host_at;
    return HTTP_MORE;
}

enum http_event http_parser_fields_end(struct http_parser *p, int has_body)
{
    const unsigned all = HTTP_SEEN_METHOD | HTTP_SEEN_SCHEME | HTTP_SEEN_PATH;
    char *target;

    if (p->state == S_BAD)
        return HTTP_BAD;
    if ((p->seen & all) != all)
        return bad(p, 400, "A pseudo-header field is missing.");
    target = p->text.data + p->target_at;
    if (*target != '/' && strcmp(target, "*"))
        return bad(p, 400, "The path does not begin with a slash.");
    if (http_target(p, target) || join_cookies(p))
        return HTTP_BAD;
    p->head.chunked = has_body && !http_field(&p->head, "content-length");
    if (check_authority(p) || http_head_check(p) == HTTP_BAD)
        return HTTP_BAD;
    if (!has_body && p->head.content_length > 0)
        return bad(p, 400, "There is no body, and Content-Length tells of one.");
    p->state = S_END;
    return HTTP_GOT_HEAD;
}
