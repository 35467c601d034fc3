#include "text/jinja_lex.h"

#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"

void jlex_init(struct jlex *x, struct jctx *c, const char *text, size_t n)
{
    char *p = jctx_alloc(c, n + 1);
    size_t m = 0;

    for (size_t i = 0; i < n; i++) {
        if (text[i] != '\r')
            p[m++] = text[i];
        else if (i + 1 == n || text[i + 1] != '\n')
            p[m++] = '\n';
    }
    if (m && p[m - 1] == '\n')
        m--;
    p[m] = 0;
    *x = (struct jlex){.c = c, .p = p, .n = m, .line = 1, .line_start = 1};
}

static uint32_t count_lines(const char *p, size_t n)
{
    uint32_t k = 0;
    for (size_t i = 0; i < n; i++)
        k += p[i] == '\n';
    return k;
}

/* Move on by n bytes. */
static void take(struct jlex *x, size_t n)
{
    jctx_tick_each(x->c, n);
    x->line += count_lines(x->p + x->at, n);
    x->at += n;
    if (n)
        x->line_start = x->p[x->at - 1] == '\n';
}

static size_t skip_space(const struct jlex *x, size_t at)
{
    size_t k;
    while (at < x->n && (k = jstr_space_at(x->p + at, x->n - at)))
        at += k;
    return at;
}

static int looking_at(const struct jlex *x, size_t at, const char *lit)
{
    size_t n = strlen(lit);
    return x->n - at >= n && !memcmp(x->p + at, lit, n);
}

/* The bytes of the end of a tag at `at`, with the white space it eats; 0: no end here. */
static size_t end_of_tag(const struct jlex *x, size_t at, const char *end, int plus, int trim)
{
    size_t n = strlen(end);

    if (at < x->n && x->p[at] == '-' && looking_at(x, at + 1, end))
        return skip_space(x, at + 1 + n) - at;
    if (plus && at < x->n && x->p[at] == '+' && looking_at(x, at + 1, end))
        return 1 + n;
    if (looking_at(x, at, end))
        return n + (trim && looking_at(x, at + n, "\n"));
    return 0;
}

/* How much of the text before a tag stays. */
static size_t text_kept(const struct jlex *x, const char *p, size_t n, char sign, int is_print)
{
    size_t line = n, k, i;

    if (sign == '-')
        return jstr_rspace(p, n);
    if (sign == '+' || is_print)
        return n;
    while (line && p[line - 1] != '\n')
        line--;
    if (!line && !x->line_start)
        return n;
    for (i = line; i < n; i += k) {
        k = jstr_space_at(p + i, n - i);
        if (!k)
            return n;
    }
    return line;
}

static char sign_at(const struct jlex *x, size_t at)
{
    return at < x->n && (x->p[at] == '-' || x->p[at] == '+') ? x->p[at] : 0;
}

/* The length of `{% word %}` as raw blocks have it, from its brace; 0: it is something else. */
static size_t raw_tag(const struct jlex *x, size_t at, const char *word, int is_end)
{
    size_t i = at + 2, k;

    i += sign_at(x, i) != 0;
    i = skip_space(x, i);
    if (!looking_at(x, i, word))
        return 0;
    i = skip_space(x, i + strlen(word));
    k = end_of_tag(x, i, "%}", is_end, is_end);
    return k ? i + k - at : 0;
}

static int give_data(struct jlex *x, struct jtoken *ret, const char *p, size_t n, uint32_t line)
{
    if (!n)
        return 0;
    *ret = (struct jtoken){.type = JT_DATA, .line = line, .p = p, .n = n};
    ret->v = jval_str(jstr_new(x->c, p, n, 1));
    return 1;
}

