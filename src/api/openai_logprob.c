#include "api/openai_logprob.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/json_write.h"
#include "base/utf8.h"

#define LOGPROB_FLOOR (-9999.0) /* JSON has no infinity */
enum { DECIMALS = 8 };

int64_t code_points(const char *s, size_t n)
{
    int64_t k = 0;

    for (size_t i = 0; i < n; i++)
        k += ((unsigned char)s[i] & 0xc0) != 0x80;
    return k;
}

void logprobs_init(struct logprobs *lp, size_t max)
{
    for (int i = 0; i < LP_LISTS; i++)
        buf_init(&lp->list[i], max);
}

void logprobs_done(struct logprobs *lp)
{
    for (int i = 0; i < LP_LISTS; i++)
        buf_done(&lp->list[i]);
    free(lp->mark);
    lp->mark = NULL;
}

/* Remove all but the last n marks: the items of the removed ones do not wait any more. */
static void keep_marks(struct logprobs *lp, int32_t n)
{
    if (n >= lp->n_marks)
        return;
    memmove(lp->mark, lp->mark + (lp->n_marks - n), (size_t)n * sizeof *lp->mark);
    lp->n_marks = n;
}

int logprobs_begin(struct logprobs *lp, int32_t n_waiting)
{
    if (n_waiting <= 0) {
        lp->n_marks = 0;
        return 0;
    }
    keep_marks(lp, n_waiting - 1);
    if (lp->n_marks == lp->marks_cap) {
        int32_t cap = lp->marks_cap ? 2 * lp->marks_cap : 16;
        struct lp_mark *p = realloc(lp->mark, (size_t)cap * sizeof *p);
        if (!p)
            return ERR_NOMEM;
        lp->mark = p;
        lp->marks_cap = cap;
    }
    for (int i = 0; i < LP_LISTS; i++)
        lp->mark[lp->n_marks].len[i] = lp->list[i].len;
    lp->n_marks++;
    return 0;
}

void logprobs_end(struct logprobs *lp, int32_t n_dropped)
{
    keep_marks(lp, n_dropped);
    for (int i = 0; i < LP_LISTS && lp->n_marks; i++)
        lp->list[i].len = lp->mark[0].len[i];
    lp->n_marks = 0;
}

size_t logprobs_shown(const struct logprobs *lp, int list)
{
    return lp->n_marks ? lp->mark[0].len[list] : lp->list[list].len;
}

int logprobs_any_shown(const struct logprobs *lp)
{
    for (int i = 0; i < LP_LISTS; i++) {
        if (logprobs_shown(lp, i))
            return 1;
    }
    return 0;
}

void logprobs_take_shown(struct logprobs *lp)
{
    for (int i = 0; i < LP_LISTS; i++) {
        size_t n = logprobs_shown(lp, i);
        struct buf *b = &lp->list[i];
        if (!n)
            continue;
        n += n < b->len; /* the comma before what is left */
        memmove(b->data, b->data + n, b->len - n);
        b->len -= n;
        for (int32_t k = lp->n_marks; k-- > 0;)
            lp->mark[k].len[i] -= lp->mark[k].len[i] < n ? lp->mark[k].len[i] : n;
    }
}

size_t logprobs_bytes(const struct logprobs *lp)
{
    size_t n = 0;

    for (int i = 0; i < LP_LISTS; i++)
        n += lp->list[i].len;
    return n;
}

static int failed(const struct logprobs *lp)
{
    for (int i = 0; i < LP_LISTS; i++) {
        if (lp->list[i].failed)
            return lp->list[i].failed;
    }
    return 0;
}

/* The list, ready for one more item. */
static struct buf *next(struct logprobs *lp, int list)
{
    if (lp->list[list].len)
        buf_add_char(&lp->list[list], ',');
    return &lp->list[list];
}

int logprobs_add_id(struct logprobs *lp, int32_t id)
{
    struct buf *b = next(lp, LP_IDS);
    json_put_int(b, id);
    return b->failed;
}

static void put_value(struct buf *b, double v)
{
    json_put_fixed(b, v > LOGPROB_FLOOR ? v : LOGPROB_FLOOR, DECIMALS);
}

static void put_token(struct buf *b, const char *bytes, size_t n, double v)
{
    buf_add_str(b, "{\"token\":");
    json_put_text(b, bytes, n);
    buf_add_str(b, ",\"logprob\":");
    put_value(b, v);
    buf_add_str(b, ",\"bytes\":");
    json_put_bytes(b, bytes, n);
}

