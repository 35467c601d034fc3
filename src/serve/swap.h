/* What of a configuration can change while a server runs. */
#ifndef SERVE_SWAP_H
#define SERVE_SWAP_H

#include "serve/serve.h"

/* 0, or ERR_ARG with the first setting that differs and needs a restart. */
int swap_may(const struct serve_config *now, const struct serve_config *next, struct err *e);
int swap_has_same_webhooks(const struct serve_config *now, const struct serve_config *next);
/* One supplier: its settings and its keys. */
int swap_is_same_supplier(const struct serve_supplier *a, const struct serve_supplier *b);
int swap_has_same_suppliers(const struct serve_config *now, const struct serve_config *next);

#endif
