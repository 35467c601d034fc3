#include "books/ledger.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/disk.h"
#include "base/log.h"
#include "books/entry.h"
#include "books/ledger_link.h"

#define SUMS_MAX                                                                                   \
    256 /* accounts of one commit whose balances are added up before they are written */

static const char insert_usage[] =
    "INSERT INTO usage (" LEDGER_COLUMNS ", seq, chain)"
    " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18,"
    " ?19, ?20, ?21, ?22, ?23, ?24, ?25, ?26, ?27, ?28) ON CONFLICT (request_id) DO NOTHING";
static const char find_same[] =
    "SELECT 1 FROM usage WHERE request_id = ?1 AND at_us = ?2 AND tenant = ?3 AND key_id = ?4"
    " AND model = ?5 AND supplier = ?6 AND prompt_tokens = ?7 AND cached_tokens = ?8"
    " AND completion_tokens = ?9 AND energy_uj = ?10 AND status = ?11 AND cache_write_tokens = ?12"
    " AND reasoning_tokens = ?13 AND usage_state = ?14 AND tier = ?15 AND charge_nano = ?16"
    " AND cost_nano = ?17 AND currency = ?18 AND team = ?19 AND labels = ?20"
    " AND corrects = ?21 AND cost_currency = ?22 AND cost_own_nano = ?23"
    " AND lost_prompt_tokens = ?24 AND lost_cached_tokens = ?25 AND lost_completion_tokens = ?26";
static const char add_balance[] =
    "INSERT INTO balance (tenant, n_requests, prompt_tokens, cached_tokens, completion_tokens,"
    " energy_uj) VALUES (?1, ?6, ?2, ?3, ?4, ?5)"
    " ON CONFLICT (tenant) DO UPDATE SET n_requests = balance.n_requests + excluded.n_requests,"
    " prompt_tokens = balance.prompt_tokens + excluded.prompt_tokens,"
    " cached_tokens = balance.cached_tokens + excluded.cached_tokens,"
    " completion_tokens = balance.completion_tokens + excluded.completion_tokens,"
    " energy_uj = balance.energy_uj + excluded.energy_uj";
static const char add_account[] =
    "INSERT INTO account (account, unit, amount) VALUES (?1, ?2, ?3)"
    " ON CONFLICT (account, unit) DO UPDATE SET amount = account.amount + excluded.amount";

struct ledger {
    sqlite3 *db;
    sqlite3_stmt *usage, *same, *balance, *account;
    struct ledger_link link;      /* where the chain ends */
    struct posting sum[SUMS_MAX]; /* of the rows of a commit that is being made */
    int n_sums;
    int why_code; /* of the last write that failed */
    char why[200];
};

/* ---- opening --------------------------------------------------------------------------------- */

static int db_err(struct ledger *l, const char *path, struct err *e)
{
    return err_set(e, ERR_IO, "ledger %s: %s", path,
                   l->db ? sqlite3_errmsg(l->db) : "out of memory");
}

static int db_open(struct ledger *l, const char *path, int sync_normal, struct err *e)
{
    int version = 0, code;

    if (disk_make_private(path))
        return err_set(e, ERR_IO, "ledger %s: %s", path, strerror(errno));
    if (sqlite3_open_v2(path, &l->db,
                        SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_FULLMUTEX,
                        disk_vfs()))
        return db_err(l, path, e);
    sqlite3_busy_timeout(l->db, LEDGER_BUSY_MS);
    if (sqlite3_exec(l->db, "PRAGMA journal_mode=WAL", NULL, NULL, NULL) ||
        sqlite3_exec(l->db, sync_normal ? "PRAGMA synchronous=NORMAL" : "PRAGMA synchronous=FULL",
                     NULL, NULL, NULL))
        return db_err(l, path, e);
    code = ledger_sql_tables(l->db, &version);
    if (code == SQLITE_MISMATCH)
        return err_set(e, ERR_FORMAT, "ledger %s: written by another version (schema %d, not %d)",
                       path, version, LEDGER_SCHEMA);
    if (code || ledger_link_end(l->db, &l->link) ||
        sqlite3_prepare_v2(l->db, insert_usage, -1, &l->usage, NULL) ||
        sqlite3_prepare_v2(l->db, find_same, -1, &l->same, NULL) ||
        sqlite3_prepare_v2(l->db, add_balance, -1, &l->balance, NULL) ||
        sqlite3_prepare_v2(l->db, add_account, -1, &l->account, NULL))
        return db_err(l, path, e);
    return 0;
}

