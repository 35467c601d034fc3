/* Calls: binding of arguments, methods of lists and dicts, global functions, the loop variable. */
#include "text/jinja_core.h"

#include <string.h>
#include <time.h>

/* ---- arguments ------------------------------------------------------------------------------- */

/* Take one parameter off the list; 0 at its end. */
static int next_param(const char **p, const char **name, size_t *n, int *required)
{
    if (!**p)
        return 0;
    *required = **p == '!';
    *p += *required;
    *name = *p;
    *n = strcspn(*p, ",");
    *p += *n;
    *p += **p == ',';
    return 1;
}

void jargs_bind(struct jctx *c, const char *what, const char *params, const struct jargs *a,
                struct jval out[JBIND_MAX])
{
    const char *p = params, *name;
    int positional_only = *p == '/', required;
    size_t n, i = 0, used = 0;

    p += positional_only;
    if (positional_only && a->n_kw)
        jctx_fail(c, ERR_FORMAT, "%s() takes no keyword arguments", what);
    for (; i < JBIND_MAX && next_param(&p, &name, &n, &required); i++) {
        out[i] = i < a->n ? a->pos[i] : (struct jval){.type = JV_ABSENT};
        for (size_t k = 0; k < a->n_kw; k++) {
            const struct jstr *kw = a->kw[k].name;
            if (kw->n != n || memcmp(kw->p, name, n))
                continue;
            if (i < a->n)
                jctx_fail(c, ERR_FORMAT, "%s() got multiple values for '%.*s'", what, (int)n, name);
            out[i] = a->kw[k].v;
            used++;
        }
        if (required && out[i].type == JV_ABSENT)
            jctx_fail(c, ERR_FORMAT, "%s() needs the argument '%.*s'", what, (int)n, name);
    }
    if (a->n > i)
        jctx_fail(c, ERR_FORMAT, "%s() takes at most %zu arguments, %zu given", what, i, a->n);
    if (a->n_kw > used)
        jctx_fail(c, ERR_FORMAT, "%s() got an unexpected keyword argument", what);
    for (; i < JBIND_MAX; i++)
        out[i] = (struct jval){.type = JV_ABSENT};
}

int64_t jargs_int(struct jctx *c, struct jval v, int64_t otherwise)
{
    if (v.type == JV_ABSENT)
        return otherwise;
    if (!jval_is_integral(v)) {
        jval_need_defined(c, v);
        jctx_fail(c, ERR_FORMAT, "an integer is required, not %s", jval_type_name(v));
    }
    return v.i;
}

const struct jstr *jargs_str(struct jctx *c, struct jval v)
{
    if (v.type != JV_STR) {
        jval_need_defined(c, v);
        jctx_fail(c, ERR_FORMAT, "a string is required, not %s", jval_type_name(v));
    }
    return v.s;
}

struct jval jmethod_call(struct jctx *c, const struct jmethod *m, struct jval self,
                         const struct jargs *a)
{
    struct jval bound[JBIND_MAX];

    if (!m->call)
        jctx_fail(c, ERR_UNSUPPORTED, "the method '%s' of %s is not supported", m->name,
                  jval_type_name(self));
    if (m->params)
        jargs_bind(c, m->name, m->params, a, bound);
    return m->call(c, self, bound, a);
}

/* ---- methods of dicts ------------------------------------------------------------------------ */

static struct jval d_get(struct jctx *c, struct jval self, struct jval *a, const struct jargs *raw)
{
    struct jval *v = jdict_find(c, self.d, a[0]);
    return v ? *v : a[1].type == JV_ABSENT ? JNONE : a[1];
}

static struct jval view(struct jctx *c, const struct jdict *d, enum jview what)
{
    struct jlist *l = jlist_new(c, d->n);
    struct jval v = jval_list(JV_VIEW, l);

    for (size_t i = 0; i < d->n; i++)
        jlist_add(c, l,
                  what == JVIEW_KEYS     ? d->e[i].k
                  : what == JVIEW_VALUES ? d->e[i].v
                                         : jlist_pair(c, d->e[i].k, d->e[i].v));
    v.sub = (uint8_t)what;
    return v;
}

static struct jval d_items(struct jctx *c, struct jval self, struct jval *a,
                           const struct jargs *raw)
{
    return view(c, self.d, JVIEW_ITEMS);
}

