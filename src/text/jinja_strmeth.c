/* Methods of strings. Each keeps the provenance of every character it passes on. */
#include "text/jinja_core.h"

#include <string.h>
#include <utf8proc.h>

/* ---- strip ----------------------------------------------------------------------------------- */

enum { LEFT = 1, RIGHT = 2 };

static int in_set(struct jctx *c, const struct jstr *s, size_t at, size_t n, const struct jstr *set)
{
    if (!set)
        return jstr_space_at(s->p + at, n) == n;
    jctx_tick_bytes(c, set->n);
    return memmem(set->p, set->n, s->p + at, n) != NULL;
}

static size_t last_char(const struct jstr *s, size_t end)
{
    size_t k = 1;
    while (k < end && ((uint8_t)s->p[end - k] & 0xc0) == 0x80)
        k++;
    return k;
}

static struct jval strip(struct jctx *c, const struct jstr *s, struct jval chars, int sides)
{
    const struct jstr *set = jargs_none(chars) ? NULL : jargs_str(c, chars);
    size_t from = 0, to = s->n, k;
    uint32_t cp;

    while (sides & LEFT && from < to && in_set(c, s, from, k = (size_t)jstr_cp(s, from, &cp), set))
        from += k;
    for (; sides & RIGHT && to > from; to -= k) {
        k = last_char(s, to);
        if (!in_set(c, s, to - k, k, set))
            break;
    }
    jctx_tick_each(c, s->n - (to - from));
    return jval_str(jstr_part(c, s, from, to - from));
}

static struct jval m_strip(struct jctx *c, struct jval self, struct jval *a,
                           const struct jargs *raw)
{
    return strip(c, self.s, a[0], LEFT | RIGHT);
}

static struct jval m_lstrip(struct jctx *c, struct jval self, struct jval *a,
                            const struct jargs *raw)
{
    return strip(c, self.s, a[0], LEFT);
}

static struct jval m_rstrip(struct jctx *c, struct jval self, struct jval *a,
                            const struct jargs *raw)
{
    return strip(c, self.s, a[0], RIGHT);
}

static struct jval m_removeprefix(struct jctx *c, struct jval self, struct jval *a,
                                  const struct jargs *raw)
{
    const struct jstr *s = self.s, *p = jargs_str(c, a[0]);
    size_t n = s->n >= p->n && !memcmp(s->p, p->p, p->n) ? p->n : 0;

    jctx_tick_bytes(c, p->n);
    return jval_str(jstr_part(c, s, n, s->n - n));
}

static struct jval m_removesuffix(struct jctx *c, struct jval self, struct jval *a,
                                  const struct jargs *raw)
{
    const struct jstr *s = self.s, *p = jargs_str(c, a[0]);
    size_t n = s->n >= p->n && !memcmp(s->p + s->n - p->n, p->p, p->n) ? p->n : 0;

    jctx_tick_bytes(c, p->n);
    return jval_str(jstr_part(c, s, 0, s->n - n));
}

/* ---- split ----------------------------------------------------------------------------------- */

static void add_part(struct jctx *c, struct jlist *l, const struct jstr *s, size_t from, size_t to)
{
    jlist_add(c, l, jval_str(jstr_part(c, s, from, to - from)));
}

static void split_space(struct jctx *c, struct jlist *l, const struct jstr *s, int64_t max)
{
    size_t i = 0, k, from;

    for (;;) {
        while (i < s->n && (k = jstr_space_at(s->p + i, s->n - i)))
            i += k;
        if (i >= s->n)
            return;
        if (max >= 0 && (int64_t)l->n == max) {
            add_part(c, l, s, i, s->n);
            return;
        }
        from = i;
        while (i < s->n && !jstr_space_at(s->p + i, s->n - i))
            i++;
        add_part(c, l, s, from, i);
    }
}

/* From the right, parts in reverse. */
static void rsplit_space(struct jctx *c, struct jlist *l, const struct jstr *s, int64_t max)
{
    size_t to = s->n, k, from;

    for (;;) {
        to = jstr_rspace(s->p, to);
        if (!to)
            return;
        if (max >= 0 && (int64_t)l->n == max) {
            add_part(c, l, s, 0, to);
            return;
        }
        for (from = to; from; from -= k) {
            k = last_char(s, from);
            if (jstr_space_at(s->p + from - k, k) == k)
                break;
        }
        add_part(c, l, s, from, to);
        to = from;
    }
}

