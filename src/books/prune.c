/* Taking rows out of a ledger, and keeping what they added up to. */
#include <sodium.h>

#include "books/ledger_file.h"
#include "books/ledger_link.h"
#include "books/ledger_tree.h"
#include "books/sums.h"
#include "books/upkeep.h"

/* Rows of one transaction: whoever writes meanwhile waits for no more. */
#define BATCH_ROWS 10000

/* $1 < number <= $2, and before $3: in the chain the last condition takes nothing out. */
#define THESE " FROM usage WHERE seq > $1 AND seq <= $2 AND at_us < $3"
static const char keep_balances[] =
    "INSERT INTO opening_balance SELECT tenant, count(CASE WHEN corrects = '' THEN 1 END),"
    " sum(prompt_tokens), sum(cached_tokens), sum(completion_tokens), sum(energy_uj)" THESE
    " GROUP BY tenant ON CONFLICT (tenant) DO UPDATE SET"
    " n_requests = opening_balance.n_requests + excluded.n_requests,"
    " prompt_tokens = opening_balance.prompt_tokens + excluded.prompt_tokens,"
    " cached_tokens = opening_balance.cached_tokens + excluded.cached_tokens,"
    " completion_tokens = opening_balance.completion_tokens + excluded.completion_tokens,"
    " energy_uj = opening_balance.energy_uj + excluded.energy_uj";
static const char keep_uses[] =
    "INSERT INTO opening_use SELECT at_us / 900000000 * 900000000, tenant, team, key_id,"
    " sum(prompt_tokens + completion_tokens), sum(" LEDGER_CHARGE "), sum(energy_uj)" THESE
    " AND corrects = ''"
    " GROUP BY 1, 2, 3, 4 ON CONFLICT (at_us, tenant, team, key_id) DO UPDATE SET"
    " tokens = opening_use.tokens + excluded.tokens,"
    " charge_nano = opening_use.charge_nano + excluded.charge_nano,"
    " energy_uj = opening_use.energy_uj + excluded.energy_uj";
static const char keep_account[] = "INSERT INTO opening_account (account, unit, amount)";
static const char add_account[] =
    " ON CONFLICT (account, unit) DO UPDATE SET amount = opening_account.amount + excluded.amount";
static const char these_rows[] = "SELECT " LEDGER_COLUMNS THESE " ORDER BY seq, at_us";
static const char take_out[] = "DELETE" THESE;
static const char last_of_before[] =
    "SELECT coalesce((SELECT seq FROM usage WHERE seq > 0 AND at_us >= $1 ORDER BY seq LIMIT 1)"
    " - 1, max(seq), 0) FROM usage";
static const char count_pending[] = "SELECT count(*)" THESE " AND " LEDGER_PENDING;

struct pruning {
    struct sql *db;
    const char *where;
    int64_t above, upto, before_us; /* $1, $2 and $3 */
    struct ledger_link link;
    int64_t n;          /* rows of this batch */
    struct sums posted; /* by them */
    struct err *e;
};

static int run(struct pruning *p, const char *statement)
{
    const struct sql_value v[] = {SQL_NUMBER(p->above), SQL_NUMBER(p->upto),
                                  SQL_NUMBER(p->before_us)};

    return sql_run(p->db, statement, v, 3, NULL, p->e);
}

static int take_number(void *arg, const struct sql_row *s)
{
    *(int64_t *)arg = sql_number(s, 0);
    return 0;
}

static int take_row(void *arg, const struct sql_row *s)
{
    struct pruning *p = arg;
    struct books_row row;

    ledger_sql_read(s, &row);
    p->n++;
    if (!ledger_link_follow(&p->link, s, &row))
        return err_set(p->e, ERR_FORMAT,
                       "ledger %s: request %s is not as it was written; 'gaufre audit' says more",
                       sql_name(p->where), row.request_id);
    return sums_post(&p->posted, &row) ? err_set(p->e, ERR_NOMEM, "out of memory") : 0;
}

