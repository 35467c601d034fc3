/* Metrics of contracts in admission (docs/contracts.md) and of the log of answers
 * (docs/receipts.md): a table and series of their own, which the text of /metrics has behind those
 * of meter.h. Limit: the first METER_CONTRACTS_MAX contracts. */
#ifndef CONSOLE_METER_CONTRACTS_H
#define CONSOLE_METER_CONTRACTS_H

#include "base/metric.h"

#define METER_CONTRACTS_MAX 1024

struct cloud;

/* The i-th row; 0 behind the last one. */
int meter_contracts_row(int i, const struct metric_def **ret);
struct metric_set *meter_contracts_new(void); /* NULL: out of memory */
/* As they are now; 0 or out->failed. [any] */
int meter_contracts_write(struct metric_set *s, struct cloud *cloud, struct buf *out);

#endif
