#include "books/ledger.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/log.h"
#include "base/put.h"
#include "base/rand.h"
#include "books/entry.h"
#include "books/ledger_link.h"
#include "books/ledger_tree.h"

/* What one commit adds to accounts and balances is summed up before it is written: so many of each
 * at a time. */
#define SUMS_MAX 256

static const char insert_usage[] = "INSERT INTO usage (" LEDGER_COLUMNS ")";
static const char insert_balance[] =
    "INSERT INTO balance (tenant, n_requests, prompt_tokens, cached_tokens, completion_tokens,"
    " energy_uj)";
static const char add_balance[] =
    " ON CONFLICT (tenant) DO UPDATE SET n_requests = balance.n_requests + excluded.n_requests,"
    " prompt_tokens = balance.prompt_tokens + excluded.prompt_tokens,"
    " cached_tokens = balance.cached_tokens + excluded.cached_tokens,"
    " completion_tokens = balance.completion_tokens + excluded.completion_tokens,"
    " energy_uj = balance.energy_uj + excluded.energy_uj";
static const char insert_account[] = "INSERT INTO account (account, unit, amount)";
static const char add_account[] =
    " ON CONFLICT (account, unit) DO UPDATE SET amount = account.amount + excluded.amount";

struct ledger {
    struct sql *db;
    struct ledger_link link; /* where the chain ends */
    struct ledger_tree tree; /* over its rows */
    int64_t tree_was;        /* its size when the commit began */
    struct tree_key key;     /* signs its heads */
    int has_key;
    _Atomic int64_t log_entries, log_heads, log_head_s; /* struct books_log */
    struct posting account[SUMS_MAX]; /* of the rows of a commit that is being made */
    struct books_balance balance[SUMS_MAX];
    int n_accounts, n_balances;
    struct sql_value values[SUMS_MAX * 6]; /* of what is being written, rows or sums */
    char chain[LEDGER_TOGETHER][LEDGER_LINK_TEXT];
    struct books_row clean[LEDGER_TOGETHER]; /* in place of rows with texts that are not UTF-8 */
    int why_code;                            /* of the last write that failed */
    char why[512];
};

/* ---- opening --------------------------------------------------------------------------------- */

int ledger_open(struct ledger **ret, const char *where, int sync_normal, struct err *e)
{
    const struct sql_how how = {
        .what = "ledger", .schema = LEDGER_IN, .is_flushed_late = sync_normal};
    struct ledger *l = calloc(1, sizeof *l);
    int r =
        l ? sql_open_how(&l->db, where, &how, e) : err_set(e, ERR_NOMEM, "ledger: out of memory");

    if (!r)
        r = ledger_sql_tables(l->db, where, e);
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
    sql_close(l->db);
    free(l);
}

int ledger_hurry(struct ledger *l, struct err *e)
{
    return sql_exec(l->db, "PRAGMA busy_timeout = 100", e);
}

/* ---- sums ------------------------------------------------------------------------------------ */

static int write_accounts(struct ledger *l, struct err *e)
{
    struct sql_value *v = l->values;
    int n = l->n_accounts;

    for (int i = 0; i < n; i++) {
        *v++ = SQL_TEXT(l->account[i].account);
        *v++ = SQL_TEXT(l->account[i].unit);
        *v++ = SQL_NUMBER(l->account[i].amount);
    }
    l->n_accounts = 0;
    return ledger_sql_put(l->db, insert_account, add_account, l->values, 3, n, e);
}

static int write_balances(struct ledger *l, struct err *e)
{
    struct sql_value *v = l->values;
    int n = l->n_balances;

    for (int i = 0; i < n; i++) {
        const struct books_balance *b = &l->balance[i];
        *v++ = SQL_TEXT(b->tenant);
        *v++ = SQL_NUMBER(b->n_requests);
        *v++ = SQL_NUMBER(b->prompt_tokens);
        *v++ = SQL_NUMBER(b->cached_tokens);
        *v++ = SQL_NUMBER(b->completion_tokens);
        *v++ = SQL_NUMBER(b->energy_uj);
    }
    l->n_balances = 0;
    return ledger_sql_put(l->db, insert_balance, add_balance, l->values, 6, n, e);
}

