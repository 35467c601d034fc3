/* Request targets: split, percent-decode, look up a query parameter. Pure functions. */
#ifndef NET_URL_H
#define NET_URL_H

#include <stddef.h>
#include <sys/types.h>

/* The path and the query ("" when none) of a target, both still encoded, both inside `target`.
 * The path ends at *ret_path_len; the query is the NUL-terminated rest. */
void url_split(const char *target, size_t *ret_path_len, const char **ret_query);

/* Decode n bytes into out (cap bytes, NUL-terminated). plus != 0: '+' is a space (queries).
 * Returns the length without the NUL; ERR_FORMAT for a bad escape or an encoded NUL, ERR_LIMIT
 * when it does not fit. */
ssize_t url_decode(const char *s, size_t n, int plus, char *out, size_t cap);

/* Decoded value of the first parameter of that (decoded) name: its length, ERR_NOTFOUND,
 * ERR_FORMAT or ERR_LIMIT. A name without '=' has the value "". */
ssize_t url_query(const char *query, const char *name, char *out, size_t cap);

#endif
