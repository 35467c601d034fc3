/* Runs a parsed template. Recursion follows the nodes and is bounded by JCTX_EVAL_DEPTH, macro
 * calls by JINJA_MACRO_DEPTH besides; every node counts as a step. */
#include "text/jinja_core.h"

#include <string.h>

enum flow { NEXT, BREAK, CONTINUE };

static struct jval eval(struct jctx *c, const struct jnode *n);
static enum flow exec(struct jctx *c, const struct jnode *n);

static void enter(struct jctx *c, const struct jnode *n)
{
    jctx_tick(c, 1);
    c->line = n->line;
    if (++c->depth > JCTX_EVAL_DEPTH)
        jctx_fail(c, ERR_LIMIT, "the template nests more than %d levels deep", JCTX_EVAL_DEPTH);
}

/* ---- variables ------------------------------------------------------------------------------- */

static struct jscope *push_scope(struct jctx *c, struct jscope *up)
{
    struct jscope *s = jctx_alloc(c, sizeof *s);
    *s = (struct jscope){.up = up};
    return s;
}

static void set_var(struct jctx *c, struct jscope *s, uint32_t name, struct jval v)
{
    if (!s->up) {
        s->slot[name].v = v;
        return;
    }
    jctx_tick(c, s->n / 16);
    for (uint32_t i = 0; i < s->n; i++) {
        if (s->slot[i].name == name) {
            s->slot[i].v = v;
            return;
        }
    }
    if (s->n == s->cap) {
        uint32_t cap = s->cap ? s->cap * 2 : 4;
        struct jslot *w = jctx_array(c, cap, sizeof *w);
        if (s->n)
            memcpy(w, s->slot, s->n * sizeof *w);
        s->slot = w;
        s->cap = cap;
    }
    s->slot[s->n++] = (struct jslot){.name = name, .v = v};
}

static struct jval get_var(struct jctx *c, uint32_t name)
{
    struct jscope *s = c->scope;

    for (; s->up; s = s->up) {
        jctx_tick(c, s->n / 16);
        for (uint32_t i = 0; i < s->n; i++) {
            if (s->slot[i].name == name)
                return s->slot[i].v;
        }
    }
    if (s->slot[name].v.type != JV_ABSENT)
        return s->slot[name].v;
    return (struct jval){.type = JV_UNDEF, .s = c->prog->name[name]};
}

static void assign(struct jctx *c, const struct jnode *target, struct jval v)
{
    struct jlist *l;
    struct jval ns;

    if (target->type == JN_NAME) {
        set_var(c, c->scope, target->name, v);
        return;
    }
    if (target->type == JN_NS_TARGET) {
        ns = get_var(c, target->name);
        if (ns.type != JV_NS)
            jctx_fail(c, ERR_FORMAT, "cannot assign attribute on non-namespace object of type %s",
                      jval_type_name(ns));
        jdict_set(c, ns.d, target->k, v);
        return;
    }
    l = jval_items(c, v);
    if (l->n != target->n)
        jctx_fail(c, ERR_FORMAT, "cannot unpack %zu values into %u names", l->n, target->n);
    for (uint32_t i = 0; i < target->n; i++)
        assign(c, target->kid[i], l->v[i]);
}

/* ---- calls ----------------------------------------------------------------------------------- */

/* Evaluate the arguments of n, with room for one more keyword. */
static struct jargs eval_args(struct jctx *c, const struct jnode *n)
{
    struct jval *pos = n->n ? jctx_array(c, n->n, sizeof *pos) : NULL;
    struct jkw *kw = jctx_array(c, n->n_kw + 1u, sizeof *kw);

    for (uint32_t i = 0; i < n->n; i++)
        pos[i] = eval(c, n->kid[i]);
    for (uint32_t i = 0; i < n->n_kw; i++)
        kw[i] = (struct jkw){n->kw_name[i], eval(c, n->kw[i])};
    c->line = n->line;
    return (struct jargs){.pos = pos, .n = n->n, .kw = kw, .n_kw = n->n_kw};
}

static const struct jstr *macro_name(const struct jctx *c, const struct jnode *n)
{
    return c->prog->name[n->name];
}

