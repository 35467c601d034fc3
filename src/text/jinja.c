#include "text/jinja.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/utf8.h"
#include "text/jinja_core.h"

enum { COMPILE_MEM_MAX = 96 << 20, CHUNK = 64 << 10, LOOK_STEPS = 8192 };

/* ---- errors and memory: all of them jump to the entry point ---------------------------------- */

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

void jctx_look(struct jctx *c)
{
    int rc = patience_over(c->patience, c->err);

    if (rc) {
        c->code = rc;
        longjmp(c->jump, 1);
    }
    if (c->steps > JINJA_STEPS_MAX)
        jctx_fail(c, ERR_LIMIT, "it takes more than %d steps", JINJA_STEPS_MAX);
    if (clock_thread_us() >= c->until_us)
        jctx_fail(c, ERR_LIMIT, "it takes too much time");
    c->look = c->steps + LOOK_STEPS;
    if (c->look > JINJA_STEPS_MAX)
        c->look = JINJA_STEPS_MAX + 1;
}

_Noreturn static void fail_memory(struct jctx *c)
{
    jctx_fail(c, ERR_LIMIT, "it needs more than %zu MiB of memory", c->mem_max >> 20);
}

void *jctx_alloc(struct jctx *c, size_t n)
{
    void *p = arena_alloc(&c->arena, n);

    if (!p && (n > c->arena.max || c->arena.used + n + CHUNK > c->arena.max))
        fail_memory(c);
    if (!p)
        jctx_fail(c, ERR_NOMEM, "out of memory");
    return p;
}

void jctx_charge(struct jctx *c, size_t n)
{
    if (n > c->arena.max - c->arena.used)
        fail_memory(c);
    c->arena.max -= n;
}

void *jctx_array(struct jctx *c, size_t n, size_t size)
{
    return jctx_alloc(c, n > SIZE_MAX / size ? SIZE_MAX : n * size);
}

/* ---- compile --------------------------------------------------------------------------------- */

static uint32_t find_name(const struct jinja *j, const char *name)
{
    for (uint32_t i = 0; i < j->n_names; i++) {
        if (jstr_is(j->name[i], name))
            return i;
    }
    return JINJA_NO_ID;
}

static struct jctx *ctx_new(size_t mem_max, int64_t cpu_us_max, struct err *e)
{
    struct jctx *c = calloc(1, sizeof *c);

    if (!c) {
        err_set(e, ERR_NOMEM, "out of memory");
        return NULL;
    }
    arena_init(&c->arena, CHUNK, mem_max);
    c->err = e;
    c->mem_max = mem_max;
    c->until_us = clock_thread_us() + (cpu_us_max ? cpu_us_max : JINJA_CPU_US_MAX);
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
    c = ctx_new(COMPILE_MEM_MAX, 0, e);
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

/* ---- render ---------------------------------------------------------------------------------- */

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

/* Appended to the content of the message that the answer continues, and found again in the output
 * by its provenance (JFROM_END), because a template may cut the content or print it in several
 * places. Whether the blank at its end is still there tells whether the template trims.
 * (Transformers marks the place in the same way.) */
static const char end_mark[] = ". ";

static void mark_end(struct jctx *c, struct jval messages)
{
    size_t n = messages.type == JV_LIST ? messages.l->n : 0;
    struct jval *content = NULL;
    struct jsb *b;

    if (n && messages.l->v[n - 1].type == JV_DICT)
        content = jdict_find_str(c, messages.l->v[n - 1].d, jstr_new(c, "content", 7, 0));
    if (!content || content->type != JV_STR)
        jctx_fail(c, ERR_ARG, "the last message has no text to continue");
    b = jsb_new(c, (size_t)content->s->n + sizeof end_mark);
    jsb_add_str(c, b, content->s);
    jsb_add(c, b, end_mark, sizeof end_mark - 1, JFROM_END);
    *content = jval_str(jsb_str(c, b));
}

static struct jval messages_from_json(struct jctx *c, const json_t *j, int continue_final)
{
    struct jval list;