/* The sum that a posting belongs to; NULL: there is no room for one more. */
static struct posting *account_of(struct ledger *l, const struct posting *p)
{
    for (int i = 0; i < l->n_accounts; i++) {
        if (!strcmp(l->account[i].account, p->account) && !strcmp(l->account[i].unit, p->unit))
            return &l->account[i];
    }
    if (l->n_accounts == SUMS_MAX)
        return NULL;
    l->account[l->n_accounts] = *p;
    l->account[l->n_accounts].amount = 0;
    return &l->account[l->n_accounts++];
}

static struct books_balance *balance_of(struct ledger *l, const char *tenant)
{
    for (int i = 0; i < l->n_balances; i++) {
        if (!strcmp(l->balance[i].tenant, tenant))
            return &l->balance[i];
    }
    if (l->n_balances == SUMS_MAX)
        return NULL;
    l->balance[l->n_balances] = (struct books_balance){0};
    snprintf(l->balance[l->n_balances].tenant, BOOKS_NAME_MAX, "%s", tenant);
    return &l->balance[l->n_balances++];
}

/* Add a row that was written to the sums of its commit; rows of one commit are mostly of few
 * accounts. */
static int add_up(struct ledger *l, const struct books_row *row, struct err *e)
{
    struct posting p[ENTRY_POSTINGS_MAX];
    int n = entry_of(row, p), r = 0;
    struct books_balance *b;

    for (int i = 0; !r && i < n; i++) {
        struct posting *sum = account_of(l, &p[i]);
        if (!sum) {
            r = write_accounts(l, e);
            sum = account_of(l, &p[i]);
        }
        sum->amount += p[i].amount;
    }
    b = balance_of(l, row->tenant);
    if (!r && !b) {
        r = write_balances(l, e);
        b = balance_of(l, row->tenant);
    }
    if (r)
        return r;
    b->n_requests += !*row->corrects;
    b->prompt_tokens += row->prompt_tokens;
    b->cached_tokens += row->cached_tokens;
    b->completion_tokens += row->completion_tokens;
    b->energy_uj += row->energy_uj;
    return 0;
}

/* ---- rows ------------------------------------------------------------------------------------ */

/* Rows that are written together. */
struct group {
    const struct books_row *row[LEDGER_TOGETHER];
    int n;
    char is_there[LEDGER_TOGETHER]; /* the id is: not to be written */
};

/* The id is there. Of the same row: by a commit that had happened and then failed. Else two
 * requests have one id, and nobody finds out unless it is said. */
static void see_clash(const struct books_row *row, const struct books_row *there)
{
    if (!ledger_sql_same(row, there))
        log_line(LOG_ERROR,
                 "ledger: another request has the id %s; not booked: %lld tokens of tenant %s",
                 row->request_id, (long long)(row->prompt_tokens + row->completion_tokens),
                 row->tenant);
}

static int take_there(void *arg, const struct sql_row *s)
{
    struct group *g = arg;
    struct books_row there;

    ledger_sql_read(s, &there);
    for (int i = 0; i < g->n; i++) {
        if (!strcmp(g->row[i]->request_id, there.request_id)) {
            g->is_there[i] = 1;
            see_clash(g->row[i], &there);
        }
    }
    return 0;
}

/* Which rows are in the ledger already, or in the group before themselves? */
static int find_there(struct ledger *l, struct group *g, struct err *e)
{
    char sql[1200 + LEDGER_TOGETHER * 5];
    size_t len = (size_t)snprintf(sql, sizeof sql,
                                  "SELECT " LEDGER_COLUMNS " FROM usage WHERE request_id IN (");

    for (int i = 0; i < g->n; i++) {
        len += (size_t)snprintf(sql + len, sizeof sql - len, "%s$%d", i ? ", " : "", i + 1);
        l->values[i] = SQL_TEXT(g->row[i]->request_id);
        for (int k = 0; k < i; k++) {
            if (!g->is_there[k] && !strcmp(g->row[k]->request_id, g->row[i]->request_id)) {
                g->is_there[i] = 1;
                see_clash(g->row[i], g->row[k]);
                break;
            }
        }
    }
    len += (size_t)snprintf(sql + len, sizeof sql - len, ")");
    CHECK(len < sizeof sql);
    return sql_each(l->db, sql, l->values, g->n, take_there, g, e);
}

