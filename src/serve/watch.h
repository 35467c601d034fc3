/* Looking at the engine at work: what /v1/engine/... answers.
 *
 * A call that looks sends a snapshot round the io threads: it visits each one's calls, on that
 * thread, through its mailbox, and comes home with copies. So requests are never locked, and while
 * nobody looks nothing is collected.
 *
 * A watcher is a call whose answer is a stream of states. It is bounded in number (WATCHERS_MAX,
 * then 429), skips a state while its reader is behind (a reader that stops reading is cut like any
 * other), and ends when the server drains or its keys are read again. */
#ifndef SERVE_WATCH_H
#define SERVE_WATCH_H

#include "serve/server.h"

#define WATCHERS_MAX       32
#define WATCH_LIVE_MAX     200 /* rows of one state: under way ... */
#define WATCH_FINISHED_MAX 50  /* ... and ended */

/* Answer a call of one of the three routes; c->i_viewer: whose requests it may see. */
void watch_events(struct call *c);
void watch_request(struct call *c);
void watch_cancel(struct call *c);
/* From handler_tick: the next state, or the end. */
void watch_tick(struct call *c, int64_t now_us);
/* A snapshot came by mail to this io thread. The call it belongs to when it is home, else NULL. */
struct call *watch_arrive(struct snapshot *t, int io);
void watch_free(struct call *c); /* with its call */
/* Is its snapshot under way? Then the call must not go. */
int watch_is_out(const struct call *c);

#endif
