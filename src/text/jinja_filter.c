/* Filters on single values, and the table of all filters. */
#include "text/jinja_filter.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- through methods of strings -------------------------------------------------------------- */

static struct jval text_method(struct jctx *c, struct jval v, const char *name,
                               const struct jargs *a)
{
    struct jval s = jval_str(jval_text(c, v));
    return jmethod_call(c, jmethod_find(s, jstr_new(c, name, strlen(name), 1)), s, a);
}

#define TEXT_METHOD(name)                                                                          \
    static struct jval f_##name(struct jctx *c, struct jval v, struct jval *a,                     \
                                const struct jargs *raw)                                           \
    {                                                                                              \
        return text_method(c, v, #name, &(struct jargs){0});                                       \
    }
TEXT_METHOD(upper)
TEXT_METHOD(lower)
TEXT_METHOD(capitalize)

static struct jval f_trim(struct jctx *c, struct jval v, struct jval *a, const struct jargs *raw)
{
    return text_method(c, v, "strip", &(struct jargs){.pos = a, .n = !jargs_none(a[0])});
}

static struct jval f_center(struct jctx *c, struct jval v, struct jval *a, const struct jargs *raw)
{
    struct jval width = a[0].type == JV_ABSENT ? jval_int(80) : a[0];
    return text_method(c, v, "center", &(struct jargs){.pos = &width, .n = 1});
}

static struct jval f_replace(struct jctx *c, struct jval v, struct jval *a, const struct jargs *raw)
{
    struct jval pos[3] = {jval_str(jstr_mark(c, jval_text(c, a[0]), 0)),
                          jval_str(jstr_mark(c, jval_text(c, a[1]), 0)),
                          jargs_none(a[2]) ? jval_int(-1) : a[2]};
    struct jval s = jval_str(jstr_mark(c, jval_text(c, v), 0));

    return text_method(c, s, "replace", &(struct jargs){.pos = pos, .n = 3});
}

/* Words begin after white space, a hyphen or an opening bracket. */
static struct jval f_title(struct jctx *c, struct jval v, struct jval *a, const struct jargs *raw)
{
    const struct jstr *s = jval_text(c, v);
    struct jsb *b = jsb_new(c, s->n + 16);
    const struct jargs none = {0};
    size_t i = 0, k, from;
    uint32_t cp;

    jctx_tick_each(c, s->n);
    while (i < s->n) {
        for (from = i; i < s->n; i += k) {
            k = jstr_space_at(s->p + i, s->n - i);
            if (!k && !strchr("-({[<", s->p[i]))
                break;
            k = k ? k : 1;
        }
        jsb_add_part(c, b, s, from, i - from);
        for (from = i; i < s->n; i++) {
            if (jstr_space_at(s->p + i, s->n - i) || (s->p[i] && strchr("-({[<", s->p[i])))
                break;
        }
        if (from == i)
            break;
        k = (size_t)jstr_cp(s, from, &cp);
        jsb_add_str(c, b, text_method(c, jval_str(jstr_part(c, s, from, k)), "upper", &none).s);
        from += k;
        jsb_add_str(c, b,
                    text_method(c, jval_str(jstr_part(c, s, from, i - from)), "lower", &none).s);
    }
    return jval_str(jsb_str(c, b));
}

/* ---- text ------------------------------------------------------------------------------------ */

static struct jval f_string(struct jctx *c, struct jval v, struct jval *a, const struct jargs *raw)
{
    return jval_str(jval_text(c, v));
}

static struct jval f_safe(struct jctx *c, struct jval v, struct jval *a, const struct jargs *raw)
{
    return jval_str(jstr_mark(c, jval_text(c, v), 1));
}

static struct jval f_escape(struct jctx *c, struct jval v, struct jval *a, const struct jargs *raw)
{
    const struct jstr *s = jval_text(c, v);
    return jval_str(s->markup ? s : jstr_escape(c, s));
}

static struct jval f_forceescape(struct jctx *c, struct jval v, struct jval *a,
                                 const struct jargs *raw)
{
    return jval_str(jstr_escape(c, jval_text(c, v)));
}

static struct jval f_format(struct jctx *c, struct jval v, struct jval *a, const struct jargs *raw)
{
    struct jval args = jval_list(JV_TUPLE, jlist_new(c, raw->n));

    if (raw->n && raw->n_kw)
        jctx_fail(c, ERR_FORMAT, "can't handle positional and keyword arguments at the same time");
    for (size_t i = 0; i < raw->n; i++)
        jlist_add(c, args.l, raw->pos[i]);
    if (raw->n_kw) {
        args = jval_dict(jdict_new(c, raw->n_kw));
        for (size_t i = 0; i < raw->n_kw; i++)
            jdict_set(c, args.d, jval_str(raw->kw[i].name), raw->kw[i].v);
    }
    return jval_str(jformat_percent(c, jval_text(c, v), args));
}

/* n spaces; untrusted. */
static const struct jstr *spaces(struct jctx *c, int64_t n)
{
    struct jsb *b = jsb_new(c, 16);
    for (int64_t i = 0; i < n; i++)
        jsb_add_cstr(c, b, " ");
    return jsb_str(c, b);
}

static struct jval f_indent(struct jctx *c, struct jval v, struct jval *a, const struct jargs *raw)
{
    const struct jstr *s = jval_text(c, v), *by;
    int first = a[1].type != JV_ABSENT && jval_true(a[1]);
    int blank = a[2].type != JV_ABSENT && jval_true(a[2]);
    struct jsb *b = jsb_new(c, s->n + 64);
    struct jval lines;

    if (v.type != JV_STR)
        jctx_fail(c, ERR_FORMAT, "indent needs a string, not %s", jval_type_name(v));
    by = a[0].type == JV_STR ? a[0].s : spaces(c, jargs_int(c, a[0], 4));
    /* the final newline counts as one more, empty line */
    lines = text_method(c, jval_str(jstr_concat(c, s, jstr_new(c, "\n", 1, 0))), "splitlines",
                        &(struct jargs){0});
    for (size_t i = 0; i < lines.l->n; i++) {
        const struct jstr *line = lines.l->v[i].s;
        if (i)
            jsb_add(c, b, "\n", 1, 0);
        if (i ? line->n || blank : first)
            jsb_add_str(c, b, by);
        jsb_add_str(c, b, line);
    }
    return jval_str(jstr_mark(c, jsb_str(c, b), s->markup));
}

/* ---- JSON ------------------------------------------------------------------------------------ */

static struct jval f_tojson(struct jctx *c, struct jval v, struct jval *a, const struct jargs *raw)
{
    struct jsb *b = jsb_new(c, 256);
    struct jjson o = {.ascii = a[0].type != JV_ABSENT && jval_true(a[0]),
                      .sort = a[3].type != JV_ABSENT && jval_true(a[3])};

    if (!jargs_none(a[1]))
        o.indent = a[1].type == JV_STR ? a[1].s : spaces(c, jargs_int(c, a[1], 0));
    o.item_sep = jstr_new(c, ", ", o.indent ? 1 : 2, 0);
    o.key_sep = jstr_new(c, ": ", 2, 0);
    if (!jargs_none(a[2])) {
        struct jlist *l = jval_items(c, a[2]);
        if (l->n != 2)
            jctx_fail(c, ERR_FORMAT, "separators must be two strings");
        o.item_sep = jargs_str(c, l->v[0]);
        o.key_sep = jargs_str(c, l->v[1]);
    }
    jval_add_json(c, b, v, &o);
    return jval_str(jsb_str(c, b));
}

/* Not in Jinja2 or Hugging Face's set, but expected by some templates. */
static struct jval f_from_json(struct jctx *c, struct jval v, struct jval *a,
                               const struct jargs *raw)
{
    const struct jstr *s = jargs_str(c, v);
    json_error_t why;
    json_t *j;

    jctx_tick(c, 1 + s->n / 4);
    jctx_charge(c, json_cost(s->p, s->n)); /* before the first of it is taken */
    /* jansson would take a NUL after a number for its end, and quotes what it refuses. */
    j = memchr(s->p, 0, s->n) ? NULL : json_loadb(s->p, s->n, JSON_DECODE_ANY, &why);
    if (!j)
        jctx_fail(c, ERR_FORMAT, "from_json: not valid JSON");
    if (!c->parsed)
        c->parsed = json_array();
    if (json_array_append_new(c->parsed, j)) /* lives until the end; frees j on failure */
        jctx_fail(c, ERR_NOMEM, "out of memory");
    return jval_from_json(c, j, 0);
}

/* ---- numbers --------------------------------------------------------------------------------- */

/* Python's int(text, base) for 64 bits. 1: it is one. */
static int parse_int(struct jctx *c, const struct jstr *s, int64_t base, int64_t *ret)
{
    const char *p = s->p, *end = s->p + jstr_rspace(s->p, s->n);
    size_t k;
    int negative = 0, digits = 0;
    uint64_t v = 0;

    jctx_tick_each(c, s->n);
    while (p < end && (k = jstr_space_at(p, (size_t)(end - p))))
        p += k;
    if (p < end && (*p == '-' || *p == '+'))
        negative = *p++ == '-';
    if (end - p > 2 && *p == '0') {
        int b = (p[1] | 32) == 'x' ? 16 : (p[1] | 32) == 'o' ? 8 : (p[1] | 32) == 'b' ? 2 : 0;
        if (b && (base == b || !base)) {
            base = b;
            p += 2;
        }
    }
    base = base ? base : 10;
    for (; p < end; p++) {
        int d = *p >= '0' && *p <= '9'                 ? *p - '0'
                : (*p | 32) >= 'a' && (*p | 32) <= 'z' ? (*p | 32) - 'a' + 10
                                                       : 99;
        if (*p == '_' && digits && p + 1 < end && p[1] != '_')
            continue;
        if (d >= base)
            return 0;
        if (__builtin_mul_overflow(v, (uint64_t)base, &v) ||
            __builtin_add_overflow(v, (uint64_t)d, &v) || v > INT64_MAX)
            jctx_fail(c, ERR_LIMIT, "an integer does not fit in 64 bits");
        digits = 1;
    }
    *ret = negative ? -(int64_t)v : (int64_t)v;
    return digits;
}

int jfilter_parse_float(struct jctx *c, const struct jstr *s, double *ret)
{
    char text[128], *end;
    size_t n = 0, to = jstr_rspace(s->p, s->n), i = 0, k;

    jctx_tick_each(c, s->n);
    while (i < to && (k = jstr_space_at(s->p + i, to - i)))
        i += k;
    for (; i < to; i++) {
        if (s->p[i] == '_' && n && text[n - 1] >= '0' && text[n - 1] <= '9' && i + 1 < to &&
            s->p[i + 1] >= '0' && s->p[i + 1] <= '9')
            continue;
        if (n == sizeof text - 1 || !strchr("0123456789+-.eEinfatyINFATY", s->p[i]) || !s->p[i])
            return 0;
        text[n++] = s->p[i];
    }
    text[n] = 0;
    *ret = strtod(text, &end);
    return n && !*end;
}

static struct jval from_double(struct jctx *c, double d)
{
    if (!(d > -9.2e18 && d < 9.2e18))
        jctx_fail(c, ERR_LIMIT, "an integer does not fit in 64 bits");
    return jval_int((int64_t)d);
}

static struct jval f_int(struct jctx *c, struct jval v, struct jval *a, const struct jargs *raw)
{
    struct jval otherwise = a[0].type == JV_ABSENT ? jval_int(0) : a[0];
    int64_t i, base = jargs_int(c, a[1], 10);
    double d;

    jval_need_defined(c, v);
    if (jval_is_integral(v))
        return jval_int(v.i);
    if (v.type == JV_FLOAT)
        return isnan(v.f) ? otherwise : from_double(c, v.f);
    if (v.type != JV_STR)
        return otherwise;
    if (base && (base < 2 || base > 36))
        return otherwise;
    if (parse_int(c, v.s, base, &i))
        return jval_int(i);
    if (!jfilter_parse_float(c, v.s, &d) || isnan(d) || isinf(d))
        return otherwise;
    return from_double(c, d);
}

static struct jval f_float(struct jctx *c, struct jval v, struct jval *a, const struct jargs *raw)
{
    double d;

    jval_need_defined(c, v);
    if (jval_is_number(v))
        return jval_float(jop_double(v));
    if (v.type == JV_STR && jfilter_parse_float(c, v.s, &d))
        return jval_float(d);
    return a[0].type == JV_ABSENT ? jval_float(0) : a[0];
}

static struct jval f_abs(struct jctx *c, struct jval v, struct jval *a, const struct jargs *raw)
{
    if (v.type == JV_FLOAT)
        return jval_float(fabs(v.f));
    if (!jval_is_integral(v)) {
        jval_need_defined(c, v);
        jctx_fail(c, ERR_FORMAT, "bad operand type for abs(): '%s'", jval_type_name(v));
    }
    return jop_negate(c, v, v.i < 0 ? -1 : 1);
}

static struct jval f_round(struct jctx *c, struct jval v, struct jval *a, const struct jargs *raw)
{
    int64_t precision = jargs_int(c, a[0], 0);
    char text[400];
    double scale;

    if (!jval_is_number(v)) {
        jval_need_defined(c, v);
        jctx_fail(c, ERR_FORMAT, "round needs a number, not %s", jval_type_name(v));
    }
    if (precision < -15 || precision > 50)
        jctx_fail(c, ERR_LIMIT, "round to %lld digits", (long long)precision);
    scale = pow(10, (double)precision);
    if (a[1].type != JV_ABSENT && !(a[1].type == JV_STR && jstr_is(a[1].s, "common"))) {
        const struct jstr *how = jargs_str(c, a[1]);
        if (jstr_is(how, "ceil"))
            return jval_float(ceil(jop_double(v) * scale) / scale);
        if (jstr_is(how, "floor"))
            return jval_float(floor(jop_double(v) * scale) / scale);
        jctx_fail(c, ERR_FORMAT, "method must be common, ceil or floor");
    }
    if (jval_is_integral(v) && precision >= 0)
        return jval_int(v.i);
    if (jval_is_integral(v))
        return jval_int((int64_t)(nearbyint((double)v.i * scale) / scale));
    if (isnan(v.f) || isinf(v.f))
        return v;
    if (precision < 0)
        return jval_float(nearbyint(v.f * scale) / scale);
    snprintf(text, sizeof text, "%.*f", (int)precision, v.f); /* exact halves go to even */
    return jval_float(strtod(text, NULL));
}

static struct jval f_default(struct jctx *c, struct jval v, struct jval *a, const struct jargs *raw)
{
    int falsy = a[1].type != JV_ABSENT && jval_true(a[1]) && !jval_true(v);

    if (v.type != JV_UNDEF && !falsy)
        return v;
    return a[0].type == JV_ABSENT ? jval_str(jstr_new(c, "", 0, 1)) : a[0];
}

static struct jval f_attr(struct jctx *c, struct jval v, struct jval *a, const struct jargs *raw)
{
    return jval_own_attr(c, v, jval_text(c, a[0]));
}

const struct jmethod *jfilter_find(const struct jstr *name)
{
    static const struct jmethod table[] = {
        {"abs", "", f_abs},
        {"attr", "!name", f_attr},
        {"batch", "!linecount,fill_with", jfilter_batch},
        {"capitalize", "", f_capitalize},
        {"center", "width", f_center},
        {"count", "", jfilter_length},
        {"d", "default_value,boolean", f_default},
        {"default", "default_value,boolean", f_default},
        {"dictsort", "case_sensitive,by,reverse", jfilter_dictsort},
        {"e", "", f_escape},
        {"escape", "", f_escape},
        {"filesizeformat", "binary", jfilter_filesizeformat},
        {"first", "", jfilter_first},
        {"float", "default", f_float},
        {"forceescape", "", f_forceescape},
        {"format", NULL, f_format},
        {"from_json", "", f_from_json},
        {"groupby", "!attribute,default,case_sensitive", jfilter_groupby},
        {"indent", "width,first,blank", f_indent},
        {"int", "default,base", f_int},
        {"items", "", jfilter_items},
        {"join", "d,attribute", jfilter_join},
        {"last", "", jfilter_last},
        {"length", "", jfilter_length},
        {"list", "", jfilter_list},
        {"lower", "", f_lower},
        {"map", NULL, jfilter_map},
        {"max", "case_sensitive,attribute", jfilter_max},
        {"min", "case_sensitive,attribute", jfilter_min},
        {"reject", NULL, jfilter_reject},
        {"rejectattr", NULL, jfilter_rejectattr},
        {"replace", "!old,!new,count", f_replace},
        {"reverse", "", jfilter_reverse},
        {"round", "precision,method", f_round},
        {"safe", "", f_safe},
        {"select", NULL, jfilter_select},
        {"selectattr", NULL, jfilter_selectattr},
        {"slice", "!slices,fill_with", jfilter_slice},
        {"sort", "reverse,case_sensitive,attribute", jfilter_sort},
        {"string", "", f_string},
        {"sum", "attribute,start", jfilter_sum},
        {"title", "", f_title},
        {"tojson", "ensure_ascii,indent,separators,sort_keys", f_tojson},
        {"trim", "chars", f_trim},
        {"truncate", "length,killwords,end,leeway", jfilter_truncate},
        {"unique", "case_sensitive,attribute", jfilter_unique},
        {"upper", "", f_upper},
        {"urlencode", "", jfilter_urlencode},
        {"wordcount", "", jfilter_wordcount},
        /* in Jinja2, without use in chat templates: fail when they run */
        {"pprint", NULL, NULL},
        {"random", NULL, NULL},
        {"striptags", NULL, NULL},
        {"urlize", NULL, NULL},
        {"wordwrap", NULL, NULL},
        {"xmlattr", NULL, NULL},
    };

    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        if (jstr_is(name, table[i].name))
            return &table[i];
    }
    return NULL;
}
