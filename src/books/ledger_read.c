/* Reading a ledger, for commands and at the start: balances, and what was used. */
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "books/entry.h"
#include "books/ledger_file.h"
#include "books/ledger_tree.h"

/* NULL: nothing of that was ever booked for the tenant. */
#define OF_ACCOUNT(unit)                                                                           \
    " (SELECT amount FROM account WHERE account = 'tenant:' || balance.tenant AND unit = '" unit   \
    "')"

struct balances {
    int (*row)(void *arg, const struct books_balance *b);
    void *arg;
};

static int64_t or_unknown(const struct sql_row *s, int i)
{
    return sql_is_null(s, i) ? -1 : sql_number(s, i);
}

static int take_balance(void *arg, const struct sql_row *s)
{
    const struct balances *all = arg;
    struct books_balance b = {.n_requests = sql_number(s, 1),
                              .prompt_tokens = sql_number(s, 2),
                              .cached_tokens = sql_number(s, 3),
                              .completion_tokens = sql_number(s, 4),
                              .energy_uj = or_unknown(s, 5),
                              .carbon_location_ug = or_unknown(s, 6),
                              .carbon_market_ug = or_unknown(s, 7)};

    ledger_sql_text(b.tenant, sizeof b.tenant, s, 0);
    return all->row(all->arg, &b);
}

int books_balances(const char *where, int (*row)(void *arg, const struct books_balance *b),
                   void *arg, struct err *e)
{
    struct balances all = {row, arg};
    struct sql *db = NULL;
    int r = ledger_file_open(&db, where, 1, e);

    if (!r)
        r = sql_each(
            db,
            "SELECT tenant, n_requests, prompt_tokens, cached_tokens, "
            "completion_tokens," OF_ACCOUNT(ENTRY_ENERGY) "," OF_ACCOUNT(
                ENTRY_CARBON_LOCATION) "," OF_ACCOUNT(ENTRY_CARBON_MARKET) " FROM balance ORDER BY "
                                                                           "tenant",
            NULL, 0, take_balance, &all, e);
    sql_close(db);
    return r;
}

/* ---- what was used --------------------------------------------------------------------------- */

struct books_reader {
    struct sql *db;
};

int books_reader_open(struct books_reader **ret, const char *where, struct err *e)
{
    struct books_reader *r = calloc(1, sizeof *r);
    int code =
        r ? ledger_file_open(&r->db, where, 0, e) : err_set(e, ERR_NOMEM, "ledger: out of memory");

    if (code)
        free(r);
    else
        *ret = r;
    return code;
}

void books_reader_close(struct books_reader *r)
{
    if (r)
        sql_close(r->db);
    free(r);
}

static int take_used(void *arg, const struct sql_row *s)
{
    *(struct books_used *)arg = (struct books_used){
        .tokens = sql_number(s, 0), .nano = sql_number(s, 1), .energy_uj = sql_number(s, 2)};
    return 0;
}

int books_used(struct books_reader *r, enum books_by by, const char *name, int64_t from_us,
               int64_t until_us, struct books_used *ret, struct err *e)
{
    const char *column = by == BOOKS_BY_TENANT ? "tenant" : by == BOOKS_BY_TEAM ? "team" : "key_id";
    const struct sql_value v[] = {SQL_TEXT(name), SQL_NUMBER(from_us), SQL_NUMBER(until_us)};
    struct books_used used = {0};
    char sql[700];
    int code;

    snprintf(sql, sizeof sql,
             "SELECT coalesce(sum(t), 0), coalesce(sum(c), 0), coalesce(sum(u), 0) FROM"
             " (SELECT sum(prompt_tokens + completion_tokens) AS t, sum(" LEDGER_CHARGE ") AS c,"
             " sum(energy_uj) AS u"
             " FROM usage WHERE %s = $1 AND corrects = '' AND at_us >= $2 AND at_us < $3"
             " UNION ALL SELECT sum(tokens), sum(charge_nano), sum(energy_uj) FROM opening_use"
             " WHERE %s = $1 AND at_us >= $2 AND at_us < $3) AS both_parts",
             column, column);
    code = sql_each(r->db, sql, v, 3, take_used, &used, e);
    if (!code)
        *ret = used;
    return code;
}

struct site_energy {
    int64_t *uj, *n_rows;
};

static int take_site_energy(void *arg, const struct sql_row *s)
{
    const struct site_energy *x = arg;
    int64_t boundary = sql_number(s, 0);

    if (boundary >= 0 && boundary < ENERGY_BOUNDARIES) {
        x->uj[boundary] = sql_number(s, 1);
        *x->n_rows += sql_number(s, 2);
    }
    return 0;
}