static const struct jstr *separator(struct jctx *c, struct jval v)
{
    const struct jstr *sep = jargs_str(c, v);
    if (!sep->n)
        jctx_fail(c, ERR_FORMAT, "empty separator");
    return sep;
}

static struct jval m_split(struct jctx *c, struct jval self, struct jval *a,
                           const struct jargs *raw)
{
    const struct jstr *s = self.s, *sep;
    int64_t max = jargs_int(c, a[1], -1);
    struct jlist *l = jlist_new(c, 8);
    size_t from = 0, at;

    jctx_tick_each(c, s->n);
    if (jargs_none(a[0])) {
        split_space(c, l, s, max);
        return jval_list(JV_LIST, l);
    }
    sep = separator(c, a[0]);
    while ((max < 0 || (int64_t)l->n < max) && (at = jstr_find(c, s, sep, from)) != SIZE_MAX) {
        add_part(c, l, s, from, at);
        from = at + sep->n;
    }
    add_part(c, l, s, from, s->n);
    return jval_list(JV_LIST, l);
}

static struct jval m_rsplit(struct jctx *c, struct jval self, struct jval *a,
                            const struct jargs *raw)
{
    const struct jstr *s = self.s, *sep;
    int64_t max = jargs_int(c, a[1], -1);
    struct jlist *l = jlist_new(c, 8);
    size_t to = s->n, at;

    jctx_tick_each(c, s->n);
    if (jargs_none(a[0]))
        rsplit_space(c, l, s, max);
    else {
        sep = separator(c, a[0]);
        while ((max < 0 || (int64_t)l->n < max) &&
               (at = jstr_rfind(c, s, sep, 0, to)) != SIZE_MAX) {
            add_part(c, l, s, at + sep->n, to);
            to = at;
        }
        add_part(c, l, s, 0, to);
    }
    for (size_t i = 0; i < l->n / 2; i++) {
        struct jval t = l->v[i];
        l->v[i] = l->v[l->n - 1 - i];
        l->v[l->n - 1 - i] = t;
    }
    return jval_list(JV_LIST, l);
}

static int is_line_break(uint32_t cp)
{
    return (cp >= 10 && cp <= 13) || (cp >= 0x1c && cp <= 0x1e) || cp == 0x85 || cp == 0x2028 ||
           cp == 0x2029;
}

static struct jval m_splitlines(struct jctx *c, struct jval self, struct jval *a,
                                const struct jargs *raw)
{
    const struct jstr *s = self.s;
    int keep = a[0].type != JV_ABSENT && jval_true(a[0]);
    struct jlist *l = jlist_new(c, 8);
    size_t from = 0, i = 0, end;
    uint32_t cp;

    jctx_tick_each(c, s->n);
    while (i < s->n) {
        end = i;
        i += (size_t)jstr_cp(s, i, &cp);
        if (!is_line_break(cp))
            continue;
        if (cp == '\r' && i < s->n && s->p[i] == '\n')
            i++;
        add_part(c, l, s, from, keep ? i : end);
        from = i;
    }
    if (from < s->n)
        add_part(c, l, s, from, s->n);
    return jval_list(JV_LIST, l);
}

static struct jval three(struct jctx *c, const struct jstr *s, size_t at, size_t n)
{
    struct jlist *l = jlist_new(c, 3);
    add_part(c, l, s, 0, at);
    add_part(c, l, s, at, at + n);
    add_part(c, l, s, at + n, s->n);
    return jval_list(JV_TUPLE, l);
}

static struct jval m_partition(struct jctx *c, struct jval self, struct jval *a,
                               const struct jargs *raw)
{
    const struct jstr *sep = separator(c, a[0]);
    size_t at = jstr_find(c, self.s, sep, 0);
    return at == SIZE_MAX ? three(c, self.s, self.s->n, 0) : three(c, self.s, at, sep->n);
}

static struct jval m_rpartition(struct jctx *c, struct jval self, struct jval *a,
                                const struct jargs *raw)
{
    const struct jstr *sep = separator(c, a[0]);
    size_t at = jstr_rfind(c, self.s, sep, 0, self.s->n);
    return at == SIZE_MAX ? three(c, self.s, 0, 0) : three(c, self.s, at, sep->n);
}

