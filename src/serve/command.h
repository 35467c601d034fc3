/* Commands of the system that this program asks or tells something: NUT's upsc, tools for IPMI, a
 * script, Slurm's scontrol. One is run without a shell, with nothing to read, with no open files of
 * this process and with PATH, HOME, the C locale and what is said here as all of its environment.
 * It and all that it starts is ended when its time is over or it says more than there is room for.
 * Any thread; several at once are fine. */
#ifndef SERVE_COMMAND_H
#define SERVE_COMMAND_H

#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"

struct command {
    const char *const *argv; /* ends with NULL */
    const char *variable;    /* "NAME=VALUE" of its environment; NULL: nothing more */
    int64_t timeout_ms;
    int (*is_over)(void *ctx); /* asked several times a second; not 0: give up */
    void *ctx;
};

/* What it writes on stdout, into `out`. ERR_IO (it cannot be run, or ended with another status than
 * 0: the sentence has the first line that it wrote on stderr), ERR_TIMEOUT, ERR_TOO_LARGE or
 * ERR_CANCELLED. */
int command_run(const struct command *c, struct buf *out, struct err *e);

#endif
