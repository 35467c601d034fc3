/* Filters over words: counted, cut, quoted. */
#include "text/jinja_filter.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* Runs of letters, digits and underscores, as Python's \w+ finds them. */
struct jval jfilter_wordcount(struct jctx *c, struct jval v, struct jval *a,
                              const struct jargs *raw)
{
    const struct jstr *s = jval_text(c, v);
    int64_t n = 0;
    int inside = 0;
    uint32_t cp;

    jctx_tick_each(c, s->n);
    for (size_t i = 0; i < s->n;) {
        int was = inside;
        i += (size_t)jstr_cp(s, i, &cp);
        inside = cp == '_' || jstr_is_alnum(cp);
        n += inside && !was;
    }
    return jval_int(n);
}

static int is_url_safe(char ch)
{
    return (ch >= 'a' && ch <= 'z') || (ch >= 'A' && ch <= 'Z') || (ch >= '0' && ch <= '9') ||
           (ch && strchr("_.-~", ch));
}

static void add_url(struct jctx *c, struct jsb *b, struct jval v, int in_query)
{
    const struct jstr *s = jval_text(c, v);
    char text[4];

    for (size_t i = 0; i < s->n; i++) {
        if (is_url_safe(s->p[i]) || (!in_query && s->p[i] == '/')) {
            jsb_add_part(c, b, s, i, 1);
            continue;
        }
        snprintf(text, sizeof text, "%%%02X", (uint8_t)s->p[i]);
        jsb_add_cstr(c, b, in_query && s->p[i] == ' ' ? "+" : text);
    }
}

/* A text as part of a URL's path; a mapping, or pairs, as its query. */
struct jval jfilter_urlencode(struct jctx *c, struct jval v, struct jval *a,
                              const struct jargs *raw)
{
    struct jsb *b = jsb_new(c, 64);
    struct jlist *l;

    if (v.type == JV_STR || !jval_iterable(v)) {
        add_url(c, b, v, 0);
        return jval_str(jsb_str(c, b));
    }
    l = v.type == JV_DICT ? NULL : jval_items(c, v);
    for (size_t i = 0, n = l ? l->n : v.d->n; i < n; i++) {
        struct jlist *pair = l ? jval_items(c, l->v[i]) : NULL;
        if (pair && pair->n != 2)
            jctx_fail(c, ERR_FORMAT, "urlencode needs pairs of key and value");
        if (i)
            jsb_add_cstr(c, b, "&");
        add_url(c, b, pair ? pair->v[0] : v.d->e[i].k, 1);
        jsb_add_cstr(c, b, "=");
        add_url(c, b, pair ? pair->v[1] : v.d->e[i].v, 1);
    }
    return jval_str(jsb_str(c, b));
}

/* At most `length` characters with `end` behind them, cut before the last word unless killwords;
 * `leeway` more are let through. */
struct jval jfilter_truncate(struct jctx *c, struct jval v, struct jval *a, const struct jargs *raw)
{
    int64_t length = jargs_int(c, a[0], 255), leeway = jargs_none(a[3]) ? 5 : jargs_int(c, a[3], 5);
    const struct jstr *end =
        a[2].type == JV_ABSENT ? jstr_new(c, "...", 3, JFROM_TRUSTED) : jargs_str(c, a[2]);
    const struct jstr *s, *blank = jstr_new(c, " ", 1, 0);
    int64_t n_end = (int64_t)jstr_length(c, end), n;
    size_t at;

    if (length < n_end || leeway < 0)
        jctx_fail(c, ERR_FORMAT, "truncate needs a length of at least that of its end");
    if (v.type == JV_UNDEF)
        return v;
    s = jargs_str(c, v);
    n = (int64_t)jstr_length(c, s);
    if (n <= length || n - length <= leeway)
        return v;
    s = jstr_part(c, s, 0, jstr_offset(c, s, (size_t)(length - n_end)));
    if (a[1].type == JV_ABSENT || !jval_true(a[1])) {
        at = jstr_rfind(c, s, blank, 0, s->n);
        s = at == SIZE_MAX ? s : jstr_part(c, s, 0, at);
    }
    return jval_str(jstr_concat(c, s, end));
}

struct jval jfilter_filesizeformat(struct jctx *c, struct jval v, struct jval *a,
                                   const struct jargs *raw)
{
    int binary = a[0].type != JV_ABSENT && jval_true(a[0]);
    double base = binary ? 1024 : 1000, bytes = 0, unit = base;
    const char *prefix = "kMGTPEZY";
    char text[400];

    if (jval_is_number(v))
        bytes = jop_double(v);
    else if (!jfilter_parse_float(c, jargs_str(c, v), &bytes))
        jctx_fail(c, ERR_FORMAT, "could not convert string to float");
    if (isnan(bytes) || isinf(bytes))
        jctx_fail(c, ERR_FORMAT, "filesizeformat needs a finite number");
    jctx_tick(c, NUMBER_STEPS);
    if (bytes == 1) {
        snprintf(text, sizeof text, "1 Byte");
    } else if (bytes < base) {
        snprintf(text, sizeof text, "%.0f Bytes", trunc(bytes) + 0.0); /* never -0 */
    } else {
        while (prefix[1] && bytes >= unit * base) {
            unit *= base;
            prefix++;
        }
        snprintf(text, sizeof text, "%.1f %c%sB", base * bytes / (unit * base),
                 binary && *prefix == 'k' ? 'K' : *prefix, binary ? "i" : "");
    }
    return jval_str(jstr_copy(c, text, strlen(text), 0));
}
