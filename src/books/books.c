#include "books/books.h"

#include <pthread.h>
#include <stddef.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "books/ledger.h"
#include "policy/concentration.h"

#define GROUP_ROWS  100
#define GROUP_US    INT64_C(100000)
#define RETRY_US    INT64_C(1000000)
#define CLOSE_TRIES 3
#define TELL_US     INT64_C(30000000) /* between two log lines about the same failure */

struct books {
    struct ledger *ledger;
    pthread_t thread;
    int has_thread;
    struct mbox box;
    struct mbox_item stop;
    struct books_row *rows, *free; /* free, n_taken: under lock */
    int n_taken;                   /* the first so many of rows were taken before */
    pthread_mutex_t lock;          /* rank: a leaf */
    _Atomic int64_t n_written, n_posted, n_failures;
    /* The rest is of the thread that owns the file. */
    struct books_row *batch[BOOKS_ROWS_MAX]; /* posted, not yet written */
    int n_batch, stopping;
    int64_t due_us; /* when the batch is to be written */
    int64_t n_in_row, failed_us,
        told_us; /* while writes fail: how often, since when, last log line */
    int told_code;
};

/* ---- writing --------------------------------------------------------------------------------- */

/* Log a failure: a new kind at once, one that lasts every TELL_US, and its end. */
static void tell_failure(struct books *b, int64_t now_us)
{
    const char *text;
    int code = ledger_failure(b->ledger, &text);

    atomic_fetch_add(&b->n_failures, 1);
    if (!b->n_in_row++)
        b->failed_us = now_us;
    if (b->n_in_row > 1 && code == b->told_code && now_us - b->told_us < TELL_US)
        return;
    b->told_us = now_us;
    b->told_code = code;
    log_line(LOG_ERROR,
             "ledger: %d row%s cannot be written (%lld tries, %lld s), will try again: %s",
             b->n_batch, plural(b->n_batch), (long long)b->n_in_row,
             (long long)(now_us - b->failed_us) / 1000000, text);
}

static void tell_success(struct books *b, int64_t now_us)
{
    if (!b->n_in_row)
        return;
    log_line(LOG_WARN, "ledger: written again, %d row%s, after %lld failed tries in %lld s",
             b->n_batch, plural(b->n_batch), (long long)b->n_in_row,
             (long long)(now_us - b->failed_us) / 1000000);
    b->n_in_row = 0;
}

/* Write all rows of the batch; on failure none is written, and they stay in the batch. */
static int write_batch(struct books *b, int64_t now_us)
{
    if (ledger_write(b->ledger, b->batch, b->n_batch)) {
        tell_failure(b, now_us);
        return -1;
    }
    tell_success(b, now_us);
    atomic_fetch_add(&b->n_written, b->n_batch);
    for (int i = 0; i < b->n_batch; i++)
        books_give(b, b->batch[i]);
    b->n_batch = 0;
    return 0;
}

static void take_posted(struct books *b)
{
    struct mbox_item *list, *it;

    mbox_clear(&b->box);
    list = mbox_take(&b->box);
    while ((it = mbox_next(&list))) {
        if (it == &b->stop)
            b->stopping = 1;
        else
            b->batch[b->n_batch++] =
                (struct books_row *)((char *)it - offsetof(struct books_row, item));
    }
}

int64_t books_step(struct books *b, int64_t now_us)
{
    int had = b->n_batch;

    take_posted(b);
    if (!b->n_batch)
        return -1;
    if (!had)
        b->due_us = now_us + GROUP_US;
    if (now_us < b->due_us && (b->n_batch < GROUP_ROWS || b->n_in_row))
        return b->due_us - now_us;
    if (!write_batch(b, now_us))
        return -1;
    b->due_us = now_us + RETRY_US;
    return RETRY_US;
}

