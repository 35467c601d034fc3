/* Rows of requests: what the console shows of each.
 *
 * A row is published by the owner of its request (serve's call). It lies in the owner's memory, is
 * linked into a list of the owner's io thread, and is written on that thread only. So nothing here
 * is locked or atomic. To see the rows of all threads a watch is sent round (watch.h), which copies
 * them on each thread. When its request is over, a row is counted in the metrics, logged, and kept
 * among the last ROWS_RECENT of its thread. */
#ifndef CONSOLE_ROW_H
#define CONSOLE_ROW_H

#include <stdint.h>

#include "console/request_store.h"
#include "console/timeline.h"
#include "job/tier.h"
#include "job/usage.h"

#define ROWS_RECENT 256 /* requests that ended, kept by each io thread */

#define ROW_SUPPLIER_MAX 80

enum row_state { ROW_QUEUED, ROW_PREFILL, ROW_DECODE, ROW_FINISHED };

/* What is shown of one request: a plain value that can be copied. */
struct row {
    char id[40], client_id[80];
    const char *model, *endpoint, *finish; /* static, or the server's; finish NULL: not yet */
    enum row_state state;
    enum tier tier;
    char supplier[ROW_SUPPLIER_MAX]; /* who serves it, in part where it is longer; "": nobody yet */
    int i_tenant, i_model, stream;
    uint64_t order; /* of arrival at the suppliers; 0: not there yet */
    int32_t n_choices, n_prompt, n_cached, n_prefilled, n_generated, n_drafted, n_draft_right;
    int64_t started_us, first_us, last_us, ended_us; /* first and last: of tokens; 0: not yet */
};

struct rows; /* of one io thread: console_rows() */

/* A row while its request lives. Zeroed by the owner, who fills id, client_id and started_us; the
 * rest is written by the functions below, counts of tokens by the owner too. */
struct row_live {
    struct row row;
    struct timeline timeline;
    int cancel;        /* a watch asks the owner to cancel the request */
    int has_started;   /* it left the queue */
    struct rows *rows; /* where it is published; NULL: nowhere */
    struct row_live *next, *prev;
};

/* Link the row into the list of its io thread: from now on its tenant can see it. `endpoint`:
 * static. */
void row_publish(struct row_live *l, struct rows *io, const char *endpoint, int i_tenant);

/* Its jobs are at the supplier of that model (the cloud's number). */
struct row_begin {
    int i_model, stream;
    enum tier tier;
    int32_t n_choices, n_prompt;
    const char *supplier;
};
void row_begin(struct row_live *l, const struct row_begin *b);
void row_back(struct row_live *l); /* they are not, and it will be routed again */
/* A supplier was chosen for it, or none found: all its decisions (cloud/route_record.h). */
void row_routed(const struct row_live *l, struct rows *io, const char *record);
void row_start(struct row_live *l, int64_t at_us, int32_t n_cached); /* it left the queue */
void row_token(struct row_live *l, int64_t now_us);                  /* of one of its choices */
void row_note(struct row_live *l, enum timeline_what what, int64_t at_us, int64_t n);
/* The request was answered, left by its client, or failed, and its jobs are home: the counts are
 * those that are booked. `finish`: static. Only the first call for a row has an effect. */
void row_finish(struct row_live *l, const char *finish);

/* How a request ended. Strings are borrowed; "" or 0 where there is nothing to say. */
struct row_end {
    const char *peer, *method, *path, *tenant, *key_id;
    const char *supplier; /* who served it */
    const char *finish;   /* "stop", "length"; NULL: it did not come so far */
    const char *why;      /* the sentence of `code` */
    const char *site;     /* where it was served */
    const char *route;    /* which supplier was chosen and why (cloud/route_record.h) */
    int status;           /* HTTP */
    int code;             /* 0 or ERR_* */
    int is_api;           /* it asked for what a model does, not only how things are */
    int goes_on;          /* another process makes it to its end, and has its row then */
    int i_tenant;         /* the cloud's number; -1: nobody */
    int i_model;          /* -1: none was found */
    int n_jobs;           /* that reached a supplier */
    int stream;           /* it was answered as one */
    enum tier tier;       /* in which it was served */
    struct usage usage;
    struct times times;                /* but total and created */
    const struct request_texts *texts; /* to be kept, and the store's from now on; NULL: none */
};
/* The request has ended, and no supplier and no thread has anything of it: count it, log it, keep
 * its row. Its memory may be freed afterwards. To be called for rows that were never published,
 * too. */
void row_end(struct row_live *l, struct rows *io, const struct row_end *e);

#endif
