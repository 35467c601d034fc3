/* Inside the parser: what http.c (bytes), http_head.c (lines) and http_answer.c (those of answers)
 * share. */
#ifndef NET_HTTP_INT_H
#define NET_HTTP_INT_H

#include <string.h>

#include "base/eight.h"
#include "base/err.h"
#include "net/http.h"

enum state {
    S_START,    /* before the first byte of a message */
    S_EMPTY_LF, /* after the CR of an empty line before the request line */
    S_LINE,     /* in the first line */
    S_FIELDS,   /* in a field line */
    S_LENGTH,   /* body by Content-Length */
    S_CLOSE,    /* body until the end of the connection */
    S_SIZE,     /* chunk size */
    S_EXT,      /* chunk extension */
    S_SIZE_LF,  /* after the CR of a chunk-size line */
    S_CHUNK,    /* chunk data */
    S_CHUNK_CR, /* after chunk data */
    S_CHUNK_LF,
    S_TRAILER, /* at the start of a trailer line */
    S_TR_NAME,
    S_TR_VALUE,
    S_TR_LF,
    S_END_LF, /* after the CR of the last empty line */
    S_END,
    S_BAD,
};

struct field_at { /* offsets in p->text */
    uint32_t name, value;
};

/* Letters, digits and !#$%&'*+-.^_`|~ stand for themselves, in lower case; 0: not in a name. */
static inline unsigned char token_of(unsigned char c)
{
    static const unsigned char tokens[256] =
        "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"
        "\0!\0#$%&'\0\0*+\0-.\0"
        "0123456789\0\0\0\0\0\0"
        "\0abcdefghijklmnopqrstuvwxyz\0\0\0^_"
        "`abcdefghijklmnopqrstuvwxyz\0|\0~";
    return tokens[c];
}

static inline int is_token(unsigned char c)
{
    return token_of(c) != 0;
}

/* Bytes of a line that are not its end: no control bytes but the tab. */
static inline int is_text(unsigned char c)
{
    return (c >= 0x20 && c != 0x7f) || c == '\t';
}

/* How many of n bytes are such, from the first on. */
static inline size_t text_run(const char *p, size_t n)
{
    size_t i = 0;

    for (; n - i >= 8; i += 8) {
        uint64_t v = eight_at(p + i), mask = eight_below(v, 0x20) | eight_is(v, 0x7f);
        if (mask && p[i + (size_t)eight_first(mask)] != '\t')
            return i + (size_t)eight_first(mask);
        if (mask)
            break;
    }
    while (i < n && is_text((unsigned char)p[i]))
        i++;
    return i;
}

static inline enum http_event bad(struct http_parser *p, int status, const char *why)
{
    p->state = S_BAD;
    p->status = status;
    p->why = why;
    return HTTP_BAD;
}

/* A buffer of the head took no more: its ceiling, or the machine's memory. */
static inline enum http_event http_head_full(struct http_parser *p)
{
    return p->text.failed == ERR_NOMEM || p->fields.failed == ERR_NOMEM
               ? bad(p, 503, "There is not enough memory.")
               : bad(p, 431, "The headers do not fit.");
}

/* Pseudo-header fields of HTTP/2 that were seen. */
enum {
    HTTP_SEEN_METHOD = 1,
    HTTP_SEEN_SCHEME = 2,
    HTTP_SEEN_PATH = 4,
    HTTP_SEEN_AUTHORITY = 8,
};

int http_is_blank(char c);
int http_is_host(unsigned char c);
void http_make_room(struct http_parser *p); /* for an ordinary head, at once */
/* Parts of a head, which HTTP/1 and HTTP/2 bring in forms of their own: HTTP_MORE or HTTP_BAD. */
enum http_event http_method(struct http_parser *p, const char *name, size_t n);
enum http_event http_target(struct http_parser *p, char *target); /* inside p->text */
enum http_event http_host(struct http_parser *p);
enum http_event http_head_check(struct http_parser *p); /* what is left, on the whole */
/* A line without its CRLF, NUL-terminated, n bytes, inside p->text: HTTP_MORE or HTTP_BAD. */
enum http_event http_request_line(struct http_parser *p, char *line, size_t n);
enum http_event http_field_line(struct http_parser *p, char *line, size_t n);
/* The empty line was read: HTTP_GOT_HEAD or HTTP_BAD. */
enum http_event http_head_end(struct http_parser *p);
/* The same of an answer. */
enum http_event http_status_line(struct http_parser *p, const char *line, size_t n);
enum http_event http_answer_end(struct http_parser *p);
/* How long is the body, by its Content-Length and Transfer-Encoding; HTTP_MORE or HTTP_BAD. */
enum http_event http_framing(struct http_parser *p);
int http_count(const struct http_head *h, const char *name); /* fields of that name */

#endif
