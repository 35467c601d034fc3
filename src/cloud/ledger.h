/* The books: one row for every settled request, one balance for every tenant, in one SQLite file.
 *
 * The books thread is the sole owner of the file. Rows come from a fixed pool: taking one when a
 * request enters is the promise that it can be booked when it ends, so nothing that was answered is
 * lost for want of memory. Rows are committed together, about every 100 ms or 100 rows, with
 * synchronous=FULL. When the disk fails, rows are kept and tried again each second, and the log
 * says so until it says that they were written; when the pool is empty, ledger_take fails and new
 * requests are refused. The file is its owner's alone to read (private.h). */
#ifndef CLOUD_LEDGER_H
#define CLOUD_LEDGER_H

#include <stdint.h>

#include "base/err.h"
#include "base/mbox.h"
#include "cloud/cloud.h"

#define LEDGER_ROWS_MAX 16384

struct ledger;

struct ledger_row {
    struct mbox_item item;
    struct ledger_row *next_free;
    int64_t at_us; /* wall clock */
    int64_t prompt_tokens, cached_tokens, completion_tokens, energy_uj;
    int status;
    char request_id[CLOUD_NAME_MAX];
    char tenant[CLOUD_NAME_MAX], key_id[CLOUD_NAME_MAX];
    char model[2 * CLOUD_NAME_MAX], supplier[2 * CLOUD_NAME_MAX];
};

/* Creates the file and its tables where missing, starts the thread. */
int ledger_open(struct ledger **ret, const char *path, int sync_normal, struct err *e);
/* Writes what was posted, closes; with a failing disk it gives up after a few seconds. Returns how
 * many rows were lost. Accepts NULL. */
int64_t ledger_close(struct ledger *l);

/* [any] An empty row, or NULL when all are on their way. */
struct ledger_row *ledger_take(struct ledger *l);
void ledger_give(struct ledger *l, struct ledger_row *r); /* unused */
void ledger_post(struct ledger *l, struct ledger_row *r); /* to be written */

void ledger_stats(const struct ledger *l, int64_t *ret_written, int64_t *ret_pending,
                  int64_t *ret_failures);

#endif
