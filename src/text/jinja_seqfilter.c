/* Filters over sequences: choosing, mapping, ordering, grouping. */
#include "text/jinja_filter.h"

#include <string.h>

static struct jval iterator(struct jlist *l)
{
    return jval_list(JV_ITER, l);
}

/* ---- attributes by path ---------------------------------------------------------------------- */

/* v.a.b.0 for the path "a.b.0"; `otherwise` (absent or None: none) replaces undefined steps. */
static struct jval by_path(struct jctx *c, struct jval v, struct jval path, struct jval otherwise)
{
    const struct jstr *s = path.s;
    size_t from = 0, to;

    if (jargs_none(path))
        return v;
    if (path.type != JV_STR)
        return jval_item(c, v, path);
    jctx_tick_each(c, s->n);
    do {
        const struct jstr *part;
        size_t digits = 0;
        int64_t i = 0;
        for (to = from; to < s->n && s->p[to] != '.'; to++)
            continue;
        part = jstr_part(c, s, from, to - from);
        while (digits < part->n && digits < 18 && part->p[digits] >= '0' && part->p[digits] <= '9')
            i = i * 10 + part->p[digits++] - '0';
        v = jval_item(c, v, part->n && digits == part->n ? jval_int(i) : jval_str(part));
        if (v.type == JV_UNDEF && !jargs_none(otherwise))
            v = otherwise;
        from = to + 1;
    } while (to < s->n);
    return v;
}

static struct jval fold_case(struct jctx *c, struct jval v, int case_sensitive)
{
    const struct jargs none = {0};

    if (case_sensitive || v.type != JV_STR)
        return v;
    return jmethod_call(c, jmethod_find(v, jstr_new(c, "lower", 5, 1)), v, &none);
}

/* The sort key "a,b.c": a list of values. */
static struct jval sort_key(struct jctx *c, struct jval v, struct jval attribute,
                            int case_sensitive)
{
    struct jlist *l = jlist_new(c, 1);
    const struct jstr *s = attribute.s;
    const struct jval none = {.type = JV_ABSENT};
    size_t from = 0, to;

    if (attribute.type != JV_STR) {
        jlist_add(c, l, fold_case(c, by_path(c, v, attribute, none), case_sensitive));
        return jval_list(JV_LIST, l);
    }
    jctx_tick_each(c, s->n);
    do {
        struct jval path;
        for (to = from; to < s->n && s->p[to] != ','; to++)
            continue;
        path = jval_str(jstr_part(c, s, from, to - from));
        jlist_add(c, l, fold_case(c, by_path(c, v, path, none), case_sensitive));
        from = to + 1;
    } while (to < s->n);
    return jval_list(JV_LIST, l);
}

/* ---- order ----------------------------------------------------------------------------------- */

struct keyed {
    struct jval key, v;
};

/* Stable, also in reverse, as Python's. */
static struct jlist *sort_keyed(struct jctx *c, struct keyed *a, size_t n, int reverse)
{
    struct keyed *tmp = jctx_array(c, n + 1, sizeof *tmp), *swap;
    struct jlist *l = jlist_new(c, n);

    for (size_t w = 1; w < n; w *= 2) {
        for (size_t lo = 0; lo < n; lo += 2 * w) {
            size_t mid = lo + w < n ? lo + w : n, hi = mid + w < n ? mid + w : n;
            size_t i = lo, j = mid, k = lo;
            while (i < mid && j < hi) {
                int r = reverse ? jval_cmp(c, a[i].key, a[j].key, "<")
                                : jval_cmp(c, a[j].key, a[i].key, "<");
                tmp[k++] = r < 0 ? a[j++] : a[i++];
            }
            while (i < mid)
                tmp[k++] = a[i++];
            while (j < hi)
                tmp[k++] = a[j++];
        }
        swap = a;
        a = tmp;
        tmp = swap;
    }
    for (size_t i = 0; i < n; i++)
        jlist_add(c, l, a[i].v);
    return l;
}

static int flag(struct jval v)
{
    return v.type != JV_ABSENT && jval_true(v);
}

struct jval jfilter_sort(struct jctx *c, struct jval v, struct jval *a, const struct jargs *raw)
{
    struct jlist *l = jval_items(c, v);
    struct keyed *k = jctx_array(c, l->n + 1, sizeof *k);

