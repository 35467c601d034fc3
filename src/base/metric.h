/* Metrics in Prometheus' text form (version 0.0.4), from one table of definitions.
 *
 * A series is one metric with its label values; it is made once (a lock), then counted with atomics
 * from any thread. Label values may come from outside (a model's name, a status), so the number of
 * series is bounded: past it everything is counted in one series whose labels say "other". */
#ifndef BASE_METRIC_H
#define BASE_METRIC_H

#include <stdint.h>

#include "base/buf.h"

enum metric_kind {
    METRIC_COUNTER,
    METRIC_GAUGE,
    METRIC_SHARE,
    METRIC_SUM,
    METRIC_TIMES,
    METRIC_SIZES
};

#define METRIC_LABELS_MAX 3

/* A row of the table; the table ends with a row without a name. A SHARE is a gauge of millionths,
 * shown as a fraction, a SUM a counter of millionths. TIMES are histograms of microseconds, shown
 * in seconds; SIZES are histograms of counts. */
struct metric_def {
    const char *name;
    enum metric_kind kind;
    const char *help;
    const char *label[METRIC_LABELS_MAX]; /* names, NULL past the last */
    const int64_t *bounds;
    int n_bounds;
};

struct metric_set;
struct metric;

/* defs: static memory. NULL when out of memory. */
struct metric_set *metric_set_new(const struct metric_def *defs, int series_max);
void metric_set_free(struct metric_set *s); /* accepts NULL */
/* Series of row i_def; labels are copied (at most 127 bytes), NULL for labels the row lacks. Never
 * NULL. [any] */
struct metric *metric_get(struct metric_set *s, int i_def, const char *l0, const char *l1,
                          const char *l2);
void metric_add(struct metric *m, int64_t n);     /* counters, gauges */
void metric_put(struct metric *m, int64_t value); /* gauges; counters kept elsewhere */
#define METRIC_NONE INT64_MIN /* put to a gauge: nothing is known, and it is not shown */
void metric_observe(struct metric *m, int64_t v);   /* histograms */
void metric_clear(struct metric_set *s, int i_def); /* all series of a row of gauges: 0 */
void metric_fill(struct metric_set *s, int i_def, int64_t value); /* or that */
/* Everything, by row; 0 or out->failed. */
int metric_write(struct metric_set *s, struct buf *out);

#endif
