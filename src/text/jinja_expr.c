/* Expressions, with the precedence of Jinja2's own parser (jinja2/parser.py), which differs from
 * Python's in places: `~` binds tighter than `+`, `**` is left-associative, filters and tests bind
 * tighter than unary minus. */
#include "text/jinja_parse.h"

#include <string.h>

static struct jnode *parse_or(struct jparse *p);
static struct jnode *parse_unary(struct jparse *p, int with_filter);

static struct jnode *binary(struct jparse *p, enum jnode_type type, int op, struct jnode *a,
                            struct jnode *b, uint32_t line)
{
    struct jnode *n = jparse_node(p, type, line);
    n->op = (int8_t)op;
    n->a = a;
    n->b = b;
    return n;
}

static struct jnode *constant(struct jparse *p, struct jval v, uint32_t line)
{
    struct jnode *n = jparse_node(p, JN_CONST, line);
    if (v.type == JV_STR) { /* fill its caches now, so that no rendering thread writes to it */
        jstr_hash(v.s);
        jstr_ascii(p->c, v.s);
    }
    n->k = v;
    return n;
}

static void set_kids(struct jnode *n, const struct jnodes *l)
{
    n->kid = l->v;
    n->n = l->n;
}

/* ---- calls ----------------------------------------------------------------------------------- */

/* Arguments in parentheses, into n->kid and n->kw. */
static void parse_args(struct jparse *p, struct jnode *n)
{
    struct jnodes pos = {0}, kw = {0};
    const struct jstr **names = jctx_array(p->c, JCTX_ARGS_MAX, sizeof *names);
    int comma = 0;

    jparse_expect_op(p, '(');
    while (!jparse_is_op(p, ')')) {
        if (comma) {
            jparse_expect_op(p, ',');
            if (jparse_is_op(p, ')'))
                break;
        }
        comma = 1;
        if (jparse_is_op(p, '*') || jparse_is_op(p, JOP2('*', '*')))
            jctx_fail(p->c, ERR_UNSUPPORTED, "* and ** in calls are not supported");
        if (pos.n + kw.n >= JCTX_ARGS_MAX)
            jctx_fail(p->c, ERR_LIMIT, "more than %d arguments in a call", JCTX_ARGS_MAX);
        if (p->cur.type == JT_NAME && jparse_look(p)->type == JT_OP && jparse_look(p)->op == '=') {
            names[kw.n] = jparse_token_str(p);
            jparse_next(p);
            jparse_next(p);
            jnodes_add(p, &kw, jexpr_parse(p));
        } else {
            if (kw.n)
                jctx_fail(p->c, ERR_FORMAT, "a positional argument follows a keyword argument");
            jnodes_add(p, &pos, jexpr_parse(p));
        }
    }
    jparse_expect_op(p, ')');
    set_kids(n, &pos);
    n->kw = kw.v;
    n->n_kw = (uint16_t)kw.n;
    n->kw_name = names;
}

static struct jnode *parse_call(struct jparse *p, struct jnode *callee)
{
    struct jnode *n = jparse_node(p, JN_CALL, p->cur.line);
    n->a = callee;
    parse_args(p, n);
    return n;
}

/* The name of a filter or test. Unknown ones fail once the statement has been read, or inside an
 * `if` of either kind when they run, so that a template may carry branches for other interpreters.
 */
static void parse_callee(struct jparse *p, struct jnode *n, const char *what,
                         const struct jmethod *(*find)(const struct jstr *))
{
    const struct jstr *name;

    if (p->cur.type != JT_NAME)
        jparse_fail(p, "a name");
    name = jparse_token_str(p);
    n->k = jval_str(name);
    n->method = find(name);
    jparse_next(p);
    if (!n->method && !p->soft && !p->unknown) {
        p->unknown = name;
        p->unknown_what = what;
        p->unknown_line = n->line;
    }
}

struct jnode *jexpr_parse_filters(struct jparse *p, struct jnode *a, int first_inline)
{
    while (first_inline || jparse_is_op(p, '|')) {
        struct jnode *n;
        if (!first_inline)
            jparse_next(p);
        first_inline = 0;
        n = jparse_node(p, JN_FILTER, p->cur.line);
        n->a = a;
        parse_callee(p, n, "filter", jfilter_find);
        if (jparse_is_op(p, '('))
            parse_args(p, n);
        a = n;
    }
    return a;
}

