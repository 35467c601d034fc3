/* Answers that are kept for a while, so that a request that a client sends again under the same key
 * (header Idempotency-Key) gets the first one's answer and is neither computed nor booked twice.
 *
 * Keys are of a tenant: two tenants may use the same one and learn nothing of each other. Who comes
 * first with a key has a claim on it until its answer is kept, or the key is free again.
 *
 * Threads: [any]; a claim belongs to one thread at a time. Limits: the memory of all, in bytes,
 * headers of entries included, of which a tenant has at most a quarter; REPLAY_ANSWER_MAX bytes of
 * one answer. Where there is no room the oldest go, of the tenant or of all. A longer answer is not
 * kept, but its key is. Nothing outlives the process. */
#ifndef CLOUD_REPLAY_H
#define CLOUD_REPLAY_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

#define REPLAY_KEY_MAX     255
#define REPLAY_ANSWER_MAX  ((size_t)1 << 20)
#define REPLAY_PRINT_BYTES 16
#define REPLAY_ID_MAX      40

struct api_frame;
struct replays;
struct replay;

/* ERR_NOMEM, or ERR_IO: no random bytes. */
int replays_new(struct replays **ret, size_t memory, int64_t window_us, struct err *e);
void replays_free(struct replays *r); /* no claim is out; accepts NULL */
/* Answers whose time is over go. They do as well whenever a request comes. */
void replays_expire(struct replays *r, int64_t now_us);

struct replay_ask {
    int i_tenant;
    const char *key;                         /* 1 to REPLAY_KEY_MAX printable bytes */
    unsigned char print[REPLAY_PRINT_BYTES]; /* of the request: equal for equal ones */
};
/* ERR_ARG where the text is no key. */
int replay_check_key(const char *key, struct err *e);
/* The print of a body, sent to that endpoint. */
void replay_print(int endpoint, const void *body, size_t n, unsigned char ret[REPLAY_PRINT_BYTES]);

/* 0 and *ret, which is the caller's until replay_put: the first one's claim, or an answer that is
 * kept (replay_answer). Else ERR_KEY_IN_USE (the first one is under way), ERR_KEY_REUSED (it was
 * another request), ERR_KEY_LOST (its answer was too long), ERR_AGAIN (no room), ERR_NOMEM. */
int replays_begin(struct replays *r, int64_t now_us, const struct replay_ask *a,
                  struct replay **ret, struct err *e);

struct replay_answer {
    const char *body;
    size_t n;
    const struct api_frame *frame; /* of a stream; NULL: a whole body */
    char request_id[REPLAY_ID_MAX];
};
const struct replay_answer *replay_answer(const struct replay *p); /* NULL: there is none yet */

/* Of the first one's claim: the next bytes of its answer. */
void replay_add(struct replays *r, struct replay *p, const void *data, size_t n);
/* It ended well: the answer is kept. 1, or 0: it was too long. */
int replay_keep(struct replays *r, struct replay *p, int64_t now_us, const struct api_frame *frame,
                const char *request_id);
/* The caller has done with it; an answer that was not kept is forgotten, and its key is free. */
void replay_put(struct replays *r, struct replay *p);

struct replays_stats {
    int64_t replayed, in_use, reused, too_long; /* requests that were answered so */
    int64_t bytes;                              /* now */
};
void replays_stats(struct replays *r, struct replays_stats *ret);

#endif
