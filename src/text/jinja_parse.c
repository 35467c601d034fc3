/* Statements and what both halves of the parser share. */
#include "text/jinja_parse.h"

#include <string.h>

enum { BLOCKS_MAX = 256 };

static struct jnode *parse_body(struct jparse *p, const char *const *ends);

/* ---- tokens ---------------------------------------------------------------------------------- */

void jparse_next(struct jparse *p)
{
    if (p->has_ahead) {
        p->cur = p->ahead;
        p->has_ahead = 0;
    } else
        jlex_next(&p->lex, &p->cur);
    p->c->line = p->cur.line;
}

const struct jtoken *jparse_look(struct jparse *p)
{
    if (!p->has_ahead) {
        jlex_next(&p->lex, &p->ahead);
        p->has_ahead = 1;
        p->c->line = p->cur.line;
    }
    return &p->ahead;
}

void jparse_fail(struct jparse *p, const char *expected)
{
    const struct jtoken *t = &p->cur;
    int n = t->n > 40 ? 40 : (int)t->n;

    p->c->line = t->line;
    if (t->type == JT_EOF)
        jctx_fail(p->c, ERR_FORMAT, "expected %s, but the template ends", expected);
    if (t->type == JT_DATA)
        jctx_fail(p->c, ERR_FORMAT, "expected %s, but found text", expected);
    jctx_fail(p->c, ERR_FORMAT, "expected %s, but found '%.*s'", expected, n, t->p);
}

int jparse_is_op(const struct jparse *p, int op)
{
    return p->cur.type == JT_OP && p->cur.op == op;
}

int jparse_is_name(const struct jparse *p, const char *name)
{
    return p->cur.type == JT_NAME && strlen(name) == p->cur.n && !memcmp(p->cur.p, name, p->cur.n);
}

int jparse_skip_op(struct jparse *p, int op)
{
    if (!jparse_is_op(p, op))
        return 0;
    jparse_next(p);
    return 1;
}

int jparse_skip_name(struct jparse *p, const char *name)
{
    if (!jparse_is_name(p, name))
        return 0;
    jparse_next(p);
    return 1;
}

void jparse_expect_op(struct jparse *p, int op)
{
    char what[] = {'\'', (char)op, '\'', 0};
    if (!jparse_skip_op(p, op))
        jparse_fail(p, what);
}

void jparse_enter(struct jparse *p)
{
    if (++p->depth > JCTX_PARSE_DEPTH)
        jctx_fail(p->c, ERR_LIMIT, "the template is nested more than %d levels deep",
                  JCTX_PARSE_DEPTH);
}

struct jnode *jparse_node(struct jparse *p, enum jnode_type type, uint32_t line)
{
    struct jnode *n = jctx_alloc(p->c, sizeof *n);
    memset(n, 0, sizeof *n);
    n->type = (uint8_t)type;
    n->line = line;
    return n;
}

void jnodes_add(struct jparse *p, struct jnodes *l, struct jnode *n)
{
    if (l->n == l->cap) {
        uint32_t cap = l->cap ? l->cap * 2 : 4;
        struct jnode **v = jctx_array(p->c, cap, sizeof *v);
        if (l->n)
            memcpy(v, l->v, l->n * sizeof *v);
        l->v = v;
        l->cap = cap;
    }
    l->v[l->n++] = n;
}

uint32_t jparse_name_id(struct jparse *p, const char *s, size_t n)
{
    jctx_tick(p->c, 1 + p->n_names / 16);
    for (uint32_t i = 0; i < p->n_names; i++) {
        if (p->name[i]->n == n && !memcmp(p->name[i]->p, s, n))
            return i;
    }
    if (p->n_names == p->names_cap) {
        uint32_t cap = p->names_cap ? p->names_cap * 2 : 64;
        const struct jstr **v;
        if (p->n_names >= 4096)
            jctx_fail(p->c, ERR_LIMIT, "more than 4096 variables");
        v = jctx_array(p->c, cap, sizeof *v);
        if (p->n_names)
            memcpy(v, p->name, p->n_names * sizeof *v);
        p->name = v;
        p->names_cap = cap;
    }
    p->name[p->n_names] = jstr_new(p->c, s, n, 1);
    jstr_hash(p->name[p->n_names]);
    return p->n_names++;
}

const struct jstr *jparse_token_str(struct jparse *p)
{
    const struct jstr *s = jstr_new(p->c, p->cur.p, p->cur.n, 1);
    jstr_hash(s);
    jstr_ascii(p->c, s);
    return s;
}

/* ---- statements ------------------------------------------------------------------------------ */

static void expect_block_end(struct jparse *p)
{
    if (p->cur.type != JT_BLOCK_END)
        jparse_fail(p, "'%}'");
    jparse_next(p);
}