static struct jval d_keys(struct jctx *c, struct jval self, struct jval *a, const struct jargs *raw)
{
    return view(c, self.d, JVIEW_KEYS);
}

static struct jval d_values(struct jctx *c, struct jval self, struct jval *a,
                            const struct jargs *raw)
{
    return view(c, self.d, JVIEW_VALUES);
}

static struct jval d_copy(struct jctx *c, struct jval self, struct jval *a, const struct jargs *raw)
{
    return jval_dict(jdict_copy(c, self.d));
}

static struct jval d_pop(struct jctx *c, struct jval self, struct jval *a, const struct jargs *raw)
{
    struct jval v;

    if (jdict_del(c, self.d, a[0], &v))
        return v;
    if (a[1].type == JV_ABSENT)
        jctx_fail(c, ERR_FORMAT, "pop() of a key that is not there");
    return a[1];
}

static struct jval d_setdefault(struct jctx *c, struct jval self, struct jval *a,
                                const struct jargs *raw)
{
    struct jval *v = jdict_find(c, self.d, a[0]);

    if (v)
        return *v;
    if (a[1].type == JV_ABSENT)
        a[1] = JNONE;
    jdict_set(c, self.d, a[0], a[1]);
    return a[1];
}

static struct jval d_clear(struct jctx *c, struct jval self, struct jval *a,
                           const struct jargs *raw)
{
    self.d->n = 0;
    return JNONE;
}

static struct jval d_popitem(struct jctx *c, struct jval self, struct jval *a,
                             const struct jargs *raw)
{
    const struct jentry *e;

    if (!self.d->n)
        jctx_fail(c, ERR_FORMAT, "popitem(): dictionary is empty");
    e = &self.d->e[--self.d->n];
    return jlist_pair(c, e->k, e->v);
}

/* What dict(), dict.update() and namespace() take: a mapping or pairs, then keywords. */
static void merge(struct jctx *c, struct jdict *d, const struct jargs *a)
{
    if (a->n > 1)
        jctx_fail(c, ERR_FORMAT, "expected at most 1 argument, got %zu", a->n);
    if (a->n && a->pos[0].type == JV_DICT) {
        const struct jdict *from = a->pos[0].d;
        for (size_t i = 0, n = from->n; i < n; i++)
            jdict_set(c, d, from->e[i].k, from->e[i].v);
    } else if (a->n) {
        struct jlist *l = jval_items(c, a->pos[0]);
        for (size_t i = 0; i < l->n; i++) {
            struct jlist *pair = jval_items(c, l->v[i]);
            if (pair->n != 2)
                jctx_fail(c, ERR_FORMAT, "a pair of key and value is needed");
            jdict_set(c, d, pair->v[0], pair->v[1]);
        }
    }
    for (size_t i = 0; i < a->n_kw; i++)
        jdict_set(c, d, jval_str(a->kw[i].name), a->kw[i].v);
}

static struct jval d_update(struct jctx *c, struct jval self, struct jval *a,
                            const struct jargs *raw)
{
    merge(c, self.d, raw);
    return JNONE;
}

static const struct jmethod dict_table[] = {
    {"get", "/!key,default", d_get},
    {"items", "/", d_items},
    {"keys", "/", d_keys},
    {"values", "/", d_values},
    {"copy", "/", d_copy},
    {"pop", "/!key,default", d_pop},
    {"setdefault", "/!key,default", d_setdefault},
    {"update", NULL, d_update},
    {"clear", "/", d_clear},
    {"popitem", "/", d_popitem},
    {"fromkeys", NULL, NULL},
    {NULL, NULL, NULL},
};

/* ---- methods of lists and tuples ------------------------------------------------------------- */

static struct jval l_append(struct jctx *c, struct jval self, struct jval *a,
                            const struct jargs *raw)
{
    jlist_add(c, self.l, a[0]);
    return JNONE;
}

static struct jval l_extend(struct jctx *c, struct jval self, struct jval *a,
                            const struct jargs *raw)
{
    struct jlist *from = jval_items(c, a[0]);
    for (size_t i = 0, n = from->n; i < n; i++)
        jlist_add(c, self.l, from->v[i]);
    return JNONE;
}

