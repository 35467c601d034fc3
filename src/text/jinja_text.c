/* How values read as text: Python's str() and repr(), and json.dumps(). */
#include "text/jinja_core.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void jsb_add_float(struct jctx *c, struct jsb *b, double f)
{
    char text[64], d[24];
    int prec = 0, n = 0, exp;
    const char *sign = signbit(f) ? "-" : "";

    if (isnan(f) || isinf(f)) {
        jsb_add_cstr(c, b, isnan(f) ? "nan" : f < 0 ? "-inf" : "inf");
        return;
    }
    jctx_tick(c, NUMBER_STEPS);
    do /* the fewest digits that read back as the same number */
        snprintf(text, sizeof text, "%.*e", prec, fabs(f));
    while (strtod(text, NULL) != fabs(f) && ++prec < 17);
    exp = (int)strtol(strchr(text, 'e') + 1, NULL, 10);
    for (const char *p = text; *p != 'e'; p++) {
        if (*p >= '0' && *p <= '9')
            d[n++] = *p;
    }
    if (exp < -4 || exp >= 16)
        snprintf(text, sizeof text, "%s%c%s%.*se%c%02d", sign, d[0], n > 1 ? "." : "", n - 1, d + 1,
                 exp < 0 ? '-' : '+', abs(exp));
    else if (exp < 0)
        snprintf(text, sizeof text, "%s0.%.*s%.*s", sign, -exp - 1, "0000", n, d);
    else if (n <= exp + 1)
        snprintf(text, sizeof text, "%s%.*s%.*s.0", sign, n, d, exp + 1 - n, "0000000000000000");
    else
        snprintf(text, sizeof text, "%s%.*s.%.*s", sign, exp + 1, d, n - exp - 1, d + exp + 1);
    jsb_add_cstr(c, b, text);
}

static void add_int(struct jctx *c, struct jsb *b, int64_t i)
{
    char text[24];
    snprintf(text, sizeof text, "%lld", (long long)i);
    jsb_add_cstr(c, b, text);
}

/* ---- repr ------------------------------------------------------------------------------------ */

static void add_hex(struct jctx *c, struct jsb *b, const char *lead, uint32_t v, int width)
{
    char text[16];
    snprintf(text, sizeof text, "%s%0*x", lead, width, v);
    jsb_add_cstr(c, b, text);
}

static void repr_str(struct jctx *c, struct jsb *b, const struct jstr *s)
{
    const char *quote;
    size_t from = 0;

    jctx_tick_each(c, s->n);
    quote = memchr(s->p, '\'', s->n) && !memchr(s->p, '"', s->n) ? "\"" : "'";
    jsb_add_cstr(c, b, quote);
    for (size_t i = 0; i < s->n;) {
        uint32_t cp;
        size_t k = (size_t)jstr_cp(s, i, &cp);
        const char *esc = cp == '\\'                ? "\\\\"
                          : cp == (uint8_t)quote[0] ? (cp == '"' ? "\\\"" : "\\'")
                          : cp == '\n'              ? "\\n"
                          : cp == '\r'              ? "\\r"
                          : cp == '\t'              ? "\\t"
                                                    : NULL;
        if (esc || !(cp < 0x80 ? cp >= ' ' && cp < 0x7f : jstr_is_printable(cp))) {
            jsb_add_part(c, b, s, from, i - from);
            from = i + k;
            if (esc)
                jsb_add_cstr(c, b, esc);
            else if (cp < 0x100)
                add_hex(c, b, "\\x", cp, 2);
            else
                add_hex(c, b, cp < 0x10000 ? "\\u" : "\\U", cp, cp < 0x10000 ? 4 : 8);
        }
        i += k;
    }
    jsb_add_part(c, b, s, from, s->n - from);
    jsb_add_cstr(c, b, quote);
}

static void repr_list(struct jctx *c, struct jsb *b, const struct jlist *l, const char *open,
                      const char *shut)
{
    jsb_add_cstr(c, b, open);
    for (size_t i = 0; i < l->n; i++) {
        if (i)
            jsb_add_cstr(c, b, ", ");
        jval_add_repr(c, b, l->v[i]);
    }
    jsb_add_cstr(c, b, shut);
}

static void repr_dict(struct jctx *c, struct jsb *b, const struct jdict *d)
{
    jsb_add_cstr(c, b, "{");
    for (size_t i = 0; i < d->n; i++) {
        if (i)
            jsb_add_cstr(c, b, ", ");
        jval_add_repr(c, b, d->e[i].k);
        jsb_add_cstr(c, b, ": ");
        jval_add_repr(c, b, d->e[i].v);
    }
    jsb_add_cstr(c, b, "}");
}

