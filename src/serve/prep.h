/* The prep pool: a few threads of a lower priority than the compute team. They parse big requests,
 * run their templates and tokenise them, so that no io thread is held up by it. Tenants take turns.
 * The queue is bounded; when it is full new requests are refused, and one tenant cannot fill it
 * alone (policy/rota). */
#ifndef SERVE_PREP_H
#define SERVE_PREP_H

#include "base/err.h"

struct call;
struct prep;

#define PREP_QUEUE_MAX 256

int prep_open(struct prep **ret, int n_threads, struct err *e);
/* Joins; nothing is queued any more. Accepts NULL. */
void prep_close(struct prep *p);
/* Run call_prep(c) on a thread of the pool, and then post c->prep_item to its io thread's mailbox.
 * 0, or ERR_AGAIN when the queue is full; only calls in CALL_PARSE are refused, as later ones were
 * let in before. [any] */
int prep_push(struct prep *p, struct call *c);
/* The call's client has left. 1: it was still queued and was taken out, and nothing will be posted;
 * 0: a thread works on it, or has done so, and its item comes. [any] */
int prep_drop(struct prep *p, struct call *c);
int prep_n_queued(struct prep *p); /* [any] */

#endif
