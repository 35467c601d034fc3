/* What of a configuration can change while a server runs. */
#ifndef SERVE_SWAP_H
#define SERVE_SWAP_H

#include "serve/serve.h"

/* 0, or ERR_ARG with the first setting that differs and needs a restart. */
int swap_may(const struct serve_config *now, const struct serve_config *next, struct err *e);
int swap_has_same_webhooks(const struct serve_config *now, const struct serve_config *next);
int swap_has_same_suppliers(const struct serve_config *now, const struct serve_config *next);

#endif