static void repr_range(struct jctx *c, struct jsb *b, struct jval v)
{
    int64_t step = v.l->n > 1 ? v.l->v[1].i - v.l->v[0].i : 1;
    int64_t from = v.l->n ? v.l->v[0].i : 0;

    jsb_add_cstr(c, b, "range(");
    add_int(c, b, from);
    jsb_add_cstr(c, b, ", ");
    add_int(c, b, v.l->n ? v.l->v[v.l->n - 1].i + (step < 0 ? -1 : 1) : from);
    if (step != 1) {
        jsb_add_cstr(c, b, ", ");
        add_int(c, b, step);
    }
    jsb_add_cstr(c, b, ")");
}

void jval_add_repr(struct jctx *c, struct jsb *b, struct jval v)
{
    static const char *const views[] = {"dict_keys([", "dict_values([", "dict_items(["};

    jctx_tick(c, 1);
    jctx_value_enter(c);
    switch ((enum jtype)v.type) {
    case JV_UNDEF:
        jsb_add_cstr(c, b, "Undefined");
        break;
    case JV_NONE:
        jsb_add_cstr(c, b, "None");
        break;
    case JV_BOOL:
        jsb_add_cstr(c, b, v.i ? "True" : "False");
        break;
    case JV_INT:
        add_int(c, b, v.i);
        break;
    case JV_FLOAT:
        jsb_add_float(c, b, v.f);
        break;
    case JV_STR:
        if (v.s->markup)
            jsb_add_cstr(c, b, "Markup(");
        repr_str(c, b, v.s);
        if (v.s->markup)
            jsb_add_cstr(c, b, ")");
        break;
    case JV_LIST:
        repr_list(c, b, v.l, "[", "]");
        break;
    case JV_TUPLE:
        repr_list(c, b, v.l, "(", v.l->n == 1 ? ",)" : ")");
        break;
    case JV_RANGE:
        repr_range(c, b, v);
        break;
    case JV_VIEW:
        repr_list(c, b, v.l, views[v.sub], "])");
        break;
    case JV_DICT:
        repr_dict(c, b, v.d);
        break;
    case JV_NS:
        jsb_add_cstr(c, b, "<Namespace ");
        repr_dict(c, b, v.d);
        jsb_add_cstr(c, b, ">");
        break;
    default: /* Python prints an address here: surely a mistake in the template */
        jctx_fail(c, ERR_FORMAT, "a %s cannot be printed", jval_type_name(v));
    }
    c->value_depth--;
}

void jval_add_text(struct jctx *c, struct jsb *b, struct jval v)
{
    if (v.type == JV_STR)
        jsb_add_str(c, b, v.s);
    else if (v.type != JV_UNDEF)
        jval_add_repr(c, b, v);
}

const struct jstr *jval_text(struct jctx *c, struct jval v)
{
    struct jsb *b;

    if (v.type == JV_STR)
        return v.s;
    b = jsb_new(c, 32);
    jval_add_text(c, b, v);
    return jsb_str(c, b);
}

/* ---- JSON ------------------------------------------------------------------------------------ */

static void json_escape(struct jctx *c, struct jsb *b, uint32_t cp)
{
    static const char from[] = "\"\\\n\r\t\f\b", to[] = "\"\\nrtfb";
    const char *at = cp && cp < 0x80 ? strchr(from, (int)cp) : NULL;

    if (at)
        jsb_add(c, b, (char[]){'\\', to[at - from]}, 2, 0);
    else if (cp < 0x10000)
        add_hex(c, b, "\\u", cp, 4);
    else {
        add_hex(c, b, "\\u", 0xd7c0 + (cp >> 10), 4);
        add_hex(c, b, "\\u", 0xdc00 + (cp & 0x3ff), 4);
    }
}

static void json_str(struct jctx *c, struct jsb *b, const struct jstr *s, int ascii)
{
    size_t from = 0;

    jctx_tick_each(c, s->n);
    jsb_add_cstr(c, b, "\"");
    for (size_t i = 0; i < s->n;) {
        uint32_t cp = (uint8_t)s->p[i];
        size_t k = cp < 0x80 ? 1 : (size_t)jstr_cp(s, i, &cp);
        if (cp < ' ' || cp == '"' || cp == '\\' || (ascii && cp > '~')) {
            jsb_add_part(c, b, s, from, i - from);
            json_escape(c, b, cp);
            from = i + k;
        }
        i += k;
    }
    jsb_add_part(c, b, s, from, s->n - from);
    jsb_add_cstr(c, b, "\"");
}

