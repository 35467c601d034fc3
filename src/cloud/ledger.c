#include "cloud/ledger.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/log.h"
#include "cloud/private.h"

#define GROUP_ROWS     100
#define GROUP_US       INT64_C(100000)
#define RETRY_US       INT64_C(1000000)
#define CLOSE_TRIES    3
#define TELL_US        INT64_C(30000000) /* between two lines on one lasting failure */
#define BUSY_MS        2000
#define SCHEMA_VERSION 1

/* The dialect shared with PostgreSQL: ids made by us, BIGINT microseconds. */
static const char schema[] =
    "CREATE TABLE IF NOT EXISTS usage ("
    " request_id TEXT NOT NULL PRIMARY KEY, at_us BIGINT NOT NULL, tenant TEXT NOT NULL,"
    " key_id TEXT NOT NULL, model TEXT NOT NULL, supplier TEXT NOT NULL,"
    " prompt_tokens BIGINT NOT NULL, cached_tokens BIGINT NOT NULL,"
    " completion_tokens BIGINT NOT NULL, energy_uj BIGINT NOT NULL, status INTEGER NOT NULL);"
    "CREATE INDEX IF NOT EXISTS usage_tenant_at ON usage (tenant, at_us);"
    "CREATE TABLE IF NOT EXISTS balance ("
    " tenant TEXT NOT NULL PRIMARY KEY, n_requests BIGINT NOT NULL, prompt_tokens BIGINT NOT NULL,"
    " cached_tokens BIGINT NOT NULL, completion_tokens BIGINT NOT NULL,"
    " energy_uj BIGINT NOT NULL);";
static const char insert_usage[] =
    "INSERT INTO usage (request_id, at_us, tenant, key_id, model, supplier, prompt_tokens,"
    " cached_tokens, completion_tokens, energy_uj, status)"
    " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)"
    " ON CONFLICT (request_id) DO NOTHING";
static const char add_balance[] =
    "INSERT INTO balance (tenant, n_requests, prompt_tokens, cached_tokens, completion_tokens,"
    " energy_uj) VALUES (?1, 1, ?2, ?3, ?4, ?5)"
    " ON CONFLICT (tenant) DO UPDATE SET n_requests = n_requests + 1,"
    " prompt_tokens = balance.prompt_tokens + excluded.prompt_tokens,"
    " cached_tokens = balance.cached_tokens + excluded.cached_tokens,"
    " completion_tokens = balance.completion_tokens + excluded.completion_tokens,"
    " energy_uj = balance.energy_uj + excluded.energy_uj";

struct ledger {
    sqlite3 *db; /* the books thread's, after ledger_open */
    sqlite3_stmt *usage, *balance;
    pthread_t thread;
    struct mbox box;
    struct mbox_item stop;
    struct ledger_row *rows, *free;            /* free: under lock */
    pthread_mutex_t lock;                      /* rank: a leaf */
    struct ledger_row *batch[LEDGER_ROWS_MAX]; /* the books thread's: posted, not yet written */
    int n_batch, stopping;
    int64_t n_in_row, failed_us, told_us; /* of the failure that lasts: commits, since, last line */
    int told_code;
    _Atomic int64_t n_written, n_posted, n_failures;
};

static int db_err(struct ledger *l, const char *path, struct err *e)
{
    return err_set(e, ERR_IO, "ledger %s: %s", path,
                   l->db ? sqlite3_errmsg(l->db) : "out of memory");
}

/* SQLite gives the files beside it the mode that the database has. */
static int make_private(const char *path, struct err *e)
{
    static const char *const suffixes[] = {"", "-wal", "-shm"};
    char name[4096];

    for (int i = 0; i < 3; i++) {
        int fd = -1;
        if (snprintf(name, sizeof name, "%s%s", path, suffixes[i]) < (int)sizeof name)
            fd = private_open(name, i ? O_RDWR : O_RDWR | O_CREAT);
        if (fd < 0 && !i)
            return err_set(e, ERR_IO, "ledger %s: %s", path, strerror(errno));
        if (fd >= 0)
            close(fd);
    }
    return 0;
}