static int write_group(struct ledger *l, struct group *g, struct err *e)
{
    struct sql_value *v = l->values;
    unsigned char leaf[TREE_HASH];
    int r = find_there(l, g, e), n = 0;

    for (int i = 0; !r && i < g->n; i++) {
        if (g->is_there[i])
            continue;
        ledger_link_next(&l->link, g->row[i], l->chain[n]);
        ledger_sql_values(g->row[i], v);
        v[LEDGER_SEQ] = SQL_NUMBER(l->link.seq);
        v[LEDGER_CHAIN] = SQL_TEXT(l->chain[n++]);
        v += LEDGER_N_COLUMNS;
    }
    if (!r)
        r = ledger_sql_put(l->db, insert_usage, "", l->values, LEDGER_N_COLUMNS, n, e);
    for (int i = 0; !r && i < g->n; i++) {
        if (g->is_there[i])
            continue;
        r = add_up(l, g->row[i], e);
        leaf_of_row(g->row[i], leaf);
        if (!r)
            r = ledger_tree_add(l->db, &l->tree, leaf, g->row[i]->at_us, e);
    }
    return r;
}

static int write_rows(struct ledger *l, const struct books_row *const *rows, int n, struct err *e)
{
    int r = 0;

    while (!r && n) {
        struct group g = {.n = LEDGER_TOGETHER};
        while (g.n > n)
            g.n /= 2;
        for (int i = 0; i < g.n; i++) {
            g.row[i] = rows[i];
            if (ledger_sql_is_clean(rows[i]))
                continue;
            l->clean[i] = *rows[i];
            ledger_sql_clean(&l->clean[i]);
            g.row[i] = &l->clean[i];
        }
        r = write_group(l, &g, e);
        rows += g.n;
        n -= g.n;
    }
    return r;
}

/* ---- commits --------------------------------------------------------------------------------- */

/* One writer at a time, of however many processes: the chain is one. */
static int begin(struct ledger *l, struct err *e)
{
    int r = sql_begin_alone(l->db, e);

    l->n_accounts = l->n_balances = 0;
    if (r)
        return r;
    /* As the file has it: an earlier attempt may have failed, or only seemed to; another process
     * may have written. */
    r = ledger_link_end(l->db, &l->link, e);
    if (!r)
        r = ledger_tree_open(l->db, &ledger_answers, &l->tree, e);
    l->tree_was = l->tree.tree.size;
    if (r)
        sql_rollback(l->db);
    return r;
}

static int save_tree(struct ledger *l, struct err *e)
{
    return ledger_tree_save(l->db, &l->tree, l->has_key ? &l->key : NULL, e);
}

/* The log after a commit. */
static void see_log(struct ledger *l)
{
    if (!l->has_key || l->tree.tree.size <= atomic_load(&l->log_entries))
        return;
    atomic_store(&l->log_entries, l->tree.tree.size);
    atomic_store(&l->log_head_s, l->tree.at_us / 1000000);
    atomic_fetch_add(&l->log_heads, 1);
}

/* End the transaction: with all of it, or where r is not 0 with nothing. */
static int finish(struct ledger *l, int r, struct err *e)
{
    if (!r)
        r = write_accounts(l, e);
    if (!r)
        r = write_balances(l, e);
    if (!r && l->tree.tree.size != l->tree_was)
        r = save_tree(l, e);
    if (!r) {
        r = sql_commit(l->db, e);
        if (!r)
            see_log(l);
        return r;
    }
    sql_rollback(l->db);
    return r;
}

void ledger_log_state(const struct ledger *l, struct books_log *ret)
{
    *ret = (struct books_log){.entries = atomic_load(&l->log_entries),
                              .heads = atomic_load(&l->log_heads),
                              .head_s = atomic_load(&l->log_head_s)};
}