static int lex_raw(struct jlex *x, size_t tag_bytes, struct jtoken *ret)
{
    size_t i, k = 0, from, keep;
    uint32_t line;

    take(x, tag_bytes);
    from = x->at;
    line = x->line;
    for (i = from; i + 1 < x->n; i++) {
        if (x->p[i] == '{' && x->p[i + 1] == '%' && (k = raw_tag(x, i, "endraw", 1)))
            break;
    }
    if (!k) {
        x->c->line = line;
        jctx_fail(x->c, ERR_FORMAT, "{%% raw %%} without {%% endraw %%}");
    }
    keep = text_kept(x, x->p + from, i - from, sign_at(x, i + 2), 0);
    take(x, i - from + k);
    return give_data(x, ret, x->p + from, keep, line);
}

static void lex_comment(struct jlex *x)
{
    size_t i, k = 0;

    for (i = x->at + 2; i < x->n; i++) {
        k = end_of_tag(x, i, "#}", 1, 1);
        if (k)
            break;
    }
    if (!k) {
        x->c->line = x->line;
        jctx_fail(x->c, ERR_FORMAT, "a comment is not closed");
    }
    take(x, i + k - x->at);
}

/* Text outside tags, then the tag. Returns 0 when there was only a comment. */
static int lex_root(struct jlex *x, struct jtoken *ret)
{
    const char *text = x->p + x->at;
    size_t at = x->at, keep, raw;
    uint32_t line = x->line;
    char kind = 0, sign;
    int got;

    for (; at + 1 < x->n; at++) {
        if (x->p[at] == '{' && strchr("{%#", kind = x->p[at + 1]) && kind)
            break;
    }
    if (at + 1 >= x->n) {
        at = x->n;
        take(x, at - x->at);
        if (give_data(x, ret, text, (size_t)(x->p + at - text), line))
            return 1;
        *ret = (struct jtoken){.type = JT_EOF, .line = x->line, .p = x->p + x->n};
        return 1;
    }
    raw = kind == '%' ? raw_tag(x, at, "raw", 0) : 0;
    sign = sign_at(x, at + 2);
    keep = text_kept(x, text, (size_t)(x->p + at - text), sign, kind == '{');
    got = give_data(x, ret, text, keep, line);
    if (raw || kind == '#') {
        /* Give the text now, and look at the tag again next time: nothing is before it then, and
         * the rest of its line was blank or stays. */
        if (got) {
            take(x, at - x->at);
            return 1;
        }
        take(x, at - x->at);
        if (raw)
            return lex_raw(x, raw, ret);
        lex_comment(x);
        return 0;
    }
    take(x, at - x->at + 2 + (sign != 0));
    x->tag = kind == '{' ? JT_PRINT_BEGIN : JT_BLOCK_BEGIN;
    x->n_nest = 0;
    if (got) {
        x->pending = x->tag;
        return 1;
    }
    *ret = (struct jtoken){.type = x->tag, .line = x->line, .p = x->p + at, .n = 2};
    return 1;
}

static int is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static int is_name(char c)
{
    return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || c < 0;
}

/* Digits with single underscores between them, from i. */
static size_t skip_digits(const char *p, size_t n, size_t i)
{
    while (i < n && (is_digit(p[i]) ||
                     (p[i] == '_' && i && is_digit(p[i - 1]) && i + 1 < n && is_digit(p[i + 1]))))
        i++;
    return i;
}

static size_t float_length(const char *p, size_t n)
{
    size_t i = skip_digits(p, n, 0), end = 0, k;

    if (i + 1 < n && p[i] == '.' && is_digit(p[i + 1]))
        end = i = skip_digits(p, n, i + 1);
    if (i < n && (p[i] == 'e' || p[i] == 'E')) {
        k = i + 1;
        if (k < n && (p[k] == '+' || p[k] == '-'))
            k++;
        if (k < n && is_digit(p[k]))
            end = skip_digits(p, n, k);
    }
    return end;
}

static int digit_value(char c)
{
    if (is_digit(c))
        return c - '0';
    c = (char)(c | 32);
    return c >= 'a' && c <= 'z' ? c - 'a' + 10 : 99;
}

