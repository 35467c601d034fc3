/* Values: containers, equality, order, look-up, and the way in from JSON. */
#include "text/jinja_core.h"

#include <math.h>
#include <string.h>

static uint32_t jval_hash(struct jctx *c, struct jval v);

void jctx_value_enter(struct jctx *c)
{
    if (++c->value_depth > JCTX_VALUE_DEPTH)
        jctx_fail(c, ERR_LIMIT, "a value is nested more than %d levels deep", JCTX_VALUE_DEPTH);
}

/* ---- lists ----------------------------------------------------------------------------------- */

struct jlist *jlist_new(struct jctx *c, size_t cap)
{
    struct jlist *l = jctx_alloc(c, sizeof *l);
    cap += !cap;
    *l = (struct jlist){.v = jctx_array(c, cap, sizeof *l->v), .cap = cap};
    return l;
}

void jlist_insert(struct jctx *c, struct jlist *l, size_t at, struct jval v)
{
    jctx_tick(c, 1 + (l->n - at) / 16);
    if (l->n == l->cap) {
        size_t cap = l->cap ? l->cap * 2 : 8;
        struct jval *w = jctx_array(c, cap, sizeof *w);
        if (l->n)
            memcpy(w, l->v, l->n * sizeof *w);
        l->v = w;
        l->cap = cap;
    }
    memmove(l->v + at + 1, l->v + at, (l->n - at) * sizeof *l->v);
    l->v[at] = v;
    l->n++;
}

void jlist_add(struct jctx *c, struct jlist *l, struct jval v)
{
    jlist_insert(c, l, l->n, v);
}

struct jval jlist_pair(struct jctx *c, struct jval a, struct jval b)
{
    struct jlist *l = jlist_new(c, 2);
    jlist_add(c, l, a);
    jlist_add(c, l, b);
    return jval_list(JV_TUPLE, l);
}

/* ---- dicts ----------------------------------------------------------------------------------- */

struct jdict *jdict_new(struct jctx *c, size_t cap)
{
    struct jdict *d = jctx_alloc(c, sizeof *d);
    cap += !cap;
    *d = (struct jdict){.e = jctx_array(c, cap, sizeof *d->e), .cap = cap};
    return d;
}

static struct jentry *find(struct jctx *c, const struct jdict *d, struct jval k, uint32_t hash)
{
    jctx_tick(c, 1 + d->n / 16);
    for (size_t i = 0; i < d->n; i++) {
        if (d->e[i].hash == hash && jval_eq(c, d->e[i].k, k))
            return &d->e[i];
    }
    return NULL;
}

struct jval *jdict_find(struct jctx *c, const struct jdict *d, struct jval k)
{
    struct jentry *e = find(c, d, k, jval_hash(c, k));
    return e ? &e->v : NULL;
}

struct jval *jdict_find_str(struct jctx *c, const struct jdict *d, const struct jstr *k)
{
    return jdict_find(c, d, jval_str(k));
}

/* For keys known to be new. */
static void append(struct jctx *c, struct jdict *d, struct jval k, struct jval v, uint32_t hash)
{
    if (d->n == d->cap) {
        size_t cap = d->cap ? d->cap * 2 : 4;
        struct jentry *e = jctx_array(c, cap, sizeof *e);
        if (d->n)
            memcpy(e, d->e, d->n * sizeof *e);
        d->e = e;
        d->cap = cap;
    }
    d->e[d->n++] = (struct jentry){.k = k, .v = v, .hash = hash};
}

void jdict_set(struct jctx *c, struct jdict *d, struct jval k, struct jval v)
{
    uint32_t hash = jval_hash(c, k);
    struct jentry *e = find(c, d, k, hash);

    if (e)
        e->v = v;
    else
        append(c, d, k, v, hash);
}

int jdict_del(struct jctx *c, struct jdict *d, struct jval k, struct jval *ret)
{
    struct jentry *e = find(c, d, k, jval_hash(c, k));

    if (!e)
        return 0;
    *ret = e->v;
    d->n--;
    memmove(e, e + 1, (size_t)(d->e + d->n - e) * sizeof *e);
    return 1;
}

