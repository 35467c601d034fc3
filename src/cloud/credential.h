/* This server's own keys at suppliers: which of them a request is sent with.
 *
 * A supplier may have several, with weights. What a service grants, it grants to an account there:
 * a key that it refuses, or with which it asks for less work, is left alone for a while, and so are
 * all keys of its account, while the other keys go on. A *cooldown* is what keys share in that way:
 * a breaker (policy/breaker.h). Where nobody names an account it is one key's at one model.
 *
 * Threads: any, but for making and freeing. Keys are never logged. */
#ifndef CLOUD_CREDENTIAL_H
#define CLOUD_CREDENTIAL_H

#include <pthread.h>
#include <stdint.h>

#include "base/err.h"
#include "policy/allowance.h"
#include "policy/breaker.h"

#define CREDENTIALS_MAX    16 /* of one supplier */
#define CREDENTIAL_KEY_MAX 400

/* ---- what keys share ------------------------------------------------------------------------- */

struct cooldowns;
struct cooldowns *cooldowns_new(void);    /* NULL: no memory */
void cooldowns_free(struct cooldowns *a); /* accepts NULL */

/* ---- the keys of one supplier at one model ----------------------------------------------------
 */

struct credentials;
/* Without keys yet; `of` and the name of the model at the service outlive it, cooldowns are shared.
 * NULL: no memory. */
struct credentials *credentials_new(struct cooldowns *of, const char *model);
void credentials_free(struct credentials *c); /* accepts NULL */
/* key "": none is sent. account NULL: one of its own. ERR_NOMEM, ERR_LIMIT. */
int credentials_add(struct credentials *c, const char *key, int32_t weight, const char *account,
                    struct err *e);
/* "Bearer KEY", or "": what is sent with requests of that key. */
const char *credentials_header(const struct credentials *c, int i);

/* A request is sent with that key, of about so many tokens; and it is answered: what that tells of
 * limits holds for all requests of its account at this model (policy/allowance.h). */
struct allowance_mark credentials_begin(struct credentials *c, int i, int64_t n_tokens,
                                        int64_t now_us);
void credentials_learn(struct credentials *c, int i, const struct allowance_mark *of,
                       const struct limits_told *told, int64_t now_us);

/* What a request has of a key. */
struct credential_use {
    int i;        /* the key; -1: none */
    int32_t turn; /* of its cooldown */
};
/* 0: with one of the keys a request may be sent now; else none of them before this time.
 * *ret_why: why not. */
int64_t credentials_look(struct credentials *c, int64_t now_us, enum breaker_why *ret_why);
/* Whose turn it is. -1: others have taken what there was. */
int credentials_take(struct credentials *c, int64_t now_us, struct credential_use *ret);
/* How it went with it. Returns 1 when its cooldown's state has changed. */
int credentials_note(struct credentials *c, const struct credential_use *u, enum breaker_end end,
                     int64_t retry_us, int64_t now_us);

#endif