int logprobs_add_chat(struct logprobs *lp, const struct event *ev, int32_t n_top, int64_t offset)
{
    struct buf *b = next(lp, 0);

    put_token(b, ev->bytes, ev->n_bytes, ev->logprob);
    buf_add_str(b, ",\"top_logprobs\":[");
    for (int32_t i = 0; i < ev->n_top && i < n_top; i++) {
        if (i)
            buf_add_char(b, ',');
        put_token(b, ev->top[i].bytes, ev->top[i].n_bytes, ev->top[i].logprob);
        buf_add_char(b, '}');
    }
    return buf_add_str(b, "]}");
}

/* In completions a token is the key of its alternatives and has no list of bytes beside it. So
 * bytes that are not UTF-8 are written as "bytes:\\xNN...", which keeps different tokens different.
 */
static void put_name(struct buf *b, const char *bytes, size_t n)
{
    if (utf8_valid(bytes, n, NULL)) {
        json_put_text(b, bytes, n);
        return;
    }
    buf_add_str(b, "\"bytes:");
    for (size_t i = 0; i < n; i++)
        buf_addf(b, "\\\\x%02x", (unsigned char)bytes[i]);
    buf_add_char(b, '"');
}

static int same(const char *a, size_t n_a, const char *b, size_t n_b)
{
    return n_a == n_b && (!n_a || !memcmp(a, b, n_a));
}

/* Was there an alternative with the same bytes before the i-th? Two tokens may have the same bytes,
 * but a key may occur once, so the likelier one stays. */
static int seen_before(const struct event *ev, int32_t i)
{
    const struct top *t = &ev->top[i];

    if (same(t->bytes, t->n_bytes, ev->bytes, ev->n_bytes))
        return 1;
    for (int32_t k = 0; k < i; k++) {
        if (same(t->bytes, t->n_bytes, ev->top[k].bytes, ev->top[k].n_bytes))
            return 1;
    }
    return 0;
}

static void put_map(struct buf *b, const struct event *ev, int32_t n_top)
{
    buf_add_char(b, '{');
    put_name(b, ev->bytes, ev->n_bytes);
    buf_add_char(b, ':');
    put_value(b, ev->logprob);
    for (int32_t i = 0; i < ev->n_top && i < n_top; i++) {
        if (seen_before(ev, i))
            continue;
        buf_add_char(b, ',');
        put_name(b, ev->top[i].bytes, ev->top[i].n_bytes);
        buf_add_char(b, ':');
        put_value(b, ev->top[i].logprob);
    }
    buf_add_char(b, '}');
}

int logprobs_add_completion(struct logprobs *lp, const struct event *ev, int32_t n_top,
                            int64_t offset)
{
    struct buf *b;

    json_put_int(next(lp, LP_OFFSETS), offset);
    put_name(next(lp, LP_TOKENS), ev->bytes, ev->n_bytes);
    b = next(lp, LP_VALUES);
    if (isnan(ev->logprob))
        buf_add_str(b, "null");
    else
        put_value(b, ev->logprob);
    b = next(lp, LP_TOPS);
    if (isnan(ev->logprob))
        buf_add_str(b, "null");
    else
        put_map(b, ev, n_top);
    return failed(lp);
}

int logprobs_put_chat(struct buf *out, const struct logprobs *first, const struct logprobs *lp)
{
    buf_add_str(out, "{\"content\":[");
    buf_add(out, lp->list[0].data, logprobs_shown(lp, 0));
    return buf_add_str(out, "],\"refusal\":null}");
}

int logprobs_put_completion(struct buf *out, const struct logprobs *first,
                            const struct logprobs *lp)
{
    static const char *const names[] = {"{\"text_offset\":[", "],\"token_logprobs\":[",
                                        "],\"tokens\":[", "],\"top_logprobs\":["};

    for (int i = 0; i < LP_IDS; i++) {
        buf_add_str(out, names[i]);
        if (first && first->list[i].len) {
            buf_add(out, first->list[i].data, first->list[i].len);
            if (logprobs_shown(lp, i))
                buf_add_char(out, ',');
        }
        buf_add(out, lp->list[i].data, logprobs_shown(lp, i));
    }
    return buf_add_str(out, "]}");
}
