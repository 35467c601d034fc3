#include "books/books.h"

#include <pthread.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/put.h"
#include "base/rand.h"
#include "base/sql.h"
#include "books/leaf.h"
#include "books/ledger_sql.h"
#include "books/settle.h"
#include "policy/concentration.h"

#define GROUP_ROWS  JOURNAL_GROUP_ROWS
#define GROUP_US    INT64_C(100000)
#define RETRY_US    INT64_C(1000000)
#define CLOSE_TRIES 3
#define SALTS       64                /* that are asked of the system at once */
#define TELL_US     INT64_C(30000000) /* between two log lines about the same failure */

/* From the journal into the database: at once where a group is small, so that those who look see
 * each request soon; else many together, which costs less for each. */
#define SETTLE_AT_ONCE 16
#define SETTLE_US      INT64_C(1000000)
#define SETTLE_ROWS    4000

/* Something that fails, and is tried again. */
struct trouble {
    int64_t n_in_row, since_us, told_us;
    char told[160];
};

struct books {
    struct ledger *ledger;
    struct journal *journal; /* NULL: the ledger is in PostgreSQL, and each group is a commit */
    pthread_t thread;
    int has_thread;
    int is_loose; /* the journal is not flushed */
    struct mbox box;
    struct mbox_item stop;
    struct books_row *rows, *free;         /* free, n_taken: under lock */
    int n_taken;                           /* the first so many of rows were taken before */
    unsigned char salt[SALTS][BOOKS_SALT]; /* under lock; each is used once */
    int n_salts;
    pthread_mutex_t lock; /* rank: a leaf */
    _Atomic int64_t n_written, n_posted, n_failures, n_waiting;
    _Atomic int64_t oldest_us; /* as books_oldest_us tells it */
    /* The rest is of the thread that owns the files. */
    struct books_row *batch[BOOKS_ROWS_MAX]; /* posted, not yet in the journal */
    int n_batch, stopping;
    int64_t due_us;               /* when the batch is to be written */
    int64_t settle_us;            /* when the journal is to be put into the database */
    int64_t batch_us, journal_us; /* when the oldest row of each was taken; 0: it is empty */
    struct trouble writing, settling;
    char why[256]; /* the last write failed */
};

/* ---- writing --------------------------------------------------------------------------------- */

/* Log a failure: a new kind at once, one that lasts every TELL_US, and its end. */
static void tell_failure(struct books *b, struct trouble *t, int64_t now_us, const char *what,
                         int64_t n, const char *why)
{
    atomic_fetch_add(&b->n_failures, 1);
    if (!t->n_in_row++)
        t->since_us = now_us;
    if (t->n_in_row > 1 && !strncmp(why, t->told, sizeof t->told - 1) &&
        now_us - t->told_us < TELL_US)
        return;
    t->told_us = now_us;
    put_text(t->told, sizeof t->told, why);
    log_line(LOG_ERROR, "ledger: %lld row%s cannot be %s (%lld tries, %lld s), will try again: %s",
             (long long)n, plural(n), what, (long long)t->n_in_row,
             (long long)(now_us - t->since_us) / 1000000, why);
}

static void tell_success(struct trouble *t, int64_t now_us, const char *what, int64_t n)
{
    if (!t->n_in_row)
        return;
    log_line(LOG_WARN, "ledger: %s again, %lld row%s, after %lld failed tries in %lld s", what,
             (long long)n, plural(n), (long long)t->n_in_row,
             (long long)(now_us - t->since_us) / 1000000);
    t->n_in_row = 0;
}

/* Rows are on the disk: 0; or not, and why. */
static int write_group(struct books *b, struct books_row *const *rows, int n, const char **ret_why)
{
    if (b->journal ? !journal_append(b->journal, rows, n) : !ledger_write(b->ledger, rows, n)) {
        atomic_fetch_add(&b->n_waiting, b->journal ? n : 0);
        atomic_fetch_add(&b->n_written, n);
        return 0;
    }
    if (b->journal)
        journal_failure(b->journal, ret_why);
    else
        ledger_failure(b->ledger, ret_why);
    return -1;
}