/* ---- search ---------------------------------------------------------------------------------- */

/* Optional start and end in code points, as a byte range. 0: start is past the end. */
static int byte_range(struct jctx *c, const struct jstr *s, const struct jval *a, size_t *from,
                      size_t *to)
{
    const struct jval b[3] = {a[0], a[1], JNONE};
    int64_t start, step;
    size_t n, len;

    *from = 0;
    *to = s->n;
    if (jargs_none(a[0]) && jargs_none(a[1]))
        return 1;
    len = jstr_length(c, s);
    jval_slice_bounds(c, len, b, &start, &step, &n);
    *from = jstr_offset(c, s, (size_t)start);
    *to = jstr_offset(c, s, (size_t)start + n);
    return !(jval_is_integral(a[0]) && a[0].i > (int64_t)len);
}

static int has_affix(struct jctx *c, const struct jstr *s, size_t from, size_t to, struct jval v,
                     int at_end)
{
    const struct jstr *p = jargs_str(c, v);

    jctx_tick_bytes(c, p->n);
    return p->n <= to - from && !memcmp(s->p + (at_end ? to - p->n : from), p->p, p->n);
}

/* v: a string, or a tuple of them. */
static int affix(struct jctx *c, const struct jstr *s, size_t from, size_t to, struct jval v,
                 int at_end)
{
    if (v.type != JV_TUPLE)
        return has_affix(c, s, from, to, v, at_end);
    for (size_t i = 0; i < v.l->n; i++) {
        if (has_affix(c, s, from, to, v.l->v[i], at_end))
            return 1;
    }
    return 0;
}

static struct jval m_startswith(struct jctx *c, struct jval self, struct jval *a,
                                const struct jargs *raw)
{
    size_t from, to;
    return jval_bool(byte_range(c, self.s, a + 1, &from, &to) &&
                     affix(c, self.s, from, to, a[0], 0));
}

static struct jval m_endswith(struct jctx *c, struct jval self, struct jval *a,
                              const struct jargs *raw)
{
    size_t from, to;
    return jval_bool(byte_range(c, self.s, a + 1, &from, &to) &&
                     affix(c, self.s, from, to, a[0], 1));
}

static int64_t position(struct jctx *c, struct jval self, struct jval *a, int backward)
{
    const struct jstr *what = jargs_str(c, a[0]), *part;
    size_t from, to, at;

    if (!byte_range(c, self.s, a + 1, &from, &to))
        return -1;
    part = jstr_part(c, self.s, 0, to);
    at = backward ? jstr_rfind(c, part, what, from, to) : jstr_find(c, part, what, from);
    if (at == SIZE_MAX)
        return -1;
    return (int64_t)jstr_length(c, jstr_part(c, self.s, 0, at));
}

static struct jval m_find(struct jctx *c, struct jval self, struct jval *a, const struct jargs *raw)
{
    return jval_int(position(c, self, a, 0));
}

static struct jval m_rfind(struct jctx *c, struct jval self, struct jval *a,
                           const struct jargs *raw)
{
    return jval_int(position(c, self, a, 1));
}

static struct jval found(struct jctx *c, int64_t at)
{
    if (at < 0)
        jctx_fail(c, ERR_FORMAT, "substring not found");
    return jval_int(at);
}

static struct jval m_index(struct jctx *c, struct jval self, struct jval *a,
                           const struct jargs *raw)
{
    return found(c, position(c, self, a, 0));
}

static struct jval m_rindex(struct jctx *c, struct jval self, struct jval *a,
                            const struct jargs *raw)
{
    return found(c, position(c, self, a, 1));
}

static struct jval m_count(struct jctx *c, struct jval self, struct jval *a,
                           const struct jargs *raw)
{
    const struct jstr *what = jargs_str(c, a[0]), *part;
    size_t from, to, n = 0;

    if (!byte_range(c, self.s, a + 1, &from, &to))
        return jval_int(0);
    part = jstr_part(c, self.s, from, to - from);
    if (!what->n)
        return jval_int((int64_t)jstr_length(c, part) + 1);
    for (size_t at = 0; (at = jstr_find(c, part, what, at)) != SIZE_MAX; at += what->n)
        n++;
    return jval_int((int64_t)n);
}

