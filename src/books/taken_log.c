#include "books/taken_log.h"

#include <sodium.h>
#include <stdio.h>
#include <string.h>

#include "books/ledger_file.h"
#include "books/taken_chain.h"

#define COLUMNS                                                                                    \
    "seq, chain, at_us, contract, tranche, site, currency, from_us, until_us, joules, price"
#define N_COLUMNS 11
#define SECOND_US INT64_C(1000000)
#define SUMS_MAX  64 /* contracts' years that are kept in mind in one transaction */

static const char insert_taken[] = "INSERT INTO taken (" COLUMNS ")";

/* ---- rows ------------------------------------------------------------------------------------ */

static void read_row(const struct sql_row *s, struct taken_entry *ret)
{
    *ret = (struct taken_entry){.seq = sql_number(s, 0),
                                .at_us = sql_number(s, 2),
                                .from_us = sql_number(s, 7),
                                .until_us = sql_number(s, 8),
                                .joules = sql_number(s, 9),
                                .price = sql_number(s, 10)};
    ledger_sql_text(ret->contract, sizeof ret->contract, s, 3);
    ledger_sql_text(ret->tranche, sizeof ret->tranche, s, 4);
    ledger_sql_text(ret->site, sizeof ret->site, s, 5);
    ledger_sql_text(ret->currency, sizeof ret->currency, s, 6);
}

/* Texts end with a NUL, so that no two rows have one form. */
static void hash_text(crypto_generichash_state *h, const char *s)
{
    crypto_generichash_update(h, (const unsigned char *)s, strlen(s) + 1);
}

/* Go on by a row; text: its hash as it is written. */
static void chain_on(struct ledger_link *l, const struct taken_entry *r,
                     char text[LEDGER_LINK_TEXT])
{
    const int64_t numbers[] = {r->at_us, r->from_us, r->until_us, r->joules, r->price};
    crypto_generichash_state h;

    crypto_generichash_init(&h, NULL, 0, LEDGER_CHAIN_SIZE);
    crypto_generichash_update(&h, l->chain, sizeof l->chain);
    hash_text(&h, r->contract);
    hash_text(&h, r->tranche);
    hash_text(&h, r->site);
    hash_text(&h, r->currency);
    crypto_generichash_update(&h, (const unsigned char *)numbers, sizeof numbers);
    crypto_generichash_final(&h, l->chain, sizeof l->chain);
    l->seq++;
    sodium_bin2hex(text, LEDGER_LINK_TEXT, l->chain, sizeof l->chain);
}

static int row_ok(const struct taken_entry *r)
{
    return *r->contract && *r->tranche && *r->site && r->from_us >= 0 && r->from_us < r->until_us &&
           r->until_us - r->from_us <= POWER_HOUR_US && r->joules > 0 && r->price >= 0 &&
           r->price <= CONTRACT_PRICE_MAX;
}

/* ---- taking ---------------------------------------------------------------------------------- */

/* What a contract's year has taken. */
struct year_sum {
    char contract[BOOKS_NAME_MAX];
    int64_t from_s;
    struct backstop_sum sum;
};

struct taking {
    struct sql *db;
    struct ledger_link link;
    struct year_sum year[SUMS_MAX];
    int n_years;
    struct err *e;
};

static int add_price(void *arg, const struct sql_row *s)
{
    struct year_sum *y = arg;

    backstop_add(&y->sum, sql_number(s, 1), sql_number(s, 0));
    return 0;
}

/* By the ledger, and what this transaction took; NULL: it failed. */
static struct year_sum *year_of(struct taking *x, const struct taken_ask *a)
{
    const struct sql_value v[] = {SQL_TEXT(a->row.contract), SQL_NUMBER(a->year.from_s * SECOND_US),
                                  SQL_NUMBER(a->year.until_s * SECOND_US)};
    struct year_sum *y;