    for (size_t i = 0; i < l->n; i++)
        k[i] = (struct keyed){sort_key(c, l->v[i], a[2], flag(a[1])), l->v[i]};
    return jval_list(JV_LIST, sort_keyed(c, k, l->n, flag(a[0])));
}

struct jval jfilter_dictsort(struct jctx *c, struct jval v, struct jval *a, const struct jargs *raw)
{
    int by_value = 0;
    struct keyed *k;

    if (v.type != JV_DICT) {
        jval_need_defined(c, v);
        jctx_fail(c, ERR_FORMAT, "dictsort needs a mapping, not %s", jval_type_name(v));
    }
    if (a[1].type != JV_ABSENT) {
        by_value = a[1].type == JV_STR && jstr_is(a[1].s, "value");
        if (!by_value && !(a[1].type == JV_STR && jstr_is(a[1].s, "key")))
            jctx_fail(c, ERR_FORMAT, "You can only sort by either \"key\" or \"value\"");
    }
    k = jctx_array(c, v.d->n + 1, sizeof *k);
    for (size_t i = 0; i < v.d->n; i++) {
        const struct jentry *e = &v.d->e[i];
        k[i].key = fold_case(c, by_value ? e->v : e->k, flag(a[0]));
        k[i].v = jlist_pair(c, e->k, e->v);
    }
    return jval_list(JV_LIST, sort_keyed(c, k, v.d->n, flag(a[2])));
}

struct jval jfilter_unique(struct jctx *c, struct jval v, struct jval *a, const struct jargs *raw)
{
    const struct jval none = {.type = JV_ABSENT};
    struct jlist *l = jval_items(c, v), *out = jlist_new(c, l->n);
    struct jdict *seen = jdict_new(c, l->n);

    for (size_t i = 0; i < l->n; i++) {
        struct jval key = fold_case(c, by_path(c, l->v[i], a[1], none), flag(a[0]));
        if (jdict_find(c, seen, key))
            continue;
        jdict_set(c, seen, key, JNONE);
        jlist_add(c, out, l->v[i]);
    }
    return iterator(out);
}

static struct jval extreme(struct jctx *c, struct jval v, struct jval *a, int want_max)
{
    const struct jval none = {.type = JV_ABSENT};
    struct jlist *l = jval_items(c, v);
    struct jval best = JUNDEF, best_key = JUNDEF;

    for (size_t i = 0; i < l->n; i++) {
        struct jval key = fold_case(c, by_path(c, l->v[i], a[1], none), flag(a[0]));
        if (i && (want_max ? jval_cmp(c, key, best_key, ">") <= 0
                           : jval_cmp(c, key, best_key, "<") >= 0))
            continue;
        best = l->v[i];
        best_key = key;
    }
    return best;
}

struct jval jfilter_min(struct jctx *c, struct jval v, struct jval *a, const struct jargs *raw)
{
    return extreme(c, v, a, 0);
}

struct jval jfilter_max(struct jctx *c, struct jval v, struct jval *a, const struct jargs *raw)
{
    return extreme(c, v, a, 1);
}

struct jval jfilter_groupby(struct jctx *c, struct jval v, struct jval *a, const struct jargs *raw)
{
    struct jlist *l = jval_items(c, v), *out = jlist_new(c, 4), *group = NULL;
    struct keyed *k = jctx_array(c, l->n + 1, sizeof *k);
    struct jval key, last = JUNDEF, real;

    for (size_t i = 0; i < l->n; i++)
        k[i] = (struct keyed){fold_case(c, by_path(c, l->v[i], a[0], a[1]), flag(a[2])), l->v[i]};
    l = sort_keyed(c, k, l->n, 0);
    for (size_t i = 0; i < l->n; i++) {
        real = by_path(c, l->v[i], a[0], a[1]);
        key = fold_case(c, real, flag(a[2]));
        if (!group || !jval_eq(c, key, last)) {
            struct jval pair;
            group = jlist_new(c, 4);
            pair = jlist_pair(c, real, jval_list(JV_LIST, group));
            pair.sub = 1; /* has .grouper and .list */
            jlist_add(c, out, pair);
        }
        jlist_add(c, group, l->v[i]);
        last = key;
    }
    return jval_list(JV_LIST, out);
}

/* ---- map and select -------------------------------------------------------------------------- */

/* The rest of the arguments after the first n. */
static struct jargs rest(const struct jargs *a, size_t n)
{
    struct jargs r = *a;
    r.pos += n;
    r.n -= n;
    return r;
}

