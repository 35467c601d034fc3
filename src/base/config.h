/* Settings as a table: typed, checked against their bounds, read from YAML and from flags. The same
 * rows yield --help, the documentation and `serve --check`.
 *
 * A setting lives in a plain struct at a stated offset. Unknown keys, wrong types and values out of
 * bounds are errors that name file, line and key. Scalars are taken as the text that was written,
 * so that `no` is a name where a name is wanted. One thread. Limits: 1 MiB of YAML, 64 nested
 * maps of 256 keys; no anchors, aliases, tags, directives, second documents.
 */
#ifndef BASE_CONFIG_H
#define BASE_CONFIG_H

#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"

enum config_kind {
    CONFIG_STR,    /* const char *, copied into the arena; "" is allowed */
    CONFIG_INT,    /* int64_t in min..max */
    CONFIG_SIZE,   /* uint64_t bytes: 4096, 512K, 64M, 2G (powers of 1024) in min..max */
    CONFIG_TIME,   /* int64_t milliseconds: 250ms, 10s, 5m, 1h; a bare number is seconds */
    CONFIG_BOOL,   /* int: true/false, on/off, yes/no */
    CONFIG_CHOICE, /* int: index of the word in `arg` ("q8|f32") */
    CONFIG_STRS,   /* struct config_strs: a list of scalars (YAML) or comma-separated (flag) */
};

#define CONFIG_STRS_MAX 32
struct config_strs {
    int n;
    const char *v[CONFIG_STRS_MAX];
};

struct config_setting {
    const char *name; /* snake_case, as in the file */
    enum config_kind kind;
    size_t offset;
    const char *dflt; /* as one would write it; NULL: left as it is (zero) */
    double min, max;  /* numbers, sizes, milliseconds; both 0: any */
    const char *arg;  /* name of the value in help, or the words of a choice */
    const char *help; /* one line, no full stop */
};

/* All tables end with a row without name. */
/* Write every default into `obj`. CHECKs that they are valid. */
void config_defaults(const struct config_setting *t, void *obj, struct arena *a);
/* One value from text. ERR_ARG with a sentence that names the setting. */
int config_set(const struct config_setting *t, void *obj, const char *name, const char *text,
               struct arena *a, struct err *e);
/* One more value of a CONFIG_STRS setting. */
int config_add(const struct config_setting *s, void *obj, const char *text, struct arena *a,
               struct err *e);
const struct config_setting *config_find(const struct config_setting *t, const char *name);
/* The value as one would write it, appended to out. */
int config_show(const struct config_setting *s, const void *obj, struct buf *out);

struct config_doc;
struct config_node;
/* Parse a file. ERR_IO, ERR_FORMAT with "file:line:column: what". */
int config_doc_open(struct config_doc **ret, const char *path, struct err *e);
int config_doc_parse(struct config_doc **ret, const char *name, const char *text, size_t n,
                     struct err *e);
void config_doc_close(struct config_doc *d);               /* accepts NULL */
struct config_node *config_doc_root(struct config_doc *d); /* NULL when empty */

/* Read a map's scalars by the table. Keys that the table lacks: handed to `other` (node of the
 * value), which returns 1 when the key is its own, 0 when nobody's (an error), or negative with e
 * filled. */
int config_read(struct config_doc *d, struct config_node *map, const struct config_setting *t,
                void *obj, struct arena *a,
                int (*other)(void *arg, const char *key, struct config_node *value, struct err *e),
                void *arg, struct err *e);
/* The elements of a sequence, one after the other, or NULL; a scalar's text, or NULL; a sentence
 * "file:line:column: " before what is said about a node. */
struct config_node *config_first(struct config_node *seq);
struct config_node *config_next(struct config_node *item);
struct config_node *config_member(struct config_node *map, const char *key); /* NULL: it has none */
int config_is_seq(const struct config_node *n);
int config_is_map(const struct config_node *n);
const char *config_text(struct config_node *n, struct arena *a);
int config_err(struct config_doc *d, struct config_node *n, struct err *e, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

#endif
