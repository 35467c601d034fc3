/* A table of settings in the forms that people and their editors read: JSON Schema, and commented
 * YAML. Pure functions; failure stays in the buffer's `failed`. */
#ifndef BASE_CONFIG_FORM_H
#define BASE_CONFIG_FORM_H

#include "base/buf.h"
#include "base/config.h"

/* The members of a schema's "properties", without the braces: "port":{"type":"integer",...}, with
 * `first` 0 after a comma. JSON Schema draft 2020-12. */
int config_schema(const struct config_setting *t, int first, struct buf *out);
/* Each setting as two lines, "# what it means" and "#key: default", behind `indent`. */
int config_template(const struct config_setting *t, const char *indent, struct buf *out);

#endif
