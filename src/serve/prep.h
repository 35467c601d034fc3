/* The prep pool: a few threads, nicer than the compute team, that read big requests (parse,
 * template, tokenise) so that io threads never do. Tenants take turns. Bounded: a full queue
 * refuses, and one tenant cannot fill it alone (policy/rota). */
#ifndef SERVE_PREP_H
#define SERVE_PREP_H

#include "base/err.h"

struct call;
struct prep;

#define PREP_QUEUE_MAX 256

int prep_open(struct prep **ret, int n_threads, struct err *e);
/* Joins; nothing is queued any more. Accepts NULL. */
void prep_close(struct prep *p);
/* call_prep(c) on a thread of the pool; then c->prep_item is posted to its io thread's mailbox. 0
 * or ERR_AGAIN, which only calls in CALL_PARSE get: who was let in once has its place. [any] */
int prep_push(struct prep *p, struct call *c);
/* Its client left: 1 when it was still queued and never will be done, so that nothing is posted; 0
 * when a thread has it. [any] */
int prep_drop(struct prep *p, struct call *c);
int prep_n_queued(struct prep *p); /* [any] */

#endif
