#include "text/nfc.h"

#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

#include "base/utf8.h"

enum {
    PIECE = 16 << 10, /* bytes; a piece then ends before the next character that joins nothing */
    FEW_MARKS = 16,
    PER_BYTE = 2, /* characters that a byte becomes at most, in canonical decomposition */
    LOOK = 4096,  /* characters between two calls of patience_over */
    N_CLASSES = 256
};

static int stands_alone(uint32_t c)
{
    return c < 0x300 || (c >= 0x400 && c < 0x483) || (c >= 0x2010 && c < 0x2050) ||
           (c >= 0x3001 && c < 0x302a) || (c >= 0x3041 && c < 0x3099) ||
           (c >= 0x30a0 && c < 0x3100) || (c >= 0x4e00 && c < 0xa000) ||
           (c >= 0xac00 && c < 0xd7a4) || (c >= 0xff01 && c < 0xfff0) ||
           (c >= 0x1f300 && c < 0x1fb00);
}

/* The character at p, and its bytes. */
static size_t take(const char *p, size_t n, uint32_t *ret)
{
    *ret = (unsigned char)*p;
    return *ret < 0x80 ? 1 : (size_t)utf8_decode(p, n, ret);
}

int nfc_is_sure(const char *p, size_t n)
{
    uint32_t c;

    for (size_t i = 0; i < n;) {
        i += take(p + i, n - i, &c);
        if (!stands_alone(c))
            return 0;
    }
    return 1;
}

struct work {
    const struct patience *patience;
    utf8proc_int32_t *c, *tmp; /* room for `cap` characters each */
    size_t n, cap;
};

static int class_of(utf8proc_int32_t c)
{
    return utf8proc_get_property(c)->combining_class;
}

/* Put the marks c[0..n) in the order of their classes; those of one class stay as they are. */
static void sort_marks(utf8proc_int32_t *c, size_t n, utf8proc_int32_t *tmp)
{
    size_t at[N_CLASSES + 1] = {0};

    for (size_t i = 1; n <= FEW_MARKS && i < n; i++) {
        utf8proc_int32_t x = c[i];
        size_t k = i;
        for (; k && class_of(c[k - 1]) > class_of(x); k--)
            c[k] = c[k - 1];
        c[k] = x;
    }
    if (n <= FEW_MARKS)
        return;
    for (size_t i = 0; i < n; i++)
        at[class_of(c[i]) + 1]++;
    for (int k = 1; k <= N_CLASSES; k++)
        at[k] += at[k - 1];
    for (size_t i = 0; i < n; i++)
        tmp[at[class_of(c[i])]++] = c[i];
    memcpy(c, tmp, n * sizeof *c);
}

static void sort_all_marks(struct work *w)
{
    for (size_t i = 0, to; i < w->n; i = to + (to == i)) {
        for (to = i; to < w->n && class_of(w->c[to]);)
            to++;
        sort_marks(w->c + i, to - i, w->tmp);
    }
}

/* Room for the characters of n bytes. */
static int reserve(struct work *w, size_t n)
{
    if (n * PER_BYTE <= w->cap)
        return 0;
    free(w->c);
    free(w->tmp);
    w->cap = n * PER_BYTE;
    w->c = malloc(w->cap * sizeof *w->c);
    w->tmp = malloc(w->cap * sizeof *w->tmp);
    return w->c && w->tmp ? 0 : ERR_NOMEM;
}

static int decompose(struct work *w, const char *p, size_t n)
{
    int bound = 0, rc = 0;

    w->n = 0;
    for (size_t i = 0, k = 0; i < n && !rc; k++) {
        utf8proc_ssize_t len;
        uint32_t c;
        i += take(p + i, n - i, &c);
        len = utf8proc_decompose_char((utf8proc_int32_t)c, w->c + w->n,
                                      (utf8proc_ssize_t)(w->cap - w->n),
                                      UTF8PROC_STABLE | UTF8PROC_COMPOSE, &bound);
        if (len < 0 || w->n + (size_t)len > w->cap)
            return ERR_INTERNAL;
        w->n += (size_t)len;
        if (k % LOOK == LOOK - 1)
            rc = patience_over(w->patience, NULL);
    }
    return rc;
}

/* Normalise a piece whose result does not depend on the text around it. */
static int add_piece(struct buf *out, const char *p, size_t n, struct work *w)
{
    utf8proc_ssize_t len;
    int rc;

    if (nfc_is_sure(p, n))
        return buf_add(out, p, n);
    if (reserve(w, n))
        return ERR_NOMEM;
    if ((rc = decompose(w, p, n)))
        return rc;
    sort_all_marks(w);
    len =
        utf8proc_normalize_utf32(w->c, (utf8proc_ssize_t)w->n, UTF8PROC_STABLE | UTF8PROC_COMPOSE);
    for (utf8proc_ssize_t i = 0; i < len; i++) {
        char u[4];
        buf_add(out, u, (size_t)utf8_encode((uint32_t)w->c[i], u));
    }
    return out->failed;
}

/* Where a piece may end at or after `from`: before a character that joins nothing before it. */
static size_t piece_end(const char *p, size_t n, size_t from)
{
    uint32_t c;

    while (from < n && ((unsigned char)p[from] & 0xc0) == 0x80)
        from++;
    for (size_t i = from; i < n;) {
        size_t k = take(p + i, n - i, &c);
        if (stands_alone(c))
            return i;
        i += k;
    }
    return n;
}

int nfc_add(struct buf *out, const char *p, size_t n, const struct patience *patience)
{
    struct work w = {.patience = patience};
    int rc = 0;

    while (n && !rc) {
        size_t k = n <= PIECE ? n : piece_end(p, n, PIECE);
        rc = patience_over(patience, NULL);
        if (!rc)
            rc = add_piece(out, p, k, &w);
        p += k;
        n -= k;
    }
    free(w.c);
    free(w.tmp);
    return rc;
}
