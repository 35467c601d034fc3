/* Where the energy that engines use is read: a meter of a kind, by the configuration, and the
 * thread that reads it. The meter itself (engine/energy_meter.h) is what engines are given.
 *
 * Threads. energy_source_open and close: one thread; the rest any. A reading over HTTP takes its
 * time on the source's own thread only; it has a timeout, and its answer a ceiling. */
#ifndef SERVE_ENERGY_SOURCE_H
#define SERVE_ENERGY_SOURCE_H

#include "base/err.h"
#include "serve/serve.h"

struct energy_meter;
struct energy_source;

/* n_threads: that compute, for a model that is not calibrated. *ret is NULL and 0 is returned with
 * the kind "off". ERR_*: a kind that was asked for cannot be had; with "auto" there is always one.
 * The settings, which were checked, must outlive the source. */
int energy_source_open(struct energy_source **ret, const struct serve_energy *s, int n_threads,
                       struct err *e);
void energy_source_close(struct energy_source *s);                 /* accepts NULL */
struct energy_meter *energy_source_meter(struct energy_source *s); /* accepts NULL */
/* One sentence: what it reads, or which curve it computes with. */
const char *energy_source_about(const struct energy_source *s);
/* Why the last reading failed; code 0 where it did not. */
void energy_source_why(struct energy_source *s, struct err *ret);

/* The kinds that can be opened one by one, in the order in which `auto` prefers them; 0 past the
 * last. The value is for the setting `kind`. */
int energy_source_kind(int i, const char **ret_name, int *ret_value);

#endif
