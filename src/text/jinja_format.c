/* Python's two ways to fill in a string: "%s" % x and "{}".format(x). The format's own characters
 * keep its provenance, what is filled in keeps its own, padding is untrusted. */
#include "text/jinja_core.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { WIDTH_MAX = 10000, PRECISION_MAX = 60 };

struct spec {
    const struct jstr *fill;         /* one character, or NULL: a space */
    char align, sign, type;          /* 0: not given */
    int alt, zero, width, precision; /* precision -1: not given */
    char comma;
};

static int parse_count(struct jctx *c, const struct jstr *s, size_t *i)
{
    int v = 0;
    while (*i < s->n && s->p[*i] >= '0' && s->p[*i] <= '9') {
        v = v * 10 + s->p[(*i)++] - '0';
        if (v > WIDTH_MAX)
            jctx_fail(c, ERR_LIMIT, "a format is wider than %d", WIDTH_MAX);
    }
    return v;
}

/* Text of n characters with padding around it. */
static void add_padded(struct jctx *c, struct jsb *b, const struct jstr *s, const struct spec *f,
                       char align)
{
    int64_t pad = f->width - (int64_t)jstr_length(c, s), left;

    if (pad < 0)
        pad = 0;
    left = align == '>' ? pad : align == '^' ? pad / 2 : 0;
    for (int64_t i = 0; i < pad + 1; i++) {
        if (i == left)
            jsb_add_str(c, b, s);
        if (i < pad) {
            if (f->fill)
                jsb_add_str(c, b, f->fill);
            else
                jsb_add_cstr(c, b, " ");
        }
    }
}

static void add_text(struct jctx *c, struct jsb *b, const struct jstr *s, const struct spec *f)
{
    if (f->precision >= 0)
        s = jstr_part(c, s, 0, jstr_offset(c, s, (size_t)f->precision));
    add_padded(c, b, s, f, f->align ? f->align : '<');
}

/* Put separators between groups of three digits; `digits` ends at the first other character. */
static void group_digits(char *text, size_t cap, char comma)
{
    size_t n = strspn(text, "0123456789"), groups = n ? (n - 1) / 3 : 0, total = strlen(text);

    if (!comma || total + groups >= cap)
        return;
    memmove(text + n + groups, text + n, total - n + 1);
    for (size_t from = n, to = n + groups, k = 0; from > 0 && to > from; k++) {
        if (k && k % 3 == 0)
            text[--to] = comma;
        text[--to] = text[--from];
    }
}

static int binary_digits(char *out, uint64_t v)
{
    int n = 0;
    for (int bit = 63; bit >= 0; bit--) {
        if (n || !bit || v >> bit & 1)
            out[n++] = (char)('0' + (v >> bit & 1));
    }
    out[n] = 0;
    return n;
}

/* The magnitude of an integer; returns its prefix under '#'. */
static const char *int_digits(char *out, size_t cap, uint64_t v, char type)
{
    switch (type) {
    case 'x':
        snprintf(out, cap, "%llx", (unsigned long long)v);
        return "0x";
    case 'X':
        snprintf(out, cap, "%llX", (unsigned long long)v);
        return "0X";
    case 'o':
        snprintf(out, cap, "%llo", (unsigned long long)v);
        return "0o";
    case 'b':
        binary_digits(out, v);
        return "0b";
    default:
        snprintf(out, cap, "%llu", (unsigned long long)v);
        return "";
    }
}

static void float_digits(struct jctx *c, char *out, size_t cap, double v, const struct spec *f)
{
    char type = f->type, format[12];
    int precision = f->precision < 0 ? 6 : f->precision;

    if (precision > PRECISION_MAX)
        jctx_fail(c, ERR_LIMIT, "a format asks for more than %d digits", PRECISION_MAX);
    jctx_tick(c, NUMBER_STEPS);
    if (isnan(v) || isinf(v)) {
        snprintf(out, cap, "%s", isnan(v) ? "nan" : "inf");
        return;
    }
    if (type == 'n')
        type = 'g';
    snprintf(format, sizeof format, "%%%s.*%c%s", f->alt ? "#" : "", type == '%' ? 'f' : type,
             type == '%' ? "%%" : "");
    snprintf(out, cap, format, precision, type == '%' ? v * 100 : v);
}

