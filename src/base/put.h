/* Numbers as text, where one is written for each request or piece of an answer: printf's format
 * language was a good part of what an answer's head costs. Pure functions. */
#ifndef BASE_PUT_H
#define BASE_PUT_H

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"

#define PUT_MAX 24 /* of any of them, with its NUL */

/* Each returns the length, without the NUL that it writes. */
size_t put_dec(int64_t v, char out[PUT_MAX]);
size_t put_hex(uint64_t v, char out[PUT_MAX]);            /* lower case */
size_t put_milli(int64_t thousandths, char out[PUT_MAX]); /* 1234: "1.234" */
/* With n digits behind the point, 1..9, but for zeros at its end: 12500, 4 digits: "1.25". */
size_t put_decimal(int64_t v, int n, char out[PUT_MAX]);
/* n bytes, two digits each: out has 2 n + 1. */
void put_bytes(const unsigned char *p, size_t n, char *out);
/* A text, or as much of it as fits: cap > 0. */
void put_text(char *to, size_t cap, const char *from);
int put_number(struct buf *b, int64_t v); /* in decimal; 0 or b->failed */

#endif