/* What the signature does not name: kwargs, varargs and caller where the body uses them. */
static void bind_extras(struct jctx *c, const struct jnode *n, const struct jargs *a,
                        const uint8_t *used)
{
    struct jdict *kwargs = jdict_new(c, 0);
    struct jval caller = {.type = JV_UNDEF, .s = NULL};
    const struct jstr *name = macro_name(c, n);
    struct jlist *varargs = jlist_new(c, 0);

    for (size_t i = 0; i < a->n_kw; i++) {
        if (used[i])
            continue;
        if (n->op & JMACRO_CALLER && jstr_is(a->kw[i].name, "caller"))
            caller = a->kw[i].v;
        else if (n->op & JMACRO_KWARGS)
            jdict_set(c, kwargs, jval_str(a->kw[i].name), a->kw[i].v);
        else
            jctx_fail(c, ERR_FORMAT, "macro '%.*s' takes no keyword argument '%.*s'", (int)name->n,
                      name->p, (int)a->kw[i].name->n, a->kw[i].name->p);
    }
    for (size_t i = n->n; i < a->n; i++)
        jlist_add(c, varargs, a->pos[i]);
    if (varargs->n && !(n->op & JMACRO_VARARGS))
        jctx_fail(c, ERR_FORMAT, "macro '%.*s' takes not more than %u argument(s)", (int)name->n,
                  name->p, n->n);
    if (n->op & JMACRO_CALLER)
        set_var(c, c->scope, c->prog->id_caller, caller);
    if (n->op & JMACRO_KWARGS)
        set_var(c, c->scope, c->prog->id_kwargs, jval_dict(kwargs));
    if (n->op & JMACRO_VARARGS)
        set_var(c, c->scope, c->prog->id_varargs, jval_list(JV_TUPLE, varargs));
}

static void bind_macro(struct jctx *c, const struct jnode *n, const struct jargs *a)
{
    uint8_t used[JCTX_ARGS_MAX + 1] = {0};

    for (uint32_t i = 0; i < n->n; i++) {
        struct jval v = {.type = JV_ABSENT};
        const struct jstr *name = c->prog->name[n->param[i]];
        if (i < a->n)
            v = a->pos[i];
        for (size_t k = 0; i >= a->n && k < a->n_kw; k++) {
            if (jstr_eq(a->kw[k].name, name)) {
                v = a->kw[k].v;
                used[k] = 1;
            }
        }
        if (v.type == JV_ABSENT)
            v = n->kid[i] ? eval(c, n->kid[i]) : (struct jval){.type = JV_UNDEF, .s = name};
        set_var(c, c->scope, n->param[i], v);
    }
    bind_extras(c, n, a, used);
}

static struct jval call_macro(struct jctx *c, const struct jmacro *m, const struct jargs *a)
{
    struct jscope *scope = c->scope;
    struct jsb *out = c->out, *mine;

    if (++c->macro_depth > JINJA_MACRO_DEPTH)
        jctx_fail(c, ERR_LIMIT, "macros and loops call each other more than %d levels deep",
                  JINJA_MACRO_DEPTH);
    c->scope = push_scope(c, m->scope);
    bind_macro(c, m->node, a);
    mine = c->out = jsb_new(c, 64);
    exec(c, m->node->a);
    c->out = out;
    c->scope = scope;
    c->macro_depth--;
    return jval_str(jsb_str(c, mine));
}

int jmacro_attr(struct jctx *c, const struct jnode *n, const struct jstr *name, struct jval *ret)
{
    if (jstr_is(name, "name"))
        *ret = jval_str(macro_name(c, n));
    else if (jstr_is(name, "caller"))
        *ret = jval_bool(n->op & JMACRO_CALLER);
    else if (jstr_is(name, "catch_kwargs"))
        *ret = jval_bool(n->op & JMACRO_KWARGS);
    else if (jstr_is(name, "catch_varargs"))
        *ret = jval_bool(n->op & JMACRO_VARARGS);
    else if (jstr_is(name, "arguments")) {
        *ret = jval_list(JV_TUPLE, jlist_new(c, n->n));
        for (uint32_t i = 0; i < n->n; i++)
            jlist_add(c, ret->l, jval_str(c->prog->name[n->param[i]]));
    } else
        return 0;
    return 1;
}

static enum flow run_loop(struct jctx *c, const struct jnode *n, struct jlist *items, int depth0);

/* loop(items): the loop over others, as text. It sees what stands around the loop, not inside. */
static struct jval call_loop(struct jctx *c, const struct jloop *l, const struct jargs *a)
{
    struct jscope *scope = c->scope;
    struct jsb *out = c->out, *mine;
    struct jval v[JBIND_MAX];

