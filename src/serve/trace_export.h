/* Sends spans to an OTLP/HTTP service, as JSON. No request ever waits for it.
 *
 * Each io thread writes the spans of its requests into a ring of its own (TRACE_RING_BYTES); the
 * first io thread gathers them into batches and posts these, one at a time. Where the service
 * cannot be reached or says 429, 502, 503 or 504, a batch is sent again after a pause
 * (policy/backoff.h), for a minute; meanwhile the rings fill, and what finds no room is dropped.
 * Dropped spans are counted and the log says so. When the server stops, the spans of the last
 * requests are sent, once, within its drain.
 *
 * JSON and not protobuf: OTLP has both, all receivers take it, and people can read it. */
#ifndef SERVE_TRACE_EXPORT_H
#define SERVE_TRACE_EXPORT_H

#include <stddef.h>

#include "base/err.h"

#define TRACE_RING_BYTES ((size_t)1 << 20)

struct server;
struct trace_export;

/* *ret NULL where the configuration sends no traces. Before the io threads. */
int trace_export_open(struct trace_export **ret, struct server *s, struct err *e);
/* OTLP's span objects of one request, with commas between them. On that io thread. */
void trace_export_push(struct trace_export *t, int io, const void *spans, size_t n, int n_spans);
void trace_export_mail(struct trace_export *t);  /* on the first io thread */
void trace_export_drain(struct trace_export *t); /* a drain has begun [any]; accepts NULL */
void trace_export_stop(struct trace_export *t);  /* the io threads have ended; accepts NULL */
void trace_export_close(struct trace_export *t); /* accepts NULL */

#endif