static struct jval m_replace(struct jctx *c, struct jval self, struct jval *a,
                             const struct jargs *raw)
{
    const struct jstr *s = self.s, *old = jargs_str(c, a[0]), *new = jargs_str(c, a[1]);
    int64_t left = jargs_int(c, a[2], -1);
    struct jsb *b = jsb_new(c, s->n + 16);
    size_t from = 0, at;
    uint32_t cp;

    if (s->markup)
        new = new->markup ? new : jstr_escape(c, new);
    while (left && (at = jstr_find(c, s, old, from)) != SIZE_MAX) {
        jsb_add_part(c, b, s, from, at - from);
        jsb_add_str(c, b, new);
        from = at + old->n;
        left -= left > 0;
        if (!old->n) { /* between all characters, and at both ends */
            if (from >= s->n)
                break;
            at = (size_t)jstr_cp(s, from, &cp);
            jsb_add_part(c, b, s, from, at);
            from += at;
        }
    }
    jsb_add_part(c, b, s, from, s->n - from);
    return jval_str(jstr_mark(c, jsb_str(c, b), s->markup));
}

/* ---- case ------------------------------------------------------------------------------------ */

static int is_cased(uint32_t cp)
{
    utf8proc_category_t k = utf8proc_category((utf8proc_int32_t)cp);
    return k == UTF8PROC_CATEGORY_LU || k == UTF8PROC_CATEGORY_LL || k == UTF8PROC_CATEGORY_LT;
}

enum { UPPER, LOWER, TITLE, CAPITALIZE, SWAP };
enum { SMALL, BIG, BIG_FIRST }; /* BIG_FIRST: as the first letter of a word */

/* Final sigma: after a cased letter, before none. */
static int ends_word(const struct jstr *s, size_t i, int after_cased)
{
    uint32_t cp;
    return after_cased && (i + 2 >= s->n || (jstr_cp(s, i + 2, &cp), !is_cased(cp)));
}

static void add_cased(struct jctx *c, struct jsb *b, uint32_t cp, int upper, int from)
{
    if (cp == 0x130 && !upper) {
        jsb_add(c, b, "i\xcc\x87", 3, from);
        return;
    }
    if (cp == 0xdf && upper) { /* sharp s has no single capital in case mapping */
        jsb_add(c, b, upper == BIG_FIRST ? "Ss" : "SS", 2, from);
        return;
    }
    cp = (uint32_t)(upper == BIG_FIRST ? utf8proc_totitle((utf8proc_int32_t)cp)
                    : upper            ? utf8proc_toupper((utf8proc_int32_t)cp)
                                       : utf8proc_tolower((utf8proc_int32_t)cp));
    jsb_add_cp(c, b, cp, from);
}

static struct jval change_case(struct jctx *c, const struct jstr *s, int how)
{
    struct jsb *b = jsb_new(c, s->n + 16);
    int after_cased = 0;
    uint32_t cp;
    size_t k;

    for (size_t i = 0; i < s->n; i += k) {
        int upper = SMALL, cased;
        k = (size_t)jstr_cp(s, i, &cp);
        cased = is_cased(cp);
        switch (how) {
        case UPPER:
            upper = BIG;
            break;
        case TITLE:
            upper = !after_cased ? BIG_FIRST : SMALL;
            break;
        case CAPITALIZE:
            upper = !i ? BIG_FIRST : SMALL;
            break;
        case SWAP:
            upper = cased && utf8proc_category((utf8proc_int32_t)cp) == UTF8PROC_CATEGORY_LL;
            break;
        default:
            break;
        }
        if (cp == 0x3a3 && !upper && ends_word(s, i, after_cased))
            cp = 0x3c2;
        add_cased(c, b, cp, upper, jstr_from_at(s, i));
        after_cased = cased;
    }
    return jval_str(jstr_mark(c, jsb_str(c, b), s->markup));
}

static struct jval m_upper(struct jctx *c, struct jval self, struct jval *a,
                           const struct jargs *raw)
{
    return change_case(c, self.s, UPPER);
}

static struct jval m_lower(struct jctx *c, struct jval self, struct jval *a,
                           const struct jargs *raw)
{
    return change_case(c, self.s, LOWER);
}

