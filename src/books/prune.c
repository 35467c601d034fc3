/* Taking rows out of a ledger, and keeping what they added up to. */
#include <sodium.h>

#include "books/entry.h"
#include "books/ledger_file.h"
#include "books/ledger_link.h"
#include "books/upkeep.h"

/* Rows of one transaction: whoever writes meanwhile waits for no more. */
#define BATCH_ROWS 10000

/* ?1 < number <= ?2, and before ?3: in the chain the last condition takes nothing out. */
#define THESE " FROM usage WHERE seq > ?1 AND seq <= ?2 AND at_us < ?3"
static const char keep_balances[] =
    "INSERT INTO opening_balance SELECT tenant, sum(corrects = ''), sum(prompt_tokens),"
    " sum(cached_tokens), sum(completion_tokens), sum(energy_uj)" THESE " GROUP BY tenant"
    " ON CONFLICT (tenant) DO UPDATE SET n_requests = n_requests + excluded.n_requests,"
    " prompt_tokens = prompt_tokens + excluded.prompt_tokens,"
    " cached_tokens = cached_tokens + excluded.cached_tokens,"
    " completion_tokens = completion_tokens + excluded.completion_tokens,"
    " energy_uj = energy_uj + excluded.energy_uj";
static const char keep_uses[] =
    "INSERT INTO opening_use SELECT at_us / 900000000 * 900000000, tenant, team, key_id,"
    " sum(prompt_tokens + completion_tokens), sum(max(charge_nano, 0))" THESE " AND corrects = ''"
    " GROUP BY 1, 2, 3, 4 ON CONFLICT (at_us, tenant, team, key_id) DO UPDATE SET"
    " tokens = tokens + excluded.tokens, charge_nano = charge_nano + excluded.charge_nano";
static const char keep_account[] =
    "INSERT INTO opening_account VALUES (?1, ?2, ?3)"
    " ON CONFLICT (account, unit) DO UPDATE SET amount = amount + excluded.amount";
static const char these_rows[] =
    "SELECT " LEDGER_COLUMNS ", seq, chain" THESE " ORDER BY seq, at_us";
static const char take_out[] = "DELETE" THESE;
static const char last_of_before[] = "SELECT coalesce((SELECT seq FROM usage WHERE seq > 0 AND "
                                     "at_us >= ?3 ORDER BY seq LIMIT 1) - 1,"
                                     " max(seq), 0) FROM usage";
static const char count_pending[] =
    "SELECT count(*)" THESE " AND (" LEDGER_UNPRICED " OR (usage_state <> 0 AND " LEDGER_OPEN "))";

struct pruning {
    sqlite3 *db;
    const char *path;
    int64_t above, upto, before_us; /* ?1, ?2 and ?3 */
};

static sqlite3_stmt *prepare(struct pruning *p, const char *sql)
{
    sqlite3_stmt *st = NULL;
    const int64_t numbers[] = {p->above, p->upto, p->before_us};

    if (sqlite3_prepare_v2(p->db, sql, -1, &st, NULL))
        return NULL;
    for (int i = 1; i <= 3 && i <= sqlite3_bind_parameter_count(st); i++)
        sqlite3_bind_int64(st, i, numbers[i - 1]);
    return st;
}

static int run(struct pruning *p, const char *sql)
{
    sqlite3_stmt *st = prepare(p, sql);
    int code = sqlite3_step(st);

    sqlite3_finalize(st);
    return code == SQLITE_DONE ? 0 : -1;
}

static int number(struct pruning *p, const char *sql, int64_t *ret)
{
    sqlite3_stmt *st = prepare(p, sql);
    int code = sqlite3_step(st);

    if (code == SQLITE_ROW)
        *ret = sqlite3_column_int64(st, 0);
    sqlite3_finalize(st);
    return code == SQLITE_ROW ? 0 : -1;
}

static int keep_postings(sqlite3_stmt *st, const struct books_row *r)
{
    struct posting all[ENTRY_POSTINGS_MAX];
    int n = entry_of(r, all), code = SQLITE_DONE;

    for (int i = 0; i < n && code == SQLITE_DONE; i++) {
        sqlite3_bind_text(st, 1, all[i].account, -1, SQLITE_STATIC);
        sqlite3_bind_text(st, 2, all[i].unit, -1, SQLITE_STATIC);
        sqlite3_bind_int64(st, 3, all[i].amount);
        code = sqlite3_step(st);
        sqlite3_reset(st);
    }
    return code == SQLITE_DONE ? 0 : -1;
}