static void expect_name(struct jparse *p, const char *name)
{
    if (!jparse_skip_name(p, name))
        jparse_fail(p, name);
}

/* The rest of a tag and the body up to one of the end tags, whose name is then current. */
static struct jnode *parse_block(struct jparse *p, const char *const *ends)
{
    jparse_skip_op(p, ':');
    expect_block_end(p);
    return parse_body(p, ends);
}

/* The same for a body in a frame of its own, where unknown filters fail at once again. */
static struct jnode *parse_inner(struct jparse *p, const char *const *ends)
{
    int soft = p->soft;
    struct jnode *n;

    p->soft = 0;
    n = parse_block(p, ends);
    p->soft = soft;
    return n;
}

static struct jnode *parse_if(struct jparse *p)
{
    static const char *const ends[] = {"elif", "else", "endif", NULL}, *const last[] = {"endif",
                                                                                        NULL};
    struct jnode *n = jparse_node(p, JN_IF, p->cur.line);
    struct jnodes l = {0};

    p->soft++;
    do {
        jparse_next(p);
        jnodes_add(p, &l, jexpr_parse_tuple(p, JEXPR_NO_COND));
        jnodes_add(p, &l, parse_block(p, ends));
    } while (jparse_is_name(p, "elif"));
    if (jparse_skip_name(p, "else"))
        n->a = parse_block(p, last);
    jparse_next(p);
    p->soft--;
    n->kid = l.v;
    n->n = l.n;
    return n;
}

static struct jnode *parse_for(struct jparse *p)
{
    static const char *const ends[] = {"endfor", "else", NULL}, *const last[] = {"endfor", NULL};
    struct jnode *n = jparse_node(p, JN_FOR, p->cur.line);

    jparse_next(p);
    n->a = jexpr_parse_target(p, JEXPR_STOP_IN);
    expect_name(p, "in");
    n->b = jexpr_parse_tuple(p, JEXPR_NO_COND | JEXPR_STOP_RECURSIVE);
    if (jparse_skip_name(p, "if"))
        n->c = jexpr_parse(p);
    n->op = (int8_t)jparse_skip_name(p, "recursive");
    n->kid = jctx_array(p->c, 2, sizeof *n->kid);
    n->n = 2;
    p->loops++;
    n->kid[0] = parse_inner(p, ends);
    p->loops--;
    n->kid[1] = jparse_skip_name(p, "else") ? parse_inner(p, last) : NULL;
    jparse_next(p);
    return n;
}

static struct jnode *parse_set(struct jparse *p)
{
    static const char *const ends[] = {"endset", NULL};
    struct jnode *n = jparse_node(p, JN_SET, p->cur.line);

    jparse_next(p);
    n->a = jexpr_parse_target(p, JEXPR_NAMESPACE);
    if (jparse_skip_op(p, '=')) {
        n->b = jexpr_parse_tuple(p, 0);
        return n;
    }
    n->type = JN_SET_BLOCK;
    n->b = jexpr_parse_filters(p, NULL, 0);
    n->c = parse_inner(p, ends);
    jparse_next(p);
    return n;
}

/* Parameters with their defaults: n->param, n->kid (NULL: required). */
static void parse_signature(struct jparse *p, struct jnode *n)
{
    struct jnodes l = {0};
    int defaults = 0;

    n->param = jctx_array(p->c, JCTX_ARGS_MAX, sizeof *n->param);
    jparse_expect_op(p, '(');
    while (!jparse_is_op(p, ')')) {
        if (l.n)
            jparse_expect_op(p, ',');
        if (p->cur.type != JT_NAME)
            jparse_fail(p, "a parameter's name");
        if (l.n == JCTX_ARGS_MAX)
            jctx_fail(p->c, ERR_LIMIT, "more than %d parameters", JCTX_ARGS_MAX);
        n->param[l.n] = jparse_name_id(p, p->cur.p, p->cur.n);
        jparse_next(p);
        if (jparse_skip_op(p, '=')) {
            jnodes_add(p, &l, jexpr_parse(p));
            defaults = 1;
        } else {
            if (defaults)
                jctx_fail(p->c, ERR_FORMAT, "a parameter without default follows one with default");
            jnodes_add(p, &l, NULL);
        }
    }
    jparse_expect_op(p, ')');
    n->kid = l.v;
    n->n = l.n;
}

/* Of caller, kwargs and varargs, those that are ordinary parameters of this macro. */
static unsigned declared_specials(const struct jparse *p, const struct jnode *n)
{
    unsigned r = 0;

    for (uint32_t i = 0; i < n->n; i++) {
        const struct jstr *name = p->name[n->param[i]];
        r |= jstr_is(name, "caller")    ? JMACRO_CALLER
             : jstr_is(name, "kwargs")  ? JMACRO_KWARGS
             : jstr_is(name, "varargs") ? JMACRO_VARARGS
                                        : 0;
    }
    return r;
}

