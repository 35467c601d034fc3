/* Comma-separated values as RFC 4180 has them. Pure functions. */
#ifndef BASE_CSV_H
#define BASE_CSV_H

#include "base/buf.h"

/* A text as one field: in quotes, which are doubled inside. An apostrophe goes before a text that a
 * table program would take for a formula, whatever a name begins with. */
void csv_put(struct buf *out, const char *text);

#endif
