/* What a machine draws when so many of its threads compute: points that were measured or stated,
 * and straight lines between them. Pure. */
#ifndef POLICY_ENERGY_CURVE_H
#define POLICY_ENERGY_CURVE_H

#include <stdint.h>

#define ENERGY_CURVE_MAX 32

struct energy_point {
    int32_t busy_permille; /* thousandths of a thread */
    int64_t uw;            /* microwatts */
};

struct energy_curve {
    int n;                                       /* > 0 */
    struct energy_point point[ENERGY_CURVE_MAX]; /* by busy, each once; uw does not fall */
};

/* The line beyond the last point goes on as before it; before the first it is level. */
int64_t energy_curve_uw(const struct energy_curve *c, int64_t busy_permille);
/* idle_uw, and thread_uw for each thread. */
void energy_curve_line(struct energy_curve *c, int64_t idle_uw, int64_t thread_uw);

#endif
