/* The configuration as gaufre serve has it, for other commands. */
#ifndef CMD_CONFIGURED_H
#define CMD_CONFIGURED_H

#include "serve/serve.h"

/* Read and check that file, and find the models, the ledger and the accounts that it means. `c` was
 * initialised; serve_config_done is the caller's, also after an error. ERR_*. */
int configured(struct serve_config *c, const char *path, struct err *e);

#endif
