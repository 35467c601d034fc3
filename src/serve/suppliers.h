/* Services elsewhere as the configuration has them: read, checked, and put on offer beside the
 * local engines. One thread, before requests come and after they have gone. */
#ifndef SERVE_SUPPLIERS_H
#define SERVE_SUPPLIERS_H

#include "serve/serve.h"

struct server;
struct suppliers;

/* One map of the file. ERR_FORMAT with "file:line:column: what". */
int supplier_read(struct serve_config *c, struct config_doc *d, struct config_node *map,
                  struct err *e);
/* Names, addresses and keys; reads the keys from where they are. ERR_ARG. */
int suppliers_check(struct serve_config *c, struct err *e);
void suppliers_describe(const struct serve_config *c, struct buf *out);

/* Put the configuration's suppliers on offer in place of those before, all or none; requests that
 * are at the earlier ones go on there. One that is as it was stays on offer, with all that was
 * learned of it: breakers, limits, times, and who waits for its places. Before the server starts a
 * model that nobody serves yet is new; afterwards it is an error. Connects nothing yet. */
int suppliers_add(struct server *s, const struct serve_config *c, struct err *e);
/* These and all before; their offers are gone, the io threads have ended. Accepts NULL. */
void suppliers_close(struct suppliers *s);

#endif