static struct jval l_insert(struct jctx *c, struct jval self, struct jval *a,
                            const struct jargs *raw)
{
    int64_t n = (int64_t)self.l->n, i = jargs_int(c, a[0], 0);

    i = i < 0 ? (i < -n ? 0 : i + n) : i > n ? n : i;
    jlist_insert(c, self.l, (size_t)i, a[1]);
    return JNONE;
}

static struct jval l_pop(struct jctx *c, struct jval self, struct jval *a, const struct jargs *raw)
{
    struct jlist *l = self.l;
    int64_t n = (int64_t)l->n, i = jargs_int(c, a[0], -1);
    struct jval v;

    i += i < 0 ? n : 0;
    if (i < 0 || i >= n)
        jctx_fail(c, ERR_FORMAT, n ? "pop index out of range" : "pop from empty list");
    v = l->v[i];
    jctx_tick(c, 1 + (uint64_t)(n - i) / 16);
    memmove(l->v + i, l->v + i + 1, (size_t)(n - i - 1) * sizeof *l->v);
    l->n--;
    return v;
}

static struct jval l_clear(struct jctx *c, struct jval self, struct jval *a,
                           const struct jargs *raw)
{
    self.l->n = 0;
    return JNONE;
}

static struct jval l_copy(struct jctx *c, struct jval self, struct jval *a, const struct jargs *raw)
{
    struct jval v = jval_list(JV_LIST, jlist_new(c, self.l->n));
    l_extend(c, v, &self, raw);
    return v;
}

static struct jval l_reverse(struct jctx *c, struct jval self, struct jval *a,
                             const struct jargs *raw)
{
    struct jlist *l = self.l;

    jctx_tick(c, 1 + l->n / 4);
    for (size_t i = 0; i < l->n / 2; i++) {
        struct jval t = l->v[i];
        l->v[i] = l->v[l->n - 1 - i];
        l->v[l->n - 1 - i] = t;
    }
    return JNONE;
}

static struct jval l_index(struct jctx *c, struct jval self, struct jval *a,
                           const struct jargs *raw)
{
    for (size_t i = 0; i < self.l->n; i++) {
        if (jval_eq(c, self.l->v[i], a[0]))
            return jval_int((int64_t)i);
    }
    jctx_fail(c, ERR_FORMAT, "index(): the value is not in the list");
}

static struct jval l_remove(struct jctx *c, struct jval self, struct jval *a,
                            const struct jargs *raw)
{
    struct jval at = l_index(c, self, a, raw);

    l_pop(c, self, &at, raw);
    return JNONE;
}

static struct jval l_count(struct jctx *c, struct jval self, struct jval *a,
                           const struct jargs *raw)
{
    int64_t n = 0;
    for (size_t i = 0; i < self.l->n; i++)
        n += jval_eq(c, self.l->v[i], a[0]);
    return jval_int(n);
}

static const struct jmethod list_table[] = {
    {"append", "/!object", l_append},
    {"extend", "/!iterable", l_extend},
    {"insert", "/!index,!object", l_insert},
    {"pop", "/index", l_pop},
    {"clear", "/", l_clear},
    {"copy", "/", l_copy},
    {"reverse", "/", l_reverse},
    {"index", "/!value", l_index},
    {"count", "/!value", l_count},
    {"remove", "/!value", l_remove},
    {"sort", NULL, NULL},
    {NULL, NULL, NULL},
};

static const struct jmethod tuple_table[] = {
    {"index", "/!value", l_index},
    {"count", "/!value", l_count},
    {NULL, NULL, NULL},
};

/* ---- cycler and joiner ----------------------------------------------------------------------- */

static struct jval make_cycler(struct jctx *c, const struct jargs *a)
{
    struct jlist *l = jlist_new(c, a->n);

    if (!a->n || a->n_kw)
        jctx_fail(c, ERR_FORMAT, "cycler() takes one or more items");
    for (size_t i = 0; i < a->n; i++)
        jlist_add(c, l, a->pos[i]);
    return jval_list(JV_CYCLER, l);
}

static struct jval cycler_next(struct jctx *c, struct jval self, struct jval *a,
                               const struct jargs *raw)
{
    struct jval v = self.l->v[self.l->at];

    self.l->at = (self.l->at + 1) % self.l->n;
    return v;
}