/* Write all rows of the batch; where that fails, those that are not on the disk stay in it. */
static int write_batch(struct books *b, int64_t now_us)
{
    const char *why = "";
    int n_done = 0, n_all = b->n_batch, r = 0;

    while (!r && n_done < n_all) {
        int n = n_all - n_done < GROUP_ROWS ? n_all - n_done : GROUP_ROWS;
        r = write_group(b, b->batch + n_done, n, &why);
        for (int i = 0; !r && i < n; i++)
            books_give(b, b->batch[n_done + i]);
        n_done += r ? 0 : n;
    }
    b->n_batch -= n_done;
    if (n_done && b->journal && !b->journal_us)
        b->journal_us = b->batch_us;
    if (!b->n_batch)
        b->batch_us = 0;
    memmove(b->batch, b->batch + n_done, (size_t)b->n_batch * sizeof *b->batch);
    if (r) {
        put_text(b->why, sizeof b->why, why);
        tell_failure(b, &b->writing, now_us, "written", b->n_batch, why);
        return -1;
    }
    tell_success(&b->writing, now_us, "written", n_done);
    return 0;
}

/* Put what is in the journal into the database; what fails stays there. */
static void settle(struct books *b, int64_t now_us)
{
    int64_t n = 0, n_waiting = atomic_load(&b->n_waiting);
    struct err e = {0};
    int r = settle_journal(b->journal, b->ledger, &n, &e);

    if (atomic_fetch_sub(&b->n_waiting, n) == n)
        b->journal_us = 0;
    b->settle_us = now_us + SETTLE_US;
    if (r)
        tell_failure(b, &b->settling, now_us, "moved from the journal into the database",
                     n_waiting - n, e.text);
    else
        tell_success(&b->settling, now_us, "moved", n_waiting);
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

/* Write the batch if it is due; returns how long it has time. */
static int64_t write_due(struct books *b, int64_t now_us)
{
    int n = b->n_batch, is_first = !atomic_load(&b->n_waiting);

    if (!n)
        return -1;
    if (now_us < b->due_us && (n < GROUP_ROWS || b->writing.n_in_row))
        return b->due_us - now_us;
    if (write_batch(b, now_us)) {
        b->due_us = now_us + RETRY_US;
        return RETRY_US;
    }
    if (is_first && !b->settling.n_in_row)
        b->settle_us = now_us + (n < SETTLE_AT_ONCE && !b->is_loose ? 0 : SETTLE_US);
    return -1;
}

/* Settle if it is due; returns how long that has time. */
static int64_t settle_due(struct books *b, int64_t now_us)
{
    int64_t n = atomic_load(&b->n_waiting);

    if (n && (now_us >= b->settle_us || (n >= SETTLE_ROWS && !b->settling.n_in_row)))
        settle(b, now_us);
    return b->settling.n_in_row || atomic_load(&b->n_waiting) ? b->settle_us - now_us : -1;
}

int64_t books_step(struct books *b, int64_t now_us)
{
    int had = b->n_batch;
    int64_t write_us, settle_us;

    take_posted(b);
    if (!had) {
        b->due_us = now_us + GROUP_US;
        b->batch_us = b->n_batch ? now_us : 0;
    }
    write_us = write_due(b, now_us);
    settle_us = settle_due(b, now_us);
    atomic_store(&b->oldest_us, b->journal_us ? b->journal_us : b->batch_us);
    return write_us < 0 || (settle_us >= 0 && settle_us < write_us) ? settle_us : write_us;
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
        if (!b->n_batch && atomic_load(&b->n_posted) != atomic_load(&b->n_written))
            continue; /* one was posted meanwhile, and woke nobody */
        mbox_wait(&b->box, wait_us < 0 ? -1 : (int)(wait_us / 1000) + 1);
    }
}

/* ---- lifecycle ------------------------------------------------------------------------------- */

static void books_free(struct books *b)
{
    journal_close(b->journal);
    ledger_close(b->ledger);
    mbox_close(&b->box);
    pthread_mutex_destroy(&b->lock);
    free(b->rows);
    free(b);
}

