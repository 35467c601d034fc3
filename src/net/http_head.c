/* The head of a request: names, lines, and the checks on the whole. */
#include <string.h>
#include <strings.h>

#include "base/check.h"
#include "net/http_int.h"

int http_is_blank(char c)
{
    return c == ' ' || c == '\t';
}

/* Visible ASCII without the bytes that neither URIs nor browsers' requests contain. */
static int is_target(unsigned char c)
{
    return c > 0x20 && c < 0x7f && !strchr("\"#<>\\", c);
}

int http_is_host(unsigned char c)
{
    if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9'))
        return 1;
    return c != 0 && strchr("-._~:[]%", c) != NULL;
}

int http_name_ok(const char *name)
{
    const char *s = name;
    while (is_token((unsigned char)*s))
        s++;
    return s != name && !*s;
}

int http_text_ok(const char *value, size_t n)
{
    return text_run(value, n) == n;
}

int http_value_ok(const char *value)
{
    return http_text_ok(value, strlen(value));
}

/* ---- names ---- */

static const char *const method_names[HTTP_N_METHODS] = {"GET",    "HEAD",    "POST", "PUT",
                                                         "DELETE", "OPTIONS", "PATCH"};

const char *http_method_name(enum http_method m)
{
    CHECK((unsigned)m < HTTP_N_METHODS);
    return method_names[m];
}