int ledger_write(struct ledger *l, struct books_row *const *rows, int n)
{
    struct err e = {0};
    int r = begin(l, &e);

    if (!r)
        r = finish(l, write_rows(l, (const struct books_row *const *)rows, n, &e), &e);
    if (!r)
        return 0;
    l->why_code = sql_code(l->db);
    snprintf(l->why, sizeof l->why, "%s", e.text);
    return -1;
}

int ledger_sign_with(struct ledger *l, const struct tree_key *key, struct err *e)
{
    struct ledger_tree power;
    int r = begin(l, e);

    if (r)
        return r;
    l->key = *key;
    l->has_key = 1;
    r = save_tree(l, e);
    if (!r)
        r = ledger_tree_open(l->db, &ledger_power, &power, e);
    if (!r)
        r = ledger_tree_save(l->db, &power, key,
                             e); /* of notes that who wrote them had no key for */
    return finish(l, r, e);
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
    int64_t n, n_since, charge, cost, cost_own;
};

static int take_request(void *arg, const struct sql_row *s)
{
    struct booked *b = arg;

    ledger_sql_read(s, &b->row);
    b->n++;
    return 0;
}

static int take_since(void *arg, const struct sql_row *s)
{
    struct booked *b = arg;

    b->n_since = sql_number(s, 0);
    b->charge = sql_number(s, 1);
    b->cost = sql_number(s, 2);
    b->cost_own = sql_number(s, 3);
    return 0;
}

static int find_request(struct ledger *l, const char *request_id, struct booked *ret, struct err *e)
{
    const struct sql_value id = SQL_TEXT(request_id);
    int r = sql_each(l->db,
                     "SELECT " LEDGER_COLUMNS " FROM usage WHERE request_id = $1 AND corrects = ''",
                     &id, 1, take_request, ret, e);

    if (!r && !ret->n)
        r = err_set(e, ERR_NOTFOUND, "no request '%.80s' is in the ledger", request_id);
    if (!r)
        r = sql_each(l->db,
                     "SELECT count(*), coalesce(sum(charge_nano), 0), coalesce(sum(cost_nano), 0),"
                     " coalesce(sum(cost_own_nano), 0) FROM usage WHERE corrects <> ''"
                     " AND corrects = $1",
                     &id, 1, take_since, ret, e);
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

/* Whose the row is cannot be tried from another's. */
static int make_salt(struct books_row *row)
{
    unsigned char salt[BOOKS_SALT];

    if (rand_system(salt, sizeof salt))
        return -1;
    put_bytes(salt, sizeof salt, row->salt);
    return 0;
}

/* Make the row of a correction from that of its request. */
static int make_correction(struct ledger *l, const char *request_id, const struct books_wish *wish,
                           struct books_row *row, struct err *e)
{
    struct booked b = {0};
    int r = find_request(l, request_id, &b, e);

    if (r)
        return r;
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
    row->prompt_tokens = row->cached_tokens = row->completion_tokens = 0;
    row->energy_uj = row->carbon_location_ug = row->carbon_market_ug = 0; /* nothing is added */
    row->cache_write_tokens = row->reasoning_tokens = row->usage_state = 0;
    row->lost_prompt_tokens = row->lost_cached_tokens = row->lost_completion_tokens = 0;
    return make_salt(row) ? err_set(e, ERR_IO, "no random bytes from the system") : 0;
}

int ledger_correct(struct ledger *l, const char *request_id, const struct books_wish *wish,
                   struct books_row *ret, struct err *e)
{
    const struct books_row *one;
    struct books_row row = {0};
    int r = begin(l, e);
    int64_t seq = l->link.seq;

    if (r)
        return r;
    r = make_correction(l, request_id, wish, &row, e);
    one = &row;
    if (!r)
        r = write_rows(l, &one, 1, e);
    if (!r && l->link.seq == seq)
        r = err_set(e, ERR_EXISTS, "another row has the id %s", row.request_id);
    r = finish(l, r, e);
    if (!r)
        *ret = row;
    return r;
}
