/* The energy meter of a command: by the server's configuration where one is given, else as a server
 * without one has it; and what was calibrated in gaufre's home. One thread. */
#ifndef CMD_ENERGY_OPT_H
#define CMD_ENERGY_OPT_H

#include "engine/energy_meter.h"
#include "serve/energy_settings.h"
#include "serve/energy_source.h"
#include "serve/serve.h"

struct energy_opt {
    struct serve_config config;
    struct energy_source *source; /* NULL: not opened, or the kind is off */
};

/* Read the settings; path NULL: the defaults. On failure all is freed. */
int energy_opt_read(struct energy_opt *o, const char *path, struct err *e);
/* Open the meter of this kind; 0 (auto): as configured. */
int energy_opt_open(struct energy_opt *o, int kind, struct err *e);
void energy_opt_close(struct energy_opt *o); /* the meter; the settings stay */
void energy_opt_done(struct energy_opt *o);

#endif
