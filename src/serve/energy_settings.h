/* The configuration's map energy: where the energy that requests use is read, and what is said of
 * it. One thread. */
#ifndef SERVE_ENERGY_SETTINGS_H
#define SERVE_ENERGY_SETTINGS_H

#include "policy/energy_curve.h"
#include "serve/serve.h"

enum {
    SERVE_ENERGY_AUTO,
    SERVE_ENERGY_RAPL,
    SERVE_ENERGY_REDFISH,
    SERVE_ENERGY_FEED,
    SERVE_ENERGY_MODEL,
    SERVE_ENERGY_OFF
};

/* The map of the file. ERR_FORMAT with "file:line:column: what". */
int energy_read(struct serve_config *c, struct config_doc *d, struct config_node *map,
                struct err *e);
/* The URL, the key, which is read from where it is, and the curve. ERR_ARG. */
int energy_check(struct serve_config *c, struct err *e);
void energy_describe(const struct serve_config *c, struct buf *out);

/* The curve of idle_watts and `curve`; 0: neither was set. */
int energy_curve_of(const struct serve_energy *s, struct energy_curve *ret, struct err *e);

#endif