int books_open(struct books **ret, const char *where, int sync_normal, struct err *e)
{
    struct books *b = calloc(1, sizeof *b);
    int r;

    if (!b)
        return err_set(e, ERR_NOMEM, "ledger: out of memory");
    b->box.fd = -1;
    b->is_loose = sync_normal;
    pthread_mutex_init(&b->lock, NULL);
    b->rows = calloc(BOOKS_ROWS_MAX, sizeof *b->rows);
    if (!b->rows)
        r = err_set(e, ERR_NOMEM, "ledger: out of memory");
    else if (mbox_open(&b->box))
        r = err_set(e, ERR_IO, "ledger: no descriptor for its mailbox");
    else
        r = ledger_open(&b->ledger, where, sql_is_url(where) && sync_normal, e);
    if (!r && !sql_is_url(where))
        r = settle_open(&b->journal, where, b->ledger, sync_normal, e);
    if (!r && b->journal) /* rows go on into the journal while others hold the database */
        r = ledger_hurry(b->ledger, e);
    if (r) {
        books_free(b);
        return r;
    }
    *ret = b;
    return 0;
}

int books_sign_with(struct books *b, const struct tree_key *key, struct err *e)
{
    return ledger_sign_with(b->ledger, key, e);
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
    int64_t n_lost, n_waiting;

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
    if (b->journal)
        settle(b, clock_now_us());
    n_waiting = atomic_load(&b->n_waiting);
    if (n_waiting)
        log_line(LOG_WARN, "ledger: %lld row%s in the journal until the next start",
                 (long long)n_waiting, n_waiting == 1 ? " stays" : "s stay");
    n_lost = b->n_batch;
    if (n_lost)
        log_line(LOG_ERROR, "ledger: %d row%s lost: %s", b->n_batch,
                 b->n_batch == 1 ? " was" : "s were", b->why);
    books_free(b);
    return n_lost;
}

/* ---- rows ------------------------------------------------------------------------------------ */

/* The next salt, under the lock; NULL: the system gives no random bytes. */
static const unsigned char *next_salt(struct books *b)
{
    if (!b->n_salts && !rand_system(b->salt, sizeof b->salt))
        b->n_salts = SALTS;
    return b->n_salts ? b->salt[--b->n_salts] : NULL;
}

struct books_row *books_take(struct books *b)
{
    unsigned char salt[BOOKS_SALT];
    const unsigned char *next;
    struct books_row *r = NULL;

    pthread_mutex_lock(&b->lock);
    next = next_salt(b);
    if (next) {
        memcpy(salt, next, sizeof salt);
        r = b->free;
    }
    if (r)
        b->free = r->next_free;
    else if (next &&
             b->n_taken < BOOKS_ROWS_MAX) /* never touched: of its memory there is none yet */
        r = &b->rows[b->n_taken++];
    pthread_mutex_unlock(&b->lock);
    if (r) {
        ledger_row_unmeasured(r);
        put_bytes(salt, sizeof salt, r->salt);
    }
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

void books_leaf(struct books_row *r, unsigned char *ret)
{
    if (!ledger_sql_is_clean(r))
        ledger_sql_clean(r);
    leaf_of_row(r, ret);
}

void books_stats(const struct books *b, int64_t *ret_written, int64_t *ret_pending,
                 int64_t *ret_failures)
{
    *ret_written = atomic_load(&b->n_written);
    *ret_pending = atomic_load(&b->n_posted) - *ret_written;
    *ret_failures = atomic_load(&b->n_failures);
}

void books_log_state(const struct books *b, struct books_log *ret)
{
    ledger_log_state(b->ledger, ret);
}

int64_t books_in_journal(const struct books *b)
{
    return atomic_load(&b->n_waiting);
}

int64_t books_oldest_us(const struct books *b)
{
    return atomic_load(&b->oldest_us);
}

int32_t books_hhi(const int64_t *amount, int n)
{
    return concentration_hhi(amount, n);
}
