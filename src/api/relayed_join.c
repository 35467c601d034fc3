/* The last chunk of an answer and a chunk of usage alone become one. */
#include <string.h>

#include "api/relayed.h"
#include "base/json_walk.h"

#define MEMBERS_MAX 16 /* that are brought; usage is one of them however many there are */

static int is_null(const struct json_item *i)
{
    return i->value_end - i->value == 4 && !memcmp(i->value, "null", 4);
}

static int is_same_key(const struct json_item *a, const struct json_item *b)
{
    return a->n_key == b->n_key && !memcmp(a->key, b->key, a->n_key);
}

/* What that chunk says beside its choices, usage first. */
static size_t list_members(const char *json, size_t n, struct json_item *ret)
{
    struct json_walk w;
    struct json_item i;
    size_t n_found = 1;

    if (json_walk_begin(&w, json, json + n) || !w.is_object)
        return 0;
    ret[0].key = NULL;
    while (json_walk_next(&w, &i) > 0) {
        if (json_is_key(&i, "usage"))
            ret[0] = i;
        else if (n_found < MEMBERS_MAX && !json_is_key(&i, "choices") && !is_null(&i))
            ret[n_found++] = i;
    }
    return ret[0].key ? n_found : 0;
}

static void add_member(const struct json_item *i, struct buf *out)
{
    if (out->len > 1)
        buf_add_char(out, ',');
    buf_add(out, i->key - 1, (size_t)(i->value_end - (i->key - 1)));
}

int api_relayed_join(const char *json, size_t n, const char *more, size_t n_more, struct buf *out)
{
    struct json_item items[MEMBERS_MAX], i;
    size_t n_items = list_members(more, n_more, items);
    struct json_walk w;

    if (json_walk_begin(&w, json, json + n) || !w.is_object)
        return ERR_FORMAT;
    buf_add_char(out, '{');
    while (json_walk_next(&w, &i) > 0) {
        size_t k = 0;
        while (k < n_items && !is_same_key(&i, &items[k]))
            k++;
        if (k == n_items || !is_null(&i))
            add_member(&i, out); /* what the chunk says itself stands */
        if (k < n_items && !is_null(&i))
            items[k] = items[--n_items];
    }
    for (size_t k = 0; k < n_items; k++)
        add_member(&items[k], out);
    buf_add_char(out, '}');
    return out->failed;
}