/* sign + prefix + zeros + digits, then padded. */
static void add_digits(struct jctx *c, struct jsb *b, int negative, const char *prefix,
                       const char *digits, const struct spec *f)
{
    struct jsb *t = jsb_new(c, 32);
    const char *sign = negative ? "-" : f->sign == '+' ? "+" : f->sign == ' ' ? " " : "";

    jsb_add_cstr(c, t, sign);
    jsb_add_cstr(c, t, prefix);
    if (f->zero && !f->align) {
        for (size_t n = t->n + strlen(digits); (int64_t)n < f->width; n++)
            jsb_add_cstr(c, t, "0");
    }
    jsb_add_cstr(c, t, digits);
    add_padded(c, b, jsb_str(c, t), f, f->align && f->align != '=' ? f->align : '>');
}

static void add_number(struct jctx *c, struct jsb *b, struct jval v, const struct spec *f)
{
    char digits[512];
    const char *prefix = "";
    int negative;

    if (jval_is_integral(v) && (!f->type || strchr("dnxXobc", f->type))) {
        negative = v.i < 0;
        if (f->type == 'c') {
            struct jsb *t = jsb_new(c, 4);
            if (v.i < 0 || v.i > 0x10ffff || (v.i >= 0xd800 && v.i < 0xe000))
                jctx_fail(c, ERR_FORMAT, "%%c takes a character");
            jsb_add_cp(c, t, (uint32_t)v.i, 0);
            add_padded(c, b, jsb_str(c, t), f, f->align ? f->align : '<');
            return;
        }
        prefix =
            int_digits(digits, sizeof digits, negative ? -(uint64_t)v.i : (uint64_t)v.i, f->type);
    } else if (!f->type || !strchr("eEfFgGn%", f->type)) {
        struct jsb *t = jsb_new(c, 32);
        double d = jop_double(v);
        negative = signbit(d);
        if (f->type)
            jctx_fail(c, ERR_FORMAT, "unknown format code '%c' for a number", f->type);
        if (f->precision >= 0) {
            struct spec g = *f;
            g.type = 'g';
            float_digits(c, digits, sizeof digits, fabs(d), &g);
        } else {
            jsb_add_float(c, t, fabs(d));
            snprintf(digits, sizeof digits, "%.*s", (int)t->n, t->p);
        }
    } else {
        negative = signbit(jop_double(v));
        float_digits(c, digits, sizeof digits, fabs(jop_double(v)), f);
    }
    group_digits(digits, sizeof digits, f->comma);
    add_digits(c, b, negative, f->alt ? prefix : "", digits, f);
}

/* ---- "%s" % x -------------------------------------------------------------------------------- */

struct source {
    struct jval args;
    const struct jval *pos; /* positional ones */
    size_t n, next;
};

static struct jval next_arg(struct jctx *c, struct source *s)
{
    if (s->next >= s->n)
        jctx_fail(c, ERR_FORMAT, "not enough arguments for format string");
    return s->pos[s->next++];
}

static void percent_flags(const struct jstr *s, size_t *i, struct spec *f)
{
    for (; *i < s->n; ++*i) {
        switch (s->p[*i]) {
        case '-':
            f->align = '<';
            break;
        case '+':
            f->sign = '+';
            break;
        case ' ':
            f->sign = f->sign ? f->sign : ' ';
            break;
        case '#':
            f->alt = 1;
            break;
        case '0':
            f->zero = 1;
            break;
        default:
            return;
        }
    }
}

static void percent_value(struct jctx *c, struct jsb *b, struct jval v, struct spec *f)
{
    switch (f->type) {
    case 's':
    case 'r':
    case 'a': {
        struct jsb *t = jsb_new(c, 32);
        if (f->type == 's')
            jval_add_text(c, t, v);
        else
            jval_add_repr(c, t, v);
        f->align = f->align ? f->align : '>';
        add_text(c, b, jsb_str(c, t), f);
        return;
    }
    case 'c':
        if (v.type == JV_STR && jstr_length(c, v.s) == 1) {
            add_padded(c, b, v.s, f, f->align ? f->align : '>');
            return;
        }
        break;
    case 'i':
    case 'u':
        f->type = 'd';
        break;
    default:
        break;
    }
    if (!strchr("dxXoceEfFgG", f->type))
        jctx_fail(c, ERR_FORMAT, "unsupported format character '%c'", f->type);
    if (!jval_is_number(v) || (v.type == JV_FLOAT && strchr("xXoc", f->type)))
        jctx_fail(c, ERR_FORMAT, "%%%c format: a number is required, not %s", f->type,
                  jval_type_name(v));
    if (v.type == JV_FLOAT && f->type == 'd') {
        if (!(fabs(v.f) < 9e18))
            jctx_fail(c, ERR_LIMIT, "an integer does not fit in 64 bits");
        v = jval_int((int64_t)v.f);
    }
    add_number(c, b, v, f);
}

