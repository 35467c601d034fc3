/* Door of the console room: what people are shown of a server at work. One noun:
 *
 *   struct console  the rows that io threads publish, the metrics, and what is made of them.
 *
 * It reads rows (row.h), the cloud's door and net's counters, never the structs of the rooms that
 * do the work, and it calls no room above. watch.h is for looking at requests, page.h has the
 * page's files, bench_store.h what this machine was measured to do.
 *
 * Threads. console_new, console_add_model, console_free: one thread, before requests come and after
 * they have gone; all else [any]. */
#ifndef CONSOLE_CONSOLE_H
#define CONSOLE_CONSOLE_H

#include "base/buf.h"
#include "base/err.h"
#include "base/metric.h"
#include "cloud/cloud.h"
#include "job/energy.h"
#include "net/net.h"

struct console;
struct request_store;
struct rows;

struct console_setup {
    struct cloud *cloud;    /* both must outlive the console */
    struct net_server *net; /* rows are published by its io threads */
    int mail_kind;          /* kind of the mailbox items by which watches travel */
    int has_one_tenant;     /* there is only one tenant: it may have all places of watchers */
    struct request_store *requests; /* rows of requests go there too; NULL: nowhere */
};
/* NULL: out of memory. */
struct console *console_new(const struct console_setup *s);
void console_free(struct console *c); /* accepts NULL */
void console_set_threads(struct console *c, int n_compute);
void console_set_generation(struct console *c, int generation); /* of the configuration [any] */
/* The next model of the cloud, which numbers them from 0, by its id. ERR_LIMIT, ERR_NOMEM. */
int console_add_model(struct console *c, const char *id, struct err *e);

/* The rows of io thread i_io, for row_publish. */
struct rows *console_rows(struct console *c, int i_io);

/* ---- what is asked of a server --------------------------------------------------------------- */

/* 0 when every model has an offer that is loaded and alive, else the error that says which has
 * not. */
int console_health(struct console *c, struct err *e);
/* For operators, to be added to a JSON object where there are any: the suppliers elsewhere, each
 * with its breaker's state, why that opened last, when it is tried again, and its places. Fails as
 * its buffer does. */
int console_suppliers(struct console *c, struct buf *out);
/* The body of the list of models, each under its name in `shown` (of cloud_key_models), or, with
 * `name`, of the model that has this id or alias, shown under that name. ERR_NO_MODEL, also where
 * it is not among those shown, or the buffer's failure. */
int console_models(struct console *c, const char *name, const char *const *shown,
                   enum api_models_format f, struct buf *out, struct err *e);
/* For the metrics: a request was handed to that supplier's offer; and how it went there, code 0
 * with the time to its first content (< 0: not known, or not of a stream), or the error. [any] */
void console_supplier_begin(struct console *c, const char *supplier);
void console_supplier_result(struct console *c, const char *supplier, int code, int64_t first_us);
/* Spans of traces were sent or dropped. [any] */
void console_spans(struct console *c, int n_sent, int n_dropped);
/* All metrics as text; gauges are read at this moment. energy: what the meter says; NULL: there is
 * none. */
int console_metrics(struct console *c, const struct energy_look *energy, struct buf *out);
/* The table of metrics, for the documentation: row i; 0 past the end. */
int console_metric_row(int i, const struct metric_def **ret);

#endif
