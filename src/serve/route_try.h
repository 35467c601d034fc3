/* Routing on paper: the decisions that a server with this configuration would take for a request,
 * by its own code, with nothing started and nothing asked. One thread. */
#ifndef SERVE_ROUTE_TRY_H
#define SERVE_ROUTE_TRY_H

#include "serve/serve.h"

struct route_try {
    const char *model;         /* as a client names it */
    struct cloud_want want;    /* the rest; its model and record are filled here */
    const char *const *failed; /* suppliers that fail with this request */
    const char *const *busy;   /* "NAME=N": sequences that are there */
    int n_failed, n_busy;
    uint64_t nth; /* of the requests for the model: decides where shares do */
};

/* Adds a record (cloud/route_record.h) of each decision to `record`. ERR_NO_MODEL; ERR_ARG: a name
 * is no supplier's of the model; where nobody can take it at last, what a client would be told. */
int serve_route_try(const struct serve_config *c, const struct route_try *t, struct buf *record,
                    struct err *e);

#endif