    if (!l->node->op)
        jctx_fail(c, ERR_FORMAT,
                  "the loop must have the 'recursive' marker to be called recursively");
    jargs_bind(c, "loop", "/!iterable", a, v);
    if (++c->macro_depth > JINJA_MACRO_DEPTH)
        jctx_fail(c, ERR_LIMIT, "macros and loops call each other more than %d levels deep",
                  JINJA_MACRO_DEPTH);
    c->scope = l->outer;
    mine = c->out = jsb_new(c, 64);
    run_loop(c, l->node, jval_items(c, v[0]), l->depth0 + 1);
    c->out = out;
    c->scope = scope;
    c->macro_depth--;
    return jval_str(jsb_str(c, mine));
}

static struct jval jval_call(struct jctx *c, struct jval f, const struct jargs *a)
{
    switch ((enum jtype)f.type) {
    case JV_MACRO:
        return call_macro(c, f.macro, a);
    case JV_METHOD:
        return jmethod_call(c, f.m->method, f.m->self, a);
    case JV_FUNC:
        return jfunc_call(c, (enum jfunc)f.i, a);
    case JV_LOOP:
        return call_loop(c, f.loop, a);
    case JV_JOINER:
        return jjoiner_call(c, f.l, a);
    default:
        jval_need_defined(c, f);
        jctx_fail(c, ERR_FORMAT, "'%s' object is not callable", jval_type_name(f));
    }
}

static __attribute__((noinline)) struct jval eval_call(struct jctx *c, const struct jnode *n)
{
    struct jval f = eval(c, n->a);
    struct jargs a = eval_args(c, n);
    return jval_call(c, f, &a);
}

/* A filter; the innermost of a block's chain has no operand and takes the block's text. */
static __attribute__((noinline)) struct jval eval_filter(struct jctx *c, const struct jnode *n,
                                                         const struct jval *block)
{
    struct jval v;
    struct jargs a;

    enter(c, n);
    v = !n->a ? *block : block ? eval_filter(c, n->a, block) : eval(c, n->a);
    a = eval_args(c, n);
    if (!n->method)
        jctx_fail(c, ERR_UNSUPPORTED, "there is no filter named '%.*s'", (int)n->k.s->n, n->k.s->p);
    if (!n->method->call)
        jctx_fail(c, ERR_UNSUPPORTED, "the filter '%s' is not supported", n->method->name);
    v = jmethod_call(c, n->method, v, &a);
    c->depth--;
    return v;
}

static __attribute__((noinline)) struct jval eval_test(struct jctx *c, const struct jnode *n)
{
    struct jval v = eval(c, n->a);
    struct jargs a = eval_args(c, n);

    if (!n->method)
        jctx_fail(c, ERR_UNSUPPORTED, "there is no test named '%.*s'", (int)n->k.s->n, n->k.s->p);
    return jmethod_call(c, n->method, v, &a);
}

/* ---- expressions ----------------------------------------------------------------------------- */

static __attribute__((noinline)) struct jval eval_list(struct jctx *c, const struct jnode *n,
                                                       enum jtype type)
{
    struct jlist *l = jlist_new(c, n->n);
    for (uint32_t i = 0; i < n->n; i++)
        jlist_add(c, l, eval(c, n->kid[i]));
    return jval_list(type, l);
}

static __attribute__((noinline)) struct jval eval_dict(struct jctx *c, const struct jnode *n)
{
    struct jdict *d = jdict_new(c, n->n / 2);
    for (uint32_t i = 0; i + 1 < n->n; i += 2) {
        struct jval k = eval(c, n->kid[i]);
        jdict_set(c, d, k, eval(c, n->kid[i + 1]));
    }
    return jval_dict(d);
}

static __attribute__((noinline)) struct jval eval_concat(struct jctx *c, const struct jnode *n)
{
    const struct jstr *s = jval_text(c, eval(c, n->kid[0]));
    for (uint32_t i = 1; i < n->n; i++)
        s = jstr_concat(c, s, jval_text(c, eval(c, n->kid[i])));
    return jval_str(jstr_mark(c, s, 0));
}

static __attribute__((noinline)) struct jval eval_compare(struct jctx *c, const struct jnode *n)
{
    struct jval a = eval(c, n->a), b;

    for (uint32_t i = 0; i < n->n; i++) {
        b = eval(c, n->kid[i]);
        if (!jop_compare(c, n->ops[i], a, b))
            return jval_bool(0);
        a = b;
    }
    return jval_bool(1);
}

