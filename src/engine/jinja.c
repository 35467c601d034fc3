#include "engine/jinja.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/utf8.h"
#include "engine/jinja_core.h"

enum { COMPILE_MEM_MAX = 96 << 20, CHUNK = 64 << 10 };

/* ---- errors and memory: all of them jump to the entry point
 * -------------------------------------- */

void jctx_fail(struct jctx *c, int code, const char *fmt, ...)
{
    char text[400];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    if (c->line)
        err_set(c->err, code, "chat template, line %u: %s", c->line, text);
    else
        err_set(c->err, code, "chat template: %s", text);
    c->code = code;
    longjmp(c->jump, 1);
}

void jctx_raise(struct jctx *c, const char *p, size_t n)
{
    size_t max = c->err ? sizeof c->err->text - 1 : 0;

    if (n > max) { /* do not cut a character in two */
        n = max;
        n -= utf8_partial_tail(p, n);
    }
    err_set(c->err, ERR_ARG, "%.*s", (int)n, p);
    c->code = ERR_ARG;
    longjmp(c->jump, 1);
}

void jctx_fail_steps(struct jctx *c)
{
    jctx_fail(c, ERR_LIMIT, "it takes more than %d steps", JINJA_STEPS_MAX);
}

void *jctx_alloc(struct jctx *c, size_t n)
{
    void *p = arena_alloc(&c->arena, n);

    if (!p && (n > c->arena.max || c->arena.used + n + 16 > c->arena.max))
        jctx_fail(c, ERR_LIMIT, "it needs more than %zu MiB of memory", c->arena.max >> 20);
    if (!p)
        jctx_fail(c, ERR_NOMEM, "out of memory");
    return p;
}

void *jctx_array(struct jctx *c, size_t n, size_t size)
{
    return jctx_alloc(c, n > SIZE_MAX / size ? SIZE_MAX : n * size);
}

/* ---- compile ----------------------------------------------------------------------------------
 */

static uint32_t find_name(const struct jinja *j, const char *name)
{
    for (uint32_t i = 0; i < j->n_names; i++) {
        if (jstr_is(j->name[i], name))
            return i;
    }
    return JINJA_NO_ID;
}

static struct jctx *ctx_new(size_t mem_max, struct err *e)
{
    struct jctx *c = calloc(1, sizeof *c);

    if (!c) {
        err_set(e, ERR_NOMEM, "out of memory");
        return NULL;
    }
    arena_init(&c->arena, CHUNK, mem_max);
    c->err = e;
    return c;
}

static void ctx_free(struct jctx *c)
{
    json_decref(c->parsed);
    arena_done(&c->arena);
    free(c);
}

int jinja_compile(struct jinja **ret, const char *text, size_t n, struct err *e)
{
    struct jctx *c;
    struct jinja *j;
    size_t bad;
    int code;

    if (n > JINJA_TEXT_MAX)
        return err_set(e, ERR_LIMIT, "chat template: longer than %d bytes", JINJA_TEXT_MAX);
    if (!utf8_valid(text, n, &bad))
        return err_set(e, ERR_FORMAT, "chat template: not valid UTF-8 at byte %zu", bad);
    c = ctx_new(COMPILE_MEM_MAX, e);
    if (!c)
        return ERR_NOMEM;
    if (setjmp(c->jump)) {
        code = c->code;
        free(c->made);
        ctx_free(c);
        return code;
    }
    j = calloc(1, sizeof *j);
    if (!j)
        jctx_fail(c, ERR_NOMEM, "out of memory");
    c->made = j;
    j->root = jparse_template(c, text, n, &j->name, &j->n_names);
    j->id_loop = find_name(j, "loop");
    j->id_caller = find_name(j, "caller");
    j->id_kwargs = find_name(j, "kwargs");
    j->id_varargs = find_name(j, "varargs");
    j->arena = c->arena;
    free(c);
    *ret = j;
    return 0;
}

void jinja_free(struct jinja *j)
{
    if (!j)
        return;
    arena_done(&j->arena);
    free(j);
}

int jinja_uses(const struct jinja *j, const char *name)
{
    return find_name(j, name) != JINJA_NO_ID;
}

/* ---- render -----------------------------------------------------------------------------------
 */

