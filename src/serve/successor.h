/* An upgrade: the server starts the program anew, waits until that one serves, and leaves the
 * sockets to it. On the thread of serve_run. */
#ifndef SERVE_SUCCESSOR_H
#define SERVE_SUCCESSOR_H

#include <sys/types.h>

#include "base/err.h"

struct server;

struct successor {
    pid_t child;  /* the new process while it loads; 0: there is none */
    int ready_fd; /* its pipe, -1: none */
};

void successor_init(struct successor *u);
void successor_begin(struct server *s); /* logs where that cannot be */
/* To be called when the pipe can be read, and at other times: 1 when the new process serves, once.
 * One that ended before is logged, and this one goes on. */
int successor_look(struct server *s);
/* Who asked for the upgrade hears that it is done: to be called when this process accepts no
 * connection any more, so that whoever connects then is the new one's. */
void successor_tell(struct successor *u);
void successor_stop(struct successor *u); /* this server stops: the new process shall, too */

#endif