/* ---- postfix --------------------------------------------------------------------------------- */

/* An index, or a slice with its parts in kid[]. */
static struct jnode *parse_subscribed(struct jparse *p)
{
    struct jnode *n, *first = NULL;

    if (!jparse_is_op(p, ':')) {
        first = jexpr_parse(p);
        if (!jparse_is_op(p, ':'))
            return first;
    }
    n = jparse_node(p, JN_SLICE, p->cur.line);
    n->kid = jctx_array(p->c, 3, sizeof *n->kid);
    n->n = 3;
    n->kid[0] = first;
    n->kid[1] = n->kid[2] = NULL;
    jparse_next(p);
    if (!jparse_is_op(p, ':') && !jparse_is_op(p, ']') && !jparse_is_op(p, ','))
        n->kid[1] = jexpr_parse(p);
    if (jparse_skip_op(p, ':') && !jparse_is_op(p, ']') && !jparse_is_op(p, ','))
        n->kid[2] = jexpr_parse(p);
    return n;
}

static struct jnode *parse_subscript(struct jparse *p, struct jnode *a)
{
    uint32_t line = p->cur.line;
    struct jnode *n, *key;

    if (jparse_skip_op(p, '.')) {
        if (p->cur.type == JT_INT)
            n = binary(p, JN_ITEM, 0, a, constant(p, p->cur.v, line), line);
        else if (p->cur.type == JT_NAME) {
            n = binary(p, JN_ATTR, 0, a, NULL, line);
            n->k = jval_str(jparse_token_str(p));
        } else
            jparse_fail(p, "a name or number");
        jparse_next(p);
        return n;
    }
    jparse_expect_op(p, '[');
    if (jparse_is_op(p, ']'))
        jparse_fail(p, "an index");
    key = parse_subscribed(p);
    if (jparse_is_op(p, ',')) {
        struct jnodes l = {0};
        jnodes_add(p, &l, key);
        while (jparse_skip_op(p, ','))
            jnodes_add(p, &l, parse_subscribed(p));
        for (uint32_t i = 0; i < l.n; i++) {
            if (l.v[i]->type == JN_SLICE)
                jctx_fail(p->c, ERR_UNSUPPORTED, "slices of several dimensions are not supported");
        }
        key = jparse_node(p, JN_TUPLE, line);
        set_kids(key, &l);
    }
    jparse_expect_op(p, ']');
    if (key->type == JN_SLICE) {
        key->a = a;
        return key;
    }
    return binary(p, JN_ITEM, 0, a, key, line);
}

static struct jnode *parse_postfix(struct jparse *p, struct jnode *n)
{
    for (;;) {
        if (jparse_is_op(p, '.') || jparse_is_op(p, '['))
            n = parse_subscript(p, n);
        else if (jparse_is_op(p, '('))
            n = parse_call(p, n);
        else
            return n;
    }
}

/* ---- primary --------------------------------------------------------------------------------- */

static struct jnode *parse_strings(struct jparse *p)
{
    const struct jstr *s = p->cur.v.s;
    uint32_t line = p->cur.line;

    jparse_next(p);
    while (p->cur.type == JT_STR) { /* neighbours join, as in Python */
        s = jstr_concat(p->c, s, p->cur.v.s);
        jparse_next(p);
    }
    if (s->sb) /* a constant must not be appended to in place */
        s = jstr_new(p->c, s->p, s->n, 1);
    return constant(p, jval_str(s), line);
}

static struct jnode *parse_list(struct jparse *p)
{
    struct jnode *n = jparse_node(p, JN_LIST, p->cur.line);
    struct jnodes l = {0};

    jparse_expect_op(p, '[');
    while (!jparse_is_op(p, ']')) {
        if (l.n) {
            jparse_expect_op(p, ',');
            if (jparse_is_op(p, ']'))
                break;
        }
        jnodes_add(p, &l, jexpr_parse(p));
    }
    jparse_expect_op(p, ']');
    set_kids(n, &l);
    return n;
}

static struct jnode *parse_dict(struct jparse *p)
{
    struct jnode *n = jparse_node(p, JN_DICT, p->cur.line);
    struct jnodes l = {0};