static struct jval cycler_reset(struct jctx *c, struct jval self, struct jval *a,
                                const struct jargs *raw)
{
    self.l->at = 0;
    return JNONE;
}

static const struct jmethod cycler_table[] = {
    {"next", "/", cycler_next},
    {"reset", "/", cycler_reset},
    {NULL, NULL, NULL},
};

static struct jval make_joiner(struct jctx *c, const struct jargs *a)
{
    struct jval v[JBIND_MAX];
    struct jlist *l = jlist_new(c, 1);

    jargs_bind(c, "joiner", "sep", a, v);
    jlist_add(c, l, v[0].type == JV_ABSENT ? jval_str(jstr_new(c, ", ", 2, JFROM_TRUSTED)) : v[0]);
    return jval_list(JV_JOINER, l);
}

struct jval jjoiner_call(struct jctx *c, struct jlist *joiner, const struct jargs *a)
{
    struct jval v[JBIND_MAX];

    jargs_bind(c, "joiner", "/", a, v);
    return joiner->at++ ? joiner->v[0] : jval_str(jstr_new(c, "", 0, JFROM_TRUSTED));
}

const struct jmethod *jmethod_find(struct jval self, const struct jstr *name)
{
    const struct jmethod *m = self.type == JV_STR                              ? jmethod_str_table
                              : self.type == JV_DICT                           ? dict_table
                              : self.type == JV_LIST                           ? list_table
                              : self.type == JV_CYCLER                         ? cycler_table
                              : self.type == JV_TUPLE || self.type == JV_RANGE ? tuple_table
                                                                               : NULL;

    for (; m && m->name; m++) {
        if (jstr_is(name, m->name))
            return m;
    }
    return NULL;
}

/* ---- global functions ------------------------------------------------------------------------ */

int jfunc_find(const struct jstr *name)
{
    static const struct {
        const char *name;
        enum jfunc f;
    } table[] = {
        {"range", JFUNC_RANGE},
        {"namespace", JFUNC_NAMESPACE},
        {"dict", JFUNC_DICT},
        {"raise_exception", JFUNC_RAISE},
        {"strftime_now", JFUNC_STRFTIME},
        {"lipsum", JFUNC_LIPSUM},
        {"cycler", JFUNC_CYCLER},
        {"joiner", JFUNC_JOINER},
    };

    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        if (jstr_is(name, table[i].name))
            return table[i].f;
    }
    return -1;
}

static struct jval make_range(struct jctx *c, const struct jargs *a)
{
    struct jval v[JBIND_MAX];
    int64_t from = 0, to, step;
    uint64_t n = 0;
    struct jlist *l;

    jargs_bind(c, "range", "/!start,stop,step", a, v);
    to = jargs_int(c, v[0], 0);
    if (v[1].type != JV_ABSENT) {
        from = to;
        to = jargs_int(c, v[1], 0);
    }
    step = jargs_int(c, v[2], 1);
    if (!step)
        jctx_fail(c, ERR_FORMAT, "range() arg 3 must not be zero");
    if (step > 0 && to > from)
        n = ((uint64_t)to - (uint64_t)from - 1) / (uint64_t)step + 1;
    else if (step < 0 && to < from)
        n = ((uint64_t)from - (uint64_t)to - 1) / -(uint64_t)step + 1;
    if (n > JINJA_RANGE_MAX)
        jctx_fail(c, ERR_LIMIT, "range() of more than %d items", JINJA_RANGE_MAX);
    l = jlist_new(c, n);
    for (uint64_t i = 0; i < n; i++)
        jlist_add(c, l, jval_int(from + (int64_t)i * step));
    return jval_list(JV_RANGE, l);
}

static struct jval format_time(struct jctx *c, const struct jargs *a)
{
    struct jval v[JBIND_MAX];
    const struct jstr *fmt;
    char text[1024], *f;
    time_t now = (time_t)c->now_s;
    struct tm tm;
    size_t n;