static struct jval m_title(struct jctx *c, struct jval self, struct jval *a,
                           const struct jargs *raw)
{
    return change_case(c, self.s, TITLE);
}

static struct jval m_capitalize(struct jctx *c, struct jval self, struct jval *a,
                                const struct jargs *raw)
{
    return change_case(c, self.s, CAPITALIZE);
}

static struct jval m_swapcase(struct jctx *c, struct jval self, struct jval *a,
                              const struct jargs *raw)
{
    return change_case(c, self.s, SWAP);
}

/* Every character by the rule of its own that makes texts comparable whatever their case. */
static struct jval m_casefold(struct jctx *c, struct jval self, struct jval *a,
                              const struct jargs *raw)
{
    const struct jstr *s = self.s;
    struct jsb *b = jsb_new(c, s->n + 16);
    utf8proc_int32_t folded[4];
    utf8proc_ssize_t n;
    int bound = 0;
    uint32_t cp;

    for (size_t i = 0; i < s->n;) {
        int from = jstr_from_at(s, i);
        i += (size_t)jstr_cp(s, i, &cp);
        n = utf8proc_decompose_char((utf8proc_int32_t)cp, folded, 4, UTF8PROC_CASEFOLD, &bound);
        for (utf8proc_ssize_t k = 0; k < n && k < 4; k++)
            jsb_add_cp(c, b, (uint32_t)folded[k], from);
    }
    return jval_str(jstr_mark(c, jsb_str(c, b), s->markup));
}

/* ---- kinds of characters --------------------------------------------------------------------- */

static int is_alpha(uint32_t cp)
{
    utf8proc_category_t k = utf8proc_category((utf8proc_int32_t)cp);
    return is_cased(cp) || k == UTF8PROC_CATEGORY_LM || k == UTF8PROC_CATEGORY_LO;
}

static int is_decimal(uint32_t cp)
{
    return utf8proc_category((utf8proc_int32_t)cp) == UTF8PROC_CATEGORY_ND;
}

static int is_digit(uint32_t cp)
{
    return is_decimal(cp) || cp == 0xb2 || cp == 0xb3 || cp == 0xb9 || cp == 0x2070 ||
           (cp >= 0x2074 && cp <= 0x2079) || (cp >= 0x2080 && cp <= 0x2089);
}

int jstr_is_alnum(uint32_t cp)
{
    utf8proc_category_t k = utf8proc_category((utf8proc_int32_t)cp);
    return is_alpha(cp) || is_digit(cp) || k == UTF8PROC_CATEGORY_NL || k == UTF8PROC_CATEGORY_NO;
}

static int is_numeric(uint32_t cp)
{
    return jstr_is_alnum(cp) && !is_alpha(cp);
}

static int is_ascii(uint32_t cp)
{
    return cp < 128;
}

static struct jval all_are(struct jctx *c, const struct jstr *s, int (*is)(uint32_t), int if_empty)
{
    uint32_t cp;

    jctx_tick_each(c, s->n);
    for (size_t i = 0; i < s->n;) {
        i += (size_t)jstr_cp(s, i, &cp);
        if (!is(cp))
            return jval_bool(0);
    }
    return jval_bool(s->n || if_empty);
}

#define KIND(name, is, if_empty)                                                                   \
    static struct jval m_##name(struct jctx *c, struct jval self, struct jval *a,                  \
                                const struct jargs *raw)                                           \
    {                                                                                              \
        return all_are(c, self.s, is, if_empty);                                                   \
    }
KIND(isalpha, is_alpha, 0)
KIND(isdecimal, is_decimal, 0)
KIND(isdigit, is_digit, 0)
KIND(isnumeric, is_numeric, 0)
KIND(isalnum, jstr_is_alnum, 0)
KIND(isspace, jstr_is_space, 0)
KIND(isprintable, jstr_is_printable, 1)
KIND(isascii, is_ascii, 1)

static struct jval one_case(struct jctx *c, const struct jstr *s, utf8proc_category_t bad)
{
    int any = 0;
    uint32_t cp;

    jctx_tick_each(c, s->n);
    for (size_t i = 0; i < s->n;) {
        utf8proc_category_t k;
        i += (size_t)jstr_cp(s, i, &cp);
        k = utf8proc_category((utf8proc_int32_t)cp);
        if (k == bad || k == UTF8PROC_CATEGORY_LT)
            return jval_bool(0);
        any |= is_cased(cp);
    }
    return jval_bool(any);
}