static __attribute__((noinline)) struct jval eval_slice(struct jctx *c, const struct jnode *n)
{
    struct jval v = eval(c, n->a), b[3];

    for (int i = 0; i < 3; i++)
        b[i] = n->kid[i] ? eval(c, n->kid[i]) : JNONE;
    c->line = n->line;
    return jval_slice(c, v, b[0], b[1], b[2]);
}

static struct jval eval_two(struct jctx *c, const struct jnode *n)
{
    struct jval a = eval(c, n->a), b = eval(c, n->b);

    c->line = n->line;
    return n->type == JN_ITEM ? jval_item(c, a, b) : jop_binary(c, (enum jop)n->op, a, b);
}

static struct jval eval(struct jctx *c, const struct jnode *n)
{
    struct jval v = JUNDEF;

    enter(c, n);
    switch ((enum jnode_type)n->type) {
    case JN_CONST:
        v = n->k;
        break;
    case JN_NAME:
        v = get_var(c, n->name);
        break;
    case JN_LIST:
    case JN_TUPLE:
        v = eval_list(c, n, n->type == JN_LIST ? JV_LIST : JV_TUPLE);
        break;
    case JN_DICT:
        v = eval_dict(c, n);
        break;
    case JN_ATTR:
        v = eval(c, n->a);
        c->line = n->line;
        v = jval_attr(c, v, n->k.s);
        break;
    case JN_SLICE:
        v = eval_slice(c, n);
        break;
    case JN_CALL:
        v = eval_call(c, n);
        break;
    case JN_FILTER:
        v = eval_filter(c, n, NULL);
        break;
    case JN_TEST:
        v = eval_test(c, n);
        break;
    case JN_UNARY:
        v = jop_negate(c, eval(c, n->a), n->op);
        break;
    case JN_NOT:
        v = jval_bool(!jval_true(eval(c, n->a)));
        break;
    case JN_ITEM:
    case JN_BINARY:
        v = eval_two(c, n);
        break;
    case JN_AND:
        v = eval(c, n->a);
        v = jval_true(v) ? eval(c, n->b) : v;
        break;
    case JN_OR:
        v = eval(c, n->a);
        v = jval_true(v) ? v : eval(c, n->b);
        break;
    case JN_CONCAT:
        v = eval_concat(c, n);
        break;
    case JN_COMPARE:
        v = eval_compare(c, n);
        break;
    case JN_COND:
        if (jval_true(eval(c, n->b)))
            v = eval(c, n->a);
        else if (n->c)
            v = eval(c, n->c);
        break;
    default:
        CHECK(!"an expression");
    }
    c->depth--;
    return v;
}

/* ---- statements ------------------------------------------------------------------------------ */

/* Run a body in a scope of its own and keep its text. */
static struct jval capture(struct jctx *c, const struct jnode *body, enum flow *flow)
{
    struct jsb *out = c->out, *mine = jsb_new(c, 64);

    c->out = mine;
    c->scope = push_scope(c, c->scope);
    *flow = exec(c, body);
    c->scope = c->scope->up;
    c->out = out;
    return jval_str(jsb_str(c, mine));
}

static enum flow exec_body(struct jctx *c, const struct jnode *n)
{
    enum flow flow = NEXT;

    for (uint32_t i = 0; i < n->n && flow == NEXT; i++)
        flow = exec(c, n->kid[i]);
    return flow;
}

static enum flow exec_if(struct jctx *c, const struct jnode *n)
{
    for (uint32_t i = 0; i + 1 < n->n; i += 2) {
        if (jval_true(eval(c, n->kid[i])))
            return exec(c, n->kid[i + 1]);
    }
    return n->a ? exec(c, n->a) : NEXT;
}

static struct jlist *filter_items(struct jctx *c, const struct jnode *n, const struct jlist *from)
{
    struct jlist *l = jlist_new(c, 8);

    for (size_t i = 0; i < from->n; i++) {
        c->scope->n = 0;
        assign(c, n->a, from->v[i]);
        if (jval_true(eval(c, n->c)))
            jlist_add(c, l, from->v[i]);
    }
    return l;
}

static __attribute__((noinline)) enum flow run_loop(struct jctx *c, const struct jnode *n,
                                                    struct jlist *items, int depth0)
{
    struct jscope *outer = c->scope;
    struct jloop *loop;
    enum flow flow = NEXT;

