/* Webhooks: what is to be told about accounts (notices.h) is sent to services elsewhere, in the
 * form of the convention "Standard Webhooks": a POST of JSON with the headers webhook-id,
 * webhook-timestamp and webhook-signature (HMAC-SHA256, base64).
 *
 * At least once: what is not answered with 2xx is sent again, with pauses that double
 * (policy/backoff.h), until `give_up_us`. An event's id is made of what it says, so it is the same
 * at each try, in each process of a fleet and after a restart. Each receiver has its own queue of
 * HOOKS_QUEUE_MAX; one that hangs delays no other, and no request. What does not fit, or is given
 * up, is logged and counted.
 *
 * Threads: hooks_use [any]; hooks_work on one io thread; hooks_new, hooks_stop, hooks_free when no
 * io thread runs. */
#ifndef CLOUD_HOOKS_H
#define CLOUD_HOOKS_H

#include <stdint.h>

#include "base/err.h"

#define HOOKS_MAX         8
#define HOOKS_QUEUE_MAX   256
#define HOOKS_SECRETS_MAX 2 /* of one receiver: while a secret is changed there are two */
#define HOOK_SECRET_MAX   64

struct cloud;
struct upstream;
struct hooks;

struct hook_secret {
    unsigned char key[HOOK_SECRET_MAX];
    unsigned n;
};
/* "whsec_" and base64 of 24 to 64 bytes. ERR_ARG. */
int hook_secret_read(const char *text, struct hook_secret *ret, struct err *e);

/* A receiver. Strings and upstream outlive the hooks. */
struct hook {
    const char *name;          /* what it is called in the log; its queue hangs on it */
    struct upstream *upstream; /* as far as the host */
    const char *path;          /* from the first / on */
    struct hook_secret secret[HOOKS_SECRETS_MAX];
    int n_secrets;
    unsigned types;     /* bits 1 << NOTICE_* */
    const char *tenant; /* only of this one's accounts; NULL: of all */
    int64_t retry_us, give_up_us;
};
struct hook_set {
    struct hook hook[HOOKS_MAX];
    int n;
};

/* They work on that io thread. ERR_NOMEM. */
int hooks_new(struct hooks **ret, struct cloud *c, int io, struct err *e);
/* These receivers from now on; the set outlives the hooks. What waits for one that is in no set
 * any more is dropped. */
void hooks_use(struct hooks *h, const struct hook_set *set);
/* Take what is new and send what is due. Microseconds until it is to be called again; < 0: when
 * there is a notice. */
int64_t hooks_work(struct hooks *h, int64_t now_us, int64_t wall_us);
void hooks_stop(struct hooks *h); /* nothing is sent any more */
void hooks_free(struct hooks *h); /* accepts NULL */

#endif
