/* Handing listening sockets over to the next process. A gaufre that is upgraded starts the program
 * anew, with its own arguments, and gives it its sockets and a pipe, into which the new one writes
 * when it serves (serve.h has the new one's side). Main thread. */
#ifndef SERVE_HANDOVER_H
#define SERVE_HANDOVER_H

#include <sys/types.h>

#include "serve/serve.h"

/* Start this program anew and hand over n sockets, and what limits count (tally_fd; -1: nothing).
 * The pipe: a byte when it serves; its end, when it has ended before. ERR_IO with a sentence. */
int handover_start(const int *fd, int n, int tally_fd, pid_t *ret_pid, int *ret_ready_fd,
                   struct err *e);

#endif
