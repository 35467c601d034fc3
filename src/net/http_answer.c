/* The head of an answer. */
#include <string.h>
#include <strings.h>

#include "net/http_int.h"

static int is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* "HTTP/1.1 200 OK". Some leave out the reason, and with it the blank before it. */
enum http_event http_status_line(struct http_parser *p, const char *line, size_t n)
{
    struct http_head *h = &p->head;

    if (n < 12 || memcmp(line, "HTTP/", 5) || !is_digit(line[5]) || line[6] != '.' ||
        !is_digit(line[7]) || line[8] != ' ' || !is_digit(line[9]) || !is_digit(line[10]) ||
        !is_digit(line[11]) || (n > 12 && line[12] != ' '))
        return bad(p, 400, "The answer does not begin with an HTTP status.");
    if (line[5] != '1' || line[7] > '1')
        return bad(p, 505, "The answer is not HTTP/1.1 or HTTP/1.0.");
    h->minor = line[7] - '0';
    h->status = (line[9] - '0') * 100 + (line[10] - '0') * 10 + (line[11] - '0');
    if (h->status < 100)
        return bad(p, 400, "The answer's status is none.");
    if (h->status == 101)
        return bad(p, 400, "The answer changes to a protocol that nobody asked for.");
    return HTTP_MORE;
}

/* An interim answer: what follows is a head again. Its bytes count. */
static enum http_event next_head(struct http_parser *p)
{
    buf_clear(&p->text);
    buf_clear(&p->fields);
    memset(&p->head, 0, sizeof p->head);
    p->line_start = 0;
    p->state = S_START;
    return HTTP_MORE;
}

static int has_no_body(const struct http_parser *p)
{
    int status = p->head.status;

    return status == 204 || status == 304 ||
           (p->kind == HTTP_CONNECT && status >= 200 && status < 300);
}

enum http_event http_answer_end(struct http_parser *p)
{
    struct http_head *h = &p->head;

    if (h->status < 200)
        return next_head(p);
    if (http_count(h, "content-length") > 1 || http_count(h, "transfer-encoding") > 1)
        return bad(p, 400, "A header that may occur once was sent twice.");
    if (http_framing(p) == HTTP_BAD)
        return HTTP_BAD;
    h->keep_alive = h->minor == 1 && !http_field_has(h, "connection", "close");
    p->left = h->content_length > 0 ? (uint64_t)h->content_length : 0;
    if (has_no_body(p)) {
        p->state = S_END;
    } else if (h->chunked) {
        p->state = S_SIZE;
    } else if (h->content_length < 0) {
        h->until_close = 1;
        h->keep_alive = 0;
        p->state = S_CLOSE;
    } else {
        p->state = p->left ? S_LENGTH : S_END;
    }
    return HTTP_GOT_HEAD;
}