static void *books_main(void *arg)
{
    struct books *b = arg;
    int64_t wait_us;

    pthread_setname_np(pthread_self(), "books");
    for (;;) {
        wait_us = books_step(b, clock_now_us());
        if (b->stopping)
            return NULL;
        if (wait_us < 0 && atomic_load(&b->n_posted) != atomic_load(&b->n_written))
            continue; /* one was posted meanwhile, and woke nobody */
        mbox_wait(&b->box, wait_us < 0 ? -1 : (int)(wait_us / 1000) + 1);
    }
}

/* ---- lifecycle ------------------------------------------------------------------------------- */

static void books_free(struct books *b)
{
    ledger_close(b->ledger);
    mbox_close(&b->box);
    pthread_mutex_destroy(&b->lock);
    free(b->rows);
    free(b);
}

int books_open(struct books **ret, const char *path, int sync_normal, struct err *e)
{
    struct books *b = calloc(1, sizeof *b);
    int r;

    if (!b)
        return err_set(e, ERR_NOMEM, "ledger: out of memory");
    b->box.fd = -1;
    pthread_mutex_init(&b->lock, NULL);
    b->rows = calloc(BOOKS_ROWS_MAX, sizeof *b->rows);
    if (!b->rows)
        r = err_set(e, ERR_NOMEM, "ledger: out of memory");
    else if (mbox_open(&b->box))
        r = err_set(e, ERR_IO, "ledger: no descriptor for its mailbox");
    else
        r = ledger_open(&b->ledger, path, sync_normal, e);
    if (r) {
        books_free(b);
        return r;
    }
    *ret = b;
    return 0;
}

int books_start(struct books *b, struct err *e)
{
    if (pthread_create(&b->thread, NULL, books_main, b))
        return err_set(e, ERR_IO, "ledger: cannot start its thread");
    b->has_thread = 1;
    return 0;
}

int64_t books_close(struct books *b)
{
    const char *why;
    int64_t n_lost;

    if (!b)
        return 0;
    if (b->has_thread) {
        mbox_post(&b->box, &b->stop);
        mbox_wake(&b->box);
        pthread_join(b->thread, NULL);
    }
    take_posted(b);
    for (int i = 0; b->n_batch && i < CLOSE_TRIES; i++) {
        if (i)
            clock_sleep_us(RETRY_US);
        write_batch(b, clock_now_us());
    }
    n_lost = b->n_batch;
    if (n_lost) {
        ledger_failure(b->ledger, &why);
        log_line(LOG_ERROR, "ledger: %d row%s lost: %s", b->n_batch,
                 b->n_batch == 1 ? " was" : "s were", why);
    }
    books_free(b);
    return n_lost;
}

/* ---- rows ------------------------------------------------------------------------------------ */

struct books_row *books_take(struct books *b)
{
    struct books_row *r;

    pthread_mutex_lock(&b->lock);
    r = b->free;
    if (r)
        b->free = r->next_free;
    else if (b->n_taken < BOOKS_ROWS_MAX) /* never touched: of its memory there is none yet */
        r = &b->rows[b->n_taken++];
    pthread_mutex_unlock(&b->lock);
    return r;
}

void books_give(struct books *b, struct books_row *r)
{
    pthread_mutex_lock(&b->lock);
    r->next_free = b->free;
    b->free = r;
    pthread_mutex_unlock(&b->lock);
}

void books_post(struct books *b, struct books_row *r)
{
    int64_t n_waiting = atomic_fetch_add(&b->n_posted, 1) + 1 - atomic_load(&b->n_written);

    mbox_post(&b->box, &r->item);
    /* The others of a group are taken when it is due: the thread knows of the first. */
    if (n_waiting == 1 || n_waiting % GROUP_ROWS == 0)
        mbox_wake(&b->box);
}

void books_stats(const struct books *b, int64_t *ret_written, int64_t *ret_pending,
                 int64_t *ret_failures)
{
    *ret_written = atomic_load(&b->n_written);
    *ret_pending = atomic_load(&b->n_posted) - *ret_written;
    *ret_failures = atomic_load(&b->n_failures);
}

int32_t books_hhi(const int64_t *amount, int n)
{
    return concentration_hhi(amount, n);
}
