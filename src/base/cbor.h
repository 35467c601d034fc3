/* CBOR (RFC 8949) in its deterministic form (section 4.2.1), the parts of it that records and
 * COSE messages have: integers of 64 bits with a sign, byte strings, texts, arrays, maps, tags and
 * null. One value has one form: the reader refuses any other, so whoever reads what was hashed or
 * signed reads the same bytes. Pure functions. */
#ifndef BASE_CBOR_H
#define BASE_CBOR_H

#include <stddef.h>
#include <stdint.h>

/* ---- writing: into memory of the caller; when it is full `failed` stays set --------------------
 */

struct cbor {
    unsigned char *at, *end;
    int failed;
};
void cbor_put_int(struct cbor *c, int64_t v);
void cbor_put_bytes(struct cbor *c, const void *p, size_t n);
void cbor_put_text(struct cbor *c, const char *s, size_t n); /* UTF-8, as the caller knows */
void cbor_put_array(struct cbor *c, size_t n);               /* n values follow */
/* n pairs follow, in order of the bytes of their keys: numbers from 0 up, then those below 0 from
 * -1 down, then texts, the shorter first. */
void cbor_put_map(struct cbor *c, size_t n);
void cbor_put_tag(struct cbor *c, uint64_t tag);
void cbor_put_null(struct cbor *c);

/* ---- reading: nothing is copied -------------------------------------------------------------- */

struct cbor_in {
    const unsigned char *at, *end;
};
/* Each takes one value and returns 0; or -1 where another kind is next, or another form of it, or
 * not all of it is there: then `in` is where it was. */
int cbor_get_int(struct cbor_in *in, int64_t *ret);
int cbor_get_bytes(struct cbor_in *in, const unsigned char **ret, size_t *ret_n);
int cbor_get_text(struct cbor_in *in, const char **ret, size_t *ret_n); /* is UTF-8 */
int cbor_get_array(struct cbor_in *in, size_t *ret_n);
int cbor_get_map(struct cbor_in *in, size_t *ret_n);
int cbor_get_tag(struct cbor_in *in, uint64_t *ret);
int cbor_get_null(struct cbor_in *in);
/* Any one value of these kinds, with all within it, CBOR_DEPTH deep at most. */
#define CBOR_DEPTH 16
int cbor_skip(struct cbor_in *in);

#endif
