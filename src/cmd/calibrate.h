/* gaufre energy calibrate: known loads beside a meter, and the curve that they give. One thread,
 * and those of the loads. */
#ifndef CMD_CALIBRATE_H
#define CMD_CALIBRATE_H

#include <stdint.h>

#include "cmd/energy_opt.h"

/* Measure with loads of so many seconds, print what was found and keep it. ERR_ARG: the meter is a
 * model itself; ERR_TIMEOUT: it tells nothing; ERR_*. */
int calibrate_run(struct energy_opt *o, int64_t seconds, int json, struct err *e);

#endif