static const struct jmethod *named(struct jctx *c, const char *what, struct jval name,
                                   const struct jmethod *(*find)(const struct jstr *))
{
    const struct jmethod *m = find(jargs_str(c, name));
    if (!m)
        jctx_fail(c, ERR_UNSUPPORTED, "there is no %s named '%.*s'", what,
                  name.s->n > 60 ? 60 : (int)name.s->n, name.s->p);
    if (!m->call)
        jctx_fail(c, ERR_UNSUPPORTED, "the %s '%s' is not supported", what, m->name);
    return m;
}

struct jval jfilter_map(struct jctx *c, struct jval v, struct jval *unused, const struct jargs *raw)
{
    struct jlist *l, *out;
    struct jval a[JBIND_MAX];
    const struct jmethod *m = NULL;
    struct jargs more;

    if (raw->n) {
        m = named(c, "filter", raw->pos[0], jfilter_find);
        more = rest(raw, 1);
    } else
        jargs_bind(c, "map", "!attribute,default", raw, a);
    l = jval_items(c, v);
    out = jlist_new(c, l->n);
    for (size_t i = 0; i < l->n; i++)
        jlist_add(c, out, m ? jmethod_call(c, m, l->v[i], &more) : by_path(c, l->v[i], a[0], a[1]));
    return iterator(out);
}

static struct jval choose(struct jctx *c, struct jval v, const struct jargs *raw, int by_attr,
                          int want)
{
    const struct jval none = {.type = JV_ABSENT};
    struct jlist *l, *out = jlist_new(c, 8);
    const struct jmethod *m = NULL;
    struct jargs more = {0};
    size_t n = (size_t)by_attr;

    if (!jval_true(v))
        return iterator(out);
    if (raw->n < n)
        jctx_fail(c, ERR_FORMAT, "Missing parameter for attribute name");
    if (raw->n > n) {
        m = named(c, "test", raw->pos[n], jtest_find);
        more = rest(raw, n + 1);
    }
    l = jval_items(c, v);
    for (size_t i = 0; i < l->n; i++) {
        struct jval x = by_attr ? by_path(c, l->v[i], raw->pos[0], none) : l->v[i];
        jctx_tick(c, 1);
        if (jval_true(m ? jmethod_call(c, m, x, &more) : x) == want)
            jlist_add(c, out, l->v[i]);
    }
    return iterator(out);
}

struct jval jfilter_select(struct jctx *c, struct jval v, struct jval *a, const struct jargs *raw)
{
    return choose(c, v, raw, 0, 1);
}

struct jval jfilter_reject(struct jctx *c, struct jval v, struct jval *a, const struct jargs *raw)
{
    return choose(c, v, raw, 0, 0);
}

struct jval jfilter_selectattr(struct jctx *c, struct jval v, struct jval *a,
                               const struct jargs *raw)
{
    return choose(c, v, raw, 1, 1);
}

struct jval jfilter_rejectattr(struct jctx *c, struct jval v, struct jval *a,
                               const struct jargs *raw)
{
    return choose(c, v, raw, 1, 0);
}

/* ---- the rest -------------------------------------------------------------------------------- */

struct jval jfilter_join(struct jctx *c, struct jval v, struct jval *a, const struct jargs *raw)
{
    const struct jval none = {.type = JV_ABSENT};
    struct jlist *l = jval_items(c, v);
    struct jsb *b = jsb_new(c, 64);
    const struct jstr *sep = a[0].type == JV_ABSENT ? NULL : jval_text(c, a[0]);

    for (size_t i = 0; i < l->n; i++) {
        jctx_tick(c, 1);
        if (i && sep)
            jsb_add_str(c, b, sep);
        jval_add_text(c, b, by_path(c, l->v[i], a[1], none));
    }
    return jval_str(jsb_str(c, b));
}

struct jval jfilter_sum(struct jctx *c, struct jval v, struct jval *a, const struct jargs *raw)
{
    const struct jval none = {.type = JV_ABSENT};
    struct jlist *l = jval_items(c, v);
    struct jval sum = a[1].type == JV_ABSENT ? jval_int(0) : a[1];

    for (size_t i = 0; i < l->n; i++)
        sum = jop_binary(c, JOP_ADD, sum, by_path(c, l->v[i], a[0], none));
    return sum;
}