const struct jstr *jformat_percent(struct jctx *c, const struct jstr *s, struct jval args)
{
    struct jsb *b = jsb_new(c, s->n + 32);
    struct source src = {.args = args, .pos = &args, .n = 1};
    size_t from = 0;
    int named = 0;

    if (args.type == JV_TUPLE)
        src = (struct source){.args = args, .pos = args.l->v, .n = args.l->n};
    for (size_t i = 0; i < s->n;) {
        struct spec f = {.precision = -1};
        struct jval v = JUNDEF, *at;
        if (s->p[i++] != '%')
            continue;
        jsb_add_part(c, b, s, from, i - 1 - from);
        if (i < s->n && s->p[i] == '(' && args.type == JV_DICT) {
            const char *end = memchr(s->p + i, ')', s->n - i);
            const struct jstr *key;
            if (!end)
                jctx_fail(c, ERR_FORMAT, "incomplete format key");
            key = jstr_part(c, s, i + 1, (size_t)(end - s->p) - i - 1);
            if (!(at = jdict_find_str(c, args.d, key)))
                jctx_fail(c, ERR_FORMAT, "the format has no value for '%.*s'", (int)key->n, key->p);
            v = *at;
            named = 1;
            i += key->n + 2;
        }
        percent_flags(s, &i, &f);
        f.width = parse_count(c, s, &i);
        if (i < s->n && s->p[i] == '.') {
            i++;
            f.precision = parse_count(c, s, &i);
        }
        if (i >= s->n)
            jctx_fail(c, ERR_FORMAT, "incomplete format");
        f.type = s->p[i++];
        from = i;
        if (f.type == '%')
            jsb_add_part(c, b, s, i - 1, 1);
        else
            percent_value(c, b, named ? v : next_arg(c, &src), &f);
    }
    if (src.next < src.n && args.type != JV_DICT)
        jctx_fail(c, ERR_FORMAT, "not all arguments converted during string formatting");
    jsb_add_part(c, b, s, from, s->n - from);
    return jstr_mark(c, jsb_str(c, b), s->markup);
}

/* ---- "{}".format(x) -------------------------------------------------------------------------- */

static int is_align(char ch)
{
    return ch == '<' || ch == '>' || ch == '^' || ch == '=';
}

static void parse_spec(struct jctx *c, const struct jstr *s, struct spec *f)
{
    size_t i = 0, k = 0;
    uint32_t cp;

    *f = (struct spec){.precision = -1};
    if (s->n)
        k = (size_t)jstr_cp(s, 0, &cp);
    if (k < s->n && is_align(s->p[k])) {
        f->fill = jstr_part(c, s, 0, k);
        f->align = s->p[k];
        i = k + 1;
    } else if (s->n && is_align(s->p[0]))
        f->align = s->p[i++];
    if (i < s->n && strchr("+- ", s->p[i]))
        f->sign = s->p[i++];
    if (i < s->n && s->p[i] == '#')
        f->alt = (int)(i++, 1);
    if (i < s->n && s->p[i] == '0')
        f->zero = (int)(i++, 1);
    f->width = parse_count(c, s, &i);
    if (i < s->n && (s->p[i] == ',' || s->p[i] == '_'))
        f->comma = s->p[i++];
    if (i < s->n && s->p[i] == '.') {
        i++;
        f->precision = parse_count(c, s, &i);
    }
    if (i < s->n)
        f->type = s->p[i++];
    if (i < s->n)
        jctx_fail(c, ERR_FORMAT, "invalid format specifier '%.*s'", (int)s->n, s->p);
}

static void braces_value(struct jctx *c, struct jsb *b, struct jval v, const struct jstr *text)
{
    struct spec f;

    if (!text->n) {
        jval_add_text(c, b, v);
        return;
    }
    parse_spec(c, text, &f);
    if (v.type == JV_STR && (!f.type || f.type == 's'))
        add_text(c, b, v.s, &f);
    else if (jval_is_number(v) && f.type != 's') {
        if (v.type == JV_BOOL && !f.type)
            add_text(c, b, jval_text(c, v), &f);
        else
            add_number(c, b, v, &f);
    } else
        jctx_fail(c, ERR_FORMAT, "unsupported format string for %s", jval_type_name(v));
}

