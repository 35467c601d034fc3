#include "base/csv.h"

#include <string.h>

#include "base/utf8.h"

void csv_put(struct buf *out, const char *text)
{
    buf_add_char(out, '"');
    if (*text && strchr("=+-@\t\r", *text))
        buf_add_char(out, '\'');
    for (; *text; text++) {
        if (*text == '"')
            buf_add_char(out, '"');
        buf_add_char(out, *text);
    }
    buf_add_char(out, '"');
}

/* ---- reading --------------------------------------------------------------------------------- */

void csv_init(struct csv *c, const char *text, size_t n)
{
    static const char mark[] = "\xef\xbb\xbf";
    size_t skip = n >= 3 && !memcmp(text, mark, 3) ? 3 : 0;

    c->at = text + skip;
    c->end = text + n;
    c->line = 0;
    c->next_line = 1;
    c->n_fields = 0;
}

static int bad(const struct csv *c, struct err *e, const char *what)
{
    return err_set(e, ERR_FORMAT, "line %lld: %s", (long long)c->line, what);
}

/* One byte of the row's text. */
static int keep(struct csv *c, size_t *len, char byte)
{
    if (*len == sizeof c->bytes)
        return ERR_LIMIT;
    c->bytes[(*len)++] = byte;
    return 0;
}

/* A field in quotes, from behind the first one to behind the last. */
static int read_quoted(struct csv *c, size_t *len, struct err *e)
{
    for (;;) {
        if (c->at == c->end)
            return bad(c, e, "a quote has no end");
        if (*c->at == '"') {
            c->at++;
            if (c->at == c->end || *c->at != '"')
                break;
        }
        if (!*c->at)
            return bad(c, e, "a NUL byte");
        c->next_line += *c->at == '\n';
        if (keep(c, len, *c->at++))
            return ERR_LIMIT;
    }
    if (c->at < c->end && *c->at != ',' && *c->at != '\n' && *c->at != '\r')
        return bad(c, e, "text behind a quote");
    return 0;
}

static int read_plain(struct csv *c, size_t *len, struct err *e)
{
    for (; c->at < c->end && *c->at != ',' && *c->at != '\n' && *c->at != '\r'; c->at++) {
        if (*c->at == '"' || !*c->at)
            return bad(c, e, *c->at ? "a quote in the middle of a field" : "a NUL byte");
        if (keep(c, len, *c->at))
            return ERR_LIMIT;
    }
    return 0;
}

static int read_field(struct csv *c, size_t *len, struct err *e)
{
    size_t from = *len, offset;
    int r;

    if (c->n_fields == CSV_FIELDS_MAX)
        return ERR_LIMIT;
    if (c->at < c->end && *c->at == '"') {
        c->at++;
        r = read_quoted(c, len, e);
    } else {
        r = read_plain(c, len, e);
    }
    if (r)
        return r;
    if (!utf8_valid(c->bytes + from, *len - from, &offset))
        return bad(c, e, "bytes that are not UTF-8");
    c->field[c->n_fields++] = c->bytes + from;
    return keep(c, len, 0);
}

/* Behind the last field of a row: its line's end, or that of the file. */
static int read_end(struct csv *c, struct err *e)
{
    if (c->at == c->end)
        return 0;
    if (*c->at == '\r' && (++c->at == c->end || *c->at != '\n'))
        return bad(c, e, "CR without LF");
    c->at++;
    c->next_line++;
    return 0;
}

int csv_next(struct csv *c, struct err *e)
{
    size_t len = 0;
    int r;

    c->line = c->next_line;
    c->n_fields = 0;
    if (c->at == c->end)
        return 0;
    if (*c->at == '\n' || *c->at == '\r')
        return bad(c, e, "it is empty");
    for (;;) {
        r = read_field(c, &len, e);
        if (r == ERR_LIMIT)
            return err_set(e, ERR_LIMIT, "line %lld: more than %d fields, or %d bytes",
                           (long long)c->line, CSV_FIELDS_MAX, CSV_ROW_BYTES_MAX);
        if (r)
            return r;
        if (c->at == c->end || *c->at != ',')
            break;
        c->at++;
    }
    r = read_end(c, e);
    return r ? r : 1;
}
