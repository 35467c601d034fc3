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

/* The same in two steps, for values that are walked through themselves: they are passed over once
 * only. First the key: value_end is not known, and w is at the value. Then one of: over the value
 * (1 or -1); or json_walk_begin of another walk at it, to its last item, and out of that. */
int json_walk_key(struct json_walk *w, struct json_item *ret);
int json_walk_value(struct json_walk *w, struct json_item *i);
void json_walk_out(struct json_walk *w, const struct json_walk *of);

/* Is the key that name, of plain ASCII, as it stands or written with escapes (\u0061 is a)? Most
 * are not by their first byte. */
int json_is_same_key(const struct json_item *i, const char *name);
static inline int json_is_key(const struct json_item *i, const char *name)
{
    if (i->n_key && *i->key != *name && *i->key != '\\')
        return 0;
    return json_is_same_key(i, name);
}

#endif
