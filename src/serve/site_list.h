/* Sites as the configuration has them: read, checked and laid out for the cloud. One thread. */
#ifndef SERVE_SITE_LIST_H
#define SERVE_SITE_LIST_H

#include "serve/serve.h"

/* One map of the file. ERR_FORMAT with "file:line:column: what". */
int site_read(struct serve_config *c, struct config_doc *d, struct config_node *map, struct err *e);
/* That suppliers and the engines of this process belong to sites that are there; before
 * routes_check, as sites tell residencies. ERR_ARG. */
int sites_check(struct serve_config *c, struct err *e);
void sites_describe(const struct serve_config *c, struct buf *out);
/* The site of that name; NULL: there is none. */
const struct serve_site *site_of(const struct serve_config *c, const char *name);

#endif