static int db_open(struct ledger *l, const char *path, int sync_normal, struct err *e)
{
    static const char check[] = "PRAGMA user_version";
    sqlite3_stmt *st = NULL;
    int version = -1, r = make_private(path, e);

    if (r)
        return r;
    if (sqlite3_open_v2(path, &l->db,
                        SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_FULLMUTEX, NULL))
        return db_err(l, path, e);
    sqlite3_busy_timeout(l->db, BUSY_MS);
    if (sqlite3_exec(l->db, "PRAGMA journal_mode=WAL", NULL, NULL, NULL) ||
        sqlite3_exec(l->db, sync_normal ? "PRAGMA synchronous=NORMAL" : "PRAGMA synchronous=FULL",
                     NULL, NULL, NULL) ||
        sqlite3_prepare_v2(l->db, check, -1, &st, NULL))
        return db_err(l, path, e);
    if (sqlite3_step(st) == SQLITE_ROW)
        version = sqlite3_column_int(st, 0);
    sqlite3_finalize(st);
    if (version < 0)
        return db_err(l, path, e);
    if (version != 0 && version != SCHEMA_VERSION)
        return err_set(e, ERR_FORMAT, "ledger %s: written by another version (schema %d, not %d)",
                       path, version, SCHEMA_VERSION);
    if (sqlite3_exec(l->db, schema, NULL, NULL, NULL) ||
        sqlite3_exec(l->db, "PRAGMA user_version=1", NULL, NULL, NULL) ||
        sqlite3_prepare_v2(l->db, insert_usage, -1, &l->usage, NULL) ||
        sqlite3_prepare_v2(l->db, add_balance, -1, &l->balance, NULL))
        return db_err(l, path, e);
    return 0;
}

static void db_close(struct ledger *l)
{
    sqlite3_finalize(l->usage);
    sqlite3_finalize(l->balance);
    sqlite3_close(l->db);
}

/* ---- the books thread ------------------------------------------------------------------------ */

static int write_row(struct ledger *l, const struct ledger_row *r)
{
    sqlite3_stmt *u = l->usage, *b = l->balance;
    int code;

    sqlite3_bind_text(u, 1, r->request_id, -1, SQLITE_STATIC);
    sqlite3_bind_int64(u, 2, r->at_us);
    sqlite3_bind_text(u, 3, r->tenant, -1, SQLITE_STATIC);
    sqlite3_bind_text(u, 4, r->key_id, -1, SQLITE_STATIC);
    sqlite3_bind_text(u, 5, r->model, -1, SQLITE_STATIC);
    sqlite3_bind_text(u, 6, r->supplier, -1, SQLITE_STATIC);
    sqlite3_bind_int64(u, 7, r->prompt_tokens);
    sqlite3_bind_int64(u, 8, r->cached_tokens);
    sqlite3_bind_int64(u, 9, r->completion_tokens);
    sqlite3_bind_int64(u, 10, r->energy_uj);
    sqlite3_bind_int(u, 11, r->status);
    code = sqlite3_step(u);
    sqlite3_reset(u);
    if (code != SQLITE_DONE)
        return -1;
    if (!sqlite3_changes(l->db))
        return 0; /* booked before: a commit that failed after it had happened */
    sqlite3_bind_text(b, 1, r->tenant, -1, SQLITE_STATIC);
    sqlite3_bind_int64(b, 2, r->prompt_tokens);
    sqlite3_bind_int64(b, 3, r->cached_tokens);
    sqlite3_bind_int64(b, 4, r->completion_tokens);
    sqlite3_bind_int64(b, 5, r->energy_uj);
    code = sqlite3_step(b);
    sqlite3_reset(b);
    return code == SQLITE_DONE ? 0 : -1;
}