    jparse_expect_op(p, '{');
    while (!jparse_is_op(p, '}')) {
        if (l.n) {
            jparse_expect_op(p, ',');
            if (jparse_is_op(p, '}'))
                break;
        }
        jnodes_add(p, &l, jexpr_parse(p));
        jparse_expect_op(p, ':');
        jnodes_add(p, &l, jexpr_parse(p));
    }
    jparse_expect_op(p, '}');
    set_kids(n, &l);
    return n;
}

static struct jnode *parse_name(struct jparse *p)
{
    uint32_t line = p->cur.line;
    struct jnode *n;

    if (jparse_is_name(p, "true") || jparse_is_name(p, "True"))
        n = constant(p, jval_bool(1), line);
    else if (jparse_is_name(p, "false") || jparse_is_name(p, "False"))
        n = constant(p, jval_bool(0), line);
    else if (jparse_is_name(p, "none") || jparse_is_name(p, "None"))
        n = constant(p, JNONE, line);
    else {
        if (jparse_is_name(p, "caller"))
            p->uses |= JMACRO_CALLER;
        else if (jparse_is_name(p, "kwargs"))
            p->uses |= JMACRO_KWARGS;
        else if (jparse_is_name(p, "varargs"))
            p->uses |= JMACRO_VARARGS;
        n = jparse_node(p, JN_NAME, line);
        n->name = jparse_name_id(p, p->cur.p, p->cur.n);
    }
    jparse_next(p);
    return n;
}

static struct jnode *parse_primary(struct jparse *p)
{
    struct jnode *n;

    jparse_enter(p);
    switch (p->cur.type) {
    case JT_NAME:
        n = parse_name(p);
        break;
    case JT_STR:
        n = parse_strings(p);
        break;
    case JT_INT:
    case JT_FLOAT:
        n = constant(p, p->cur.v, p->cur.line);
        jparse_next(p);
        break;
    default:
        if (jparse_skip_op(p, '(')) {
            n = jexpr_parse_tuple(p, JEXPR_PARENS);
            jparse_expect_op(p, ')');
        } else if (jparse_is_op(p, '['))
            n = parse_list(p);
        else if (jparse_is_op(p, '{'))
            n = parse_dict(p);
        else
            jparse_fail(p, "an expression");
    }
    p->depth--;
    return n;
}

/* ---- operators ------------------------------------------------------------------------------- */

static struct jnode *parse_test(struct jparse *p, struct jnode *a)
{
    struct jnode *n = jparse_node(p, JN_TEST, p->cur.line), *not ;
    int negated;

    jparse_next(p);
    negated = jparse_skip_name(p, "not");
    n->a = a;
    parse_callee(p, n, "test", jtest_find);
    if (jparse_is_op(p, '('))
        parse_args(p, n);
    else if (((p->cur.type == JT_NAME && !jparse_is_name(p, "else") && !jparse_is_name(p, "or") &&
               !jparse_is_name(p, "and")) ||
              p->cur.type == JT_STR || p->cur.type == JT_INT || p->cur.type == JT_FLOAT ||
              jparse_is_op(p, '[') || jparse_is_op(p, '{'))) {
        struct jnodes l = {0};
        if (jparse_is_name(p, "is"))
            jctx_fail(p->c, ERR_FORMAT, "tests cannot be chained with 'is'");
        jnodes_add(p, &l, parse_postfix(p, parse_primary(p)));
        set_kids(n, &l);
    }
    if (!negated)
        return n;
    not = jparse_node(p, JN_NOT, n->line);
    not ->a = n;
    return not ;
}

static struct jnode *parse_unary(struct jparse *p, int with_filter)
{
    uint32_t line = p->cur.line;
    struct jnode *n;

    if (jparse_is_op(p, '-') || jparse_is_op(p, '+')) {
        int sign = jparse_is_op(p, '-') ? -1 : 1;
        jparse_enter(p);
        jparse_next(p);
        n = binary(p, JN_UNARY, sign, parse_unary(p, 0), NULL, line);
        p->depth--;
    } else
        n = parse_primary(p);
    n = parse_postfix(p, n);
    while (with_filter) {
        if (jparse_is_op(p, '|'))
            n = jexpr_parse_filters(p, n, 0);
        else if (jparse_is_name(p, "is"))
            n = parse_test(p, n);
        else if (jparse_is_op(p, '('))
            n = parse_call(p, n);
        else
            break;
    }
    return n;
}