static void parse_macro_body(struct jparse *p, struct jnode *n, const char *const *ends)
{
    unsigned outer = p->uses;
    int loops = p->loops;

    p->uses = 0;
    p->loops = 0;
    n->a = parse_inner(p, ends);
    n->op = (int8_t)(p->uses & ~declared_specials(p, n));
    p->loops = loops;
    p->uses |= outer; /* names of an inner macro count for the outer one too */
    jparse_next(p);
}

static struct jnode *parse_macro(struct jparse *p)
{
    static const char *const ends[] = {"endmacro", NULL};
    struct jnode *n = jparse_node(p, JN_MACRO, p->cur.line);

    jparse_next(p);
    if (p->cur.type != JT_NAME)
        jparse_fail(p, "the macro's name");
    n->name = jparse_name_id(p, p->cur.p, p->cur.n);
    jparse_next(p);
    parse_signature(p, n);
    parse_macro_body(p, n, ends);
    return n;
}

static struct jnode *parse_call_block(struct jparse *p)
{
    static const char *const ends[] = {"endcall", NULL};
    struct jnode *n = jparse_node(p, JN_CALL_BLOCK, p->cur.line);

    jparse_next(p);
    n->name = jparse_name_id(p, "caller", 6);
    if (jparse_is_op(p, '('))
        parse_signature(p, n);
    n->b = jexpr_parse(p);
    if (n->b->type != JN_CALL)
        jctx_fail(p->c, ERR_FORMAT, "{%% call %%} needs a call");
    parse_macro_body(p, n, ends);
    return n;
}

static struct jnode *parse_filter_block(struct jparse *p)
{
    static const char *const ends[] = {"endfilter", NULL};
    struct jnode *n = jparse_node(p, JN_FILTER_BLOCK, p->cur.line);

    jparse_next(p);
    n->b = jexpr_parse_filters(p, NULL, 1);
    n->a = parse_inner(p, ends);
    jparse_next(p);
    return n;
}

static struct jnode *parse_with(struct jparse *p)
{
    static const char *const ends[] = {"endwith", NULL};
    struct jnode *n = jparse_node(p, JN_SCOPE, p->cur.line);
    struct jnodes l = {0};

    jparse_next(p);
    n->param = jctx_array(p->c, JCTX_ARGS_MAX, sizeof *n->param);
    while (p->cur.type != JT_BLOCK_END) {
        if (l.n)
            jparse_expect_op(p, ',');
        if (p->cur.type != JT_NAME || l.n == JCTX_ARGS_MAX)
            jparse_fail(p, "a name");
        n->param[l.n] = jparse_name_id(p, p->cur.p, p->cur.n);
        jparse_next(p);
        jparse_expect_op(p, '=');
        jnodes_add(p, &l, jexpr_parse(p));
    }
    n->kid = l.v;
    n->n = l.n;
    n->a = parse_inner(p, ends);
    jparse_next(p);
    return n;
}

/* Marks what the assistant said, for training; here only its scope matters. */
static struct jnode *parse_generation(struct jparse *p)
{
    static const char *const ends[] = {"endgeneration", NULL};
    struct jnode *n = jparse_node(p, JN_SCOPE, p->cur.line);

    jparse_next(p);
    n->a = parse_inner(p, ends);
    jparse_next(p);
    return n;
}

static struct jnode *parse_named_block(struct jparse *p)
{
    static const char *const ends[] = {"endblock", NULL};
    struct jnode *n = jparse_node(p, JN_BLOCK, p->cur.line);
    const struct jstr *name;
    int loops = p->loops;

    jparse_next(p);
    if (p->cur.type != JT_NAME)
        jparse_fail(p, "the block's name");
    name = jparse_token_str(p);
    for (uint32_t i = 0; i < p->blocks.n; i++) {
        if (jstr_eq(p->blocks.v[i]->k.s, name))
            jctx_fail(p->c, ERR_FORMAT, "block '%.*s' is defined twice", (int)name->n, name->p);
    }
    if (p->blocks.n == BLOCKS_MAX)
        jctx_fail(p->c, ERR_LIMIT, "more than %d blocks", BLOCKS_MAX);
    n->k = jval_str(name);
    jnodes_add(p, &p->blocks, n);
    jparse_next(p);
    n->op = (int8_t)jparse_skip_name(p, "scoped");
    if (jparse_is_name(p, "required"))
        jctx_fail(p->c, ERR_UNSUPPORTED, "a required block needs a template that extends this one");
    p->loops = 0;
    n->a = parse_inner(p, ends);
    p->loops = loops;
    jparse_next(p);
    if (p->cur.type == JT_NAME && p->cur.n == name->n && !memcmp(p->cur.p, name->p, name->n))
        jparse_next(p);
    return n;
}

