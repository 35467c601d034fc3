/* HTTP/1.1 parser of requests and answers (RFC 9110, 9112), and of the heads of HTTP/2's requests:
 * strict, resumable, no sockets, no clock.
 *
 * Feed bytes as they come, in pieces of any size; the result does not depend on the pieces. Where
 * a front proxy and a lenient server could read the same bytes differently (request smuggling),
 * this one refuses: CRLF line ends only, one Host, at most one all-digit Content-Length or exactly
 * `Transfer-Encoding: chunked` and never both, no folding, no space before a colon, no control
 * bytes. After an error the connection must be closed. Answers are read by the same rules, as an
 * answer that two readers split differently is one request's answer given to another.
 *
 * Any thread, one at a time. Limits: struct http_limits. Chunk extensions and trailers are checked
 * and dropped. */
#ifndef NET_HTTP_H
#define NET_HTTP_H

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"

struct http_limits {
    uint32_t line_max;        /* request or status line, default 8 KiB: 414 */
    uint32_t head_max;        /* request line and fields, default 64 KiB: 431 */
    uint32_t fields_max;      /* default 100: 431 */
    uint32_t chunk_extra_max; /* chunk-size lines' extensions and trailers of one message together,
                                 default 16 KiB: 400 */
};
#define HTTP_LIMITS_DEFAULT                                                                        \
    ((struct http_limits){                                                                         \
        .line_max = 8192, .head_max = 65536, .fields_max = 100, .chunk_extra_max = 16384})

enum http_method {
    HTTP_GET,
    HTTP_HEAD,
    HTTP_POST,
    HTTP_PUT,
    HTTP_DELETE,
    HTTP_OPTIONS,
    HTTP_PATCH,
    HTTP_N_METHODS,
};
const char *http_method_name(enum http_method m);

struct http_head {
    enum http_method method;
    int minor;          /* HTTP/1.minor: 0 or 1; of HTTP/2: 1 */
    const char *target; /* path and query as sent (still percent-encoded), begins with '/', or is
                           "*" (OPTIONS); the authority of an absolute form is cut off into host */
    const char *host;   /* "" when there is none */
    int64_t content_length; /* -1: not given */
    int chunked; /* there is a body of unknown length (of HTTP/2: one without Content-Length) */
    int expect_continue;
    int keep_alive; /* what the client wants; of an answer: another one can follow */
    int n_fields;
    /* of an answer, which has no method, target, host and expect_continue */
    int status;
    int until_close; /* its body is what comes before the end of the connection */
};

/* Field i: name in lower case (underscores kept), value trimmed; NUL-terminated. obs-text bytes
 * (0x80..0xff) may be in values. */
const char *http_field_name(const struct http_head *h, int i);
const char *http_field_value(const struct http_head *h, int i);
/* The first value of that name (any case), or NULL. Host, Content-Length, Transfer-Encoding,
 * Authorization, Content-Type, Expect, Origin and Sec-Fetch-Site cannot occur twice (400). */
const char *http_field(const struct http_head *h, const char *name);
/* 1 when one of the comma-separated elements of all fields of that name is `token` (any case). */
int http_field_has(const struct http_head *h, const char *name, const char *token);

/* 1 when the name, and below the value, may stand in a field of an answer. */
int http_name_ok(const char *name);
int http_value_ok(const char *value);
int http_text_ok(const char *value, size_t n); /* the same of n bytes */
const char *http_reason(int status);           /* "Not Found"; "" when unknown */

enum http_event {
    HTTP_MORE,     /* everything was used; feed more */
    HTTP_GOT_HEAD, /* p->head is complete; the next call goes on with the body */
    HTTP_DATA,     /* *ret_data, *ret_n: body bytes, inside the input */
    HTTP_END,      /* the message is complete; done, and init before the next */
    HTTP_BAD,      /* p->status and p->why; feed no more */
};

struct http_parser {
    struct http_head head;
    int status;      /* HTTP_BAD: 400, 413, 414, 417, 431, 501, 503 or 505 */
    const char *why; /* HTTP_BAD: a sentence */
    /* private */
    struct http_limits limits;
    int state;
    int kind;                  /* what is read: enum http_kind */
    struct buf text;           /* first line and fields, NUL-terminated pieces */
    struct buf fields;         /* offsets of names and values in text */
    size_t target_at, host_at; /* offsets in text; host_at 0: no absolute form */
    size_t line_start;         /* of the line being read, in text */
    size_t head_bytes;
    uint64_t left; /* of the body or chunk */
    size_t extra;  /* bytes of chunk extensions and trailers so far */
    int n_digits;
    int after_cr;
    int skipped;    /* an empty line before the request line was skipped */
    unsigned seen;  /* HTTP/2: which pseudo-header fields */
    int is_preface; /* HTTP_BAD: 505 for what begins a connection of HTTP/2 */
};

void http_parser_init(struct http_parser *p, const struct http_limits *l); /* allocates nothing */
/* For an answer. Interim answers (1xx) are read and dropped, under the limits of one head; 101 is
 * refused. Where head.until_close, HTTP_END never comes: the end of the connection is the body's.
 */
enum http_kind {
    HTTP_REQUEST,
    HTTP_ANSWER,  /* to GET or POST */
    HTTP_CONNECT, /* to CONNECT: after 2xx no body follows, but the tunnel's bytes */
};
void http_parser_init_answer(struct http_parser *p, const struct http_limits *l,
                             enum http_kind kind);
void http_parser_done(struct http_parser *p);
/* Of HTTP/2, where the request's head comes field by field, decompressed, in place of bytes: each
 * field, then the end. HTTP_MORE, and at the end HTTP_GOT_HEAD; or HTTP_BAD. The rules and limits
 * are those of lines; pseudo-header fields come first, each once, and nothing speaks of the
 * connection. `has_body`: bytes of a body follow, which the parser is not fed. */
enum http_event http_parser_field(struct http_parser *p, const char *name, size_t n_name,
                                  const char *value, size_t n);
enum http_event http_parser_fields_end(struct http_parser *p, int has_body);
/* Body bytes still to come: 0 after the last, -1 when the length is unknown (chunked). */
int64_t http_parser_left(const struct http_parser *p);

/* Use up to n bytes of `in`; *ret_used says how many. Returns after at most one event. Call again
 * with the rest (n may be 0) until HTTP_MORE. */
enum http_event http_parser_feed(struct http_parser *p, const char *in, size_t n, size_t *ret_used,
                                 const char **ret_data, size_t *ret_n);

#endif
