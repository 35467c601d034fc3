/* The meter that the engines of a process share: what they compute is paid from it, microjoule by
 * microjoule. It holds a flow (policy/energy_flow.h) under a mutex. Any thread; the mutex is a leaf
 * and is never held while something is waited for.
 *
 * The rule of who pays. While an engine works, from its first step until it has nothing to do, all
 * that flows, the idle power of the machine included, belongs to the sequences of its steps; what
 * flows while none works is unattributed. Of engines that work side by side each takes what flowed
 * since the last step of any of them ended, because steps go one after the other. */
#ifndef ENGINE_ENERGY_METER_H
#define ENGINE_ENERGY_METER_H

#include <stdint.h>

#include "base/err.h"
#include "job/energy.h"
#include "policy/energy_curve.h"

struct energy_meter;

/* By CPU time of this process and a curve; read whenever energy is taken. */
int energy_meter_open_model(struct energy_meter **ret, const struct energy_curve *c,
                            const struct energy *label, struct err *e);
void energy_meter_close(struct energy_meter *m); /* accepts NULL */

/* An engine begins to work, and has nothing more to do: in turns. */
void energy_meter_begin(struct energy_meter *m);
void energy_meter_end(struct energy_meter *m);
/* A step has ended: the microjoules to split over its sequences. *ret_is_late: nothing is known of
 * them. */
int64_t energy_meter_take(struct energy_meter *m, int *ret_is_late);
/* What is said of each joule: boundary, method, uncertainty; uj is 0. Never changes. */
const struct energy *energy_meter_label(const struct energy_meter *m);

#endif