    jargs_bind(c, "strftime_now", "!format", a, v);
    fmt = jargs_str(c, v[0]);
    if (!localtime_r(&now, &tm))
        jctx_fail(c, ERR_FORMAT, "the time is out of range");
    jctx_tick_bytes(c, fmt->n);
    if (memchr(fmt->p, 0, fmt->n))
        jctx_fail(c, ERR_FORMAT, "a time format with a NUL byte");
    f = jctx_alloc(c, fmt->n + 2);
    memcpy(f, fmt->p, fmt->n);
    f[fmt->n] = 'x'; /* so that an empty result is no failure */
    f[fmt->n + 1] = 0;
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
    n = strftime(text, sizeof text, f, &tm);
#pragma GCC diagnostic pop
    if (!n)
        jctx_fail(c, ERR_LIMIT, "a time of more than %zu bytes", sizeof text - 2);
    return jval_str(jstr_copy(c, text, n - 1, 0));
}

struct jval jfunc_call(struct jctx *c, enum jfunc f, const struct jargs *a)
{
    struct jval v[JBIND_MAX];
    struct jdict *d;
    const struct jstr *s;

    switch (f) {
    case JFUNC_RANGE:
        return make_range(c, a);
    case JFUNC_STRFTIME:
        return format_time(c, a);
    case JFUNC_NAMESPACE:
    case JFUNC_DICT:
        d = jdict_new(c, 4);
        merge(c, d, a);
        return (struct jval){.type = f == JFUNC_DICT ? JV_DICT : JV_NS, .d = d};
    case JFUNC_RAISE:
        jargs_bind(c, "raise_exception", "!message", a, v);
        s = jval_text(c, v[0]);
        jctx_raise(c, s->p, s->n);
    case JFUNC_CYCLER:
        return make_cycler(c, a);
    case JFUNC_JOINER:
        return make_joiner(c, a);
    case JFUNC_LIPSUM:
        break;
    }
    jctx_fail(c, ERR_UNSUPPORTED, "the function 'lipsum' is not supported");
}

/* ---- loop ------------------------------------------------------------------------------------ */

static struct jval loop_cycle(struct jctx *c, struct jval self, struct jval *a,
                              const struct jargs *raw)
{
    if (!raw->n)
        jctx_fail(c, ERR_FORMAT, "no items for cycling given");
    return raw->pos[self.loop->i % raw->n];
}

static struct jval loop_changed(struct jctx *c, struct jval self, struct jval *a,
                                const struct jargs *raw)
{
    struct jval now = jval_list(JV_TUPLE, jlist_new(c, raw->n));

    for (size_t i = 0; i < raw->n; i++)
        jlist_add(c, now.l, raw->pos[i]);
    if (self.loop->changed.type == JV_TUPLE && jval_eq(c, self.loop->changed, now))
        return jval_bool(0);
    self.loop->changed = now;
    return jval_bool(1);
}

struct jval jloop_attr(struct jctx *c, struct jloop *l, const struct jstr *name)
{
    static const struct jmethod methods[] = {{"cycle", NULL, loop_cycle},
                                             {"changed", NULL, loop_changed}};
    int64_t i = (int64_t)l->i, n = (int64_t)l->items->n;

    for (size_t k = 0; k < ARRAY_LEN(methods); k++) {
        if (jstr_is(name, methods[k].name)) {
            struct jbound *b = jctx_alloc(c, sizeof *b);
            *b = (struct jbound){{.type = JV_LOOP, .loop = l}, &methods[k]};
            return (struct jval){.type = JV_METHOD, .m = b};
        }
    }
    if (jstr_is(name, "index"))
        return jval_int(i + 1);
    if (jstr_is(name, "index0"))
        return jval_int(i);
    if (jstr_is(name, "first"))
        return jval_bool(!i);
    if (jstr_is(name, "last"))
        return jval_bool(i + 1 >= n);
    if (jstr_is(name, "length"))
        return jval_int(n);
    if (jstr_is(name, "revindex"))
        return jval_int(n - i);
    if (jstr_is(name, "revindex0"))
        return jval_int(n - i - 1);
    if (jstr_is(name, "previtem") && i > 0 && i <= n)
        return l->items->v[i - 1];
    if (jstr_is(name, "nextitem") && i + 1 < n)
        return l->items->v[i + 1];
    if (jstr_is(name, "depth"))
        return jval_int(l->depth0 + 1);
    if (jstr_is(name, "depth0"))
        return jval_int(l->depth0);
    return JUNDEF;
}