static struct jval m_isupper(struct jctx *c, struct jval self, struct jval *a,
                             const struct jargs *raw)
{
    return one_case(c, self.s, UTF8PROC_CATEGORY_LL);
}

static struct jval m_islower(struct jctx *c, struct jval self, struct jval *a,
                             const struct jargs *raw)
{
    return one_case(c, self.s, UTF8PROC_CATEGORY_LU);
}

/* Capitals begin words, small letters go on. */
static struct jval m_istitle(struct jctx *c, struct jval self, struct jval *a,
                             const struct jargs *raw)
{
    const struct jstr *s = self.s;
    int any = 0, after_cased = 0;
    uint32_t cp;

    jctx_tick_each(c, s->n);
    for (size_t i = 0; i < s->n;) {
        i += (size_t)jstr_cp(s, i, &cp);
        if (is_cased(cp)) {
            int small = utf8proc_category((utf8proc_int32_t)cp) == UTF8PROC_CATEGORY_LL;
            if (small != after_cased)
                return jval_bool(0);
            any = 1;
        }
        after_cased = is_cased(cp);
    }
    return jval_bool(any);
}

/* ---- the rest -------------------------------------------------------------------------------- */

static struct jval pad(struct jctx *c, struct jval self, struct jval *a, int side)
{
    int64_t width = jargs_int(c, a[0], 0), left;
    int64_t n = width < 0 ? 0 : width - (int64_t)jstr_length(c, self.s);
    struct jsb *b = jsb_new(c, self.s->n + 16);
    const struct jstr *fill = a[1].type == JV_ABSENT ? NULL : jargs_str(c, a[1]);

    if (fill && jstr_length(c, fill) != 1)
        jctx_fail(c, ERR_FORMAT, "The fill character must be exactly one character long");
    n = n < 0 ? 0 : n;
    /* Python's center puts the odd blank by a rule of its own */
    left = side == LEFT ? n : side == RIGHT ? 0 : n / 2 + (n & width & 1);
    for (int64_t i = 0; i <= n; i++) {
        if (i == left)
            jsb_add_str(c, b, self.s);
        if (i < n && fill)
            jsb_add_str(c, b, fill);
        else if (i < n)
            jsb_add_cstr(c, b, " ");
    }
    return jval_str(jstr_mark(c, jsb_str(c, b), self.s->markup));
}

static struct jval m_ljust(struct jctx *c, struct jval self, struct jval *a,
                           const struct jargs *raw)
{
    return pad(c, self, a, RIGHT);
}

static struct jval m_rjust(struct jctx *c, struct jval self, struct jval *a,
                           const struct jargs *raw)
{
    return pad(c, self, a, LEFT);
}

static struct jval m_center(struct jctx *c, struct jval self, struct jval *a,
                            const struct jargs *raw)
{
    return pad(c, self, a, LEFT | RIGHT);
}

static struct jval m_zfill(struct jctx *c, struct jval self, struct jval *a,
                           const struct jargs *raw)
{
    int64_t width = jargs_int(c, a[0], 0);
    int64_t n = width < 0 ? 0 : width - (int64_t)jstr_length(c, self.s);
    struct jsb *b = jsb_new(c, self.s->n + 16);
    size_t sign = self.s->n && strchr("+-", self.s->p[0]) ? 1 : 0;

    jsb_add_part(c, b, self.s, 0, sign);
    for (int64_t i = 0; i < n; i++)
        jsb_add_cstr(c, b, "0");
    jsb_add_part(c, b, self.s, sign, self.s->n - sign);
    return jval_str(jsb_str(c, b));
}

static struct jval m_join(struct jctx *c, struct jval self, struct jval *a, const struct jargs *raw)
{
    struct jlist *l = jval_items(c, a[0]);
    struct jsb *b = jsb_new(c, 64);

    for (size_t i = 0; i < l->n; i++) {
        if (i)
            jsb_add_str(c, b, self.s);
        if (l->v[i].type != JV_STR)
            jctx_fail(c, ERR_FORMAT, "sequence item %zu: expected str instance, %s found", i,
                      jval_type_name(l->v[i]));
        jsb_add_str(c, b, l->v[i].s);
    }
    return jval_str(jstr_mark(c, jsb_str(c, b), self.s->markup));
}