static void json_number(struct jctx *c, struct jsb *b, struct jval v)
{
    if (v.type == JV_INT)
        add_int(c, b, v.i);
    else if (v.type == JV_BOOL)
        jsb_add_cstr(c, b, v.i ? "true" : "false");
    else if (isnan(v.f) || isinf(v.f))
        jsb_add_cstr(c, b, isnan(v.f) ? "NaN" : v.f < 0 ? "-Infinity" : "Infinity");
    else
        jsb_add_float(c, b, v.f);
}

static void json_newline(struct jctx *c, struct jsb *b, const struct jjson *o, int depth)
{
    if (!o->indent)
        return;
    jsb_add_cstr(c, b, "\n");
    for (int i = 0; i < depth; i++)
        jsb_add_str(c, b, o->indent);
}

static void json_value(struct jctx *c, struct jsb *b, struct jval v, const struct jjson *o,
                       int depth);

static void json_list(struct jctx *c, struct jsb *b, const struct jlist *l, const struct jjson *o,
                      int depth)
{
    jsb_add_cstr(c, b, "[");
    for (size_t i = 0; i < l->n; i++) {
        if (i)
            jsb_add_str(c, b, o->item_sep);
        json_newline(c, b, o, depth + 1);
        json_value(c, b, l->v[i], o, depth + 1);
    }
    if (l->n)
        json_newline(c, b, o, depth);
    jsb_add_cstr(c, b, "]");
}

static void json_key(struct jctx *c, struct jsb *b, struct jval k, const struct jjson *o)
{
    if (k.type == JV_STR)
        json_str(c, b, k.s, o->ascii);
    else if (k.type == JV_NONE)
        jsb_add_cstr(c, b, "\"null\"");
    else if (jval_is_number(k)) {
        jsb_add_cstr(c, b, "\"");
        json_number(c, b, k);
        jsb_add_cstr(c, b, "\"");
    } else
        jctx_fail(c, ERR_FORMAT, "keys must be str, int, float, bool or None, not %s",
                  jval_type_name(k));
}

/* A sorted copy, by merge sort. */
static struct jdict *sorted(struct jctx *c, const struct jdict *d)
{
    struct jdict *r = jdict_copy(c, d);
    struct jentry *a = r->e, *tmp = jctx_array(c, r->n + 1, sizeof *tmp), *swap;

    for (size_t w = 1; w < r->n; w *= 2) {
        for (size_t lo = 0; lo < r->n; lo += 2 * w) {
            size_t mid = lo + w < r->n ? lo + w : r->n, hi = mid + w < r->n ? mid + w : r->n;
            size_t i = lo, j = mid, k = lo;
            while (i < mid || j < hi)
                tmp[k++] =
                    j == hi || (i < mid && jval_cmp(c, a[i].k, a[j].k, "<") <= 0) ? a[i++] : a[j++];
        }
        swap = a;
        a = tmp;
        tmp = swap;
    }
    r->e = a;
    return r;
}

static void json_dict(struct jctx *c, struct jsb *b, const struct jdict *d, const struct jjson *o,
                      int depth)
{
    if (o->sort)
        d = sorted(c, d);
    jsb_add_cstr(c, b, "{");
    for (size_t i = 0; i < d->n; i++) {
        if (i)
            jsb_add_str(c, b, o->item_sep);
        json_newline(c, b, o, depth + 1);
        json_key(c, b, d->e[i].k, o);
        jsb_add_str(c, b, o->key_sep);
        json_value(c, b, d->e[i].v, o, depth + 1);
    }
    if (d->n)
        json_newline(c, b, o, depth);
    jsb_add_cstr(c, b, "}");
}

static void json_value(struct jctx *c, struct jsb *b, struct jval v, const struct jjson *o,
                       int depth)
{
    jctx_tick(c, 1);
    jctx_value_enter(c);
    switch ((enum jtype)v.type) {
    case JV_NONE:
        jsb_add_cstr(c, b, "null");
        break;
    case JV_BOOL:
    case JV_INT:
    case JV_FLOAT:
        json_number(c, b, v);
        break;
    case JV_STR:
        json_str(c, b, v.s, o->ascii);
        break;
    case JV_LIST:
    case JV_TUPLE:
        json_list(c, b, v.l, o, depth);
        break;
    case JV_DICT:
        json_dict(c, b, v.d, o, depth);
        break;
    default:
        if (v.type == JV_UNDEF)
            jval_need_defined(c, v);
        jctx_fail(c, ERR_FORMAT, "Object of type %s is not JSON serializable", jval_type_name(v));
    }
    c->value_depth--;
}

void jval_add_json(struct jctx *c, struct jsb *b, struct jval v, const struct jjson *o)
{
    json_value(c, b, v, o, 0);
}