    c->line = n->line;
    c->scope = push_scope(c, outer);
    if (n->c)
        items = filter_items(c, n, items);
    if (!items->n) {
        c->scope->n = 0;
        flow = n->kid[1] ? exec(c, n->kid[1]) : NEXT;
        c->scope = outer;
        return flow;
    }
    loop = jctx_alloc(c, sizeof *loop);
    *loop = (struct jloop){.node = n,
                           .outer = outer,
                           .items = items,
                           .depth0 = depth0,
                           .changed = {.type = JV_ABSENT}};
    for (; loop->i < items->n && flow != BREAK; loop->i++) {
        c->scope->n = 0;
        jctx_tick(c, 1);
        assign(c, n->a, items->v[loop->i]);
        if (c->prog->id_loop != JINJA_NO_ID)
            set_var(c, c->scope, c->prog->id_loop, (struct jval){.type = JV_LOOP, .loop = loop});
        flow = exec(c, n->kid[0]);
    }
    c->scope = outer;
    return NEXT;
}

static enum flow exec_for(struct jctx *c, const struct jnode *n)
{
    return run_loop(c, n, jval_items(c, eval(c, n->b)), 0);
}

static struct jval new_macro(struct jctx *c, const struct jnode *n)
{
    struct jmacro *m = jctx_alloc(c, sizeof *m);
    *m = (struct jmacro){.node = n, .scope = c->scope};
    return (struct jval){.type = JV_MACRO, .macro = m};
}

static __attribute__((noinline)) void exec_call_block(struct jctx *c, const struct jnode *n)
{
    struct jval f = eval(c, n->b->a);
    struct jargs a = eval_args(c, n->b);
    struct jkw *kw = (struct jkw *)a.kw; /* eval_args left room */

    kw[a.n_kw++] = (struct jkw){c->prog->name[c->prog->id_caller], new_macro(c, n)};
    jval_add_text(c, c->out, jval_call(c, f, &a));
}

static __attribute__((noinline)) enum flow exec_scope(struct jctx *c, const struct jnode *n)
{
    struct jscope *outer = c->scope, *inner = push_scope(c, outer);
    enum flow flow;

    for (uint32_t i = 0; i < n->n; i++)
        set_var(c, inner, n->param[i], eval(c, n->kid[i]));
    c->scope = inner;
    flow = exec(c, n->a);
    c->scope = outer;
    return flow;
}

/* A block sees the variables of the template's top level, or all where it is `scoped`. */
static __attribute__((noinline)) void exec_block(struct jctx *c, const struct jnode *n)
{
    struct jscope *outer = c->scope, *up = outer;

    while (!n->op && up->up)
        up = up->up;
    c->scope = push_scope(c, up);
    exec(c, n->a);
    c->scope = outer;
}

static __attribute__((noinline)) enum flow exec_set_block(struct jctx *c, const struct jnode *n)
{
    enum flow flow;
    struct jval v = capture(c, n->c, &flow);

    assign(c, n->a, n->b ? eval_filter(c, n->b, &v) : v);
    return flow;
}

static __attribute__((noinline)) enum flow exec_filter_block(struct jctx *c, const struct jnode *n)
{
    enum flow flow;
    struct jval v = capture(c, n->a, &flow);

    jval_add_text(c, c->out, eval_filter(c, n->b, &v));
    return flow;
}

static enum flow exec(struct jctx *c, const struct jnode *n)
{
    enum flow flow = NEXT;

    enter(c, n);
    switch ((enum jnode_type)n->type) {
    case JN_TEXT:
        jsb_add_str(c, c->out, n->k.s);
        break;
    case JN_PRINT:
        jval_add_text(c, c->out, eval(c, n->a));
        break;
    case JN_BODY:
        flow = exec_body(c, n);
        break;
    case JN_IF:
        flow = exec_if(c, n);
        break;
    case JN_FOR:
        flow = exec_for(c, n);
        break;
    case JN_SET:
        assign(c, n->a, eval(c, n->b));
        break;
    case JN_SET_BLOCK:
        flow = exec_set_block(c, n);
        break;
    case JN_MACRO:
        set_var(c, c->scope, n->name, new_macro(c, n));
        break;
    case JN_CALL_BLOCK:
        exec_call_block(c, n);
        break;
    case JN_FILTER_BLOCK:
        flow = exec_filter_block(c, n);
        break;
    case JN_SCOPE:
        flow = exec_scope(c, n);
        break;
    case JN_BLOCK:
        exec_block(c, n);
        break;
    case JN_BREAK:
        flow = BREAK;
        break;
    case JN_CONTINUE:
        flow = CONTINUE;
        break;
    default:
        CHECK(!"a statement");
    }
    c->depth--;
    return flow;
}

void jeval_run(struct jctx *c, const struct jnode *n)
{
    exec(c, n);
}