/* The first of a kind at once, what lasts now and then, and when it is over. */
static void tell_failure(struct ledger *l)
{
    int code = sqlite3_extended_errcode(l->db);
    int64_t now = clock_now_us();

    atomic_fetch_add(&l->n_failures, 1);
    if (!l->n_in_row++)
        l->failed_us = now;
    if (l->n_in_row > 1 && code == l->told_code && now - l->told_us < TELL_US)
        return;
    l->told_us = now;
    l->told_code = code;
    log_line(LOG_ERROR,
             "ledger: %d row%s cannot be written (%lld tries, %lld s), will try again: %s",
             l->n_batch, plural(l->n_batch), (long long)l->n_in_row,
             (long long)(now - l->failed_us) / 1000000, sqlite3_errmsg(l->db));
}

static void tell_success(struct ledger *l)
{
    if (!l->n_in_row)
        return;
    log_line(LOG_WARN, "ledger: written again, %d row%s, after %lld failed tries in %lld s",
             l->n_batch, plural(l->n_batch), (long long)l->n_in_row,
             (long long)(clock_now_us() - l->failed_us) / 1000000);
    l->n_in_row = 0;
}

/* All rows of the batch in one transaction; on failure none, and they stay in the batch. */
static int commit(struct ledger *l)
{
    int r = sqlite3_exec(l->db, "BEGIN IMMEDIATE", NULL, NULL, NULL);

    for (int i = 0; !r && i < l->n_batch; i++)
        r = write_row(l, l->batch[i]);
    if (!r)
        r = sqlite3_exec(l->db, "COMMIT", NULL, NULL, NULL);
    if (r) {
        tell_failure(l);
        if (!sqlite3_get_autocommit(l->db))
            sqlite3_exec(l->db, "ROLLBACK", NULL, NULL, NULL);
        return -1;
    }
    tell_success(l);
    atomic_fetch_add(&l->n_written, l->n_batch);
    for (int i = 0; i < l->n_batch; i++)
        ledger_give(l, l->batch[i]);
    l->n_batch = 0;
    return 0;
}

static void take(struct ledger *l)
{
    struct mbox_item *list, *it;

    mbox_clear(&l->box);
    list = mbox_take(&l->box);
    while ((it = mbox_next(&list))) {
        if (it == &l->stop)
            l->stopping = 1;
        else
            l->batch[l->n_batch++] =
                (struct ledger_row *)((char *)it - offsetof(struct ledger_row, item));
    }
}

static void *books_main(void *arg)
{
    struct ledger *l = arg;
    int64_t deadline, now;

    pthread_setname_np(pthread_self(), "books");
    while (!l->stopping) {
        mbox_wait(&l->box, -1);
        take(l);
        deadline = clock_now_us() + GROUP_US;
        while (l->n_batch && l->n_batch < GROUP_ROWS && !l->stopping &&
               (now = clock_now_us()) < deadline) {
            mbox_wait(&l->box, (int)((deadline - now) / 1000) + 1);
            take(l);
        }
        while (l->n_batch && commit(l) && !l->stopping) {
            clock_sleep_us(RETRY_US);
            take(l);
        }
    }
    for (int i = 0; l->n_batch && commit(l) && i + 1 < CLOSE_TRIES; i++)
        clock_sleep_us(RETRY_US);
    if (l->n_batch)
        log_line(LOG_ERROR, "ledger: %d row%s lost: %s", l->n_batch,
                 l->n_batch == 1 ? " was" : "s were", sqlite3_errmsg(l->db));
    return NULL;
}

/* ---- lifecycle ------------------------------------------------------------------------------- */

