/* Text -> tokens: special tokens cut the text into fragments; fragments are cut into words; words
 * merge. A word met before in the same call is copied. */
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/check.h"
#include "base/utf8.h"
#include "job/phase.h"
#include "text/nfc.h"
#include "text/vocab_int.h"

/* A malformed stretch of text is cut into words of at most this many bytes. */
#define MALFORMED_MAX 1024u

struct known_word {
    const char *p; /* an earlier occurrence; NULL: empty */
    uint32_t n, n_out;
    size_t out; /* its tokens in the output */
};

/* Bytes of text between two calls of patience_over, or a little more. */
#define LOOK_BYTES (8u << 10)

struct encode {
    const struct vocab *v;
    struct vocab_out out;
    struct vocab_scratch scratch;
    struct pretok_match *match;
    struct known_word *known;
    size_t known_cap; /* power of two */
    uint64_t seed;
    struct arena rewritten;    /* texts of fragments; known words point into them */
    size_t unseen;             /* bytes since the last look at the patience */
    struct vocab_marks *marks; /* NULL: not wanted */
    size_t n_words,
        mark; /* of its bits; its first span that does not lie before the text in hand */
};

int vocab_out_reserve(struct vocab_out *o, size_t extra)
{
    size_t cap = o->cap;
    int32_t *id;

    if (extra > o->max - o->n)
        return ERR_LIMIT;
    if (o->n + extra <= cap)
        return 0;
    while (cap < o->n + extra)
        cap = cap < 32 ? 64 : 2 * cap;
    if (cap > o->max)
        cap = o->max;
    id = realloc(o->id, cap * sizeof *id);
    if (!id)
        return ERR_NOMEM;
    o->id = id;
    o->cap = cap;
    return 0;
}

void vocab_scratch_done(struct vocab_scratch *s)
{
    free(s->node);
    free(s->heap);
    *s = (struct vocab_scratch){.patience = s->patience};
}

/* Every few KiB of text: may the work go on (patience_over)? */
static int look_up(struct encode *c, size_t n)
{
    c->unseen += n;
    if (c->unseen < LOOK_BYTES)
        return 0;
    c->unseen = 0;
    return patience_over(c->scratch.patience, NULL);
}

static int add_word(void *arg, const char *p, size_t n)
{
    struct encode *c = arg;
    struct known_word *k = &c->known[map_hash(p, n, c->seed) & (c->known_cap - 1)];
    size_t before = c->out.n;
    int rc;

    if ((rc = look_up(c, n)))
        return rc;
    if (k->p && k->n == n && memcmp(k->p, p, n) == 0) {
        rc = vocab_out_reserve(&c->out, k->n_out);
        if (rc)
            return rc;
        memcpy(c->out.id + c->out.n, c->out.id + k->out, k->n_out * sizeof *c->out.id);
        c->out.n += k->n_out;
        return 0;
    }
    rc = c->v->kind == VOCAB_BPE ? bpe_word(c->v, p, n, &c->scratch, &c->out)
                                 : spm_word(c->v, p, n, &c->scratch, &c->out);
    if (!rc)
        *k = (struct known_word){p, (uint32_t)n, (uint32_t)(c->out.n - before), before};
    return rc;
}

/* ---- byte-level BPE -------------------------------------------------------------------------- */

static int bpe_valid(struct encode *c, const char *p, size_t n)
{
    if (c->v->pretok_flags & PRETOK_NFC && !nfc_is_sure(p, n)) {
        struct buf nfc;
        int rc;
        buf_init(&nfc, NFC_GROWTH * n);
        rc = nfc_add(&nfc, p, n, c->scratch.patience);
        n = nfc.len;
        p = rc ? NULL : arena_dup(&c->rewritten, nfc.data, n);
        buf_done(&nfc);
        if (!p)
            return rc ? rc : ERR_NOMEM;
    }
    return pretok_split(c->v->pretok, c->match, p, n, add_word, c);
}

static int bpe_fragment(struct encode *c, const char *p, size_t n)
{
    while (n) {
        size_t good, bad;
        uint32_t cp;
        int rc;
        utf8_valid(p, n, &good);
        if (good && (rc = bpe_valid(c, p, good)))
            return rc;
        p += good;
        n -= good;
        for (bad = 0; bad < n && bad < MALFORMED_MAX && utf8_decode(p + bad, n - bad, &cp) <= 0;)
            bad++;
        if (bad && (rc = add_word(c, p, bad)))
            return rc;
        p += bad;
        n -= bad;
    }
    return 0;
}

