/* The YAML side of config.h: libyaml's events become a small tree. Settings need no anchors,
 * aliases, tags, directives and second documents; these are refused by name. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

#include "base/config.h"
#include "base/utf8.h"

#define TEXT_MAX   ((size_t)1 << 20)
#define MEMORY_MAX ((size_t)32 << 20)
#define DEPTH_MAX  64
#define KEYS_MAX   256 /* of one map */

struct config_node {
    enum { NODE_SCALAR, NODE_SEQ, NODE_MAP } kind;
    int line, column; /* from 1 */
    const char *text; /* of a scalar */
    size_t n_text;
    int n; /* items, or pairs */
    struct config_node *first, *last, *next;
    struct config_node *key; /* of a map's value */
};

struct config_doc {
    char *name;
    struct arena arena;
    struct config_node *root;
};

void config_doc_close(struct config_doc *d)
{
    if (!d)
        return;
    arena_done(&d->arena);
    free(d->name);
    free(d);
}

/* The state of reading one document into a tree. */
struct reading {
    struct config_doc *d;
    yaml_parser_t parser;
    struct err *e;
};

static int bad(struct reading *r, yaml_mark_t at, const char *what)
{
    return err_set(r->e, ERR_FORMAT, "%s:%zu:%zu: %s", r->d->name, at.line + 1, at.column + 1,
                   what);
}

static int next_event(struct reading *r, yaml_event_t *ev)
{
    const yaml_parser_t *p = &r->parser;

    if (yaml_parser_parse(&r->parser, ev))
        return 0;
    if (p->error == YAML_MEMORY_ERROR)
        return err_set(r->e, ERR_NOMEM, "%s: out of memory", r->d->name);
    return err_set(r->e, ERR_FORMAT, "%s:%zu:%zu: %s%s%s", r->d->name, p->problem_mark.line + 1,
                   p->problem_mark.column + 1, p->problem ? p->problem : "is not YAML",
                   p->context ? ", " : "", p->context ? p->context : "");
}

static int add_child(struct reading *r, struct config_node *to, struct config_node *n)
{
    const struct config_node *key = n->key;

    for (const struct config_node *o = key ? to->first : NULL; o; o = o->next) {
        if (o->key->n_text == key->n_text && !memcmp(o->key->text, key->text, key->n_text))
            return err_set(r->e, ERR_FORMAT, "%s:%d:%d: the key was there before, in line %d",
                           r->d->name, key->line, key->column, o->key->line);
    }
    if (key && to->n >= KEYS_MAX)
        return err_set(r->e, ERR_FORMAT, "%s:%d: a map of more than %d keys", r->d->name, key->line,
                       KEYS_MAX);
    if (to->last)
        to->last->next = n;
    else
        to->first = n;
    to->last = n;
    to->n++;
    return 0;
}

/* The node without its children; NULL: e says why. */
static struct config_node *node_of(struct reading *r, const yaml_event_t *ev)
{
    struct config_node *n = arena_zalloc(&r->d->arena, sizeof *n);
    const yaml_char_t *anchor = NULL, *tag = NULL, *text = NULL;

    if (n && ev->type == YAML_SCALAR_EVENT) {
        anchor = ev->data.scalar.anchor;
        tag = ev->data.scalar.tag;
        n->n_text = ev->data.scalar.length;
        text = arena_dup(&r->d->arena, ev->data.scalar.value, n->n_text + 1);
        n->text = (const char *)text;
    } else if (n && ev->type == YAML_SEQUENCE_START_EVENT) {
        n->kind = NODE_SEQ;
        anchor = ev->data.sequence_start.anchor;
        tag = ev->data.sequence_start.tag;
    } else if (n) {
        n->kind = NODE_MAP;
        anchor = ev->data.mapping_start.anchor;
        tag = ev->data.mapping_start.tag;
    }
    if (!n || (n->kind == NODE_SCALAR && !text)) {
        err_set(r->e, ERR_NOMEM, "%s: more than fits into %zu MiB", r->d->name, MEMORY_MAX >> 20);
        return NULL;
    }
    if (anchor || tag) {
        bad(r, ev->start_mark,
            anchor ? "anchors (&) are not supported" : "tags (!) are not supported");
        return NULL;
    }
    n->line = (int)ev->start_mark.line + 1;
    n->column = (int)ev->start_mark.column + 1;
    return n;
}