struct jval jfilter_first(struct jctx *c, struct jval v, struct jval *a, const struct jargs *raw)
{
    struct jlist *l;

    if (v.type == JV_ITER)
        return v.l->at < v.l->n ? v.l->v[v.l->at++] : JUNDEF;
    if (v.type == JV_STR)
        return jval_item(c, v, jval_int(0));
    l = jval_items(c, v);
    return l->n ? l->v[0] : JUNDEF;
}

struct jval jfilter_last(struct jctx *c, struct jval v, struct jval *a, const struct jargs *raw)
{
    struct jlist *l;

    if (v.type == JV_ITER)
        jctx_fail(c, ERR_FORMAT, "'generator' object is not reversible");
    if (v.type == JV_STR)
        return jval_item(c, v, jval_int(-1));
    l = jval_items(c, v);
    return l->n ? l->v[l->n - 1] : JUNDEF;
}

struct jval jfilter_list(struct jctx *c, struct jval v, struct jval *a, const struct jargs *raw)
{
    struct jlist *from = jval_items(c, v), *l = jlist_new(c, from->n);

    for (size_t i = 0; i < from->n; i++)
        jlist_add(c, l, from->v[i]);
    return jval_list(JV_LIST, l);
}

struct jval jfilter_reverse(struct jctx *c, struct jval v, struct jval *a, const struct jargs *raw)
{
    struct jval l;

    if (v.type == JV_STR)
        return jval_slice(c, v, JNONE, JNONE, jval_int(-1));
    l = jfilter_list(c, v, a, raw);
    for (size_t i = 0; i < l.l->n / 2; i++) {
        struct jval t = l.l->v[i];
        l.l->v[i] = l.l->v[l.l->n - 1 - i];
        l.l->v[l.l->n - 1 - i] = t;
    }
    return v.type == JV_ITER ? l : iterator(l.l);
}

struct jval jfilter_length(struct jctx *c, struct jval v, struct jval *a, const struct jargs *raw)
{
    size_t n;

    if (!jval_length(c, v, &n))
        jctx_fail(c, ERR_FORMAT, "object of type '%s' has no len()", jval_type_name(v));
    return jval_int((int64_t)n);
}

struct jval jfilter_items(struct jctx *c, struct jval v, struct jval *a, const struct jargs *raw)
{
    struct jlist *l = jlist_new(c, 4);

    if (v.type == JV_UNDEF)
        return iterator(l);
    if (v.type != JV_DICT)
        jctx_fail(c, ERR_FORMAT, "Can only get item pairs from a mapping.");
    for (size_t i = 0; i < v.d->n; i++)
        jlist_add(c, l, jlist_pair(c, v.d->e[i].k, v.d->e[i].v));
    return iterator(l);
}

struct jval jfilter_batch(struct jctx *c, struct jval v, struct jval *a, const struct jargs *raw)
{
    struct jlist *l = jval_items(c, v), *out = jlist_new(c, 4), *row = NULL;
    int64_t n = jargs_int(c, a[0], 1);

    for (size_t i = 0; i < l->n; i++) {
        if (!row || (int64_t)row->n == n) {
            row = jlist_new(c, 4);
            jlist_add(c, out, jval_list(JV_LIST, row));
        }
        jlist_add(c, row, l->v[i]);
    }
    while (row && !jargs_none(a[1]) && (int64_t)row->n < n)
        jlist_add(c, row, a[1]);
    return iterator(out);
}

struct jval jfilter_slice(struct jctx *c, struct jval v, struct jval *a, const struct jargs *raw)
{
    struct jlist *l = jval_items(c, v), *out = jlist_new(c, 4);
    int64_t n = jargs_int(c, a[0], 1), each, extra;
    size_t at = 0;

    if (n <= 0)
        jctx_fail(c, ERR_FORMAT, "slice needs a positive number");
    each = (int64_t)l->n / n;
    extra = (int64_t)l->n % n;
    for (int64_t i = 0; i < n; i++) {
        struct jlist *part = jlist_new(c, 4);
        for (int64_t k = 0; k < each + (i < extra); k++)
            jlist_add(c, part, l->v[at++]);
        if (i >= extra && !jargs_none(a[1]))
            jlist_add(c, part, a[1]);
        jlist_add(c, out, jval_list(JV_LIST, part));
    }
    return iterator(out);
}
