/* What a watch (watch.h) has collected, and how it is written. */
#ifndef CONSOLE_SNAPSHOT_H
#define CONSOLE_SNAPSHOT_H

#include "base/mbox.h"
#include "console/console_int.h"
#include "console/watch.h"
#include "policy/rota.h"

/* Requests and tokens of all tenants: those that ended, and those under way. */
struct watch_sums {
    int64_t requests, refused, failed, prompt, generated, n_live;
    int64_t waiting[TIER_AUTO], running[TIER_AUTO];
};

/* A request that waits, of any tenant: needed to compute places in the queue. */
struct waiter {
    int i_model;
    struct rota_one one;
    int64_t place; /* in its model's queue, from 1 */
};

struct watch {
    struct mbox_item item;
    struct console *console;
    void *owner;
    int i_tenant, is_watcher;

    int home, n_left; /* io threads still to see */
    int64_t now_us;
    const char *id; /* one request, or NULL: all of them */
    enum watch_what what;

    struct row *row; /* of this tenant */
    int n_rows, cap_rows;
    struct waiter *waiter;
    int n_waiters, cap_waiters;
    struct rota turns[CLOUD_MODELS_MAX]; /* whose turn was last, as the supplier says */
    struct watch_sums sums;
    int64_t others; /* requests of other tenants under way */
    float *times;   /* [model][kind][n_io * TIMELINE_SAMPLES]; NULL: not wanted */
    int n_times[CLOUD_MODELS_MAX][TIMELINE_TIMES];
    uint64_t n_requests[CLOUD_MODELS_MAX];

    int n_found, n_cancelled;
    struct row_kept found;
    struct route_kept *route; /* a copy; NULL: none was found */

    int64_t memory_us; /* when these were looked at */
    uint64_t resident, available;
};

/* The times of a model that were seen: where they begin; at most n_io * TIMELINE_SAMPLES. */
float *snapshot_times(const struct watch *w, int i_model, enum timeline_time kind);

#endif