static struct jnode *parse_pow(struct jparse *p)
{
    uint32_t line = p->cur.line;
    struct jnode *n = parse_unary(p, 1);

    while (jparse_skip_op(p, JOP2('*', '*')))
        n = binary(p, JN_BINARY, JOP_POW, n, parse_unary(p, 1), line);
    return n;
}

static struct jnode *parse_math2(struct jparse *p)
{
    uint32_t line = p->cur.line;
    struct jnode *n = parse_pow(p);

    for (;;) {
        int op = jparse_is_op(p, '*')              ? JOP_MUL
                 : jparse_is_op(p, '/')            ? JOP_DIV
                 : jparse_is_op(p, JOP2('/', '/')) ? JOP_FLOORDIV
                 : jparse_is_op(p, '%')            ? JOP_MOD
                                                   : -1;
        if (op < 0)
            return n;
        jparse_next(p);
        n = binary(p, JN_BINARY, op, n, parse_pow(p), line);
    }
}

static struct jnode *parse_concat(struct jparse *p)
{
    uint32_t line = p->cur.line;
    struct jnode *n = parse_math2(p);
    struct jnodes l = {0};

    if (!jparse_is_op(p, '~'))
        return n;
    jnodes_add(p, &l, n);
    while (jparse_skip_op(p, '~'))
        jnodes_add(p, &l, parse_math2(p));
    n = jparse_node(p, JN_CONCAT, line);
    set_kids(n, &l);
    return n;
}

static struct jnode *parse_math1(struct jparse *p)
{
    uint32_t line = p->cur.line;
    struct jnode *n = parse_concat(p);

    while (jparse_is_op(p, '+') || jparse_is_op(p, '-')) {
        int op = jparse_is_op(p, '+') ? JOP_ADD : JOP_SUB;
        jparse_next(p);
        n = binary(p, JN_BINARY, op, n, parse_concat(p), line);
    }
    return n;
}

/* The comparison at the current token (consumed), or -1. */
static int comparison(struct jparse *p)
{
    static const struct {
        int token, op;
    } table[] = {
        {JOP2('=', '='), JOP_EQ},
        {JOP2('!', '='), JOP_NE},
        {'<', JOP_LT},
        {JOP2('<', '='), JOP_LE},
        {'>', JOP_GT},
        {JOP2('>', '='), JOP_GE},
    };

    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        if (jparse_skip_op(p, table[i].token))
            return table[i].op;
    }
    if (jparse_skip_name(p, "in"))
        return JOP_IN;
    if (jparse_is_name(p, "not")) {
        const struct jtoken *t = jparse_look(p);
        if (t->type == JT_NAME && t->n == 2 && !memcmp(t->p, "in", 2)) {
            jparse_next(p);
            jparse_next(p);
            return JOP_NOT_IN;
        }
    }
    return -1;
}

static struct jnode *parse_compare(struct jparse *p)
{
    uint32_t line = p->cur.line;
    struct jnode *first = parse_math1(p), *n;
    struct jnodes l = {0};
    uint8_t ops[32];
    int op;

    while ((op = comparison(p)) >= 0) {
        if (l.n == sizeof ops)
            jctx_fail(p->c, ERR_LIMIT, "too many comparisons in a chain");
        ops[l.n] = (uint8_t)op;
        jnodes_add(p, &l, parse_math1(p));
    }
    if (!l.n)
        return first;
    if (l.n == 1)
        return binary(p, JN_BINARY, ops[0], first, l.v[0], line);
    n = jparse_node(p, JN_COMPARE, line);
    n->a = first;
    set_kids(n, &l);
    n->ops = jctx_alloc(p->c, l.n);
    memcpy(n->ops, ops, l.n);
    return n;
}

static struct jnode *parse_not(struct jparse *p)
{
    uint32_t line = p->cur.line;
    struct jnode *n;

    if (!jparse_skip_name(p, "not"))
        return parse_compare(p);
    jparse_enter(p);
    n = binary(p, JN_NOT, 0, parse_not(p), NULL, line);
    p->depth--;
    return n;
}