    if (!json_is_array(j))
        return jval_from_json(c, j, 0);
    list = jval_list(JV_LIST, jlist_new(c, json_array_size(j)));
    for (size_t i = 0; i < json_array_size(j); i++) {
        const json_t *m = json_array_get(j, i);
        const char *role = json_string_value(json_object_get(m, "role"));
        int is_answer = role && !strcmp(role, "assistant");
        jlist_add(c, list.l, jval_from_json(c, m, is_answer ? JFROM_ANSWER : 0));
    }
    trust_roles(c, list);
    if (continue_final)
        mark_end(c, list);
    return list;
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
        if (v && jstr_is(name, "messages"))
            root->slot[i].v = messages_from_json(c, v, in->continue_final);
        else if (v)
            root->slot[i].v = jval_from_json(c, v, k == 1 ? JFROM_TRUSTED : 0);
        else if ((f = jfunc_find(name)) >= 0)
            root->slot[i].v = (struct jval){.type = JV_FUNC, .i = f};
    }
    c->scope = root;
}

/* The end of the run of bytes that begins at i and whose bytes either all come from `place` or all
 * do not. */
static size_t run_end(const struct jstr *s, size_t i, size_t n, int place)
{
    size_t to = s->t ? i + 1 : n;

    while (to < n && !((s->t[to] ^ s->t[i]) & place))
        to++;
    return to;
}

/* The spans of the first n bytes that come from `place`. */
static struct jinja_span *find_spans(struct jctx *c, const struct jstr *s, size_t n, int place,
                                     size_t *ret_n)
{
    size_t n_spans = 0;
    struct jinja_span *spans;

    jctx_tick_each(c, n);
    for (size_t i = 0; i < n; i = run_end(s, i, n, place))
        n_spans += (jstr_from_at(s, i) & place) != 0;
    jctx_charge(c, (n_spans + 1) * sizeof *spans);
    spans = malloc((n_spans + 1) * sizeof *spans);
    if (!spans)
        jctx_fail(c, ERR_NOMEM, "out of memory");
    *ret_n = 0;
    for (size_t i = 0, to; i < n; i = to) {
        to = run_end(s, i, n, place);
        if (jstr_from_at(s, i) & place)
            spans[(*ret_n)++] = (struct jinja_span){i, to - i};
    }
    return spans;
}

/* Where the message to continue ends. */
static size_t find_end(struct jctx *c, const struct jstr *s)
{
    size_t end = s->n, at;

    while (end && !(jstr_from_at(s, end - 1) & JFROM_END))
        end--;
    if (!end)
        jctx_fail(c, ERR_ARG, "it leaves out the last message, so this cannot be continued");
    for (at = end; at && (jstr_from_at(s, at - 1) & JFROM_END);)
        at--;
    if (end - at >= sizeof end_mark - 1)
        return at;
    for (size_t from = at;; from--) { /* the template trims: drop blanks, but only the message's */
        if (!from || !(jstr_from_at(s, from - 1) & JFROM_ANSWER))
            return from + jstr_rspace(s->p + from, at - from);
    }
}

static void run(struct jctx *c, const struct jinja_input *in, struct jinja_out *out)
{
    const struct jstr *s;
    size_t n;

    set_globals(c, in);
    c->out = jsb_new(c, 4096);
    jeval_run(c, c->prog->root);
    c->line = 0;
    s = jsb_str(c, c->out);
    n = in->continue_final ? find_end(c, s) : s->n;
    jctx_charge(c, n);
    buf_init(&out->text, JINJA_OUTPUT_MAX);
    if (buf_add(&out->text, s->p, n))
        jctx_fail(c, out->text.failed, "%s", err_text(out->text.failed));
    out->spans = find_spans(c, s, n, JFROM_TRUSTED, &out->n_spans);
    out->answers = find_spans(c, s, n, JFROM_ANSWER, &out->n_answers);
    out->steps = c->steps;
}

int jinja_render(const struct jinja *j, const struct jinja_input *in, struct jinja_out *out,
                 struct err *e)
{
    struct jctx *c = ctx_new(JINJA_MEM_MAX, in->cpu_us_max, e);
    int code;

    if (!c)
        return ERR_NOMEM;
    c->prog = j;
    c->patience = in->patience;
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
    free(out->answers);
    out->spans = out->answers = NULL;
    out->n_spans = out->n_answers = 0;
}
