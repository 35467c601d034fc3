#include "net/http.h"

#include <string.h>

#include "net/http_int.h"

#define ORDINARY_HEAD   512 /* bytes */
#define ORDINARY_FIELDS 16

static int hex_value(unsigned char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

/* ---- lifecycle ---- */

void http_parser_init(struct http_parser *p, const struct http_limits *l)
{
    memset(p, 0, sizeof *p);
    p->limits = *l;
    p->state = S_START;
    /* every line of at least two bytes grows by one NUL at most */
    buf_init(&p->text, (size_t)l->head_max + l->fields_max + 16);
    buf_init(&p->fields, (size_t)l->fields_max * sizeof(struct field_at));
}

void http_parser_init_answer(struct http_parser *p, const struct http_limits *l,
                             enum http_kind kind)
{
    http_parser_init(p, l);
    p->kind = (int)kind;
}

void http_parser_done(struct http_parser *p)
{
    buf_done(&p->text);
    buf_done(&p->fields);
}

int64_t http_parser_left(const struct http_parser *p)
{
    if (p->state == S_END)
        return 0;
    return p->state == S_LENGTH ? (int64_t)p->left : -1;
}

/* A line of the head is complete, without its CRLF, at p->line_start. */
static enum http_event line_done(struct http_parser *p)
{
    size_t start = p->line_start, n = p->text.len - start;

    if (p->state == S_FIELDS && n == 0)
        return p->kind == HTTP_REQUEST ? http_head_end(p) : http_answer_end(p);
    if (buf_add_char(&p->text, 0))
        return http_head_full(p);
    p->line_start = p->text.len;
    if (p->state == S_FIELDS)
        return http_field_line(p, p->text.data + start, n);
    p->state = S_FIELDS;
    return p->kind == HTTP_REQUEST ? http_request_line(p, p->text.data + start, n)
                                   : http_status_line(p, p->text.data + start, n);
}

/* Take bytes of the head up to the end of a line at most. */
static enum http_event feed_line(struct http_parser *p, const char *in, size_t n, size_t *used)
{
    size_t run, room = p->limits.head_max - p->head_bytes;

    if (p->after_cr) {
        if (in[0] != '\n')
            return bad(p, 400, "A CR is not followed by LF.");
        if (room == 0)
            return bad(p, 431, "The headers are too large.");
        p->after_cr = 0;
        p->head_bytes++;
        *used = 1;
        return line_done(p);
    }
    run = text_run(in, n < room ? n : room);
    if (p->state == S_LINE && p->text.len - p->line_start + run > p->limits.line_max)
        return bad(p, 414, "The first line is too long.");
    if (buf_add(&p->text, in, run))
        return http_head_full(p);
    p->head_bytes += run;
    *used = run;
    if (run == n)
        return HTTP_MORE;
    if (run == room)
        return bad(p, 431, "The headers are too large.");
    if (in[run] != '\r')
        return bad(p, 400,
                   in[run] == '\n' ? "A line ends with a bare LF."
                                   : "The head contains a control byte.");
    p->head_bytes++;
    p->after_cr = 1;
    *used = run + 1;
    return HTTP_MORE;
}

/* ---- body ---- */

static enum http_event feed_data(struct http_parser *p, const char *in, size_t n, size_t *used,
                                 const char **ret_data, size_t *ret_n)
{
    size_t take = p->state == S_CLOSE || p->left > n ? n : (size_t)p->left;

    if (p->state != S_CLOSE) {
        p->left -= take;
        if (p->left == 0)
            p->state = p->state == S_LENGTH ? S_END : S_CHUNK_CR;
    }
    *used = take;
    *ret_data = in;
    *ret_n = take;
    return HTTP_DATA;
}

static enum http_event size_byte(struct http_parser *p, unsigned char c)
{
    int v = hex_value(c);

    if (v >= 0) {
        if (++p->n_digits > 15)
            return bad(p, 413, "A chunk is too large.");
        p->left = p->left << 4 | (uint64_t)v;
    } else if (p->n_digits > 0 && c == '\r') {
        p->state = S_SIZE_LF;
    } else if (p->n_digits > 0 && c == ';') {
        p->state = S_EXT;
    } else {
        return bad(p, 400, "A chunk size is malformed.");
    }
    return HTTP_MORE;
}

/* Chunk extensions and trailers: checked and dropped. */
static enum http_event extra_byte(struct http_parser *p, unsigned char c)
{
    if (++p->extra > p->limits.chunk_extra_max)
        return bad(p, 400, "Chunk extensions and trailers are too large.");
    switch (p->state) {
    case S_EXT:
    case S_TR_VALUE:
        if (c == '\r')
            p->state = p->state == S_EXT ? S_SIZE_LF : S_TR_LF;
        else if (!is_text(c))
            return bad(p, 400, "A control byte stands in a chunk extension or trailer.");
        return HTTP_MORE;
    case S_TRAILER:
        if (c == '\r') {
            p->state = S_END_LF;
            return HTTP_MORE;
        }
        p->state = S_TR_NAME;
        if (c == ':') /* an empty name */
            break;
        __attribute__((fallthrough));
    case S_TR_NAME:
        if (c == ':')
            p->state = S_TR_VALUE;
        else if (!is_token(c))
            break;
        return HTTP_MORE;
    default:
        break;
    }
    return bad(p, 400, "A trailer is malformed.");
}

static enum http_event lf_byte(struct http_parser *p, unsigned char c)
{
    if (c != '\n')
        return bad(p, 400, "A CR is not followed by LF.");
    switch (p->state) {
    case S_SIZE_LF:
        p->state = p->left ? S_CHUNK : S_TRAILER;
        break;
    case S_CHUNK_LF:
        p->state = S_SIZE;
        p->n_digits = 0;
        break;
    case S_TR_LF:
        p->state = S_TRAILER;
        break;
    default: /* S_END_LF */
        p->state = S_END;
        break;
    }
    return HTTP_MORE;
}

static enum http_event body_byte(struct http_parser *p, unsigned char c)
{
    switch (p->state) {
    case S_SIZE:
        return size_byte(p, c);
    case S_CHUNK_CR:
        if (c != '\r')
            return bad(p, 400, "A chunk is longer than its size.");
        p->state = S_CHUNK_LF;
        return HTTP_MORE;
    case S_SIZE_LF:
    case S_CHUNK_LF:
    case S_TR_LF:
    case S_END_LF:
        return lf_byte(p, c);
    default:
        return extra_byte(p, c);
    }
}

/* Where there is none, the first line tells. */
void http_make_room(struct http_parser *p)
{
    size_t fields = ORDINARY_FIELDS * sizeof(struct field_at);

    if (p->text.max >= ORDINARY_HEAD && p->fields.max >= fields && !p->text.cap) {
        buf_reserve(&p->text, ORDINARY_HEAD - 1);
        buf_reserve(&p->fields, fields - 1);
    }
}

/* The first byte of a message. One empty line before a request is skipped, as RFC 9112 2.2 asks. */
static enum http_event start_byte(struct http_parser *p, unsigned char c, size_t *used)
{
    if (p->kind != HTTP_REQUEST) {
        http_make_room(p);
        p->state = S_LINE;
        return HTTP_MORE;
    }
    if (p->state == S_EMPTY_LF) {
        if (c != '\n')
            return bad(p, 400, "A CR is not followed by LF.");
        p->state = S_START;
        *used = 1;
        return HTTP_MORE;
    }
    if (c == '\r' && !p->skipped) {
        p->skipped = 1;
        p->state = S_EMPTY_LF;
        *used = 1;
        return HTTP_MORE;
    }
    if (!is_token(c)) /* also the first byte of a TLS hello */
        return bad(p, 400, "The request line is malformed.");
    http_make_room(p);
    p->state = S_LINE;
    return HTTP_MORE;
}

enum http_event http_parser_feed(struct http_parser *p, const char *in, size_t n, size_t *ret_used,
                                 const char **ret_data, size_t *ret_n)
{
    size_t at = 0;
    enum http_event ev = HTTP_MORE;

    *ret_data = NULL;
    *ret_n = 0;
    if (p->state == S_END)
        ev = HTTP_END;
    else if (p->state == S_BAD)
        ev = HTTP_BAD;
    while (ev == HTTP_MORE && at < n) {
        size_t used = 0;
        if (p->state == S_START || p->state == S_EMPTY_LF)
            ev = start_byte(p, (unsigned char)in[at], &used);
        else if (p->state == S_LINE || p->state == S_FIELDS)
            ev = feed_line(p, in + at, n - at, &used);
        else if (p->state == S_LENGTH || p->state == S_CHUNK || p->state == S_CLOSE)
            ev = feed_data(p, in + at, n - at, &used, ret_data, ret_n);
        else if (p->state == S_END)
            ev = HTTP_END;
        else {
            ev = body_byte(p, (unsigned char)in[at]);
            used = 1;
        }
        at += used;
    }
    if (ev == HTTP_MORE && p->state == S_END) /* the last byte ended the message */
        ev = HTTP_END;
    *ret_used = at;
    return ev;
}
