#include "text/detok.h"

#include <string.h>

#include "base/utf8.h"
#include "text/vocab_int.h"

static const char replacement[] = "\xef\xbf\xbd"; /* U+FFFD */

void detok_init(struct detok *d, const struct vocab *v, int begins_text)
{
    *d = (struct detok){.vocab = v, .strip = begins_text && v->add_space_prefix};
}

/* Bytes of the malformed sequence at p: the longest part of it that could have begun a character
 * (Unicode 15, section 3.9, "maximal subpart"). */
static size_t malformed_len(const char *p, size_t n)
{
    uint32_t cp;
    size_t len = 1;
    while (len < n && len < 3 && utf8_decode(p, len + 1, &cp) < 0)
        len++;
    return len;
}

/* Append what of n bytes is whole; keep the unfinished rest. */
static int push_bytes(struct detok *d, const char *p, size_t n, struct buf *out)
{
    size_t i = 0, from = 0;

    while (i < n) {
        uint32_t cp;
        int len = utf8_decode(p + i, n - i, &cp);
        if (len > 0) {
            i += (size_t)len;
            continue;
        }
        buf_add(out, p + from, i - from);
        if (len < 0) { /* unfinished: at most 3 bytes, at the end */
            d->n_held = (uint8_t)(n - i);
            memcpy(d->held, p + i, n - i);
            return out->failed;
        }
        buf_add(out, replacement, 3);
        i += malformed_len(p + i, n - i);
        from = i;
    }
    buf_add(out, p + from, n - from);
    d->n_held = 0;
    return out->failed;
}

int detok_push(struct detok *d, int32_t id, int special, struct buf *out)
{
    const char *p;
    size_t n;

    if (id < 0 || id >= vocab_n(d->vocab))
        return ERR_ARG;
    if (!special && vocab_is_control(d->vocab, id))
        return out->failed;
    p = vocab_piece(d->vocab, id, &n);
    if (d->strip && n && *p == ' ' && d->vocab->type[id] != VOCAB_USER_DEFINED)
        p++, n--;
    d->strip = 0;
    /* Finish a held sequence first: a few bytes of the piece, at most. */
    while (d->n_held && n) {
        char joined[8];
        size_t held = d->n_held, take = n < 4 ? n : 4;
        uint32_t cp;
        int len;
        memcpy(joined, d->held, held);
        memcpy(joined + held, p, take);
        len = utf8_decode(joined, held + take, &cp);
        if (len > 0) {
            buf_add(out, joined, (size_t)len);
            d->n_held = 0;
            p += (size_t)len - held;
            n -= (size_t)len - held;
        } else if (len < 0) { /* still unfinished, so all of the piece was taken */
            memcpy(d->held, joined, held + take);
            d->n_held = (uint8_t)(held + take);
            return out->failed;
        } else { /* the held bytes will never be finished */
            buf_add(out, replacement, 3);
            size_t bad = malformed_len(joined, held + take);
            d->n_held = 0;
            p += bad - held; /* bad >= held: what was held was a good beginning */
            n -= bad - held;
        }
    }
    return n ? push_bytes(d, p, n, out) : out->failed;
}

int detok_finish(struct detok *d, struct buf *out)
{
    if (d->n_held)
        buf_add(out, replacement, 3);
    d->n_held = 0;
    d->strip = 0;
    return out->failed;
}
