/* The thread that looks at the power of sites (cloud/power_watch.h), four times a second, where the
 * configuration has a ledger and sites whose watts are said. A process that is killed loses the
 * minute that it was in. */
#ifndef SERVE_POWER_THREAD_H
#define SERVE_POWER_THREAD_H

#include "base/err.h"

struct server;
struct power_thread;

/* Begin, or go on; also when another configuration came into force. On the thread of serve_run. */
int power_thread_start(struct server *s, struct err *e);
/* Writes what was seen so far. Accepts one that never began. */
void power_thread_stop(struct server *s);

#endif