/* The value of "0", "name", "name.attr[key]" or "" (the next one). */
static struct jval field_value(struct jctx *c, const struct jstr *s, const struct jargs *a,
                               size_t *next)
{
    size_t i = 0, from;
    struct jval v = JUNDEF;
    const struct jstr *name;

    while (i < s->n && s->p[i] != '.' && s->p[i] != '[')
        i++;
    name = jstr_part(c, s, 0, i);
    if (!name->n || (name->p[0] >= '0' && name->p[0] <= '9')) {
        size_t at = 0;
        size_t k = name->n ? (at = (size_t)parse_count(c, name, &at)) : (*next)++;
        if (k >= a->n)
            jctx_fail(c, ERR_FORMAT, "replacement index %zu out of range", k);
        v = a->pos[k];
    } else {
        size_t k = 0;
        while (k < a->n_kw && !jstr_eq(a->kw[k].name, name))
            k++;
        if (k == a->n_kw)
            jctx_fail(c, ERR_FORMAT, "the format has no value for '%.*s'", (int)name->n, name->p);
        v = a->kw[k].v;
    }
    while (i < s->n) {
        char shut = s->p[i++] == '[' ? ']' : 0;
        from = i;
        while (i < s->n && (shut ? s->p[i] != ']' : s->p[i] != '.' && s->p[i] != '['))
            i++;
        name = jstr_part(c, s, from, i - from);
        if (shut && i++ >= s->n)
            jctx_fail(c, ERR_FORMAT, "expected ']' in a format");
        from = 0;
        if (shut && name->n && name->p[0] >= '0' && name->p[0] <= '9')
            v = jval_item(c, v, jval_int(parse_count(c, name, &from)));
        else
            v = shut ? jval_item(c, v, jval_str(name)) : jval_attr(c, v, name);
    }
    return v;
}

/* One {...} from the character after its brace; returns the position after the closing one. */
static size_t add_field(struct jctx *c, struct jsb *b, const struct jstr *s, size_t i,
                        const struct jargs *a, size_t *next)
{
    size_t from = i, conv, end = i;
    struct jval v;
    char how = 0;

    while (end < s->n && s->p[end] != '}') {
        if (s->p[end++] == '{')
            jctx_fail(c, ERR_UNSUPPORTED, "nested fields in format() are not supported");
    }
    if (end == s->n)
        jctx_fail(c, ERR_FORMAT, "expected '}' before end of string");
    while (i < end && s->p[i] != '!' && s->p[i] != ':')
        i++;
    v = field_value(c, jstr_part(c, s, from, i - from), a, next);
    conv = i;
    if (i < end && s->p[i] == '!') {
        how = i + 1 < end ? s->p[i + 1] : 0;
        conv = i + 2;
    }
    if (how && how != 's' && how != 'r')
        jctx_fail(c, ERR_UNSUPPORTED, "the conversion '!%c' in format() is not supported", how);
    if (how) {
        struct jsb *t = jsb_new(c, 32);
        if (how == 's')
            jval_add_text(c, t, v);
        else
            jval_add_repr(c, t, v);
        v = jval_str(jsb_str(c, t));
    }
    if (conv < end && s->p[conv] != ':')
        jctx_fail(c, ERR_FORMAT, "expected ':' after conversion specifier");
    conv += conv < end;
    braces_value(c, b, v, jstr_part(c, s, conv, end - conv));
    return end + 1;
}

const struct jstr *jformat_braces(struct jctx *c, const struct jstr *s, const struct jargs *a)
{
    struct jsb *b = jsb_new(c, s->n + 32);
    size_t next = 0, from = 0, i = 0;

    while (i < s->n) {
        char ch = s->p[i++];
        if (ch != '{' && ch != '}')
            continue;
        jsb_add_part(c, b, s, from, i - 1 - from);
        if (i < s->n && s->p[i] == ch) {
            from = i++;
            continue;
        }
        if (ch == '}')
            jctx_fail(c, ERR_FORMAT, "single '}' encountered in format string");
        from = i = add_field(c, b, s, i, a, &next);
    }
    jsb_add_part(c, b, s, from, s->n - from);
    return jstr_mark(c, jsb_str(c, b), s->markup);
}
