/* A small JSON writer over struct buf, for what is written once a token: no tree, no allocation
 * beyond the buffer. Whatever the bytes given, what is written is valid JSON in valid UTF-8: a
 * malformed byte becomes U+FFFD, a number that is not finite becomes null. Failure (no memory,
 * ceiling) stays in the buffer's `failed`. Pure functions. */
#ifndef BASE_JSON_WRITE_H
#define BASE_JSON_WRITE_H

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"

/* Text with JSON's escapes, without the quotes, and with them. */
int json_put_escaped(struct buf *b, const char *s, size_t n);
int json_put_text(struct buf *b, const char *s, size_t n);
int json_put_str(struct buf *b, const char *s); /* NUL-terminated; NULL writes null */
int json_put_int(struct buf *b, int64_t v);
/* At most `decimals` (0..9) digits after the point, trailing zeros cut but for one ("1.0"); beyond
 * 1e9 in magnitude as json_put_real. */
int json_put_fixed(struct buf *b, double v, int decimals);
/* Shortest of 15, 16, 17 significant digits that reads back as the same double. */
int json_put_real(struct buf *b, double v);
/* [1,2,3] of the bytes' values, as token bytes are given. */
int json_put_bytes(struct buf *b, const char *s, size_t n);

#endif
