/* In what two contracts differ, field by field. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cmd/cmd.h"
#include "cmd/contract_form.h"

/* What is compared: NULL prints each change, else they are put there. */
struct diff {
    json_t *changes;
};

static char *scalar(const json_t *v)
{
    return v ? json_dumps(v, JSON_ENCODE_ANY | JSON_COMPACT | CONTRACT_JSON_FLAGS) : NULL;
}

static void differ(struct diff *d, const char *path, const json_t *a, const json_t *b)
{
    char *was = scalar(a), *is = scalar(b);

    if (d->changes)
        json_array_append_new(d->changes,
                              json_pack("{s:s,s:O?,s:O?}", "field", path, "was", a, "is", b));
    else
        cmd_line(stdout, "%-32s %s -> %s", path, was ? was : "-", is ? is : "-");
    free(was);
    free(is);
}

static void compare(struct diff *d, const char *path, const json_t *a, const json_t *b);

/* Which row of another list it is: that of its name, and of its date where several have the name.
 * NULL: there is none. */
static const json_t *partner(const json_t *list, const json_t *row)
{
    const char *name = json_string_value(json_object_get(row, "name"));
    const json_t *target = json_object_get(row, "target"), *found = NULL, *o;
    size_t i;

    json_array_foreach(list, i, o)
    {
        if (strcmp(name, json_string_value(json_object_get(o, "name"))) != 0)
            continue;
        if (json_equal(target, json_object_get(o, "target")))
            return o;
        found = found ? found : o;
    }
    return found;
}

/* Tranches by their names. */
static void compare_tranches(struct diff *d, const json_t *a, const json_t *b)
{
    const json_t *row;
    char at[80];
    size_t i;

    json_array_foreach(a, i, row)
    {
        snprintf(at, sizeof at, "tranches.%s", json_string_value(json_object_get(row, "name")));
        compare(d, at, row, partner(b, row));
    }
    json_array_foreach(b, i, row)
    {
        snprintf(at, sizeof at, "tranches.%s", json_string_value(json_object_get(row, "name")));
        if (!partner(a, row))
            compare(d, at, NULL, row);
    }
}

/* Rows of the basket by their places. */
static void compare_rows(struct diff *d, const char *path, const json_t *a, const json_t *b)
{
    char at[80];

    for (size_t i = 0; i < json_array_size(a) || i < json_array_size(b); i++) {
        snprintf(at, sizeof at, "%s.%zu", path, i + 1);
        compare(d, at, json_array_get(a, i), json_array_get(b, i));
    }
}

static void compare(struct diff *d, const char *path, const json_t *a, const json_t *b)
{
    json_t *v;
    const char *key;
    char at[80];

    if (json_equal(a, b))
        return;
    if (json_is_object(a) && json_is_object(b)) {
        json_object_foreach((json_t *)(uintptr_t)a, key, v)
        {
            snprintf(at, sizeof at, *path ? "%s.%s" : "%s%s", path, key);
            compare(d, at, v, json_object_get(b, key));
        }
        json_object_foreach((json_t *)(uintptr_t)b, key, v)
        {
            snprintf(at, sizeof at, *path ? "%s.%s" : "%s%s", path, key);
            if (!json_object_get(a, key))
                compare(d, at, NULL, v);
        }
    } else if (!strcmp(path, "tranches")) {
        compare_tranches(d, a, b);
    } else if (!strcmp(path, "basket")) {
        compare_rows(d, path, a, b);
    } else {
        differ(d, path, a, b);
    }
}

int contract_print_diff(const struct contract_file *a, const struct contract_file *b, int json,
                        struct err *e)
{
    json_t *was = contract_json(a), *is = contract_json(b);
    struct diff d = {.changes = json ? json_array() : NULL};
    int r = 0;

    if (!was || !is || (json && !d.changes))
        r = err_set(e, ERR_NOMEM, "out of memory");
    else
        compare(&d, "", was, is);
    if (!r && json)
        r = cmd_json(json_incref(d.changes), JSON_COMPACT | CONTRACT_JSON_FLAGS);
    json_decref(d.changes);
    json_decref(was);
    json_decref(is);
    return r;
}
