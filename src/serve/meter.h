/* The server's metrics: one table, its series, and the text of /metrics. Names follow vLLM's where
 * the meaning is the same, so that existing dashboards work; the rest begins with gaufre_. */
#ifndef SERVE_METER_H
#define SERVE_METER_H

#include <stdint.h>

#include "base/buf.h"
#include "base/metric.h"

struct server;
struct meter;

/* Series of one model, made once. */
struct meter_model {
    struct metric *running, *waiting, *kv_use, *prompt, *generated, *cached, *preemptions, *drafted,
        *accepted;
    struct metric *ttft, *inter_token, *e2e, *queue, *prefill, *decode, *size_in, *size_out;
    struct metric *steps, *bytes_read, *ready;
    struct metric *stop, *length, *error;
};

struct meter *meter_new(void); /* NULL: out of memory */
void meter_free(struct meter *m);
void meter_model(struct meter *m, const char *name, struct meter_model *ret);
/* One answered request: model "-" where none was found. */
void meter_request(struct meter *m, const char *model, int status);
/* Everything as text; gauges are looked at now. */
int meter_write(struct server *s, struct buf *out);
/* Rows for the documentation: name, kind, help; 0 past the end. */
int meter_row(int i, const struct metric_def **ret);

#endif