struct jdict *jdict_copy(struct jctx *c, const struct jdict *d)
{
    struct jdict *r = jdict_new(c, d->n);

    jctx_tick(c, 1 + d->n / 4);
    if (d->n)
        memcpy(r->e, d->e, d->n * sizeof *r->e);
    r->n = d->n;
    return r;
}

/* ---- questions ------------------------------------------------------------------------------- */

const char *jval_type_name(struct jval v)
{
    static const char *const names[] = {
        [JV_ABSENT] = "nothing",   [JV_UNDEF] = "Undefined", [JV_NONE] = "NoneType",
        [JV_BOOL] = "bool",        [JV_INT] = "int",         [JV_FLOAT] = "float",
        [JV_STR] = "str",          [JV_LIST] = "list",       [JV_TUPLE] = "tuple",
        [JV_RANGE] = "range",      [JV_VIEW] = "dict view",  [JV_ITER] = "generator",
        [JV_DICT] = "dict",        [JV_NS] = "Namespace",    [JV_MACRO] = "Macro",
        [JV_LOOP] = "LoopContext", [JV_CYCLER] = "Cycler",   [JV_JOINER] = "Joiner",
        [JV_FUNC] = "function",    [JV_METHOD] = "method",
    };
    return names[v.type];
}

int jval_true(struct jval v)
{
    switch ((enum jtype)v.type) {
    case JV_ABSENT:
    case JV_UNDEF:
    case JV_NONE:
        return 0;
    case JV_BOOL:
    case JV_INT:
        return v.i != 0;
    case JV_FLOAT:
        return v.f != 0;
    case JV_STR:
        return v.s->n != 0;
    case JV_LIST:
    case JV_TUPLE:
    case JV_RANGE:
    case JV_VIEW:
        return v.l->n != 0;
    case JV_DICT:
        return v.d->n != 0;
    case JV_ITER:
    case JV_NS:
    case JV_MACRO:
    case JV_LOOP:
    case JV_CYCLER:
    case JV_JOINER:
    case JV_FUNC:
    case JV_METHOD:
        break;
    }
    return 1;
}

static int cmp_numbers(struct jval a, struct jval b)
{
    if (jval_is_integral(a) && jval_is_integral(b))
        return (a.i > b.i) - (a.i < b.i);
    if (a.type == JV_FLOAT && b.type == JV_FLOAT)
        return (a.f > b.f) - (a.f < b.f);
    /* long double holds every int64 and double exactly */
    long double x = a.type == JV_FLOAT ? (long double)a.f : (long double)a.i;
    long double y = b.type == JV_FLOAT ? (long double)b.f : (long double)b.i;
    return (x > y) - (x < y);
}

static int is_nan(struct jval v)
{
    return v.type == JV_FLOAT && isnan(v.f);
}

static int eq_lists(struct jctx *c, const struct jlist *a, const struct jlist *b)
{
    int same = a->n == b->n;

    jctx_value_enter(c);
    for (size_t i = 0; same && i < a->n; i++)
        same = jval_eq(c, a->v[i], b->v[i]);
    c->value_depth--;
    return same;
}

static int eq_dicts(struct jctx *c, const struct jdict *a, const struct jdict *b)
{
    int same = a->n == b->n;

    jctx_value_enter(c);
    for (size_t i = 0; same && i < a->n; i++) {
        struct jval *v = jdict_find(c, b, a->e[i].k);
        same = v && jval_eq(c, a->e[i].v, *v);
    }
    c->value_depth--;
    return same;
}

