#include "engine/stop.h"

#include <string.h>

/* Longest end of text[0, n) that is the beginning of a stop string, but not all of one. */
static size_t possible_tail(const struct engine_sampling *p, const char *text, size_t n)
{
    size_t best = 0;
    for (int i = 0; i < p->n_stop; i++) {
        size_t len = p->stop_len[i] - 1 < n ? p->stop_len[i] - 1 : n;
        for (; len > best; len--) {
            if (!memcmp(text + n - len, p->stop[i], len)) {
                best = len;
                break;
            }
        }
    }
    return best;
}

int stop_push(struct stop *s, const struct engine_sampling *p, int armed, const char *text,
              size_t n, struct buf *out)
{
    size_t begin = out->len, hit, keep;
    int rc;

    /* Work in `out` itself: held text, then the new one. */
    rc = buf_add(out, s->held, s->n_held);
    if (!rc)
        rc = buf_add(out, text, n);
    if (rc)
        return rc;
    s->n_held = 0;
    if (!armed || !p->n_stop)
        return 0;
    n = out->len - begin;
    if (!n)
        return 0;
    hit = n;
    for (int i = 0; i < p->n_stop; i++) {
        const char *at = memmem(out->data + begin, n, p->stop[i], p->stop_len[i]);
        if (at && (size_t)(at - (out->data + begin)) < hit)
            hit = (size_t)(at - (out->data + begin));
    }
    if (hit < n) {
        out->len = begin + hit;
        out->data[out->len] = 0;
        return 1;
    }
    keep = possible_tail(p, out->data + begin, n);
    memcpy(s->held, out->data + out->len - keep, keep);
    s->n_held = keep;
    out->len -= keep;
    out->data[out->len] = 0;
    return 0;
}

int stop_finish(struct stop *s, struct buf *out)
{
    int rc = buf_add(out, s->held, s->n_held);
    s->n_held = 0;
    return rc;
}