    for (int i = 0; i < x->n_years; i++) {
        y = &x->year[i];
        if (y->from_s == a->year.from_s && !strcmp(y->contract, a->row.contract))
            return y;
    }
    if (x->n_years == SUMS_MAX) /* the oldest is asked for again */
        memmove(x->year, x->year + 1, (size_t)--x->n_years * sizeof *x->year);
    y = &x->year[x->n_years];
    *y = (struct year_sum){.from_s = a->year.from_s};
    snprintf(y->contract, sizeof y->contract, "%s", a->row.contract);
    if (sql_each(x->db,
                 "SELECT price, sum(joules) FROM taken WHERE contract = $1 AND from_us >= $2"
                 " AND from_us < $3 GROUP BY price",
                 v, 3, add_price, y, x->e))
        return NULL;
    x->n_years++;
    return y;
}

static int take_number(void *arg, const struct sql_row *s)
{
    *(int64_t *)arg = sql_number(s, 0);
    return 0;
}

static void lessen(const struct taken_ask *a, int64_t joules)
{
    *a->part -= (power_uj)joules * SECOND_US;
    *a->hour -= (power_uj)joules * SECOND_US;
    if (a->region)
        *a->region -= (power_uj)joules * SECOND_US;
    *a->most -= joules;
}

static power_uj left_of(const struct taken_ask *a)
{
    power_uj left = *a->part < *a->hour ? *a->part : *a->hour;

    return a->region && *a->region < left ? *a->region : left;
}

static int put_row(struct taking *x, struct taken_entry *r)
{
    char chain[LEDGER_LINK_TEXT];
    struct sql_value v[N_COLUMNS];

    chain_on(&x->link, r, chain);
    r->seq = x->link.seq;
    v[0] = SQL_NUMBER(r->seq);
    v[1] = SQL_TEXT(chain);
    v[2] = SQL_NUMBER(r->at_us);
    v[3] = SQL_TEXT(r->contract);
    v[4] = SQL_TEXT(r->tranche);
    v[5] = SQL_TEXT(r->site);
    v[6] = SQL_TEXT(r->currency);
    v[7] = SQL_NUMBER(r->from_us);
    v[8] = SQL_NUMBER(r->until_us);
    v[9] = SQL_NUMBER(r->joules);
    v[10] = SQL_NUMBER(r->price);
    return ledger_sql_put(x->db, insert_taken, "", v, N_COLUMNS, 1, x->e);
}

static int take(struct taking *x, struct taken_ask *a, int64_t *ret_n)
{
    const struct sql_value v[] = {SQL_TEXT(a->row.contract), SQL_TEXT(a->row.tranche),
                                  SQL_TEXT(a->row.site), SQL_NUMBER(a->row.from_us)};
    int64_t there = -1, room;
    struct year_sum *y = year_of(x, a);
    int r = y ? sql_each(x->db,
                         "SELECT joules FROM taken WHERE contract = $1 AND tranche = $2 AND"
                         " site = $3 AND from_us = $4",
                         v, 4, take_number, &there, x->e)
              : x->e->code;

    if (r)
        return r;
    if (there >= 0) {
        lessen(a, there);
        return 0;
    }
    room = backstop_room(&a->caps, &y->sum, a->row.price);
    a->row.joules = backstop_take(left_of(a), *a->most, room);
    a->is_spent = a->row.joules == room;
    if (!a->row.joules)
        return 0;
    backstop_add(&y->sum, a->row.joules, a->row.price);
    lessen(a, a->row.joules);
    ++*ret_n;
    return row_ok(&a->row) ? put_row(x, &a->row)
                           : err_set(x->e, ERR_ARG, "%.64s: what it took of %.64s cannot be",
                                     a->row.contract, a->row.site);
}

int taken_log_put(const char *where, struct taken_ask *asks, int n, int64_t *ret_n, struct err *e)
{
    const struct sql_how how = {.what = "ledger", .schema = LEDGER_IN, .must_exist = 1};
    struct taking x = {.e = e};
    int r = sql_open_how(&x.db, where, &how, e);

    *ret_n = 0;
    if (!r)
        r = ledger_sql_tables(x.db, where, e);
    if (!r)
        r = sql_begin_alone(x.db, e);
    if (!r) {
        r = ledger_link_read(x.db, "SELECT seq, chain FROM taken ORDER BY seq DESC LIMIT 1",
                             &x.link, e);
        for (int i = 0; !r && i < n; i++)
            r = take(&x, &asks[i], ret_n);
        if (!r)
            r = sql_commit(x.db, e);
        else
            sql_rollback(x.db);
    }
    sql_close(x.db);
    if (r)
        *ret_n = 0;
    return r;
}