int jval_eq(struct jctx *c, struct jval a, struct jval b)
{
    jctx_tick(c, 1);
    if (jval_is_number(a) && jval_is_number(b))
        return !is_nan(a) && !is_nan(b) && !cmp_numbers(a, b);
    if (a.type != b.type)
        return 0;
    switch ((enum jtype)a.type) {
    case JV_UNDEF:
    case JV_NONE:
        return 1;
    case JV_STR:
        jctx_tick_bytes(c, a.s->n == b.s->n ? a.s->n : 0);
        return jstr_eq(a.s, b.s);
    case JV_LIST:
    case JV_TUPLE:
    case JV_RANGE:
        return a.l == b.l || eq_lists(c, a.l, b.l);
    case JV_DICT:
        return a.d == b.d || eq_dicts(c, a.d, b.d);
    default:
        return jval_same(c, a, b);
    }
}

int jval_same(struct jctx *c, struct jval a, struct jval b)
{
    if (a.type != b.type)
        return 0;
    switch ((enum jtype)a.type) {
    case JV_NONE:
        return 1;
    case JV_BOOL:
    case JV_INT:
    case JV_FUNC:
        return a.i == b.i;
    case JV_FLOAT:
        return a.f == b.f;
    case JV_STR: /* Python's answer depends on interning; equal is the useful one */
        jctx_tick_bytes(c, a.s->n == b.s->n ? a.s->n : 0);
        return jstr_eq(a.s, b.s);
    default:
        return a.l == b.l;
    }
}

int jval_cmp(struct jctx *c, struct jval a, struct jval b, const char *op)
{
    jctx_tick(c, 1);
    if (jval_is_number(a) && jval_is_number(b))
        return cmp_numbers(a, b);
    jval_need_defined(c, a);
    jval_need_defined(c, b);
    if (a.type == JV_STR && b.type == JV_STR) {
        jctx_tick_bytes(c, a.s->n < b.s->n ? a.s->n : b.s->n);
        return jstr_cmp(a.s, b.s);
    }
    if ((a.type == JV_LIST || a.type == JV_TUPLE) && a.type == b.type) {
        int r = 0;
        jctx_value_enter(c);
        for (size_t i = 0; !r && i < a.l->n && i < b.l->n; i++) {
            if (!jval_eq(c, a.l->v[i], b.l->v[i]))
                r = jval_cmp(c, a.l->v[i], b.l->v[i], op);
        }
        c->value_depth--;
        return r ? r : (a.l->n > b.l->n) - (a.l->n < b.l->n);
    }
    jctx_fail(c, ERR_FORMAT, "'%s' not supported between instances of '%s' and '%s'", op,
              jval_type_name(a), jval_type_name(b));
}

int jval_in(struct jctx *c, struct jval v, struct jval seq)
{
    if (seq.type == JV_STR) {
        if (v.type != JV_STR)
            jctx_fail(c, ERR_FORMAT, "'in <string>' requires string as left operand, not %s",
                      jval_type_name(v));
        return jstr_find(c, seq.s, v.s, 0) != SIZE_MAX;
    }
    if (seq.type == JV_DICT)
        return jdict_find(c, seq.d, v) != NULL;
    if (!jval_iterable(seq))
        jctx_fail(c, ERR_FORMAT, "argument of type '%s' is not iterable", jval_type_name(seq));
    struct jlist *l = jval_items(c, seq);
    for (size_t i = 0; i < l->n; i++) {
        if (jval_eq(c, l->v[i], v) || jval_same(c, l->v[i], v))
            return 1;
    }
    return 0;
}

static uint32_t jval_hash(struct jctx *c, struct jval v)
{
    uint32_t h = 17;

    jctx_tick(c, 1);
    switch ((enum jtype)v.type) {
    case JV_STR:
        if (!v.s->hash)
            jctx_tick_each(c, v.s->n);
        return jstr_hash(v.s);
    case JV_BOOL:
    case JV_INT:
        return (uint32_t)((uint64_t)v.i * 0x9e3779b97f4a7c15u >> 32) | 1;
    case JV_FLOAT:
        if (v.f >= -9e18 && v.f <= 9e18 && v.f == floor(v.f)) /* 1.0 is the key 1 */
            return jval_hash(c, jval_int((int64_t)v.f));
        memcpy(&h, &v.f, sizeof h);
        return h | 1;
    case JV_TUPLE:
        jctx_value_enter(c);
        for (size_t i = 0; i < v.l->n; i++)
            h = h * 31 + jval_hash(c, v.l->v[i]);
        c->value_depth--;
        return h | 1;
    case JV_LIST:
    case JV_DICT:
    case JV_VIEW:
        jctx_fail(c, ERR_FORMAT, "unhashable type: '%s'", jval_type_name(v));
    default:
        return v.type + 3u;
    }
}

