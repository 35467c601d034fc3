/* What an account is told of itself: what its tenant used, what limits it, and its keys' ids; never
 * anything of others. Any thread but an io thread, as its keys are looked for among all. */
#ifndef CONSOLE_ACCOUNT_VIEW_H
#define CONSOLE_ACCOUNT_VIEW_H

#include "base/buf.h"
#include "cloud/cloud.h"

#define ACCOUNT_KEYS_SHOWN 1000

struct console;

/* The body of /v1/account. 0 or the buffer's failure. */
int account_write(struct console *c, const struct cloud_own *o, struct buf *b);

#endif
