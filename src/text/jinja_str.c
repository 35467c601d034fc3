/* Strings with provenance: the type, its builder, and what needs no knowledge of values. */
#include "text/jinja_core.h"

#include <string.h>
#include <utf8proc.h>

#include "base/utf8.h"

/* ---- builder --------------------------------------------------------------------------------- */

struct jsb *jsb_new(struct jctx *c, size_t cap)
{
    struct jsb *b = jctx_alloc(c, sizeof *b);
    *b = (struct jsb){.p = jctx_alloc(c, cap ? cap : 1), .cap = cap ? cap : 1};
    return b;
}

static void grow(struct jctx *c, struct jsb *b, size_t n)
{
    size_t cap = b->cap * 2;
    char *p;

    if (n > JINJA_OUTPUT_MAX || b->n > JINJA_OUTPUT_MAX - n)
        jctx_fail(c, ERR_LIMIT, "the text grows past %d bytes", JINJA_OUTPUT_MAX);
    if (b->n + n <= b->cap)
        return;
    while (cap < b->n + n)
        cap *= 2;
    p = jctx_alloc(c, cap);
    memcpy(p, b->p, b->n);
    b->p = p;
    if (b->t) {
        uint8_t *t = jctx_alloc(c, cap);
        memcpy(t, b->t, b->n);
        b->t = t;
    }
    b->cap = cap;
}

/* Note where the n bytes about to be added come from: t[i], or `from` for all. */
static void note_from(struct jctx *c, struct jsb *b, size_t n, const uint8_t *t, int from)
{
    if (!b->n && !t)
        b->from = (uint8_t)from;
    if (!b->t && !t && b->from == from)
        return;
    if (!b->t) {
        b->t = jctx_alloc(c, b->cap);
        memset(b->t, b->from, b->n);
    }
    if (t)
        memcpy(b->t + b->n, t, n);
    else
        memset(b->t + b->n, from, n);
}

void jsb_add(struct jctx *c, struct jsb *b, const char *p, size_t n, int from)
{
    if (!n)
        return;
    jctx_tick_bytes(c, n);
    grow(c, b, n);
    note_from(c, b, n, NULL, from);
    memcpy(b->p + b->n, p, n);
    b->n += n;
}

void jsb_add_cstr(struct jctx *c, struct jsb *b, const char *s)
{
    jsb_add(c, b, s, strlen(s), 0);
}

void jsb_add_part(struct jctx *c, struct jsb *b, const struct jstr *s, size_t at, size_t n)
{
    if (!n)
        return;
    jctx_tick_bytes(c, n);
    grow(c, b, n);
    note_from(c, b, n, s->from == JFROM_MIXED ? s->t + at : NULL, s->from);
    memcpy(b->p + b->n, s->p + at, n);
    b->n += n;
}

void jsb_add_str(struct jctx *c, struct jsb *b, const struct jstr *s)
{
    jsb_add_part(c, b, s, 0, s->n);
}

void jsb_add_cp(struct jctx *c, struct jsb *b, uint32_t cp, int from)
{
    char u[4];
    jsb_add(c, b, u, (size_t)utf8_encode(cp, u), from);
}

const struct jstr *jsb_str(struct jctx *c, struct jsb *b)
{
    struct jstr *s = jctx_alloc(c, sizeof *s);
    *s = (struct jstr){.p = b->p, .t = b->t, .sb = b, .n = (uint32_t)b->n, .ascii = -1};
    s->from = b->t ? JFROM_MIXED : b->from;
    return s;
}

/* ---- strings --------------------------------------------------------------------------------- */

const struct jstr *jstr_new(struct jctx *c, const char *p, size_t n, int from)
{
    struct jstr *s = jctx_alloc(c, sizeof *s);
    if (n > JINJA_OUTPUT_MAX)
        jctx_fail(c, ERR_LIMIT, "a string has more than %d bytes", JINJA_OUTPUT_MAX);
    *s = (struct jstr){.p = p, .n = (uint32_t)n, .from = (uint8_t)from, .ascii = -1};
    return s;
}

const struct jstr *jstr_copy(struct jctx *c, const char *p, size_t n, int from)
{
    char *q = jctx_alloc(c, n + 1);
    memcpy(q, p, n);
    return jstr_new(c, q, n, from);
}