/* ---- SentencePiece --------------------------------------------------------------------------- */

static int spm_fragment(struct encode *c, const char *p, size_t n, int prefix)
{
    size_t blanks = prefix != 0, len = 0;
    char *text;

    for (size_t i = 0; i < n; i++)
        blanks += p[i] == ' ';
    text = arena_alloc(&c->rewritten, n + 2 * blanks + (prefix != 0));
    if (!text)
        return ERR_NOMEM;
    if (prefix)
        len = (size_t)(stpcpy(text, "\xe2\x96\x81") - text);
    for (size_t i = 0; i < n; i++) {
        if (p[i] == ' ') {
            memcpy(text + len, "\xe2\x96\x81", 3);
            len += 3;
        } else {
            text[len++] = p[i];
        }
    }
    while (len) {
        size_t word = spm_word_len(c->v, text, len);
        int rc = add_word(c, text, word);
        if (rc)
            return rc;
        text += word;
        len -= word;
    }
    return 0;
}

/* ---- the whole text -------------------------------------------------------------------------- */

/* Tokens from `from` on are those of text [begin, end), `extra` bytes before it counted in. */
static int mark_tokens(struct encode *c, size_t from, size_t begin, size_t end, size_t extra)
{
    struct vocab_marks *m = c->marks;
    size_t need = phase_words(c->out.n), bytes = 0;

    if (!m)
        return 0;
    if (need > c->n_words) {
        size_t cap = need < 64 ? 64 : 2 * need;
        uint32_t *p = realloc(m->bits, cap * sizeof *p);
        if (!p)
            return ERR_NOMEM;
        memset(p + c->n_words, 0, (cap - c->n_words) * sizeof *p);
        m->bits = p;
        c->n_words = cap;
    }
    for (size_t i = from; i < c->out.n; i++) {
        size_t len, last;
        vocab_piece(c->v, c->out.id[i], &len);
        bytes += len;
        last = bytes > extra ? begin + (bytes - extra) - 1 : begin;
        last = last < end ? last : end - 1;
        while (c->mark < m->n_spans && m->span[c->mark].end <= last)
            c->mark++;
        if (c->mark < m->n_spans && m->span[c->mark].begin <= last)
            phase_set(m->bits, (int32_t)i);
    }
    return 0;
}

static int encode_text(struct encode *c, const char *text, size_t n,
                       const struct vocab_span *trusted, size_t n_trusted)
{
    size_t pos = 0, span = 0;
    int prefix = 1; /* at the begin of the text and after control tokens */

    while (pos < n) {
        struct special_hit hit = {.begin = n, .end = n, .id = -1};
        size_t before = c->out.n, blank = c->v->add_space_prefix && prefix;
        int rc = 0;
        special_next(&c->v->special, text, n, pos, trusted, n_trusted, &span, &hit);
        if (hit.begin > pos) {
            rc = c->v->kind == VOCAB_BPE ? bpe_fragment(c, text + pos, hit.begin - pos)
                                         : spm_fragment(c, text + pos, hit.begin - pos, (int)blank);
            prefix = 0;
            if (!rc)
                rc = mark_tokens(c, before, pos, hit.begin, blank);
        }
        if (!rc && hit.id >= 0) {
            before = c->out.n;
            rc = look_up(c, hit.end - hit.begin);
            if (!rc)
                rc = vocab_out_add(&c->out, hit.id);
            if (!rc)
                rc = mark_tokens(c, before, hit.begin, hit.end, 0);
            prefix = c->v->flags[hit.id] & VOCAB_F_CONTROL;
        }
        if (rc)
            return rc;
        pos = hit.end;
    }
    return 0;
}