/* ---- reading --------------------------------------------------------------------------------- */

struct reading {
    const char *where;
    int (*row)(void *arg, const struct taken_entry *r);
    void *arg;
    struct err *e;
};

static int take_row(void *arg, const struct sql_row *s)
{
    struct reading *x = arg;
    struct taken_entry row;

    read_row(s, &row);
    if (!row_ok(&row))
        return err_set(x->e, ERR_FORMAT, "ledger %s: row %lld of what was taken cannot be",
                       sql_name(x->where), (long long)row.seq);
    return x->row(x->arg, &row);
}

int taken_log_each(const char *where, const struct taken_query *q,
                   int (*row)(void *arg, const struct taken_entry *r), void *arg, struct err *e)
{
    const struct sql_value v[] = {SQL_NUMBER(q->from_us), SQL_NUMBER(q->until_us),
                                  SQL_NUMBER(q->upto_seq ? q->upto_seq : INT64_MAX),
                                  SQL_TEXT(q->contract ? q->contract : ""),
                                  SQL_TEXT(q->site ? q->site : "")};
    struct reading x = {where, row, arg, e};
    struct sql *db = NULL;
    int r = ledger_file_open(&db, where, 1, e);

    if (!r)
        r = sql_each(db,
                     "SELECT " COLUMNS " FROM taken WHERE from_us >= $1 AND from_us < $2"
                     " AND seq <= $3 AND (contract = $4 OR $4 = '') AND (site = $5 OR $5 = '')"
                     " ORDER BY seq",
                     v, 5, take_row, &x, e);
    sql_close(db);
    return r;
}

int taken_log_end(const char *where, int64_t known_s, int64_t *ret_seq, int64_t *ret_until_us,
                  int64_t *ret_first_us, struct err *e)
{
    const struct sql_value known = SQL_NUMBER(known_s);
    const struct {
        const char *query;
        int n;
        int64_t *to;
    } ask[] = {{"SELECT coalesce(max(seq), 0) FROM taken WHERE at_us / 1000000 <= $1", 1, ret_seq},
               {"SELECT coalesce(max(until_us), 0) FROM taken", 0, ret_until_us},
               {"SELECT coalesce(min(from_us), 0) FROM power WHERE cause = ''", 0, ret_first_us}};
    struct sql *db = NULL;
    int r = ledger_file_open(&db, where, 1, e);

    for (size_t i = 0; !r && i < sizeof ask / sizeof *ask; i++)
        r = sql_each(db, ask[i].query, &known, ask[i].n, take_number, ask[i].to, e);
    sql_close(db);
    return r;
}

/* ---- the audit ------------------------------------------------------------------------------- */

struct audit {
    const char *where;
    struct ledger_link link;
    struct err *e;
};

static int check_row(void *arg, const struct sql_row *s)
{
    struct audit *a = arg;
    char text[LEDGER_LINK_TEXT];
    struct taken_entry row;

    read_row(s, &row);
    chain_on(&a->link, &row, text);
    if (row.seq == a->link.seq && !strcmp(sql_text(s, 1), text))
        return 0;
    return err_set(a->e, ERR_FORMAT,
                   "ledger %s: row %lld of what was taken (by %s) is not as it was written, or one "
                   "before it is gone",
                   sql_name(a->where), (long long)row.seq, row.contract);
}

int taken_chain_check(struct sql *db, const char *where, struct err *e)
{
    struct audit a = {.where = where, .e = e};

    return sql_each(db, "SELECT " COLUMNS " FROM taken ORDER BY seq", NULL, 0, check_row, &a, e);
}
