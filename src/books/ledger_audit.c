/* The audit: every balance computed anew from the rows, the rows' chain of hashes, and the tree
 * over them. */
#include <stdio.h>
#include <string.h>

#include "books/ledger_file.h"
#include "books/ledger_link.h"
#include "books/ledger_tree.h"
#include "books/power_chain.h"
#include "books/settle.h"
#include "books/sums.h"
#include "books/taken_chain.h"

struct audit {
    const char *where;
    struct err *e;
    struct ledger_link link;
    struct ledger_tree tree; /* as it is; */
    struct tree grown;       /* and as it should be */
    int64_t n_rows;
    /* As they should be: what was pruned, and all rows since. Of tenants, tokens and requests. */
    struct sums accounts, tenants;
    /* The first that differs, in order of name: what it is, and what it should be. */
    char wrong[ENTRY_ACCOUNT_MAX], wrong_unit[ENTRY_UNIT_MAX];
    int64_t is, should;
};

static int no_memory(struct audit *a)
{
    return err_set(a->e, ERR_NOMEM, "ledger %s: out of memory", sql_name(a->where));
}

/* ---- as it should be ------------------------------------------------------------------------- */

static int take_opening_account(void *arg, const struct sql_row *s)
{
    struct audit *a = arg;
    struct sum *sum = sums_of(&a->accounts, sql_text(s, 0), sql_text(s, 1), 1);

    if (!sum)
        return no_memory(a);
    sum->amount = sql_number(s, 2);
    return 0;
}

static int take_opening_balance(void *arg, const struct sql_row *s)
{
    struct audit *a = arg;
    struct sum *sum = sums_of(&a->tenants, sql_text(s, 0), "", 1);

    if (!sum)
        return no_memory(a);
    sum->count = sql_number(s, 1);
    sum->amount = sql_number(s, 2);
    return 0;
}

static int take_row(void *arg, const struct sql_row *s)
{
    struct audit *a = arg;
    struct books_row row;
    struct sum *sum;

    ledger_sql_read(s, &row);
    a->n_rows++;
    if (!ledger_link_follow(&a->link, s, &row))
        return err_set(a->e, ERR_FORMAT,
                       "ledger %s: row %lld (request %s of tenant %s) is not as it was written, or "
                       "one before it is gone",
                       sql_name(a->where), (long long)sql_number(s, LEDGER_SEQ), row.request_id,
                       row.tenant);
    if (sql_number(s, LEDGER_SEQ) > a->tree.base) {
        unsigned char leaf[TREE_HASH];
        leaf_of_row(&row, leaf);
        tree_append(&a->grown, leaf, NULL, NULL);
    }
    sum = sums_of(&a->tenants, row.tenant, "", 1);
    if (!sum || sums_post(&a->accounts, &row))
        return no_memory(a);
    sum->count += !*row.corrects;
    sum->amount += row.prompt_tokens + row.completion_tokens;
    return 0;
}

/* ---- as it is -------------------------------------------------------------------------------- */

static void differs(struct audit *a, const char *name, const char *unit, int64_t is, int64_t should)
{
    int order = strcmp(name, a->wrong);

    if (*a->wrong && (order > 0 || (!order && strcmp(unit, a->wrong_unit) > 0)))
        return;
    snprintf(a->wrong, sizeof a->wrong, "%s", name);
    snprintf(a->wrong_unit, sizeof a->wrong_unit, "%s", unit);
    a->is = is;
    a->should = should;
}

static int take_account(void *arg, const struct sql_row *s)
{
    const char *name = sql_text(s, 0), *unit = sql_text(s, 1);
    int64_t is = sql_number(s, 2);
    struct audit *a = arg;
    struct sum *sum = sums_of(&a->accounts, name, unit, 0);

    if (sum)
        sum->is_seen = 1;
    if (sum ? sum->amount != is : is != 0)
        differs(a, name, unit, is, sum ? sum->amount : 0);
    return 0;
}