int ledger_open(struct ledger **ret, const char *path, int sync_normal, struct err *e)
{
    struct ledger *l = calloc(1, sizeof *l);
    int r = l ? db_open(l, path, sync_normal, e) : err_set(e, ERR_NOMEM, "ledger: out of memory");

    if (r)
        ledger_close(l);
    else
        *ret = l;
    return r;
}

void ledger_close(struct ledger *l)
{
    if (!l)
        return;
    sqlite3_finalize(l->usage);
    sqlite3_finalize(l->same);
    sqlite3_finalize(l->balance);
    sqlite3_finalize(l->account);
    sqlite3_close(l->db);
    free(l);
}

/* ---- writing --------------------------------------------------------------------------------- */

static int run(sqlite3_stmt *st)
{
    int code = sqlite3_step(st);

    sqlite3_reset(st);
    return code;
}

/* The id is there. Of the same row: by a commit that had happened and then failed. Else two
 * requests have one id, and nobody finds out unless it is said. */
static int see_clash(struct ledger *l, const struct books_row *r)
{
    int code;

    ledger_sql_bind(l->same, r);
    code = run(l->same);
    if (code == SQLITE_DONE)
        log_line(LOG_ERROR,
                 "ledger: another request has the id %s; not booked: %lld tokens of tenant %s",
                 r->request_id, (long long)(r->prompt_tokens + r->completion_tokens), r->tenant);
    return code == SQLITE_ROW || code == SQLITE_DONE ? 0 : -1;
}

static int write_account(struct ledger *l, const struct posting *p)
{
    sqlite3_bind_text(l->account, 1, p->account, -1, SQLITE_STATIC);
    sqlite3_bind_text(l->account, 2, p->unit, -1, SQLITE_STATIC);
    sqlite3_bind_int64(l->account, 3, p->amount);
    return run(l->account) == SQLITE_DONE ? 0 : -1;
}

/* Add a posting to those of this commit; rows of one commit are mostly of few accounts. */
static int add_up(struct ledger *l, const struct posting *p)
{
    for (int i = 0; i < l->n_sums; i++) {
        if (!strcmp(l->sum[i].account, p->account) && !strcmp(l->sum[i].unit, p->unit)) {
            l->sum[i].amount += p->amount;
            return 0;
        }
    }
    if (l->n_sums == SUMS_MAX)
        return write_account(l, p);
    l->sum[l->n_sums++] = *p;
    return 0;
}

static int write_balances(struct ledger *l, const struct books_row *r)
{
    struct posting p[ENTRY_POSTINGS_MAX];
    sqlite3_stmt *b = l->balance;
    int n = entry_of(r, p);

    for (int i = 0; i < n; i++) {
        if (add_up(l, &p[i]))
            return -1;
    }
    sqlite3_bind_text(b, 1, r->tenant, -1, SQLITE_STATIC);
    sqlite3_bind_int64(b, 2, r->prompt_tokens);
    sqlite3_bind_int64(b, 3, r->cached_tokens);
    sqlite3_bind_int64(b, 4, r->completion_tokens);
    sqlite3_bind_int64(b, 5, r->energy_uj);
    sqlite3_bind_int(b, 6, !*r->corrects);
    return run(b) == SQLITE_DONE ? 0 : -1;
}