/* Templates build control tokens from roles ('<|' + message.role + '|>'). The roles that chat APIs
 * name, as roles of messages, therefore count as the template's own words; any other text there,
 * which could name some other token, does not. */
static void trust_roles(struct jctx *c, struct jval messages)
{
    static const char *const roles[] = {"system",    "developer", "user",
                                        "assistant", "tool",      "function"};
    const struct jstr *key = jstr_new(c, "role", 4, 0);

    for (size_t i = 0; messages.type == JV_LIST && i < messages.l->n; i++) {
        struct jval *role = NULL;
        if (messages.l->v[i].type == JV_DICT)
            role = jdict_find_str(c, messages.l->v[i].d, key);
        for (size_t k = 0; role && role->type == JV_STR && k < ARRAY_LEN(roles); k++) {
            if (jstr_is(role->s, roles[k]))
                *role = jval_str(jstr_new(c, roles[k], role->s->n, 1));
        }
    }
}

/* Values of the variables that the template names. */
static void set_globals(struct jctx *c, const struct jinja_input *in)
{
    const json_t *const from[] = {in->trusted, in->globals, in->kwargs};
    uint32_t n = c->prog->n_names;
    struct jscope *root = jctx_alloc(c, sizeof *root);

    *root = (struct jscope){.slot = jctx_array(c, n + 1, sizeof *root->slot), .n = n, .cap = n};
    for (uint32_t i = 0; i < n; i++) {
        const struct jstr *name = c->prog->name[i];
        const json_t *v = NULL;
        int f;
        size_t k = 0;
        for (; k < ARRAY_LEN(from) && !v; k++)
            v = json_object_getn(from[k], name->p, name->n);
        root->slot[i].name = i;
        root->slot[i].v = (struct jval){.type = JV_ABSENT};
        if (v)
            root->slot[i].v = jval_from_json(c, v, k == 1);
        else if ((f = jfunc_find(name)) >= 0)
            root->slot[i].v = (struct jval){.type = JV_FUNC, .i = f};
        if (v && jstr_is(name, "messages"))
            trust_roles(c, root->slot[i].v);
    }
    c->scope = root;
}

/* The trusted runs of the text. */
static void find_spans(struct jctx *c, const struct jstr *s, struct jinja_out *out)
{
    size_t n = 0, cap = 0;
    struct jinja_span *spans = NULL;

    for (size_t i = 0, from; i < s->n; i = from) {
        from = i;
        if (s->trust != JTRUST_MIXED)
            from = s->n;
        else {
            while (from < s->n && s->t[from] == s->t[i])
                from++;
        }
        if (!jstr_trusted_at(s, i))
            continue;
        if (n == cap) {
            struct jinja_span *p;
            cap = cap ? cap * 2 : 64;
            p = realloc(spans, cap * sizeof *p);
            if (!p) {
                free(spans);
                jctx_fail(c, ERR_NOMEM, "out of memory");
            }
            spans = p;
        }
        spans[n++] = (struct jinja_span){i, from - i};
    }
    out->spans = spans;
    out->n_spans = n;
}

static void run(struct jctx *c, const struct jinja_input *in, struct jinja_out *out)
{
    const struct jstr *s;

    set_globals(c, in);
    c->out = jsb_new(c, 4096);
    jeval_run(c, c->prog->root);
    c->line = 0;
    s = jsb_str(c, c->out);
    buf_init(&out->text, JINJA_OUTPUT_MAX);
    if (buf_add(&out->text, s->p, s->n))
        jctx_fail(c, out->text.failed, "%s", err_text(out->text.failed));
    find_spans(c, s, out);
}

int jinja_render(const struct jinja *j, const struct jinja_input *in, struct jinja_out *out,
                 struct err *e)
{
    struct jctx *c = ctx_new(JINJA_MEM_MAX, e);
    int code;

    if (!c)
        return ERR_NOMEM;
    c->prog = j;
    c->now_s = in->now_s ? in->now_s : (int64_t)time(NULL);
    if (setjmp(c->jump)) {
        code = c->code;
        jinja_out_done(&c->result);
        ctx_free(c);
        return code;
    }
    run(c, in, &c->result);
    *out = c->result;
    ctx_free(c);
    return 0;
}

void jinja_out_done(struct jinja_out *out)
{
    buf_done(&out->text);
    free(out->spans);
    out->spans = NULL;
    out->n_spans = 0;
}
