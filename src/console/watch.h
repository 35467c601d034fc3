/* Looking at requests: what /v1/engine/... answers.
 *
 * A watch goes round the io threads of a server: on each it sees that thread's rows, and it comes
 * home with copies. So rows are never locked, and while nobody looks nothing is collected. It
 * travels as an item in the threads' mailboxes (console_setup.mail_kind; the item's owner is the
 * watch). The io thread that makes a watch is its home; while it is on its way it belongs to the
 * thread it is at:
 *
 *   watch_set_out, then on each io thread, beginning with its home,
 *   watch_see        and the owners of rows cancel those that are marked;
 *   watch_is_home    0: watch_send posts it to the next thread; 1: it is back, and may be written.
 *
 * A watcher is who looks again and again. Their number is bounded: WATCHERS_MAX, of one tenant as
 * many as all leave free. */
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

/* It sees requests of that tenant. `owner`: the caller's. NULL: out of memory. */
struct watch *watch_new(struct console *c, int i_tenant, void *owner);
void watch_free(struct watch *w); /* at home; accepts NULL */
void *watch_owner(const struct watch *w);
/* It is a watcher from now on. ERR_QUEUE_FULL, ERR_NOMEM. */
int watch_join(struct watch *w, struct err *e);

/* Look at all requests, or for the one of that id (its own or its client's; it must live until the
 * watch is home), and with do_cancel end it. */
void watch_set_out(struct watch *w, int home, const char *id, int do_cancel);
/* See the rows of that io thread. How many of them were marked (row_live.cancel). */
int watch_see(struct watch *w, int io);
int watch_is_home(const struct watch *w); /* all were seen */
/* On to the next thread, or home. Not to be touched here after that. */
void watch_send(struct watch *w, int from);

/* At home. The state of everything, a JSON object. 0 or the buffer's failure. */
int watch_state(struct watch *w, struct buf *out);
/* The one that was looked for: its row and timeline, or what became of the cancel. ERR_NOTFOUND, or
 * the buffer's failure. */
int watch_found(struct watch *w, struct buf *out, struct err *e);

#endif
