/* How suppliers are chosen, as the configuration has it: the list `routes`, and what is said of
 * each supplier for it (weight, tiers, price_cap, residency ...). One thread, at the start. */
#ifndef SERVE_ROUTES_H
#define SERVE_ROUTES_H

#include "serve/serve.h"

/* One map of the file. ERR_FORMAT with "file:line:column: what". */
int route_read(struct serve_config *c, struct config_doc *d, struct config_node *map,
               struct err *e);
int routes_check(struct serve_config *c, struct err *e); /* ERR_ARG; fills rules and terms */
void routes_describe(const struct serve_config *c, struct buf *out);

#endif
