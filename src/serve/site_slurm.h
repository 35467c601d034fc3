/* The nodes of a site that Slurm may use, as the configuration has them. One thread. */
#ifndef SERVE_SITE_SLURM_H
#define SERVE_SITE_SLURM_H

#include "serve/serve.h"

/* The map `slurm` of a site whose power is there, into the site and its terms. ERR_FORMAT with
 * "file:line:column: what", ERR_NOMEM. */
int site_slurm_read(struct serve_config *c, struct config_doc *d, struct serve_site *p,
                    struct config_node *map, struct err *e);
/* That no node of it is one of a site before it. ERR_ARG. */
int site_slurm_check(const struct serve_config *c, int i_site, struct err *e);
void site_slurm_describe(const struct serve_site *p, struct buf *out);

#endif
