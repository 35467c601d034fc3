/* What the service manager (systemd) that started the server is told: when it serves, when it reads
 * its configuration again, when it stops, and, where it asks for that, that the engines move. On
 * the main thread. Without a manager nothing is sent. */
#ifndef SERVE_MANAGER_H
#define SERVE_MANAGER_H

#include "serve/server.h"

void manager_ready(const struct server *s);
void manager_reloading(void);
void manager_stopping(void);
void manager_upgraded(int pid); /* the service is that process from now on */
/* To be called several times a second. Says WATCHDOG=1 in half the time that the manager waits, but
 * not while a local engine is frozen: then the manager ends the process and starts it anew, which
 * is all that helps. Suppliers elsewhere do not count. */
void manager_beat(struct server *s);

#endif