void jval_need_defined(struct jctx *c, struct jval v)
{
    if (v.type != JV_UNDEF)
        return;
    if (!v.s)
        jctx_fail(c, ERR_FORMAT, "the value is undefined");
    jctx_fail(c, ERR_FORMAT, "'%.*s' is undefined", v.s->n > 100 ? 100 : (int)v.s->n, v.s->p);
}

/* ---- iteration ------------------------------------------------------------------------------- */

int jval_iterable(struct jval v)
{
    return v.type == JV_STR || v.type == JV_DICT || v.type == JV_UNDEF || v.type == JV_LOOP ||
           jval_is_listlike(v);
}

int jval_length(struct jctx *c, struct jval v, size_t *ret)
{
    switch ((enum jtype)v.type) {
    case JV_UNDEF:
        *ret = 0;
        return 1;
    case JV_STR:
        *ret = jstr_length(c, v.s);
        return 1;
    case JV_LIST:
    case JV_TUPLE:
    case JV_RANGE:
    case JV_VIEW:
        *ret = v.l->n;
        return 1;
    case JV_DICT:
        *ret = v.d->n;
        return 1;
    case JV_LOOP:
        *ret = v.loop->items->n;
        return 1;
    default:
        return 0;
    }
}

struct jlist *jval_items(struct jctx *c, struct jval v)
{
    struct jlist *l;
    uint32_t cp;

    switch ((enum jtype)v.type) {
    case JV_UNDEF:
        return jlist_new(c, 0);
    case JV_LIST:
    case JV_TUPLE:
    case JV_RANGE:
    case JV_VIEW:
        return v.l;
    case JV_ITER:
        l = jlist_new(c, 0);
        *l = (struct jlist){.v = v.l->v + v.l->at, .n = v.l->n - v.l->at};
        l->cap = l->n;
        v.l->at = v.l->n;
        return l;
    case JV_DICT:
        l = jlist_new(c, v.d->n);
        for (size_t i = 0; i < v.d->n; i++)
            jlist_add(c, l, v.d->e[i].k);
        return l;
    case JV_STR:
        l = jlist_new(c, jstr_length(c, v.s));
        for (size_t i = 0; i < v.s->n;) {
            size_t k = (size_t)jstr_cp(v.s, i, &cp);
            jlist_add(c, l, jval_str(jstr_part(c, v.s, i, k)));
            i += k;
        }
        return l;
    default:
        jctx_fail(c, ERR_FORMAT, "'%s' object is not iterable", jval_type_name(v));
    }
}

/* ---- x.name, x[key], x[a:b] ------------------------------------------------------------------ */

static struct jval undefined(const struct jstr *name)
{
    return (struct jval){.type = JV_UNDEF, .s = name};
}

static struct jval bound(struct jctx *c, struct jval self, const struct jmethod *m)
{
    struct jbound *b = jctx_alloc(c, sizeof *b);
    *b = (struct jbound){.self = self, .method = m};
    return (struct jval){.type = JV_METHOD, .m = b};
}

