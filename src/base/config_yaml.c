/* The YAML side of config.h: libfyaml's document behind two opaque nouns. */
#include <errno.h>
#include <libfyaml.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/config.h"
#include "base/utf8.h"

#define TEXT_MAX        ((size_t)1 << 20)
#define NODES_DEPTH_MAX 64

struct config_doc {
    struct fy_document *fyd;
    struct fy_diag *diag;
    char *name;
    struct buf text; /* of a file */
};

/* A config_node is libfyaml's node under another name. */
static struct fy_node *fy(const struct config_node *n)
{
    return (struct fy_node *)(uintptr_t)n;
}

static struct config_node *node(struct fy_node *n)
{
    return (struct config_node *)n;
}

void config_doc_close(struct config_doc *d)
{
    if (!d)
        return;
    if (d->fyd)
        fy_document_destroy(d->fyd);
    if (d->diag)
        fy_diag_destroy(d->diag);
    buf_done(&d->text);
    free(d->name);
    free(d);
}

/* The first thing that libfyaml complained about. */
static int parse_error(struct config_doc *d, struct err *e)
{
    void *it = NULL;
    struct fy_diag_error *de = fy_diag_errors_iterate(d->diag, &it);

    if (!de)
        return err_set(e, ERR_FORMAT, "%s: is not YAML", d->name);
    return err_set(e, ERR_FORMAT, "%s:%d:%d: %s", d->name, de->line, de->column,
                   de->msg ? de->msg : "is not YAML");
}

static int depth_ok(struct fy_node *n, int left)
{
    struct fy_node_pair *p;
    struct fy_node *item;
    void *it = NULL;

    if (!n || fy_node_is_scalar(n))
        return 1;
    if (!left)
        return 0;
    if (fy_node_is_mapping(n)) {
        while ((p = fy_node_mapping_iterate(n, &it))) {
            if (!depth_ok(fy_node_pair_value(p), left - 1))
                return 0;
        }
        return 1;
    }
    while ((item = fy_node_sequence_iterate(n, &it))) {
        if (!depth_ok(item, left - 1))
            return 0;
    }
    return 1;
}

/* What settings never need and libfyaml 0.7 does not survive (endless loops in directives, and with
 * bytes that are not UTF-8) is refused before it. */
static int check_text(const char *name, const char *text, size_t n, struct err *e)
{
    int line = 1, first = 1;
    size_t bad;

    if (n > TEXT_MAX)
        return err_set(e, ERR_FORMAT, "%s: longer than 1 MiB", name);
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
    struct fy_diag_cfg dc;
    struct fy_parse_cfg pc = {.flags = FYPCF_QUIET | FYPCF_COLLECT_DIAG};
    struct config_doc *d;
    int r = check_text(name, text, n, e);

    if (r)
        return r;
    d = calloc(1, sizeof *d);
    if (!d || !(d->name = strdup(name))) {
        r = err_set(e, ERR_NOMEM, "%s: out of memory", name);
        goto fail;
    }
    fy_diag_cfg_default(&dc);
    dc.fp = NULL;
    dc.output_fn = NULL;
    d->diag = fy_diag_create(&dc);
    if (!d->diag) {
        r = err_set(e, ERR_NOMEM, "%s: out of memory", name);
        goto fail;
    }
    fy_diag_set_collect_errors(d->diag, true);
    pc.diag = d->diag;
    d->fyd = fy_document_build_from_string(&pc, text, n);
    if (!d->fyd) {
        /* Comments or nothing at all: an empty document, no error was said. */
        void *it = NULL;
        if (!fy_diag_errors_iterate(d->diag, &it)) {
            *ret = d;
            return 0;
        }
        r = parse_error(d, e);
        goto fail;
    }
    if (!depth_ok(fy_document_root(d->fyd), NODES_DEPTH_MAX)) {
        r = err_set(e, ERR_FORMAT, "%s: nested deeper than %d", name, NODES_DEPTH_MAX);
        goto fail;
    }
    *ret = d;
    return 0;
fail:
    config_doc_close(d);
    return r;
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
    else
        r = config_doc_parse(ret, path, text.data ? text.data : "", text.len, e);
    fclose(f);
    if (r) {
        buf_done(&text);
        return r;
    }
    /* libfyaml reads the text in place. */
    (*ret)->text = text;
    return 0;
}

