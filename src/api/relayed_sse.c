#include <string.h>

#include "api/relayed.h"

void api_sse_reader_init(struct api_sse_reader *r)
{
    *r = (struct api_sse_reader){0};
    buf_init(&r->line, API_SSE_EVENT_MAX);
    buf_init(&r->data, API_SSE_EVENT_MAX);
}

void api_sse_reader_done(struct api_sse_reader *r)
{
    buf_done(&r->line);
    buf_done(&r->data);
}

/* One line without its end. 1: it was empty and ends an event that has data. */
static int take_line(struct api_sse_reader *r, const char *s, size_t n)
{
    if (!r->is_past_bom && n >= 3 && !memcmp(s, "\xef\xbb\xbf", 3)) {
        s += 3;
        n -= 3;
    }
    r->is_past_bom = 1;
    if (!n)
        return r->has_data;
    if (n < 4 || memcmp(s, "data", 4) || (n > 4 && s[4] != ':'))
        return 0; /* a comment, or a field that is of no use here */
    s += n > 4 ? 5 : 4;
    n -= n > 4 ? 5 : 4;
    if (n && *s == ' ') {
        s++;
        n--;
    }
    if (r->has_data)
        buf_add_char(&r->data, '\n');
    r->has_data = 1;
    buf_add(&r->data, s, n);
    return 0;
}

static int failure(const struct api_sse_reader *r)
{
    int f = r->line.failed ? r->line.failed : r->data.failed;

    return f == ERR_LIMIT ? ERR_TOO_LARGE : f;
}

int api_sse_read(struct api_sse_reader *r, const char **p, const char *end)
{
    const char *at = *p;
    int whole = 0;

    if (r->has_data == 2) { /* the event that was given out before */
        buf_clear(&r->data);
        r->has_data = 0;
    }
    while (at < end && !whole) {
        const char *stop = at;
        if (r->was_cr && *at == '\n') { /* the second half of CR LF */
            r->was_cr = 0;
            at++;
            continue;
        }
        r->was_cr = 0;
        while (stop < end && *stop != '\n' && *stop != '\r')
            stop++;
        if (stop == end) {
            buf_add(&r->line, at, (size_t)(stop - at));
            at = stop;
            break;
        }
        r->was_cr = *stop == '\r';
        if ((size_t)(stop - at) > API_SSE_EVENT_MAX)
            return ERR_TOO_LARGE; /* as it is in pieces */
        if (r->line.len) {
            if (buf_add(&r->line, at, (size_t)(stop - at)))
                break;
            whole = take_line(r, r->line.data, r->line.len);
            buf_clear(&r->line);
        } else {
            whole = take_line(r, at, (size_t)(stop - at));
        }
        at = stop + 1;
    }
    *p = at;
    if (failure(r))
        return failure(r);
    if (whole)
        r->has_data = 2;
    return whole;
}