/* What getattr would find, without the items of a dict. 1: found. */
static int own_attr(struct jctx *c, struct jval v, const struct jstr *name, struct jval *ret)
{
    const struct jmethod *m;

    if (v.type == JV_NS) {
        struct jval *at = jdict_find_str(c, v.d, name);
        if (at)
            *ret = *at;
        return at != NULL;
    }
    if (v.type == JV_LOOP) {
        *ret = jloop_attr(c, v.loop, name);
        return ret->type != JV_UNDEF;
    }
    if (v.type == JV_MACRO)
        return jmacro_attr(c, v.macro->node, name, ret);
    if (v.type == JV_TUPLE && v.sub && v.l->n == 2) { /* a group of groupby */
        int i = jstr_is(name, "grouper") ? 0 : jstr_is(name, "list") ? 1 : -1;
        if (i >= 0) {
            *ret = v.l->v[i];
            return 1;
        }
    }
    if (v.type == JV_CYCLER && jstr_is(name, "current")) {
        *ret = v.l->v[v.l->at];
        return 1;
    }
    m = jmethod_find(v, name);
    if (m)
        *ret = bound(c, v, m);
    return m != NULL;
}

struct jval jval_own_attr(struct jctx *c, struct jval v, const struct jstr *name)
{
    struct jval r;

    jval_need_defined(c, v);
    return own_attr(c, v, name, &r) ? r : undefined(name);
}

struct jval jval_attr(struct jctx *c, struct jval v, const struct jstr *name)
{
    struct jval r, *at;

    if (v.type == JV_UNDEF)
        jval_need_defined(c, v);
    if (own_attr(c, v, name, &r))
        return r;
    if (v.type == JV_DICT && (at = jdict_find_str(c, v.d, name)))
        return *at;
    return undefined(name);
}

/* Fails only on limits. */
static int hashable(struct jctx *c, struct jval v)
{
    int yes = v.type != JV_LIST && v.type != JV_DICT && v.type != JV_VIEW;

    if (v.type != JV_TUPLE)
        return yes;
    jctx_tick(c, 1);
    jctx_value_enter(c);
    for (size_t i = 0; yes && i < v.l->n; i++)
        yes = hashable(c, v.l->v[i]);
    c->value_depth--;
    return yes;
}

struct jval jval_item(struct jctx *c, struct jval v, struct jval key)
{
    struct jval r, *at;
    int64_t i = key.i;

    jval_need_defined(c, v);
    if (v.type == JV_DICT && hashable(c, key) && (at = jdict_find(c, v.d, key)))
        return *at;
    if (jval_is_integral(key)) {
        if (v.type == JV_LIST || v.type == JV_TUPLE || v.type == JV_RANGE) {
            i += i < 0 ? (int64_t)v.l->n : 0;
            if (i >= 0 && (uint64_t)i < v.l->n)
                return v.l->v[i];
        } else if (v.type == JV_STR) {
            size_t n = jstr_length(c, v.s), from;
            uint32_t cp;
            i += i < 0 ? (int64_t)n : 0;
            if (i >= 0 && (uint64_t)i < n) {
                from = jstr_offset(c, v.s, (size_t)i);
                return jval_str(jstr_part(c, v.s, from, (size_t)jstr_cp(v.s, from, &cp)));
            }
        }
    }
    if (key.type == JV_STR && own_attr(c, v, key.s, &r))
        return r;
    return undefined(key.type == JV_STR ? key.s : jval_text(c, key));
}

/* One bound of a slice, clamped as Python does. */
static int64_t slice_bound(struct jctx *c, struct jval v, int64_t n, int64_t otherwise,
                           int backward)
{
    int64_t i;

    if (jargs_none(v))
        return otherwise;
    if (!jval_is_integral(v))
        jctx_fail(c, ERR_FORMAT, "slice indices must be integers or None, not %s",
                  jval_type_name(v));
    i = v.i;
    if (i < 0)
        i = i < -n ? -1 : i + n;
    if (i < 0)
        return backward ? -1 : 0;
    if (i >= n)
        return backward ? n - 1 : n;
    return i;
}

