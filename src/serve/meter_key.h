/* How meters and sensors that are asked over HTTP are reached: their URL, and the key for it. */
#ifndef SERVE_METER_KEY_H
#define SERVE_METER_KEY_H

#include "base/arena.h"
#include "base/err.h"

#define METER_HEADER_MAX 2200

/* The key in an environment variable or on the first line of a file (one of them is NULL), into the
 * arena. ERR_ARG with a sentence that begins with `who`. */
int meter_key_read(struct arena *a, const char *who, const char *env, const char *file,
                   const char **ret, struct err *e);
/* The header for it: "user:password" is sent as such, anything else as a token; "" without a key.
 * ERR_ARG. */
int meter_key_header(const char *key, char out[METER_HEADER_MAX], struct err *e);
/* Is it http or https, without a password? A query, as many plugs want one, may follow. */
int meter_url_ok(const char *text);

#endif
