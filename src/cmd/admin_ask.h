/* One request to a running server over HTTP, in the name of whoever runs the command: the admin
 * API's commands ask it with a key of the admin API. Blocking, the caller's thread.
 *
 * Limits: answers of 8 MiB, keys of 4000 bytes; 5 s to connect. */
#ifndef CMD_ADMIN_ASK_H
#define CMD_ADMIN_ASK_H

#include <jansson.h>

#include "base/buf.h"
#include "cmd/opt.h"

#define ADMIN_KEY_ENV "GAUFRE_ADMIN_KEY"

/* Which server, and where its key is; filled by ADMIN_OPTS. */
struct admin_server {
    const char *url, *key_env, *key_file, *ca;
    int stall_ms; /* without a byte; 0: 30 s */
};

/* Rows for a command's options: `at` is the struct admin_server in the command's struct, `verb`
 * goes before each help ("" where every verb of the command asks the server). */
#define ADMIN_OPTS(s, at, verb)                                                                    \
    OPT_STR('s', "server", "URL", "http://127.0.0.1:8080", s, at.url, verb "the server"),          \
        OPT_STR(0, "key-env", "NAME", ADMIN_KEY_ENV, s, at.key_env,                                \
                verb "environment variable with a key for its admin API"),                         \
        OPT_FILE(0, "key-file", NULL, s, at.key_file, verb "or a file with the key"),              \
        OPT_FILE(0, "ca", NULL, s, at.ca, verb "certificates to trust, for https")

/* `method` NULL: GET. `path` begins with a slash, and what is not a path's own in it is escaped
 * (admin_put_part). `send`: JSON, or NULL. Without a key the request is sent without one: a server
 * without keys lets in who is on its machine.
 *
 * 0 and *ret, which the caller frees; or fetch.h's errors, with what the server said where it gave
 * a reason. ERR_ARG: the key cannot be read, or is none. */
int admin_ask(const struct admin_server *at, const char *method, const char *path, const char *send,
              json_t **ret, struct err *e);

/* Append the key's text; nothing where none is said. ERR_ARG. The caller wipes it. */
int admin_read_key(const struct admin_server *at, struct buf *out, struct err *e);
/* A member of an answer as text, and a number with what stands behind it; "-": it is not there. */
#define ADMIN_NUMBER_MAX 48
const char *admin_told(const json_t *o, const char *key);
const char *admin_number(const json_t *o, const char *key, const char *unit,
                         char out[ADMIN_NUMBER_MAX]);
/* A name as one part of a path. */
void admin_put_part(struct buf *out, const char *name);

#endif