static struct jnode *parse_print(struct jparse *p)
{
    struct jnode *n = jparse_node(p, JN_BODY, p->cur.line);
    struct jnodes l = {0};

    jparse_next(p);
    while (p->cur.type != JT_BLOCK_END) {
        struct jnode *print = jparse_node(p, JN_PRINT, p->cur.line);
        if (l.n)
            jparse_expect_op(p, ',');
        print->a = jexpr_parse(p);
        jnodes_add(p, &l, print);
    }
    n->kid = l.v;
    n->n = l.n;
    return n;
}

static struct jnode *parse_simple(struct jparse *p, enum jnode_type type)
{
    struct jnode *n = jparse_node(p, type, p->cur.line);
    if (!p->loops)
        jctx_fail(p->c, ERR_FORMAT, "break and continue belong in a loop");
    jparse_next(p);
    return n;
}

static struct jnode *parse_break(struct jparse *p)
{
    return parse_simple(p, JN_BREAK);
}

static struct jnode *parse_continue(struct jparse *p)
{
    return parse_simple(p, JN_CONTINUE);
}

static struct jnode *parse_statement(struct jparse *p)
{
    static const struct {
        const char *name;
        struct jnode *(*parse)(struct jparse *p);
    } table[] = {
        {"if", parse_if},
        {"for", parse_for},
        {"set", parse_set},
        {"macro", parse_macro},
        {"call", parse_call_block},
        {"filter", parse_filter_block},
        {"with", parse_with},
        {"generation", parse_generation},
        {"block", parse_named_block},
        {"print", parse_print},
        {"break", parse_break},
        {"continue", parse_continue},
    };

    /* A model's template stands alone, and its text is no HTML. */
    static const char *const refused[] = {"include", "import", "from", "extends", "autoescape"};

    if (p->cur.type != JT_NAME)
        jparse_fail(p, "the name of a tag");
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        if (jparse_is_name(p, table[i].name))
            return table[i].parse(p);
    }
    for (size_t i = 0; i < ARRAY_LEN(refused); i++) {
        if (jparse_is_name(p, refused[i]))
            jctx_fail(p->c, ERR_UNSUPPORTED, "the tag '%s' is not supported", refused[i]);
    }
    if (p->cur.n > 3 && !memcmp(p->cur.p, "end", 3))
        jparse_fail(p, "another tag");
    jctx_fail(p->c, ERR_UNSUPPORTED, "there is no tag named '%.*s'", (int)p->cur.n, p->cur.p);
}

static int at_end_tag(const struct jparse *p, const char *const *ends)
{
    for (; ends && *ends; ends++) {
        if (jparse_is_name(p, *ends))
            return 1;
    }
    return 0;
}

static struct jnode *parse_body(struct jparse *p, const char *const *ends)
{
    struct jnode *body = jparse_node(p, JN_BODY, p->cur.line), *n;
    struct jnodes l = {0};

    jparse_enter(p);
    for (;;) {
        uint32_t line = p->cur.line;
        if (p->cur.type == JT_EOF) {
            if (ends)
                jparse_fail(p, ends[0]);
            break;
        }
        if (p->cur.type == JT_DATA) {
            n = jparse_node(p, JN_TEXT, line);
            n->k = p->cur.v;
            jparse_next(p);
        } else if (p->cur.type == JT_PRINT_BEGIN) {
            n = jparse_node(p, JN_PRINT, line);
            jparse_next(p);
            n->a = jexpr_parse_tuple(p, 0);
            if (p->cur.type != JT_PRINT_END)
                jparse_fail(p, "'}}'");
            jparse_next(p);
        } else {
            jparse_next(p);
            if (at_end_tag(p, ends))
                break;
            n = parse_statement(p);
            expect_block_end(p);
        }
        if (p->unknown) {
            p->c->line = p->unknown_line;
            jctx_fail(p->c, ERR_UNSUPPORTED, "there is no %s named '%.*s'", p->unknown_what,
                      (int)p->unknown->n, p->unknown->p);
        }
        jnodes_add(p, &l, n);
    }
    p->depth--;
    body->kid = l.v;
    body->n = l.n;
    return body;
}

struct jnode *jparse_template(struct jctx *c, const char *text, size_t n,
                              const struct jstr ***ret_name, uint32_t *ret_n_names)
{
    struct jparse *p = jctx_alloc(c, sizeof *p);
    struct jnode *root;

    memset(p, 0, sizeof *p);
    p->c = c;
    jlex_init(&p->lex, c, text, n);
    jparse_next(p);
    root = parse_body(p, NULL);
    *ret_name = p->name;
    *ret_n_names = p->n_names;
    return root;
}
