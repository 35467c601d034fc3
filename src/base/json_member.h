/* Members of JSON objects over struct buf, for bodies that are written without a tree
 * (json_write.h): each puts the comma that it needs, the name and the value. A name is the
 * program's own, and written as it is. Pure functions; failure stays in the buffer's `failed`. */
#ifndef BASE_JSON_MEMBER_H
#define BASE_JSON_MEMBER_H

#include <stdint.h>

#include "base/buf.h"

/* `,"name":` or, first in its object, `"name":`. */
void json_member(struct buf *b, const char *name);
/* '{' or '[' as the value of a member or, name NULL, of the next element of a list. */
void json_open(struct buf *b, const char *name, char bracket);
void json_member_int(struct buf *b, const char *name, int64_t v);
void json_member_real(struct buf *b, const char *name, double v, int decimals); /* 0..9 */
void json_member_text(struct buf *b, const char *name, const char *s); /* NULL writes null */
void json_member_null(struct buf *b, const char *name);
void json_member_bool(struct buf *b, const char *name, int v);

#endif