static int write_row(struct ledger *l, const struct books_row *r)
{
    struct ledger_link link = l->link;
    char text[LEDGER_LINK_TEXT];

    ledger_link_next(&link, r, text);
    ledger_sql_bind(l->usage, r);
    sqlite3_bind_int64(l->usage, LEDGER_N_COLUMNS + 1, link.seq);
    sqlite3_bind_text(l->usage, LEDGER_N_COLUMNS + 2, text, -1, SQLITE_STATIC);
    if (run(l->usage) != SQLITE_DONE)
        return -1;
    if (!sqlite3_changes(l->db))
        return see_clash(l, r);
    l->link = link;
    return write_balances(l, r);
}

static int begin(struct ledger *l)
{
    l->n_sums = 0;
    if (sqlite3_exec(l->db, "BEGIN IMMEDIATE", NULL, NULL, NULL))
        return -1;
    /* As the file has it: an earlier attempt may have failed, or only seemed to; another process
     * may have written. */
    return ledger_link_end(l->db, &l->link) ? -1 : 0;
}

/* End the transaction: with all of it, or where r is not 0 with nothing. */
static int finish(struct ledger *l, int r)
{
    for (int i = 0; !r && i < l->n_sums; i++)
        r = write_account(l, &l->sum[i]);
    if (!r)
        r = sqlite3_exec(l->db, "COMMIT", NULL, NULL, NULL);
    if (!r)
        return 0;
    l->why_code = sqlite3_extended_errcode(l->db);
    snprintf(l->why, sizeof l->why, "%s", sqlite3_errmsg(l->db));
    if (!sqlite3_get_autocommit(l->db))
        sqlite3_exec(l->db, "ROLLBACK", NULL, NULL, NULL);
    return -1;
}

int ledger_write(struct ledger *l, struct books_row *const *rows, int n)
{
    int r = begin(l);

    for (int i = 0; !r && i < n; i++)
        r = write_row(l, rows[i]);
    return finish(l, r);
}

int ledger_failure(const struct ledger *l, const char **ret_text)
{
    *ret_text = l->why;
    return l->why_code;
}

/* ---- corrections ----------------------------------------------------------------------------- */

/* A request as it was booked, and what rows since have added to it. */
struct booked {
    struct books_row row;
    int64_t n_since, charge, cost, cost_own;
};

/* 1, 0 where there is none, or -1. */
static int find_request(struct ledger *l, const char *request_id, struct booked *ret)
{
    static const char row[] =
        "SELECT " LEDGER_COLUMNS " FROM usage WHERE request_id = ?1 AND corrects = ''";
    static const char since[] =
        "SELECT count(*), coalesce(sum(charge_nano), 0), coalesce(sum(cost_nano), 0),"
        " coalesce(sum(cost_own_nano), 0) FROM usage WHERE corrects <> '' AND corrects = ?1";
    int64_t *const sums[] = {&ret->n_since, &ret->charge, &ret->cost, &ret->cost_own};
    sqlite3_stmt *st = NULL, *sum = NULL;
    int code = sqlite3_prepare_v2(l->db, row, -1, &st, NULL), r = -1;

    if (!code)
        code = sqlite3_prepare_v2(l->db, since, -1, &sum, NULL);
    if (!code) {
        sqlite3_bind_text(st, 1, request_id, -1, SQLITE_STATIC);
        sqlite3_bind_text(sum, 1, request_id, -1, SQLITE_STATIC);
        code = sqlite3_step(st);
    }
    if (code == SQLITE_DONE) {
        r = 0;
    } else if (code == SQLITE_ROW && sqlite3_step(sum) == SQLITE_ROW) {
        ledger_sql_read(st, &ret->row);
        for (int i = 0; i < 4; i++)
            *sums[i] = sqlite3_column_int64(sum, i);
        r = 1;
    }
    sqlite3_finalize(st);
    sqlite3_finalize(sum);
    return r;
}

/* What is to be added to an amount, of which `was` is booked (-1: it has no price) and `since` was
 * added already. Without a wish it stays; what has no price needs one, until it was corrected. */
static int add_what(int64_t was, int64_t since, int is_corrected, const int64_t *want,
                    int64_t *ret_add)
{
    int64_t now;

    *ret_add = 0;
    if (!want)
        return was < 0 && !is_corrected ? ERR_ARG : 0;
    if (__builtin_add_overflow(was < 0 ? 0 : was, since, &now) ||
        __builtin_sub_overflow(*want, now, ret_add))
        return ERR_LIMIT;
    return 0;
}

