/* Compute an answer again, and compare its tokens with those that its receipt has hashes of. It is
 * computed by a server of whoever checks, with the same weights: greedy and seeded answers of one
 * engine repeat token by token (docs/receipts.md). */
#ifndef CMD_VERIFY_REPLAY_H
#define CMD_VERIFY_REPLAY_H

#include "books/proof.h"
#include "cmd/admin_ask.h"

/* `file`: the request's body as its client sent it; `at`: the server that computes. 0: all tokens
 * are the same. ERR_FORMAT: they are not, or one of the two is no such thing; else as admin_ask.
 * Blocking, for as long as the answer takes. */
int verify_replay(const struct proof *p, const char *file, const struct admin_server *at,
                  struct err *e);

#endif