int books_site_energy(struct books_reader *r, const char *site, int64_t from_us, int64_t until_us,
                      int64_t ret_uj[ENERGY_BOUNDARIES], int64_t *ret_rows, struct err *e)
{
    const struct sql_value v[] = {SQL_TEXT(site), SQL_NUMBER(from_us), SQL_NUMBER(until_us)};
    struct site_energy x = {ret_uj, ret_rows};

    memset(ret_uj, 0, ENERGY_BOUNDARIES * sizeof *ret_uj);
    *ret_rows = 0;
    return sql_each(r->db,
                    "SELECT energy_boundary, coalesce(sum(energy_uj), 0), count(*) FROM usage"
                    " WHERE site = $1 AND corrects = '' AND energy_method <> 0 AND at_us >= $2 AND"
                    " at_us < $3 GROUP BY energy_boundary",
                    v, 3, take_site_energy, &x, e);
}

static int take_has(void *arg, const struct sql_row *s)
{
    *(int *)arg = sql_number(s, 0) > 0;
    return 0;
}

int books_has(struct books_reader *r, const char *request_id, int *ret, struct err *e)
{
    const struct sql_value id = SQL_TEXT(request_id);

    return sql_each(r->db, "SELECT count(*) FROM usage WHERE request_id = $1", &id, 1, take_has,
                    ret, e);
}

/* ---- receipts -------------------------------------------------------------------------------- */

struct booked {
    struct books_row row;
    int64_t seq; /* 0: there is no such row */
};

static int take_booked(void *arg, const struct sql_row *s)
{
    struct booked *b = arg;

    ledger_sql_read(s, &b->row);
    b->seq = sql_number(s, LEDGER_SEQ);
    return 0;
}

/* The path of an entry that is filled in, below its head. */
static int prove(struct sql *db, const struct ledger_tree *t, struct proof *p, struct err *e)
{
    struct ledger_nodes *n = NULL;
    struct tree_nodes door;
    int r = ledger_nodes_open(&n, db, t, e);

    if (r)
        return r;
    door = ledger_nodes_door(n);
    r = tree_prove_inclusion(&door, p->index, p->head.size, &p->path);
    ledger_nodes_close(n);
    return r;
}

static int find_proof(struct sql *db, const char *request_id, struct proof *ret, struct err *e)
{
    const struct sql_value id = SQL_TEXT(request_id);
    struct booked b = {.seq = 0};
    struct ledger_tree t = {0};
    int r = sql_each(db, "SELECT " LEDGER_COLUMNS " FROM usage WHERE request_id = $1", &id, 1,
                     take_booked, &b, e);

    if (!r)
        r = ledger_tree_open(db, &ledger_answers, &t, e);
    if (!r && (!b.seq || b.seq <= t.base))
        r = err_set(e, ERR_NOTFOUND, "no answer of that id is in the log");
    if (r)
        return r;
    ret->index = b.seq - t.base - 1;
    ret->n_entry = leaf_entry(&b.row, ret->entry);
    memcpy(ret->tenant, b.row.tenant, sizeof ret->tenant);
    sodium_hex2bin(ret->salt, sizeof ret->salt, b.row.salt, strlen(b.row.salt), NULL, NULL, NULL);
    r = ledger_tree_head_from(db, &ledger_answers, ret->index + 1, &ret->head, e);
    if (!r && !ret->head.size)
        r = err_set(e, ERR_AGAIN, "the answer is in the log, and not yet under a signed head");
    return r ? r : prove(db, &t, ret, e);
}

int books_proof(struct books_reader *r, const char *request_id, struct proof *ret, struct err *e)
{
    int code = sql_begin_read(r->db, e);

    *ret = (struct proof){0};
    if (code)
        return code;
    code = find_proof(r->db, request_id, ret, e);
    sql_rollback(r->db);
    if (!code && proof_check(ret, e)) /* nobody is handed one that is none */
        code = err_prefix(e, "the receipt of %s", request_id);
    return code;
}

/* That the newest head goes on from the tree of an earlier size. */
static int prove_growth(struct sql *db, struct tree_growth *g, struct err *e)
{
    struct ledger_tree t = {0};
    struct ledger_nodes *n = NULL;
    struct tree_nodes door;
    int r = ledger_tree_open(db, &ledger_answers, &t, e);

    if (!r)
        r = ledger_tree_head_upto(db, &ledger_answers, TREE_SIZE_MAX, &g->head, e);
    if (!r && (!g->head.size || g->since > g->head.size))
        r = err_set(e, ERR_NOTFOUND, "the log has no head of so many answers");
    if (r || !g->since)
        return r;
    r = ledger_nodes_open(&n, db, &t, e);
    if (r)
        return r;
    door = ledger_nodes_door(n);
    r = tree_prove_consistency(&door, g->since, g->head.size, &g->path);
    ledger_nodes_close(n);
    return r;
}

int books_growth(struct books_reader *r, int64_t since, struct tree_growth *ret, struct err *e)
{
    int code = sql_begin_read(r->db, e);

    *ret = (struct tree_growth){.since = since};
    if (code)
        return code;
    code = prove_growth(r->db, ret, e);
    sql_rollback(r->db);
    return code;
}