static int encode_init(struct encode *c, const struct vocab *v, size_t n, size_t max,
                       const struct patience *patience)
{
    *c = (struct encode){.v = v,
                         .out.max = max,
                         .known_cap = 64,
                         .seed = v->by_text.seed,
                         .scratch.patience = patience};
    /* A fragment of one byte takes a whole unit of the arena. */
    arena_init(&c->rewritten, 64 << 10, 64 * n + (128 << 10));
    while (c->known_cap < n / 16 && c->known_cap < 16384)
        c->known_cap *= 2;
    c->known = calloc(c->known_cap, sizeof *c->known);
    if (!c->known || (v->pretok && !(c->match = pretok_match_new(v->pretok))))
        return ERR_NOMEM;
    c->out.cap = n / 4 + 16 < max ? n / 4 + 16 : max;
    c->out.id = malloc((c->out.cap + !c->out.cap) * sizeof *c->out.id);
    return c->out.id ? 0 : ERR_NOMEM;
}

static void encode_done(struct encode *c)
{
    arena_done(&c->rewritten);
    vocab_scratch_done(&c->scratch);
    pretok_match_free(c->match);
    free(c->known);
    free(c->out.id);
}

static int check_spans(const struct vocab_span *s, size_t n_spans, size_t n, struct err *e)
{
    size_t at = 0;
    for (size_t i = 0; i < n_spans; i++) {
        if (s[i].begin < at || s[i].end < s[i].begin || s[i].end > n)
            return err_set(e, ERR_ARG, "span %zu [%zu, %zu) of a text of %zu bytes", i, s[i].begin,
                           s[i].end, n);
        at = s[i].end;
    }
    return 0;
}

static int explain(const struct encode *c, int rc, struct err *e)
{
    switch (rc) {
    case ERR_NOMEM:
        return err_set(e, rc, "out of memory for the tokens of a text");
    case ERR_CANCELLED:
    case ERR_TIMEOUT:
        patience_over(c->scratch.patience, e); /* once over, it stays so */
        return rc;
    default:
        if (c->out.n + c->v->piece_len_max > c->out.max)
            return err_set(e, rc, "the text has more than %zu tokens", c->out.max);
        return err_set(e, rc, "the text has a stretch of more than %u bytes without a border",
                       VOCAB_WORD_MAX);
    }
}

int vocab_encode_marked(const struct vocab *v, const char *text, size_t n,
                        const struct vocab_span *trusted, size_t n_trusted, unsigned flags,
                        size_t max, const struct patience *patience, int32_t **ret_id,
                        size_t *ret_n, struct vocab_marks *marks, struct err *e)
{
    /* Bytes of text that one token can cover; NFC may shorten text, but hardly ever to a quarter.
     */
    size_t cover = 4 * (v->piece_len_max > 4 ? v->piece_len_max : 4);
    struct encode c;
    int rc = check_spans(trusted, n_trusted, n, e);

    if (marks)
        marks->bits = NULL;
    if (!rc && marks)
        rc = check_spans(marks->span, marks->n_spans, n, e);
    if (rc)
        return rc;
    if (n > VOCAB_TEXT_MAX)
        return err_set(e, ERR_LIMIT, "a text of %zu bytes, at most %u", n, VOCAB_TEXT_MAX);
    if (n / cover > max)
        return err_set(e, ERR_LIMIT, "the text has more than %zu tokens", max);
    rc = encode_init(&c, v, n, max, patience);
    c.marks = marks;
    if (!rc && flags & VOCAB_ADD_BOS && v->add_bos)
        rc = vocab_out_add(&c.out, v->bos);
    if (!rc)
        rc = encode_text(&c, text, n, trusted, n_trusted);
    if (!rc && flags & VOCAB_ADD_EOS && v->add_eos)
        rc = vocab_out_add(&c.out, v->eos);
    if (!rc)
        rc = mark_tokens(&c, c.out.n, n, n, 0); /* as many words as there are tokens */
    if (rc) {
        rc = explain(&c, rc, e);
    } else {
        *ret_id = c.out.id;
        *ret_n = c.out.n;
        c.out.id = NULL;
    }
    if (rc && marks) {
        free(marks->bits);
        marks->bits = NULL;
    }
    encode_done(&c);
    return rc;
}

int vocab_encode(const struct vocab *v, const char *text, size_t n,
                 const struct vocab_span *trusted, size_t n_trusted, unsigned flags, size_t max,
                 const struct patience *patience, int32_t **ret_id, size_t *ret_n, struct err *e)
{
    return vocab_encode_marked(v, text, n, trusted, n_trusted, flags, max, patience, ret_id, ret_n,
                               NULL, e);
}
