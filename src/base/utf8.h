/* UTF-8 (RFC 3629: no surrogates, no overlong forms, at most U+10FFFF). Pure functions. */
#ifndef BASE_UTF8_H
#define BASE_UTF8_H

#include <stddef.h>
#include <stdint.h>

/* Decode one code point at p (n bytes available, n > 0). Returns its length 1..4 and *ret_cp;
 * 0 when the bytes are malformed; -1 when they are a good but unfinished beginning. */
int utf8_decode(const char *p, size_t n, uint32_t *ret_cp);
/* Encode cp (a valid scalar value) into out; returns the length 1..4. */
int utf8_encode(uint32_t cp, char out[4]);
/* 1 when all n bytes are valid. *ret_bad (may be NULL) gets the first bad offset, else n. */
int utf8_valid(const char *p, size_t n, size_t *ret_bad);
/* Length of an unfinished but so far valid sequence at the end of p (0..3): what a streamer must
 * hold back. */
size_t utf8_partial_tail(const char *p, size_t n);
/* Put '?' in the place of each byte of the text that is not UTF-8. */
void utf8_clean(char *s);

#endif