static void lex_number(struct jlex *x, struct jtoken *ret)
{
    const char *p = x->p + x->at;
    size_t n = x->n - x->at, k, i = 0;
    uint64_t v = 0;
    unsigned base = 10;
    char text[64];
    size_t m = 0;

    k = x->at && p[-1] == '.' ? 0 : float_length(p, n);
    if (k) {
        for (; i < k; i++) {
            if (p[i] != '_' && m < sizeof text - 1)
                text[m++] = p[i];
        }
        text[m] = 0;
        if (m == sizeof text - 1)
            jctx_fail(x->c, ERR_LIMIT, "a number has too many digits");
        *ret = (struct jtoken){.type = JT_FLOAT, .n = k, .v = jval_float(strtod(text, NULL))};
        return;
    }
    if (n > 2 && p[0] == '0') {
        char b = (char)(p[1] | 32);
        base = b == 'b' ? 2 : b == 'o' ? 8 : b == 'x' ? 16 : 10;
        if (base != 10 && digit_value(p[2 + (p[2] == '_' && n > 3)]) >= (int)base)
            base = 10;
    }
    k = base == 10 ? 0 : 2;
    for (; k < n; k++) {
        int d = digit_value(p[k]);
        if (p[k] == '_' && k + 1 < n && digit_value(p[k + 1]) < (int)base && k)
            continue;
        if (d >= (int)base || (base == 10 && p[0] == '0' && d))
            break;
        if (__builtin_mul_overflow(v, base, &v) || __builtin_add_overflow(v, (unsigned)d, &v) ||
            v > INT64_MAX)
            jctx_fail(x->c, ERR_LIMIT, "an integer does not fit in 64 bits");
    }
    *ret = (struct jtoken){.type = JT_INT, .n = k, .v = jval_int((int64_t)v)};
}

/* \ooo, \xhh, \uhhhh, \Uhhhhhhhh: the value; *i moves past. */
static uint32_t code_escape(struct jlex *x, const char *p, size_t n, size_t *i, int base, int least,
                            int most)
{
    uint32_t v = 0;
    int k = 0;

    for (; k < most && *i < n && digit_value(p[*i]) < base; k++, ++*i)
        v = v * (uint32_t)base + (uint32_t)digit_value(p[*i]);
    if (k < least || v > 0x10ffff || (v >= 0xd800 && v < 0xe000))
        jctx_fail(x->c, ERR_FORMAT, "a string has a bad escape sequence");
    return v;
}

static void lex_escape(struct jlex *x, struct jsb *b, const char *p, size_t n, size_t *i)
{
    static const char from[] = "abfnrtv\\'\"", to[] = "\a\b\f\n\r\t\v\\'\"";
    char e = p[(*i)++];
    const char *at = strchr(from, e);

    if (e == '\n')
        return;
    if (e && at)
        jsb_add(x->c, b, &to[at - from], 1, 1);
    else if (e >= '0' && e <= '7') {
        --*i;
        jsb_add_cp(x->c, b, code_escape(x, p, n, i, 8, 1, 3), 1);
    } else if (e == 'x')
        jsb_add_cp(x->c, b, code_escape(x, p, n, i, 16, 2, 2), 1);
    else if (e == 'u')
        jsb_add_cp(x->c, b, code_escape(x, p, n, i, 16, 4, 4), 1);
    else if (e == 'U')
        jsb_add_cp(x->c, b, code_escape(x, p, n, i, 16, 8, 8), 1);
    else if (e == 'N')
        jctx_fail(x->c, ERR_UNSUPPORTED, "\\N{...} in strings is not supported");
    else {
        jsb_add(x->c, b, "\\", 1, 1);
        --*i;
        if (e < 0) { /* the bytes of one character stay together */
            uint32_t cp;
            int k = utf8_decode(p + *i, n - *i, &cp);
            jsb_add(x->c, b, p + *i, (size_t)k, 1);
            *i += (size_t)k;
            return;
        }
        jsb_add(x->c, b, p + (*i)++, 1, 1);
    }
}

