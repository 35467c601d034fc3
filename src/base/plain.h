/* Foreign text made plain, so that it is only ever read: names, messages and files of others can
 * hold bytes that move a terminal's cursor, change its title, turn the order of what is shown, or
 * begin a line of their own in a log.
 *
 * Characters stay as they are. Control characters (C0, DEL, C1), line separators, those that turn
 * the direction of text, and bytes that are not UTF-8 are shown: \n, \t, \x1b, \u202e. Pure. */
#ifndef BASE_PLAIN_H
#define BASE_PLAIN_H

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"

/* 1 for a code point that is shown instead of written. */
int plain_is_hidden(uint32_t cp);
/* The first character of s[0..n), n > 0: its length, and in `out` what stands for it ("" where it
 * stands for itself). */
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