static struct jval m_expandtabs(struct jctx *c, struct jval self, struct jval *a,
                                const struct jargs *raw)
{
    const struct jstr *s = self.s;
    int64_t width = jargs_int(c, a[0], 8), column = 0;
    struct jsb *b = jsb_new(c, s->n + 16);
    uint32_t cp;

    for (size_t i = 0, k; i < s->n; i += k) {
        k = (size_t)jstr_cp(s, i, &cp);
        if (cp == '\t') {
            for (int64_t n = width > 0 ? width - column % width : 0; n > 0; n--, column++)
                jsb_add_cstr(c, b, " ");
            continue;
        }
        jsb_add_part(c, b, s, i, k);
        column = cp == '\n' || cp == '\r' ? 0 : column + 1;
    }
    return jval_str(jsb_str(c, b));
}

static struct jval m_format_map(struct jctx *c, struct jval self, struct jval *a,
                                const struct jargs *raw)
{
    struct jkw *kw;

    if (a[0].type != JV_DICT)
        jctx_fail(c, ERR_FORMAT, "format_map needs a mapping, not %s", jval_type_name(a[0]));
    kw = jctx_array(c, a[0].d->n + 1, sizeof *kw);
    for (size_t i = 0; i < a[0].d->n; i++)
        kw[i] = (struct jkw){jargs_str(c, a[0].d->e[i].k), a[0].d->e[i].v};
    return jval_str(jformat_braces(c, self.s, &(struct jargs){.kw = kw, .n_kw = a[0].d->n}));
}

static struct jval m_format(struct jctx *c, struct jval self, struct jval *a,
                            const struct jargs *raw)
{
    return jval_str(jformat_braces(c, self.s, raw));
}

const struct jmethod jmethod_str_table[] = {
    {"strip", "/chars", m_strip},
    {"lstrip", "/chars", m_lstrip},
    {"rstrip", "/chars", m_rstrip},
    {"split", "sep,maxsplit", m_split},
    {"rsplit", "sep,maxsplit", m_rsplit},
    {"splitlines", "keepends", m_splitlines},
    {"startswith", "/!prefix,start,end", m_startswith},
    {"endswith", "/!suffix,start,end", m_endswith},
    {"replace", "/!old,!new,count", m_replace},
    {"upper", "/", m_upper},
    {"lower", "/", m_lower},
    {"casefold", "/", m_casefold},
    {"title", "/", m_title},
    {"capitalize", "/", m_capitalize},
    {"swapcase", "/", m_swapcase},
    {"find", "/!sub,start,end", m_find},
    {"rfind", "/!sub,start,end", m_rfind},
    {"index", "/!sub,start,end", m_index},
    {"rindex", "/!sub,start,end", m_rindex},
    {"count", "/!sub,start,end", m_count},
    {"join", "/!iterable", m_join},
    {"format", NULL, m_format},
    {"format_map", "/!mapping", m_format_map},
    {"expandtabs", "tabsize", m_expandtabs},
    {"partition", "/!sep", m_partition},
    {"rpartition", "/!sep", m_rpartition},
    {"removeprefix", "/!prefix", m_removeprefix},
    {"removesuffix", "/!suffix", m_removesuffix},
    {"isalpha", "/", m_isalpha},
    {"isdecimal", "/", m_isdecimal},
    {"isdigit", "/", m_isdigit},
    {"isnumeric", "/", m_isnumeric},
    {"isalnum", "/", m_isalnum},
    {"isspace", "/", m_isspace},
    {"isprintable", "/", m_isprintable},
    {"isascii", "/", m_isascii},
    {"isupper", "/", m_isupper},
    {"istitle", "/", m_istitle},
    {"islower", "/", m_islower},
    {"ljust", "/!width,fillchar", m_ljust},
    {"rjust", "/!width,fillchar", m_rjust},
    {"center", "/!width,fillchar", m_center},
    {"zfill", "/!width", m_zfill},
    {"encode", NULL, NULL},
    {"isidentifier", NULL, NULL},
    {"maketrans", NULL, NULL},
    {"translate", NULL, NULL},
    {NULL, NULL, NULL},
};
