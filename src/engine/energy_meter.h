/* The meter that the engines of a process share: what they compute is paid from it, microjoule by
 * microjoule. It holds a flow (policy/energy_flow.h) under a mutex. Any thread; the mutex is a leaf
 * and nothing waits while it is held.
 *
 * Meters of two kinds: those that are read here, in some microseconds, whenever energy is taken
 * (the processor's counters, CPU time and a curve), and those whose readings others bring (read
 * over a network, which may take its time).
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

/* label: what is said of each joule; its uj is not read. */
int energy_meter_open_model(struct energy_meter **ret, const struct energy_curve *c,
                            const struct energy *label, struct err *e);
/* The counters below root; ERR_* as rapl.h says. */
int energy_meter_open_rapl(struct energy_meter **ret, const char *root, const struct energy *label,
                           struct err *e);
/* Readings are told, about every interval_us. */
int energy_meter_open_told(struct energy_meter **ret, int64_t interval_us,
                           const struct energy *label, struct err *e);
/* Says in the log what it was, and in *ret (NULL: nowhere), where now attributed + unattributed =
 * metered exactly. Accepts NULL. */
void energy_meter_close(struct energy_meter *m, struct energy_look *ret);

/* An engine begins to work, and has nothing more to do: in turns. */
void energy_meter_begin(struct energy_meter *m);
void energy_meter_end(struct energy_meter *m);
/* A step has ended: the microjoules to split over its sequences. *ret_is_late: nothing is known of
 * them, because the meter is silent. */
int64_t energy_meter_take(struct energy_meter *m, int *ret_is_late);

/* Read a meter that is read here, so that no wrap of a counter is missed while nobody works; and
 * look for counters that went away. About once a second. */
void energy_meter_tick(struct energy_meter *m);
/* A reading of one that is told: power in microwatts; a counter in microjoules that never wraps;
 * that there was none. */
void energy_meter_tell_power(struct energy_meter *m, int64_t uw);
void energy_meter_tell_counter(struct energy_meter *m, uint64_t uj);
void energy_meter_tell_failure(struct energy_meter *m);
/* Why a reading was not believed, or there was none, since this was asked last; code 0: all were. A
 * failure that was told has no reason here: who told it knows. */
void energy_meter_why(struct energy_meter *m, struct err *ret);

/* What is said of each joule; uj is 0. Never changes. */
const struct energy *energy_meter_label(const struct energy_meter *m);
void energy_meter_look(struct energy_meter *m, struct energy_look *ret);

#endif
