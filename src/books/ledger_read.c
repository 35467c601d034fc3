/* Reading a ledger, for commands and at the start: balances, and what was used. */
#include <string.h>
#include <stdio.h>
#include <stdlib.h>

#include "books/entry.h"
#include "books/ledger_file.h"

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