static void lex_string(struct jlex *x, struct jtoken *ret)
{
    const char *p = x->p + x->at;
    size_t n = x->n - x->at, end = 1, i;
    int plain = 1;
    const struct jstr *s;

    while (end < n && p[end] != p[0]) {
        if (p[end] == '\\') {
            plain = 0;
            end++;
        }
        end++;
    }
    if (end >= n)
        jctx_fail(x->c, ERR_FORMAT, "a string is not closed");
    if (plain)
        s = jstr_new(x->c, p + 1, end - 1, 1);
    else {
        struct jsb *b = jsb_new(x->c, end);
        for (i = 1; i < end;) {
            size_t from = i;
            while (i < end && p[i] != '\\')
                i++;
            jsb_add(x->c, b, p + from, i - from, 1);
            if (i < end) {
                i++;
                lex_escape(x, b, p, end, &i);
            }
        }
        s = jstr_new(x->c, b->p, b->n, 1);
    }
    *ret = (struct jtoken){.type = JT_STR, .n = end + 1, .v = jval_str(s)};
}

static void lex_bracket(struct jlex *x, char ch)
{
    const char *open = "([{", *shut = ")]}", *at;

    if ((at = strchr(open, ch)) && ch) {
        if (x->n_nest == JLEX_NEST)
            jctx_fail(x->c, ERR_LIMIT, "brackets are nested too deeply");
        x->nest[x->n_nest++] = shut[at - open];
    } else if (ch && strchr(shut, ch)) {
        if (!x->n_nest)
            jctx_fail(x->c, ERR_FORMAT, "unexpected '%c'", ch);
        if (x->nest[--x->n_nest] != ch)
            jctx_fail(x->c, ERR_FORMAT, "unexpected '%c', expected '%c'", ch, x->nest[x->n_nest]);
    }
}

static void lex_operator(struct jlex *x, struct jtoken *ret)
{
    static const char two[][3] = {"//", "**", "==", "!=", ">=", "<="};
    char ch = x->p[x->at];

    for (size_t i = 0; i < ARRAY_LEN(two); i++) {
        if (looking_at(x, x->at, two[i])) {
            *ret = (struct jtoken){.type = JT_OP, .n = 2, .op = JOP2(two[i][0], two[i][1])};
            return;
        }
    }
    if (!ch || !strchr("+-/*%~[](){}><=.:|,;", ch))
        jctx_fail(x->c, ERR_FORMAT, "unexpected character '%c'", ch >= ' ' && ch < 127 ? ch : '?');
    lex_bracket(x, ch);
    *ret = (struct jtoken){.type = JT_OP, .n = 1, .op = ch};
}

static void lex_tag(struct jlex *x, struct jtoken *ret)
{
    uint32_t line;
    size_t k, at = skip_space(x, x->at);
    const char *p;

    take(x, at - x->at);
    p = x->p + x->at;
    line = x->c->line = x->line;
    if (x->at >= x->n) {
        *ret = (struct jtoken){.type = JT_EOF, .line = line, .p = p};
        return;
    }
    if (!x->n_nest) {
        int block = x->tag == JT_BLOCK_BEGIN;
        k = end_of_tag(x, x->at, block ? "%}" : "}}", block, block);
        if (k) {
            *ret = (struct jtoken){
                .type = block ? JT_BLOCK_END : JT_PRINT_END, .line = line, .p = p, .n = 2};
            take(x, k);
            x->tag = JT_EOF;
            return;
        }
    }
    if (is_digit(*p))
        lex_number(x, ret);
    else if (is_name(*p)) {
        k = 1;
        while (x->at + k < x->n && is_name(p[k]))
            k++;
        *ret = (struct jtoken){.type = JT_NAME, .n = k};
    } else if (*p == '\'' || *p == '"')
        lex_string(x, ret);
    else
        lex_operator(x, ret);
    ret->line = line;
    ret->p = p;
    take(x, ret->n);
}

void jlex_next(struct jlex *x, struct jtoken *ret)
{
    if (x->pending != JT_EOF) {
        *ret = (struct jtoken){.type = x->pending, .line = x->line, .p = x->p + x->at};
        x->pending = JT_EOF;
        return;
    }
    if (x->tag != JT_EOF) {
        lex_tag(x, ret);
        return;
    }
    while (!lex_root(x, ret))
        continue;
}
