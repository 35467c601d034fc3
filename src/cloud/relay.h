/* A supplier elsewhere: requests go to an OpenAI-compatible service in the client's words, and its
 * answers come back as they are (EVENT_RELAY).
 *
 * Each relay is one model of one service. Nothing of an answer is told before its first content, so
 * that until then another offer can take the request. What went wrong is told in this project's
 * codes (api/relayed.h); an answer that ends without its end is ERR_RESET. What was used is what
 * the service says, or where it says nothing our own estimate. Where a client leaves before the
 * end, its tenant is charged what was delivered: of a stream the prompt and the part of the
 * answer's tokens that its text had of all text; of an answer that was read to its end without it
 * the prompt; nothing, where nothing came. All else is only owed. An answer that is kept for its
 * client (cloud/replay.h) was delivered: its reader knows.
 *
 * Its energy is what the service says, where it says it (usage.energy, or energy beside the usage),
 * else what was agreed upon, else unknown; of an answer that was left, in proportion to the text
 * that was delivered.
 *
 * A supplier has a number of places (cloud/line.h): a job that finds none waits for its turn, and
 * is sent when it has one, which EVENT_STARTED tells.
 *
 * Threads: as cloud/supplier.h says; a job's upstream request lives on its io thread. Limits: the
 * service's (net/upstream.h); RELAY_PENDING_MAX bytes of answer that its reader has not taken: then
 * reading pauses. */
#ifndef CLOUD_RELAY_H
#define CLOUD_RELAY_H

#include "cloud/line.h"
#include "cloud/supplier.h"
#include "net/upstream.h"

#define RELAY_PENDING_MAX ((size_t)256 << 10)

/* Strings must outlive the relay. */
struct relay_config {
    const char *id;             /* "NAME/MODEL" */
    const char *model;          /* as clients name it */
    const char *upstream_model; /* as the service does */
    struct upstream *upstream;
    struct credentials *keys; /* one at least; outlives the relay */
    int known_only;           /* fields that the contract does not name are left out */
    int drains;               /* an answer is read to its end when its client has left */
    struct line *line;        /* of its supplier's places; outlives the relay */
    int32_t context;          /* 0: unknown */
    int64_t first_token_us;   /* as in the supplier's facts */
    struct supplier_terms terms;
};

/* 0 or ERR_NOMEM. */
int relay_new(struct supplier **ret, const struct relay_config *c, struct err *e);
void relay_free(struct supplier *s); /* no job is there; accepts NULL */

#endif