int ledger_open(struct ledger **ret, const char *path, int sync_normal, struct err *e)
{
    struct ledger *l = calloc(1, sizeof *l);
    int r;

    if (!l)
        return err_set(e, ERR_NOMEM, "ledger: out of memory");
    l->box.fd = -1;
    pthread_mutex_init(&l->lock, NULL);
    l->rows = calloc(LEDGER_ROWS_MAX, sizeof *l->rows);
    if (!l->rows) {
        r = err_set(e, ERR_NOMEM, "ledger: out of memory");
        goto fail;
    }
    for (int i = LEDGER_ROWS_MAX - 1; i >= 0; i--) {
        l->rows[i].next_free = l->free;
        l->free = &l->rows[i];
    }
    r = db_open(l, path, sync_normal, e);
    if (r)
        goto fail;
    if (mbox_open(&l->box) || pthread_create(&l->thread, NULL, books_main, l)) {
        r = err_set(e, ERR_IO, "ledger: cannot start its thread");
        goto fail;
    }
    *ret = l;
    return 0;
fail:
    db_close(l);
    mbox_close(&l->box);
    pthread_mutex_destroy(&l->lock);
    free(l->rows);
    free(l);
    return r;
}

int64_t ledger_close(struct ledger *l)
{
    int64_t n_lost;

    if (!l)
        return 0;
    mbox_post(&l->box, &l->stop);
    mbox_wake(&l->box);
    pthread_join(l->thread, NULL);
    n_lost = l->n_batch;
    db_close(l);
    mbox_close(&l->box);
    pthread_mutex_destroy(&l->lock);
    free(l->rows);
    free(l);
    return n_lost;
}

struct ledger_row *ledger_take(struct ledger *l)
{
    struct ledger_row *r;

    pthread_mutex_lock(&l->lock);
    r = l->free;
    if (r)
        l->free = r->next_free;
    pthread_mutex_unlock(&l->lock);
    return r;
}

void ledger_give(struct ledger *l, struct ledger_row *r)
{
    pthread_mutex_lock(&l->lock);
    r->next_free = l->free;
    l->free = r;
    pthread_mutex_unlock(&l->lock);
}

void ledger_post(struct ledger *l, struct ledger_row *r)
{
    atomic_fetch_add(&l->n_posted, 1);
    if (mbox_post(&l->box, &r->item))
        mbox_wake(&l->box);
}

void ledger_stats(const struct ledger *l, int64_t *ret_written, int64_t *ret_pending,
                  int64_t *ret_failures)
{
    *ret_written = atomic_load(&l->n_written);
    *ret_pending = atomic_load(&l->n_posted) - *ret_written;
    *ret_failures = atomic_load(&l->n_failures);
}

/* ---- reading, for commands ------------------------------------------------------------------- */

static void copy(char *to, size_t cap, const unsigned char *from)
{
    snprintf(to, cap, "%s", from ? (const char *)from : "");
}

int cloud_balances(const char *ledger_path, int (*row)(void *arg, const struct cloud_balance *b),
                   void *arg, struct err *e)
{
    static const char sql[] = "SELECT tenant, n_requests, prompt_tokens, cached_tokens,"
                              " completion_tokens, energy_uj FROM balance ORDER BY tenant";
    struct cloud_balance b;
    sqlite3_stmt *st = NULL;
    sqlite3 *db = NULL;
    int code, r = 0;

    if (sqlite3_open_v2(ledger_path, &db, SQLITE_OPEN_READWRITE, NULL) ||
        sqlite3_busy_timeout(db, BUSY_MS) || sqlite3_prepare_v2(db, sql, -1, &st, NULL)) {
        r = err_set(e, ERR_IO, "ledger %s: %s", ledger_path,
                    db ? sqlite3_errmsg(db) : "out of memory");
        goto out;
    }
    while ((code = sqlite3_step(st)) == SQLITE_ROW && !r) {
        copy(b.tenant, sizeof b.tenant, sqlite3_column_text(st, 0));
        b.n_requests = sqlite3_column_int64(st, 1);
        b.prompt_tokens = sqlite3_column_int64(st, 2);
        b.cached_tokens = sqlite3_column_int64(st, 3);
        b.completion_tokens = sqlite3_column_int64(st, 4);
        b.energy_uj = sqlite3_column_int64(st, 5);
        r = row(arg, &b);
    }
    if (!r && code != SQLITE_DONE)
        r = err_set(e, ERR_IO, "ledger %s: %s", ledger_path, sqlite3_errmsg(db));
out:
    sqlite3_finalize(st);
    sqlite3_close(db);
    return r;
}