/* Add up what these rows posted, and see that they are what was written. */
static int keep_accounts(struct pruning *p, struct ledger_link *link, int64_t *ret_n, struct err *e)
{
    sqlite3_stmt *rows = prepare(p, these_rows), *keep = NULL;
    struct books_row r;
    int code = SQLITE_ERROR, failed = 0;

    if (rows && !sqlite3_prepare_v2(p->db, keep_account, -1, &keep, NULL))
        code = SQLITE_ROW;
    while (!failed && code == SQLITE_ROW && (code = sqlite3_step(rows)) == SQLITE_ROW) {
        ledger_sql_read(rows, &r);
        if (!ledger_link_follow(link, rows, &r))
            failed = err_set(e, ERR_FORMAT,
                             "ledger %s: request %s is not as it was written; 'gaufre audit' says "
                             "more",
                             p->path, r.request_id);
        else if (keep_postings(keep, &r))
            code = SQLITE_ERROR;
        ++*ret_n;
    }
    if (!failed && code != SQLITE_DONE)
        failed = ledger_file_err(p->db, p->path, e);
    sqlite3_finalize(rows);
    sqlite3_finalize(keep);
    return failed;
}

static int move_opening(struct pruning *p, const struct ledger_link *link, int64_t n)
{
    static const char sql[] = "UPDATE opening SET seq = ?1, chain = ?2, n_rows = n_rows + ?3";
    char text[LEDGER_LINK_TEXT];
    sqlite3_stmt *st = NULL;
    int code = sqlite3_prepare_v2(p->db, sql, -1, &st, NULL);

    if (!code) {
        sodium_bin2hex(text, sizeof text, link->chain, sizeof link->chain);
        sqlite3_bind_int64(st, 1, link->seq);
        sqlite3_bind_text(st, 2, link->seq ? text : "", -1, SQLITE_STATIC);
        sqlite3_bind_int64(st, 3, n);
        code = sqlite3_step(st);
    }
    sqlite3_finalize(st);
    return code == SQLITE_DONE ? 0 : -1;
}

/* The rows from p->above on, as many as one transaction takes; *ret_n: how many those were. */
static int prune_batch(struct pruning *p, struct ledger_link *link, int64_t *ret_n, struct err *e)
{
    int r = 0;

    *ret_n = 0;
    if (sqlite3_exec(p->db, "BEGIN IMMEDIATE", NULL, NULL, NULL))
        return ledger_file_err(p->db, p->path, e);
    r = keep_accounts(p, link, ret_n, e);
    if (!r && (run(p, keep_balances) || run(p, keep_uses) || run(p, take_out) ||
               move_opening(p, link, *ret_n) || sqlite3_exec(p->db, "COMMIT", NULL, NULL, NULL)))
        r = ledger_file_err(p->db, p->path, e);
    if (!sqlite3_get_autocommit(p->db))
        sqlite3_exec(p->db, "ROLLBACK", NULL, NULL, NULL);
    return r;
}

static int prune_all(struct pruning *p, int64_t last, int64_t *ret_n, struct err *e)
{
    struct ledger_link link;
    int64_t n;
    int r = 0;

    if (ledger_link_open(p->db, &link))
        return ledger_file_err(p->db, p->path, e);
    p->above = -1; /* those that have no place in the chain */
    p->upto = 0;
    r = prune_batch(p, &link, &n, e);
    while (!r) {
        *ret_n += n;
        p->above = link.seq;
        p->upto = link.seq + BATCH_ROWS < last ? link.seq + BATCH_ROWS : last;
        if (p->above >= p->upto)
            return 0;
        r = prune_batch(p, &link, &n, e);
    }
    return r;
}

int books_prune(const char *path, int64_t before_us, int with_pending, int64_t *ret_n,
                struct err *e)
{
    struct pruning p = {.path = path, .above = -1, .before_us = before_us};
    int64_t last = 0, n_pending = 0;
    int r = ledger_file_open(&p.db, path, e);

    *ret_n = 0;
    if (!r && number(&p, last_of_before, &last))
        r = ledger_file_err(p.db, path, e);
    p.upto = last;
    if (!r && !with_pending && number(&p, count_pending, &n_pending))
        r = ledger_file_err(p.db, path, e);
    if (!r && n_pending)
        r = err_set(e, ERR_AGAIN, "%lld requests of before are not settled for good",
                    (long long)n_pending);
    if (!r)
        r = prune_all(&p, last, ret_n, e);
    sqlite3_close(p.db);
    return r;
}