static struct jnode *parse_and(struct jparse *p)
{
    uint32_t line = p->cur.line;
    struct jnode *n = parse_not(p);

    while (jparse_skip_name(p, "and"))
        n = binary(p, JN_AND, 0, n, parse_not(p), line);
    return n;
}

static struct jnode *parse_or(struct jparse *p)
{
    uint32_t line = p->cur.line;
    struct jnode *n = parse_and(p);

    while (jparse_skip_name(p, "or"))
        n = binary(p, JN_OR, 0, n, parse_and(p), line);
    return n;
}

struct jnode *jexpr_parse(struct jparse *p)
{
    const struct jstr *unknown = p->unknown;
    uint32_t line = p->cur.line;
    struct jnode *n, *cond;

    jparse_enter(p);
    n = parse_or(p);
    while (jparse_skip_name(p, "if")) {
        cond = jparse_node(p, JN_COND, line);
        cond->a = n;
        cond->b = parse_or(p);
        cond->c = jparse_skip_name(p, "else") ? jexpr_parse(p) : NULL;
        p->unknown = unknown; /* unknown names inside the condition do not fail the parse */
        n = cond;
    }
    p->depth--;
    return n;
}

/* ---- tuples and targets ---------------------------------------------------------------------- */

static int at_tuple_end(const struct jparse *p, const char *stop)
{
    return p->cur.type == JT_PRINT_END || p->cur.type == JT_BLOCK_END || jparse_is_op(p, ')') ||
           (stop && jparse_is_name(p, stop));
}

struct jnode *jexpr_parse_tuple(struct jparse *p, unsigned flags)
{
    const char *stop = flags & JEXPR_STOP_RECURSIVE ? "recursive" : NULL;
    uint32_t line = p->cur.line;
    struct jnodes l = {0};
    struct jnode *n;
    int comma = 0;

    while (!at_tuple_end(p, stop)) {
        jnodes_add(p, &l, flags & JEXPR_NO_COND ? parse_or(p) : jexpr_parse(p));
        if (!jparse_skip_op(p, ','))
            break;
        comma = 1;
    }
    if (!comma && l.n)
        return l.v[0];
    if (!comma && !(flags & JEXPR_PARENS))
        jparse_fail(p, "an expression");
    n = jparse_node(p, JN_TUPLE, line);
    set_kids(n, &l);
    return n;
}

static struct jnode *parse_target_item(struct jparse *p, unsigned flags)
{
    uint32_t line = p->cur.line;
    struct jnode *n;

    if (jparse_skip_op(p, '(')) {
        jparse_enter(p);
        n = jexpr_parse_target(p, flags & ~(unsigned)JEXPR_STOP_IN);
        jparse_expect_op(p, ')');
        p->depth--;
        return n;
    }
    if (p->cur.type != JT_NAME)
        jparse_fail(p, "a name to assign to");
    for (const char *const *s =
             (const char *const[]){"true", "false", "none", "True", "False", "None", NULL};
         *s; s++) {
        if (jparse_is_name(p, *s))
            jctx_fail(p->c, ERR_FORMAT, "cannot assign to '%s'", *s);
    }
    n = jparse_node(p, JN_NAME, line);
    n->name = jparse_name_id(p, p->cur.p, p->cur.n);
    jparse_next(p);
    if ((flags & JEXPR_NAMESPACE) && jparse_skip_op(p, '.')) {
        if (p->cur.type != JT_NAME)
            jparse_fail(p, "a name");
        n->type = JN_NS_TARGET;
        n->k = jval_str(jparse_token_str(p));
        jparse_next(p);
    }
    return n;
}

struct jnode *jexpr_parse_target(struct jparse *p, unsigned flags)
{
    uint32_t line = p->cur.line;
    struct jnodes l = {0};
    struct jnode *n;
    int comma = 0;

    while (!at_tuple_end(p, flags & JEXPR_STOP_IN ? "in" : NULL)) {
        jnodes_add(p, &l, parse_target_item(p, flags));
        if (!jparse_skip_op(p, ','))
            break;
        comma = 1;
    }
    if (!l.n)
        jparse_fail(p, "a name to assign to");
    if (!comma)
        return l.v[0];
    n = jparse_node(p, JN_TUPLE, line);
    set_kids(n, &l);
    return n;
}