void jval_slice_bounds(struct jctx *c, size_t n, const struct jval *b, int64_t *ret_start,
                       int64_t *ret_step, size_t *ret_count)
{
    int64_t step = jargs_none(b[2]) ? 1 : jargs_int(c, b[2], 1), len = (int64_t)n, lo, hi;

    if (!step)
        jctx_fail(c, ERR_FORMAT, "slice step cannot be zero");
    if (step > len + 1)
        step = len + 1;
    if (step < -(len + 1))
        step = -(len + 1);
    lo = slice_bound(c, b[0], len, step < 0 ? len - 1 : 0, step < 0);
    hi = slice_bound(c, b[1], len, step < 0 ? -1 : len, step < 0);
    *ret_start = lo;
    *ret_step = step;
    if (step > 0)
        *ret_count = hi > lo ? (size_t)((hi - lo - 1) / step + 1) : 0;
    else
        *ret_count = lo > hi ? (size_t)((lo - hi - 1) / -step + 1) : 0;
}

struct jval jval_slice(struct jctx *c, struct jval v, struct jval lo, struct jval hi,
                       struct jval step)
{
    const struct jval b[3] = {lo, hi, step};
    int64_t start, by;
    size_t n;

    jval_need_defined(c, v);
    if (v.type == JV_STR) {
        jval_slice_bounds(c, jstr_length(c, v.s), b, &start, &by, &n);
        if (by == 1) {
            size_t from = jstr_offset(c, v.s, (size_t)start);
            const struct jstr *rest = jstr_part(c, v.s, from, v.s->n - from);
            return jval_str(jstr_part(c, rest, 0, n ? jstr_offset(c, rest, n) : 0));
        }
        struct jlist *chars = jval_items(c, v);
        struct jsb *sb = jsb_new(c, n);
        for (size_t i = 0; i < n; i++)
            jsb_add_str(c, sb, chars->v[start + (int64_t)i * by].s);
        return jval_str(jstr_mark(c, jsb_str(c, sb), v.s->markup));
    }
    if (v.type == JV_LIST || v.type == JV_TUPLE || v.type == JV_RANGE) {
        struct jlist *l;
        jval_slice_bounds(c, v.l->n, b, &start, &by, &n);
        l = jlist_new(c, n);
        for (size_t i = 0; i < n; i++)
            jlist_add(c, l, v.l->v[start + (int64_t)i * by]);
        return jval_list(v.type, l);
    }
    jctx_fail(c, ERR_FORMAT, "'%s' object cannot be sliced", jval_type_name(v));
}

/* ---- JSON ------------------------------------------------------------------------------------ */

static struct jval from_object(struct jctx *c, const json_t *j, int from)
{
    struct jdict *d = jdict_new(c, json_object_size(j));
    const char *key;
    json_t *value;

    json_object_foreach((json_t *)j, key, value)
    {
        const struct jstr *s = jstr_new(c, key, strlen(key), from);
        jctx_tick_each(c, s->n);
        append(c, d, jval_str(s), jval_from_json(c, value, from), jstr_hash(s));
    }
    return jval_dict(d);
}

struct jval jval_from_json(struct jctx *c, const json_t *j, int from)
{
    struct jval r = JNONE;

    jctx_tick(c, 1);
    jctx_value_enter(c);
    switch (json_typeof(j)) {
    case JSON_OBJECT:
        r = from_object(c, j, from);
        break;
    case JSON_ARRAY:
        r = jval_list(JV_LIST, jlist_new(c, json_array_size(j)));
        for (size_t i = 0; i < json_array_size(j); i++)
            r.l->v[r.l->n++] = jval_from_json(c, json_array_get(j, i), from);
        break;
    case JSON_STRING:
        r = jval_str(jstr_new(c, json_string_value(j), json_string_length(j), from));
        break;
    case JSON_INTEGER:
        r = jval_int(json_integer_value(j));
        break;
    case JSON_REAL:
        r = jval_float(json_real_value(j));
        break;
    case JSON_TRUE:
    case JSON_FALSE:
        r = jval_bool(json_is_true(j));
        break;
    case JSON_NULL:
        break;
    }
    c->value_depth--;
    return r;
}
