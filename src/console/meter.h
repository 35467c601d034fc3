/* The server's metrics: one table, its series, and the text of /metrics. Names follow vLLM's where
 * the meaning is the same, so that existing dashboards work; the rest begins with gaufre_. */
#ifndef CONSOLE_METER_H
#define CONSOLE_METER_H

#include <stdint.h>

#include "base/buf.h"
#include "base/metric.h"
#include "job/tier.h"

struct meter;
struct row_live;
struct row_end;

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
/* A request was handed to a supplier (+1), or has ended that was (-1). */
void meter_under_way(struct meter *m, enum tier tier, int add);
void meter_first_token(struct meter *m, const struct meter_model *mm, enum tier tier, int64_t us);
/* One answered request. Where no model was found `model` is "-" and `mm` NULL. */
void meter_end(struct meter *m, const char *model, const struct meter_model *mm,
               const struct row_live *l, const struct row_end *e);

#endif
