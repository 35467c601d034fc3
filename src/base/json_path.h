/* Values in JSON trees of others, by a path that people write. Pure functions. */
#ifndef BASE_JSON_PATH_H
#define BASE_JSON_PATH_H

#include "base/json.h"

/* Names of members and indices of arrays, joined by points ("emeters.0.power"); "" is the root. A
 * member whose name is all of the rest goes before ("ups.load"). NULL: there is nothing. */
const json_t *json_path_find(const json_t *root, const char *path);

/* A number, or a string that is one: 1 and *ret; else 0. It may be infinite. */
int json_path_number(const json_t *v, double *ret);

#endif