static int read_node(struct reading *r, const yaml_event_t *first, int depth,
                     struct config_node **ret);

/* Read the children of `to` up to the end of its sequence or map. */
static int read_children(struct reading *r, struct config_node *to, int depth)
{
    struct config_node *key = NULL, *n;
    yaml_event_t ev;
    int code = 0, over = 0;

    while (!code && !over) {
        code = next_event(r, &ev);
        if (code)
            return code;
        over = ev.type == YAML_SEQUENCE_END_EVENT || ev.type == YAML_MAPPING_END_EVENT;
        if (!over)
            code = read_node(r, &ev, depth, &n);
        if (!over && !code && to->kind == NODE_MAP && !key) {
            key = n;
            if (key->kind != NODE_SCALAR)
                code = bad(r, ev.start_mark, "a key must be a word");
        } else if (!over && !code) {
            n->key = key;
            key = NULL;
            code = add_child(r, to, n);
        }
        yaml_event_delete(&ev);
    }
    return code;
}

static int read_node(struct reading *r, const yaml_event_t *first, int depth,
                     struct config_node **ret)
{
    struct config_node *n;
    int code = 0;

    if (first->type == YAML_ALIAS_EVENT)
        return bad(r, first->start_mark, "aliases (*) are not supported");
    if (depth >= DEPTH_MAX)
        return bad(r, first->start_mark, "nested too deeply");
    n = node_of(r, first);
    if (!n)
        return r->e->code;
    if (n->kind != NODE_SCALAR)
        code = read_children(r, n, depth + 1);
    *ret = n;
    return code;
}

/* Read the file's only document; an empty file has none. */
static int read_document(struct reading *r)
{
    yaml_event_t ev;
    int code = 0, over = 0, n = 0;

    while (!code && !over) {
        code = next_event(r, &ev);
        if (code)
            return code;
        switch (ev.type) {
        case YAML_STREAM_END_EVENT:
            over = 1;
            break;
        case YAML_DOCUMENT_START_EVENT:
            code = n++ ? bad(r, ev.start_mark, "a second document") : 0;
            break;
        case YAML_STREAM_START_EVENT:
        case YAML_DOCUMENT_END_EVENT:
            break;
        default:
            code = read_node(r, &ev, 0, &r->d->root);
        }
        yaml_event_delete(&ev);
    }
    return code;
}

static int too_long(const char *name, struct err *e)
{
    return err_set(e, ERR_FORMAT, "%s: longer than 1 MiB", name);
}

/* Refuse bytes that are not text, and YAML directives, before libyaml sees them. */
static int check_text(const char *name, const char *text, size_t n, struct err *e)
{
    int line = 1, first = 1;
    size_t bad;

    if (n > TEXT_MAX)
        return too_long(name, e);
    utf8_valid(text, n, &bad);
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)text[i];
        if (i == bad || (c < 0x20 && !strchr("\t\r\n", c)) || c == 0x7f || !c)
            return err_set(e, ERR_FORMAT, "%s:%d: a byte that is no text (UTF-8)", name, line);
        if (c == '%' && first)
            return err_set(e, ERR_FORMAT, "%s:%d: YAML directives (%%) are not supported", name,
                           line);
        first = c == '\n' || c == '\r' || (first && (c == ' ' || c == '\t'));
        line += c == '\n';
    }
    return 0;
}

int config_doc_parse(struct config_doc **ret, const char *name, const char *text, size_t n,
                     struct err *e)
{
    struct err why = {0};
    struct reading r = {.e = &why};
    int code = check_text(name, text, n, e);

    if (code)
        return code;
    r.d = calloc(1, sizeof *r.d);
    if (!r.d || !(r.d->name = strdup(name)) || !yaml_parser_initialize(&r.parser)) {
        config_doc_close(r.d);
        return err_set(e, ERR_NOMEM, "%s: out of memory", name);
    }
    arena_init(&r.d->arena, 4096, MEMORY_MAX);
    yaml_parser_set_encoding(&r.parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&r.parser, (const unsigned char *)text, n);
    code = read_document(&r);
    yaml_parser_delete(&r.parser);
    if (code) {
        config_doc_close(r.d);
        if (e)
            *e = why;
        return code;
    }
    *ret = r.d;
    return 0;
}