const struct jstr *jstr_part(struct jctx *c, const struct jstr *s, size_t at, size_t n)
{
    struct jstr *r;

    if (!at && n == s->n)
        return s;
    r = jctx_alloc(c, sizeof *r);
    *r = (struct jstr){.p = s->p + at, .n = (uint32_t)n, .from = s->from, .markup = s->markup};
    r->t = s->t ? s->t + at : NULL;
    r->ascii = s->ascii == 1 ? 1 : -1;
    return r;
}

const struct jstr *jstr_mark(struct jctx *c, const struct jstr *s, int markup)
{
    struct jstr *r;

    if (s->markup == markup)
        return s;
    r = jctx_alloc(c, sizeof *r);
    *r = *s;
    r->sb = NULL;
    r->markup = (uint8_t)markup;
    return r;
}

/* Templates build prompts by s = s + part: where `a` is all that its builder holds, the builder
 * goes on and the older string stays a view of its beginning. */
const struct jstr *jstr_concat(struct jctx *c, const struct jstr *a, const struct jstr *b)
{
    struct jsb *sb = a->sb;
    const struct jstr *r;

    if (!b->n)
        return a;
    if (!a->n)
        return b;
    if (!sb || sb->p != a->p || sb->n != a->n) {
        size_t n = (size_t)a->n + b->n;
        sb = jsb_new(c, n < 256 ? n : n * 2);
        jsb_add_str(c, sb, a);
    }
    jsb_add_str(c, sb, b);
    r = jsb_str(c, sb);
    return r;
}

const struct jstr *jstr_escape(struct jctx *c, const struct jstr *s)
{
    static const char from[] = "&<>'\"";
    static const char *const to[] = {"&amp;", "&lt;", "&gt;", "&#39;", "&#34;"};
    struct jsb *b = jsb_new(c, s->n + 16);

    for (size_t i = 0; i < s->n; i++) {
        const char *at = s->p[i] ? strchr(from, s->p[i]) : NULL;
        if (at)
            jsb_add_cstr(c, b, to[at - from]);
        else
            jsb_add_part(c, b, s, i, 1);
    }
    return jstr_mark(c, jsb_str(c, b), 1);
}

int jstr_is(const struct jstr *s, const char *lit)
{
    size_t n = strlen(lit);
    return s->n == n && !memcmp(s->p, lit, n);
}

int jstr_eq(const struct jstr *a, const struct jstr *b)
{
    return a == b || (a->n == b->n && !memcmp(a->p, b->p, a->n));
}

/* The order of UTF-8 bytes is that of code points. */
int jstr_cmp(const struct jstr *a, const struct jstr *b)
{
    int r = memcmp(a->p, b->p, a->n < b->n ? a->n : b->n);
    return r ? r : (a->n > b->n) - (a->n < b->n);
}

/* The two caches below are written by the render that owns the string; those of the program's
 * constants are filled while it is parsed. */
uint32_t jstr_hash(const struct jstr *s)
{
    uint32_t h = 2166136261u;

    if (s->hash)
        return s->hash;
    for (size_t i = 0; i < s->n; i++)
        h = (h ^ (uint8_t)s->p[i]) * 16777619u;
    h = h ? h : 1;
    ((struct jstr *)s)->hash = h;
    return h;
}

int jstr_ascii(struct jctx *c, const struct jstr *s)
{
    size_t i = 0;

    if (s->ascii >= 0)
        return s->ascii;
    jctx_tick_bytes(c, s->n);
    while (i < s->n && !((uint8_t)s->p[i] & 0x80))
        i++;
    ((struct jstr *)s)->ascii = i == s->n;
    return i == s->n;
}

int jstr_from_at(const struct jstr *s, size_t i)
{
    return s->from == JFROM_MIXED ? s->t[i] : s->from;
}

static int is_lead(char ch)
{
    return ((uint8_t)ch & 0xc0) != 0x80;
}

size_t jstr_length(struct jctx *c, const struct jstr *s)
{
    size_t k = 0;

    if (jstr_ascii(c, s))
        return s->n;
    jctx_tick_bytes(c, s->n);
    for (size_t i = 0; i < s->n; i++)
        k += (size_t)is_lead(s->p[i]);
    return k;
}