/* Is the wish one that this request can have? */
static int check_wish(const struct books_row *r, const struct books_wish *w, struct err *e)
{
    if (!*r->currency && ((w->charge_nano && *w->charge_nano) || (w->cost_nano && *w->cost_nano)))
        return err_set(e, ERR_ARG, "when %s was booked there was no 'currency'", r->request_id);
    if (w->cost_own_nano && !*r->cost_currency)
        return err_set(e, ERR_ARG, "the supplier of %s is owed in %s, and in no other currency",
                       r->request_id, *r->currency ? r->currency : "none");
    if (strlen(r->request_id) > sizeof r->request_id - 14)
        return err_set(e, ERR_LIMIT, "the id of the request is too long");
    return 0;
}

/* The amounts of a correction, from what was booked. */
static int add_amounts(const struct booked *b, const struct books_wish *w, struct books_row *row,
                       struct err *e)
{
    int is_corrected = b->n_since > 0, has_money = *b->row.currency != 0;
    const struct {
        int64_t was, since;
        const int64_t *want;
        int64_t *add;
        const char *ask;
    } all[] = {{has_money ? b->row.charge_nano : 0, b->charge, w->charge_nano, &row->charge_nano,
                "what is it charged?"},
               {has_money ? b->row.cost_nano : 0, b->cost, w->cost_nano, &row->cost_nano,
                "what is its supplier owed?"},
               {b->row.cost_own_nano, b->cost_own, w->cost_own_nano, &row->cost_own_nano, ""}};

    for (size_t i = 0; i < ARRAY_LEN(all); i++) {
        int r = add_what(all[i].was, all[i].since, is_corrected, all[i].want, all[i].add);
        if (r == ERR_ARG)
            return err_set(e, r, "%s has no price: %s", b->row.request_id, all[i].ask);
        if (r)
            return err_set(e, r, "the amount is too large");
    }
    return 0;
}

/* Make the row of a correction from that of its request. */
static int make_correction(struct ledger *l, const char *request_id, const struct books_wish *wish,
                           struct books_row *row, struct err *e)
{
    struct booked b = {0};
    int found = find_request(l, request_id, &b), r;

    if (found < 0)
        return err_set(e, ERR_IO, "%s", sqlite3_errmsg(l->db));
    if (!found)
        return err_set(e, ERR_NOTFOUND, "no request '%.80s' is in the ledger", request_id);
    *row = b.row;
    r = check_wish(row, wish, e);
    if (!r)
        r = add_amounts(&b, wish, row, e);
    if (r)
        return r;
    snprintf(row->corrects, sizeof row->corrects, "%s", b.row.request_id);
    snprintf(row->request_id, sizeof row->request_id, "%.50s~%u", row->corrects,
             (unsigned)b.n_since + 1);
    row->at_us = wish->at_us;
    row->prompt_tokens = row->cached_tokens = row->completion_tokens = row->energy_uj = 0;
    row->cache_write_tokens = row->reasoning_tokens = row->usage_state = 0;
    row->lost_prompt_tokens = row->lost_cached_tokens = row->lost_completion_tokens = 0;
    return 0;
}

int ledger_correct(struct ledger *l, const char *request_id, const struct books_wish *wish,
                   struct books_row *ret, struct err *e)
{
    struct books_row row = {0};
    int r = begin(l), why = 0;
    int64_t seq = l->link.seq;

    if (!r)
        why = make_correction(l, request_id, wish, &row, e);
    if (!r && !why)
        r = write_row(l, &row);
    if (!r && !why && l->link.seq == seq)
        why = err_set(e, ERR_EXISTS, "another row has the id %s", row.request_id);
    if (why) {
        sqlite3_exec(l->db, "ROLLBACK", NULL, NULL, NULL);
        return why;
    }
    if (finish(l, r))
        return err_set(e, ERR_IO, "%s", l->why);
    *ret = row;
    return 0;
}
