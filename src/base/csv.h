/* Comma-separated values as RFC 4180 has them. Pure functions. */
#ifndef BASE_CSV_H
#define BASE_CSV_H

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"

#define CSV_FIELDS_MAX    64
#define CSV_ROW_BYTES_MAX 16384

/* A text as one field: in quotes, which are doubled inside. An apostrophe goes before a text that a
 * table program would take for a formula, whatever a name begins with. */
void csv_put(struct buf *out, const char *text);

/* Reading is strict: UTF-8 without NUL (a byte order mark at the very beginning is passed over),
 * lines end with LF or CR LF, quotes stand around a whole field, and no line is empty. */
struct csv {
    const char *at, *end;
    int64_t line; /* of the row that was read last; the first is 1 */
    int64_t next_line;
    int n_fields;                      /* of that row */
    const char *field[CSV_FIELDS_MAX]; /* NUL-terminated, valid until the next row */
    char bytes[CSV_ROW_BYTES_MAX];
};

void csv_init(struct csv *c, const char *text, size_t n); /* text must stay */
/* 1: a row was read; 0: there are no more; or ERR_FORMAT, ERR_LIMIT and "line 3: what". */
int csv_next(struct csv *c, struct err *e);

#endif
