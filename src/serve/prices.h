/* The price book as the configuration has it: `currency`, the lists `prices` and `rates`. One
 * thread, at the start. */
#ifndef SERVE_PRICES_H
#define SERVE_PRICES_H

#include "serve/serve.h"

/* One map of the file. ERR_FORMAT with "file:line:column: what". */
int price_read(struct serve_config *c, struct config_doc *d, struct config_node *map,
               struct err *e);
/* One map of `rates`, likewise. */
int rate_read(struct serve_config *c, struct config_doc *d, struct config_node *map, struct err *e);
int prices_check(struct serve_config *c, struct err *e); /* ERR_ARG; fills c->book */
void prices_describe(const struct serve_config *c, struct buf *out);

#endif
