/* Heads and bodies of HTTP/1.1. */
#include "wire.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define LENGTH_MAX (INT64_C(1) << 40)

void wire_begin(struct wire *w)
{
    memset(w, 0, sizeof *w);
}

static int64_t read_length(const char *p, const char *end, int base)
{
    int64_t v = 0;
    int n = 0;

    for (; p < end; p++, n++) {
        int c = tolower((unsigned char)*p);
        int digit = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : 99;
        if (digit >= base)
            break;
        v = v * base + digit;
        if (v > LENGTH_MAX)
            return -1;
    }
    return n ? v : -1;
}

static int is_name(const char *line, const char *colon, const char *name)
{
    return (size_t)(colon - line) == strlen(name) && !strncasecmp(line, name, strlen(name));
}

static int has_word(const char *v, const char *end, const char *word)
{
    size_t n = strlen(word);

    for (; v + n <= end; v++) {
        if (!strncasecmp(v, word, n))
            return 1;
    }
    return 0;
}

static void read_field(struct wire *w, const char *line, const char *end)
{
    const char *colon = memchr(line, ':', (size_t)(end - line)), *v;

    if (!colon) {
        w->state = WIRE_BAD;
        return;
    }
    for (v = colon + 1; v < end && *v == ' ';)
        v++;
    if (is_name(line, colon, "content-length")) {
        w->left = read_length(v, end, 10);
        if (w->left < 0)
            w->state = WIRE_BAD;
    } else if (is_name(line, colon, "transfer-encoding"))
        w->is_chunked = has_word(v, end, "chunked");
    else if (is_name(line, colon, "connection"))
        w->is_closed = has_word(v, end, "close");
}

size_t wire_head(struct wire *w, const char *p, size_t n, int is_answer)
{
    const char *end = memmem(p, n, "\r\n\r\n", 4), *line;

    if (!end)
        return 0;
    if (is_answer) {
        if (end - p < 12 || memcmp(p, "HTTP/1.1 ", 9)) {
            w->state = WIRE_BAD;
            return 0;
        }
        w->status = (int)read_length(p + 9, p + 12, 10);
    }
    w->left = is_answer ? -1 : 0;
    w->state = WIRE_BODY;
    line = memchr(p, '\r', (size_t)(end - p + 2));
    while (line < end && w->state == WIRE_BODY) {
        const char *next = memchr(line + 2, '\r', (size_t)(end + 2 - (line + 2)));
        read_field(w, line + 2, next);
        line = next;
    }
    if (w->state == WIRE_BAD)
        return 0;
    if (w->is_chunked)
        w->left = 0;
    else if (!w->left || (is_answer && (w->status < 200 || w->status == 204)))
        w->state = WIRE_DONE;
    return (size_t)(end - p) + 4;
}

/* One line between chunks: the end of the last one, a length, or what follows the last. */
static void end_line(struct wire *w)
{
    int is_empty = !w->in_line;

    w->in_line = 0;
    if (w->is_last) {
        if (is_empty)
            w->state = WIRE_DONE;
        return;
    }
    if (is_empty)
        return;
    w->left = w->size;
    w->size = 0;
    if (!w->left)
        w->is_last = 1;
}

static void take_digit(struct wire *w, char c)
{
    if (w->is_last || w->in_line < 0)
        return;
    if (!isxdigit((unsigned char)c)) {
        w->state = w->in_line ? w->state : WIRE_BAD;
        w->in_line = -1; /* an extension, to the end of the line */
        return;
    }
    w->size = w->size * 16 + read_length(&c, &c + 1, 16);
    if (w->size > LENGTH_MAX)
        w->state = WIRE_BAD;
}

size_t wire_body(struct wire *w, const char *p, size_t n, const char **ret, size_t *ret_n)
{
    size_t i = 0;

    *ret = p;
    *ret_n = 0;
    while (w->is_chunked && !w->left && i < n && w->state == WIRE_BODY) {
        char c = p[i++];
        if (c == '\n')
            end_line(w);
        else if (c != '\r') {
            take_digit(w, c);
            if (w->in_line >= 0)
                w->in_line++;
        }
    }
    if (w->state != WIRE_BODY || i == n)
        return i;
    *ret = p + i;
    *ret_n = w->left < 0 || (int64_t)(n - i) < w->left ? n - i : (size_t)w->left;
    if (w->left > 0) {
        w->left -= (int64_t)*ret_n;
        if (!w->left && !w->is_chunked)
            w->state = WIRE_DONE;
    }
    return i + *ret_n;
}
