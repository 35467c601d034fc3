/* Foreign text made plain, so that printing it does nothing but show it: names, messages and files
 * of others can hold bytes that move a terminal's cursor, change its title, reverse the direction
 * of text, or begin a new line in a log.
 *
 * Ordinary characters stay as they are. Control characters (C0, DEL, C1), line separators,
 * characters that change the direction of text, and bytes that are not UTF-8 are written as
 * escapes: \n, \t, \x1b, \u202e. Pure functions. */
#ifndef BASE_PLAIN_H
#define BASE_PLAIN_H

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"

/* 1 for a code point that is written as an escape. */
int plain_is_hidden(uint32_t cp);
/* Look at the first character of s[0..n), n > 0. Returns its length; `out` gets its escape, or ""
 * for a character that is written as it is. */
#define PLAIN_UNIT 8
size_t plain_unit(const char *s, size_t n, char out[PLAIN_UNIT]);
/* The same in JSON's own escapes; a byte that is no text becomes U+FFFD. */
size_t plain_json_unit(const char *s, size_t n, char out[PLAIN_UNIT]);

enum plain_form {
    PLAIN_LINE, /* one line */
    PLAIN_TEXT, /* newlines and tabs stay */
    PLAIN_JSON  /* what is JSON stays so: \u001b; it must be UTF-8 */
};
int plain_put(struct buf *b, const char *s, size_t n, enum plain_form form);

#endif
