#include "text/stop.h"

#include <string.h>

/* Length of the longest end of text[0, n) that is the beginning, but not the whole, of a stop
 * string. */
static size_t possible_tail(const struct sampling *p, const char *text, size_t n)
{
    size_t best = 0;
    for (int i = 0; i < p->n_stop; i++) {
        size_t len = p->stop[i].n - 1 < n ? p->stop[i].n - 1 : n;
        for (; len > best; len--) {
            if (!memcmp(text + n - len, p->stop[i].s, len)) {
                best = len;
                break;
            }
        }
    }
    return best;
}

static void token_add(struct stop *s)
{
    _Static_assert(SAMPLING_STOP_LEN <= 256, "a byte says where in the held text a token begins");
    if (s->n_tokens == STOP_TOKENS_MAX)
        memmove(s->begin, s->begin + 1, (size_t)--s->n_tokens);
    s->begin[s->n_tokens++] = (uint8_t)s->n_held;
}

/* Note that the first n bytes of the held text are shown now. */
static void tokens_show(struct stop *s, size_t n)
{
    int32_t k = 0;

    while (k < s->n_tokens && s->begin[k] < n)
        k++;
    s->n_tokens -= k;
    for (int32_t i = 0; i < s->n_tokens; i++)
        s->begin[i] = (uint8_t)(s->begin[k + i] - n);
}

int stop_push(struct stop *s, const struct sampling *p, int armed, const char *text, size_t n,
              int unfinished, struct buf *out)
{
    size_t begin = out->len, hit, keep;
    int rc;

    token_add(s);

    /* Work in `out` itself: held text, then the new one. */
    rc = buf_add(out, s->held, s->n_held);
    if (!rc)
        rc = buf_add(out, text, n);
    if (rc)
        return rc;
    s->n_held = 0;
    if (!armed || !p->n_stop) {
        s->n_tokens = 0;
        return 0;
    }
    n = out->len - begin;
    hit = n;
    for (int i = 0; n && i < p->n_stop; i++) {
        const char *at = memmem(out->data + begin, n, p->stop[i].s, p->stop[i].n);
        if (at && (size_t)(at - (out->data + begin)) < hit)
            hit = (size_t)(at - (out->data + begin));
    }
    if (hit < n) {
        out->len = begin + hit;
        out->data[out->len] = 0;
        tokens_show(s, hit);
        return 1;
    }
    keep = n ? possible_tail(p, out->data + begin, n) : 0;
    if (keep) {
        memcpy(s->held, out->data + out->len - keep, keep);
        out->len -= keep;
        out->data[out->len] = 0;
    }
    s->n_held = keep;
    tokens_show(s, n - keep);
    if (!keep && !unfinished)
        s->n_tokens = 0;
    return 0;
}

int stop_finish(struct stop *s, struct buf *out)
{
    int rc = buf_add(out, s->held, s->n_held);
    s->n_held = 0;
    s->n_tokens = 0;
    return rc;
}
