/* Looking at requests: what /v1/engine/... answers.
 *
 * A watch goes round the io threads of a server, copies on each that thread's rows, and comes back
 * with the copies. So rows are never locked, and nothing is collected while no watch is under way.
 * It travels as an item in the threads' mailboxes (console_setup.mail_kind; the item's owner is the
 * watch). The io thread that makes a watch is its home; on its way the watch belongs to the thread
 * where it is:
 *
 *   watch_set_out, then on each io thread, beginning with its home,
 *   watch_see        and the owners of rows cancel those that are marked;
 *   watch_is_home    0: watch_send posts it to the next thread; 1: it is back, and may be written.
 *
 * A watcher is a client that gets a new state again and again. There are at most WATCHERS_MAX; of
 * these one tenant may have as many as are left free. */
#ifndef CONSOLE_WATCH_H
#define CONSOLE_WATCH_H

#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"

#define WATCHERS_MAX       32
#define WATCH_LIVE_MAX     200 /* rows of one state: under way ... */
#define WATCH_FINISHED_MAX 50  /* ... and ended */

struct console;
struct watch;

#define WATCH_ALL (-1) /* in a tenant's place: an operator's, who sees those of all */

/* It sees requests of that tenant. `owner`: the caller's. NULL: out of memory. */
struct watch *watch_new(struct console *c, int i_tenant, void *owner);
void watch_free(struct watch *w); /* at home; accepts NULL */
void *watch_owner(const struct watch *w);
/* Collect the times of requests, too. ERR_NOMEM. */
int watch_want_times(struct watch *w, struct err *e);
/* Make the watch a watcher's: count it among WATCHERS_MAX. ERR_QUEUE_FULL, ERR_NOMEM. */
int watch_join(struct watch *w, struct err *e);

/* Look at all requests, or for the one of that id (its own or its client's; it must live until the
 * watch is home): at its row, or how it was routed; or end it. */
enum watch_what { WATCH_ROW, WATCH_ROUTE, WATCH_CANCEL };
void watch_set_out(struct watch *w, int home, const char *id, enum watch_what what);
/* Copy the rows of that io thread. Returns how many were marked to be cancelled (row_live.cancel).
 */
int watch_see(struct watch *w, int io);
int watch_is_home(const struct watch *w); /* all were seen */
/* Send the watch to the next thread, or home. The caller may not touch it afterwards. */
void watch_send(struct watch *w, int from);

/* To be called at home: write the state of the whole server, a JSON object. 0 or the buffer's
 * failure. */
int watch_state(struct watch *w, struct buf *out);
/* To be called at home: write the request that was looked for, its row and timeline, its decisions,
 * or the result of the cancel. ERR_NOTFOUND, or the buffer's failure. */
int watch_found(struct watch *w, struct buf *out, struct err *e);

#endif
