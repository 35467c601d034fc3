/* The console's own state, shared by the files of this room. */
#ifndef CONSOLE_CONSOLE_INT_H
#define CONSOLE_CONSOLE_INT_H

#include <pthread.h>
#include <stdatomic.h>

#include "console/console.h"
#include "console/meter.h"
#include "console/overview.h"
#include "console/request_store.h"
#include "console/route_view.h"
#include "console/row.h"

#define CONSOLE_IO_MAX 64

/* The row of a request that ended, and its timeline. */
struct row_kept {
    struct row row;
    int n_marks;
    struct timeline_mark mark[TIMELINE_MARKS];
};

/* What an io thread has counted of one model's requests. */
struct rows_model {
    uint64_t n_requests; /* that reached it */
    struct timeline_samples samples[TIMELINE_TIMES];
};

/* What an io thread has counted of all requests for answers that have ended. */
struct rows_ended {
    int64_t n, n_refused, n_failed, prompt, generated; /* 402, 429; 5xx; tokens */
};

/* The rows of one io thread; no other thread touches them. */
struct rows {
    struct console *console;
    struct row_live *live; /* newest first */
    uint64_t n_kept;       /* requests that ended, ever */
    struct row_kept kept[ROWS_RECENT];
    struct rows_model *model[CLOUD_MODELS_MAX];
    struct routes_kept routes;
    struct rows_ended ended;
};
/* The i-th newest that ended; NULL past the oldest kept. */
const struct row_kept *rows_kept(const struct rows *r, int i);
void row_keep(struct row_kept *ret, const struct row_live *l); /* as it is now */

/* What was counted until then, and since one of some seconds before (span_us 0: there is none). */
struct overview_sums {
    int64_t at_us, requests, prompt, generated;
    int64_t span_us, d_requests, d_prompt, d_generated;
};
#define OVERVIEW_PAST    8
#define OVERVIEW_SPAN_US INT64_C(6000000)

struct overview {
    pthread_mutex_t lock;       /* rank: a leaf */
    struct overview_text *text; /* the last; NULL: none yet */
    int is_making;
    uint64_t seq;
    struct overview_sums past[OVERVIEW_PAST];
    _Atomic int n_watchers;
};

struct console_model {
    const char *id;
    struct meter_model meters;
};

struct console {
    struct console_setup setup;
    struct meter *meter;
    struct console_model model[CLOUD_MODELS_MAX];
    int n_models;
    struct rows *rows[CONSOLE_IO_MAX];
    _Atomic int generation; /* of the configuration */
    int n_io, n_threads;
    int64_t created, opened_us; /* unix seconds; by the clock */
    uint64_t machine_bytes;
    char cpu[128];              /* its name */
    _Atomic uint64_t n_ordered; /* requests that reached a supplier */
    _Atomic int n_watchers, n_watchers_of[CLOUD_TENANTS_MAX];
    struct overview overview;
};

/* overview_view.c: what a watch has collected, as JSON. 0 or the buffer's failure. */
int overview_write(struct watch *w, uint64_t seq, const struct overview_sums *s,
                   const struct overview_meter *m, struct buf *out);

/* account_view.c: members of an object. */
void account_put_money(struct buf *b, const char *name, int64_t nano);
void account_put_budgets(const struct budget_view *list, int n, const char *currency,
                         struct buf *b);

/* request_log.c: the line of a request that ended, and its row in the store (NULL: nowhere). */
void request_log(const struct row_live *l, const struct row_end *e, const char *model,
                 struct request_store *store);

#endif
