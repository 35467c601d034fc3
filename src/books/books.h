/* Door of the books room: what was used is written down. One row for every settled request, one
 * balance for every tenant, in one SQLite file.
 *
 * Rows come from a fixed pool. A request takes one when it enters, so that it can be booked when it
 * ends, and no answered request is lost for lack of memory. Rows are committed together, about
 * every 100 ms or 100 rows, with synchronous=FULL. When the disk fails, rows are kept and tried
 * again each second; the log says that, and later that they were written. When the pool is empty,
 * books_take fails and new requests are refused. Only the file's owner can read it (base/disk.h).
 *
 * One thread owns the file: the books thread, where books_start made one, else whoever calls
 * books_step. A simulation does that, with the time that it imagines. */
#ifndef BOOKS_BOOKS_H
#define BOOKS_BOOKS_H

#include <stdint.h>

#include "base/err.h"
#include "base/mbox.h"

#define BOOKS_NAME_MAX 64
#define BOOKS_ROWS_MAX 16384

struct books;

struct books_row {
    struct mbox_item item;
    struct books_row *next_free;
    int64_t at_us; /* wall clock, when the request ended */
    int64_t prompt_tokens, cached_tokens, completion_tokens, energy_uj;
    int status;                      /* HTTP's */
    char request_id[BOOKS_NAME_MAX]; /* a row is booked once: ids must be unique */
    char tenant[BOOKS_NAME_MAX], key_id[BOOKS_NAME_MAX];
    char model[2 * BOOKS_NAME_MAX]; /* as clients name it */
    char
        supplier[2 * BOOKS_NAME_MAX]; /* the stable id of who served it, the same after a restart */
};

/* Makes the file and its tables where missing. */
int books_open(struct books **ret, const char *path, int sync_normal, struct err *e);
/* Starts the books thread, or ERR_IO. */
int books_start(struct books *b, struct err *e);
/* Writes what was posted, closes; with a failing disk it gives up after a few seconds. Returns how
 * many rows were lost. Accepts NULL. */
int64_t books_close(struct books *b);

/* [any] An empty row, or NULL when all are on their way. */
struct books_row *books_take(struct books *b);
void books_give(struct books *b, struct books_row *r); /* unused */
void books_post(struct books *b, struct books_row *r); /* to be written */

/* One round of the books thread: take the rows that were posted, write those that are due. Returns
 * for how many microseconds there is nothing to do unless more are posted; -1: for ever. now_us:
 * monotonic. */
int64_t books_step(struct books *b, int64_t now_us);

/* [any] */
void books_stats(const struct books *b, int64_t *ret_written, int64_t *ret_pending,
                 int64_t *ret_failures);

struct books_balance {
    char tenant[BOOKS_NAME_MAX];
    int64_t n_requests, prompt_tokens, cached_tokens, completion_tokens, energy_uj;
};
/* Read the balances from a ledger file, in order of tenant. [any], also while a server writes. */
int books_balances(const char *path, int (*row)(void *arg, const struct books_balance *b),
                   void *arg, struct err *e);
/* Tokens that a tenant used in requests that ended in [from_us, until_us) of the wall clock. [any],
 * likewise. */
int books_used(const char *path, const char *tenant, int64_t from_us, int64_t until_us,
               int64_t *ret, struct err *e);

#endif
