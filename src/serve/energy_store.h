/* What `gaufre energy calibrate` found on this machine: what it draws with so many threads at work,
 * in one small file. Any thread; the file is replaced by an atomic rename. */
#ifndef SERVE_ENERGY_STORE_H
#define SERVE_ENERGY_STORE_H

#include <stdint.h>

#include "base/err.h"
#include "job/energy.h"
#include "policy/energy_curve.h"

#define ENERGY_STORE_BYTES_MAX ((size_t)64 << 10)

struct energy_calibration {
    char cpu[128];          /* the processor's name: another machine's curve is not used */
    int64_t measured;       /* unix seconds */
    struct energy by;       /* the meter it was measured with; uj is 0 */
    int32_t error_permille; /* how far the curve was off where it was measured again */
    struct energy_curve curve;
};

/* ERR_NOTFOUND: there is none, or it is another processor's; ERR_FORMAT. *ret is written with 0
 * only. */
int energy_store_get(const char *path, const char *cpu, struct energy_calibration *ret);
int energy_store_put(const char *path, const struct energy_calibration *c, struct err *e);

#endif
