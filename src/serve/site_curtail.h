/* The curtailment of sites as the configuration has it: what was agreed with the grid, and
 * schedules. One thread. */
#ifndef SERVE_SITE_CURTAIL_H
#define SERVE_SITE_CURTAIL_H

#include "serve/serve.h"

/* What was agreed, into the terms. ERR_ARG. */
int site_curtail_read(struct serve_site *p, struct err *e);
/* The list `curtailment` of a site whose zone and power are there. ERR_FORMAT with
 * "file:line:column: what", ERR_NOMEM. */
int site_schedules_read(struct serve_config *c, struct config_doc *d, struct serve_site *p,
                        struct config_node *list, struct err *e);

#endif