size_t jstr_offset(struct jctx *c, const struct jstr *s, size_t i)
{
    size_t at = 0;

    if (jstr_ascii(c, s))
        return i < s->n ? i : s->n;
    for (; at < s->n; at++) {
        if (is_lead(s->p[at]) && !i--)
            break;
    }
    jctx_tick_bytes(c, at);
    return at;
}

/* Strings are valid UTF-8 (from jansson, or checked before the template is parsed), unless a caller
 * made its JSON without that check: then bad bytes count as one character each. */
int jstr_cp(const struct jstr *s, size_t i, uint32_t *ret_cp)
{
    int k = utf8_decode(s->p + i, s->n - i, ret_cp);
    if (k > 0)
        return k;
    *ret_cp = 0xfffd;
    return 1;
}

size_t jstr_find(struct jctx *c, const struct jstr *s, const struct jstr *what, size_t from)
{
    const char *at;

    if (from > s->n)
        return SIZE_MAX;
    if (!what->n)
        return from;
    at = memmem(s->p + from, s->n - from, what->p, what->n);
    jctx_tick_bytes(c, at ? (size_t)(at - s->p) - from : s->n - from);
    return at ? (size_t)(at - s->p) : SIZE_MAX;
}

/* Knuth, Morris and Pratt's search, backwards: no text and no part of it cost more than their
 * length. */
size_t jstr_rfind(struct jctx *c, const struct jstr *s, const struct jstr *what, size_t from,
                  size_t to)
{
    uint32_t few[64], *fall, m = what->n, k = 0;
    const char *last = what->p + m - 1;
    size_t i;

    if (m > to || to - m < from)
        return SIZE_MAX;
    if (!m)
        return to;
    fall = m <= ARRAY_LEN(few) ? few : jctx_array(c, m, sizeof *fall);
    jctx_tick_each(c, m);
    fall[0] = 0;
    for (uint32_t j = 1; j < m; fall[j++] = k) {
        while (k && last[-(ptrdiff_t)j] != last[-(ptrdiff_t)k])
            k = fall[k - 1];
        k += last[-(ptrdiff_t)j] == last[-(ptrdiff_t)k];
    }
    k = 0;
    for (i = to; i > from && k < m; i--) {
        while (k && s->p[i - 1] != last[-(ptrdiff_t)k])
            k = fall[k - 1];
        k += s->p[i - 1] == last[-(ptrdiff_t)k];
    }
    jctx_tick_each(c, to - i);
    return k == m ? i : SIZE_MAX;
}

/* ---- characters ------------------------------------------------------------------------------ */

int jstr_is_space(uint32_t cp)
{
    return (cp >= 9 && cp <= 13) || (cp >= 0x1c && cp <= 0x20) || cp == 0x85 || cp == 0xa0 ||
           cp == 0x1680 || (cp >= 0x2000 && cp <= 0x200a) || cp == 0x2028 || cp == 0x2029 ||
           cp == 0x202f || cp == 0x205f || cp == 0x3000;
}

int jstr_is_printable(uint32_t cp)
{
    if (cp == ' ')
        return 1;
    switch (utf8proc_category((utf8proc_int32_t)cp)) {
    case UTF8PROC_CATEGORY_CC:
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_CS:
    case UTF8PROC_CATEGORY_CO:
    case UTF8PROC_CATEGORY_CN:
    case UTF8PROC_CATEGORY_ZL:
    case UTF8PROC_CATEGORY_ZP:
    case UTF8PROC_CATEGORY_ZS:
        return 0;
    default:
        return 1;
    }
}

size_t jstr_space_at(const char *p, size_t n)
{
    uint32_t cp;
    int k;

    if (!n)
        return 0;
    if (!((uint8_t)*p & 0x80))
        return (size_t)jstr_is_space((uint8_t)*p);
    k = utf8_decode(p, n, &cp);
    return k > 0 && jstr_is_space(cp) ? (size_t)k : 0;
}

size_t jstr_rspace(const char *p, size_t n)
{
    while (n) {
        size_t k = 1;
        while (k < n && !is_lead(p[n - k]))
            k++;
        if (jstr_space_at(p + n - k, k) != k)
            break;
        n -= k;
    }
    return n;
}
