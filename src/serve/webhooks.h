/* The configuration's list webhooks: read, checked, and put to work on the server's first io
 * thread. One thread, but for webhooks_mail: the io thread's. */
#ifndef SERVE_WEBHOOKS_H
#define SERVE_WEBHOOKS_H

#include "serve/serve.h"

struct server;
struct webhooks;

/* One map of the file. ERR_FORMAT with "file:line:column: what". */
int webhook_read(struct serve_config *c, struct config_doc *d, struct config_node *map,
                 struct err *e);
/* Addresses, names of events, and secrets, which are read from where they are. ERR_ARG. */
int webhooks_check(struct serve_config *c, struct err *e);
void webhooks_describe(const struct serve_config *c, struct buf *out);

/* Make the configuration's receivers, and use them from now on; what waits for one of before goes
 * to the new one of its name. What was made and is never used stays until the server closes. */
int webhooks_make(struct server *s, const struct serve_config *c, struct webhooks **ret,
                  struct err *e);
void webhooks_use(struct server *s, struct webhooks *w);
int webhooks_start(struct server *s, struct err *e); /* before the io threads */
void webhooks_mail(struct server *s);                /* there are notices */
void webhooks_stop(struct server *s);                /* the io threads have ended */
void webhooks_close(struct server *s);

#endif
