/* Walking through JSON text without making a tree: for what is looked at once and passed on as it
 * is. Every value that is passed over is checked by the grammar (RFC 8259) but for what escapes
 * mean; so text that is not JSON is found. Time is linear in the text. Pure functions.
 *
 * A place is a pointer into the text; NULL: the text is malformed, or nests deeper than
 * JSON_WALK_DEPTH. */
#ifndef BASE_JSON_WALK_H
#define BASE_JSON_WALK_H

#include <stddef.h>

#define JSON_WALK_DEPTH 256

/* Behind white space. */
const char *json_blank(const char *p, const char *end);
/* Behind the value that begins at p, which is no white space. */
const char *json_skip(const char *p, const char *end);

/* One member of an object, or one element of an array (key NULL). */
struct json_item {
    const char *key; /* between the quotes, escapes as they stand */
    size_t n_key;
    const char *value, *value_end;
};

/* The items of one object or array. */
struct json_walk {
    const char *p, *end;
    int is_object, has_begun;
};
/* 0; -1: there is no object or array at p. */
int json_walk_begin(struct json_walk *w, const char *p, const char *end);
/* 1: *ret is the next item; 0: that was the last, w->p is behind the bracket; -1: malformed. */
int json_walk_next(struct json_walk *w, struct json_item *ret);

/* Is the key that name, of plain ASCII, as it stands or written with escapes (\u0061 is a)? */
int json_is_key(const struct json_item *i, const char *name);

#endif
