#include "base/json_path.h"

#include <stdlib.h>
#include <string.h>

#define NAME_MAX_ 128

/* One step of a path. */
static const json_t *step(const json_t *at, const char *name)
{
    char *end;

    if (json_is_array(at) && *name >= '0' && *name <= '9' && strlen(name) < 6) {
        unsigned long i = strtoul(name, &end, 10);
        return *end ? NULL : json_array_get(at, i);
    }
    return json_object_get(at, name);
}

const json_t *json_path_find(const json_t *root, const char *path)
{
    const json_t *at = root, *whole;
    char name[NAME_MAX_];

    while (at && *path) {
        size_t n = strcspn(path, ".");
        whole = json_object_get(at, path);
        if (whole)
            return whole;
        if (n >= sizeof name)
            return NULL;
        memcpy(name, path, n);
        name[n] = 0;
        at = step(at, name);
        path += n + (path[n] == '.');
    }
    return at;
}

int json_path_number(const json_t *v, double *ret)
{
    const char *text = json_string_value(v);
    char *end;

    if (json_is_number(v)) {
        *ret = json_number_value(v);
        return 1;
    }
    if (!text || !*text || strspn(text, "+-.0123456789eE") != strlen(text))
        return 0;
    *ret = strtod(text, &end);
    return !*end;
}
