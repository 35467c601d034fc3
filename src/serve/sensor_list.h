/* A site's `environment` in the configuration: its sensors, read and checked. One thread. */
#ifndef SERVE_SENSOR_LIST_H
#define SERVE_SENSOR_LIST_H

#include "serve/serve.h"

/* The list below a site. ERR_FORMAT with "file:line:column: what". */
int sensors_read(struct serve_config *c, struct config_doc *d, struct config_node *list,
                 struct serve_site *p, struct err *e);
/* What all of them have in common, when the site's other settings are known, and those that are
 * computed of others. ERR_ARG. */
int sensors_finish(struct serve_site *p, struct err *e);
/* Their keys, from where these are. ERR_ARG. */
int sensors_check(struct serve_config *c, struct serve_site *p, struct err *e);
void sensors_describe(const struct serve_site *p, struct buf *out);

#endif
