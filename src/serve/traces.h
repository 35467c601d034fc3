/* Traces on their way to an OTLP/HTTP service: the settings, and what sends (trace_export.h). */
#ifndef SERVE_TRACES_H
#define SERVE_TRACES_H

#include "serve/serve.h"

struct call;
struct server;

/* Addresses, headers and the ratio, also from OTEL_* of the environment. ERR_ARG. */
int traces_check(struct serve_config *c, struct err *e);
void traces_describe(const struct serve_config *c, struct buf *out);

/* call_trace.c: a request's own trace. All on the call's io thread, and all accept calls without
 * one. */

/* Its head is there, and it asks for what a model does. */
void call_trace_begin(struct call *c);
/* A job goes to a supplier: sets its traceparent. */
struct call_job;
void call_trace_try(struct call *c, struct call_job *j, int is_hedge);
/* That try is over, and is not the one that is answered. Only the first call counts. */
void call_trace_lost(struct call *c, const struct call_job *j, int code);
/* The call has ended: its spans are handed to the exporter. */
void call_trace_end(struct call *c);

#endif
