/* A command of the system that tells readings: NUT's upsc, tools for IPMI, a script. It is run
 * without a shell, with nothing to read, with no open files of this process and with PATH, HOME and
 * the C locale as all of its environment. It and all that it starts is ended when its time is over
 * or it says more than SENSOR_REPLY_MAX. Any thread; several at once are fine. */
#ifndef SERVE_SENSOR_COMMAND_H
#define SERVE_SENSOR_COMMAND_H

#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"

/* What it writes on stdout, into `out`. argv ends with NULL. `is_over` is asked several times a
 * second; not 0: give up. ERR_IO (it cannot be run, or ended with another status than 0: the
 * sentence has the first line that it wrote on stderr), ERR_TIMEOUT, ERR_TOO_LARGE or
 * ERR_CANCELLED. */
int sensor_command(const char *const *argv, int64_t timeout_ms, int (*is_over)(void *), void *ctx,
                   struct buf *out, struct err *e);

#endif
