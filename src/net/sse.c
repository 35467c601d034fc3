#include "net/sse.h"

#include <string.h>

#include "base/err.h"

enum sse_form sse_form_for(const char *user_agent)
{
    static const char prefix[] = "Cerebras/JS";
    return user_agent && !strncmp(user_agent, prefix, sizeof prefix - 1) ? SSE_EXTRA : SSE_PLAIN;
}

static int is_one_line(const char *s)
{
    return !s[strcspn(s, "\r\n")];
}

static void end_frame(struct buf *out, enum sse_form form)
{
    buf_add_str(out, form == SSE_EXTRA ? "\n\n" : "\n");
}

/* CR, LF and CRLF all end a line for a reader of event streams. */
static void add_data_lines(struct buf *out, const char *data, size_t n)
{
    size_t at = 0;

    for (;;) {
        size_t end = at;
        while (end < n && data[end] != '\n' && data[end] != '\r')
            end++;
        buf_add_str(out, "data: ");
        buf_add(out, data + at, end - at);
        buf_add_char(out, '\n');
        if (end == n)
            return;
        at = end + 1;
        if (data[end] == '\r' && at < n && data[at] == '\n')
            at++;
    }
}

int sse_event(struct buf *out, enum sse_form form, const char *event, const char *id,
              const char *data, size_t n)
{
    if (n == 0 || (event && !is_one_line(event)) || (id && !is_one_line(id)))
        return ERR_ARG;
    if (event) {
        buf_add_str(out, "event: ");
        buf_add_str(out, event);
        buf_add_char(out, '\n');
    }
    if (id) {
        buf_add_str(out, "id: ");
        buf_add_str(out, id);
        buf_add_char(out, '\n');
    }
    add_data_lines(out, data, n);
    end_frame(out, form);
    return out->failed;
}

int sse_data(struct buf *out, enum sse_form form, const char *data, size_t n)
{
    return sse_event(out, form, NULL, NULL, data, n);
}

int sse_data_str(struct buf *out, enum sse_form form, const char *data)
{
    return sse_data(out, form, data, strlen(data));
}

int sse_comment(struct buf *out, enum sse_form form, const char *text)
{
    if (!is_one_line(text))
        return ERR_ARG;
    buf_add_str(out, ": ");
    buf_add_str(out, text);
    buf_add_char(out, '\n');
    end_frame(out, form);
    return out->failed;
}
