/* Metrics of sites: a table and series of their own, which the text of /metrics has behind those of
 * meter.h. */
#ifndef CONSOLE_METER_SITES_H
#define CONSOLE_METER_SITES_H

#include "base/metric.h"

#define METER_SITES_ROWS 16

struct cloud;

/* The i-th row; 0: there is none. */
int meter_sites_row(int i, const struct metric_def **ret);
struct metric_set *meter_sites_new(void); /* NULL: out of memory */
/* As they are now; 0 or out->failed. [any] */
int meter_sites_write(struct metric_set *s, struct cloud *cloud, struct buf *out);

#endif