static int take_balance(void *arg, const struct sql_row *s)
{
    int64_t n = sql_number(s, 1), tokens = sql_number(s, 2);
    struct audit *a = arg;
    struct sum *sum = sums_of(&a->tenants, sql_text(s, 0), "", 0);

    if (sum)
        sum->is_seen = 1;
    if (!sum || sum->count != n || sum->amount != tokens)
        differs(a, sql_text(s, 0), "", tokens, sum ? sum->amount : 0);
    return 0;
}

/* Compare what a query finds with the sums. */
static int compare(struct sql *db, struct audit *a, const char *query,
                   int (*take)(void *arg, const struct sql_row *s), const struct sums *sums,
                   const char *what)
{
    int r = sql_each(db, query, NULL, 0, take, a, a->e);

    for (size_t i = 0; !r && i < sums->n; i++) {
        if (!sums->sum[i].is_seen && sums->sum[i].amount)
            differs(a, sums->sum[i].name, sums->sum[i].unit, 0, sums->sum[i].amount);
    }
    if (!r && *a->wrong)
        r = err_set(a->e, ERR_FORMAT, "ledger %s: the %s of %s is %lld, its rows say %lld",
                    sql_name(a->where), what, a->wrong, (long long)a->is, (long long)a->should);
    return r;
}

/* The tree over what was pruned, from which the rows go on. */
static int open_tree(struct sql *db, struct audit *a)
{
    struct ledger_nodes *n = NULL;
    int64_t pruned;
    int r = ledger_tree_open(db, &ledger_answers, &a->tree, a->e);

    pruned = a->link.seq - a->tree.base;
    if (r || pruned <= 0)
        return r;
    r = ledger_nodes_open(&n, db, &a->tree, a->e);
    if (!r)
        r = ledger_nodes_tree(n, pruned, &a->grown);
    ledger_nodes_close(n);
    return r;
}

static int audit_all(struct sql *db, struct audit *a)
{
    int r = ledger_link_open(db, &a->link, a->e);

    if (!r)
        r = open_tree(db, a);
    if (!r)
        r = sql_each(db, "SELECT account, unit, amount FROM opening_account", NULL, 0,
                     take_opening_account, a, a->e);
    if (!r)
        r = sql_each(db,
                     "SELECT tenant, n_requests, prompt_tokens + completion_tokens"
                     " FROM opening_balance",
                     NULL, 0, take_opening_balance, a, a->e);
    if (!r)
        r = sql_each(db, "SELECT " LEDGER_COLUMNS " FROM usage ORDER BY seq, at_us", NULL, 0,
                     take_row, a, a->e);
    if (!r)
        r = compare(db, a, "SELECT account, unit, amount FROM account", take_account, &a->accounts,
                    "balance");
    if (!r)
        r = compare(db, a,
                    "SELECT tenant, n_requests, prompt_tokens + completion_tokens FROM balance",
                    take_balance, &a->tenants, "count of tokens");
    if (!r)
        r = ledger_tree_check(db, &a->tree, &a->grown, a->where, "answers", a->e);
    return r;
}

int books_audit(const char *where, int64_t *ret_rows, struct err *e)
{
    struct audit a = {.where = where, .e = e};
    struct sql *db = NULL;
    int r = ledger_file_open(&db, where, 1, e);

    if (!r && (sums_init(&a.accounts) || sums_init(&a.tenants)))
        r = no_memory(&a);
    if (!r)
        r = sql_begin_read(db, e); /* one state, whoever writes */
    if (!r)
        r = audit_all(db, &a);
    if (!r)
        r = power_chain_check(db, where, e);
    if (!r)
        r = taken_chain_check(db, where, e);
    *ret_rows = a.n_rows;
    sums_done(&a.accounts);
    sums_done(&a.tenants);
    sql_close(db);
    return r ? r : settle_check(where, e);
}