struct config_node *config_doc_root(struct config_doc *d)
{
    return d->fyd ? node(fy_document_root(d->fyd)) : NULL;
}

int config_is_seq(const struct config_node *n)
{
    return n && fy_node_is_sequence(fy(n));
}

int config_is_map(const struct config_node *n)
{
    return n && fy_node_is_mapping(fy(n));
}

struct config_node *config_item(struct config_node *seq, int i)
{
    return config_is_seq(seq) ? node(fy_node_sequence_get_by_index(fy(seq), i)) : NULL;
}

const char *config_text(struct config_doc *d, struct config_node *n, struct arena *a)
{
    size_t len = 0;
    const char *s;

    if (!n || !fy_node_is_scalar(fy(n)))
        return NULL;
    s = fy_node_get_scalar(fy(n), &len);
    if (len && memchr(s, 0, len))
        return NULL;
    return arena_strndup(a, s ? s : "", len);
}

/* Where a node begins: its first scalar. */
static int where(struct fy_node *n, int *ret_line, int *ret_column)
{
    const struct fy_mark *m;
    struct fy_node_pair *p;
    struct fy_token *t;
    void *it = NULL;

    for (int i = 0; n && i < NODES_DEPTH_MAX && !fy_node_is_scalar(n); i++) {
        it = NULL;
        if (fy_node_is_mapping(n)) {
            p = fy_node_mapping_iterate(n, &it);
            n = p ? fy_node_pair_key(p) : NULL;
        } else {
            n = fy_node_sequence_iterate(n, &it);
        }
    }
    t = n ? fy_node_get_scalar_token(n) : NULL;
    m = t ? fy_token_start_mark(t) : NULL;
    if (!m)
        return 0;
    *ret_line = m->line + 1;
    *ret_column = m->column + 1;
    return 1;
}

int config_err(struct config_doc *d, struct config_node *n, struct err *e, const char *fmt, ...)
{
    char text[400];
    int line, column;
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    if (n && where(fy(n), &line, &column))
        return err_set(e, ERR_FORMAT, "%s:%d:%d: %s", d->name, line, column, text);
    return err_set(e, ERR_FORMAT, "%s: %s", d->name, text);
}

static int read_list(struct config_doc *d, struct config_node *seq, const struct config_setting *s,
                     void *obj, struct arena *a, struct err *e)
{
    struct config_node *item;
    const char *text;

    ((struct config_strs *)(void *)((char *)obj + s->offset))->n = 0;
    for (int i = 0; (item = config_item(seq, i)); i++) {
        text = config_text(d, item, a);
        if (!text)
            return config_err(d, item, e, "%s: wants a list of words", s->name);
        if (config_add(s, obj, text, a, e)) {
            struct err why = *e;
            return config_err(d, item, e, "%.400s", why.text);
        }
    }
    return 0;
}

static int read_pair(struct config_doc *d, struct config_node *key, struct config_node *value,
                     const struct config_setting *t, void *obj, struct arena *a,
                     int (*other)(void *arg, const char *key, struct config_node *v, struct err *e),
                     void *arg, struct err *e)
{
    const char *name = config_text(d, key, a), *text;
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
    text = config_text(d, value, a);
    if (!text)
        return config_err(d, value ? value : key, e, "%s: wants one value", name);
    if (config_set(t, obj, name, text, a, e)) {
        struct err why = *e;
        return config_err(d, value ? value : key, e, "%.400s", why.text);
    }
    return 0;
}

int config_read(struct config_doc *d, struct config_node *map, const struct config_setting *t,
                void *obj, struct arena *a,
                int (*other)(void *arg, const char *key, struct config_node *value, struct err *e),
                void *arg, struct err *e)
{
    struct fy_node_pair *p;
    void *it = NULL;
    int r;

    if (!map)
        return 0;
    if (!config_is_map(map))
        return config_err(d, map, e, "wants a map of settings (key: value)");
    while ((p = fy_node_mapping_iterate(fy(map), &it))) {
        r = read_pair(d, node(fy_node_pair_key(p)), node(fy_node_pair_value(p)), t, obj, a, other,
                      arg, e);
        if (r)
            return r;
    }
    return 0;
}