const char *http_reason(int status)
{
    static const struct {
        int status;
        const char *text;
    } rows[] = {
        {100, "Continue"},
        {200, "OK"},
        {201, "Created"},
        {202, "Accepted"},
        {204, "No Content"},
        {206, "Partial Content"},
        {301, "Moved Permanently"},
        {302, "Found"},
        {303, "See Other"},
        {304, "Not Modified"},
        {307, "Temporary Redirect"},
        {308, "Permanent Redirect"},
        {400, "Bad Request"},
        {401, "Unauthorized"},
        {402, "Payment Required"},
        {403, "Forbidden"},
        {404, "Not Found"},
        {405, "Method Not Allowed"},
        {408, "Request Timeout"},
        {409, "Conflict"},
        {410, "Gone"},
        {411, "Length Required"},
        {412, "Precondition Failed"},
        {413, "Content Too Large"},
        {414, "URI Too Long"},
        {415, "Unsupported Media Type"},
        {416, "Range Not Satisfiable"},
        {417, "Expectation Failed"},
        {422, "Unprocessable Content"},
        {429, "Too Many Requests"},
        {431, "Request Header Fields Too Large"},
        {499, "Client Closed Request"},
        {500, "Internal Server Error"},
        {501, "Not Implemented"},
        {502, "Bad Gateway"},
        {503, "Service Unavailable"},
        {504, "Gateway Timeout"},
        {505, "HTTP Version Not Supported"},
        {507, "Insufficient Storage"},
        {529, "Overloaded"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        if (rows[i].status == status)
            return rows[i].text;
    }
    return "";
}

/* ---- fields ---- */

/* The head is the first member of the parser and never moves out of it. */
static const struct http_parser *parser_of(const struct http_head *h)
{
    return (const struct http_parser *)((const char *)h - offsetof(struct http_parser, head));
}

static struct field_at field_at(const struct http_head *h, int i)
{
    struct field_at f;
    CHECK(i >= 0 && i < h->n_fields);
    memcpy(&f, parser_of(h)->fields.data + (size_t)i * sizeof f, sizeof f);
    return f;
}

/* All fields as they stand, for those who look at each. */
static const struct field_at *all_fields(const struct http_head *h, const char **ret_text)
{
    *ret_text = parser_of(h)->text.data;
    return (const struct field_at *)(const void *)parser_of(h)->fields.data;
}

const char *http_field_name(const struct http_head *h, int i)
{
    return parser_of(h)->text.data + field_at(h, i).name;
}

const char *http_field_value(const struct http_head *h, int i)
{
    return parser_of(h)->text.data + field_at(h, i).value;
}

/* Most names differ in their first letter. Those of fields are in lower case. */
static int is_named(const char *field, const char *name)
{
    return (*field == *name || *field == (*name | 0x20)) && !strcasecmp(field, name);
}

const char *http_field(const struct http_head *h, const char *name)
{
    const char *text;
    const struct field_at *f = all_fields(h, &text);

    for (int i = 0; i < h->n_fields; i++) {
        if (is_named(text + f[i].name, name))
            return text + f[i].value;
    }
    return NULL;
}

static int list_has(const char *list, const char *token)
{
    size_t n = strlen(token);
    const char *s = list;

    for (;;) {
        s += strspn(s, " \t,");
        if (!*s)
            return 0;
        size_t len = strcspn(s, ",");
        const char *next = s + len;
        while (len && http_is_blank(s[len - 1]))
            len--;
        if (len == n && !strncasecmp(s, token, n))
            return 1;
        s = next;
    }
}

int http_field_has(const struct http_head *h, const char *name, const char *token)
{
    const char *text;
    const struct field_at *f = all_fields(h, &text);

    for (int i = 0; i < h->n_fields; i++) {
        if (is_named(text + f[i].name, name) && list_has(text + f[i].value, token))
            return 1;
    }
    return 0;
}

/* ---- request line ---- */

/* "http://authority/path": cut the authority into head.host; p->head.target keeps the path. The
 * "//" before the authority leaves room for a NUL and, where the path is empty, its '/'. */
static enum http_event absolute_form(struct http_parser *p, char *target)
{
    char *a = strstr(target, "//") + 2;
    size_t n = strcspn(a, "/?");
    size_t shift = a[n] == '/' ? 1 : 2;

    if (n == 0)
        return bad(p, 400, "The request target has no host.");
    for (size_t i = 0; i < n; i++) {
        if (!http_is_host((unsigned char)a[i]))
            return bad(p, 400, "The host in the request target is malformed.");
    }
    memmove(a - shift, a, n);
    p->host_at = (size_t)(a - shift - p->text.data);
    a = a + n - shift;
    *a++ = 0;
    *a = '/';
    p->target_at = (size_t)(a - p->text.data);
    return HTTP_MORE;
}

enum http_event http_target(struct http_parser *p, char *target)
{
    for (const char *s = target; *s; s++) {
        if (!is_target((unsigned char)*s))
            return bad(p, 400, "The request target contains a byte that is not allowed there.");
    }
    p->target_at = (size_t)(target - p->text.data);
    if (*target == '/')
        return HTTP_MORE;
    if (!strcmp(target, "*") && p->head.method == HTTP_OPTIONS)
        return HTTP_MORE;
    if (!strncasecmp(target, "http://", 7) || !strncasecmp(target, "https://", 8))
        return absolute_form(p, target);
    return bad(p, 400, "The request target must be a path or an http URL.");
}

enum http_event http_method(struct http_parser *p, const char *name, size_t n)
{
    int m = 0;

    while (m < HTTP_N_METHODS && (strlen(method_names[m]) != n || memcmp(name, method_names[m], n)))
        m++;
    if (m == HTTP_N_METHODS)
        return bad(p, 501, "The method is not known here.");
    p->head.method = (enum http_method)m;
    return HTTP_MORE;
}

enum http_event http_request_line(struct http_parser *p, char *line, size_t n)
{
    char *target = memchr(line, ' ', n), *version;

    if (!target)
        return bad(p, 400, "The request line is malformed.");
    *target++ = 0;
    version = memchr(target, ' ', (size_t)(line + n - target));
    if (!version || version == target)
        return bad(p, 400, "The request line is malformed.");
    *version++ = 0;
    if (strlen(version) != 8 || memcmp(version, "HTTP/", 5) || version[5] < '0' ||
        version[5] > '9' || version[6] != '.' || version[7] < '0' || version[7] > '9')
        return bad(p, 400, "The request line does not end with an HTTP version.");
    if (!http_name_ok(line))
        return bad(p, 400, "The method contains a byte that is not allowed there.");
    p->is_preface =
        !strcmp(line, "PRI") && !strcmp(target, "*") && !strcmp(version, "HTTP/2.0") && !p->skipped;
    if (version[5] != '1' || version[7] > '1')
        return bad(p, 505, "Only HTTP/1.1 and HTTP/1.0 are spoken here.");
    p->head.minor = version[7] - '0';
    return http_method(p, line, strlen(line)) == HTTP_BAD ? HTTP_BAD : http_target(p, target);
}

/* ---- field lines ---- */

enum http_event http_field_line(struct http_parser *p, char *line, size_t n)
{
    char *s = line, *end = line + n;
    struct field_at f;

    if (http_is_blank(*line))
        return bad(p, 400, "A header is folded over two lines.");
    for (unsigned char c; s < end && (c = token_of((unsigned char)*s)) != 0; s++)
        *s = (char)c;
    if (s == line || s == end || *s != ':')
        return bad(p, 400, "A header's name is malformed.");
    if ((uint32_t)p->head.n_fields >= p->limits.fields_max)
        return bad(p, 431, "There are too many headers.");
    *s++ = 0;
    while (s < end && http_is_blank(*s))
        s++;
    while (end > s && http_is_blank(end[-1]))
        end--;
    *end = 0;
    f.name = (uint32_t)(line - p->text.data);
    f.value = (uint32_t)(s - p->text.data);
    if (buf_add(&p->fields, &f, sizeof f))
        return http_head_full(p);
    p->head.n_fields++;
    return HTTP_MORE;
}

int http_count(const struct http_head *h, const char *name)
{
    const char *text;
    const struct field_at *f = all_fields(h, &text);
    int n = 0;

    for (int i = 0; i < h->n_fields; i++)
        n += is_named(text + f[i].name, name);
    return n;
}

static enum http_event check_length(struct http_parser *p, const char *value)
{
    uint64_t v = 0;
    const char *s = value;

    for (; *s >= '0' && *s <= '9'; s++) {
        if (v <= INT64_MAX / 16) /* else it stays beyond any limit */
            v = v * 10 + (uint64_t)(*s - '0');
    }
    if (s == value || *s)
        return bad(p, 400, "Content-Length is not a number.");
    if (v > INT64_MAX / 16)
        return bad(p, 413, "Content-Length is too large.");
    p->head.content_length = (int64_t)v;
    return HTTP_MORE;
}

/* The rules of RFC 9112 6.3, with every doubtful form refused. */
enum http_event http_framing(struct http_parser *p)
{
    struct http_head *h = &p->head;
    const char *te = http_field(h, "transfer-encoding"), *cl = http_field(h, "content-length");

    h->content_length = -1;
    if (te) {
        if (cl)
            return bad(p, 400, "Content-Length and Transfer-Encoding exclude each other.");
        if (h->minor == 0)
            return bad(p, 400, "HTTP/1.0 has no Transfer-Encoding.");
        if (!*te)
            return bad(p, 400, "Transfer-Encoding is empty.");
        if (strcasecmp(te, "chunked"))
            return bad(p, 501, "The only Transfer-Encoding known here is chunked.");
        h->chunked = 1;
    }
    return cl ? check_length(p, cl) : HTTP_MORE;
}

enum http_event http_host(struct http_parser *p)
{
    const char *host = http_field(&p->head, "host");

    if (!host && p->head.minor == 1)
        return bad(p, 400, "The Host header is missing.");
    if (!host)
        host = "";
    for (const char *s = host; *s; s++) {
        if (!http_is_host((unsigned char)*s))
            return bad(p, 400, "The Host header is malformed.");
    }
    /* That of an absolute-form target wins. */
    p->head.host = p->host_at ? p->text.data + p->host_at : host;
    return HTTP_MORE;
}

/* Readers of one message must not disagree on these, so each may occur once. */
static int has_twice(const struct http_head *h)
{
    static const char *const once[] = {"host",          "content-length", "transfer-encoding",
                                       "authorization", "content-type",   "expect",
                                       "origin",        "sec-fetch-site"};
    const char *text;
    const struct field_at *f = all_fields(h, &text);
    unsigned seen = 0;

    for (int i = 0; i < h->n_fields; i++) {
        for (size_t k = 0; k < ARRAY_LEN(once); k++) {
            if (!is_named(text + f[i].name, once[k]))
                continue;
            if (seen >> k & 1)
                return 1;
            seen |= 1u << k;
        }
    }
    return 0;
}

enum http_event http_head_check(struct http_parser *p)
{
    struct http_head *h = &p->head;
    const char *expect;

    if (has_twice(h))
        return bad(p, 400, "A header that may occur once was sent twice.");
    if (http_framing(p) == HTTP_BAD)
        return HTTP_BAD;
    h->target = p->text.data + p->target_at;
    expect = http_field(h, "expect");
    if (expect && strcasecmp(expect, "100-continue"))
        return bad(p, 417, "The only expectation known here is 100-continue.");
    h->expect_continue = expect && h->minor == 1 && (h->chunked || h->content_length > 0);
    h->keep_alive = h->minor == 1 && !http_field_has(h, "connection", "close");
    return HTTP_MORE;
}

enum http_event http_head_end(struct http_parser *p)
{
    struct http_head *h = &p->head;

    if (http_head_check(p) == HTTP_BAD || http_host(p) == HTTP_BAD)
        return HTTP_BAD;
    p->left = h->content_length > 0 ? (uint64_t)h->content_length : 0;
    if (h->chunked)
        p->state = S_SIZE;
    else
        p->state = p->left ? S_LENGTH : S_END;
    return HTTP_GOT_HEAD;
}