int config_doc_open(struct config_doc **ret, const char *path, struct err *e)
{
    struct buf text;
    char chunk[4096];
    size_t n;
    FILE *f = fopen(path, "re");
    int r;

    if (!f)
        return err_set(e, ERR_IO, "%s: %s", path, strerror(errno));
    buf_init(&text, TEXT_MAX + 1);
    while ((n = fread(chunk, 1, sizeof chunk, f)) > 0 && !buf_add(&text, chunk, n))
        ;
    if (ferror(f))
        r = err_set(e, ERR_IO, "%s: %s", path, strerror(errno));
    else if (text.failed == ERR_NOMEM)
        r = err_set(e, ERR_NOMEM, "%s: out of memory", path);
    else if (text.failed)
        r = too_long(path, e);
    else
        r = config_doc_parse(ret, path, text.data ? text.data : "", text.len, e);
    fclose(f);
    buf_done(&text);
    return r;
}

struct config_node *config_doc_root(struct config_doc *d)
{
    return d->root;
}

int config_is_seq(const struct config_node *n)
{
    return n && n->kind == NODE_SEQ;
}

int config_is_map(const struct config_node *n)
{
    return n && n->kind == NODE_MAP;
}

struct config_node *config_first(struct config_node *seq)
{
    return config_is_seq(seq) ? seq->first : NULL;
}

struct config_node *config_next(struct config_node *item)
{
    return item->next;
}

struct config_node *config_member(struct config_node *map, const char *key)
{
    struct config_node *v = config_is_map(map) ? map->first : NULL;
    size_t n = strlen(key);

    while (v && (v->key->n_text != n || memcmp(v->key->text, key, n) != 0))
        v = v->next;
    return v;
}

const char *config_text(struct config_node *n, struct arena *a)
{
    if (!n || n->kind != NODE_SCALAR || memchr(n->text, 0, n->n_text))
        return NULL;
    return arena_strndup(a, n->text, n->n_text);
}

int config_err(struct config_doc *d, struct config_node *n, struct err *e, const char *fmt, ...)
{
    char text[400];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    if (n)
        return err_set(e, ERR_FORMAT, "%s:%d:%d: %s", d->name, n->line, n->column, text);
    return err_set(e, ERR_FORMAT, "%s: %s", d->name, text);
}

static int read_list(struct config_doc *d, struct config_node *seq, const struct config_setting *s,
                     void *obj, struct arena *a, struct err *e)
{
    struct config_node *item;
    const char *text;

    ((struct config_strs *)(void *)((char *)obj + s->offset))->n = 0;
    for (item = seq->first; item; item = item->next) {
        text = config_text(item, a);
        if (!text)
            return config_err(d, item, e, "%s: wants a list of words", s->name);
        if (config_add(s, obj, text, a, e)) {
            struct err why = *e;
            return config_err(d, item, e, "%.400s", why.text);
        }
    }
    return 0;
}

static int read_pair(struct config_doc *d, struct config_node *value,
                     const struct config_setting *t, void *obj, struct arena *a,
                     int (*other)(void *arg, const char *key, struct config_node *v, struct err *e),
                     void *arg, struct err *e)
{
    const char *name = config_text(value->key, a), *text;
    struct config_node *key = value->key;
    const struct config_setting *s;
    int r;

    if (!name)
        return config_err(d, key, e, "a key must be a word");
    s = config_find(t, name);
    if (!s) {
        r = other ? other(arg, name, value, e) : 0;
        if (r < 0)
            return r;
        return r ? 0 : config_err(d, key, e, "unknown key '%.80s'", name);
    }
    if (s->kind == CONFIG_STRS && config_is_seq(value))
        return read_list(d, value, s, obj, a, e);
    text = config_text(value, a);
    if (!text)
        return config_err(d, value, e, "%s: wants one value", name);
    if (config_set(t, obj, name, text, a, e)) {
        struct err why = *e;
        return config_err(d, value, e, "%.400s", why.text);
    }
    return 0;
}

int config_read(struct config_doc *d, struct config_node *map, const struct config_setting *t,
                void *obj, struct arena *a,
                int (*other)(void *arg, const char *key, struct config_node *value, struct err *e),
                void *arg, struct err *e)
{
    int r;

    if (!map)
        return 0;
    if (!config_is_map(map))
        return config_err(d, map, e, "wants a map of settings (key: value)");
    for (struct config_node *v = map->first; v; v = v->next) {
        r = read_pair(d, v, t, obj, a, other, arg, e);
        if (r)
            return r;
    }
    return 0;
}