/* Add up what these rows posted, and see that they are what was written. */
static int keep_accounts(struct pruning *p)
{
    const struct sql_value v[] = {SQL_NUMBER(p->above), SQL_NUMBER(p->upto),
                                  SQL_NUMBER(p->before_us)};
    int r;

    p->n = 0;
    sums_clear(&p->posted);
    r = sql_each(p->db, these_rows, v, 3, take_row, p, p->e);
    for (size_t i = 0; !r && i < p->posted.n; i++) {
        const struct sum *sum = &p->posted.sum[i];
        const struct sql_value one[] = {SQL_TEXT(sum->name), SQL_TEXT(sum->unit),
                                        SQL_NUMBER(sum->amount)};
        r = ledger_sql_put(p->db, keep_account, add_account, one, 3, 1, p->e);
    }
    return r;
}

static int move_opening(struct pruning *p)
{
    char text[LEDGER_LINK_TEXT] = "";
    const struct sql_value v[] = {SQL_NUMBER(p->link.seq), SQL_TEXT(text), SQL_NUMBER(p->n)};

    if (p->link.seq)
        sodium_bin2hex(text, sizeof text, p->link.chain, sizeof p->link.chain);
    return sql_run(p->db, "UPDATE opening SET seq = $1, chain = $2, n_rows = n_rows + $3", v, 3,
                   NULL, p->e);
}

/* The rows from p->above on, as many as one transaction takes. */
static int prune_batch(struct pruning *p)
{
    int r = sql_begin_alone(p->db, p->e);

    if (r)
        return r;
    r = keep_accounts(p);
    if (!r)
        r = run(p, keep_balances);
    if (!r)
        r = run(p, keep_uses);
    if (!r && p->n)
        r = ledger_tree_keep(p->db, p->link.seq, p->e);
    if (!r)
        r = run(p, take_out);
    if (!r)
        r = move_opening(p);
    if (!r)
        return sql_commit(p->db, p->e);
    sql_rollback(p->db);
    return r;
}

static int prune_all(struct pruning *p, int64_t last, int64_t *ret_n)
{
    int r = ledger_link_open(p->db, &p->link, p->e);

    if (r)
        return r;
    p->above = -1; /* those that have no place in the chain */
    p->upto = 0;
    r = prune_batch(p);
    while (!r) {
        *ret_n += p->n;
        p->above = p->link.seq;
        p->upto = p->link.seq + BATCH_ROWS < last ? p->link.seq + BATCH_ROWS : last;
        if (p->above >= p->upto)
            return 0;
        r = prune_batch(p);
    }
    return r;
}

/* Which rows go, and is there one of them that should not? */
static int find_last(struct pruning *p, int with_pending, int64_t *ret_last)
{
    const struct sql_value before = SQL_NUMBER(p->before_us);
    int64_t n_pending = 0;
    int r = sql_each(p->db, last_of_before, &before, 1, take_number, ret_last, p->e);

    if (!r && !with_pending)
        r = sql_each(
            p->db, count_pending,
            (struct sql_value[]){SQL_NUMBER(-1), SQL_NUMBER(*ret_last), SQL_NUMBER(p->before_us)},
            3, take_number, &n_pending, p->e);
    if (!r && n_pending)
        r = err_set(p->e, ERR_AGAIN, "%lld requests of before are not settled for good",
                    (long long)n_pending);
    return r;
}

int books_prune(const char *where, int64_t before_us, int with_pending, int64_t *ret_n,
                struct err *e)
{
    struct pruning p = {.where = where, .before_us = before_us, .e = e};
    int64_t last = 0;
    int r = ledger_file_open(&p.db, where, 1, e);

    *ret_n = 0;
    if (!r && sums_init(&p.posted))
        r = err_set(e, ERR_NOMEM, "out of memory");
    if (!r)
        r = find_last(&p, with_pending, &last);
    if (!r)
        r = prune_all(&p, last, ret_n);
    sums_done(&p.posted);
    sql_close(p.db);
    return r;
}
